#include "spool/replay.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "spool/file.h"
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

static void rotten(struct replay *r, struct spool_segment *g, const struct scan_frame *f,
                   const char *what)
{
    r->lost++;
    replay_report(r->spool, f->head.id, PT_ERR_CORRUPT, "segment %08x, offset %llu: %s is damaged",
                  g->slot, (unsigned long long)f->at, what);
}

/* ---- one frame ---- */

static enum pt_err attach_file(struct replay *r, struct spool_message *m,
                               const struct format_envelope *e)
{
    if (!e->file_id)
        return PT_ERR_OK;
    m->file = spool_file_found(r->spool, e->file_id, m->size, e->file_crc);
    return m->file ? PT_ERR_OK : PT_ERR_NOMEM;
}

static enum pt_err keep(struct replay *r, struct spool_message *m)
{
    struct spool_message *old;
    enum pt_err err = map_put(&r->messages, m, &old);

    if (err) {
        spool_message_unref(m);
        return err;
    }
    if (old) {
        m->place.oldest = PT_MIN(m->place.oldest, old->place.oldest);
        spool_message_unref(old);
    }
    return PT_ERR_OK;
}

static bool consistent(const struct spool_message *m, const struct scan_frame *f,
                       const struct format_envelope *e)
{
    return m->recipient_count && m->id && m->id < UINT64_C(1) << 55 &&
           (e->file_id ? f->head.content == 0 : m->size == f->head.content);
}

/* From the fields of a merged envelope. */
static enum pt_err begin_states(struct spool_message *m)
{
    struct spool_states *states;

    if (m->place.states)
        return PT_ERR_OK;
    states = spool_states_get(m);
    if (!states)
        return PT_ERR_NOMEM;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct spool_recipient *from = &m->recipients[i];
        struct spool_outcome o = {
            i, from->state, from->code, from->attempts, from->next_attempt_us, from->reply
        };

        if (!spool_states_set(states, &o))
            return PT_ERR_NOMEM;
    }
    return PT_ERR_OK;
}

static enum pt_err on_message(struct replay *r, struct spool_segment *g, const struct scan_frame *f,
                              struct str meta)
{
    struct spool_message *m = spool_message_new(), *known;
    struct format_envelope e = { 0 };
    enum pt_err err = PT_ERR_NOMEM;

    if (m) {
        m->id = f->head.id;
        err = format_envelope_read(meta, f->head.flags & FRAME_MERGED, m, &e);
    }
    if (err == PT_ERR_OK && !consistent(m, f, &e))
        err = PT_ERR_INVALID;
    known = map_get(&r->messages, f->head.id);
    if (err == PT_ERR_OK && known && known->place.generation >= e.generation) {
        spool_message_unref(m);
        return PT_ERR_OK;
    }
    if (err == PT_ERR_OK)
        err = attach_file(r, m, &e);
    if (err) {
        spool_message_unref(m);
        if (err == PT_ERR_INVALID)
            rotten(r, g, f, "an envelope");
        return err == PT_ERR_INVALID ? PT_ERR_OK : err;
    }
    m->place = (struct spool_place){
        .segment = g,
        .offset = f->at,
        .oldest = g->epoch,
        .meta = f->head.meta,
        .content = f->head.content,
        .content_crc = f->head.content_crc,
        .flags = m->flags,
        .generation = (uint32_t)e.generation,
        .life = LIFE_KEPT,
    };
    if (f->head.flags & FRAME_MERGED && begin_states(m) != PT_ERR_OK) {
        spool_message_unref(m);
        return PT_ERR_NOMEM;
    }
    return keep(r, m);
}

static enum pt_err on_outcome(struct replay *r, struct spool_segment *g, const struct scan_frame *f,
                              struct str meta)
{
    struct spool_message *m = map_get(&r->messages, f->head.id);
    struct format_outcome_reader reader;
    struct spool_outcome o;
    enum pt_err err;

