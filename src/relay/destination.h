#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"
#include "relay/due.h"
#include "settings/settings.h"

/*
 * relay/destination: where a group of recipients goes.
 *
 * A destination is a route's list of next hops, or the mail exchangers of a domain. It is the unit
 * of queueing, concurrency and back-off: what happens to one touches no other. Its identity is a
 * text, which is also what an administrator sees and types: "mx:example.com", or the next hops as
 * "relay1.example:25,relay2.example:25".
 *
 * What it is (key, kind, hops, domain) never changes and may be read by any thread that keeps it
 * alive; a connection does. The rest is under the scheduler's lock.
 */

enum relay_dest_kind {
    RELAY_DEST_HOPS,
    RELAY_DEST_MX,
    RELAY_DEST_NO_ROUTE, /* no route fits the domain: waits for the administrator */
};

enum { RELAY_LOOPS_MAX = 64, RELAY_BAD_MAX = 8, RELAY_ERROR_SIZE = 256 };

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
    struct relay_hop *hops; /* with RELAY_DEST_HOPS */
    uint32_t hop_count;

    struct relay_dest *hash_next; /* private from here on */
    struct relay_dest *active_next, *active_prev;
    bool active; /* has more to do than connections to do it */
    struct relay_group_list lists[4];
    uint32_t unreachable;       /* deferred groups that wait for a connection */
    uint32_t pins;              /* routes that name it */
    struct relay_group *latest; /* while a message is grouped: its group here */

    uint32_t max_concurrency;
    uint32_t limit; /* connections allowed now */
    uint32_t successes;
    uint32_t connections, connecting, idle;
    uint32_t service_us; /* what a message takes, smoothed; 0: not known yet */
    uint32_t patience;   /* messages that may wait for each busy connection before one more opens */
    uint16_t per_loop[RELAY_LOOPS_MAX];
    uint16_t idle_per_loop[RELAY_LOOPS_MAX];

    struct due rest; /* in the heap while the destination rests; `at_us`: until when */
    bool probing;    /* one connection at a time until something goes well */
    uint32_t failures;
    int64_t error_at_us;
    char error[RELAY_ERROR_SIZE]; /* the last reason; empty: none */
    uint32_t bad_next;
    struct relay_bad_hop bad[RELAY_BAD_MAX];
};

enum { RELAY_CONCURRENCY_FIRST = 4, RELAY_CONCURRENCY_DEFAULT = 20, RELAY_PATIENCE_MAX = 4 };

/* All destinations, by key. */
struct relay_dest_table {
    struct relay_dest **buckets;
    uint32_t bucket_count; /* a power of two */
    uint32_t count;
    struct relay_dest *active_first, *active_last;
};

void relay_dest_table_done(struct relay_dest_table *t);
struct relay_dest *relay_dest_find(struct relay_dest_table *t, struct str key);

/* Found or made; NULL when memory is short. `route` NULL: no route fits. `domain` matters for MX
 * only. */
struct relay_dest *relay_dest_for_route(struct relay_dest_table *t,
                                        const struct settings_route *route, struct str domain);

/* Takes it out of the table and frees it: it must be at rest and have nothing. */
void relay_dest_free(struct relay_dest_table *t, struct relay_dest *d);

/* The one after `d` in no particular order (NULL: the first); NULL at the end. */
struct relay_dest *relay_dest_next(struct relay_dest_table *t, const struct relay_dest *d);

static inline bool relay_dest_rests(const struct relay_dest *d)
{
    return due_waits(&d->rest);
}

/* Puts the destination on or off the list of those for which a connection should be opened. */
void relay_dest_refresh(struct relay_dest_table *t, struct relay_dest *d);
void relay_dest_to_back(struct relay_dest_table *t, struct relay_dest *d);

/* ---- concurrency ---- */

bool relay_dest_may_open(const struct relay_dest *d, unsigned loop, unsigned loops);
void relay_dest_grow(struct relay_dest *d);

/* A message took so long: how many may wait for a connection follows from it. */
void relay_dest_served_in(struct relay_dest *d, uint32_t us);
void relay_dest_shrink(struct relay_dest *d);

/* ---- next hops that failed lately ---- */

uint32_t relay_endpoint_hash(const struct net_endpoint *e); /* never 0 */
void relay_dest_mark_bad(struct relay_dest *d, uint32_t endpoint_hash, int64_t until_us);
void relay_dest_mark_good(struct relay_dest *d, uint32_t endpoint_hash);
bool relay_dest_is_bad(const struct relay_dest *d, uint32_t endpoint_hash, int64_t now_us);
