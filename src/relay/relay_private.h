#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "net/stream.h"
#include "relay/relay.h"
#include "relay/scheduler.h"

/*
 * What the files of the relay share.
 *
 * The scheduler and all that hangs on it are under `lock`, which is held for microseconds and never
 * while a system call or a log line is made. Each connection belongs to its loop's thread.
 */

struct relay_conn;
struct relay_callouts;
struct relay_op;

struct relay_counters {
    _Atomic uint64_t delivered, deferrals, failed, in_doubt, connects, connect_failures, bounces;
    _Atomic uint64_t delivered_tls, tls_handshakes, tls_verified, tls_resumed, tls_failures,
        tls_fallbacks, tls_unmet, auth_refused;
};

struct relay {
    struct relay_config config;
    pthread_mutex_t lock;
    struct relay_sched sched;                            /* under lock */
    _Atomic(struct relay_loop *) loops[RELAY_LOOPS_MAX]; /* changed under lock */
    struct relay_op *unsaved; /* under lock: outcomes to submit again, oldest first */
    struct relay_op **unsaved_end;
    uint64_t unsaved_count;
    int64_t notices_from_us; /* under lock: the spool had no room for what may come later */
    char hostname[256];      /* under lock: for EHLO and notices */
    struct net_endpoint own; /* under lock, as is the next: see relay/ourselves.h */
    uint8_t own_listen;
    struct relay_clients *clients;                            /* under lock: a reference, or NULL */
    _Atomic bool outgoing_tls;                                /* connections.tls.outgoing */
    _Atomic(struct relay_op *) returned_ops[RELAY_LOOPS_MAX]; /* used, one list per loop */
    struct spool *spool;
    struct relay_counters counters;
    struct relay_callouts *callouts;
    _Atomic bool stopping;
    _Atomic uint32_t busy_loops; /* while stopping: loops that are not done */
    void (*stopped)(void *ctx);
    void *stopped_ctx;
    _Atomic uint64_t settings_turn; /* the newest relay_set_settings() wins */
};

struct relay_loop {
    struct relay *relay;
    struct net_loop *loop;
    unsigned index;
    struct mail wake;
    _Atomic bool wake_posted;
    struct net_timer tick;
    bool stopping, stopped;
    int64_t stop_by_ns;
    uint32_t ticks;

    struct relay_conn *conns; /* all */
    struct relay_conn *idle;  /* the last used first */
    uint32_t conn_count;
    uint32_t asking_count;     /* of these, connections that ask (asking.h) */
    bool crowded;              /* no room for a connection that somebody wants */
    uint32_t jobs;             /* reads, questions and notices under way */
    struct retry_policy retry; /* the scheduler's, as of the last tick */

    _Atomic uint64_t reading;   /* octets asked for or held by deliveries */
    struct relay_conn *starved; /* wait for `reading` to go down */

    struct spool_op *ops, **ops_end; /* of this turn */
    struct relay_op *free_ops;

    char buffer[65536]; /* what is read, for all connections */
};

static inline int64_t relay_now(const struct relay *r)
{
    return r->config.now_us(r->config.now_ctx);
}

static inline void relay_lock(struct relay *r)
{
    pthread_mutex_lock(&r->lock);
}

static inline void relay_unlock(struct relay *r)
{
    pthread_mutex_unlock(&r->lock);
}

static inline void relay_count(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_fetch_add_explicit(counter, n, memory_order_relaxed);
}

/* ---- relay.c ---- */

/* Wakes the loops whose bits are set; not under the lock. */
void relay_wake_loops(struct relay *r, uint64_t loops);

/* ---- loop.c ---- */

/* Something ended: when stopping, perhaps all. */
void relay_loop_check_stopped(struct relay_loop *rl);
