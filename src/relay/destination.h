#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "net/addr.h"
#include "relay/balance.h"
#include "relay/due.h"
#include "relay/pace.h"
#include "settings/settings.h"

/*
 * relay/destination: where a group of recipients goes.
 *
 * A destination is a route's list of next hops, or the mail exchangers of a domain. It is the unit
 * of queueing, concurrency and back-off: what happens to one touches no other. Its identity is a
 * text, which is also what an administrator sees and types: "mx:example.com", or the next hops as
 * "relay1.example:25,relay2.example:25"; behind it what the route demands beyond that, as in
 * "mx:example.com/tls=verify/ca=0123456789abcdef" or "mx:example.com/source=192.0.2.1"; who logs in
 * and the name of the password, so that another password begins anew. So two routes that demand
 * different things of the same next hop are two destinations and share no connection. What stands
 * before the first slash is the place: where it goes, whatever is demanded.
 *
 * What it is (key, kind, hops, domain, source, lmtp, tls, ca, user, password, balanced) never
 * changes and may be read by any thread that keeps it alive; a connection does. The rest is under
 * the scheduler's lock.
 */

enum relay_dest_kind {
    RELAY_DEST_HOPS,
    RELAY_DEST_MX,
    RELAY_DEST_NO_ROUTE, /* no route fits the domain: waits for the administrator */
};

enum { RELAY_LOOPS_MAX = 64, RELAY_BAD_MAX = 8, RELAY_ERROR_SIZE = 384 };

/* Content above so many octets makes a message big: it takes its turn apart from the others. */
enum { RELAY_BIG = 1 << 20, RELAY_SMALL_RUN = 100 };

struct relay_hop {
    const char *host;
    uint16_t port;
};

struct relay_group_list {
    struct relay_group *first, *last;
    uint32_t count;
};

/* An endpoint that failed lately is tried after the others. */
struct relay_bad_hop {
    uint32_t hash;
    int64_t until_us;
};

struct relay_dest {
    const char *key;
    uint8_t kind;       /* enum relay_dest_kind */
    const char *domain; /* with RELAY_DEST_MX: a domain, or an address literal's text in brackets */
    struct net_addr source; /* to connect from; family NET_NONE: the system's choice */
    struct relay_hop *hops; /* with RELAY_DEST_HOPS */
    uint32_t hop_count;
    bool lmtp;              /* not SMTP */
    uint8_t tls;            /* enum settings_route_tls, as the route has it */
    const char *ca;         /* NULL: the system's */
    const char *user;       /* to log in with; NULL: nobody */
    char *password;         /* NULL with a user: it is gone, and nothing can be sent */
    bool balanced;          /* some hops share an order: see relay/balance.h */
    _Atomic bool suspended; /* as `suspension`, for connections without the lock */

    struct callout_dest *callouts; /* of callout.c's own destinations; NULL elsewhere */
    struct relay_dest *hash_next;  /* private from here on */
    uint32_t hash;
    struct relay_dest *active_next, *active_prev;
    bool active;          /* has more to do than connections to do it */
    uint8_t active_class; /* enum relay_active, while it is */
    struct relay_group_list lists[4];
    struct relay_group_list ready_big;   /* ready ones that are big; lists[] has the others */
    struct relay_group_list unreachable; /* deferred ones that wait for a connection */
    uint32_t big_busy;                   /* big ones in delivery */
    uint32_t small_run;                  /* others that were taken since the last big one */
    uint32_t pins;                       /* routes that name it */
    struct relay_group *latest;          /* while a message is grouped: its group here */

    struct relay_share *shares; /* of the hops */
    bool known;                 /* suspensions were looked at */
    bool begun;                 /* the shares have had their chance */
    uint64_t limits_of;         /* the settings that the next two are from */
    uint32_t max_concurrency;
    struct relay_pace pace;
    struct due pace_due;                 /* in the heap while the pace allows nothing */
    struct relay_suspension *suspension; /* NULL: none */
    struct relay_dest *suspension_next;  /* of the same */
    uint32_t limit;                      /* connections allowed now */
    uint32_t successes;
    uint32_t connections, connecting, idle;
    uint32_t service_us; /* what a message takes, smoothed; 0: not known yet */
    uint32_t patience;   /* messages that may wait for each busy connection before one more opens */
    uint16_t per_loop[RELAY_LOOPS_MAX];
    uint16_t idle_per_loop[RELAY_LOOPS_MAX];

    struct due rest; /* in the heap while the destination rests; `at_us`: until when */
    bool probing;    /* one connection at a time until something goes well */
    bool probed;     /* that connection is there, on loop `probe_loop` */
    uint8_t probe_loop;
    uint32_t failures;
    int64_t error_at_us;
    char error[RELAY_ERROR_SIZE]; /* the last reason; empty: none */
    uint32_t bad_next;
    struct relay_bad_hop bad[RELAY_BAD_MAX];
    uint32_t clear_next;
    struct relay_bad_hop clear[RELAY_BAD_MAX]; /* with whom TLS failed lately */
};

enum { RELAY_CONCURRENCY_FIRST = 4, RELAY_CONCURRENCY_DEFAULT = 20, RELAY_PATIENCE_MAX = 4 };

