#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "spool/internal.h"

/*
 * Segments as a whole: which one is open, which are dead, which are made ready, what is copied
 * forward. docs/spool-format.md, sections 2.3 and 4.
 */

void space_refer(struct spool_segment *in, uint64_t of)
{
    if (of < in->epoch && of < in->refers)
        in->refers = of;
}

void space_count(struct spool *s, struct spool_segment *g, uint64_t octets, bool lives)
{
    if (lives) {
        g->live_count++;
        g->live_octets += octets;
        s->live_octets += octets;
        return;
    }
    g->live_octets -= octets;
    s->live_octets -= octets;
    if (--g->live_count == 0)
        s->space_changed = true;
}

void space_add(struct spool *s, struct spool_message *m)
{
    struct spool_segment *g = m->place.segment;

    m->place.previous = NULL;
    m->place.next = g->living;
    if (g->living)
        g->living->place.previous = m;
    g->living = m;
    space_count(s, g, format_extent(m->place.meta, m->place.content), true);
}

void space_remove(struct spool *s, struct spool_message *m)
{
    struct spool_segment *g = m->place.segment;

    if (m->place.previous)
        m->place.previous->place.next = m->place.next;
    else
        g->living = m->place.next;
    if (m->place.next)
        m->place.next->place.previous = m->place.previous;
    m->place.next = m->place.previous = NULL;
    m->place.segment = NULL;
    space_count(s, g, format_extent(m->place.meta, m->place.content), false);
}

/* ---- opening the next segment ---- */

/* The octets of the batch that holds nothing but a SEAL of all segments without a recorded end. */
static char *make_seal(struct spool *s, struct spool_segment *g, size_t *length)
{
    struct format_frame seal = { .type = FRAME_SEAL, .page = FORMAT_DATA / FORMAT_PAGE };
    struct format_frame commit = { .type = FRAME_COMMIT, .page = seal.page, .index = 1 };
    struct format_commit c = { .count = 1, .durable = FORMAT_DATA };
    uint32_t count = 0, n = 0;
    uint64_t size, at;
    char *octets;

    for (struct spool_segment *old = s->used.first; old; old = old->next)
        count += !old->recorded;
    seal.meta = count * FORMAT_SEAL_ENTRY;
    at = format_extent(seal.meta, 0);
    size = format_align(at + FORMAT_COMMIT_SIZE, FORMAT_PAGE);
    octets = calloc(1, size);
    if (!octets)
        return NULL;
    for (struct spool_segment *old = s->used.first; old; old = old->next) {
        char *entry = octets + FORMAT_FRAME_SIZE + n * FORMAT_SEAL_ENTRY;

        if (old->recorded)
            continue;
        format_put64(entry, old->epoch);
        format_put64(entry + 8, old->end);
        g->seals = PT_MIN(g->seals, old->epoch);
        n++;
    }
    seal.meta_crc = crc32c(g->keys.body, octets + FORMAT_FRAME_SIZE, seal.meta);
    seal.content_crc = commit.content_crc = g->keys.body;
    format_frame_write(octets, &seal, &g->keys);
    c.crc = crc32c(g->keys.head, octets + 36, 4);
    commit.id = atomic_load(&s->next_id);
    commit.meta = FORMAT_COMMIT_META;
    format_commit_write(octets + at + FORMAT_FRAME_SIZE, &c);
    commit.meta_crc = crc32c(g->keys.body, octets + at + FORMAT_FRAME_SIZE, FORMAT_COMMIT_META);
    format_frame_write(octets + at, &commit, &g->keys);
    *length = size;
    return octets;
}

static int write_seal(struct spool *s, struct spool_segment *g)
{
    size_t length = 0;
    char *octets = make_seal(s, g, &length);
    struct iovec iov = { octets, length };
    int r;

    if (!octets)
        return -ENOMEM;
    r = disk_write_all(s->disk, g->handle, &iov, 1, FORMAT_DATA);
    if (r == 0)
        r = s->disk->sync(s->disk, g->handle);
    free(octets);
    if (r)
        return r;
    g->end = FORMAT_DATA + length;
    pthread_mutex_lock(&s->lock);
    s->stats.syncs++;
    s->stats.octets_written += length;
    pthread_mutex_unlock(&s->lock);
    return 0;
}

/* `g`, the new one, is durably the open one: all others have a recorded end. */
static void sealed(struct spool *s, struct spool_segment *g)
{
    for (struct spool_segment *old = s->used.first; old; old = old->next) {
        if (old == g)
            continue;
        old->recorded = true;
        if (!old->footed && !old->busy && !old->entries.failed && old->entries.n)
            old->wants_footer = true;
    }
    s->open = g;
    s->space_changed = true;
}

/* ---- making segments ready ---- */

/* No more of this work until it is time to try again. */
static void pause_work(struct spool *s, enum segment_work work)
{
    s->paused |= 1u << work;
    s->retry_us = PT_MIN(s->retry_us, s->now_us + RETRY_US);
}

