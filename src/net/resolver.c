#include "net/resolver.h"

#include <poll.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/resolver_private.h"

/*
 * The thread sleeps on its mailbox, on the descriptors of its contexts and until the next lookup's
 * time is up. A changed configuration makes a new context; the old one is deleted when its last
 * lookup has ended.
 */

enum { LOOKUPS_MAX = 256, CONTEXTS_POLLED = 16, CHECK_S = 5 };

/* ---- the thread ---- */

static void drop_drained(struct net_resolver *r)
{
    struct net_context **at = &r->contexts->next;

    while (*at) {
        struct net_context *c = *at;

        if (c->pending == 0) {
            *at = c->next;
            net_context_free(c);
        } else {
            at = &c->next;
        }
    }
}

static int64_t until(const struct net_resolver *r, const struct net_query *q)
{
    return q->asked_ns + r->contexts->limit_ms * INT64_C(1000000);
}

/* Those that wait begin as far as there is room; those that waited too long begin too, and are
 * given up by the next look. */
static void start_waiting(struct net_resolver *r)
{
    int64_t now = r->first && r->lookup_count >= LOOKUPS_MAX ? clock_mono_ns() : 0;

    while (r->first && (r->lookup_count < LOOKUPS_MAX || until(r, r->first) <= now)) {
        struct net_query *q = r->first;

        r->first = q->next;
        if (!r->first)
            r->last = NULL;
        net_lookup_start(r, q);
    }
}

static void give_up_late(struct net_resolver *r)
{
    int64_t now = clock_mono_ns();

    for (struct net_lookup *l = r->lookups, *next; l; l = next) {
        next = l->next;
        if (l->until_ns <= now)
            net_lookup_give_up(l);
    }
}

/* When there is something to do that no event tells; INT64_MAX: there is nothing. */
static int64_t next_due(const struct net_resolver *r)
{
    int64_t due = PT_MIN(r->look_ns, r->probe.next_ns);

    if (r->first)
        due = PT_MIN(due, until(r, r->first));
    for (const struct net_lookup *l = r->lookups; l; l = l->next)
        due = PT_MIN(due, l->until_ns);
    return due;
}

static int milliseconds_to(int64_t due_ns)
{
    int64_t left = due_ns - clock_mono_ns();

    if (due_ns == INT64_MAX)
        return -1;
    return left <= 0 ? 0 : (int)PT_MIN(left / 1000000 + 1, 3600000);
}

static void wait(struct net_resolver *r)
{
    struct pollfd fds[1 + CONTEXTS_POLLED + NET_SERVERS_MAX] = { { mailbox_fd(&r->mailbox), POLLIN,
                                                                   0 } };
    int ms = milliseconds_to(next_due(r));
    nfds_t n = 1;

    for (struct net_context *c = r->contexts; c; c = c->next)
        if (n <= CONTEXTS_POLLED)
            fds[n++] = (struct pollfd){ ub_fd(c->ub), POLLIN, 0 };
        else
            ms = (int)PT_MIN((unsigned)ms,
                             100u); /* so many changes: the oldest are looked at by turns */
    n += net_probe_poll(&r->probe, fds + n);
    PT_IGNORE(poll(fds, n, ms) < 0, "an interrupted wait is a short one");
}

static void *resolver_thread(void *ctx)
{
    struct net_resolver *r = ctx;

    while (!atomic_load_explicit(&r->stop, memory_order_acquire)) {
        wait(r);
        for (struct net_context *c = r->contexts; c; c = c->next)
            if (ub_poll(c->ub))
                ub_process(c->ub);
        mailbox_drain(&r->mailbox);
        start_waiting(r);
        give_up_late(r);
        start_waiting(r);
        net_health_step(r);
        drop_drained(r);
    }
    return NULL;
}

/* ---- contexts ---- */

static void take_over(struct net_resolver *r, struct net_context *c)
{
    c->next = r->contexts;
    r->contexts = c;
    net_health_of_new_context(r);
}

void net_resolver_renew(struct net_resolver *r)
{
    struct net_context *c = net_context_again(r->contexts);

    if (c)
        take_over(r, c);
}

/* Questions are what needs the servers of the system, so they are what notices their change. */
static void check_system(struct net_resolver *r)
{
    int64_t now = clock_mono_ns();

    if (!r->contexts->of_system || now - r->checked_ns < CHECK_S * INT64_C(1000000000))
        return;
    r->checked_ns = now;
    if (net_context_is_outdated(r->contexts))
        net_resolver_renew(r);
}

