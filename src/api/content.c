/*
 * api/content: a message as it was received, streamed.
 *
 * A piece is read by a job thread while the former one is on its way out, never more than one at a
 * time, so that a message of any size takes one piece of memory.
 */
#include <stdlib.h>

#include "api/resources.h"

enum { PIECE = 256 * 1024 };

struct content {
    uint64_t id;
    uint64_t offset;
    uint64_t size;
};

/* Appends the next piece to the response's body. */
static enum pt_err read_piece(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct content *c = x->user;
    struct block_chain piece;
    enum pt_err err = PT_ERR_OK;

    if (c->offset == c->size)
        return PT_ERR_OK;
    block_chain_init(&piece);
    err = a->deps.queue_content(a->deps.ctx, c->id, c->offset,
                                (uint32_t)PT_MIN(PIECE, c->size - c->offset), &piece);
    if (!err && (piece.size == 0 || piece.size > c->size - c->offset))
        err = PT_ERR_CORRUPT;
    for (const struct block *b = piece.first; b && !err; b = b->next)
        buf_add(&x->response.body, b->data, b->used);
    c->offset += piece.size;
    block_chain_done(&piece);
    return x->response.body.failed ? PT_ERR_NOMEM : err;
}

static void next_job(struct http_exchange *x)
{
    if (read_piece(x) != PT_ERR_OK)
        http_exchange_abort(x);
}

static void next(struct http_exchange *x)
{
    api_job(x, next_job);
}

static bool take_size(void *user, const struct api_message *m)
{
    ((struct content *)user)->size = m->size;
    return true;
}

static void first_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct content *c = calloc(1, sizeof *c);
    enum pt_err err;

    x->user = c;
    x->user_free = free;
    if (!c) {
        api_problem(x, PT_ERR_NOMEM, NULL);
        return;
    }
    if (!api_param_id(x, &c->id))
        return;
    err = a->deps.queue_show(a->deps.ctx, c->id, 0, 1, take_size, c);
    if (!err)
        err = read_piece(x);
    if (err) {
        api_queue_problem(x, err, "");
        return;
    }
    /* Mail is hostile: nothing that shows this answer may treat it as a page. */
    http_header_add(x, "Content-Disposition", "attachment; filename=\"message.eml\"");
    http_header_add(x, "Content-Security-Policy", "default-src 'none'; sandbox");
    x->response.status = 200;
    x->response.type = "message/rfc822";
    x->response.total = c->size;
    x->response.more = next;
}

void api_queue_content(struct http_exchange *x)
{
    api_job(x, first_job);
}
