#include "spool/load.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/file.h"
#include "spool/internal.h"
#include "spool/replay.h"

/* ---- one frame ---- */

struct found {
    struct format_frame head;
    struct str meta;
    struct spool_segment *segment;
    uint64_t at;
};

static void rotten(struct load *l, uint64_t id, const struct index_frame *f, const char *what)
{
    replay_report(l->spool, id, PT_ERR_CORRUPT, "segment %08x, offset %llu: %s",
                  l->index.segments[f->segment]->slot, (unsigned long long)f->at * 8, what);
}

static bool make_room(struct load *l, uint64_t n)
{
    char *bigger;

    if (n <= l->room)
        return true;
    bigger = realloc(l->octets, n);
    if (!bigger)
        return false;
    l->octets = bigger;
    l->room = n;
    return true;
}

/* CORRUPT: it has rotted. IO: the disk does not give it. NOMEM. The first two were reported. */
static enum pt_err read_frame(struct load *l, uint64_t id, const struct index_frame *f,
                              struct found *out)
{
    struct spool_segment *g = l->index.segments[f->segment];
    struct disk *d = l->spool->disk;
    uint64_t n = FORMAT_FRAME_SIZE + (uint64_t)f->meta;

    if (!make_room(l, n))
        return PT_ERR_NOMEM;
    *out = (struct found){ .segment = g, .at = (uint64_t)f->at * 8 };
    /* What fails once may be a moment's trouble; twice is a bad spot. */
    if (disk_read_all(d, g->handle, l->octets, n, out->at) &&
        disk_read_all(d, g->handle, l->octets, n, out->at)) {
        rotten(l, id, f, "a frame cannot be read");
        return PT_ERR_IO;
    }
    out->meta = (struct str){ l->octets + FORMAT_FRAME_SIZE, f->meta };
    if (format_frame_read(l->octets, &out->head, &g->keys) && out->head.id == id &&
        out->head.meta == f->meta &&
        crc32c(g->keys.body, out->meta.p, f->meta) == out->head.meta_crc)
        return PT_ERR_OK;
    rotten(l, id, f, "a frame is damaged");
    return PT_ERR_CORRUPT;
}

/* ---- what it says ---- */

static bool consistent(const struct spool_message *m, const struct found *f,
                       const struct format_envelope *e)
{
    return m->recipient_count && m->id && m->id < UINT64_C(1) << 55 &&
           (e->file_id ? f->head.content == 0 : m->size == f->head.content);
}

static enum pt_err attach_file(struct load *l, struct spool_message *m,
                               const struct format_envelope *e)
{
    if (!e->file_id)
        return PT_ERR_OK;
    m->file = spool_file_found(l->spool, e->file_id, m->size, e->file_crc);
    return m->file ? PT_ERR_OK : PT_ERR_NOMEM;
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
            i,           from->state,      from->code, from->attempts, from->next_attempt_us,
            from->reply, from->delay_told,
        };

        if (!spool_states_set(states, &o))
            return PT_ERR_NOMEM;
    }
    return PT_ERR_OK;
}

/* The message of an envelope; of two the one that was copied more often. */
static enum pt_err on_message(struct load *l, const struct found *f, struct spool_message **m)
{
    struct spool_message *n = spool_message_new();
    bool merged = f->head.flags & FRAME_MERGED;
    struct format_envelope e = { 0 };
    enum pt_err err = PT_ERR_NOMEM;

    if (n) {
        n->id = f->head.id;
        err = format_envelope_read(f->meta, merged, n, &e);
    }
    if (err == PT_ERR_OK && !consistent(n, f, &e))
        err = PT_ERR_INVALID;
    if (err == PT_ERR_OK && *m && (*m)->place.generation >= e.generation) {
        spool_message_unref(n);
        return PT_ERR_OK;
    }
    if (err == PT_ERR_OK)
        err = attach_file(l, n, &e);
    if (err == PT_ERR_OK) {
        n->place = (struct spool_place){
            .segment = f->segment,
            .offset = f->at,
            .meta = f->head.meta,
            .content = f->head.content,
            .content_crc = f->head.content_crc,
            .flags = n->flags,
            .generation = (uint32_t)e.generation,
            .life = LIFE_KEPT,
        };
        err = merged ? begin_states(n) : PT_ERR_OK;
    }
    if (err) {
        spool_message_unref(n);
        return err;
    }
    spool_message_unref(*m);
    *m = n;
    return PT_ERR_OK;
}

static enum pt_err on_outcome(const struct found *f, struct spool_message *m)
{
    struct format_outcome_reader reader;
    struct spool_outcome o;
    enum pt_err err = begin_states(m);

