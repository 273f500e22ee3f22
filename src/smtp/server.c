/*
 * The server machine: its states, the feed loop, answers and endings.
 *
 * enter() alone writes the state, and asserts that the table in server_private.h knows the move.
 * A state either takes input or waits for the driver; what it wants stands in the same table.
 */
#include <stdlib.h>

#include "smtp/server_private.h"

#define B(state) 1u << STATE_##state

static const struct {
    enum smtp_want want;
    unsigned follow;
    const char *doing;
} states[] = {
#define X(state, want, follow, doing) [STATE_##state] = { SMTP_WANT_##want, follow, doing },
    SMTP_SERVER_STATES(X)
#undef X
};

void smtp_server_enter(struct smtp_server *s, enum state state)
{
    pt_assert(states[s->state].follow & 1u << state);
    s->state = (uint8_t)state;
}

void smtp_server_init(struct smtp_server *s, const struct smtp_server_config *config, bool tls)
{
    *s = (struct smtp_server){ .config = config, .state = STATE_NEW, .tls = tls };
}

void smtp_server_done(struct smtp_server *s)
{
    smtp_server_release(s);
    free(s->name);
    s->name = NULL;
    s->name_n = 0;
}

void smtp_server_set_config(struct smtp_server *s, const struct smtp_server_config *config)
{
    s->config = config;
}

void smtp_server_release(struct smtp_server *s)
{
    free(s->held);
    s->held = NULL;
    s->held_n = 0;
}

/* ---- the transaction ---- */

void smtp_server_end_transaction(struct smtp_server *s)
{
    s->transaction = false;
    s->smtputf8 = false;
    s->rcpt_seen = false;
    s->chunked = false;
    s->eight_bit = false;
    s->recipients = 0;
    s->size = 0;
}

void smtp_server_drop_transaction(struct smtp_server *s)
{
    s->reset |= s->transaction;
    smtp_server_end_transaction(s);
}

static void begin_transaction(struct smtp_server *s)
{
    s->transaction = true;
    s->smtputf8 = s->asked.mail.smtputf8;
    s->max_size = s->config->max_message_size;
    s->max_recipients = s->config->max_recipients;
}

/* ---- refusals ---- */

static bool is_limit(const struct smtp_reply *reply)
{
    return reply == &smtp_reply_need_tls || reply == &smtp_reply_tls_lacking ||
           reply == &smtp_reply_too_large || reply == &smtp_reply_too_many_recipients ||
           reply == &smtp_reply_too_many_messages || reply == &smtp_reply_too_many_errors ||
           reply == &smtp_reply_too_many_refused;
}

void smtp_server_say(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    struct str tail = s->config->refusal_tail;
    struct smtp_reply with = *reply;
    char text[SMTP_REPLY_LINE_MAX];

    if (tail.n > 0 && is_limit(reply)) {
        pt_assert(reply->text.n + tail.n <= sizeof text);
        memcpy(text, reply->text.p, reply->text.n);
        memcpy(text + reply->text.n, tail.p, tail.n);
        with.text = (struct str){ text, reply->text.n + tail.n };
        s->limited = reply;
    }
    smtp_reply_write(out, &with);
}

/* ---- endings ---- */

void smtp_server_close(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    smtp_server_drop_transaction(s);
    smtp_server_say(s, out, reply);
    smtp_server_enter(s, STATE_CLOSED);
    smtp_server_release(s);
}

/* Counts up to the limit and says whether it is reached. */
static bool one_more(uint32_t *count, uint32_t max)
{
    *count += *count < UINT32_MAX;
    return max && *count >= max;
}

bool smtp_server_count_error(struct smtp_server *s, struct buf *out)
{
    if (!one_more(&s->errors, s->config->max_errors))
        return false;
    smtp_server_close(s, out, &smtp_reply_too_many_errors);
    return true;
}

void smtp_server_mistake(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    if (!smtp_server_count_error(s, out))
        smtp_server_say(s, out, reply);
}

void smtp_server_refuse(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    pt_assert(s->state == STATE_NEW);
    smtp_server_close(s, out, reply);
}

void smtp_server_break_off(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    if (s->state != STATE_CLOSED)
        smtp_server_close(s, out, reply);
}

void smtp_server_timeout(struct smtp_server *s, struct buf *out)
{
    smtp_server_break_off(s, out, &smtp_reply_timeout);
}

void smtp_server_go_on(struct smtp_server *s)
{
    s->end = NULL;
}

