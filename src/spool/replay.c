#include "spool/replay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "base/log.h"
#include "spool/internal.h"

void replay_report(struct spool *s, uint64_t id, enum pt_err err, const char *fmt, ...)
{
    struct pt_fault fault = { .err = err };
    struct log_line line;
    va_list args;

    va_start(args, fmt);
    vsnprintf(fault.text, sizeof fault.text, fmt, args);
    va_end(args);
    if (s->config.damaged) {
        s->config.damaged(s->config.ctx, id, &fault);
        return;
    }
    log_begin(&line, LOG_ERROR, "spool_damaged");
    if (id)
        log_id(&line, id);
    log_cstr(&line, "text", fault.text);
    log_end(&line);
}

struct replay {
    struct spool *spool;
    struct index *index;
    struct spool_segment *segment;
    uint32_t number;
    uint64_t id_mark;
};

/* ---- a footer ---- */

static bool entry_fits(const struct spool_segment *g, const struct format_entry *e)
{
    return e->offset >= FORMAT_DATA && e->offset < g->end &&
           format_extent(e->meta, e->content) <= g->end - e->offset;
}

/* The entries of the footer, on the heap; NULL: it cannot be used. */
static char *read_footer(struct replay *r, struct format_trailer *t)
{
    struct spool_segment *g = r->segment;
    struct format_entry e;
    uint64_t n;
    char *octets;
    bool good;

    if (!g->footed || !segment_read_trailer(g, t))
        return NULL;
    n = (uint64_t)t->count * FORMAT_ENTRY_SIZE;
    octets = malloc(n + 1);
    if (!octets)
        return NULL;
    good = disk_read_all(r->spool->disk, g->handle, octets, n, t->start) == 0 &&
           crc32c(g->keys.body, octets, n) == t->entries_crc;
    for (uint64_t at = 0; at < n && good; at += FORMAT_ENTRY_SIZE) {
        format_entry_read(octets + at, &e);
        good = entry_fits(g, &e);
    }
    if (good)
        return octets;
    free(octets);
    return NULL;
}

static enum pt_err add(struct replay *r, const struct format_entry *e)
{
    r->id_mark = PT_MAX(r->id_mark, e->id + 1);
    return index_add(r->index, r->number, e);
}

static enum pt_err take_footer(struct replay *r, const char *octets, const struct format_trailer *t)
{
    enum pt_err err = PT_ERR_OK;
    struct format_entry e;

    for (uint32_t i = 0; i < t->count && err == PT_ERR_OK; i++) {
        format_entry_read(octets + (size_t)i * FORMAT_ENTRY_SIZE, &e);
        err = add(r, &e);
    }
    r->id_mark = PT_MAX(r->id_mark, t->id_mark);
    return err;
}

/* ---- frames ---- */

static enum pt_err on_frame(struct replay *r, const struct scan_frame *f)
{
    struct format_entry e = { f->head.id,      f->at,        f->head.meta,
                              f->head.content, f->head.type, f->head.flags };
    struct spool_segment *g = r->segment;
    char octets[FORMAT_ENTRY_SIZE];

    if (f->head.type == FRAME_COMMIT) {
        r->id_mark = PT_MAX(r->id_mark, f->head.id);
        return PT_ERR_OK;
    }
    if (f->head.type == FRAME_SEAL)
        return PT_ERR_OK;
    if (!g->footed) {
        format_entry_write(octets, &e);
        buf_add(&g->entries, octets, sizeof octets);
    }
    return add(r, &e);
}

static bool resync(struct replay *r, struct scan *c, uint64_t at, struct scan_frame *f)
{
    struct spool_segment *g = r->segment;
    bool found = scan_find(c, at + 8, 8, g->end, f);

    replay_report(r->spool, 0, PT_ERR_CORRUPT,
                  "segment %08x: octets from %llu to %llu are damaged; a message may be lost",
                  g->slot, (unsigned long long)at, (unsigned long long)(found ? f->at : g->end));
    return found;
}

static enum pt_err take_frames(struct replay *r)
{
    struct spool_segment *g = r->segment;
    struct scan c;
    struct scan_frame f;
    enum pt_err err = PT_ERR_OK;

    scan_init(&c, r->spool->disk, g->handle, &g->keys, g->size);
    for (uint64_t at = FORMAT_DATA; at < g->end && err == PT_ERR_OK; at = f.next) {
        if ((!scan_frame(&c, at, &f) || f.next > g->end) && !resync(r, &c, at, &f))
            break;
        if (f.next > g->end) /* found again, and still not to be believed */
            f.next = f.at + 8;
        else
            err = on_frame(r, &f);
    }
    g->unreadable = g->unreadable || c.error;
    scan_done(&c);
    return err;
}

/* ---- either ---- */

enum pt_err replay_segment(struct spool *s, struct index *x, uint32_t number, bool frames,
                           uint64_t *id_mark)
{
    struct replay r = { s, x, x->segments[number], number, *id_mark };
    struct format_trailer t;
    char *octets = frames ? NULL : read_footer(&r, &t);
    enum pt_err err = octets ? take_footer(&r, octets, &t) : take_frames(&r);

    free(octets);
    *id_mark = r.id_mark;
    return err;
}
