#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/file.h"
#include "spool/internal.h"

/*
 * One batch: operations become frames, frames become iovecs that point at the scratch memory (heads
 * and meta parts) and at the blocks of the messages (content is never copied), and all of it one
 * write and one sync.
 */

void batch_begin(struct spool *s)
{
    struct spool_batch *b = &s->batch;

    b->segment = s->open;
    b->start = b->at = b->written = s->open->end;
    b->frames = 0;
    b->crc = s->open->keys.head;
    b->error = 0;
    b->serial++;
    b->entries_before = s->open->entries.n;
    b->iov_count = 0;
    b->scratch_used = 0;
    b->first = b->last = NULL;
    b->ops = 0;
    b->message_count = 0;
    if (b->scratch_size > BATCH_SCRATCH) { /* a huge envelope was here */
        char *smaller = realloc(b->scratch, BATCH_SCRATCH);

        b->scratch = smaller ? smaller : b->scratch;
        b->scratch_size = smaller ? BATCH_SCRATCH : b->scratch_size;
    }
}

/* ---- octets ---- */

/* Hands what there is to the disk, so that the iovecs can be used again. */
static void flush(struct spool *s)
{
    struct spool_batch *b = &s->batch;
    uint64_t n = 0;

    for (int i = 0; i < b->iov_count; i++)
        n += b->iov[i].iov_len;
    if (b->error == 0)
        b->error = disk_write_all(s->disk, b->segment->handle, b->iov, b->iov_count, b->written);
    b->written += n;
    b->iov_count = 0;
}

static void put_iov(struct spool *s, const void *octets, size_t n)
{
    struct spool_batch *b = &s->batch;
    struct iovec *last = b->iov_count ? &b->iov[b->iov_count - 1] : NULL;

    if (n == 0)
        return;
    if (last && (char *)last->iov_base + last->iov_len == octets) {
        last->iov_len += n;
        return;
    }
    if (b->iov_count == BATCH_IOV)
        flush(s);
    b->iov[b->iov_count++] = (struct iovec){ (void *)octets, n };
}

static char *scratch_end(struct spool *s)
{
    return s->batch.scratch + s->batch.scratch_used;
}

/* Takes `n` octets of scratch into the batch, as they are. */
static void put_scratch(struct spool *s, size_t n)
{
    struct spool_batch *b = &s->batch;

    pt_assert(n <= b->scratch_size - b->scratch_used);
    put_iov(s, b->scratch + b->scratch_used, n);
    b->scratch_used += n;
}

static void put_zeros(struct spool *s, size_t n)
{
    memset(scratch_end(s), 0, n);
    put_scratch(s, n);
}

static void put_content(struct spool *s, const struct block_chain *c)
{
    for (const struct block *block = c->first; block; block = block->next)
        put_iov(s, block->data, block->used);
}

/* ---- frames ---- */

static uint32_t content_crc(const struct spool *s, const struct block_chain *c)
{
    uint32_t crc = s->batch.segment->keys.body;

    for (const struct block *block = c->first; block; block = block->next)
        crc = crc32c(crc, block->data, block->used);
    return crc;
}

static void put_entry(struct spool_segment *g, const struct format_entry *e)
{
    char octets[FORMAT_ENTRY_SIZE];

    format_entry_write(octets, e);
    buf_add(&g->entries, octets, sizeof octets);
}

/* Completes the frame whose meta part, `meta` octets, already stands in the scratch memory behind
 * room for the header. Fills `place` if given. A content CRC in `f` spoils the true one. */
static void put_frame(struct spool *s, struct format_frame f, size_t meta,
                      const struct block_chain *content, struct spool_place *place)
{
    struct spool_batch *b = &s->batch;
    struct spool_segment *g = b->segment;
    char *head = scratch_end(s);
    uint64_t extent;

    f.meta = (uint32_t)meta;
    f.page = (uint32_t)(b->start / FORMAT_PAGE);
    f.index = (uint16_t)b->frames;
    f.meta_crc = crc32c(g->keys.body, head + FORMAT_FRAME_SIZE, meta);
    f.content_crc = content ? content_crc(s, content) ^ f.content_crc : g->keys.body;
    f.content = content ? (uint32_t)content->size : 0;
    format_frame_write(head, &f, &g->keys);
    extent = format_extent(f.meta, f.content);
    if (place) {
        place->segment = g;
        place->offset = b->at;
        place->meta = f.meta;
        place->content = f.content;
        place->content_crc = f.content_crc;
    }
    if (f.type != FRAME_COMMIT)
        put_entry(g, &(struct format_entry){ f.id, b->at, f.meta, f.content, f.type, f.flags });
    put_scratch(s, FORMAT_FRAME_SIZE + meta);
    if (content)
        put_content(s, content);
    put_zeros(s, extent - FORMAT_FRAME_SIZE - meta - f.content);
    if (f.type != FRAME_COMMIT)
        b->crc = crc32c(b->crc, head + 36, 4);
    b->frames++;
    b->at += extent;
}