    if (err)
        return err;
    format_outcomes_begin(&reader, f->meta);
    while (format_outcomes_next(&reader, &o))
        if (o.recipient < m->recipient_count &&
            !spool_state_is_final(m->place.states->of[o.recipient].state) &&
            !spool_states_set(m->place.states, &o))
            return PT_ERR_NOMEM;
    return reader.bad ? PT_ERR_INVALID : PT_ERR_OK;
}

static enum pt_err on_route(const struct found *f, struct spool_message *m)
{
    struct format_outcome_reader reader;
    struct spool_route r;
    enum pt_err err = begin_states(m);

    if (err == PT_ERR_OK && !spool_states_make_routes(m->place.states))
        err = PT_ERR_NOMEM;
    if (err)
        return err;
    format_outcomes_begin(&reader, f->meta);
    while (format_routes_next(&reader, &r))
        if (r.recipient < m->recipient_count)
            spool_states_route(m->place.states, &r);
    return reader.bad ? PT_ERR_INVALID : PT_ERR_OK;
}

/* INVALID: it is not what it should be. */
static enum pt_err on_frame(struct load *l, const struct found *f, struct spool_message **m)
{
    if (f->head.type == FRAME_MESSAGE)
        return on_message(l, f, m);
    if (!*m)
        return PT_ERR_OK;
    if (f->head.type == FRAME_OUTCOME)
        return on_outcome(f, *m);
    if (f->head.type == FRAME_ROUTE)
        return on_route(f, *m);
    if (f->head.type == FRAME_HOLD)
        (*m)->place.flags |= SPOOL_HELD;
    else if (f->head.type == FRAME_RELEASE)
        (*m)->place.flags &= ~(uint32_t)SPOOL_HELD;
    return PT_ERR_OK;
}

/* ---- one message ---- */

/* The message's own fields say what the log says. */
static enum pt_err settle_fields(struct spool_message *m)
{
    const struct spool_states *states = m->place.states;
    enum pt_err err = PT_ERR_OK;

    m->flags = m->place.flags;
    m->place.left = 0;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct spool_recipient *to = &m->recipients[i];

        if (states) {
            const struct format_state *from = &states->of[i];

            to->state = from->state;
            to->code = from->code;
            to->attempts = from->attempts;
            to->next_attempt_us = from->next_attempt_us;
            spool_reply_set(&to->reply, from->reply);
            to->delay_told = from->delay_told;
            if (states->next_hops && states->next_hops[i].n)
                err = spool_message_send_to(m, i, states->next_hops[i]) ? err : PT_ERR_NOMEM;
        }
        m->place.left += !spool_state_is_final(to->state);
    }
    return err;
}

/* Makes it of its frames from `first` on, but `not`. *unreadable: one could not be read. */
static enum pt_err make(struct load *l, const struct index_stub *stub, uint32_t first, uint32_t not,
                        struct spool_message **m, bool *unreadable)
{
    for (uint32_t i = first; i != INDEX_NONE; i = l->index.frames[i].next) {
        struct found f;
        enum pt_err err;

        if (i == not )
            continue;
        err = read_frame(l, stub->id, &l->index.frames[i], &f);
        *unreadable = *unreadable || err == PT_ERR_IO;
        if (err == PT_ERR_OK)
            err = on_frame(l, &f, m);
        if (err == PT_ERR_INVALID)
            rotten(l, stub->id, &l->index.frames[i], "a frame is damaged");
        if (err == PT_ERR_NOMEM)
            return err;
        if (!*m && not == INDEX_NONE) /* what follows says nothing without it */
            return PT_ERR_OK;
    }
    return PT_ERR_OK;
}

static unsigned fate_of(struct load *l, const struct spool_message *m, bool unreadable)
{
    if (!m)
        return unreadable ? LOAD_UNREADABLE : LOAD_LOST;
    if (m->place.left == 0) /* its DONE has rotted: it would be without anything to do for ever */
        return LOAD_LOST;
    if (!m->file || sweep_claim(&l->sweep, m->file->id))
        return LOAD_KEPT;
    replay_report(l->spool, m->id, PT_ERR_CORRUPT, "large/%016llx.eml is gone",
                  (unsigned long long)m->file->id);
    return LOAD_LOST;
}

static enum pt_err load_one(struct load *l, const struct index_stub *stub,
                            struct spool_message **out, uint8_t *fate)
{
    struct spool_message *m = NULL;
    bool unreadable = false;
    enum pt_err err = make(l, stub, stub->message, INDEX_NONE, &m, &unreadable);

