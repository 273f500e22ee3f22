#include "gateway/gateway.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/block.h"
#include "base/clock.h"
#include "base/log.h"
#include "gateway/asking.h"
#include "gateway/loop.h"
#include "gateway/names.h"
#include "gateway/replies.h"
#include "gateway/session.h"

enum {
    SWEEP_EVERY_MS = 1000,
    LINGER_MAX = 4096,
    LINGER_SECONDS = 10,
    OUT_MAX = 1 << 20,
    SCRATCH_MAX = 64 << 10,
};

/* ---- listeners ---- */

struct gateway_listener *gateway_listener_new(const struct net_listener *l)
{
    struct gateway_listener *gl = calloc(1, sizeof *gl);

    if (!gl) {
        struct net_listener copy = *l;

        net_listener_close(&copy);
        return NULL;
    }
    gl->listener = *l;
    atomic_init(&gl->refs, 1);
    return gl;
}

struct gateway_listener *gateway_listener_ref(struct gateway_listener *l)
{
    atomic_fetch_add_explicit(&l->refs, 1, memory_order_relaxed);
    return l;
}

void gateway_listener_unref(struct gateway_listener *l)
{
    if (!l || atomic_fetch_sub_explicit(&l->refs, 1, memory_order_acq_rel) != 1)
        return;
    net_listener_close(&l->listener);
    free(l);
}

/* ---- the whole ---- */

struct gateway *gateway_new(const struct gateway_config *config)
{
    struct gateway *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->loops = calloc(config->loops, sizeof(struct gateway_loop *));
    if (!g->loops || !gateway_limits_init(&g->limits)) {
        gateway_limits_done(&g->limits);
        free(g->loops);
        free(g);
        return NULL;
    }
    g->loops_max = config->loops;
    g->spool = config->spool;
    g->handshaker = config->handshaker;
    g->tracking = config->tracking;
    g->resolver = config->resolver;
    g->recipients = config->recipients;
    g->sessions_max = config->sessions_max;
    atomic_init(&g->next_session, (uint64_t)clock_wall_us());
    g->memory.max = config->memory_max;
    pthread_mutex_init(&g->lock, NULL);
    pthread_cond_init(&g->taken, NULL);
    return g;
}

void gateway_free(struct gateway *g)
{
    if (!g)
        return;
    for (unsigned i = 0; i < g->listener_count; i++)
        gateway_listener_unref(g->listeners[i]);
    for (unsigned i = 0; i < g->retiring_count; i++)
        gateway_listener_unref(g->retiring[i]);
    policy_snapshot_unref(g->snapshot);
    tls_server_unref(g->tls);
    gateway_limits_done(&g->limits);
    pthread_mutex_destroy(&g->lock);
    pthread_cond_destroy(&g->taken);
    free(g->loops);
    free(g);
}

static void post_publish(struct gateway *g)
{
    for (unsigned i = 0; i < g->loop_count; i++)
        if (!atomic_exchange(&g->loops[i]->publish_posted, true))
            net_loop_post(g->loops[i]->loop, &g->loops[i]->publish);
}

void gateway_publish(struct gateway *g, struct policy_snapshot *snapshot, struct tls_server *tls,
                     struct gateway_listener *const *listeners, unsigned count)
{
    struct gateway_listener *old[GATEWAY_LISTENERS_MAX];
    struct policy_snapshot *old_snapshot;
    struct tls_server *old_tls;
    unsigned old_count;

    pt_assert(count <= GATEWAY_LISTENERS_MAX);
    pthread_mutex_lock(&g->lock);
    old_snapshot = g->snapshot;
    old_tls = g->tls;
    old_count = g->listener_count;
    memcpy(old, g->listeners, sizeof old);
    g->published++;
    g->snapshot = policy_snapshot_ref(snapshot);
    g->tls = tls ? tls_server_ref(tls) : NULL;
    g->listener_count = 0;
    for (unsigned i = 0; i < count; i++) {
        gateway_accept_revive(g, listeners[i]);
        g->listeners[g->listener_count++] = gateway_listener_ref(listeners[i]);
    }
    for (unsigned i = 0; i < old_count; i++) {
        if (!gateway_listener_among(g->listeners, count, old[i]))
            gateway_accept_retire(g, old[i]);
        gateway_listener_unref(old[i]);
    }
    pthread_mutex_unlock(&g->lock);
    policy_snapshot_unref(old_snapshot);
    tls_server_unref(old_tls);
    post_publish(g);
}

