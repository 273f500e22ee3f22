#include "gateway/transaction.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/msgid.h"
#include "gateway/loop.h"
#include "gateway/session.h"
#include "mime/trace.h"

/*
 * Small content stays in blocks and is written by the commit thread straight from them. Large
 * content is passed to a file worker piece by piece; at most FILE_OPS_MAX pieces are on their way,
 * then the session stops reading, so that a slow disk slows the client and not the gateway.
 */
enum {
    FILE_OPS_MAX = 2,
    ARENA_MAX = 64 << 20,
    ENVELOPE_LEAST = 4096, /* part of TRANSACTION_MEMORY_LEAST */
    CHARGE_SLACK = 128 << 10,
};

struct file_piece {
    struct spool_file_op op;
    struct mail mail;
    struct transaction *transaction;
    uint64_t memory; /* octets */
};

/* ---- the memory it takes ---- */

static uint64_t chain_memory(const struct block_chain *c)
{
    return (c->size + BLOCK_ROOM - 1) / BLOCK_ROOM * BLOCK_SIZE;
}

/* Beyond its least: blocks, and an envelope of unusual size. */
static uint64_t memory_held(const struct transaction *t)
{
    const struct spool_message *m = t->message;
    uint64_t envelope = m->arena.total > ENVELOPE_LEAST ? m->arena.total - ENVELOPE_LEAST : 0;

    return chain_memory(&m->content) + t->writing + envelope;
}

/* Has the budget for what is held and `room` octets more, or tries to get it; gives back what is
 * far too much. */
static bool cover(struct transaction *t, uint64_t room)
{
    struct gateway *g = t->loop->gateway;
    uint64_t want = memory_held(t) + room + TRANSACTION_READ_LEAST;

    if (want > t->charged) {
        if (!budget_take_below(&g->memory, want - t->charged, gateway_memory_for_growth(g)))
            return false;
        t->charged = want;
    } else if (t->charged - want > CHARGE_SLACK) {
        want = PT_MAX(want, (uint64_t)TRANSACTION_MEMORY_LEAST);
        budget_give(&g->memory, t->charged - want);
        t->charged = want;
    }
    return true;
}

/* What is held already is counted, come what may. */
static void account(struct transaction *t)
{
    uint64_t held = memory_held(t);

    if (held <= t->charged)
        return;
    budget_force(&t->loop->gateway->memory, held - t->charged);
    t->charged = held;
}

/* ---- beginning and end ---- */

static void free_now(struct transaction *t)
{
    if (t->message && t->message->file && !t->kept) {
        spool_file_drop(t->loop->gateway->spool, t->message->file);
        t->message->file = NULL;
    }
    spool_message_unref(t->message);
    policy_snapshot_unref(t->snapshot);
    budget_give(&t->loop->gateway->memory, t->charged);
    free(t);
}

struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail)
{
    struct budget *budget = &s->loop->gateway->memory;
    bool paid = budget_take(budget, TRANSACTION_MEMORY_LEAST);
    struct transaction *t = paid ? calloc(1, sizeof *t) : NULL;
    struct spool_message *m = t ? spool_message_new() : NULL;

    if (!m) {
        if (paid)
            budget_give(budget, TRANSACTION_MEMORY_LEAST);
        free(t);
        return NULL;
    }
    t->charged = TRANSACTION_MEMORY_LEAST;
    t->loop = s->loop;
    t->session = s;
    t->snapshot = policy_snapshot_ref(s->loop->snapshot);
    t->message = m;
    m->arena.max = ARENA_MAX;
    mime_header_init(&t->header);
    t->announced = mail->size;
    m->ret = mail->ret;
    m->flags = (mail->body == SMTP_BODY_8BITMIME ? SPOOL_BODY_8BITMIME : 0u) |
               (mail->smtputf8 ? SPOOL_SMTPUTF8 : 0u);
    m->reverse_path = arena_str(&m->arena, mail->reverse_path);
    m->envid = arena_str(&m->arena, mail->envid);
    if (!m->reverse_path.p || !m->envid.p) {
        free_now(t);
        return NULL;
    }
    return t;
}

