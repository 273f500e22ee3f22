#include "relay/destination.h"

#include <stdlib.h>
#include <string.h>

#include "relay/scheduler_private.h"

enum { BUCKETS_FIRST = 64 };

/* ---- the table ---- */

/* Linear hashing: buckets from `bucket_count - base` to `base` are not split yet. */
static uint32_t bucket_index(const struct relay_dest_table *t, uint32_t hash)
{
    uint32_t i = hash & (2 * t->base - 1);

    return i < t->bucket_count ? i : hash & (t->base - 1);
}

static bool make_first_buckets(struct relay_dest_table *t)
{
    t->buckets = calloc(BUCKETS_FIRST, sizeof(struct relay_dest *));
    if (t->buckets)
        t->bucket_count = t->base = t->room = BUCKETS_FIRST;
    return t->buckets != NULL;
}

/* One more bucket: what belongs there moves out of the one that had it so far. */
static void split_bucket(struct relay_dest_table *t)
{
    uint32_t added = t->bucket_count;
    struct relay_dest **from = &t->buckets[added - t->base], **to = &t->buckets[added];

    t->buckets[added] = NULL;
    while (*from) {
        struct relay_dest *d = *from;

        if ((d->hash & (2 * t->base - 1)) != added) {
            from = &d->hash_next;
            continue;
        }
        *from = d->hash_next;
        d->hash_next = NULL;
        *to = d;
        to = &d->hash_next;
    }
    if (++t->bucket_count == 2 * t->base)
        t->base *= 2;
}

static bool grow_table(struct relay_dest_table *t)
{
    struct relay_dest **more;

    if (!t->bucket_count)
        return make_first_buckets(t);
    if (t->count < t->bucket_count)
        return true;
    if (t->bucket_count == t->room) {
        if (t->room > UINT32_MAX / 4)
            return true;
        more = realloc(t->buckets, 2 * (size_t)t->room * sizeof(struct relay_dest *));
        if (!more)
            return true; /* longer chains, nothing worse */
        t->buckets = more;
        t->room *= 2;
    }
    split_bucket(t);
    return true;
}

void relay_dest_discard(struct relay_dest *d)
{
    for (uint32_t i = 0; i < d->hop_count; i++)
        free((char *)d->hops[i].host);
    free(d->hops);
    free(d->shares);
    free((char *)d->domain);
    free((char *)d->ca);
    free((char *)d->user);
    if (d->password)
        explicit_bzero(d->password, strlen(d->password));
    free(d->password);
    free((char *)d->key);
    free(d);
}

void relay_dest_table_done(struct relay_dest_table *t)
{
    for (uint32_t i = 0; i < t->bucket_count; i++) {
        while (t->buckets[i]) {
            struct relay_dest *d = t->buckets[i];

            t->buckets[i] = d->hash_next;
            relay_dest_discard(d);
        }
    }
    free(t->buckets);
    *t = (struct relay_dest_table){ 0 };
}

static struct relay_dest *find_hashed(const struct relay_dest_table *t, struct str key,
                                      uint32_t hash)
{
    struct relay_dest *d;

    if (!t->bucket_count)
        return NULL;
    for (d = t->buckets[bucket_index(t, hash)]; d; d = d->hash_next)
        if (d->hash == hash && str_eq_nocase(str_of(d->key), key))
            return d;
    return NULL;
}

struct str relay_dest_place(struct str key)
{
    ptrdiff_t slash = str_find(key, '/', 0);

    return slash < 0 ? key : str_head(key, (size_t)slash);
}

bool relay_dest_is(const struct relay_dest *d, struct str name)
{
    struct str key = str_of(d->key);

    return str_eq_nocase(key, name) || str_eq_nocase(relay_dest_place(key), name) ||
           (d->kind != RELAY_DEST_HOPS && str_eq_nocase(str_of(d->domain), name));
}

struct relay_dest *relay_dest_find(struct relay_dest_table *t, struct str key)
{
    return find_hashed(t, key, (uint32_t)str_hash_nocase(relay_dest_place(key)));
}

bool relay_dest_table_add(struct relay_dest_table *t, struct relay_dest *d)
{
    struct relay_dest **b;

    if (!grow_table(t))
        return false;
    d->hash = (uint32_t)str_hash_nocase(relay_dest_place(str_of(d->key)));
    b = &t->buckets[bucket_index(t, d->hash)];
    d->hash_next = *b;
    *b = d;
    t->count++;
    return true;
}