static bool all_have_taken(const struct gateway *g)
{
    for (unsigned i = 0; i < g->loop_count; i++)
        if (g->loops[i]->taken < g->published)
            return false;
    return true;
}

bool gateway_wait_published(struct gateway *g, unsigned timeout_ms)
{
    struct timespec until;
    bool taken;

    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += timeout_ms / 1000;
    until.tv_nsec += timeout_ms % 1000 * 1000000L;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&g->lock);
    while (!(taken = all_have_taken(g)) && pthread_cond_timedwait(&g->taken, &g->lock, &until) == 0)
        ;
    pthread_mutex_unlock(&g->lock);
    return taken;
}

unsigned gateway_retiring(struct gateway *g, struct gateway_listener **out)
{
    unsigned n;

    pthread_mutex_lock(&g->lock);
    n = g->retiring_count;
    for (unsigned i = 0; i < n; i++)
        out[i] = gateway_listener_ref(g->retiring[i]);
    pthread_mutex_unlock(&g->lock);
    return n;
}

void gateway_drain(struct gateway *g, unsigned grace_ms, void (*drained)(void *ctx), void *ctx)
{
    pthread_mutex_lock(&g->lock);
    for (unsigned i = 0; i < g->listener_count; i++)
        gateway_listener_unref(g->listeners[i]);
    for (unsigned i = 0; i < g->retiring_count; i++)
        gateway_listener_unref(g->retiring[i]);
    g->listener_count = g->retiring_count = 0;
    g->draining = true;
    g->grace_ms = grace_ms;
    g->drained = drained;
    g->drained_ctx = ctx;
    atomic_store(&g->loops_draining, g->loop_count);
    pthread_mutex_unlock(&g->lock);
    post_publish(g);
}

void gateway_set_memory_short(struct gateway *g, bool is_short)
{
    atomic_store(&g->memory_short, is_short);
}

void gateway_get_stats(struct gateway *g, struct gateway_stats *out)
{
    *out = (struct gateway_stats){ .sessions = atomic_load(&g->sessions),
                                   .sessions_max = g->sessions_max,
                                   .memory_used = budget_used(&g->memory),
                                   .memory_max = g->memory.max,
                                   .memory_short = atomic_load(&g->memory_short) };
    for (unsigned i = 0; i < g->loop_count; i++) {
        const struct gateway_counters *c = &g->loops[i]->counters;

        out->connections += atomic_load_explicit(&c->connections, memory_order_relaxed);
        out->refused += atomic_load_explicit(&c->refused, memory_order_relaxed);
        out->over_limit += atomic_load_explicit(&c->over_limit, memory_order_relaxed);
        out->messages += atomic_load_explicit(&c->messages, memory_order_relaxed);
        out->messages_tls += atomic_load_explicit(&c->messages_tls, memory_order_relaxed);
        out->octets += atomic_load_explicit(&c->octets, memory_order_relaxed);
        out->rejected_messages += atomic_load_explicit(&c->rejected_messages, memory_order_relaxed);
        out->handshakes += atomic_load_explicit(&c->handshakes, memory_order_relaxed);
        out->failed_handshakes += atomic_load_explicit(&c->failed_handshakes, memory_order_relaxed);
    }
}

void gateway_entry_hits(struct gateway *g, uint8_t list, const struct net_prefix *entry,
                        uint64_t *out_hits, int64_t *out_last_us)
{
    *out_hits = 0;
    *out_last_us = 0;
    for (unsigned i = 0; i < g->loop_count; i++)
        access_hits_read(g->loops[i]->hits, list, entry, out_hits, out_last_us);
}

/* ---- a loop: accepting ---- */

