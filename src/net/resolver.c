#include "net/resolver.h"

#include <arpa/nameser.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <resolv.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unbound.h>

#include "base/rng.h"

/*
 * The thread sleeps on its mailbox and on the descriptors of its contexts. A query becomes a
 * lookup: first the MX set (where asked for), then A and AAAA of each host side by side; the last
 * answer finishes it. A changed configuration makes a new context; the old one is deleted when
 * its last lookup has ended.
 */

struct context {
    struct context *next;
    struct ub_ctx *ub;
    unsigned pending;
};

struct net_resolver {
    struct mailbox mailbox;
    pthread_t thread;
    struct rng rng;
    struct context *contexts; /* the first is the current one */
    _Atomic bool stop;
};

enum { FAMILY_MAX = 8 }; /* addresses of one family that count */

struct lookup_host {
    uint16_t priority;
    uint64_t order; /* at random, for hosts of one priority */
    char name[NET_NAME_SIZE];
    struct net_addr addrs[2 * FAMILY_MAX];
    unsigned addr_count;
};

struct net_lookup {
    struct net_resolver *resolver;
    struct net_query *query;
    struct context *context;
    unsigned waiting; /* questions under way */
    unsigned host_count;
    struct lookup_host hosts[NET_MX_MAX];
};

/* One question of a lookup. */
struct question {
    struct net_lookup *lookup;
    int host; /* index; -1: the MX question */
};

struct query_mail {
    struct mail mail;
    struct net_resolver *resolver;
    struct net_query *query;
};

/* ---- contexts ---- */

static enum pt_err add_anchor(struct ub_ctx *ub, const char *anchor, struct pt_fault *fault)
{
    static const char root_key[] = "/usr/share/dns/root.key";
    int rc;

    if (anchor && strcmp(anchor, "none") == 0)
        return PT_ERR_OK;
    if (anchor) {
        rc = ub_ctx_add_ta(ub, anchor);
        return rc ? pt_fault_set(fault, PT_ERR_INVALID, "trust anchor \"%s\": %s", anchor,
                                 ub_strerror(rc))
                  : PT_ERR_OK;
    }
    if (access(root_key, R_OK) != 0)
        return pt_fault_errno(fault, errno, "trust anchor of the root, %s (package dns-root-data)",
                              root_key);
    rc = ub_ctx_add_ta_file(ub, root_key);
    return rc ? pt_fault_set(fault, PT_ERR_INVALID, "%s: %s", root_key, ub_strerror(rc))
              : PT_ERR_OK;
}

static enum pt_err set_servers(struct ub_ctx *ub, const struct net_resolver_config *config,
                               struct pt_fault *fault)
{
    if (config->server_count == 0) {
        /* Without a usable resolv.conf the resolver asks the root servers itself. */
        PT_IGNORE(ub_ctx_resolvconf(ub, NULL), "recursion is the fallback");
        return PT_ERR_OK;
    }
    for (uint32_t i = 0; i < config->server_count; i++) {
        int rc = ub_ctx_set_fwd(ub, config->servers[i]);

        if (rc)
            return pt_fault_set(fault, PT_ERR_INVALID, "resolver server \"%s\": %s",
                                config->servers[i], ub_strerror(rc));
    }
    return PT_ERR_OK;
}

static void context_free(struct context *c)
{
    if (!c)
        return;
    if (c->ub)
        ub_ctx_delete(c->ub);
    free(c);
}

static enum pt_err context_new(struct context **out, const struct net_resolver_config *config,
                               struct pt_fault *fault)
{
    struct context *c = calloc(1, sizeof *c);
    enum pt_err err;

    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
    c->ub = ub_ctx_create();
    if (!c->ub) {
        free(c);
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory for a resolver");
    }
    ub_ctx_async(c->ub, 1);
    /* Test servers and local forwarders listen on loopback. */
    ub_ctx_set_option(c->ub, "do-not-query-localhost:", "no");
    ub_ctx_debuglevel(c->ub, 0);
    PT_IGNORE(ub_ctx_hosts(c->ub, NULL), "no hosts file is fine");
    err = set_servers(c->ub, config, fault);
    if (err == PT_ERR_OK)
        err = add_anchor(c->ub, config->trust_anchor, fault);
    if (err != PT_ERR_OK) {
        context_free(c);
        return err;
    }
    *out = c;
    return PT_ERR_OK;
}

/* ---- finishing ---- */

static void deliver(struct mail *mail)
{
    struct net_query *q = PT_CONTAINER_OF(mail, struct net_query, mail);

    q->done(q);
}