bool transaction_add_recipient(struct transaction *t, const struct smtp_rcpt *rcpt)
{
    struct spool_message *m = t->message;
    struct spool_recipient *r;

    if (m->arena.total > ENVELOPE_LEAST && !cover(t, TRANSACTION_READ_LEAST))
        return false;
    if (m->recipient_count == t->recipients_cap) {
        uint32_t cap = t->recipients_cap ? t->recipients_cap * 2 : 2;
        struct spool_recipient *more = arena_alloc(&m->arena, cap * sizeof *more);

        if (!more)
            return false;
        if (m->recipient_count)
            memcpy(more, m->recipients, m->recipient_count * sizeof *more);
        m->recipients = more;
        t->recipients_cap = cap;
    }
    r = &m->recipients[m->recipient_count];
    *r = (struct spool_recipient){ .address = arena_str(&m->arena, rcpt->address),
                                   .orcpt = arena_str(&m->arena, rcpt->orcpt),
                                   .notify = rcpt->notify };
    if (!r->address.p || !r->orcpt.p)
        return false;
    m->recipient_count++;
    account(t);
    return true;
}

/* For the Received field: what the session is encrypted with; empty: it is not. */
static struct str tls_clause(const struct tls_info *info, char *text, size_t size)
{
    if (!info->version)
        return STR_NULL;
    snprintf(text, size, "%s %s", info->version, info->cipher);
    return str_of(text);
}

bool transaction_begin_content(struct transaction *t)
{
    struct session *s = t->session;
    struct spool_message *m = t->message;
    struct buf *out = &t->loop->scratch;
    const char *hostname = policy_snapshot_settings(t->snapshot)->identity.hostname;
    char client[NET_ADDR_SIZE], id[MSGID_SIZE], tls[96];
    struct tls_info info = { .version = NULL };

    m->id = spool_new_id(t->loop->gateway->spool);
    m->received_us = clock_wall_us();
    net_addr_format(&s->client.addr, client);
    m->client = arena_str(&m->arena, str_of(client));
    m->helo = arena_str(&m->arena, smtp_server_helo(&s->smtp));
    if (!m->client.p || !m->helo.p)
        return false;
    msgid_format(m->id, id);
    PT_IGNORE(tls_stream_info(&s->stream, &info), "then there is none");
    buf_clear(out);
    mime_trace_write(out, &(struct mime_trace){
                              .helo = m->helo,
                              .client = m->client,
                              .hostname = str_of(hostname),
                              .id = str_of(id),
                              .rcpt = m->recipient_count == 1 ? m->recipients[0].address : STR_NULL,
                              .when_us = m->received_us,
                              .tls = tls_clause(&info, tls, sizeof tls),
                              .tls_client = info.version ? str_of(info.subject) : STR_NULL,
                              .tls_client_verified = info.verified,
                              .encrypted = smtp_server_tls(&s->smtp),
                              .esmtp = smtp_server_esmtp(&s->smtp),
                              .smtputf8 = (m->flags & SPOOL_SMTPUTF8) != 0,
                          });
    return !out->failed && block_chain_add(&m->content, buf_str(out));
}

/* ---- the commit thread ---- */

static void committed_on_loop(struct mail *mail)
{
    struct transaction *t = PT_CONTAINER_OF(mail, struct transaction, mail);

    t->in_spool = false;
    t->kept = t->op.result == PT_ERR_OK;
    if (t->session)
        session_committed(t->session, t->op.result);
    else
        free_now(t);
}

static void committed(struct spool_op *op)
{
    struct transaction *t = PT_CONTAINER_OF(op, struct transaction, op);

    t->mail.run = committed_on_loop;
    net_loop_post(t->loop->loop, &t->mail);
}

static void submit(struct transaction *t)
{
    t->in_spool = true;
    gateway_loop_submit(t->loop, &t->op);
}