static char *meta_room(struct spool *s)
{
    return scratch_end(s) + FORMAT_FRAME_SIZE;
}

static void put_message(struct spool *s, struct spool_message *m)
{
    struct format_envelope e = { .flags = m->flags };
    struct format_frame f = { .id = m->id, .type = FRAME_MESSAGE };
    char *meta = meta_room(s);

    if (m->file) {
        e.file_id = m->file->id;
        e.file_crc = m->file->table_crc;
    }
    m->place.flags = m->flags;
    m->place.left = m->recipient_count;
    m->place.life = LIFE_WRITING;
    m->place.oldest = s->batch.segment->epoch;
    put_frame(s, f, (size_t)(format_envelope_write(meta, m, &e, NULL) - meta),
              m->file ? NULL : &m->content, &m->place);
    s->batch.messages[s->batch.message_count++] = m;
}

static void put_routes(struct spool *s, struct spool_message *m, const struct spool_route *routes,
                       uint32_t count)
{
    char *meta = meta_room(s);
    char *end = format_routes_write(meta, routes, count);

    put_frame(s, (struct format_frame){ .id = m->id, .type = FRAME_ROUTE }, (size_t)(end - meta),
              NULL, NULL);
}

/* A merged envelope says nothing of where its recipients are sent. */
static void put_routes_of_copy(struct spool *s, struct spool_message *m)
{
    char *meta = meta_room(s);
    char *end = format_next_hops_write(meta, m->place.states->next_hops, m->recipient_count);

    if (end > meta)
        put_frame(s, (struct format_frame){ .id = m->id, .type = FRAME_ROUTE },
                  (size_t)(end - meta), NULL, NULL);
}

static void put_copy(struct spool *s, struct spool_copy *c)
{
    struct spool_message *m = c->op.message;
    struct format_envelope e = { .generation = m->place.generation + 1u, .flags = m->place.flags };
    struct format_frame f = { .id = m->id, .type = FRAME_MESSAGE, .flags = FRAME_MERGED };
    struct spool_states *states = spool_states_get(m);
    char *meta = meta_room(s);

    if (m->file) {
        e.file_id = m->file->id;
        e.file_crc = m->file->table_crc;
    }
    /* Content that has rotted is copied as damaged as it was. */
    f.content_crc = c->read.result == PT_ERR_CORRUPT;
    put_frame(s, f, (size_t)(format_envelope_write(meta, m, &e, states->of) - meta),
              m->file ? NULL : &c->read.content, &c->place);
    put_routes_of_copy(s, m);
}

static void put_bare(struct spool *s, enum frame_type type, struct spool_message *m)
{
    put_frame(s, (struct format_frame){ .id = m->id, .type = (uint8_t)type }, 0, NULL, NULL);
    space_refer(s->batch.segment, m->place.oldest);
}

/* Marks what the outcomes settle in this batch; true when no recipient is left after it. */
static bool settle(struct spool_message *m, const struct spool_op *op)
{
    struct spool_states *states = m->place.states;

    for (uint32_t i = 0; i < op->outcome_count; i++) {
        const struct spool_outcome *o = &op->outcomes[i];

        if (!spool_state_is_final(o->state))
            continue;
        if (states) {
            struct format_state *was = &states->of[o->recipient];

            if (spool_state_is_final(was->state) || was->settling)
                continue;
            was->settling = true;
        }
        m->place.settling++;
    }
    return m->place.settling >= m->place.left;
}

static void put_outcome(struct spool *s, struct spool_op *op)
{
    struct spool_message *m = op->message;
    char *meta = meta_room(s);
    char *end;

    if (settle(m, op)) {
        put_bare(s, FRAME_DONE, m);
        op->wrote = WROTE_DONE;
        m->place.life = LIFE_LEAVING;
        return;
    }
    end = format_outcomes_write(meta, op->outcomes, op->outcome_count);
    put_frame(s, (struct format_frame){ .id = m->id, .type = FRAME_OUTCOME }, (size_t)(end - meta),
              NULL, NULL);
    space_refer(s->batch.segment, m->place.oldest);
}

