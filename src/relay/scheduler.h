#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "net/addr.h"
#include "relay/destination.h"
#include "relay/due.h"
#include "relay/retry.h"
#include "settings/settings.h"
#include "spool/spool.h"

/*
 * relay/scheduler: what is to be delivered, where to, and when.
 *
 * A message's recipients are grouped by destination (see destination.h); the group is the unit
 * that is queued, delivered and deferred. Each group is in exactly one list of its destination:
 * ready (first in, first out), deferred (also in the heap of what is due), busy (in a delivery) or
 * held. An operation takes O(log n) steps and those of the recipients it is about, however many
 * destinations and messages there are; what must look at all of them does so in bounded pieces. A
 * queued message costs some 180 octets here.
 *
 * Fairness: destinations take turns in opening connections, and none keeps a connection for ever
 * while others wait for one (relay_sched_should_yield()). Within a destination the big messages
 * (RELAY_BIG) are a queue of their own: they take at most half of its connections, and one of them
 * starts only after RELAY_SMALL_RUN others while there are others.
 *
 * Pure: no I/O, no lock, no clock, no thread of its own. The caller holds one lock around every
 * call and passes wall time in microseconds. Messages are referenced as long as they are queued.
 */

enum relay_group_state {
    RELAY_GROUP_READY,
    RELAY_GROUP_DEFERRED,
    RELAY_GROUP_BUSY,
    RELAY_GROUP_HELD,
    RELAY_GROUP_STATES,
};

enum { RELAY_DUE_GROUP, RELAY_DUE_DEST, RELAY_DUE_PACE };

enum { RELAY_PULL_MAX = 16 };

/* The recipients of one message that go to one destination and are tried together. */
struct relay_group {
    struct relay_group *next, *prev;            /* in the destination's list of its state */
    struct relay_group *sibling, *sibling_prev; /* of the same message */
    struct relay_item *item;
    struct relay_dest *dest;
    struct due due;      /* while deferred; `at_us` is the next attempt in every state */
    uint32_t attempts;   /* begun and failed so far */
    uint32_t prefer;     /* in doubt: relay_endpoint_hash() of where; 0: anywhere */
    uint32_t count;      /* recipients */
    uint8_t state;       /* enum relay_group_state */
    uint8_t passed_over; /* times a connection to elsewhere left it, see `prefer` */
    bool unreachable;    /* deferred for want of a connection: due as soon as there is one */
    bool big;            /* see RELAY_BIG */
    bool gathered;       /* from expired(), late() or take(): may span destinations */
    uint32_t *indexes;   /* into the message's recipients */
    uint32_t inline_indexes[2];
};

/* A queued message. */
struct relay_item {
    struct relay_item *left, *right; /* the index by ID */
    uint64_t id;
    struct spool_message *message;
    struct relay_group *groups;
    uint32_t busy;        /* groups in delivery */
    bool counted;         /* its cached content is part of the scheduler's `cached` */
    _Atomic bool deleted; /* by an administrator; deliveries not begun do not begin */
};

/* The flags of a message that others may hold or release at this moment. */
static inline uint32_t relay_message_flags(const struct spool_message *m)
{
    return __atomic_load_n(&m->flags, __ATOMIC_RELAXED);
}

struct relay_sched {
    struct retry_policy retry;
    struct rng rng;
    unsigned loops;
    uint64_t cache_budget; /* octets of memory that the content of queued messages may take */

    struct relay_item *index; /* private from here on */
    struct due_heap due;
    struct relay_dest_table dests;
    const struct settings *settings;
    uint64_t settings_count; /* sets of them so far */
    struct relay_dest **by_route;
    struct relay_suspension *suspensions; /* all, the newest first */
    uint32_t suspension_count;
    int64_t suspensions_end_us; /* when the first of them does; INT64_MAX: none */
    uint64_t cached;
    uint64_t messages;
    uint64_t groups[RELAY_GROUP_STATES];
    uint32_t unlinked; /* groups in no list at the moment */
    uint64_t expire_cursor;
    uint64_t late_cursor; /* up to here senders were told of delays */
    int64_t now_us;       /* the last time that was told */
    uint32_t sweep_bucket;
    uint64_t connections;             /* over all destinations */
    uint32_t probes[RELAY_LOOPS_MAX]; /* connections that try destinations in trouble */
    uint32_t turn;                    /* of relay_sched_open() */
    uint64_t steps;                   /* entries looked at, for the tests that count them */
    struct relay_group *free_groups;  /* linked by `next` */
    uint32_t free_group_count;
    struct relay_item *free_items; /* linked by `left` */
    uint32_t free_item_count;
    unsigned next_loop;
};

