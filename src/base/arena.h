#pragma once
#include <stddef.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * base/arena: many small allocations that die together.
 *
 * A few chunks from the heap, the first of 512 octets. There is a ceiling; beyond it, and when
 * memory is short, an allocation gives NULL and the caller answers honestly. One thread at a time.
 * An arena that holds nothing costs nothing.
 */
struct arena {
    struct arena_chunk *chunks; /* private */
    size_t total;               /* octets taken so far */
    size_t max;
};

void arena_init(struct arena *a, size_t max);
void arena_done(struct arena *a); /* frees all; the arena may be used again */

/* Aligned for any type, not zeroed. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_zalloc(struct arena *a, size_t n);

/* A copy of the octets with a NUL behind them; .p is NULL when there is no room. */
struct str arena_str(struct arena *a, struct str s);
