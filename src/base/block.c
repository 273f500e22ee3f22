#include "base/block.h"

#include <pthread.h>
#include <stdlib.h>

/*
 * Each thread keeps up to CACHE_MAX free blocks; it moves HALF of them to or from the shared list
 * in one go, so that the lock is taken once per HALF blocks at worst. The shared list keeps at
 * most SHARED_MAX blocks (16 MiB); what is beyond goes back to the system.
 */
enum { CACHE_MAX = 64, HALF = 32, SHARED_MAX = 2048 };

static pthread_mutex_t shared_lock = PTHREAD_MUTEX_INITIALIZER;
static struct block *shared;
static unsigned shared_count;
static _Atomic int64_t in_use;

static _Thread_local struct block *cache;
static _Thread_local unsigned cache_count;
/* In-use counting is gathered per thread so that a shared cache line is not touched per block. */
static _Thread_local int in_use_delta;

static void count(int change)
{
    in_use_delta += change;
    if (in_use_delta >= 8 || in_use_delta <= -8) {
        atomic_fetch_add_explicit(&in_use, in_use_delta, memory_order_relaxed);
        in_use_delta = 0;
    }
}

uint64_t block_in_use(void)
{
    int64_t n = atomic_load_explicit(&in_use, memory_order_relaxed);

    return n > 0 ? (uint64_t)n : 0;
}

static void refill(void)
{
    pthread_mutex_lock(&shared_lock);
    while (shared && cache_count < HALF) {
        struct block *b = shared;

        shared = b->next;
        shared_count--;
        b->next = cache;
        cache = b;
        cache_count++;
    }
    pthread_mutex_unlock(&shared_lock);
}

static void spill(unsigned keep)
{
    struct block *surplus = NULL;

    pthread_mutex_lock(&shared_lock);
    while (cache_count > keep) {
        struct block *b = cache;

        cache = b->next;
        cache_count--;
        if (shared_count < SHARED_MAX) {
            b->next = shared;
            shared = b;
            shared_count++;
        } else {
            b->next = surplus;
            surplus = b;
        }
    }
    pthread_mutex_unlock(&shared_lock);
    while (surplus) {
        struct block *next = surplus->next;

        free(surplus);
        surplus = next;
    }
}

struct block *block_get(void)
{
    struct block *b;

    if (!cache)
        refill();
    b = cache;
    if (b) {
        cache = b->next;
        cache_count--;
    } else {
        b = malloc(BLOCK_SIZE);
        if (!b)
            return NULL;
    }
    b->next = NULL;
    b->used = 0;
    count(1);
    return b;
}

void block_put(struct block *b)
{
    if (!b)
        return;
    count(-1);
    b->next = cache;
    cache = b;
    if (++cache_count > CACHE_MAX)
        spill(HALF);
}

void block_thread_done(void)
{
    spill(0);
    atomic_fetch_add_explicit(&in_use, in_use_delta, memory_order_relaxed);
    in_use_delta = 0;
}

void block_chain_done(struct block_chain *c)
{
    struct block *b = c->first;

    while (b) {
        struct block *next = b->next;

        block_put(b);
        b = next;
    }
    block_chain_init(c);
}

bool block_chain_add(struct block_chain *c, struct str octets)
{
    while (octets.n) {
        struct block *b = c->last;
        size_t room = b ? BLOCK_ROOM - b->used : 0;
        size_t n;

        if (room == 0) {
            b = block_get();
            if (!b)
                return false;
            if (c->last)
                c->last->next = b;
            else
                c->first = b;
            c->last = b;
            room = BLOCK_ROOM;
        }
        n = PT_MIN(room, octets.n);
        memcpy(b->data + b->used, octets.p, n);
        b->used += (uint32_t)n;
        c->size += n;
        octets = str_from(octets, n);
    }
    return true;
}

void block_chain_move(struct block_chain *to, struct block_chain *from)
{
    if (!from->first)
        return;
    if (to->last)
        to->last->next = from->first;
    else
        to->first = from->first;
    to->last = from->last;
    to->size += from->size;
    block_chain_init(from);
}

void block_chain_slice(struct block_chain *c, uint64_t offset, uint64_t n)
{
    struct block_chain out = { 0 };
    struct block *b = c->first;

    while (b) {
        struct block *next = b->next;
        uint64_t skip = PT_MIN(offset, (uint64_t)b->used);
        uint64_t part = PT_MIN(n, b->used - skip);
        struct block_chain one = { .first = b, .last = b, .size = part };

        offset -= skip;
        n -= part;
        b->next = NULL;
        if (skip && part)
            memmove(b->data, b->data + skip, part);
        b->used = (uint32_t)part;
        if (part)
            block_chain_move(&out, &one);
        else
            block_put(b);
        b = next;
    }
    *c = out;
}

void block_chain_copy(const struct block_chain *c, uint64_t offset, char *out, size_t n)
{
    for (const struct block *b = c->first; n; b = b->next) {
        size_t part;

        pt_assert(b);
        if (offset >= b->used) {
            offset -= b->used;
            continue;
        }
        part = PT_MIN(n, (size_t)(b->used - offset));
        memcpy(out, b->data + offset, part);
        out += part;
        n -= part;
        offset = 0;
    }
}