static void finish(struct net_lookup *l, enum pt_err result)
{
    struct net_query *q = l->query;

    q->result = result;
    q->lookup = NULL;
    if (l->context)
        l->context->pending--;
    free(l);
    q->mail.run = deliver;
    net_loop_post(q->reply_to, &q->mail);
}

static int compare_hosts(const void *a, const void *b)
{
    const struct lookup_host *x = a, *y = b;

    if (x->priority != y->priority)
        return x->priority < y->priority ? -1 : 1;
    return x->order < y->order ? -1 : x->order > y->order;
}

static unsigned next_of(const struct lookup_host *h, unsigned from, enum net_family family)
{
    while (from < h->addr_count && h->addrs[from].family != family)
        from++;
    return from;
}

/* The families take turns, IPv6 first (RFC 8305 section 4): whichever is broken, the other is
 * tried next. */
static void interleave(struct lookup_host *h)
{
    static const enum net_family families[] = { NET_IPV6, NET_IPV4 };
    unsigned at[] = { next_of(h, 0, NET_IPV6), next_of(h, 0, NET_IPV4) };
    struct net_addr sorted[PT_ARRAY_LEN(h->addrs)];
    unsigned n = 0;

    for (unsigned turn = 0; n < h->addr_count; turn = !turn)
        if (at[turn] < h->addr_count) {
            sorted[n++] = h->addrs[at[turn]];
            at[turn] = next_of(h, at[turn] + 1, families[turn]);
        }
    memcpy(h->addrs, sorted, n * sizeof *sorted);
}

static bool fill_targets(struct net_lookup *l)
{
    struct net_query *q = l->query;
    uint32_t total = 0;

    for (unsigned i = 0; i < l->host_count; i++)
        total += l->hosts[i].addr_count;
    q->targets = calloc(total ? total : 1, sizeof *q->targets);
    if (!q->targets)
        return false;
    qsort(l->hosts, l->host_count, sizeof l->hosts[0], compare_hosts);
    for (unsigned i = 0; i < l->host_count; i++) {
        struct lookup_host *h = &l->hosts[i];

        interleave(h);
        for (unsigned k = 0; k < h->addr_count && q->target_count < NET_TARGETS_MAX; k++) {
            struct net_target *t = &q->targets[q->target_count++];

            t->priority = h->priority;
            t->addr = h->addrs[k];
            memcpy(t->host, h->name, sizeof t->host);
        }
    }
    return true;
}

static void answered(struct net_lookup *l)
{
    struct net_query *q = l->query;

    if (--l->waiting > 0)
        return;
    if (!fill_targets(l)) {
        snprintf(q->reason, sizeof q->reason, "out of memory");
        finish(l, PT_ERR_AGAIN);
        return;
    }
    if (q->target_count > 0) {
        q->reason[0] = 0;
        finish(l, PT_ERR_OK);
        return;
    }
    /* A question that failed for now leaves hope; otherwise the name has no address. */
    if (q->result == PT_ERR_AGAIN || q->result == PT_ERR_CORRUPT) {
        finish(l, q->result);
        return;
    }
    if (!q->reason[0])
        snprintf(q->reason, sizeof q->reason, "%.150s has no address in the DNS", q->name);
    finish(l, PT_ERR_NOTFOUND);
}

/* Notes why a question gave nothing; the reason that leaves hope wins. */
static void note_failure(struct net_query *q, enum pt_err err, const char *what, const char *why)
{
    if (q->result != PT_ERR_OK && err == PT_ERR_NOTFOUND)
        return;
    q->result = err;
    snprintf(q->reason, sizeof q->reason, "%.100s: %.280s", what, why);
}

/* True if the answer holds data; otherwise the failure is noted. */
static bool usable(struct net_query *q, int err, const struct ub_result *r, const char *name)
{
    if (err || !r) {
        note_failure(q, PT_ERR_AGAIN, name, err ? ub_strerror(err) : "no answer from the DNS");
        return false;
    }
    if (!r->secure)
        q->secure = false;
    if (r->ttl >= 0 && (uint32_t)r->ttl < q->ttl)
        q->ttl = (uint32_t)r->ttl;
    if (r->bogus) {
        note_failure(q, PT_ERR_CORRUPT, name,
                     r->why_bogus ? r->why_bogus : "the DNS answer failed validation");
        return false;
    }
    if (r->rcode != ns_r_noerror && r->rcode != ns_r_nxdomain) {
        note_failure(q, PT_ERR_AGAIN, name,
                     r->rcode == ns_r_servfail ? "the DNS server failed (SERVFAIL)"
                                               : "the DNS server refused to answer");
        return false;
    }
    if (r->nxdomain) {
        note_failure(q, PT_ERR_NOTFOUND, name, "no such domain");
        return false;
    }
    return r->havedata;
}