static bool paused(const struct spool *s, enum segment_work work)
{
    return s->paused & 1u << work;
}

static void note_failure(struct spool *s, int r, const char *what)
{
    s->retry_us = s->now_us + RETRY_US;
    if (r == -ENOSPC || r == -EDQUOT)
        s->no_space = true;
    commit_fault(s, -r, what);
}

static void start(struct spool *s, struct spool_segment *g, enum segment_work work)
{
    s->working++;
    segment_start(g, work);
}

void space_free(struct spool *s, struct spool_segment *g)
{
    start(s, g, SEGMENT_FREE);
}

/* Removes free segments of a size no longer wanted, as long as others can be had. */
static void drop_outgrown(struct spool *s)
{
    struct spool_segment *next;

    for (struct spool_segment *g = s->free.first; g && !s->no_space; g = next) {
        next = g->next;
        if (g->size == s->segment_now)
            continue;
        segment_list_remove(&s->free, g);
        start(s, g, SEGMENT_UNLINK);
    }
}

/* Begins to make one, unless one is being made: they have to be ready in the order of their epochs.
 */
static void make_spare(struct spool *s)
{
    struct spool_segment *g;

    if (s->making)
        return;
    drop_outgrown(s);
    g = s->free.first;
    if (g && !paused(s, SEGMENT_READY)) {
        segment_list_remove(&s->free, g);
        s->making++;
        start(s, g, SEGMENT_READY);
        return;
    }
    if (paused(s, SEGMENT_CREATE))
        return;
    g = segment_new(s, s->next_slot);
    if (!g) {
        note_failure(s, -ENOMEM, "making a segment");
        return;
    }
    s->next_slot++;
    s->making++;
    start(s, g, SEGMENT_CREATE);
}

/* There is room again: that there was none is no longer what is wrong. */
static void forget_no_space(struct spool *s)
{
    s->no_space = false;
    pthread_mutex_lock(&s->lock);
    if (s->stats.fault.err == PT_ERR_NOSPACE)
        s->stats.fault = (struct pt_fault){ .err = PT_ERR_OK };
    pthread_mutex_unlock(&s->lock);
}

static void made(struct spool *s, struct spool_segment *g)
{
    s->making--;
    if (g->result == 0) {
        segment_renew(g);
        segment_list_append(&s->spares, g);
        if (s->no_space)
            forget_no_space(s);
        return;
    }
    note_failure(s, g->result, "making a segment");
    pause_work(s, g->work);
    if (g->work == SEGMENT_CREATE)
        segment_free(g);
    else
        segment_list_append(&s->free, g);
}

static void freed(struct spool *s, struct spool_segment *g)
{
    if (g->result) {
        note_failure(s, g->result, "freeing a segment");
        pause_work(s, SEGMENT_FREE);
        return;
    }
    segment_list_remove(&s->used, g);
    segment_renew(g);
    s->space_changed = true;
    if (s->no_space || (g->size == s->segment_now && s->free.count < FREE_KEPT))
        segment_list_append(&s->free, g);
    else
        start(s, g, SEGMENT_UNLINK);
}

static void footed(struct spool *s, struct spool_segment *g)
{
    g->footed = g->result == 0;
    if (g->result)
        commit_fault(s, -g->result, "writing a footer");
    buf_done(&g->entries);
    s->space_changed = true;
}

static void take_back(struct spool *s, struct spool_segment *g)
{
    s->working--;
    g->busy = false;
    switch (g->work) {
    case SEGMENT_CREATE:
    case SEGMENT_READY:
        made(s, g);
        break;
    case SEGMENT_FREE:
        freed(s, g);
        break;
    case SEGMENT_FOOT:
        footed(s, g);
        break;
    case SEGMENT_UNLINK:
        segment_free(g);
        break;
    case SEGMENT_COPY:
        break;
    }
}

void space_collect(struct spool *s)
{
    struct spool_segment *g;

    /* One thing given back may lead to the next, which without threads is done at once. */
    while ((g = atomic_exchange(&s->returned, NULL)))
        while (g) {
            struct spool_segment *next = g->returned;

            take_back(s, g);
            g = next;
        }
}

/* A spare, waiting for one that is being made; NULL when none can be had. */
static struct spool_segment *take_spare(struct spool *s)
{
    struct spool_segment *g;

    if (!s->spares.first)
        make_spare(s);
    while (!s->spares.first && s->making) {
        commit_wait_returned(s);
        space_collect(s);
    }
    g = s->spares.first;
    if (g)
        segment_list_remove(&s->spares, g);
    return g;
}

static void show(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    s->stats.segments = s->used.count;
    s->stats.free_segments = s->free.count + s->spares.count;
    s->stats.accepting = s->open && (!s->no_space || s->spares.count);
    pthread_mutex_unlock(&s->lock);
}

