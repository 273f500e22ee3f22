/*
 * Sets of four places, found by a hash. All words are atomic, so that a reader on another thread
 * sees no torn ones; a place is taken over by clearing `what` first and setting it last, and a
 * reader who finds another key afterwards than before has read a mixture and drops it.
 */
#include "access/hits.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { WAYS = 4, SETS = ACCESS_HITS_MAX / WAYS };

struct place {
    _Atomic uint64_t what; /* family, length and list; 0: free */
    _Atomic uint64_t hi, lo;
    _Atomic uint64_t hits;
    _Atomic int64_t last_us;
};

struct access_hits {
    struct place places[SETS][WAYS];
};

struct key {
    uint64_t what, hi, lo;
};

static struct key key_of(uint8_t list, const struct net_prefix *p)
{
    struct key k = { .what = (uint64_t)p->addr.family << 16 | (uint64_t)p->length << 8 | list };

    memcpy(&k.hi, p->addr.octets, 8);
    memcpy(&k.lo, p->addr.octets + 8, 8);
    return k;
}

/* Strangers choose addresses, but not the entries of a list. */
static uint32_t set_of(const struct key *k)
{
    uint64_t h = (k->hi ^ k->what) * UINT64_C(0x9E3779B97F4A7C15);

    h = (h ^ h >> 32 ^ k->lo) * UINT64_C(0xD6E8FEB86659FD93);
    return (uint32_t)(h >> 40) % SETS;
}

/* Acquire and release on every word instead of fences, which ThreadSanitizer does not know: what
 * is read before `what` is read again, or written after it was cleared, stays in that order. */
static uint64_t get(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void set(_Atomic uint64_t *word, uint64_t value)
{
    atomic_store_explicit(word, value, memory_order_release);
}

static bool has(const struct place *p, const struct key *k)
{
    return get(&p->what) == k->what && get(&p->hi) == k->hi && get(&p->lo) == k->lo;
}

struct access_hits *access_hits_new(void)
{
    return calloc(1, sizeof(struct access_hits));
}

void access_hits_free(struct access_hits *h)
{
    free(h);
}

static void take_over(struct place *p, const struct key *k)
{
    set(&p->what, 0);
    set(&p->hi, k->hi);
    set(&p->lo, k->lo);
    set(&p->hits, 0);
    atomic_store_explicit(&p->last_us, 0, memory_order_release);
    set(&p->what, k->what);
}

/* The key's place; otherwise a free one, or the one that was hit longest ago. */
static struct place *place_for(struct access_hits *h, const struct key *k)
{
    struct place *ways = h->places[set_of(k)], *worst = &ways[0];

    for (int i = 0; i < WAYS; i++) {
        if (has(&ways[i], k))
            return &ways[i];
        if (atomic_load_explicit(&ways[i].last_us, memory_order_relaxed) <
            atomic_load_explicit(&worst->last_us, memory_order_relaxed))
            worst = &ways[i];
    }
    take_over(worst, k);
    return worst;
}

void access_hits_count(struct access_hits *h, uint8_t list, const struct net_prefix *p,
                       int64_t now_us)
{
    struct key k = key_of(list, p);
    struct place *place;

    if (!h)
        return;
    place = place_for(h, &k);
    set(&place->hits, get(&place->hits) + 1);
    atomic_store_explicit(&place->last_us, now_us, memory_order_relaxed);
}

void access_hits_read(const struct access_hits *h, uint8_t list, const struct net_prefix *p,
                      uint64_t *hits, int64_t *last_us)
{
    struct key k = key_of(list, p);

    for (int i = 0; h && i < WAYS; i++) {
        const struct place *place = &h->places[set_of(&k)][i];
        uint64_t count;
        int64_t last;

        if (!has(place, &k))
            continue;
        count = get(&place->hits);
        last = atomic_load_explicit(&place->last_us, memory_order_acquire);
        if (!has(place, &k))
            return;
        *hits += count;
        *last_us = PT_MAX(*last_us, last);
        return;
    }
}