/* ---- addresses ---- */

static void on_addresses(void *ctx, int err, struct ub_result *r)
{
    struct question *question = ctx;
    struct net_lookup *l = question->lookup;
    struct lookup_host *h = &l->hosts[question->host];

    free(question);
    if (usable(l->query, err, r, h->name)) {
        for (int i = 0; r->data[i] && i < FAMILY_MAX; i++) {
            struct net_addr a = { 0 };

            if (r->qtype == ns_t_a && r->len[i] == 4)
                a.family = NET_IPV4;
            else if (r->qtype == ns_t_aaaa && r->len[i] == 16)
                a.family = NET_IPV6;
            else
                continue;
            memcpy(a.octets, r->data[i], (size_t)r->len[i]);
            h->addrs[h->addr_count++] = a;
        }
    }
    ub_resolve_free(r);
    answered(l);
}

static void ask(struct net_lookup *l, int host, const char *name, int type,
                void (*on)(void *ctx, int err, struct ub_result *r))
{
    struct question *question = malloc(sizeof *question);
    int rc = UB_NOMEM;

    l->waiting++;
    if (question) {
        *question = (struct question){ l, host };
        rc = ub_resolve_async(l->context->ub, name, type, ns_c_in, question, on, NULL);
    }
    if (rc) {
        free(question);
        note_failure(l->query, PT_ERR_AGAIN, name, ub_strerror(rc));
        answered(l);
    }
}

static void ask_addresses(struct net_lookup *l)
{
    unsigned n = l->host_count;

    l->waiting++; /* so that an answer at once does not finish a lookup half asked */
    for (unsigned i = 0; i < n; i++) {
        struct lookup_host *h = &l->hosts[i];

        if (net_addr_parse(str_of(h->name), &h->addrs[0])) {
            h->addr_count = 1;
            continue;
        }
        ask(l, (int)i, h->name, ns_t_aaaa, on_addresses);
        ask(l, (int)i, h->name, ns_t_a, on_addresses);
    }
    answered(l);
}

static void add_host(struct net_lookup *l, uint16_t priority, const char *name)
{
    struct lookup_host *h;

    if (l->host_count == NET_MX_MAX) {
        /* Keep the best ones (RFC 5321 5.1 allows a limit). */
        struct lookup_host *worst = &l->hosts[0];

        for (unsigned i = 1; i < l->host_count; i++)
            if (l->hosts[i].priority > worst->priority)
                worst = &l->hosts[i];
        if (worst->priority <= priority)
            return;
        h = worst;
    } else {
        h = &l->hosts[l->host_count++];
    }
    memset(h, 0, sizeof *h);
    h->priority = priority;
    h->order = rng_next(&l->resolver->rng);
    snprintf(h->name, sizeof h->name, "%s", name);
}

/* ---- MX ---- */

static void read_mx(struct net_lookup *l, const struct ub_result *r)
{
    for (int i = 0; r->data[i]; i++) {
        const unsigned char *rdata = (const unsigned char *)r->data[i];
        int n = r->len[i];
        char name[NS_MAXDNAME];

        if (n < 3 || ns_name_ntop(rdata + 2, name, sizeof name) < 0 ||
            strlen(name) >= NET_NAME_SIZE)
            continue;
        if (name[0] == '.' && name[1] == 0)
            name[0] = 0;
        if (name[0] == 0)
            l->query->null_mx = true; /* RFC 7505; beside others it is a mistake to be ignored */
        else
            add_host(l, (uint16_t)(rdata[0] << 8 | rdata[1]), name);
    }
    if (l->host_count > 0)
        l->query->null_mx = false;
}

static void on_mx(void *ctx, int err, struct ub_result *r)
{
    struct question *question = ctx;
    struct net_lookup *l = question->lookup;
    struct net_query *q = l->query;
    bool data = usable(q, err, r, q->name);

    free(question);
    l->waiting--;
    if (data)
        read_mx(l, r);
    if (q->null_mx) {
        snprintf(q->reason, sizeof q->reason, "%.100s accepts no mail (null MX)", q->name);
        finish(l, PT_ERR_NOTFOUND);
    } else if (q->result != PT_ERR_OK) {
        finish(l, q->result);
    } else {
        /* No MX: the domain itself is the exchanger (RFC 5321 5.1). */
        if (l->host_count == 0)
            add_host(l, 0, q->name);
        ask_addresses(l);
    }
    ub_resolve_free(r);
}