bool smtp_server_end(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply,
                     enum smtp_server_when when)
{
    if (s->state == STATE_CLOSED)
        return true;
    if (s->state == STATE_NEW || (when == SMTP_WHEN_IDLE && smtp_server_idle(s))) {
        smtp_server_close(s, out, reply);
        return true;
    }
    s->end = reply;
    s->end_when = (uint8_t)when;
    return false;
}

/* ---- the loop ---- */

void smtp_server_greet(struct smtp_server *s, struct buf *out)
{
    BUF_LIT(out, "220 ");
    buf_add_str(out, s->config->hostname);
    buf_add_char(out, ' ');
    buf_add_str(out, s->config->greeting);
    BUF_LIT(out, "\r\n");
    smtp_server_enter(s, STATE_COMMAND);
}

void smtp_server_tls_started(struct smtp_server *s)
{
    smtp_server_enter(s, STATE_COMMAND);
    s->tls = true;
    s->greeted = false;
    s->esmtp = false;
    free(s->name);
    s->name = NULL;
    s->name_n = 0;
}

static void read_command(struct smtp_server *s, struct turn *t)
{
    struct str line;

    if (!smtp_server_take_line(s, t, &line))
        return;
    s->begun = true;
    smtp_server_run(s, t, line);
    /* What a verdict is asked about lies in the line. */
    if (s->state != STATE_ASK_HELO && s->state != STATE_ASK_MAIL && s->state != STATE_ASK_RCPT)
        smtp_server_release(s);
}

/* Lets the state take what it can. */
static void advance(struct smtp_server *s, struct turn *t)
{
    switch ((enum state)s->state) {
    case STATE_COMMAND:
        read_command(s, t);
        break;
    case STATE_CONTENT:
        smtp_server_read_content(s, t);
        break;
    case STATE_CHUNK:
        smtp_server_read_chunk(s, t);
        break;
    case STATE_DROP_CONTENT:
        smtp_server_drop_content(s, t);
        break;
    case STATE_DROP_CHUNK:
        smtp_server_drop_chunk(s, t);
        break;
    default: /* the driver's turn */
        break;
    }
}

struct smtp_server_step smtp_server_feed(struct smtp_server *s, struct str in, struct buf *out)
{
    struct turn t = { .in = in, .out = out };
    struct smtp_server_step step;
    size_t left;
    uint8_t was;

    pt_assert(s->state != STATE_NEW);
    pt_assert(states[s->state].want == SMTP_WANT_MORE || s->state == STATE_CLOSED);
    /* Not until the input is empty: a chunk may end, and an empty one begin, without an octet. */
    do {
        left = t.in.n;
        was = s->state;
        if (!s->limited)
            advance(s, &t);
    } while (!s->limited && t.content.n == 0 && (t.in.n != left || s->state != was));
    step = (struct smtp_server_step){
        .want = t.content.n ? SMTP_WANT_CONTENT : states[s->state].want,
        .reset = s->reset,
        .refused = s->limited,
        .taken = in.n - t.in.n,
        .content = t.content,
    };
    s->reset = false;
    s->limited = NULL;
    return step;
}

/* ---- answers ---- */

static void refused(struct smtp_server *s, struct buf *out, const struct smtp_reply *no)
{
    smtp_server_enter(s, STATE_COMMAND);
    if (no->code >= 500)
        smtp_server_mistake(s, out, no);
    else
        smtp_reply_write(out, no);
}

static void hello_answered(struct smtp_server *s, struct buf *out, const struct smtp_reply *no)
{
    char *name;

    if (no) {
        refused(s, out, no);
        return;
    }
    name = str_dup(s->asked.helo.name);
    if (!name) {
        smtp_server_close(s, out, &smtp_reply_out_of_memory);
        return;
    }
    /* As RSET does (RFC 5321 4.1.4). */
    smtp_server_drop_transaction(s);
    free(s->name);
    s->name = name;
    s->name_n = (uint8_t)s->asked.helo.name.n;
    s->greeted = true;
    s->esmtp = s->asked.helo.esmtp;
    smtp_server_enter(s, STATE_COMMAND);
    smtp_server_write_hello(s, out);
}

static void mail_answered(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    if (smtp_server_needs_tls(s) && (!reply || reply->code < 400))
        reply = smtp_server_tls_reply(s);
    if (reply && reply->code >= 400) {
        refused(s, out, reply);
        return;
    }
    begin_transaction(s);
    smtp_server_enter(s, STATE_COMMAND);
    smtp_reply_write(out, reply ? reply : &smtp_reply_sender_ok);
}

