#include "relay/relay.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/callout_private.h"
#include "relay/outcome.h"
#include "relay/relay_private.h"
#include "relay/suspend.h"
#include "smtp/client.h"

enum { REROUTE_STEP = 500 };

static int64_t system_now(void *ctx)
{
    (void)ctx;
    return clock_wall_us();
}

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
    return value ? value : otherwise;
}

static void fill_defaults(struct relay_config *c)
{
    if (!c->retry)
        c->retry = &retry_policy_default;
    if (!c->cache_budget)
        c->cache_budget = UINT64_C(64) << 20;
    if (!c->read_budget)
        c->read_budget = UINT64_C(16) << 20;
    if (!c->client_flags)
        c->client_flags = SMTP_CLIENT_PIPELINE | SMTP_CLIENT_AHEAD | SMTP_CLIENT_BDAT;
    if (!c->now_us)
        c->now_us = system_now;
    c->connections_max = or_default(c->connections_max, 1000);
    c->connect_ms = or_default(c->connect_ms, 30000);
    c->idle_ms = or_default(c->idle_ms, 5000);
    c->tick_ms = or_default(c->tick_ms, 1000);
    c->stop_ms = or_default(c->stop_ms, 20000);
}

/* Under the lock, or before there is another thread. */
static void set_self(struct relay *r, const struct settings *s)
{
    snprintf(r->hostname, sizeof r->hostname, "%s", s->identity.hostname);
    r->own = (struct net_endpoint){ s->interface.address, s->interface.port };
    r->own_listen = (uint8_t)s->interface.listen;
}

struct relay *relay_new(const struct relay_config *config)
{
    struct relay *r = calloc(1, sizeof *r);
    struct retry_policy retry;

    if (!r)
        return NULL;
    r->config = *config;
    fill_defaults(&r->config);
    pthread_mutex_init(&r->lock, NULL);
    r->unsaved_end = &r->unsaved;
    retry = retry_policy_with(r->config.retry, config->settings);
    relay_sched_init(&r->sched, &retry, r->config.loops, r->config.seed);
    r->sched.cache_budget = r->config.cache_budget;
    r->callouts = relay_callouts_new(config->callout_octets);
    if (!r->callouts || !relay_sched_set_settings(&r->sched, config->settings)) {
        relay_free(r);
        return NULL;
    }
    set_self(r, config->settings);
    atomic_init(&r->outgoing_tls, config->settings->tls.outgoing);
    r->clients = config->clients ? relay_clients_ref(config->clients) : NULL;
    return r;
}

void relay_free(struct relay *r)
{
    if (!r)
        return;
    relay_sched_done(&r->sched);
    relay_outcome_free_all(r);
    relay_clients_unref(r->clients);
    relay_callouts_free(r->callouts);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

void relay_set_spool(struct relay *r, struct spool *spool)
{
    r->spool = spool;
}

/* ---- messages ---- */

static void log_not_queued(const struct spool_message *m)
{
    struct log_line l;

    log_begin(&l, LOG_ERROR, "not_queued");
    log_id(&l, m->id);
    log_cstr(&l, "text",
             "out of memory; this message, and perhaps others of its batch, is safe and is "
             "delivered after a restart");
    log_end(&l);
}

/* A message for a destination at rest, or suspended, has no attempt that its trace could show. */
static void log_waits(const struct spool_message *m, const char *error, int64_t until_us)
{
    struct log_line l;
    char at[CLOCK_RFC3339_SIZE];

    log_begin(&l, LOG_INFO, "deferred");
    log_id(&l, m->id);
    log_str(&l, "reverse_path", m->reverse_path);
    if (m->recipient_count)
        log_str(&l, "recipients", m->recipients[0].address);
    log_cstr(&l, "reply", error);
    if (until_us) {
        clock_rfc3339(until_us, at);
        log_cstr(&l, "next_attempt", at);
    }
    log_u64(&l, "attempts", 0);
    log_end(&l);
}

static uint64_t wake_for_set(struct relay_sched *s, const struct relay_dest_set *touched)
{
    uint64_t loops = 0;

    if (touched->count > PT_ARRAY_LEN(touched->dests))
        return relay_sched_wake(s);
    for (uint32_t i = 0; i < touched->count; i++)
        loops |= relay_sched_wake_for(s, touched->dests[i]);
    return loops;
}

/* Does one of the batch's destinations rest, or is it suspended? For the log. */
static bool any_rests(const struct relay_dest_set *touched)
{
    for (uint32_t i = 0; i < touched->count && i < PT_ARRAY_LEN(touched->dests); i++)
        if (relay_dest_rests(touched->dests[i]) || touched->dests[i]->suspension)
            return true;
    return false;
}

static void log_resting(struct relay *r, struct spool_message *const *messages, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        char error[RELAY_ERROR_SIZE] = "";
        int64_t until_us = 0;
        struct relay_item *item;

        relay_lock(r);
        item = relay_sched_find(&r->sched, messages[i]->id);
        for (struct relay_group *g = item ? item->groups : NULL; g; g = g->sibling) {
            if (g->state != RELAY_GROUP_READY)
                continue;
            if (g->dest->suspension) {
                snprintf(error, sizeof error, "%s", RELAY_SUSPENDED);
                until_us = g->dest->suspension->until_us;
            } else if (relay_dest_rests(g->dest)) {
                snprintf(error, sizeof error, "%s", g->dest->error);
                until_us = g->dest->rest.at_us;
            }
        }
        relay_unlock(r);
        if (error[0])
            log_waits(messages[i], error, until_us);
    }
}