void relay_sched_init(struct relay_sched *s, const struct retry_policy *retry, unsigned loops,
                      uint64_t seed);
void relay_sched_done(struct relay_sched *s);

/* Another policy from now on; what is planned stays. */
void relay_sched_set_retry(struct relay_sched *s, const struct retry_policy *retry);

/* ---- routes ---- */

/* The routes for what is added from now on; takes a reference. False (memory): unchanged. */
PT_NODISCARD bool relay_sched_set_settings(struct relay_sched *s, const struct settings *settings);

/* Puts the messages after `*cursor` (0: from the first) on the queues of today's routes, at most
 * `max`, and moves the cursor. True when all are done. Groups in delivery stay where they are until
 * they come back. */
bool relay_sched_reroute(struct relay_sched *s, uint64_t *cursor, uint32_t max, int64_t now_us);

/* ---- messages come and go ---- */

/* Queues a committed message; takes a reference. `touched` (may be NULL) collects the destinations
 * that have more to do. False: memory is short, nothing is queued. */
struct relay_dest_set {
    struct relay_dest *dests[64];
    uint32_t count;
};
PT_NODISCARD bool relay_sched_add(struct relay_sched *s, struct spool_message *m, int64_t now_us,
                                  struct relay_dest_set *touched);

struct relay_item *relay_sched_find(struct relay_sched *s, uint64_t id);

/* The message with the smallest ID above `id`, or NULL. */
struct relay_item *relay_sched_after(struct relay_sched *s, uint64_t id);

/* Takes up to `max` ready groups of the destination into delivery. `where` is the hash of the
 * endpoint that would take them: a group in doubt elsewhere is passed over once. */
uint32_t relay_sched_pull(struct relay_sched *s, struct relay_dest *d, uint32_t where,
                          struct relay_group **out, uint32_t max);

/* How many groups one connection should pull now, so that the others get their share. */
uint32_t relay_sched_share(const struct relay_sched *s, const struct relay_dest *d);

/* Gives back what was pulled and not begun: to the head of the queue, nothing is counted; what was
 * gathered goes where it came from. */
void relay_sched_put_back(struct relay_sched *s, struct relay_group *g);

/* One recipient's result. */
struct relay_result {
    uint8_t state; /* enum spool_state; QUEUED: deferred */
    uint16_t code;
    bool untried;     /* with QUEUED: no attempt to count */
    bool keeps_time;  /* with QUEUED or IN_DOUBT: its next attempt stays as planned */
    bool delay_told;  /* a notice that it waits goes with this */
    bool given_up;    /* with FAILED: by us; our words stand in front of what was heard last */
    struct str reply; /* copied into the message */
};

/*
 * Ends a delivery: results[i] is about g->indexes[i]. Recipients that are done leave the group,
 * the others are tried again at `next_us` (which goes into the message); they then sit with the
 * routes of today. `unreachable`: see struct relay_group. `prefer`: where it is in doubt, or 0.
 * The group is freed when nobody is left, and the message with its last group.
 */
struct relay_again {
    int64_t next_us;
    bool unreachable;
    uint32_t prefer;
};
void relay_sched_settle(struct relay_sched *s, struct relay_group *g,
                        const struct relay_result *results, const struct relay_again *again,
                        int64_t now_us);

/* ---- time ---- */

/* Makes ready what is due, ends what rests; at most `max` entries. True when there may be more. */
bool relay_sched_due(struct relay_sched *s, int64_t now_us, uint32_t max);

/* When the next entry is due; INT64_MAX: never. */
int64_t relay_sched_next_due(const struct relay_sched *s);

/*
 * Both take up to `max` groups into delivery, at most one of a message: what one message's
 * recipients have in common is told in one notice. Such a group may span destinations; what comes
 * back from it is grouped anew. Each recipient's last reply says why it waits, if it is known.
 *
 * expired: the message is too old and waits for a destination at rest; to be given up.
 * late:    its sender should hear that it waits (RFC 3461 5.2.5): some recipient of it is not
 *          NOTIFY without DELAY and not told yet; to come back with keeps_time. Held ones are
 *          left out, and so are null reverse-paths and our own messages.
 */