static void start(struct mail *mail)
{
    struct query_mail *m = PT_CONTAINER_OF(mail, struct query_mail, mail);
    struct net_resolver *r = m->resolver;
    struct net_query *q = m->query;
    struct net_lookup *l = calloc(1, sizeof *l);

    free(m);
    if (!l) {
        q->result = PT_ERR_AGAIN;
        snprintf(q->reason, sizeof q->reason, "out of memory");
        q->mail.run = deliver;
        net_loop_post(q->reply_to, &q->mail);
        return;
    }
    l->resolver = r;
    l->query = q;
    l->context = r->contexts;
    l->context->pending++;
    q->lookup = l;
    if (q->kind == NET_QUERY_MX) {
        ask(l, -1, q->name, ns_t_mx, on_mx);
    } else {
        add_host(l, 0, q->name);
        ask_addresses(l);
    }
}

/* ---- the thread ---- */

static void drop_drained(struct net_resolver *r)
{
    struct context **at = r->contexts ? &r->contexts->next : NULL;

    while (at && *at) {
        struct context *c = *at;

        if (c->pending == 0) {
            *at = c->next;
            context_free(c);
        } else {
            at = &c->next;
        }
    }
}

enum { CONTEXTS_POLLED = 16 };

static void *resolver_thread(void *ctx)
{
    struct net_resolver *r = ctx;

    while (!atomic_load_explicit(&r->stop, memory_order_acquire)) {
        struct pollfd fds[1 + CONTEXTS_POLLED] = { { mailbox_fd(&r->mailbox), POLLIN, 0 } };
        nfds_t n = 1;

        for (struct context *c = r->contexts; c && n < PT_ARRAY_LEN(fds); c = c->next)
            fds[n++] = (struct pollfd){ ub_fd(c->ub), POLLIN, 0 };
        PT_IGNORE(poll(fds, n, -1) < 0, "an interrupted wait is a short one");
        for (struct context *c = r->contexts; c; c = c->next)
            if (ub_poll(c->ub))
                ub_process(c->ub);
        mailbox_drain(&r->mailbox);
        drop_drained(r);
    }
    return NULL;
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
    err = context_new(&r->contexts, config, fault);
    if (err == PT_ERR_OK && pthread_create(&r->thread, NULL, resolver_thread, r) != 0)
        err = pt_fault_set(fault, PT_ERR_NOMEM, "cannot start the resolver thread");
    if (err != PT_ERR_OK) {
        context_free(r->contexts);
        mailbox_done(&r->mailbox);
        free(r);
        return err;
    }
    *out = r;
    return PT_ERR_OK;
}

void net_resolver_free(struct net_resolver *r)
{
    if (!r)
        return;
    atomic_store_explicit(&r->stop, true, memory_order_release);
    mailbox_wake(&r->mailbox);
    pthread_join(r->thread, NULL);
    mailbox_drain(&r->mailbox); /* a change that came with the end */
    while (r->contexts) {
        struct context *next = r->contexts->next;

        context_free(r->contexts);
        r->contexts = next;
    }
    mailbox_done(&r->mailbox);
    free(r);
}

/* The mail by which the thread takes the new context over. */
struct net_resolver_change {
    struct mail mail;
    struct net_resolver *resolver;
    struct context *context;
};

static void adopt(struct mail *mail)
{
    struct net_resolver_change *c = PT_CONTAINER_OF(mail, struct net_resolver_change, mail);

    c->context->next = c->resolver->contexts;
    c->resolver->contexts = c->context;
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
    err = context_new(&c->context, config, fault);
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
    context_free(change->context);
    free(change);
}

void net_resolve(struct net_resolver *r, struct net_query *q)
{
    struct query_mail *m = malloc(sizeof *m);

    q->result = PT_ERR_OK;
    q->null_mx = false;
    q->secure = true;
    q->ttl = 86400;
    q->targets = NULL;
    q->target_count = 0;
    q->reason[0] = 0;
    if (!m) {
        q->result = PT_ERR_AGAIN;
        snprintf(q->reason, sizeof q->reason, "out of memory");
        q->mail.run = deliver;
        net_loop_post(q->reply_to, &q->mail);
        return;
    }
    *m = (struct query_mail){ { NULL, start }, r, q };
    mailbox_post(&r->mailbox, &m->mail);
}

void net_query_clear(struct net_query *q)
{
    free(q->targets);
    q->targets = NULL;
    q->target_count = 0;
}
