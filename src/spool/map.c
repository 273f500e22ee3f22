#include "spool/map.h"

#include <stdlib.h>

static struct spool_message removed;
#define MAP_GONE (&removed)

enum { SIZE_MIN = 256 };

static uint64_t hash(uint64_t id)
{
    return id * 0x9E3779B97F4A7C15u ^ id >> 32;
}

/* The slot of `id`, or the one where it would go. */
static uint64_t slot_of(const struct map *m, uint64_t id)
{
    uint64_t i = hash(id) & (m->size - 1), free_at = UINT64_MAX;

    for (;; i = (i + 1) & (m->size - 1)) {
        struct spool_message *at = m->slots[i];

        if (!at)
            return free_at != UINT64_MAX ? free_at : i;
        if (at == MAP_GONE)
            free_at = PT_MIN(free_at, i);
        else if (at->id == id)
            return i;
    }
}

static bool held(const struct spool_message *m)
{
    return m && m != MAP_GONE;
}

struct spool_message *map_get(const struct map *m, uint64_t id)
{
    struct spool_message *at = m->size ? m->slots[slot_of(m, id)] : NULL;

    return held(at) ? at : NULL;
}

static bool grow(struct map *m)
{
    struct map bigger = { .size = m->count * 4 };

    if (bigger.size < SIZE_MIN)
        bigger.size = SIZE_MIN;
    while (bigger.size & (bigger.size - 1))
        bigger.size &= bigger.size - 1;
    bigger.slots = calloc(bigger.size, sizeof *bigger.slots);
    if (!bigger.slots)
        return false;
    for (uint64_t i = 0; i < m->size; i++)
        if (held(m->slots[i]))
            bigger.slots[slot_of(&bigger, m->slots[i]->id)] = m->slots[i];
    bigger.used = bigger.count = m->count;
    free(m->slots);
    *m = bigger;
    return true;
}

enum pt_err map_put(struct map *m, struct spool_message *message, struct spool_message **old)
{
    uint64_t i;

    if ((m->used + 1) * 2 > m->size && !grow(m))
        return PT_ERR_NOMEM;
    i = slot_of(m, message->id);
    *old = held(m->slots[i]) ? m->slots[i] : NULL;
    m->used += !m->slots[i];
    m->count += !*old;
    m->slots[i] = message;
    return PT_ERR_OK;
}

struct spool_message *map_take(struct map *m, uint64_t id)
{
    uint64_t i = m->size ? slot_of(m, id) : 0;
    struct spool_message *found = m->size ? m->slots[i] : NULL;

    if (!held(found))
        return NULL;
    m->slots[i] = MAP_GONE;
    m->count--;
    return found;
}

static int by_id(const void *a, const void *b)
{
    const struct spool_message *x = *(struct spool_message *const *)a;
    const struct spool_message *y = *(struct spool_message *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

struct spool_message **map_sorted(const struct map *m)
{
    struct spool_message **all = malloc((m->count + 1) * sizeof(struct spool_message *));
    uint64_t n = 0;

    if (!all)
        return NULL;
    for (uint64_t i = 0; i < m->size; i++)
        if (held(m->slots[i]))
            all[n++] = m->slots[i];
    qsort(all, n, sizeof(struct spool_message *), by_id);
    return all;
}

void map_unref_all(struct map *m)
{
    for (uint64_t i = 0; i < m->size; i++)
        if (held(m->slots[i]))
            spool_message_unref(m->slots[i]);
}

void map_done(struct map *m)
{
    free(m->slots);
    *m = (struct map){ 0 };
}
