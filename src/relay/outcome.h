#pragma once
#include "relay/relay_private.h"
#include "tls/connection.h"

/*
 * relay/outcome: from what a next hop said to what the spool keeps.
 *
 * Decides whether a recipient is tried again or given up, logs it, makes the notice where one is
 * due (notice.h), settles the group with the scheduler and submits the outcome.
 */

/* What served the delivery; borrowed. */
struct relay_via {
    const char *host;  /* next hop as configured or found; NULL: none was reached */
    const char *peer;  /* "192.0.2.1:25"; NULL: none */
    bool reused;       /* not the first message of its connection */
    bool unreachable;  /* deferred for want of a connection */
    bool final;        /* LMTP: what it takes is delivered, not relayed */
    bool tells;        /* it offers DSN: what becomes of the message it tells the sender itself */
    uint32_t endpoint; /* relay_endpoint_hash() */
    bool secured;      /* over TLS, see `tls` */
    struct tls_info tls;
    const char *clear;               /* why it is in clear although TLS was wished for; NULL */
    struct relay_outcome_wait *wait; /* told once the outcome is stored; NULL: nobody waits */
};

/*
 * An outcome on its way to the spool. Reused, so that deliveries allocate nothing.
 */
struct relay_op {
    struct spool_op op;
    struct relay *relay;
    struct relay_loop *rl; /* while a notice is made */
    struct relay_op *next;
    unsigned home; /* index of the loop that it goes back to */
    struct relay_group *group;
    struct spool_message *message; /* a reference */
    uint32_t count;
    struct relay_result *results; /* about group->indexes[i] */
    struct spool_outcome *outcomes;
    struct relay_result one_result;
    struct spool_outcome one_outcome;
    char *texts; /* what the replies, or the routes, point at */
    struct spool_route *routes;
    struct relay_again again;
    const char *why; /* of those that are given up though the last answer was "later" */
    bool final;      /* as in relay_via, as is the next */
    bool tells;
    bool late;                       /* no delivery: only the notice that it waits */
    char host[256];                  /* for the notice */
    struct relay_outcome_wait *wait; /* told once */
    bool once;                       /* settled whatever the spool says, not stored again */
};

/*
 * Ends the delivery of a busy group; results[i] is about g->indexes[i], texts are copied. The
 * group may be freed. On the loop's thread. Without memory to keep an outcome it still counts for
 * this run.
 */
void relay_outcome(struct relay_loop *rl, struct relay_group *g, const struct relay_result *results,
                   const struct relay_via *via);

/* The same for all recipients of the group alike. */
void relay_outcome_all(struct relay_loop *rl, struct relay_group *g,
                       const struct relay_result *result, const struct relay_via *via);

/* Why a recipient is given up whom no next hop refused for good: status and words; the last reason
 * is put behind them. */
#define RELAY_TOO_OLD "4.4.7 tried for as long as mail is kept here, without success"
#define RELAY_LAST_REASON "; the last reason: "

/* Ends a gathered group (scheduler.h): nobody in it is tried any more. `why` is a constant. */
void relay_outcome_given_up(struct relay_loop *rl, struct relay_group *g, const char *why,
                            struct relay_outcome_wait *wait);

/* Tells the sender that a gathered group waits; the group goes back to where it was. */
void relay_outcome_late(struct relay_loop *rl, struct relay_group *g);

/* Second half, once the notice (or NULL) is made: takes the notice's reference. */
void relay_outcome_commit(struct relay_op *op, struct spool_message *bounce);

/* Submits what the spool could not store; on one loop, now and then. */
void relay_outcome_submit_unsaved(struct relay *r);

/* Submits this turn's outcomes: a hook of the loop. */
void relay_outcome_submit(void *relay_loop);

/* Somebody who waits until operations are stored; on the waiter's stack. */
struct relay_outcome_wait {
    pthread_mutex_t lock;
    pthread_cond_t stored;
    uint32_t pending;
    enum pt_err err; /* the first */
};
void relay_outcome_wait_init(struct relay_outcome_wait *w);
void relay_outcome_wait(struct relay_outcome_wait *w, uint32_t at_most); /* until so few are left */
enum pt_err relay_outcome_wait_done(struct relay_outcome_wait *w);       /* nothing is pending */

/* One more to wait for, before it is submitted. */
void relay_outcome_wait_add(struct relay_outcome_wait *w);
void relay_outcome_wait_tell(struct relay_outcome_wait *w, enum pt_err result); /* NULL: nothing */

/* Makes a busy group, which stays as it is otherwise, due now: ready once that is stored, or once
 * the spool could not. Any thread. False (memory): nothing happened. */
PT_NODISCARD bool relay_outcome_due_now(struct relay *r, struct relay_group *g,
                                        struct relay_outcome_wait *wait);

/* An operation that is no outcome (hold, release, delete): stored like the others, again if it
 * fails; `wait` hears of the first try. Any thread. False when memory is short. */
PT_NODISCARD bool relay_outcome_submit_kind(struct relay *r, struct spool_message *m,
                                            enum spool_op_kind kind,
                                            struct relay_outcome_wait *wait);

/* Recipients of a message that are sent to `next_hop` from now on, stored in the same way. */
PT_NODISCARD bool relay_outcome_submit_routes(struct relay *r, struct spool_message *m,
                                              const uint32_t *recipients, uint32_t count,
                                              struct str next_hop, struct relay_outcome_wait *wait);

void relay_outcome_free_all(struct relay *r);
