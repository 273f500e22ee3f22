/*
 * DATA and BDAT: content to slices.
 *
 * Content that was given up (too large, not to be stored, or never wanted) is still read to its
 * end, so that the reply stands where the client expects it and what follows is a command again.
 * In DATA that holds only as long as the lines are sound: behind a bare CR, LF or NUL nobody knows
 * where the client thinks that the message ends, so there the session ends at once.
 */
#include "smtp/server_private.h"

/* Octets that may still be dropped before the session ends over them. */
static uint64_t drop_max(const struct smtp_server *s)
{
    uint64_t size = s->config->max_message_size;

    return size > UINT64_MAX - SMTP_SERVER_DISCARD_MAX ? UINT64_MAX
                                                       : size + SMTP_SERVER_DISCARD_MAX;
}

static bool is_too_large(const struct smtp_server *s, uint64_t more)
{
    return s->max_size && (s->size > s->max_size || more > s->max_size - s->size);
}

void smtp_server_limit_size(struct smtp_server *s, uint64_t octets)
{
    if (octets && (!s->max_size || octets < s->max_size))
        s->max_size = octets;
}

/* ---- giving up ---- */

/* The reply at the end is in words that do not last: they are written now and kept. */
static void keep_failure(struct smtp_server *s, const struct smtp_reply *reply)
{
    struct buf words;

    smtp_server_release(s);
    buf_init(&words, UINT16_MAX);
    smtp_reply_write(&words, reply);
    if (words.failed || words.n == 0) {
        buf_done(&words);
        s->failure = &smtp_reply_cannot_store;
        return;
    }
    s->held = words.p;
    s->held_n = (uint16_t)words.n;
    s->failure = NULL;
}

static void write_failure(struct smtp_server *s, struct buf *out)
{
    if (s->failure)
        smtp_server_say(s, out, s->failure);
    else
        buf_add(out, s->held, s->held_n);
    smtp_server_release(s);
}

static void drop_content_from_here(struct smtp_server *s, const struct smtp_reply *reply)
{
    s->failure = reply;
    s->left = 0;
    smtp_server_drop_transaction(s);
    smtp_server_enter(s, STATE_DROP_CONTENT);
}

static void drop_chunk_from_here(struct smtp_server *s, const struct smtp_reply *reply)
{
    s->failure = reply;
    smtp_server_drop_transaction(s);
    smtp_server_enter(s, STATE_DROP_CHUNK);
}

void smtp_server_fail_content(struct smtp_server *s, const struct smtp_reply *reply)
{
    if (s->state != STATE_CONTENT && s->state != STATE_CHUNK)
        return;
    keep_failure(s, reply);
    smtp_server_end_transaction(s);
    if (s->state == STATE_CONTENT) {
        s->left = 0;
        smtp_server_enter(s, STATE_DROP_CONTENT);
    } else {
        smtp_server_enter(s, STATE_DROP_CHUNK);
    }
}

/* ---- DATA ---- */

static void bare_in_data(struct smtp_server *s, struct turn *t)
{
    smtp_server_close(s, t->out, &smtp_reply_bare_in_data);
}

void smtp_server_read_content(struct smtp_server *s, struct turn *t)
{
    struct smtp_dot_step step;

    if (t->in.n == 0)
        return;
    step = smtp_dot_read(&s->dot, t->in);
    t->in = str_from(t->in, step.taken);
    if (step.status == SMTP_DOT_BARE) {
        bare_in_data(s, t);
    } else if (step.status == SMTP_DOT_END) {
        smtp_server_enter(s, STATE_ASK_COMMIT);
    } else if (is_too_large(s, step.content.n)) {
        drop_content_from_here(s, &smtp_reply_too_large);
    } else {
        s->size += step.content.n;
        s->eight_bit |= step.eight_bit;
        t->content = step.content;
    }
}

void smtp_server_drop_content(struct smtp_server *s, struct turn *t)
{
    struct smtp_dot_step step;

    if (t->in.n == 0)
        return;
    step = smtp_dot_read(&s->dot, t->in);
    t->in = str_from(t->in, step.taken);
    s->left += step.taken;
    if (step.status == SMTP_DOT_BARE) {
        bare_in_data(s, t);
    } else if (step.status == SMTP_DOT_END) {
        smtp_server_enter(s, STATE_COMMAND);
        write_failure(s, t->out);
    } else if (s->left > drop_max(s)) {
        smtp_server_close(s, t->out, &smtp_reply_endless_data);
    }
}

/* ---- BDAT ---- */

void smtp_server_refuse_chunk(struct smtp_server *s, uint64_t size, const struct smtp_reply *reply)
{
    s->left = size;
    drop_chunk_from_here(s, reply);
}

void smtp_server_begin_chunk(struct smtp_server *s, uint64_t size, bool last)
{
    s->left = size;
    s->last = last;
    if (is_too_large(s, size)) {
        drop_chunk_from_here(s, &smtp_reply_too_large);
    } else if (s->chunked) {
        smtp_server_enter(s, STATE_CHUNK);
    } else {
        s->chunked = true;
        smtp_server_enter(s, STATE_ASK_DATA);
    }
}

static void end_chunk(struct smtp_server *s, struct turn *t)
{
    if (!s->last) {
        smtp_server_enter(s, STATE_COMMAND);
        smtp_reply_write(t->out, &smtp_reply_chunk_ok);
    } else if (smtp_dot_chunks_may_end(&s->dot)) {
        smtp_server_enter(s, STATE_ASK_COMMIT);
    } else {
        drop_chunk_from_here(s, &smtp_reply_bare_in_chunk);
    }
}

void smtp_server_read_chunk(struct smtp_server *s, struct turn *t)
{
    struct smtp_dot_step step;

    if (s->left == 0) {
        end_chunk(s, t);
        return;
    }
    if (t->in.n == 0)
        return;
    step = smtp_dot_read_chunk(&s->dot, str_head(t->in, s->left));
    t->in = str_from(t->in, step.taken);
    s->left -= step.taken;
    if (step.status == SMTP_DOT_BARE) {
        drop_chunk_from_here(s, &smtp_reply_bare_in_chunk);
        return;
    }
    s->size += step.content.n;
    s->eight_bit |= step.eight_bit;
    t->content = step.content;
}

void smtp_server_drop_chunk(struct smtp_server *s, struct turn *t)
{
    struct str dropped = str_head(t->in, s->left);

    if (s->left > drop_max(s)) {
        smtp_server_close(s, t->out, &smtp_reply_endless_data);
        return;
    }
    t->in = str_from(t->in, dropped.n);
    s->left -= dropped.n;
    if (s->left == 0) {
        smtp_server_enter(s, STATE_COMMAND);
        write_failure(s, t->out);
    }
}

/* ---- the driver's answer ---- */

void smtp_server_data_answered(struct smtp_server *s, struct buf *out, const struct smtp_reply *no)
{
    bool chunked = s->chunked;

    if (no) {
        smtp_server_drop_transaction(s);
        if (chunked) {
            keep_failure(s, no);
            smtp_server_enter(s, STATE_DROP_CHUNK);
        } else {
            smtp_server_enter(s, STATE_COMMAND);
            smtp_reply_write(out, no);
        }
    } else {
        smtp_dot_init(&s->dot);
        if (chunked) {
            smtp_server_enter(s, STATE_CHUNK);
        } else {
            smtp_server_enter(s, STATE_CONTENT);
            smtp_reply_write(out, &smtp_reply_send_data);
        }
    }
}