struct relay_dest *relay_dest_at_place(const struct relay_dest_table *t, struct str place)
{
    return t->bucket_count ? t->buckets[bucket_index(t, (uint32_t)str_hash_nocase(place))] : NULL;
}

void relay_dest_free(struct relay_dest_table *t, struct relay_dest *d)
{
    struct relay_dest **p = &t->buckets[bucket_index(t, d->hash)];

    pt_assert(!d->active && !d->connections && !relay_dest_rests(d) && !due_waits(&d->pace_due) &&
              !d->suspension);
    while (*p != d)
        p = &(*p)->hash_next;
    *p = d->hash_next;
    t->count--;
    relay_dest_discard(d);
}

/* ---- what there is to do ---- */

uint32_t relay_dest_ready(const struct relay_dest *d)
{
    return d->lists[RELAY_GROUP_READY].count + d->ready_big.count;
}

uint32_t relay_dest_deferred(const struct relay_dest *d)
{
    return d->lists[RELAY_GROUP_DEFERRED].count + d->unreachable.count;
}

bool relay_dest_is_empty(const struct relay_dest *d)
{
    return !relay_dest_ready(d) && !relay_dest_deferred(d) && !d->lists[RELAY_GROUP_BUSY].count &&
           !d->lists[RELAY_GROUP_HELD].count;
}

/* How many more big ones may be in delivery. */
static uint32_t big_room(const struct relay_dest *d)
{
    uint32_t most = PT_MAX(d->limit / 2, 1u);

    return most > d->big_busy ? most - d->big_busy : 0;
}

uint32_t relay_dest_takeable(const struct relay_dest *d)
{
    uint32_t ready = d->lists[RELAY_GROUP_READY].count + PT_MIN(d->ready_big.count, big_room(d));

    return d->suspension ? 0 : PT_MIN(ready, relay_pace_allows(&d->pace));
}

bool relay_dest_big_next(const struct relay_dest *d)
{
    return d->ready_big.count && big_room(d) && !d->suspension && relay_pace_allows(&d->pace) &&
           (d->small_run >= RELAY_SMALL_RUN || !d->lists[RELAY_GROUP_READY].count);
}

/* ---- who needs a connection ---- */

static void unlink_active(struct relay_dest_table *t, struct relay_dest *d)
{
    struct relay_dest **first = &t->active[d->active_class].first;
    struct relay_dest **last = &t->active[d->active_class].last;

    *(d->active_prev ? &d->active_prev->active_next : first) = d->active_next;
    *(d->active_next ? &d->active_next->active_prev : last) = d->active_prev;
    d->active_next = d->active_prev = NULL;
    d->active = false;
    t->active[d->active_class].count--;
}

static void link_active(struct relay_dest_table *t, struct relay_dest *d)
{
    enum relay_active class = d->probing ? RELAY_ACTIVE_PROBING : RELAY_ACTIVE_WELL;
    struct relay_dest *last = t->active[class].last;

    d->active_class = (uint8_t) class;
    d->active_prev = last;
    d->active_next = NULL;
    *(last ? &last->active_next : &t->active[class].first) = d;
    t->active[class].last = d;
    d->active = true;
    t->active[class].count++;
}

void relay_dest_refresh(struct relay_dest_table *t, struct relay_dest *d)
{
    uint32_t busy = d->connections - d->connecting - d->idle;
    uint32_t spoken_for = (d->connecting + d->idle) + (d->idle + busy) * d->patience;
    bool want =
        relay_dest_takeable(d) > spoken_for && d->connections < d->limit && !relay_dest_rests(d);

    if (d->active && (!want || d->active_class != d->probing))
        unlink_active(t, d);
    if (want && !d->active)
        link_active(t, d);
}

void relay_dest_to_back(struct relay_dest_table *t, struct relay_dest *d)
{
    if (!d->active || !d->active_next)
        return;
    unlink_active(t, d);
    link_active(t, d);
}

/* ---- concurrency ---- */

bool relay_dest_may_open(const struct relay_dest *d, unsigned loop, unsigned loops)
{
    uint32_t share = (d->limit + loops - 1) / loops;

    return d->active && d->connections < d->limit && d->per_loop[loop] < share;
}

/* One more connection after as many successes as there are connections allowed: fast enough for a
 * next hop that takes it, slow enough to notice one that does not. */
void relay_dest_grow(struct relay_dest *d)
{
    if (d->limit >= d->max_concurrency || !relay_dest_ready(d)) {
        d->successes = 0;
        return;
    }
    if (++d->successes < d->limit)
        return;
    d->limit++;
    d->successes = 0;
}

