#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"

/*
 * relay/due: what is to happen later, the earliest first.
 *
 * A binary heap of entries embedded in their owners, so that an entry may leave before its time.
 * Not thread-safe.
 */

enum { DUE_NONE = UINT32_MAX };

struct due {
    int64_t at_us;
    uint32_t slot; /* private; DUE_NONE: in no heap */
    uint8_t kind;  /* the owner's: tells what the entry is embedded in */
};

struct due_heap {
    struct due **slots;
    uint32_t count;
    uint32_t room;
};

static inline void due_init(struct due *d, uint8_t kind)
{
    *d = (struct due){ .slot = DUE_NONE, .kind = kind };
}

static inline bool due_waits(const struct due *d)
{
    return d->slot != DUE_NONE;
}

void due_heap_done(struct due_heap *h);

/* Makes room for one more entry; after it due_push() cannot fail. */
PT_NODISCARD bool due_heap_reserve(struct due_heap *h, uint32_t entries);

/* Adds an entry that is in no heap, at d->at_us. */
void due_push(struct due_heap *h, struct due *d);

/* Takes an entry out; nothing happens when it is in no heap. */
void due_remove(struct due_heap *h, struct due *d);

/* What is later than `at_us` comes at `at_us`. Takes time proportional to the heap. */
void due_heap_clamp(struct due_heap *h, int64_t at_us);

/* The earliest, or NULL. */
static inline struct due *due_first(const struct due_heap *h)
{
    return h->count ? h->slots[0] : NULL;
}