/* The next segments are larger if the last one was filled quickly, or must be. */
static void grow(struct spool *s, uint64_t least)
{
    if (s->opened_us && s->now_us - s->opened_us < GROW_US)
        s->segment_now = PT_MIN(2 * s->segment_now, s->config.segment_size);
    s->segment_now = PT_MAX(s->segment_now, least);
    s->opened_us = s->now_us;
}

bool space_open_next(struct spool *s, uint64_t least)
{
    s->open = NULL;
    s->space_changed = true;
    grow(s, least);
    for (int tries = 0; tries <= 2 * SPARES_WANTED; tries++) {
        struct spool_segment *g = take_spare(s);
        int r;

        if (!g)
            break;
        segment_list_append(&s->used, g);
        if (g->size < least) /* stays empty, and is freed */
            continue;
        r = write_seal(s, g);
        if (r == 0) {
            sealed(s, g);
            show(s);
            return true;
        }
        g->cut = true;
        note_failure(s, r, "opening a segment");
    }
    s->retry_us = s->now_us + RETRY_US;
    show(s);
    return false;
}

/* ---- freeing ---- */

static bool dead(const struct spool *s, const struct spool_segment *g)
{
    if (g == s->open || g->busy || g->live_count || atomic_load(&g->pins))
        return false;
    /* While messages are loaded, all that the log says of them has to stay. */
    if (s->load || g->unreadable)
        return false;
    if (g->previous && g->previous->epoch >= g->refers)
        return false;
    for (const struct spool_segment *p = g->previous; p && p->epoch >= g->seals; p = p->previous)
        if (!p->footed || p->cut)
            return false;
    return true;
}

/* Starts what can be done with segments that were left. */
static void tend(struct spool *s)
{
    while (s->space_changed) {
        struct spool_segment *next;

        s->space_changed = false;
        for (struct spool_segment *g = s->used.first; g; g = next) {
            next = g->next;
            if (dead(s, g)) {
                if (!paused(s, SEGMENT_FREE))
                    start(s, g, SEGMENT_FREE);
            } else if (g->wants_footer && !g->busy) {
                g->wants_footer = false;
                start(s, g, SEGMENT_FOOT);
            }
        }
        space_collect(s);
    }
}

/* ---- cleaning ---- */

static void copied(struct spool_op *op)
{
    struct spool_copy *c = PT_CONTAINER_OF(op, struct spool_copy, op);
    struct spool *s = c->spool;

    if (op->result != PT_ERR_OK && op->result != PT_ERR_NOTFOUND && op->result != PT_ERR_AGAIN)
        pause_work(s, SEGMENT_COPY);
    block_chain_done(&c->read.content);
    op->message->place.copying = false;
    spool_message_unref(op->message);
    c->busy = false;
    s->copying--;
    s->space_changed = true;
}

static void copy_read(struct spool_read *r)
{
    struct spool_copy *c = PT_CONTAINER_OF(r, struct spool_copy, read);

    spool_submit(c->spool, &c->op);
}

static void start_copy(struct spool *s, struct spool_message *m)
{
    struct spool_copy *c = s->copies;

    while (c->busy)
        c++;
    *c = (struct spool_copy){ .spool = s, .from = m->place.segment, .busy = true };
    c->op.kind = SPOOL_OP_COPY;
    c->op.message = spool_message_ref(m);
    c->op.done = copied;
    m->place.copying = true;
    s->copying++;
    if (m->file) {
        spool_submit(s, &c->op);
        return;
    }
    c->read.message = m;
    c->read.length = m->size;
    c->read.keep_damaged = true;
    c->read.done = copy_read;
    spool_read(s, &c->read);
}

static void clean(struct spool *s)
{
    struct spool_segment *oldest = s->used.first;

    if (s->load || s->used.count <= CLEAN_SEGMENTS_MIN || oldest == s->open ||
        atomic_load(&s->stop) || s->live_octets > s->used.octets / 100 * CLEAN_LIVE_PERCENT)
        return;
    for (struct spool_message *m = oldest->living, *next; m && s->copying < COPIES; m = next) {
        next = m->place.next;
        if (m->place.life == LIFE_KEPT && !m->place.copying)
            start_copy(s, m);
    }
}

/* ---- all of it ---- */

void space_manage(struct spool *s)
{
    if (s->config.read_only)
        return;
    if (atomic_load_explicit(&s->unpinned, memory_order_relaxed)) {
        atomic_store(&s->unpinned, false);
        s->space_changed = true;
    }
    if (s->now_us >= s->retry_us) {
        s->retry_us = INT64_MAX;
        s->paused = 0;
        s->space_changed = true;
        if (!s->open)
            PT_IGNORE(!space_open_next(s, 0), "it sets the next time to try");
    }
    tend(s);
    while (s->spares.count + s->making < SPARES_WANTED && !atomic_load(&s->stop)) {
        unsigned before = s->spares.count;

        make_spare(s);
        space_collect(s);
        if (s->spares.count == before) /* a worker is at it, or it has failed */
            break;
    }
    if (!paused(s, SEGMENT_COPY))
        clean(s);
    show(s);
}