/* A message may wait some WAIT_US for a connection that is busy with others: a next hop that takes
 * a message in a millisecond is served by few connections with much to do, one that thinks for
 * seconds by many. */
void relay_dest_served_in(struct relay_dest *d, uint32_t us)
{
    enum { WAIT_US = 20000, US_MAX = 3600u * 1000000u / 8 };

    us = PT_MAX(1u, PT_MIN(us, (uint32_t)US_MAX));
    d->service_us = d->service_us ? (7 * d->service_us + us) / 8 : us;
    d->patience = PT_MIN(WAIT_US / d->service_us, (uint32_t)RELAY_PATIENCE_MAX);
}

void relay_dest_shrink(struct relay_dest *d)
{
    d->limit = PT_MAX(d->limit / 2, 1u);
    d->successes = 0;
}

/* ---- which of the next hops ---- */

void relay_dest_rank(const struct relay_dest *d, int64_t now_us, uint8_t out[RELAY_BALANCE_MAX])
{
    if (d->shares)
        relay_balance_rank(d->shares, d->hop_count, now_us, out);
}

void relay_dest_on_hop(struct relay_dest *d, uint32_t hop, int change)
{
    if (d->balanced)
        d->shares[hop].connections += (uint32_t)change;
}

void relay_dest_hop_down(struct relay_dest *d, uint32_t hop, int64_t until_us)
{
    if (d->balanced)
        d->shares[hop].down_until_us = until_us;
}

uint32_t relay_dest_room(const struct relay_dest *d, uint32_t hop, int64_t now_us)
{
    return d->balanced ? relay_balance_room(d->shares, d->hop_count, hop, d->limit, now_us)
                       : UINT32_MAX;
}

void relay_dest_took(struct relay_dest *d, uint32_t hop, int32_t messages, int64_t now_us)
{
    if (d->balanced)
        relay_balance_took(d->shares, d->hop_count, hop, messages, now_us);
}

/* ---- next hops that failed lately ---- */

uint32_t relay_endpoint_hash(const struct net_endpoint *e)
{
    uint32_t h = 2166136261u;

    h = (h ^ e->addr.family) * 16777619u;
    for (size_t i = 0; i < sizeof e->addr.octets; i++)
        h = (h ^ e->addr.octets[i]) * 16777619u;
    h = (h ^ (e->port >> 8)) * 16777619u;
    h = (h ^ (e->port & 255u)) * 16777619u;
    return h ? h : 1;
}

static struct relay_bad_hop *find_hop(const struct relay_bad_hop *list, uint32_t hash)
{
    for (uint32_t i = 0; i < RELAY_BAD_MAX; i++)
        if (list[i].hash == hash)
            return (struct relay_bad_hop *)&list[i];
    return NULL;
}

/* The oldest gives its place. */
static void remember(struct relay_bad_hop *list, uint32_t *next, uint32_t hash, int64_t until_us)
{
    struct relay_bad_hop *b = find_hop(list, hash);

    if (!b)
        b = &list[(*next)++ % RELAY_BAD_MAX];
    *b = (struct relay_bad_hop){ hash, until_us };
}

static bool remembers(const struct relay_bad_hop *list, uint32_t hash, int64_t now_us)
{
    const struct relay_bad_hop *b = find_hop(list, hash);

    return b && b->until_us > now_us;
}

void relay_dest_mark_bad(struct relay_dest *d, uint32_t endpoint_hash, int64_t until_us)
{
    remember(d->bad, &d->bad_next, endpoint_hash, until_us);
}

void relay_dest_mark_good(struct relay_dest *d, uint32_t endpoint_hash)
{
    struct relay_bad_hop *b = find_hop(d->bad, endpoint_hash);

    if (b)
        *b = (struct relay_bad_hop){ 0 };
}

bool relay_dest_is_bad(const struct relay_dest *d, uint32_t endpoint_hash, int64_t now_us)
{
    return remembers(d->bad, endpoint_hash, now_us);
}

void relay_dest_mark_clear(struct relay_dest *d, uint32_t endpoint_hash, int64_t until_us)
{
    remember(d->clear, &d->clear_next, endpoint_hash, until_us);
}

bool relay_dest_is_clear(const struct relay_dest *d, uint32_t endpoint_hash, int64_t now_us)
{
    return remembers(d->clear, endpoint_hash, now_us);
}