/* Counts for the entry that has decided. */
static void count_hit(struct gateway_loop *l, const struct policy_facts *facts,
                      const struct policy_verdict *v)
{
    const struct settings_list *list = policy_list(l->snapshot, v->list);

    if (list && v->entry < list->count)
        access_hits_count(l->hits, v->list, &list->entries[v->entry].prefix, facts->now_us);
}

/*
 * Decides before anything is made for the client. The count of sessions is taken by
 * compare-and-swap below the limit that policy was asked about, so that it is exact over all loops.
 * `out_where`: as limits_admit().
 */
static bool admit(struct gateway_loop *l, const struct net_endpoint *peer, struct policy_verdict *v,
                  uint8_t *out_where)
{
    _Atomic uint32_t *count = &l->gateway->sessions;
    struct policy_facts facts = { .client = peer->addr,
                                  .now_us = clock_wall_us(),
                                  .sessions_max = l->gateway->sessions_max,
                                  .ref = l->next_ref };
    uint32_t sessions = atomic_load_explicit(count, memory_order_relaxed);

    do {
        facts.sessions = sessions;
        policy_connect(l->snapshot, &facts, v);
    } while (v->action == POLICY_ACCEPT &&
             !atomic_compare_exchange_weak(count, &sessions, sessions + 1));
    count_hit(l, &facts, v);
    if (v->action != POLICY_ACCEPT)
        return false;
    if (limits_admit(l, &peer->addr, v, out_where))
        return true;
    limits_ended(l, &peer->addr, *out_where);
    atomic_fetch_sub(count, 1);
    return false;
}

/* Counts for the step that has refused. */
static void count_refused(struct gateway_loop *l, const struct policy_verdict *v)
{
    if (v->rule == POLICY_RULE_MAX_CONNECTIONS)
        GATEWAY_COUNT(l->counters.over_limit, 1);
    else if (v->rule == POLICY_RULE_CONNECTION_CONTROL)
        GATEWAY_COUNT(l->counters.refused, 1);
}

static void send_reply(int fd, const struct smtp_reply *reply)
{
    char octets[600];
    struct buf out;

    buf_init(&out, sizeof octets);
    smtp_reply_write(&out, reply);
    PT_IGNORE(send(fd, out.p, out.n, MSG_NOSIGNAL) < 0, "the client may be gone");
    buf_done(&out);
}

/* For a reason of our own. */
static void turn_away(struct gateway_loop *l, int fd, const struct net_endpoint *peer,
                      const struct smtp_reply *reply, const char *why)
{
    struct record_words words;

    reply = record_words(l, reply, &words);
    send_reply(fd, reply);
    record_refusal(l, &(struct record_refusal){ .client = peer, .step = why, .reply = reply });
}

void gateway_loop_accepted(struct net_acceptor *a, int fd, const struct net_endpoint *peer)
{
    struct gateway_acceptor *ga = PT_CONTAINER_OF(a, struct gateway_acceptor, acceptor);
    struct gateway_loop *l = ga->loop;
    struct policy_verdict v;
    uint8_t where = 0;

    if (l->draining) {
        turn_away(l, fd, peer, &reply_shutting_down, "shutting down");
        net_linger_take(l->linger, fd);
        return;
    }
    policy_verdict_init(&v, false);
    if (!admit(l, peer, &v, &where)) {
        count_refused(l, &v);
        gateway_refused_tell(l, peer, &v);
        record_connected(l, &peer->addr);
        record_refusal(
            l, &(struct record_refusal){
                   .client = peer, .snapshot = l->snapshot, .verdict = &v, .reply = &v.reply });
        /* What is said in clear where TLS is expected is only taken for an attack. */
        if (!ga->listener->tls)
            send_reply(fd, &v.reply);
        net_linger_take(l->linger, fd);
        return;
    }
    GATEWAY_COUNT(l->counters.connections, 1);
    record_connected(l, &peer->addr);
    session_start(l, fd, peer, ga->listener->tls, where);
}

