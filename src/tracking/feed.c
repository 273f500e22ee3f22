/*
 * What one loop gathers: two batches, of which it fills one while the thread may have the other.
 *
 * Clients are found by a hash with a key of its own, so that nobody can choose addresses that
 * collide. A batch is mostly untouched memory; only what was used is cleared.
 */
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tracking/tracking_private.h"

/* ---- life ---- */

struct tracking_feed *tracking_feed_new(struct tracking *t)
{
    struct tracking_feed *f = t ? calloc(1, sizeof *f) : NULL;
    struct rng rng;

    if (!f)
        return NULL;
    for (size_t i = 0; i < PT_ARRAY_LEN(f->batches); i++) {
        f->batches[i] = calloc(1, sizeof *f->batches[i]);
        if (!f->batches[i]) {
            free(f->batches[0]);
            free(f);
            return NULL;
        }
        f->batches[i]->tracking = t;
    }
    rng_seed_from_system(&rng);
    f->key = rng_next(&rng) | 1;
    f->tracking = t;
    f->at = f->batches[0];
    return f;
}

void tracking_feed_free(struct tracking_feed *f)
{
    if (!f)
        return;
    if (!tracking_feed_hand_over(f)) {
        tracking_flush(f->tracking);
        PT_IGNORE(!tracking_feed_hand_over(f), "the other batch has just come back");
    }
    tracking_flush(f->tracking);
    for (size_t i = 0; i < PT_ARRAY_LEN(f->batches); i++)
        free(f->batches[i]);
    free(f);
}

/* ---- handing over ---- */

bool tracking_feed_has(const struct tracking_feed *f)
{
    return f && (f->at->client_count || f->at->refusal_count || f->at->lost || f->at->clients_lost);
}

bool tracking_feed_hand_over(struct tracking_feed *f)
{
    struct tracking_batch *full, *other;

    if (!tracking_feed_has(f))
        return true;
    full = f->at;
    other = full == f->batches[0] ? f->batches[1] : f->batches[0];
    if (atomic_load_explicit(&other->away, memory_order_acquire))
        return false;
    f->at = other;
    atomic_store_explicit(&full->away, true, memory_order_relaxed);
    tracking_take(f->tracking, full);
    return true;
}

void tracking_batch_clear(struct tracking_batch *b)
{
    memset(b->clients, 0, b->client_count * sizeof *b->clients);
    memset(b->refusals, 0, b->refusal_count * sizeof *b->refusals);
    memset(b->slots, 0, b->client_count ? sizeof b->slots : 0);
    b->client_count = b->refusal_count = 0;
    b->lost = b->clients_lost = 0;
}

/* ---- refusals ---- */

static uint64_t hash_of(const struct tracking_feed *f, const struct net_addr *a)
{
    uint64_t hi, lo;

    memcpy(&hi, a->octets, 8);
    memcpy(&lo, a->octets + 8, 8);
    hi = (hi ^ a->family) * f->key;
    hi = (hi ^ hi >> 32 ^ lo) * f->key;
    return hi ^ hi >> 29;
}

/* One of the first of its client in this minute? Clients that share a place share their number. */
static bool client_has_some_left(struct tracking_feed *f, const struct net_addr *client,
                                 int64_t now_us)
{
    uint64_t hash = hash_of(f, client);
    struct tracking_rate *r = &f->rates[hash % TRACKING_RATES];
    uint32_t minute = (uint32_t)(now_us / 60000000), tag = (uint32_t)(hash >> 32);

    if (r->minute != minute || r->tag != tag)
        *r = (struct tracking_rate){ .minute = minute, .tag = tag };
    return r->count < TRACKING_PER_CLIENT && ++r->count;
}

static bool second_has_some_left(struct tracking_feed *f, int64_t now_us)
{
    int64_t second = now_us / 1000000;

    if (f->second != second) {
        f->second = second;
        f->in_second = 0;
    }
    return f->in_second < TRACKING_PER_SECOND && ++f->in_second;
}

struct tracking_refusal *tracking_feed_refusal(struct tracking_feed *f,
                                               const struct net_addr *client, int64_t now_us)
{
    struct tracking_batch *b;

    if (!f)
        return NULL;
    if (f->at->refusal_count == TRACKING_BATCH_REFUSALS)
        PT_IGNORE(!tracking_feed_hand_over(f), "then this one is not kept");
    b = f->at;
    if (b->refusal_count == TRACKING_BATCH_REFUSALS || !client_has_some_left(f, client, now_us) ||
        !second_has_some_left(f, now_us)) {
        b->lost++;
        return NULL;
    }
    return &b->refusals[b->refusal_count++];
}

/* ---- clients ---- */

/* The slot of the client, or the free one where it belongs. */
static uint16_t *slot_of(struct tracking_feed *f, struct tracking_batch *b,
                         const struct net_addr *client)
{
    size_t at = hash_of(f, client) % TRACKING_BATCH_SLOTS;

    while (b->slots[at] && !net_addr_eq(&b->clients[b->slots[at] - 1].address, client))
        at = (at + 1) % TRACKING_BATCH_SLOTS;
    return &b->slots[at];
}

struct tracking_client *tracking_feed_client(struct tracking_feed *f, const struct net_addr *client,
                                             int64_t now_us)
{
    struct tracking_batch *b;
    struct tracking_client *c;
    uint16_t *slot;

    if (!f)
        return NULL;
    b = f->at;
    slot = slot_of(f, b, client);
    if (!*slot) {
        /* Not handed over before its time: strangers with very many addresses must not keep the
         * disk busy. */
        if (b->client_count == TRACKING_BATCH_CLIENTS) {
            b->clients_lost++;
            return NULL;
        }
        b->clients[b->client_count] =
            (struct tracking_client){ .address = *client, .first_us = now_us };
        *slot = (uint16_t)++b->client_count;
    }
    c = &b->clients[*slot - 1];
    c->last_us = now_us;
    return c;
}

/* ---- filling in ---- */

void tracking_text(char *out, size_t size, struct str text)
{
    size_t n = PT_MIN(text.n, size - 1);

    while (n > 0 && n < text.n && ((unsigned char)text.p[n] & 0xC0) == 0x80)
        n--;
    if (n)
        memcpy(out, text.p, n);
    out[n] = 0;
}

void tracking_add_name(char (*names)[TRACKING_NAME_SIZE], uint8_t *count, uint8_t max,
                       struct str name)
{
    char lower[TRACKING_NAME_SIZE];
    uint8_t at = 0;

    if (name.n == 0 || name.n >= sizeof lower)
        return;
    for (size_t i = 0; i < name.n; i++) {
        if ((unsigned char)name.p[i] <= ' ')
            return;
        lower[i] = ascii_lower(name.p[i]);
    }
    lower[name.n] = 0;
    while (at < *count && strcmp(names[at], lower) != 0)
        at++;
    if (at == 0 && *count)
        return;
    if (at == *count && *count < max)
        ++*count;
    at = PT_MIN(at, (uint8_t)(*count - 1));
    memmove(names[1], names[0], at * sizeof names[0]);
    memcpy(names[0], lower, name.n + 1);
}
