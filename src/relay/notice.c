#include "relay/notice.h"

#include <stdlib.h>
#include <sys/random.h>

#include "base/log.h"
#include "base/msgid.h"
#include "mime/dsn.h"
#include "relay/delivery.h"
#include "smtp/client.h"
#include "smtp/envelope.h"

enum { PAUSE_US = 60000000 };

/* ---- is one due? ---- */

/* What the sender is told of this recipient; false: nothing. */
static bool action_of(const struct relay_op *op, uint32_t i, enum mime_dsn_action *out)
{
    const struct spool_recipient *r = &op->message->recipients[op->group->indexes[i]];
    const struct relay_result *res = &op->results[i];

    switch ((enum spool_state)res->state) {
    case SPOOL_FAILED:
        *out = MIME_DSN_FAILED;
        return r->notify == 0 || r->notify & SMTP_NOTIFY_FAILURE;
    case SPOOL_DELIVERED:
        *out = op->final ? MIME_DSN_DELIVERED : MIME_DSN_RELAYED;
        return r->notify & SMTP_NOTIFY_SUCCESS && !op->tells;
    case SPOOL_QUEUED:
    case SPOOL_IN_DOUBT:
        *out = MIME_DSN_DELAYED;
        return res->delay_told;
    }
    return false;
}

static uint32_t count_told(const struct relay_op *op, enum mime_dsn_action *out_worst)
{
    enum mime_dsn_action action;
    uint32_t n = 0;

    *out_worst = MIME_DSN_RELAYED;
    for (uint32_t i = 0; i < op->count; i++)
        if (action_of(op, i, &action)) {
            *out_worst = PT_MIN(*out_worst, action);
            n++;
        }
    return n;
}

bool relay_notice_is_due(const struct relay_op *op)
{
    enum mime_dsn_action worst;

    return op->message->reverse_path.n && count_told(op, &worst) > 0;
}

bool relay_notice_can_wait(const struct relay_op *op)
{
    enum mime_dsn_action action;

    for (uint32_t i = 0; i < op->count; i++)
        if (op->group && action_of(op, i, &action) && action != MIME_DSN_DELAYED)
            return false;
    return op->op.bounce && op->group;
}

void relay_notice_put_off(struct relay_op *op)
{
    struct relay *r = op->relay;
    bool any = false;

    for (uint32_t i = 0; i < op->count; i++) {
        any |= op->results[i].delay_told;
        if (op->results[i].delay_told)
            op->results[i].delay_told = op->outcomes[i].delay_told = false;
    }
    if (!any)
        return;
    r->notices_from_us = relay_now(r) + PAUSE_US;
    relay_sched_still_late(&r->sched, op->group->item);
}

/* ---- composing ---- */

/* Our words and those heard last apart again. */
static void split_reason(const struct relay_op *op, const struct relay_result *res,
                         struct mime_dsn_rcpt *d)
{
    size_t last = sizeof RELAY_LAST_REASON - 1;

    d->reply = res->reply;
    if (!res->given_up)
        return;
    d->reason = str_of(op->why);
    d->reply = str_from(res->reply, d->reason.n);
    if (d->reply.n)
        d->reply = str_from(d->reply, last);
}

static void set_status(const struct relay_result *res, struct mime_dsn_rcpt *d)
{
    unsigned codes[] = { 250, 500, 400 }; /* where the words are ours, any class will do */

    if (res->code && !res->given_up) {
        PT_IGNORE(!smtp_client_status(res->code, d->reply, d->status), "then its class alone");
        return;
    }
    for (unsigned i = 1; i < PT_ARRAY_LEN(codes); i++)
        if (smtp_client_status((uint16_t)codes[i], res->reply, d->status))
            return;
    d->status[0] = res->state == SPOOL_FAILED ? 5 : res->state == SPOOL_DELIVERED ? 2 : 4;
    if (d->status[0] == 4 && d->reply.n) /* words without a status are a connection's */
        d->status[1] = 4, d->status[2] = 1;
}

static struct mime_dsn_rcpt *describe(const struct relay_op *op, uint32_t count)
{
    struct mime_dsn_rcpt *rcpts = calloc(count, sizeof *rcpts);
    int64_t now_us = relay_now(op->relay);
    enum mime_dsn_action action;
    uint32_t n = 0;

    for (uint32_t i = 0; rcpts && i < op->count; i++) {
        const struct relay_result *res = &op->results[i];
        const struct spool_recipient *r = &op->message->recipients[op->group->indexes[i]];
        struct mime_dsn_rcpt *d = &rcpts[n];

        if (!action_of(op, i, &action))
            continue;
        *d = (struct mime_dsn_rcpt){
            .address = r->address,
            .orcpt = r->orcpt,
            .action = action,
            .code = res->code,
            .remote = res->code ? str_of(op->host) : STR(""),
            .last_attempt_us = res->untried ? 0 : now_us,
            .will_retry_until_us = op->message->received_us + op->rl->retry.life_us,
        };
        split_reason(op, res, d);
        set_status(res, d);
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
    enum mime_dsn_action worst;
    uint32_t count = count_told(op, &worst);
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
        .client = m->client,
        .helo = m->helo,
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

static void log_notice(const struct relay_op *op, const struct spool_message *notice,
                       enum mime_dsn_action worst)
{
    static const char *const actions[] = {
        [MIME_DSN_FAILED] = "failed",
        [MIME_DSN_DELAYED] = "delayed",
        [MIME_DSN_DELIVERED] = "delivered",
        [MIME_DSN_RELAYED] = "relayed",
    };
    struct log_line l;
    char id[MSGID_SIZE];

    msgid_format(notice->id, id);
    log_begin(&l, LOG_INFO, "notice");
    log_id(&l, op->message->id);
    log_cstr(&l, "notice", id);
    log_cstr(&l, "action", actions[worst]);
    log_str(&l, "recipients", op->message->reverse_path);
    log_end(&l);
}

/* Without a notice: who failed is tried again, who waits hears of it another time. */
static void do_without(struct relay_op *op)
{
    enum mime_dsn_action action;

    for (uint32_t i = 0; i < op->count; i++) {
        struct relay_result *res = &op->results[i];

        if (res->state == SPOOL_FAILED && action_of(op, i, &action))
            *res = (struct relay_result){ .state = SPOOL_QUEUED,
                                          .code = res->code,
                                          .untried = res->untried,
                                          .reply = res->reply };
    }
    op->again.next_us = relay_now(op->relay) + op->rl->retry.first_us;
    relay_lock(op->relay);
    relay_notice_put_off(op);
    relay_unlock(op->relay);
}

static void finish(struct relay_op *op, const struct block_chain *original)
{
    enum mime_dsn_action worst;
    struct spool_message *notice = make(op, original);

    if (notice) {
        PT_IGNORE(count_told(op, &worst), "there is somebody, or no notice");
        if (worst == MIME_DSN_FAILED)
            relay_count(&op->relay->counters.bounces, 1);
        log_notice(op, notice, worst);
    } else {
        do_without(op);
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

void relay_notice_make(struct relay_op *op)
{
    const struct spool_message *m = op->message;

    if (m->cached || !m->size)
        finish(op, &m->content);
    else if (!relay_reader_start(op->rl, op->message, 0, octets_needed(m), on_read, op))
        finish(op, NULL);
}