static void rcpt_answered(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    smtp_server_enter(s, STATE_COMMAND);
    if (reply && reply->code >= 500 && one_more(&s->refused, s->config->max_refused)) {
        smtp_server_close(s, out, &smtp_reply_too_many_refused);
        return;
    }
    s->recipients += !reply || reply->code < 400;
    smtp_reply_write(out, reply ? reply : &smtp_reply_recipient_ok);
}

static void commit_answered(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    if (!reply || reply->code < 400) {
        s->messages += s->messages < UINT32_MAX;
        s->errors = 0;
        s->refused = 0;
    }
    smtp_server_end_transaction(s);
    smtp_server_enter(s, STATE_COMMAND);
    smtp_reply_write(out, reply ? reply : &smtp_reply_stored);
}

void smtp_server_answer(struct smtp_server *s, struct buf *out, const struct smtp_reply *reply)
{
    const struct smtp_reply *no = reply && reply->code >= 400 ? reply : NULL;

    if (no && no->code == 421) {
        pt_assert(states[s->state].want != SMTP_WANT_MORE && s->state != STATE_CLOSED);
        if (s->state == STATE_ASK_COMMIT)
            smtp_server_end_transaction(s);
        smtp_server_close(s, out, no);
        return;
    }
    switch ((enum state)s->state) {
    case STATE_ASK_HELO:
        hello_answered(s, out, no);
        break;
    case STATE_ASK_MAIL:
        mail_answered(s, out, reply);
        break;
    case STATE_ASK_RCPT:
        rcpt_answered(s, out, reply);
        break;
    case STATE_ASK_DATA:
        smtp_server_data_answered(s, out, no);
        return; /* what is held now is a failure in words */
    case STATE_ASK_COMMIT:
        commit_answered(s, out, reply);
        break;
    case STATE_TLS: /* left when the handshake is over */
        if (no)
            refused(s, out, no);
        else
            smtp_reply_write(out, &smtp_reply_start_tls);
        break;
    default:
        pt_assert(!"an answer that nobody asked for");
    }
    smtp_server_release(s);
}

bool smtp_server_hold(struct smtp_server *s)
{
    struct str *first = &s->asked.helo.name, *second = NULL;
    size_t n;
    char *p;

    if (s->held)
        return true; /* the line came in pieces, and what is asked about lies there */
    if (s->state == STATE_ASK_MAIL) {
        first = &s->asked.mail.reverse_path;
        second = &s->asked.mail.envid;
    } else if (s->state == STATE_ASK_RCPT) {
        first = &s->asked.rcpt.address;
        second = &s->asked.rcpt.orcpt;
    } else if (s->state != STATE_ASK_HELO) {
        return true;
    }
    n = first->n + (second ? second->n : 0);
    p = malloc(n + 1);
    if (!p)
        return false;
    n = first->n;
    if (n)
        memcpy(p, first->p, n);
    first->p = p;
    if (second && second->n) {
        memcpy(p + n, second->p, second->n);
        second->p = p + n;
    }
    s->held = p;
    return true;
}

/* ---- questions ---- */

const char *smtp_server_doing(const struct smtp_server *s)
{
    return states[s->state].doing;
}

bool smtp_server_idle(const struct smtp_server *s)
{
    return s->state == STATE_COMMAND && !s->transaction && !smtp_server_in_line(s);
}

bool smtp_server_in_line(const struct smtp_server *s)
{
    return s->state == STATE_COMMAND && (s->held_n || s->skipping || s->cr);
}

bool smtp_server_quit(const struct smtp_server *s)
{
    return s->quit;
}

bool smtp_server_in_transaction(const struct smtp_server *s)
{
    return s->transaction;
}

bool smtp_server_in_content(const struct smtp_server *s)
{
    return s->state == STATE_CONTENT || s->state == STATE_CHUNK || s->state == STATE_DROP_CONTENT ||
           s->state == STATE_DROP_CHUNK;
}

bool smtp_server_esmtp(const struct smtp_server *s)
{
    return s->esmtp;
}

bool smtp_server_tls(const struct smtp_server *s)
{
    return s->tls;
}

bool smtp_server_eight_bit(const struct smtp_server *s)
{
    return s->eight_bit;
}

struct str smtp_server_helo(const struct smtp_server *s)
{
    return (struct str){ s->name, s->name_n };
}

uint64_t smtp_server_size(const struct smtp_server *s)
{
    return s->size;
}
