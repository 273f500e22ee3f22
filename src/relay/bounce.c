#include "relay/bounce.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/msgid.h"
#include "mime/dsn.h"
#include "relay/delivery.h"
#include "smtp/client.h"
#include "smtp/envelope.h"

/* ---- is one due? ---- */

static bool wants_to_know(const struct relay_op *op, uint32_t i)
{
    const struct spool_recipient *r = &op->message->recipients[op->group->indexes[i]];

    return op->results[i].state == SPOOL_FAILED &&
           (r->notify == 0 || (r->notify & SMTP_NOTIFY_FAILURE));
}

static uint32_t count_who_want(const struct relay_op *op)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < op->count; i++)
        n += wants_to_know(op, i);
    return n;
}

bool relay_bounce_is_due(const struct relay_op *op)
{
    return op->message->reverse_path.n && count_who_want(op) > 0;
}

/* ---- composing ---- */

static struct mime_dsn_rcpt *describe(const struct relay_op *op, uint32_t count)
{
    struct mime_dsn_rcpt *rcpts = calloc(count, sizeof *rcpts);
    uint32_t n = 0;

    for (uint32_t i = 0; rcpts && i < op->count; i++) {
        const struct relay_result *res = &op->results[i];
        const struct spool_recipient *r = &op->message->recipients[op->group->indexes[i]];
        struct mime_dsn_rcpt *d = &rcpts[n];

        if (!wants_to_know(op, i))
            continue;
        *d = (struct mime_dsn_rcpt){
            .address = r->address,
            .orcpt = r->orcpt,
            .action = MIME_DSN_FAILED,
            .code = res->code,
            .reply = res->reply,
            .remote = res->code ? str_of(op->host) : STR(""),
            .last_attempt_us = relay_now(op->relay),
        };
        if (!smtp_client_status(res->code ? res->code : 500, res->reply, d->status) && !res->code &&
            !smtp_client_status(400, res->reply, d->status))
            d->status[0] = 5;
        n++;
    }
    return rcpts;
}

/* Was something given up because the next hop cannot take it as it is (RFC 3463 X.6.3, X.6.7)? A
 * notice that needs the same would never arrive. */
static bool way_is_seven_bit(const struct mime_dsn_rcpt *rcpts, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (rcpts[i].code == 0 && rcpts[i].status[1] == 6 &&
            (rcpts[i].status[2] == 3 || rcpts[i].status[2] == 7))
            return true;
    return false;
}

static bool compose(struct relay_op *op, struct spool_message *notice,
                    const struct block_chain *original)
{
    struct relay *r = op->relay;
    const struct spool_message *m = op->message;
    uint32_t count = count_who_want(op);
    struct mime_dsn_rcpt *rcpts = describe(op, count);
    char id[MSGID_SIZE], original_id[MSGID_SIZE], hostname[sizeof r->hostname];
    struct mime_dsn_needs needs = { 0 };
    bool ok;

    if (!rcpts)
        return false;
    msgid_format(notice->id, id);
    msgid_format(m->id, original_id);
    relay_lock(r);
    memcpy(hostname, r->hostname, sizeof hostname);
    relay_unlock(r);
    struct mime_dsn dsn = {
        .hostname = str_of(hostname),
        .id = str_of(id),
        .now_us = notice->received_us,
        .to = m->reverse_path,
        .envid = m->envid,
        .original_id = str_of(original_id),
        .arrival_us = m->received_us,
        .smtputf8 = relay_message_flags(m) & SPOOL_SMTPUTF8,
        .ret = m->ret,
        .seven_bit = way_is_seven_bit(rcpts, count),
        .rcpts = rcpts,
        .rcpt_count = count,
        .original = original,
        .original_size = m->size,
    };
    PT_IGNORE(getrandom(dsn.random, sizeof dsn.random, 0) < 0, "only a boundary, and checked");
    ok = mime_dsn_write(&notice->content, &dsn, &needs);
    free(rcpts);
    notice->cached = true;
    notice->size = notice->content.size;
    notice->flags = SPOOL_OWN | (needs.has_8bit ? SPOOL_8BIT | SPOOL_BODY_8BITMIME : 0u) |
                    (needs.smtputf8 ? SPOOL_SMTPUTF8 : 0u);
    return ok;
}

/* The notice's envelope: from nobody, to the sender. */
static bool address(struct spool_message *notice, const struct spool_message *m)
{
    notice->reverse_path = STR("");
    notice->recipients = arena_zalloc(&notice->arena, sizeof *notice->recipients);
    if (!notice->recipients)
        return false;
    notice->recipient_count = 1;
    notice->recipients[0].address = arena_str(&notice->arena, m->reverse_path);
    return notice->recipients[0].address.p != NULL;
}

static struct spool_message *make(struct relay_op *op, const struct block_chain *original)
{
    struct spool_message *notice = op->relay->spool ? spool_message_new() : NULL;

    if (!notice)
        return NULL;
    notice->id = spool_new_id(op->relay->spool);
    notice->received_us = relay_now(op->relay);
    if (address(notice, op->message) && compose(op, notice, original))
        return notice;
    spool_message_unref(notice);
    return NULL;
}

/* ---- both ways to the content ---- */

static void log_notice(const struct relay_op *op, const struct spool_message *notice)
{
    struct log_line l;
    char id[MSGID_SIZE];

    msgid_format(notice->id, id);
    log_begin(&l, LOG_INFO, "notice");
    log_id(&l, op->message->id);
    log_cstr(&l, "notice", id);
    log_str(&l, "recipients", op->message->reverse_path);
    log_end(&l);
}

static void finish(struct relay_op *op, const struct block_chain *original)
{
    struct spool_message *notice = make(op, original);

    if (notice) {
        relay_count(&op->relay->counters.bounces, 1);
        log_notice(op, notice);
    } else {
        for (uint32_t i = 0; i < op->count; i++)
            if (wants_to_know(op, i))
                op->results[i].state = SPOOL_QUEUED;
        op->again.next_us = relay_now(op->relay) + op->relay->sched.retry.first_us;
    }
    relay_outcome_commit(op, notice);
}

static void on_read(struct relay_reader *reader, void *owner)
{
    struct relay_op *op = owner;
    bool ok = reader->read.result == PT_ERR_OK;

    /* What cannot be read is not returned; the sender hears all the same. */
    finish(op, ok ? &reader->read.content : NULL);
    relay_reader_end(reader);
}

static uint64_t octets_needed(const struct spool_message *m)
{
    if (m->ret == SMTP_RET_FULL && m->size <= MIME_DSN_FULL_MAX)
        return m->size;
    return PT_MIN(m->size, PT_MAX(MIME_DSN_DEFAULT_MAX, MIME_DSN_HEADER_MAX));
}

void relay_bounce_make(struct relay_op *op)
{
    const struct spool_message *m = op->message;

    if (m->cached || !m->size)
        finish(op, &m->content);
    else if (!relay_reader_start(op->rl, op->message, 0, octets_needed(m), on_read, op))
        finish(op, NULL);
}
