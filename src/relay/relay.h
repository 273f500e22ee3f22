#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/loop.h"
#include "net/resolver.h"
#include "relay/clients.h"
#include "relay/retry.h"
#include "settings/settings.h"
#include "spool/spool.h"
#include "tls/handshake.h"

/*
 * relay: takes every committed message to its next hops, as often as it needs, or gives it back.
 *
 * One struct relay per gateway, one struct relay_loop per net_loop. The commit thread puts messages
 * on the queues of their destinations and wakes loops that have something to do; the loops open
 * connections as there is work for them, and submit outcomes to the spool. What it promises:
 *
 *   1. Each recipient of each message ends exactly once: delivered, bounced, expired or deleted.
 *      Until then it is queued, also after a crash.
 *   2. A recipient is tried twice with success only if a connection died between the final dot and
 *      its reply, or the gateway died before the outcome was durable (at most a second).
 *   3. A destination that is unreachable or slow touches no other.
 *   4. Content in memory is bounded by the cache budget, plus a piece per connection.
 *
 * An outcome that the spool cannot store stays in memory and is submitted again; within one run it
 * counts as if it were stored.
 *
 * Log events: "delivered", "deferred", "bounced" (failed; `bounce` names the notice), "in_doubt",
 * one line per group of recipients with the same outcome; "connect_failed", once per rest of a
 * destination; "tls_fallback", when a next hop is talked to in clear because TLS failed.
 */

struct relay;
struct relay_loop;

struct relay_config {
    unsigned loops;                    /* 1 to 64 */
    const struct settings *settings;   /* a reference is taken */
    struct net_resolver *resolver;     /* NULL: only literals, for tests */
    struct tls_handshaker *handshaker; /* NULL: without TLS, so what demands it waits */
    struct relay_clients *clients;     /* a reference is taken; NULL: as above */
    const struct retry_policy *retry;  /* NULL: retry_policy_default */
    uint64_t cache_budget;             /* octets of memory for queued content; 0: 64 MiB */
    uint64_t read_budget;              /* octets read back per loop; 0: 16 MiB. A connection that
                                        * has nothing to send may go beyond by a small piece */
    uint64_t callout_octets;           /* of answers about recipients; 0: 16 MiB */
    uint64_t seed;                     /* for jitter */
    uint32_t connect_ms, idle_ms, tick_ms; /* 0: 30 s, 5 s, 1 s */
    uint32_t connections_max;              /* of a loop; 0: 1000 */
    uint32_t silence_ms;   /* a peer's time limit; 0: that of each state (RFC 5321 4.5.3.2) */
    uint32_t stop_ms;      /* for deliveries past their final dot; 0: 20 s */
    unsigned client_flags; /* SMTP_CLIENT_…; 0: the default */
    int64_t (*now_us)(void *ctx); /* wall time; NULL: the system's */
    void *now_ctx;
};

/* NULL when memory is short. */
struct relay *relay_new(const struct relay_config *config);

/* After all its loops are freed and the spool is closed. */
void relay_free(struct relay *r);

/* Before the first loop starts: where outcomes go. The spool may call relay_recovered() and
 * relay_committed() before. NULL once it is closed, while no loop runs: what is still under way
 * then ends unheard. */
void relay_set_spool(struct relay *r, struct spool *spool);

/* spool_config.recovered and .committed, with the relay as `ctx`; from the time that relay_new()
 * has returned, with or without loops. */
void relay_recovered(void *ctx, struct spool_message *const *messages, uint32_t count);
void relay_committed(void *ctx, struct spool_message *const *messages, uint32_t count);

/* ---- loops ---- */

/* On the loop's thread or before it runs. The index of the loop must be below config.loops.
 * NULL when memory is short. */
struct relay_loop *relay_loop_new(struct relay *r, struct net_loop *loop);

/* On the loop's thread, after relay_stop() has reported and before net_loop_free(); the loop must
 * not turn any more. Connections still open are dropped; their messages stay in the spool. */
void relay_loop_free(struct relay_loop *rl);

/* ---- changes and the end ---- */

/* From now on mail goes by these routes, queued mail too; a reference is taken. Any thread; takes
 * time proportional to the queue, in small steps. False when memory is short: nothing changed. */
PT_NODISCARD bool relay_set_settings(struct relay *r, const struct settings *settings);

/* New connections begin TLS with these; a reference is taken. Any thread. */
void relay_set_clients(struct relay *r, struct relay_clients *clients);

/* The threads of handshakes have ended, while no loop runs: none is begun any more. */
void relay_forget_handshaker(struct relay *r);

/* Begins no transaction any more; deliveries past their final dot get up to `stop_ms`. When nothing
 * is under way on any loop, `stopped` is called on one of them. Any thread, once. */
void relay_stop(struct relay *r, void (*stopped)(void *ctx), void *ctx);

struct relay_stats {
    uint64_t messages;                    /* queued */
    uint64_t ready, deferred, busy, held; /* groups of recipients */
    uint64_t connections;
    uint64_t suspensions;                            /* destinations that are suspended */
    uint64_t cached_octets;                          /* content of queued messages in memory */
    uint64_t reading_octets;                         /* content read back, all loops */
    uint64_t delivered, deferrals, failed, in_doubt; /* recipients, since the start */
    uint64_t connects, connect_failures;             /* since the start */
    uint64_t bounces;                                /* made since the start */
    uint64_t delivered_tls;                          /* of `delivered`, over TLS */
    uint64_t tls_handshakes, tls_verified, tls_resumed, tls_failures; /* since the start */
    uint64_t tls_fallbacks; /* tried again in clear after TLS failed */
    uint64_t tls_unmet;     /* connections given up because a route's demand was not met */
    uint64_t auth_refused;  /* next hops that refused a route's password, since the start */
    uint64_t unsaved;       /* outcomes that the spool could not store yet */
};
void relay_get_stats(struct relay *r, struct relay_stats *out); /* any thread */