/* Destinations that want a connection: those that answered when last tried, or were never tried,
 * and those that did not. Both get their turns, see relay_sched_open(). */
enum relay_active { RELAY_ACTIVE_WELL, RELAY_ACTIVE_PROBING, RELAY_ACTIVE_CLASSES };

/* All destinations, by key. The table grows by one bucket with each that comes, so that no single
 * one has to move all. */
struct relay_dest_table {
    struct relay_dest **buckets;
    uint32_t bucket_count; /* in use: `base` and those beyond it that are split already */
    uint32_t base;         /* a power of two */
    uint32_t room;
    uint32_t count;
    struct {
        struct relay_dest *first, *last;
        uint32_t count;
    } active[RELAY_ACTIVE_CLASSES];
};

void relay_dest_table_done(struct relay_dest_table *t);
struct relay_dest *relay_dest_find(struct relay_dest_table *t, struct str key);

/* The part of a name before the first slash. */
struct str relay_dest_place(struct str key);

/* Is it what an administrator names so: by its name, by the place alone, or, of one that has a
 * domain, by that? */
bool relay_dest_is(const struct relay_dest *d, struct str name);

/* The first of a chain, by `hash_next`, in which all with this place are; others may be. */
struct relay_dest *relay_dest_at_place(const struct relay_dest_table *t, struct str place);

/* The name of the destination that a route (NULL: none fits) leads to; `domain` matters for MX and
 * without a route only. False: it does not fit. */
PT_NODISCARD bool relay_dest_key(const struct settings_route *route, struct str domain,
                                 struct buf *out);

/* Found or made in a table that is nobody's queue; NULL when memory is short. `route` NULL: no
 * route fits. `domain` matters for MX only. */
struct relay_dest *relay_dest_of_table(struct relay_dest_table *t,
                                       const struct settings_route *route, struct str domain);

/* Takes it out of the table and frees it: it must be at rest and have nothing. */
void relay_dest_free(struct relay_dest_table *t, struct relay_dest *d);

/* The first of a bucket, the others by `hash_next`: for a walk in steps. Whoever goes from bucket 0
 * upward misses none that was there at the beginning, whatever comes and goes between the steps;
 * one may show twice. */
static inline struct relay_dest *relay_dest_in_bucket(const struct relay_dest_table *t, uint32_t i)
{
    return i < t->bucket_count ? t->buckets[i] : NULL;
}

static inline bool relay_dest_rests(const struct relay_dest *d)
{
    return due_waits(&d->rest);
}

/* Groups of recipients, big or not, whatever they wait for. */
uint32_t relay_dest_ready(const struct relay_dest *d);
uint32_t relay_dest_deferred(const struct relay_dest *d);
bool relay_dest_is_empty(const struct relay_dest *d);

/* Of the ready ones, those that a connection might take now: big ones leave half of the connections
 * to the others. */
uint32_t relay_dest_takeable(const struct relay_dest *d);

/* May a big one be taken, and is it its turn? */
bool relay_dest_big_next(const struct relay_dest *d);

/* Puts the destination on or off the list of those for which a connection should be opened. */
void relay_dest_refresh(struct relay_dest_table *t, struct relay_dest *d);
void relay_dest_to_back(struct relay_dest_table *t, struct relay_dest *d);

/* ---- concurrency ---- */

bool relay_dest_may_open(const struct relay_dest *d, unsigned loop, unsigned loops);
void relay_dest_grow(struct relay_dest *d);

/* A message took so long: how many may wait for a connection follows from it. */
void relay_dest_served_in(struct relay_dest *d, uint32_t us);
void relay_dest_shrink(struct relay_dest *d);

/* ---- which of the next hops: relay/balance.h ---- */

/* The order in which a new connection tries them. */
void relay_dest_rank(const struct relay_dest *d, int64_t now_us, uint8_t out[RELAY_BALANCE_MAX]);

/* A connection goes to that hop, or no longer does. */
void relay_dest_on_hop(struct relay_dest *d, uint32_t hop, int change);

/* It failed (until when), or did not (0). */
void relay_dest_hop_down(struct relay_dest *d, uint32_t hop, int64_t until_us);

/* How many messages a connection to it may take now; 0: it makes room for one to another. */
uint32_t relay_dest_room(const struct relay_dest *d, uint32_t hop, int64_t now_us);

/* It took so many; negative: gave them back. */
void relay_dest_took(struct relay_dest *d, uint32_t hop, int32_t messages, int64_t now_us);

/* ---- next hops that failed lately ---- */

uint32_t relay_endpoint_hash(const struct net_endpoint *e); /* never 0 */
void relay_dest_mark_bad(struct relay_dest *d, uint32_t endpoint_hash, int64_t until_us);
void relay_dest_mark_good(struct relay_dest *d, uint32_t endpoint_hash);
bool relay_dest_is_bad(const struct relay_dest *d, uint32_t endpoint_hash, int64_t now_us);

/* With whom TLS failed lately, where it may be done without: the next try is in clear at once. */
void relay_dest_mark_clear(struct relay_dest *d, uint32_t endpoint_hash, int64_t until_us);
bool relay_dest_is_clear(const struct relay_dest *d, uint32_t endpoint_hash, int64_t now_us);