static void put_op(struct spool *s, struct spool_op *op)
{
    op->wrote = WROTE_FRAME;
    op->message->place.touched = s->batch.serial;
    switch (op->kind) {
    case SPOOL_OP_MESSAGE:
        put_message(s, op->message);
        break;
    case SPOOL_OP_OUTCOME:
        put_outcome(s, op);
        if (op->bounce)
            put_message(s, op->bounce);
        break;
    case SPOOL_OP_HOLD:
        put_bare(s, FRAME_HOLD, op->message);
        break;
    case SPOOL_OP_RELEASE:
        put_bare(s, FRAME_RELEASE, op->message);
        break;
    case SPOOL_OP_DELETE:
        put_bare(s, FRAME_DELETE, op->message);
        op->message->place.life = LIFE_LEAVING;
        op->wrote = WROTE_DONE;
        break;
    case SPOOL_OP_ROUTE:
        put_routes(s, op->message, op->routes, op->route_count);
        space_refer(s->batch.segment, op->message->place.oldest);
        break;
    case SPOOL_OP_COPY:
        put_copy(s, PT_CONTAINER_OF(op, struct spool_copy, op));
        break;
    }
}

/* ---- may it come in? ---- */

/* What an operation may take. */
struct need {
    uint64_t scratch;
    uint64_t octets;
};

static void need_frame(struct need *n, uint64_t meta, uint64_t content)
{
    n->scratch += FORMAT_FRAME_SIZE + meta + 8;
    n->octets += FORMAT_FRAME_SIZE + meta + content + 8;
}

static void need_message(struct need *n, const struct spool_message *m,
                         const struct format_state *states)
{
    uint64_t content = m->file ? 0 : states ? m->size : m->content.size;

    need_frame(n, format_envelope_bound(m, states), content);
}

static void need_copy(struct need *n, const struct spool_message *m)
{
    const struct spool_states *states = m->place.states;
    uint64_t routes = format_next_hops_bound(states->next_hops, m->recipient_count);

    need_message(n, m, states->of);
    if (routes)
        need_frame(n, routes, 0);
}

static struct need need_of(const struct spool_op *op)
{
    struct need n = { 0 };

    if (op->kind == SPOOL_OP_MESSAGE)
        need_message(&n, op->message, NULL);
    else if (op->kind == SPOOL_OP_COPY)
        need_copy(&n, op->message);
    else if (op->kind == SPOOL_OP_ROUTE)
        need_frame(&n, format_routes_bound(op->routes, op->route_count), 0);
    else if (op->kind == SPOOL_OP_OUTCOME)
        need_frame(&n, format_outcomes_bound(op->outcomes, op->outcome_count), 0);
    else
        need_frame(&n, 0, 0);
    if (op->bounce)
        need_message(&n, op->bounce, NULL);
    return n;
}

static enum pt_err check_new(const struct spool_message *m)
{
    if (m->place.life != LIFE_NEW || m->recipient_count == 0)
        return PT_ERR_INVALID;
    if (m->file)
        return m->file->kept && m->size == m->file->size ? PT_ERR_OK : PT_ERR_INVALID;
    return m->size == m->content.size && m->size <= UINT32_MAX ? PT_ERR_OK : PT_ERR_INVALID;
}

static enum pt_err check_outcomes(struct spool_message *m, const struct spool_op *op)
{
    if (op->outcome_count == 0)
        return PT_ERR_INVALID;
    for (uint32_t i = 0; i < op->outcome_count; i++)
        if (op->outcomes[i].recipient >= m->recipient_count ||
            op->outcomes[i].state > SPOOL_IN_DOUBT)
            return PT_ERR_INVALID;
    /* One recipient delivered at the first attempt, the usual case, needs no memory. */
    if ((m->recipient_count > 1 || !spool_state_is_final(op->outcomes[0].state)) &&
        !spool_states_get(m))
        return PT_ERR_NOMEM;
    return op->bounce ? check_new(op->bounce) : PT_ERR_OK;
}

static enum pt_err check_routes(struct spool_message *m, const struct spool_op *op)
{
    struct spool_states *states;

    if (op->route_count == 0)
        return PT_ERR_INVALID;
    for (uint32_t i = 0; i < op->route_count; i++)
        if (op->routes[i].recipient >= m->recipient_count ||
            op->routes[i].next_hop.n > SPOOL_REPLY_MAX)
            return PT_ERR_INVALID;
    states = spool_states_get(m);
    return states && spool_states_make_routes(states) ? PT_ERR_OK : PT_ERR_NOMEM;
}

