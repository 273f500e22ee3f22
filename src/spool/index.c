#include "spool/index.h"

#include <stdlib.h>

#include "spool/internal.h"

/* Stubs hang in chained buckets, at most one for each bucket on average; frames in a list for each
 * stub. What a DONE gives back is used again, so memory follows what lives, not what was logged. */

enum { STUBS_FIRST = 256, FRAMES_FIRST = 512 };

static uint32_t bucket_of(const struct index *x, uint64_t id)
{
    uint64_t h = id * 0x9E3779B97F4A7C15u;

    return (uint32_t)(h >> 32) & (x->bucket_count - 1);
}

bool index_init(struct index *x, const struct segment_list *segments)
{
    *x = (struct index){ .free_stub = INDEX_NONE, .free_frame = INDEX_NONE, .nothing = INDEX_NONE };
    x->segments = calloc(segments->count + 1, sizeof(struct spool_segment *));
    if (!x->segments)
        return false;
    for (struct spool_segment *g = segments->first; g; g = g->next)
        x->segments[x->segment_count++] = g;
    return true;
}

void index_done(struct index *x)
{
    free(x->segments);
    free(x->stubs);
    free(x->frames);
    free(x->buckets);
    *x = (struct index){ .segments = NULL };
}

/* ---- room ---- */

static bool grow_buckets(struct index *x)
{
    uint32_t count = x->stub_room;
    uint32_t *buckets = malloc(count * sizeof *buckets);

    if (!buckets)
        return false;
    for (uint32_t i = 0; i < count; i++)
        buckets[i] = INDEX_NONE;
    free(x->buckets);
    x->buckets = buckets;
    x->bucket_count = count;
    for (uint32_t i = 0; i < x->stubs_used; i++) { /* none is free when they are not enough */
        uint32_t b = bucket_of(x, x->stubs[i].id);

        x->stubs[i].chain = buckets[b];
        buckets[b] = i;
    }
    return true;
}

static bool grow_stubs(struct index *x)
{
    uint32_t room = x->stub_room ? 2 * x->stub_room : STUBS_FIRST;
    struct index_stub *bigger;

    if (room < x->stub_room)
        return false;
    bigger = realloc(x->stubs, room * sizeof *bigger);
    if (!bigger)
        return false;
    x->stubs = bigger;
    x->stub_room = room;
    return grow_buckets(x);
}

static uint32_t new_stub(struct index *x)
{
    uint32_t i = x->free_stub;

    if (i != INDEX_NONE) {
        x->free_stub = x->stubs[i].chain;
        return i;
    }
    if (x->stubs_used == x->stub_room && !grow_stubs(x))
        return INDEX_NONE;
    return x->stubs_used++;
}

static uint32_t new_frame(struct index *x)
{
    uint32_t i = x->free_frame;

    if (i != INDEX_NONE) {
        x->free_frame = x->frames[i].next;
        return i;
    }
    if (x->frames_used == x->frame_room) {
        uint32_t room = x->frame_room ? 2 * x->frame_room : FRAMES_FIRST;
        struct index_frame *bigger =
            room > x->frame_room ? realloc(x->frames, room * sizeof *bigger) : NULL;

        if (!bigger)
            return INDEX_NONE;
        x->frames = bigger;
        x->frame_room = room;
    }
    return x->frames_used++;
}

/* ---- stubs ---- */

static uint32_t *find(struct index *x, uint64_t id)
{
    uint32_t *p = x->bucket_count ? &x->buckets[bucket_of(x, id)] : &x->nothing;

    while (*p != INDEX_NONE && x->stubs[*p].id != id)
        p = &x->stubs[*p].chain;
    return p;
}

static void end_stub(struct index *x, uint32_t *link)
{
    uint32_t i = *link;
    struct index_stub *stub = &x->stubs[i];

    x->frames[stub->last].next = x->free_frame;
    x->free_frame = stub->first;
    *link = stub->chain;
    stub->id = 0;
    stub->chain = x->free_stub;
    x->free_stub = i;
    x->stub_count--;
}

static uint32_t begin_stub(struct index *x, uint32_t number, uint64_t id)
{
    uint32_t i = new_stub(x), b;

    if (i == INDEX_NONE)
        return INDEX_NONE;
    b = bucket_of(x, id);
    x->stubs[i] = (struct index_stub){
        .id = id,
        .first = INDEX_NONE,
        .last = INDEX_NONE,
        .oldest = number,
        .chain = x->buckets[b],
    };
    x->buckets[b] = i;
    x->stub_count++;
    return i;
}

static enum pt_err add_frame(struct index *x, uint32_t number, uint32_t at,
                             const struct format_entry *e)
{
    struct index_stub *stub = &x->stubs[at];
    uint32_t i = new_frame(x);

    if (i == INDEX_NONE)
        return PT_ERR_NOMEM;
    x->frames[i] = (struct index_frame){ INDEX_NONE, number, (uint32_t)(e->offset / 8), e->meta };
    if (stub->last == INDEX_NONE)
        stub->first = i;
    else
        x->frames[stub->last].next = i;
    stub->last = i;
    if (e->type == FRAME_MESSAGE) {
        stub->message = i;
        stub->content = e->content;
    }
    return PT_ERR_OK;
}

static bool says_something(uint8_t type)
{
    return type == FRAME_OUTCOME || type == FRAME_HOLD || type == FRAME_RELEASE ||
           type == FRAME_ROUTE;
}

enum pt_err index_add(struct index *x, uint32_t number, const struct format_entry *e)
{
    uint32_t *link = find(x, e->id), at = *link;
    bool ends = e->type == FRAME_DONE || e->type == FRAME_DELETE;

    if (e->type == FRAME_MESSAGE) {
        if (e->id == 0)
            return PT_ERR_OK;
        if (at == INDEX_NONE)
            at = begin_stub(x, number, e->id);
        return at == INDEX_NONE ? PT_ERR_NOMEM : add_frame(x, number, at, e);
    }
    if (at == INDEX_NONE)
        return PT_ERR_OK;
    if (ends || says_something(e->type))
        space_refer(x->segments[number], x->segments[x->stubs[at].oldest]->epoch);
    if (ends)
        end_stub(x, link);
    else if (says_something(e->type))
        return add_frame(x, number, at, e);
    return PT_ERR_OK;
}

/* ---- in order ---- */

static int by_id(const void *a, const void *b)
{
    const struct index_stub *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

void index_sort(struct index *x)
{
    uint32_t n = 0;
    bool sorted = true;

    free(x->buckets);
    x->buckets = NULL;
    x->bucket_count = 0;
    for (uint32_t i = 0; i < x->stubs_used; i++)
        if (x->stubs[i].id) {
            sorted = sorted && (n == 0 || x->stubs[n - 1].id < x->stubs[i].id);
            x->stubs[n++] = x->stubs[i];
        }
    x->stubs_used = n;
    if (!sorted)
        qsort(x->stubs, n, sizeof *x->stubs, by_id);
}
