#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "access/hits.h"
#include "base/budget.h"
#include "base/buf.h"
#include "gateway/gateway.h"
#include "gateway/limits.h"
#include "gateway/record.h"
#include "gateway/refused.h"
#include "net/linger.h"
#include "smtp/server.h"

/*
 * gateway/loop: what the sessions of one loop share. Within the room only.
 */

struct session;

/* Counters of one loop: written by it alone, read by anyone. */
struct gateway_counters {
    _Atomic uint64_t connections, refused, over_limit, messages, octets, rejected_messages,
        messages_tls, handshakes, failed_handshakes;
};

#define GATEWAY_COUNT(counter, n)                                                                  \
    atomic_store_explicit(&(counter),                                                              \
                          atomic_load_explicit(&(counter), memory_order_relaxed) + (uint64_t)(n),  \
                          memory_order_relaxed)

struct gateway {
    struct spool *spool;
    struct tls_handshaker *handshaker;
    const struct gateway_recipients *recipients; /* NULL: no next hop can be asked */
    struct tracking *tracking;                   /* NULL: nothing is recorded */
    struct net_resolver *resolver;               /* NULL: there is none */
    struct budget memory;                        /* for what clients send, until it is stored */
    atomic_bool memory_short;      /* the whole process has little left: no new transactions */
    _Atomic uint32_t sessions;     /* the one count of all loops, exact */
    uint32_t sessions_max;         /* what the system allows; 0: not known */
    struct gateway_limits limits;  /* what each client does */
    _Atomic uint64_t next_session; /* ID of the next one */
    struct gateway_loop **loops;
    unsigned loop_count, loops_max;

    /* What the loops take over; under the lock. */
    pthread_mutex_t lock;
    struct policy_snapshot *snapshot;
    struct tls_server *tls;
    struct gateway_listener *listeners[GATEWAY_LISTENERS_MAX];
    unsigned listener_count;
    struct gateway_listener *retiring[GATEWAY_RETIRING_MAX]; /* the oldest first */
    unsigned retiring_count;
    uint64_t published;   /* how often */
    pthread_cond_t taken; /* a loop has taken over what was published */
    bool draining;
    unsigned grace_ms;
    void (*drained)(void *ctx);
    void *drained_ctx;
    _Atomic unsigned loops_draining;
};

/* More than half is taken: who can do with less shall. */
static inline bool gateway_memory_is_tight(const struct gateway *g)
{
    return budget_used(&g->memory) > g->memory.max / 2;
}

/* Up to here transactions may take more than their least; the rest is for new ones. */
static inline uint64_t gateway_memory_for_growth(const struct gateway *g)
{
    return g->memory.max / 4 * 3;
}

enum { GATEWAY_INPUT_SIZE = 65536 };

struct gateway_acceptor {
    struct net_acceptor acceptor;
    struct gateway_loop *loop;
    struct gateway_listener *listener;
    struct gateway_acceptor *next;
    int64_t retires_ns; /* when it is to end; 0: it is in service */
};

struct gateway_loop {
    struct gateway *gateway;
    struct net_loop *loop;
    struct policy_snapshot *snapshot;
    struct tls_server *tls;           /* NULL: none */
    struct smtp_server_config config; /* of the snapshot; the sessions' machines borrow it */
    struct gateway_acceptor *acceptors;
    struct net_timer retire; /* while there are retiring ones */
    struct net_linger *linger;

    struct session *sessions, *newest; /* all, the oldest first */
    struct session *spare;             /* structures to use again */
    unsigned spare_count, session_count;

    /* Messages of this turn for the commit thread. */
    struct spool_op *submit_first, *submit_last;

    /* Names the next refusal, and the same as it stands at the end of a reply. */
    uint64_t next_ref;
    char ref_tail[8 + POLICY_REF_SIZE];

    struct tracking_feed *feed; /* NULL: nothing is recorded */
    struct net_timer record;    /* until what has gathered is handed over */
    bool recording;

    struct live_walk *walks;   /* who is reading the list of sessions */
    struct names_known *names; /* what the DNS said lately; NULL: nothing */
    struct asking *askings;    /* questions to the DNS that are not answered */

    struct net_timer sweep; /* once a second while there are sessions */
    struct net_timer grace;
    bool sweeping, draining;

    struct mail publish; /* wakes the loop to take over what was published */
    atomic_bool publish_posted;
    uint64_t taken; /* which publishing it has taken over; under the gateway's lock */

    struct gateway_counters counters;
    struct access_hits *hits; /* of the entries of both lists */
    struct gateway_refused refused;
    struct buf out;                 /* replies of the session at hand */
    struct buf scratch;             /* a trace header, a log value */
    char input[GATEWAY_INPUT_SIZE]; /* what was just read, of whichever session */
};

/* ---- accepting (accept.c) ---- */

/* The lists are of listeners in service, and of those that retire. */
void gateway_accept_take(struct gateway_loop *l, struct gateway_listener *const *listeners,
                         unsigned count, struct gateway_listener *const *retiring,
                         unsigned retiring_count);

/* The end: who is in a queue gets a session, or is told; then nothing is accepted any more. */
void gateway_accept_end(struct gateway_loop *l);
void gateway_accept_init(struct gateway_loop *l);
void gateway_accept_done(struct gateway_loop *l); /* at once */

bool gateway_listener_among(struct gateway_listener *const *list, unsigned count,
                            const struct gateway_listener *l);

/* Under the gateway's lock: a listener that is not in service any more; one that is again. */
void gateway_accept_retire(struct gateway *g, struct gateway_listener *l);
void gateway_accept_revive(struct gateway *g, struct gateway_listener *l);

/* A client was accepted; one cannot be. (gateway.c) */
void gateway_loop_accepted(struct net_acceptor *a, int fd, const struct net_endpoint *peer);
void gateway_loop_turned_away(struct net_acceptor *a, int fd);

/* A session leaves the list. (live.c) */
void gateway_live_session_gone(struct gateway_loop *l, const struct session *s);

/* Hands an operation to the commit thread at the end of this turn. */
void gateway_loop_submit(struct gateway_loop *l, struct spool_op *op);

/* The loop's session list has changed. */
void gateway_loop_session_added(struct gateway_loop *l);
void gateway_loop_session_gone(struct gateway_loop *l);