void gateway_loop_turned_away(struct net_acceptor *a, int fd)
{
    struct gateway_acceptor *ga = PT_CONTAINER_OF(a, struct gateway_acceptor, acceptor);
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    struct net_endpoint peer;

    GATEWAY_COUNT(ga->loop->counters.over_limit, 1);
    if (!ga->listener->tls && getpeername(fd, (struct sockaddr *)&address, &size) == 0 &&
        net_from_sockaddr((struct sockaddr *)&address, &peer))
        turn_away(ga->loop, fd, &peer, &reply_no_descriptors, "descriptors");
    PT_IGNORE(shutdown(fd, SHUT_WR), "the client may be gone");
}

/* ---- a loop: settings ---- */

static void take_snapshot(struct gateway_loop *l, struct policy_snapshot *snapshot,
                          struct tls_server *tls)
{
    const struct settings *s = policy_snapshot_settings(snapshot);
    struct policy_snapshot *old = l->snapshot;
    struct tls_server *old_tls = l->tls;

    l->snapshot = policy_snapshot_ref(snapshot);
    names_known_free(l->names); /* another resolver may say other things */
    l->names = NULL;
    l->tls = tls && l->gateway->handshaker ? tls_server_ref(tls) : NULL;
    l->config = (struct smtp_server_config){
        .hostname = str_of(s->identity.hostname),
        .greeting = str_of(s->identity.greeting),
        .max_message_size = s->message_rules.max_message_size,
        .max_recipients = s->message_rules.max_recipients,
        .max_messages = s->message_rules.max_messages_per_connection,
        .max_errors = SMTP_SERVER_MAX_ERRORS,
        .max_refused = SMTP_SERVER_MAX_REFUSED,
        .refusal_tail = l->config.refusal_tail,
        .offers_tls = l->tls && s->tls.incoming,
        .requires_tls = s->tls.incoming && s->tls.incoming_required,
    };
    for (struct session *x = l->sessions, *next; x; x = next) {
        next = session_next(x);
        session_settings_changed(x);
    }
    policy_snapshot_unref(old);
    tls_server_unref(old_tls);
}

static void drained_if_empty(struct gateway_loop *l)
{
    struct gateway *g = l->gateway;

    if (!l->draining || l->session_count > 0)
        return;
    l->draining = false;
    if (atomic_fetch_sub(&g->loops_draining, 1) == 1)
        g->drained(g->drained_ctx);
}

static void end_all(struct gateway_loop *l, bool at_once)
{
    for (struct session *x = l->sessions, *next; x; x = next) {
        next = session_next(x);
        session_shut_down(x, at_once);
    }
}

static void on_grace(struct net_timer *t)
{
    struct gateway_loop *l = PT_CONTAINER_OF(t, struct gateway_loop, grace);

    end_all(l, true);
}

static void start_draining(struct gateway_loop *l, unsigned grace_ms)
{
    l->draining = true;
    gateway_accept_end(l);
    net_timer_start(&l->grace, (int64_t)grace_ms * 1000000);
    end_all(l, false);
    drained_if_empty(l);
}

static void on_publish(struct mail *mail)
{
    struct gateway_loop *l = PT_CONTAINER_OF(mail, struct gateway_loop, publish);
    struct gateway *g = l->gateway;
    struct gateway_listener *listeners[GATEWAY_LISTENERS_MAX];
    struct gateway_listener *retiring[GATEWAY_RETIRING_MAX];
    struct policy_snapshot *snapshot;
    struct tls_server *tls;
    unsigned count, retiring_count, grace_ms;
    uint64_t published;
    bool draining;

    atomic_store(&l->publish_posted, false);
    pthread_mutex_lock(&g->lock);
    published = g->published;
    snapshot = g->snapshot ? policy_snapshot_ref(g->snapshot) : NULL;
    tls = g->tls ? tls_server_ref(g->tls) : NULL;
    count = g->listener_count;
    for (unsigned i = 0; i < count; i++)
        listeners[i] = gateway_listener_ref(g->listeners[i]);
    retiring_count = g->retiring_count;
    for (unsigned i = 0; i < retiring_count; i++)
        retiring[i] = gateway_listener_ref(g->retiring[i]);
    draining = g->draining;
    grace_ms = g->grace_ms;
    pthread_mutex_unlock(&g->lock);

    if (snapshot && (snapshot != l->snapshot || tls != l->tls))
        take_snapshot(l, snapshot, tls);
    if (draining) {
        if (!l->draining)
            start_draining(l, grace_ms);
    } else {
        gateway_accept_take(l, listeners, count, retiring, retiring_count);
    }
    for (unsigned i = 0; i < count; i++)
        gateway_listener_unref(listeners[i]);
    for (unsigned i = 0; i < retiring_count; i++)
        gateway_listener_unref(retiring[i]);
    policy_snapshot_unref(snapshot);
    tls_server_unref(tls);

    pthread_mutex_lock(&g->lock);
    l->taken = published;
    pthread_cond_signal(&g->taken);
    pthread_mutex_unlock(&g->lock);
}