    /* Its newest envelope is lost: perhaps an older one is still there. */
    if (err == PT_ERR_OK && !m && stub->first != stub->message)
        err = make(l, stub, stub->first, stub->message, &m, &unreadable);
    if (err == PT_ERR_OK && m) {
        m->place.oldest = l->index.segments[stub->oldest]->epoch;
        err = settle_fields(m);
    }
    *fate = LOAD_LOST;
    if (err == PT_ERR_OK)
        *fate = (uint8_t)fate_of(l, m, unreadable);
    if (*fate == LOAD_UNREADABLE)
        l->sweep.keep = true;
    if (*fate != LOAD_KEPT) {
        spool_message_unref(m);
        m = NULL;
    }
    *out = m;
    return err;
}

/* ---- a piece, on a worker ---- */

static void run(struct spool_job *job)
{
    struct load *l = PT_CONTAINER_OF(job, struct load, job);
    struct spool *s = l->spool;

    if (l->count == 0)
        sweep_end(&l->sweep);
    for (l->done = 0; l->done < l->count; l->done++)
        if (load_one(l, &l->index.stubs[l->next + l->done], &l->messages[l->done],
                     &l->fates[l->done]) != PT_ERR_OK)
            break;
    /* From here on the commit thread may free it. */
    atomic_store(&l->returned, true);
    commit_wake(s);
}

/* ---- the commit thread's part ---- */

static void count_stub(struct spool *s, const struct index_stub *stub, bool lives)
{
    const struct index_frame *f = &s->load->index.frames[stub->message];

    space_count(s, s->load->index.segments[f->segment], format_extent(f->meta, stub->content),
                lives);
}

void load_count(struct spool *s)
{
    struct index *x = &s->load->index;

    for (uint32_t i = 0; i < x->stub_count; i++)
        count_stub(s, &x->stubs[i], true);
    s->stats.messages = s->stats.found = x->stub_count;
}

/* Hands on what was read. */
static void take_piece(struct spool *s)
{
    struct load *l = s->load;
    uint32_t kept = 0;

    pthread_mutex_lock(&s->lock);
    for (uint32_t i = 0; i < l->done; i++) {
        if (l->fates[i] == LOAD_UNREADABLE)
            continue;
        count_stub(s, &l->index.stubs[l->next + i], false);
        if (l->fates[i] == LOAD_LOST) {
            s->stats.messages--;
            continue;
        }
        space_add(s, l->messages[i]);
        l->messages[kept++] = l->messages[i];
    }
    l->next += l->done;
    s->stats.loaded += l->done;
    pthread_mutex_unlock(&s->lock);
    if (kept && s->config.recovered)
        s->config.recovered(s->config.ctx, l->messages, kept);
    if (l->done < l->count) { /* memory is short */
        l->again_us = s->now_us + RETRY_US;
        s->retry_us = PT_MIN(s->retry_us, l->again_us);
    }
    l->done = l->count = 0;
}

static void end(struct spool *s)
{
    struct load *l = s->load;

    if (l->sweep.error)
        commit_fault(s, -l->sweep.error, "removing what is left over in large/");
    load_drop(s);
    s->space_changed = true;
    pthread_mutex_lock(&s->lock);
    s->stats.loading = false;
    pthread_mutex_unlock(&s->lock);
}

static uint32_t piece_size(const struct spool *s)
{
    uint32_t wanted = s->config.load_piece;

    return wanted && wanted < LOAD_PIECE ? wanted : LOAD_PIECE;
}

bool load_turn(struct spool *s)
{
    struct load *l = s->load;
    bool did = false;

    if (l && l->busy && atomic_load(&l->returned)) {
        did = true;
        atomic_store(&l->returned, false);
        l->busy = false;
        if (l->count)
            take_piece(s);
        else
            end(s);
    }
    l = s->load;
    if (!l || l->busy || atomic_load(&s->stop) || s->now_us < l->again_us)
        return did;
    l->count = PT_MIN(l->index.stub_count - l->next, piece_size(s));
    l->busy = true;
    l->job.run = run;
    workers_post(&s->workers, &l->job);
    return true;
}

void load_drop(struct spool *s)
{
    struct load *l = s->load;

    if (!l)
        return;
    for (uint32_t i = 0; i < l->done; i++)
        if (l->fates[i] == LOAD_KEPT)
            spool_message_unref(l->messages[i]);
    index_done(&l->index);
    sweep_done(&l->sweep);
    free(l->octets);
    free(l);
    s->load = NULL;
}