static enum pt_err check_copy(struct spool *s, struct spool_op *op)
{
    struct spool_copy *c = PT_CONTAINER_OF(op, struct spool_copy, op);

    if (op->message->place.segment != c->from)
        return PT_ERR_NOTFOUND;
    /* What this batch says of it is not in its states yet, and would be undone by the copy. */
    if (op->message->place.touched == s->batch.serial)
        return PT_ERR_AGAIN;
    if (c->read.result != PT_ERR_OK && c->read.result != PT_ERR_CORRUPT)
        return c->read.result;
    return spool_states_get(op->message) ? PT_ERR_OK : PT_ERR_NOMEM;
}

static enum pt_err check(struct spool *s, struct spool_op *op)
{
    if (op->kind == SPOOL_OP_MESSAGE)
        return check_new(op->message);
    if (op->message->place.life != LIFE_KEPT)
        return PT_ERR_NOTFOUND;
    if (op->kind == SPOOL_OP_OUTCOME)
        return check_outcomes(op->message, op);
    if (op->kind == SPOOL_OP_ROUTE)
        return check_routes(op->message, op);
    if (op->kind == SPOOL_OP_COPY)
        return check_copy(s, op);
    return PT_ERR_OK;
}

static bool scratch_fits(struct spool_batch *b, uint64_t n)
{
    char *bigger;

    if (n <= b->scratch_size - b->scratch_used)
        return true;
    if (b->frames) /* iovecs point into it */
        return false;
    bigger = realloc(b->scratch, n);
    if (!bigger)
        return false;
    b->scratch = bigger;
    b->scratch_size = n;
    return true;
}

static bool segment_fits(const struct spool_segment *g, uint64_t at, uint64_t octets)
{
    uint64_t entries = g->entries.n / FORMAT_ENTRY_SIZE + 2;
    uint64_t end = format_align(at + octets + FORMAT_COMMIT_SIZE, FORMAT_PAGE);

    return end + format_footer_size(entries) <= g->size;
}

/* The smallest size of segment that takes the octets: the usual one, or doubled; 0: none does. */
static uint64_t least_size(const struct spool *s, uint64_t octets)
{
    struct spool_segment empty = { .size = s->segment_now };

    /* The first page of a segment is its SEAL's. */
    while (!segment_fits(&empty, FORMAT_DATA + FORMAT_PAGE, octets)) {
        if (empty.size == s->config.segment_size)
            return 0;
        empty.size = PT_MIN(2 * empty.size, s->config.segment_size);
    }
    return empty.size;
}

static enum batch_added refuse(struct spool_op *op, enum pt_err err)
{
    op->result = err;
    return BATCH_REFUSED;
}

enum batch_added batch_add(struct spool *s, struct spool_op *op)
{
    struct spool_batch *b = &s->batch;
    enum pt_err err = check(s, op);
    struct need n;

    if (err)
        return refuse(op, err);
    n = need_of(op);
    if (b->frames && (b->at - b->start + n.octets > BATCH_OCTETS || b->ops == BATCH_OPS))
        return BATCH_FULL;
    if (!segment_fits(b->segment, b->at, n.octets)) {
        b->least = least_size(s, n.octets);
        return b->least ? BATCH_SEGMENT_FULL : refuse(op, PT_ERR_TOOBIG);
    }
    if (!scratch_fits(b, n.scratch + FORMAT_COMMIT_SIZE))
        return b->frames ? BATCH_FULL : refuse(op, PT_ERR_NOMEM);
    put_op(s, op);
    op->next = NULL;
    if (b->last)
        b->last->next = op;
    else
        b->first = op;
    b->last = op;
    b->ops++;
    return BATCH_ADDED;
}

/* ---- write ---- */

static void put_commit(struct spool *s)
{
    static const char zeros[FORMAT_PAGE];
    struct spool_batch *b = &s->batch;
    struct format_commit c = { .count = b->frames, .crc = b->crc, .durable = b->start };
    struct format_frame f = { .id = atomic_load(&s->next_id), .type = FRAME_COMMIT };
    uint64_t end;

    format_commit_write(meta_room(s), &c);
    put_frame(s, f, FORMAT_COMMIT_META, NULL, NULL);
    end = format_align(b->at, FORMAT_PAGE);
    put_iov(s, zeros, end - b->at);
    b->at = end;
}

int batch_write(struct spool *s)
{
    struct spool_batch *b = &s->batch;

    put_commit(s);
    flush(s);
    if (b->error == 0)
        b->error = s->disk->sync(s->disk, b->segment->handle);
    return b->error;
}