/* ---- large content ---- */

static void piece_done_on_loop(struct mail *mail)
{
    struct file_piece *p = PT_CONTAINER_OF(mail, struct file_piece, mail);
    struct transaction *t = p->transaction;

    if (p->op.result != PT_ERR_OK && t->file_error == PT_ERR_OK)
        t->file_error = p->op.result;
    t->file_ops--;
    t->writing -= p->memory;
    free(p);
    if (!t->session) {
        if (t->file_ops == 0)
            free_now(t);
        return;
    }
    if (t->ending && t->file_ops == 0) {
        if (t->file_error == PT_ERR_OK) {
            submit(t);
        } else {
            session_committed(t->session, t->file_error);
        }
        return;
    }
    if (t->file_ops == 0)
        t->cramped = false;
    if (!transaction_is_behind(t))
        session_resume(t->session);
}

static void piece_done(struct spool_file_op *op)
{
    struct file_piece *p = PT_CONTAINER_OF(op, struct file_piece, op);

    p->mail.run = piece_done_on_loop;
    net_loop_post(p->transaction->loop->loop, &p->mail);
}

static bool write_piece(struct transaction *t, bool finish)
{
    struct spool *spool = t->loop->gateway->spool;
    struct spool_message *m = t->message;
    struct file_piece *p = calloc(1, sizeof *p);

    if (!p)
        return false;
    if (!m->file)
        m->file = spool_file_new(spool);
    if (!m->file) {
        free(p);
        return false;
    }
    p->transaction = t;
    p->op.file = m->file;
    p->op.finish = finish;
    p->op.done = piece_done;
    p->memory = chain_memory(&m->content);
    t->writing += p->memory;
    m->size += m->content.size;
    block_chain_move(&p->op.content, &m->content);
    t->file_ops++;
    spool_file_submit(spool, &p->op);
    return true;
}

bool transaction_add_content(struct transaction *t, struct str octets)
{
    struct spool_message *m = t->message;
    uint64_t limit = m->file ? TRANSACTION_FILE_PIECE : TRANSACTION_FILE_FROM;

    if (t->file_error != PT_ERR_OK)
        return false;
    mime_header_feed(&t->header, octets);
    if (!block_chain_add(&m->content, octets))
        return false;
    account(t);
    if (gateway_memory_is_tight(t->loop->gateway))
        limit = TRANSACTION_TIGHT_FROM;
    if (m->content.size >= limit)
        return write_piece(t, false);
    t->cramped = !cover(t, TRANSACTION_READ_LEAST);
    return !t->cramped || write_piece(t, false);
}

size_t transaction_room(struct transaction *t)
{
    const struct gateway *g = t->loop->gateway;
    size_t wanted = gateway_memory_is_tight(g) ? TRANSACTION_READ_LEAST : GATEWAY_INPUT_SIZE;

    return cover(t, wanted) ? wanted : TRANSACTION_READ_LEAST;
}

void transaction_relieve(struct transaction *t)
{
    if (t->ending || t->file_ops || t->message->content.size <= TRANSACTION_READ_LEAST)
        return;
    PT_IGNORE(write_piece(t, false), "then it keeps what it has");
}

bool transaction_is_behind(const struct transaction *t)
{
    return t->file_ops >= (t->cramped ? 1 : FILE_OPS_MAX);
}

bool transaction_commit(struct transaction *t)
{
    struct spool_message *m = t->message;

    t->op = (struct spool_op){ .kind = SPOOL_OP_MESSAGE, .message = m, .done = committed };
    if (m->file) {
        t->ending = write_piece(t, true);
        return t->ending;
    }
    t->ending = true;
    m->size = m->content.size;
    m->cached = true;
    submit(t);
    return true;
}

void transaction_abandon(struct transaction *t)
{
    if (!t)
        return;
    t->session = NULL;
    if (t->file_ops == 0 && !t->in_spool)
        free_now(t);
}
