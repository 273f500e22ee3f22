#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spool/internal.h"
#include "spool/replay.h"

/*
 * Start-up: docs/spool-format.md, section 3.
 */

/* ---- 1. which segments there are ---- */

struct listing {
    struct spool *spool;
    uint32_t *slots;
    uint32_t count, room;
};

static bool parse_slot(const char *name, uint32_t *slot)
{
    char again[SEGMENT_NAME_SIZE];

    *slot = (uint32_t)strtoul(name, NULL, 16);
    segment_name(*slot, ".seg", again);
    return strcmp(name, again) == 0;
}

static bool has_suffix(const char *name, const char *suffix)
{
    size_t n = strlen(name), m = strlen(suffix);

    return n >= m && strcmp(name + n - m, suffix) == 0;
}

static int list_one(void *ctx, const char *name)
{
    struct listing *l = ctx;
    struct spool *s = l->spool;
    uint32_t slot;

    if (has_suffix(name, ".new")) {
        int r = s->config.read_only ? 0 : s->disk->unlink(s->disk, s->directory, name);

        return r == -ENOENT ? 0 : r;
    }
    if (!parse_slot(name, &slot))
        return 0; /* "large", "….damaged", or nothing of ours */
    if (l->count == l->room) {
        uint32_t room = l->room ? 2 * l->room : 64;
        uint32_t *bigger = realloc(l->slots, room * sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        l->slots = bigger;
        l->room = room;
    }
    l->slots[l->count++] = slot;
    s->next_slot = PT_MAX(s->next_slot, slot + 1);
    return 0;
}

static int put_aside(struct spool *s, struct spool_segment *g)
{
    char from[SEGMENT_NAME_SIZE], to[SEGMENT_NAME_SIZE];
    int r;

    segment_name(g->slot, ".seg", from);
    segment_name(g->slot, ".damaged", to);
    replay_report(s, 0, PT_ERR_CORRUPT,
                  "segment %08x has no valid header; its messages are lost. Kept as %s", g->slot,
                  to);
    if (s->config.read_only)
        return 0;
    r = s->disk->rename(s->disk, s->directory, from, to);
    return r ? r : s->disk->sync_directory(s->disk, s->directory);
}

static bool sane(const struct format_header *h)
{
    return h->size >= FORMAT_SEGMENT_MIN && h->size <= FORMAT_SEGMENT_MAX &&
           h->size % FORMAT_PAGE == 0 && h->epoch < UINT64_MAX / 2;
}

static void insert_by_epoch(struct segment_list *l, struct spool_segment *g)
{
    struct spool_segment *before = l->last;

    while (before && before->epoch > g->epoch)
        before = before->previous;
    g->previous = before;
    g->next = before ? before->next : l->first;
    if (g->next)
        g->next->previous = g;
    else
        l->last = g;
    if (before)
        before->next = g;
    else
        l->first = g;
    l->octets += g->size;
    l->count++;
}

/* Takes over what the header says. A free one counts as used and empty until its header was written
 * again: this one may be in the cache alone, with an old one on the disk. */
static void adopt(struct spool *s, struct spool_segment *g, const struct format_header *h,
                  uint64_t *id_mark)
{
    g->size = h->size;
    g->epoch = h->epoch;
    g->keys = h->keys;
    g->blank = !h->in_use;
    /* Likewise a footer that is read now: it frees no SEAL. */
    g->cut = true;
    s->next_epoch = PT_MAX(s->next_epoch, h->epoch + 1);
    *id_mark = PT_MAX(*id_mark, h->id_mark);
    s->segment_now = PT_MAX(s->segment_now, PT_MIN(h->size, s->config.segment_size));
    insert_by_epoch(&s->used, g);
}

static int open_one(struct spool *s, uint32_t slot, uint64_t *id_mark)
{
    struct spool_segment *g = segment_new(s, slot);
    struct format_header h;
    char name[SEGMENT_NAME_SIZE];
    int state;

    if (!g)
        return -ENOMEM;
    segment_name(slot, ".seg", name);
    g->handle = s->disk->open(s->disk, s->directory, name,
                              s->config.read_only ? DISK_READ : DISK_READWRITE);
    state = g->handle < 0 ? g->handle : segment_read_header(g, &h);
    if (state == FORMAT_HEADER_OK && sane(&h)) {
        adopt(s, g, &h, id_mark);
        return 0;
    }
    if (state == FORMAT_HEADER_OK || state == FORMAT_HEADER_BAD)
        state = put_aside(s, g);
    else if (state == FORMAT_HEADER_OTHER_VERSION)
        state = -EPROTONOSUPPORT;
    segment_free(g);
    return state;
}

static int open_all(struct spool *s, uint64_t *id_mark)
{
    struct listing l = { .spool = s };
    /* What is seen may be in the cache alone, if only the process has died: a segment that is not
     * durably there must not be used. */
    int result = s->disk->sync_directory(s->disk, s->directory);

    if (result == 0)
        result = s->disk->list(s->disk, s->directory, list_one, &l);
    for (uint32_t i = 0; i < l.count && result == 0; i++)
        result = open_one(s, l.slots[i], id_mark);
    free(l.slots);
    return result;
}

/* ---- 2. where they end ---- */

static void obey_seal(struct spool_segment *by, struct str meta)
{
    for (; meta.n >= FORMAT_SEAL_ENTRY; meta = str_from(meta, FORMAT_SEAL_ENTRY)) {
        uint64_t epoch = format_get64(meta.p), end = format_get64(meta.p + 8);
        struct spool_segment *g = by->previous;

        by->seals = PT_MIN(by->seals, epoch);
        while (g && g->epoch != epoch)
            g = g->previous;
        if (g && end >= FORMAT_DATA && end <= g->size && end % FORMAT_PAGE == 0) {
            g->end = end;
            g->recorded = true;
        }
    }
}

/* The SEAL of a segment with a batch that counts. */
static void read_seal(struct spool_segment *g, struct scan *c)
{
    struct scan_frame f;
    struct str meta;

    if (g->end <= FORMAT_DATA || !scan_frame(c, FORMAT_DATA, &f) || f.head.type != FRAME_SEAL)
        return;
    meta = scan_meta(c, &f);
    if (meta.p)
        obey_seal(g, meta);
}

static int find_end(struct spool *s, struct spool_segment *g)
{
    struct format_trailer t;
    struct scan c;
    int r = 0;

    if (g->blank) {
        g->recorded = true;
        return 0;
    }
    scan_init(&c, s->disk, g->handle, &g->keys, g->size);
    g->footed = segment_read_trailer(g, &t);
    if (g->footed && !g->recorded) {
        g->end = t.end;
        g->recorded = true;
    }
    if (!g->recorded) {
        r = s->disk->sync(s->disk, g->handle);
        if (r == 0)
            r = s->disk->forget(s->disk, g->handle);
        if (r == 0)
            g->end = scan_end(&c);
    }
    if (r == 0)
        read_seal(g, &c);
    scan_done(&c);
    /* An end is never guessed: what the disk does not give now, it may give later. Who only looks
     * takes what there is. */
    return r == 0 && c.error && !s->config.read_only ? c.error : r;
}

static int find_ends(struct spool *s)
{
    int r = 0;

    for (struct spool_segment *g = s->used.last; g && r == 0; g = g->previous)
        r = find_end(s, g);
    return r;
}

/* ---- 3. which messages live ---- */

static enum pt_err replay_all(struct spool *s, uint64_t *id_mark)
{
    struct index *x = &s->load->index;
    enum pt_err err = index_init(x, &s->used) ? PT_ERR_OK : PT_ERR_NOMEM;

    /* Who looks from outside wants to hear of all damage. */
    for (uint32_t i = 0; i < x->segment_count && err == PT_ERR_OK; i++) {
        err = replay_segment(s, x, i, s->config.read_only, id_mark);
        s->load->sweep.keep |= x->segments[i]->unreadable;
    }
    if (err == PT_ERR_OK)
        index_sort(x);
    return err;
}

/* ---- all of it ---- */

static enum pt_err open_for_writing(struct spool *s, struct pt_fault *fault)
{
    struct spool_segment *next;

    /* Segments that hold nothing at all may be used again before anything else is decided. */
    for (struct spool_segment *g = s->used.first; g; g = next) {
        next = g->next;
        if (g->end == FORMAT_DATA && g->live_count == 0)
            space_free(s, g);
    }
    while (s->working) {
        commit_wait_returned(s);
        space_collect(s);
    }
    if (space_open_next(s, 0))
        return PT_ERR_OK;
    *fault = s->stats.fault;
    return fault->err ? fault->err : PT_ERR_IO;
}

static enum pt_err finish(struct spool *s, uint64_t id_mark, struct pt_fault *fault)
{
    load_count(s);
    s->stats.loading = true;
    if (s->config.read_only) {
        s->stats.segments = s->used.count;
        while (load_turn(s))
            ;
        return PT_ERR_OK;
    }
    atomic_store(&s->next_id, PT_MAX((uint64_t)PT_MAX(s->config.now_us, 1),
                                     id_mark ? id_mark + FORMAT_ID_MARGIN : 1));
    return open_for_writing(s, fault);
}

static int read_headers(struct spool *s, uint64_t *id_mark)
{
    int result = open_all(s, id_mark);

    return result ? result : find_ends(s);
}

enum pt_err recover_all(struct spool *s, struct pt_fault *fault)
{
    uint64_t id_mark = 0;
    int result = read_headers(s, &id_mark);
    enum pt_err err = PT_ERR_NOMEM;

    if (result == -EPROTONOSUPPORT)
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "spool %s was written by another version of Postern",
                            s->config.directory);
    if (result)
        return pt_fault_errno(fault, -result, "spool %s: reading it", s->config.directory);
    s->load = calloc(1, sizeof *s->load);
    if (s->load) {
        s->load->spool = s;
        s->load->again_us = INT64_MIN;
        sweep_begin(&s->load->sweep, s);
        err = replay_all(s, &id_mark);
    }
    if (err)
        return pt_fault_set(fault, err, "spool %s: reading it", s->config.directory);
    return finish(s, id_mark, fault);
}