/* ---- a loop: turns ---- */

void gateway_loop_submit(struct gateway_loop *l, struct spool_op *op)
{
    op->next = NULL;
    if (l->submit_last)
        l->submit_last->next = op;
    else
        l->submit_first = op;
    l->submit_last = op;
}

static void hand_over(void *ctx)
{
    struct gateway_loop *l = ctx;
    struct spool_op *first = l->submit_first;

    if (!first)
        return;
    l->submit_first = l->submit_last = NULL;
    spool_submit(l->gateway->spool, first);
}

static void on_sweep(struct net_timer *t)
{
    struct gateway_loop *l = PT_CONTAINER_OF(t, struct gateway_loop, sweep);

    for (struct session *x = l->sessions, *next; x; x = next) {
        next = session_next(x);
        if (l->draining)
            session_shut_down(x, false); /* its message may have ended meanwhile */
        else
            session_sweep(x, net_loop_now(l->loop));
    }
    l->sweeping = l->session_count > 0;
    if (l->sweeping)
        net_timer_start(t, SWEEP_EVERY_MS * INT64_C(1000000));
}

void gateway_loop_session_added(struct gateway_loop *l)
{
    l->session_count++;
    if (l->sweeping)
        return;
    l->sweeping = true;
    net_timer_start(&l->sweep, SWEEP_EVERY_MS * INT64_C(1000000));
}

void gateway_loop_session_gone(struct gateway_loop *l)
{
    l->session_count--;
    atomic_fetch_sub(&l->gateway->sessions, 1);
    drained_if_empty(l);
}

struct gateway_loop *gateway_loop_new(struct gateway *g, struct net_loop *loop)
{
    struct gateway_loop *l = calloc(1, sizeof *l);

    pt_assert(g->loop_count < g->loops_max);
    if (!l)
        return NULL;
    l->linger = net_linger_new(loop, LINGER_MAX, LINGER_SECONDS);
    l->hits = access_hits_new();
    if (!l->linger || !l->hits) {
        net_linger_free(l->linger);
        access_hits_free(l->hits);
        free(l);
        return NULL;
    }
    gateway_refused_init(&l->refused, loop);
    l->gateway = g;
    l->loop = loop;
    record_init(l);
    l->publish.run = on_publish;
    buf_init(&l->out, OUT_MAX);
    buf_init(&l->scratch, SCRATCH_MAX);
    gateway_accept_init(l);
    net_timer_init(&l->sweep, loop, on_sweep);
    net_timer_init(&l->grace, loop, on_grace);
    net_loop_on_turn(loop, hand_over, l);
    g->loops[g->loop_count++] = l;
    return l;
}

void gateway_loop_free(struct gateway_loop *l)
{
    if (!l)
        return;
    gateway_accept_done(l);
    while (l->sessions)
        session_close(l->sessions);
    asking_forget_all(l);
    session_free_spare(l);
    net_timer_stop(&l->sweep);
    net_timer_stop(&l->grace);
    gateway_refused_done(&l->refused);
    record_done(l);
    net_linger_free(l->linger);
    access_hits_free(l->hits);
    names_known_free(l->names);
    policy_snapshot_unref(l->snapshot);
    tls_server_unref(l->tls);
    buf_done(&l->out);
    buf_done(&l->scratch);
    free(l);
}
