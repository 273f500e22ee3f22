#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

/*
 * base/budget: octets of memory that one kind of work may take.
 *
 * It counts, it does not allocate, and nobody waits here: who is refused has to go on with less.
 * Any thread.
 */

struct budget {
    uint64_t max;          /* set before use */
    _Atomic uint64_t used; /* may exceed `max` by what was forced */
};

static inline uint64_t budget_used(const struct budget *b)
{
    return atomic_load_explicit(&b->used, memory_order_relaxed);
}

/* Takes `n` octets unless more than `ceiling` would then be taken. */
PT_NODISCARD static inline bool budget_take_below(struct budget *b, uint64_t n, uint64_t ceiling)
{
    uint64_t used = budget_used(b);

    do {
        if (n > ceiling || used > ceiling - n)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&b->used, &used, used + n, memory_order_relaxed,
                                                    memory_order_relaxed));
    return true;
}

PT_NODISCARD static inline bool budget_take(struct budget *b, uint64_t n)
{
    return budget_take_below(b, n, b->max);
}

/* For memory that is in use already, whether there is room or not. */
static inline void budget_force(struct budget *b, uint64_t n)
{
    atomic_fetch_add_explicit(&b->used, n, memory_order_relaxed);
}

static inline void budget_give(struct budget *b, uint64_t n)
{
    uint64_t before = atomic_fetch_sub_explicit(&b->used, n, memory_order_relaxed);

    pt_assert(before >= n);
}