/* ---- from outside ---- */

enum pt_err net_resolver_new(struct net_resolver **out, const struct net_resolver_config *config,
                             struct pt_fault *fault)
{
    struct net_resolver *r = calloc(1, sizeof *r);
    enum pt_err err;

    if (!r || !mailbox_init(&r->mailbox)) {
        free(r);
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory or descriptor for the resolver");
    }
    rng_seed_from_system(&r->rng);
    net_probe_stop(&r->probe);
    r->look_ns = INT64_MAX;
    r->looked_ns = INT64_MIN / 2;
    pthread_mutex_init(&r->health_lock, NULL);
    err = net_context_new(&r->contexts, config, fault);
    if (err == PT_ERR_OK && pthread_create(&r->thread, NULL, resolver_thread, r) != 0)
        err = pt_fault_set(fault, PT_ERR_NOMEM, "cannot start the resolver thread");
    if (err != PT_ERR_OK) {
        net_context_free(r->contexts);
        pthread_mutex_destroy(&r->health_lock);
        mailbox_done(&r->mailbox);
        free(r);
        return err;
    }
    *out = r;
    return PT_ERR_OK;
}

void net_resolver_stop(struct net_resolver *r)
{
    if (!r)
        return;
    atomic_store_explicit(&r->stop, true, memory_order_release);
    mailbox_wake(&r->mailbox);
    pthread_join(r->thread, NULL);
}

void net_resolver_free(struct net_resolver *r)
{
    bool stopped = r && atomic_load_explicit(&r->stop, memory_order_relaxed);

    if (!r)
        return;
    if (!stopped) {
        net_resolver_stop(r);
        mailbox_drain(&r->mailbox); /* a change that came with the end */
    }
    while (r->lookups) {
        struct net_lookup *next = r->lookups->next;

        free(r->lookups);
        r->lookups = next;
    }
    while (r->contexts) {
        struct net_context *next = r->contexts->next;

        net_context_free(r->contexts);
        r->contexts = next;
    }
    net_probe_stop(&r->probe);
    pthread_mutex_destroy(&r->health_lock);
    mailbox_done(&r->mailbox);
    free(r);
}

/* The mail by which the thread takes the new context over. */
struct net_resolver_change {
    struct mail mail;
    struct net_resolver *resolver;
    struct net_context *context;
};

static void adopt(struct mail *mail)
{
    struct net_resolver_change *c = PT_CONTAINER_OF(mail, struct net_resolver_change, mail);

    take_over(c->resolver, c->context);
    free(c);
}

enum pt_err net_resolver_prepare(struct net_resolver *r, const struct net_resolver_config *config,
                                 struct net_resolver_change **out, struct pt_fault *fault)
{
    struct net_resolver_change *c = malloc(sizeof *c);
    enum pt_err err;

    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for the resolver");
    *c = (struct net_resolver_change){ .mail = { .run = adopt }, .resolver = r };
    err = net_context_new(&c->context, config, fault);
    if (err == PT_ERR_OK)
        *out = c;
    else
        free(c);
    return err;
}

void net_resolver_adopt_take(struct net_resolver *r, struct net_resolver_change *change)
{
    mailbox_post(&r->mailbox, &change->mail);
}

void net_resolver_change_free(struct net_resolver_change *change)
{
    if (!change)
        return;
    net_context_free(change->context);
    free(change);
}

static void take(struct mail *mail)
{
    struct net_query *q = PT_CONTAINER_OF(mail, struct net_query, mail);
    struct net_resolver *r = q->resolver;

    check_system(r);
    q->next = NULL;
    if (r->last)
        r->last->next = q;
    else
        r->first = q;
    r->last = q;
    start_waiting(r);
}

void net_resolve(struct net_resolver *r, struct net_query *q)
{
    q->result = PT_ERR_OK;
    q->null_mx = false;
    q->secure = true;
    q->ttl = 86400;
    q->targets = NULL;
    q->target_count = 0;
    q->reason[0] = 0;
    q->resolver = r;
    q->asked_ns = clock_mono_ns();
    q->mail.run = take;
    mailbox_post(&r->mailbox, &q->mail);
}

void net_query_clear(struct net_query *q)
{
    free(q->targets);
    q->targets = NULL;
    q->target_count = 0;
}
