#include "smtp/client_private.h"

/*
 * One transaction.
 *
 * What is written when:
 *
 *                     in one write                     then
 *     step by step    MAIL | each RCPT | DATA          content after 354
 *     pipelined       MAIL RCPT… DATA                  content after 354
 *     chunked         MAIL RCPT…                       BDAT + content once somebody is accepted
 *     chunked, eager  MAIL RCPT… BDAT + content        nothing: the replies come all at once
 *
 * Of very many recipients GROUP are on their way at a time and the rest follows as replies come, so
 * that neither side ever has more unread than buffers hold (RFC 2920 3.1); DATA goes with the last.
 */

enum { GROUP = 100, GROUP_OCTETS = 32 * 1024 };

enum client_await client_tx_awaits(const struct client_tx *t)
{
    if (!t->m || t->over)
        return CLIENT_AWAIT_NOTHING;
    if (!t->mail_answered)
        return CLIENT_AWAIT_MAIL;
    if (t->owed)
        return CLIENT_AWAIT_RCPT;
    if (!t->asked)
        return CLIENT_AWAIT_NOTHING;
    if (t->way == SMTP_CLIENT_BY_DATA && !t->data_answered)
        return CLIENT_AWAIT_DATA;
    return CLIENT_AWAIT_END;
}

enum smtp_client_state client_tx_state(const struct client_tx *t)
{
    if (t->content_out && !t->content_ended)
        return SMTP_CLIENT_STATE_CONTENT;
    switch (client_tx_awaits(t)) {
    case CLIENT_AWAIT_MAIL:
        return SMTP_CLIENT_STATE_MAIL;
    case CLIENT_AWAIT_DATA:
        return SMTP_CLIENT_STATE_DATA;
    case CLIENT_AWAIT_END:
        return t->lone_dot ? SMTP_CLIENT_STATE_LONE_DOT : SMTP_CLIENT_STATE_DOT;
    case CLIENT_AWAIT_RCPT:
    case CLIENT_AWAIT_NOTHING:
        break;
    }
    return SMTP_CLIENT_STATE_RCPT;
}

void client_tx_settle(struct client_tx *t, const struct smtp_client_result *result)
{
    for (uint32_t i = 0; i < t->m->rcpt_count; i++) {
        struct smtp_client_result *r = &t->m->rcpts[i].result;

        if (r->outcome == SMTP_CLIENT_PENDING)
            *r = *result;
    }
}

/* The reply just read as a result whose text lives as long as the transaction. Without memory for
 * the text the code stands alone. */
static struct smtp_client_result kept_result(struct smtp_client *c, struct client_tx *t)
{
    struct smtp_client_result r = client_reply_result(c);

    r.text = arena_str(&t->texts, r.text);
    if (!r.text.p)
        r.text = STR("");
    return r;
}

static void finish(struct smtp_client *c, struct client_tx *t, bool transaction_open)
{
    t->over = true;
    if (transaction_open)
        c->reset_due = true;
}

/* ---- commands ---- */

static bool is_pending(const struct client_tx *t, uint32_t i)
{
    return t->m->rcpts[i].result.outcome == SMTP_CLIENT_PENDING;
}

static void write_rcpts(struct smtp_client *c, struct client_tx *t, struct buf *out)
{
    uint32_t window = c->pipelining ? GROUP : 1;

    if (t->refused || t->owed > window / 2 || (!c->pipelining && !t->mail_answered))
        return;
    for (; t->next_rcpt < t->m->rcpt_count; t->next_rcpt++) {
        if (!is_pending(t, t->next_rcpt))
            continue;
        if (t->owed >= window || (t->owed && out->n >= GROUP_OCTETS))
            return;
        client_rcpt_write(out, &t->m->rcpts[t->next_rcpt].rcpt, &c->peer);
        t->owed++;
    }
}

static bool is_eager(const struct smtp_client *c, const struct client_tx *t)
{
    return t->way == SMTP_CLIENT_BY_BDAT && c->pipelining && !t->ahead && !t->mail_answered &&
           t->m->mail.size <= c->bdat_eager_max;
}

/* May DATA or BDAT be written, now that every RCPT is? */
static bool may_ask(const struct smtp_client *c, const struct client_tx *t)
{
    if (t->way == SMTP_CLIENT_BY_DATA && c->pipelining && (t->owed || !t->mail_answered))
        return true;
    return is_eager(c, t) || (t->mail_answered && t->owed == 0 && t->accepted);
}

static void ask(struct smtp_client *c, struct client_tx *t, struct buf *out)
{
    t->asked = true;
    if (t->way == SMTP_CLIENT_BY_DATA) {
        BUF_LIT(out, "DATA\r\n");
        return;
    }
    BUF_LIT(out, "BDAT ");
    buf_add_u64(out, t->m->mail.size);
    BUF_LIT(out, " LAST\r\n");
    t->content_out = c->content_due = true;
}

/* Writes what may be written now; ends the transaction when nothing is left to wait for. */
static void go_on(struct smtp_client *c, struct client_tx *t, struct buf *out)
{
    write_rcpts(c, t, out);
    if (!t->asked && !t->refused && !t->m->question && t->next_rcpt == t->m->rcpt_count &&
        may_ask(c, t))
        ask(c, t, out);
    if (client_tx_awaits(t) == CLIENT_AWAIT_NOTHING)
        finish(c, t, !t->refused);
}

