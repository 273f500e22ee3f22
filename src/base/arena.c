#include "base/arena.h"

#include <stdlib.h>

/*
 * Chunks from the heap, the first small: most arenas hold one message's envelope, and very many of
 * them may wait in a queue. Each further chunk is twice as large, up to CHUNK_MAX; a piece that
 * is larger than half of the next chunk gets one of its own, behind the current one.
 */
enum { ALIGN = _Alignof(max_align_t), CHUNK_FIRST = 512, CHUNK_MAX = 8192 };

struct arena_chunk {
    struct arena_chunk *next;
    uint32_t used, cap; /* octets of data */
    _Alignas(max_align_t) char data[];
};

void arena_init(struct arena *a, size_t max)
{
    *a = (struct arena){ .max = max };
}

void arena_done(struct arena *a)
{
    while (a->chunks) {
        struct arena_chunk *next = a->chunks->next;

        free(a->chunks);
        a->chunks = next;
    }
    a->total = 0;
}

static struct arena_chunk *chunk_new(size_t cap)
{
    struct arena_chunk *c = malloc(sizeof *c + cap);

    if (c) {
        c->used = 0;
        c->cap = (uint32_t)cap;
    }
    return c;
}

/* A chunk with room for `n` octets, which is a multiple of ALIGN. */
static struct arena_chunk *chunk_for(struct arena *a, size_t n)
{
    struct arena_chunk *c = a->chunks;
    size_t cap = CHUNK_FIRST - sizeof *c;

    if (c && c->cap - c->used >= n)
        return c;
    if (c)
        cap = PT_MIN((c->cap + sizeof *c) * 2, (size_t)CHUNK_MAX) - sizeof *c;
    if (n > cap / 2 && c) {
        struct arena_chunk *own = chunk_new(n);

        if (own) {
            own->next = c->next;
            c->next = own;
        }
        return own;
    }
    c = chunk_new(PT_MAX(cap, n));
    if (c) {
        c->next = a->chunks;
        a->chunks = c;
    }
    return c;
}

void *arena_alloc(struct arena *a, size_t n)
{
    struct arena_chunk *c;
    void *p;

    if (n > a->max || a->total > a->max - n || n > UINT32_MAX / 2)
        return NULL;
    n = (n + ALIGN - 1) / ALIGN * ALIGN;
    c = chunk_for(a, n);
    if (!c)
        return NULL;
    p = c->data + c->used;
    c->used += (uint32_t)n;
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
