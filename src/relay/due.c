#include "relay/due.h"

#include <stdlib.h>

static void place(struct due_heap *h, uint32_t slot, struct due *d)
{
    h->slots[slot] = d;
    d->slot = slot;
}

static void sift_up(struct due_heap *h, uint32_t slot, struct due *d)
{
    while (slot > 0) {
        uint32_t parent = (slot - 1) / 2;

        if (h->slots[parent]->at_us <= d->at_us)
            break;
        place(h, slot, h->slots[parent]);
        slot = parent;
    }
    place(h, slot, d);
}

static void sift_down(struct due_heap *h, uint32_t slot, struct due *d)
{
    for (;;) {
        uint32_t child = 2 * slot + 1;

        if (child >= h->count)
            break;
        if (child + 1 < h->count && h->slots[child + 1]->at_us < h->slots[child]->at_us)
            child++;
        if (d->at_us <= h->slots[child]->at_us)
            break;
        place(h, slot, h->slots[child]);
        slot = child;
    }
    place(h, slot, d);
}

void due_heap_done(struct due_heap *h)
{
    free(h->slots);
    *h = (struct due_heap){ 0 };
}

bool due_heap_reserve(struct due_heap *h, uint32_t entries)
{
    uint32_t room = h->room ? h->room : 64;
    struct due **slots;

    if (entries <= h->room)
        return true;
    while (room < entries)
        room *= 2;
    slots = realloc(h->slots, room * sizeof *slots);
    if (!slots)
        return false;
    h->slots = slots;
    h->room = room;
    return true;
}

/* The order of two entries is never turned round, so the heap stays one. */
void due_heap_clamp(struct due_heap *h, int64_t at_us)
{
    for (uint32_t i = 0; i < h->count; i++)
        h->slots[i]->at_us = PT_MIN(h->slots[i]->at_us, at_us);
}

void due_push(struct due_heap *h, struct due *d)
{
    pt_assert(d->slot == DUE_NONE && h->count < h->room);
    sift_up(h, h->count++, d);
}

void due_remove(struct due_heap *h, struct due *d)
{
    uint32_t slot = d->slot;
    struct due *last;

    if (slot == DUE_NONE)
        return;
    pt_assert(slot < h->count && h->slots[slot] == d);
    d->slot = DUE_NONE;
    last = h->slots[--h->count];
    if (last == d)
        return;
    if (slot > 0 && last->at_us < h->slots[(slot - 1) / 2]->at_us)
        sift_up(h, slot, last);
    else
        sift_down(h, slot, last);
}