    if (!m)
        return PT_ERR_OK;
    err = begin_states(m);
    if (err)
        return err;
    format_outcomes_begin(&reader, meta);
    while (format_outcomes_next(&reader, &o))
        if (o.recipient < m->recipient_count &&
            !spool_state_is_final(m->place.states->of[o.recipient].state) &&
            !spool_states_set(m->place.states, &o))
            return PT_ERR_NOMEM;
    if (reader.bad)
        rotten(r, g, f, "an outcome");
    return PT_ERR_OK;
}

static void on_held(struct replay *r, const struct scan_frame *f)
{
    struct spool_message *m = map_get(&r->messages, f->head.id);

    if (m && f->head.type == FRAME_HOLD)
        m->place.flags |= SPOOL_HELD;
    else if (m)
        m->place.flags &= ~(uint32_t)SPOOL_HELD;
}

static void on_seal(struct spool_segment *g, struct str meta)
{
    for (; meta.n >= FORMAT_SEAL_ENTRY; meta = str_from(meta, FORMAT_SEAL_ENTRY))
        g->seals = PT_MIN(g->seals, format_get64(meta.p));
}

static void note(struct replay *r, struct spool_segment *g, const struct scan_frame *f)
{
    struct format_entry e = { f->head.id,      f->at,        f->head.meta,
                              f->head.content, f->head.type, f->head.flags };
    struct spool_message *m = map_get(&r->messages, f->head.id);
    char octets[FORMAT_ENTRY_SIZE];

    if (f->head.type == FRAME_COMMIT) {
        r->id_mark = PT_MAX(r->id_mark, f->head.id);
        return;
    }
    if (f->head.type == FRAME_SEAL)
        return;
    r->id_mark = PT_MAX(r->id_mark, f->head.id + 1);
    if (m && f->head.type != FRAME_MESSAGE)
        space_refer(g, m->place.oldest);
    if (g->footed)
        return;
    format_entry_write(octets, &e);
    buf_add(&g->entries, octets, sizeof octets);
}

static enum pt_err on_frame(struct replay *r, struct spool_segment *g, struct scan *c,
                            const struct scan_frame *f)
{
    struct str meta = scan_meta(c, f);

    note(r, g, f);
    if (!meta.p) {
        rotten(r, g, f, "a frame");
        return PT_ERR_OK;
    }
    switch (f->head.type) {
    case FRAME_MESSAGE:
        return on_message(r, g, f, meta);
    case FRAME_OUTCOME:
        return on_outcome(r, g, f, meta);
    case FRAME_HOLD:
    case FRAME_RELEASE:
        on_held(r, f);
        return PT_ERR_OK;
    case FRAME_DELETE:
    case FRAME_DONE:
        spool_message_unref(map_take(&r->messages, f->head.id));
        return PT_ERR_OK;
    case FRAME_SEAL:
        on_seal(g, meta);
        return PT_ERR_OK;
    default:
        return PT_ERR_OK;
    }
}

/* ---- a segment ---- */

static bool resync(struct replay *r, struct spool_segment *g, struct scan *c, uint64_t at,
                   struct scan_frame *f)
{
    bool found = scan_find(c, at + 8, 8, g->end, f);

    r->lost++;
    replay_report(r->spool, 0, PT_ERR_CORRUPT,
                  "segment %08x: octets from %llu to %llu are damaged; a message may be lost",
                  g->slot, (unsigned long long)at, (unsigned long long)(found ? f->at : g->end));
    return found;
}

enum pt_err replay_segment(struct replay *r, struct spool_segment *g)
{
    struct scan c;
    struct scan_frame f;
    enum pt_err err = PT_ERR_OK;

    scan_init(&c, r->spool->disk, g->handle, &g->keys, g->size);
    for (uint64_t at = FORMAT_DATA; at < g->end && err == PT_ERR_OK; at = f.next) {
        if ((!scan_frame(&c, at, &f) || f.next > g->end) && !resync(r, g, &c, at, &f))
            break;
        if (f.next > g->end) /* found again, and still not to be believed */
            f.next = f.at + 8;
        else
            err = on_frame(r, g, &c, &f);
    }
    scan_done(&c);
    return err;
}