/* Queues them and wakes who has something to do. True if one is for a destination at rest. */
static bool add_all(struct relay *r, struct spool_message *const *messages, uint32_t count)
{
    struct relay_dest_set touched = { .count = 0 };
    int64_t now_us = relay_now(r);
    const struct spool_message *lost = NULL;
    bool rests;
    uint64_t loops;

    relay_lock(r);
    for (uint32_t i = 0; i < count; i++)
        if (!relay_sched_add(&r->sched, messages[i], now_us, &touched))
            lost = messages[i];
    loops = wake_for_set(&r->sched, &touched);
    rests = any_rests(&touched);
    relay_unlock(r);
    relay_wake_loops(r, loops);
    if (lost)
        log_not_queued(lost);
    return rests;
}

void relay_committed(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    if (add_all(ctx, messages, count))
        log_resting(ctx, messages, count);
}

void relay_recovered(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    PT_IGNORE(add_all(ctx, messages, count), "the log has had its line");
}

void relay_wake_loops(struct relay *r, uint64_t loops)
{
    while (loops) {
        struct relay_loop *rl;

        rl = atomic_load_explicit(&r->loops[__builtin_ctzll(loops)], memory_order_acquire);
        loops &= loops - 1;
        if (rl && !atomic_exchange_explicit(&rl->wake_posted, true, memory_order_acq_rel))
            net_loop_post(rl->loop, &rl->wake);
    }
}

/* ---- settings ---- */

bool relay_set_settings(struct relay *r, const struct settings *settings)
{
    uint64_t turn = atomic_fetch_add(&r->settings_turn, 1) + 1;
    uint64_t cursor = 0, loops;
    bool done;

    relay_lock(r);
    done = relay_sched_set_settings(&r->sched, settings);
    if (done) {
        struct retry_policy retry = retry_policy_with(r->config.retry, settings);

        relay_sched_set_retry(&r->sched, &retry);
        set_self(r, settings);
        atomic_store(&r->outgoing_tls, settings->tls.outgoing);
    }
    relay_unlock(r);
    if (!done)
        return false;
    /* In steps, so that deliveries go on; a newer change ends this one. */
    for (done = false; !done && atomic_load(&r->settings_turn) == turn;) {
        relay_lock(r);
        done = relay_sched_reroute(&r->sched, &cursor, REROUTE_STEP, relay_now(r));
        relay_unlock(r);
    }
    relay_lock(r);
    loops = relay_sched_wake(&r->sched);
    relay_unlock(r);
    relay_wake_loops(r, loops);
    return true;
}

void relay_set_clients(struct relay *r, struct relay_clients *clients)
{
    struct relay_clients *old;

    if (clients)
        relay_clients_ref(clients);
    relay_lock(r);
    old = r->clients;
    r->clients = clients;
    relay_unlock(r);
    relay_clients_unref(old);
}

void relay_forget_handshaker(struct relay *r)
{
    r->config.handshaker = NULL;
}

/* ---- the end ---- */

void relay_stop(struct relay *r, void (*stopped)(void *ctx), void *ctx)
{
    uint32_t n = 0;

    r->stopped = stopped;
    r->stopped_ctx = ctx;
    for (unsigned i = 0; i < r->config.loops; i++)
        n += r->loops[i] != NULL;
    atomic_store(&r->busy_loops, n);
    atomic_store(&r->stopping, true);
    if (n)
        relay_wake_loops(r, UINT64_MAX >> (64 - r->config.loops));
    else
        stopped(ctx);
}

void relay_get_stats(struct relay *r, struct relay_stats *out)
{
    const struct relay_counters *c = &r->counters;
    const struct relay_sched *s = &r->sched;
    struct relay_stats stats = { 0 };

    relay_lock(r);
    stats.messages = s->messages;
    stats.ready = s->groups[RELAY_GROUP_READY];
    stats.deferred = s->groups[RELAY_GROUP_DEFERRED];
    stats.busy = s->groups[RELAY_GROUP_BUSY];
    stats.held = s->groups[RELAY_GROUP_HELD];
    stats.cached_octets = s->cached;
    stats.unsaved = r->unsaved_count;
    stats.connections = s->connections;
    stats.suspensions = s->suspension_count;
    for (unsigned i = 0; i < r->config.loops; i++)
        if (r->loops[i])
            stats.reading_octets += r->loops[i]->reading;
    relay_unlock(r);
    stats.delivered = atomic_load_explicit(&c->delivered, memory_order_relaxed);
    stats.deferrals = atomic_load_explicit(&c->deferrals, memory_order_relaxed);
    stats.failed = atomic_load_explicit(&c->failed, memory_order_relaxed);
    stats.in_doubt = atomic_load_explicit(&c->in_doubt, memory_order_relaxed);
    stats.connects = atomic_load_explicit(&c->connects, memory_order_relaxed);
    stats.connect_failures = atomic_load_explicit(&c->connect_failures, memory_order_relaxed);
    stats.delivered_tls = atomic_load_explicit(&c->delivered_tls, memory_order_relaxed);
    stats.tls_handshakes = atomic_load_explicit(&c->tls_handshakes, memory_order_relaxed);
    stats.tls_verified = atomic_load_explicit(&c->tls_verified, memory_order_relaxed);
    stats.tls_resumed = atomic_load_explicit(&c->tls_resumed, memory_order_relaxed);
    stats.tls_failures = atomic_load_explicit(&c->tls_failures, memory_order_relaxed);
    stats.tls_fallbacks = atomic_load_explicit(&c->tls_fallbacks, memory_order_relaxed);
    stats.tls_unmet = atomic_load_explicit(&c->tls_unmet, memory_order_relaxed);
    stats.auth_refused = atomic_load_explicit(&c->auth_refused, memory_order_relaxed);
    stats.bounces = atomic_load_explicit(&c->bounces, memory_order_relaxed);
    *out = stats;
}
