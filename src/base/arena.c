#include "base/arena.h"

#include <stdlib.h>

#include "base/block.h"

enum { ALIGN = _Alignof(max_align_t) };

struct arena_large {
    struct arena_large *next;
    _Alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){ .max = max };
}

void arena_done(struct arena *a)
{
    while (a->blocks) {
        struct block *next = a->blocks->next;

        block_put(a->blocks);
        a->blocks = next;
    }
    while (a->large) {
        struct arena_large *next = a->large->next;

        free(a->large);
        a->large = next;
    }
    a->total = 0;
}

static void *alloc_large(struct arena *a, size_t n)
{
    struct arena_large *l = malloc(sizeof *l + n);

    if (!l)
        return NULL;
    l->next = a->large;
    a->large = l;
    return l->data;
}

/* The offset in a block's data from which everything is aligned. */
static uint32_t first_aligned(const struct block *b)
{
    return (uint32_t)(-(uintptr_t)b->data % ALIGN);
}

void *arena_alloc(struct arena *a, size_t n)
{
    void *p;

    if (n > a->max || a->total > a->max - n)
        return NULL;
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    if (n > BLOCK_ROOM / 2) {
        p = alloc_large(a, n);
    } else {
        struct block *b = a->blocks;

        if (!b || BLOCK_ROOM - b->used < n) {
            b = block_get();
            if (!b)
                return NULL;
            b->used = first_aligned(b);
            b->next = a->blocks;
            a->blocks = b;
        }
        p = b->data + b->used;
        b->used += (uint32_t)n;
    }
    if (p)
        a->total += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);

    return p ? memset(p, 0, n) : NULL;
}

struct str arena_str(struct arena *a, struct str s)
{
    char *p = arena_alloc(a, s.n + 1);

    if (!p)
        return STR_NULL;
    if (s.n)
        memcpy(p, s.p, s.n);
    p[s.n] = 0;
    return (struct str){ p, s.n };
}