uint32_t relay_sched_expired(struct relay_sched *s, int64_t now_us, struct relay_group **out,
                             uint32_t max);
uint32_t relay_sched_late(struct relay_sched *s, int64_t now_us, struct relay_group **out,
                          uint32_t max);

/* late() looks at this message again: it is new here, or its notice could not be kept. */
void relay_sched_still_late(struct relay_sched *s, const struct relay_item *item);

/* Should the sender hear that this recipient waits? */
bool relay_wants_delay_notice(const struct spool_recipient *r);

/* ---- connections ---- */

/* A destination to which `loop` should open a connection now, or NULL; it is counted as connecting.
 * Those that did not answer lately get every eighth turn as long as there are others, and at most
 * RELAY_PROBES_MAX connections of a loop: however many of them there are, the others are served. */
enum { RELAY_PROBES_MAX = 500, RELAY_PROBE_TURN = 8 };
struct relay_dest *relay_sched_open(struct relay_sched *s, unsigned loop);

/* The connection stands and can take messages. */
void relay_sched_connected(struct relay_sched *s, struct relay_dest *d);

/* No next hop would take anything; the connection, still counted as connecting or not, is gone.
 * Unless others stand, the destination rests. `reason` is copied. True if a rest begins. */
bool relay_sched_unreachable(struct relay_sched *s, struct relay_dest *d, unsigned loop,
                             bool connecting, int64_t now_us, struct str reason);

/* A connection that stood is gone; `trouble`: not in good order. */
void relay_sched_closed(struct relay_sched *s, struct relay_dest *d, unsigned loop, bool trouble);

/* A connection ran out of work (idle) or found some. */
void relay_sched_idle(struct relay_sched *s, struct relay_dest *d, unsigned loop, bool idle);

/* A next hop took or refused a message as it should: the destination is alive, what was deferred
 * for want of a connection is due, concurrency may grow. `us` is how long it
 * took. True if more connections may be opened. */
bool relay_sched_went_well(struct relay_sched *s, struct relay_dest *d, uint32_t us);

/* Does any destination want a connection? */
static inline bool relay_sched_wants(const struct relay_sched *s)
{
    return s->dests.active[RELAY_ACTIVE_WELL].count || s->dests.active[RELAY_ACTIVE_PROBING].count;
}

/* The loop has no room for more connections and others wait for one: should one of `d`, which has
 * handed over `served` messages, make room? */
enum { RELAY_YIELD_AFTER = 100 };
bool relay_sched_should_yield(const struct relay_sched *s, const struct relay_dest *d,
                              uint32_t served);

/* The loops that have something to do for `d`, as bits. */
uint64_t relay_sched_wake_for(struct relay_sched *s, struct relay_dest *d);

/* The same over all destinations with something to do; when they are many, simply all loops. */
uint64_t relay_sched_wake(struct relay_sched *s);

/* Frees destinations that have nothing: no groups, no connections, no rest. Looks at `max` buckets
 * of the table and goes on from there the next time. */
void relay_sched_sweep(struct relay_sched *s, uint32_t max);

/* ---- an administrator's hand ---- */

/* Ends the rest of all destinations of the message and takes up to `max` of its deferred groups
 * into delivery, to be settled as due now once that is stored. `*out_waits`: it has groups that are
 * neither held nor in delivery. */
uint32_t relay_sched_retry(struct relay_sched *s, struct relay_item *item, struct relay_group **out,
                           uint32_t max, bool *out_waits);

/* Sets or clears SPOOL_HELD. False: it was so already. */
bool relay_sched_hold(struct relay_sched *s, struct relay_item *item);
bool relay_sched_release(struct relay_sched *s, struct relay_item *item, int64_t now_us);

/* Takes the message off the queues; what is in delivery ends unheard. May free the item. */
void relay_sched_delete(struct relay_sched *s, struct relay_item *item);

/* Takes all recipients of the message that are not in delivery into delivery, to be given up: one
 * group as in expired(), or, when memory is short, several. */
uint32_t relay_sched_take(struct relay_sched *s, struct relay_item *item, struct relay_group **out,
                          uint32_t max);