void client_tx_begin(struct smtp_client *c, struct client_tx *t, struct smtp_client_message *m,
                     struct buf *out)
{
    bool bdat = (c->flags & SMTP_CLIENT_BDAT) && c->peer.chunking && m->mail.size_given;

    t->m = m;
    t->way = bdat ? SMTP_CLIENT_BY_BDAT : SMTP_CLIENT_BY_DATA;
    if (client_message_check(m, &c->peer) == 0) {
        t->over = true;
        return;
    }
    c->messages++;
    client_mail_write(out, m, &c->peer);
    go_on(c, t, out);
}

/* ---- replies ---- */

static void mail_reply(struct smtp_client *c, struct client_tx *t)
{
    struct smtp_client_result r;

    t->mail_answered = true;
    if (c->reply.code / 100 == 2)
        return;
    r = kept_result(c, t);
    t->refused = t->m->mail_refused = true;
    if (t->ahead && c->reply.code == 503) {
        /* The peer still sees the transaction before: our order of commands was at fault, not this
         * message. It goes again, and nothing more ahead on this connection. */
        r.outcome = SMTP_CLIENT_RETRY;
        r.untried = true;
        c->flags &= ~(unsigned)SMTP_CLIENT_AHEAD;
        c->reset_due = true;
    }
    client_tx_settle(t, &r);
}

static void rcpt_reply(struct smtp_client *c, struct client_tx *t)
{
    struct smtp_client_result *r;

    t->owed--;
    if (t->refused)
        return;
    while (!is_pending(t, t->next_reply))
        t->next_reply++;
    r = &t->m->rcpts[t->next_reply++].result;
    if (c->reply.code / 100 == 2 && !t->m->question) {
        t->accepted++;
        return;
    }
    *r = kept_result(c, t);
    if (c->reply.code == 552)
        r->outcome = SMTP_CLIENT_RETRY; /* too many recipients: RFC 5321 4.5.3.1.10 */
}

static void data_reply(struct smtp_client *c, struct client_tx *t, struct buf *out)
{
    t->data_answered = true;
    if (c->reply.code != 354) {
        struct smtp_client_result r = kept_result(c, t);

        client_tx_settle(t, &r);
        finish(c, t, !t->refused);
    } else if (t->accepted) {
        t->content_out = c->content_due = true;
    } else {
        BUF_LIT(out, ".\r\n");
        t->lone_dot = true;
    }
}

/* RFC 2033 4.2: one reply for each recipient that was accepted, in their order. */
bool client_tx_answered(struct client_tx *t, const struct smtp_client_result *result)
{
    while (!is_pending(t, t->next_end))
        t->next_end++;
    t->m->rcpts[t->next_end++].result = *result;
    return --t->accepted == 0;
}

static void end_reply(struct smtp_client *c, struct client_tx *t)
{
    bool bdat_failed = t->way == SMTP_CLIENT_BY_BDAT && c->reply.code / 100 != 2;
    bool none = t->accepted == 0; /* a lone dot, or content sent in vain: whatever it says */
    bool another = c->tx[!c->current].m != NULL;

    if (!none) {
        struct smtp_client_result r = kept_result(c, t);

        if (!(c->flags & SMTP_CLIENT_LMTP))
            client_tx_settle(t, &r);
        else if (!client_tx_answered(t, &r))
            return;
    }
    /* A failed BDAT leaves the peer's transaction in an unknown state (RFC 3030 section 2). */
    finish(c, t, bdat_failed && !another);
}

/* A reply of a kind that this command cannot have. */
static bool is_nonsense(const struct smtp_client *c, const struct client_tx *t,
                        enum client_await awaited)
{
    unsigned class = c->reply.code / 100;

    if (awaited != CLIENT_AWAIT_DATA)
        return class == 3;
    /* LMTP has no answer to the lone dot: RFC 2033 4.2 forbids the 354 before it. */
    if (c->reply.code == 354)
        return (c->flags & SMTP_CLIENT_LMTP) && t->accepted == 0;
    return class == 2 || class == 3;
}

void client_tx_reply(struct smtp_client *c, struct buf *out)
{
    struct client_tx *t = client_current(c);
    enum client_await awaited = client_tx_awaits(t);
    bool early = awaited == CLIENT_AWAIT_END && !t->content_ended && !t->lone_dot;

    if (is_nonsense(c, t, awaited) || (early && c->reply.code / 100 == 2)) {
        client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
        return;
    }
    if (early) {
        /* It does not want to hear the end; what was begun cannot be taken back. */
        client_dismissed(c);
        return;
    }
    switch (awaited) {
    case CLIENT_AWAIT_MAIL:
        mail_reply(c, t);
        break;
    case CLIENT_AWAIT_RCPT:
        rcpt_reply(c, t);
        break;
    case CLIENT_AWAIT_DATA:
        data_reply(c, t, out);
        break;
    case CLIENT_AWAIT_END:
        end_reply(c, t);
        break;
    case CLIENT_AWAIT_NOTHING:
        pt_assert(false);
    }
    if (!t->over)
        go_on(c, t, out);
    client_enter(c, client_tx_state(t));
}
