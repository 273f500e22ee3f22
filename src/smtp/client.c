#include "smtp/client.h"

#include <stdlib.h>

#include "smtp/client_private.h"

/*
 * The connection.
 *
 *     GREETING → EHLO (→ HELO) (→ STARTTLS → HANDSHAKE → EHLO) → READY
 *     READY → MAIL … DOT → (RSET →) READY,  READY → NOOP → READY,  READY → QUIT → CLOSED
 *
 * and from everywhere to CLOSED. There are two slots for messages: the current one, whose replies
 * come, and one that may have been begun ahead. DONE is returned for the current one only, so
 * messages end in the order in which they began.
 */

/* ---- tables ---- */

static const struct {
    const char *name;
    unsigned seconds;
    const char *phrase;
} states[] = {
#define X(name, seconds, phrase) [SMTP_CLIENT_STATE_##name] = { #name, seconds, phrase },
#include "smtp/client_states.tbl.h"
#undef X
};

const char *smtp_client_state_name(enum smtp_client_state state)
{
    return states[state].name;
}

const char *smtp_client_state_phrase(enum smtp_client_state state)
{
    return states[state].phrase;
}

/* ---- making, asking ---- */

/* What a peer may say about all recipients of a message; what it says beyond is not kept. */
enum { TEXTS_MAX = 1 << 20 };

struct smtp_client *smtp_client_new(const struct smtp_client_config *config)
{
    struct smtp_client *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->flags = config->flags;
    c->max_messages = config->max_messages;
    c->bdat_eager_max = config->bdat_eager_max;
    pt_assert(config->hostname.n && config->hostname.n < sizeof c->hostname);
    memcpy(c->hostname, config->hostname.p, config->hostname.n);
    client_reply_init(&c->reply);
    for (size_t i = 0; i < PT_ARRAY_LEN(c->tx); i++)
        arena_init(&c->tx[i].texts, TEXTS_MAX);
    client_enter(c, SMTP_CLIENT_STATE_GREETING);
    return c;
}

void smtp_client_free(struct smtp_client *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < PT_ARRAY_LEN(c->tx); i++)
        arena_done(&c->tx[i].texts);
    free(c);
}

enum smtp_client_state smtp_client_state(const struct smtp_client *c)
{
    return c->state;
}

unsigned smtp_client_time_limit(const struct smtp_client *c)
{
    return states[c->state].seconds;
}

const struct smtp_client_peer *smtp_client_peer(const struct smtp_client *c)
{
    return &c->peer;
}

uint32_t smtp_client_messages(const struct smtp_client *c)
{
    return c->messages;
}

struct smtp_client_message *smtp_client_subject(const struct smtp_client *c)
{
    return c->subject;
}

const struct smtp_client_result *smtp_client_ending(const struct smtp_client *c)
{
    return &c->ending;
}

enum smtp_client_way smtp_client_way(const struct smtp_client *c)
{
    return (enum smtp_client_way)c->tx[c->current].way;
}

void client_enter(struct smtp_client *c, enum smtp_client_state state)
{
    pt_assert(!c->ended || state == SMTP_CLIENT_STATE_CLOSED);
    if (state == SMTP_CLIENT_STATE_READY)
        c->ready_due = true;
    c->state = state;
}

/* ---- ends ---- */

struct smtp_client_result client_reply_result(const struct smtp_client *c)
{
    struct smtp_client_result r = { .code = c->reply.code, .text = client_reply_text(&c->reply) };
    unsigned class = r.code / 100;

    r.outcome = class == 2 ? SMTP_CLIENT_SENT : class == 5 ? SMTP_CLIENT_FAILED : SMTP_CLIENT_RETRY;
    PT_IGNORE(smtp_client_status(r.code, r.text, r.status), "the class alone will do");
    return r;
}

/* The connection is over for the reason in c->ending. */
static void end(struct smtp_client *c)
{
    c->ended = true;
    c->ready_due = c->content_due = c->starttls_due = false;
    client_enter(c, SMTP_CLIENT_STATE_CLOSED);
}

/* Ends the messages under way with c->ending. */
static void settle_all(struct smtp_client *c, bool in_doubt)
{
    for (unsigned i = 0; i < PT_ARRAY_LEN(c->tx); i++) {
        struct client_tx *t = &c->tx[i];
        struct smtp_client_result r = c->ending;

        if (!t->m || t->over)
            continue;
        if (i != c->current) {
            r.outcome = SMTP_CLIENT_RETRY;
            r.untried = true;
        } else if (in_doubt) {
            r.in_doubt = true;
        } else if (r.outcome == SMTP_CLIENT_RETRY && !t->mail_answered) {
            r.untried = c->served || t->ahead;
        }
        client_tx_settle(t, &r);
        t->over = true;
    }
}

static void set_ending_text(struct smtp_client *c, struct str text)
{
    size_t n = client_text_clean(text, c->ending_text, sizeof c->ending_text);

    c->ending.text = (struct str){ c->ending_text, n };
}

/* "4.4.2 connection timed out while sending DATA" */
static void set_ending_reason(struct smtp_client *c, struct str status, struct str reason,
                              const char *phrase)
{
    struct buf text;

    buf_init(&text, sizeof c->ending_text);
    buf_add_str(&text, status);
    buf_add_char(&text, ' ');
    buf_add_str(&text, str_head(reason, 300));
    BUF_LIT(&text, " while ");
    buf_add_str(&text, str_of(phrase));
    c->ending = (struct smtp_client_result){ .outcome = SMTP_CLIENT_RETRY };
    set_ending_text(c, buf_str(&text));
    buf_done(&text);
    if (!smtp_client_status(0, c->ending.text, c->ending.status))
        memcpy(c->ending.status, (uint8_t[3]){ 4, 0, 0 }, 3);
}

void client_give_up(struct smtp_client *c, struct str status, struct str reason)
{
    struct client_tx *t = client_current(c);
    bool in_doubt = t->m && !t->over && t->content_ended && !(t->mail_answered && t->refused) &&
                    !(t->asked && client_tx_awaits(t) == CLIENT_AWAIT_END && t->accepted == 0);

    set_ending_reason(c, status, reason,
                      states[in_doubt ? SMTP_CLIENT_STATE_DOT : c->state].phrase);
    settle_all(c, in_doubt);
    end(c);
}

void client_dismissed(struct smtp_client *c)
{
    c->ending = client_reply_result(c);
    set_ending_text(c, c->ending.text);
    settle_all(c, false);
    end(c);
}

/* The connection ends before any message, in good manners. */
static void part(struct smtp_client *c, struct buf *out)
{
    BUF_LIT(out, "QUIT\r\n");
    end(c);
}

void smtp_client_lost(struct smtp_client *c, struct str reason)
{
    if (c->ended)
        return;
    if (c->state == SMTP_CLIENT_STATE_QUIT) {
        c->ending = (struct smtp_client_result){ .outcome = SMTP_CLIENT_SENT, .status = { 2 } };
        end(c);
        return;
    }
    client_give_up(c, STR("4.4.2"), reason);
}

/* ---- from greeting to ready ---- */

static void say_hello(struct smtp_client *c, enum smtp_client_state state, struct buf *out)
{
    const char *verb = state == SMTP_CLIENT_STATE_HELO ? "HELO "
                       : c->flags & SMTP_CLIENT_LMTP   ? "LHLO "
                                                       : "EHLO ";

    c->peer = (struct smtp_client_peer){ 0 };
    buf_add_str(out, str_of(verb));
    buf_add_str(out, str_of(c->hostname));
    BUF_LIT(out, "\r\n");
    client_enter(c, state);
}

static void refused(struct smtp_client *c, struct buf *out)
{
    c->ending = client_reply_result(c);
    set_ending_text(c, c->ending.text);
    part(c, out);
}

static void no_tls(struct smtp_client *c, struct buf *out)
{
    set_ending_reason(c, STR("4.7.0"), STR("TLS is required and the next hop does not offer it"),
                      states[c->state].phrase);
    part(c, out);
}

static void ehlo_accepted(struct smtp_client *c, struct buf *out)
{
    c->pipelining = (c->flags & SMTP_CLIENT_PIPELINE) && c->peer.pipelining;
    if ((c->flags & (SMTP_CLIENT_TLS | SMTP_CLIENT_TLS_ONLY)) && !c->secured) {
        if (c->peer.starttls) {
            BUF_LIT(out, "STARTTLS\r\n");
            client_enter(c, SMTP_CLIENT_STATE_STARTTLS);
            return;
        }
        if (c->flags & SMTP_CLIENT_TLS_ONLY) {
            no_tls(c, out);
            return;
        }
    }
    client_enter(c, SMTP_CLIENT_STATE_READY);
}

static void ehlo_reply(struct smtp_client *c, struct buf *out)
{
    bool lmtp = c->flags & SMTP_CLIENT_LMTP;

    if (c->reply.code / 100 == 2)
        ehlo_accepted(c, out);
    else if (c->reply.code / 100 == 5 && !lmtp && !(c->flags & SMTP_CLIENT_TLS_ONLY))
        say_hello(c, SMTP_CLIENT_STATE_HELO, out); /* RFC 5321 3.2 */
    else
        refused(c, out);
}

static void starttls_reply(struct smtp_client *c, const struct str *in, struct buf *out)
{
    if (c->reply.code == 220 && in->n) {
        /* In clear behind the answer: whoever put it there wants it taken for protected. */
        client_give_up(c, STR("4.7.0"), STR("the next hop spoke before the TLS handshake"));
    } else if (c->reply.code == 220) {
        c->starttls_due = true;
        client_enter(c, SMTP_CLIENT_STATE_HANDSHAKE);
    } else if (c->flags & SMTP_CLIENT_TLS_ONLY) {
        no_tls(c, out);
    } else {
        client_enter(c, SMTP_CLIENT_STATE_READY);
    }
}

void smtp_client_secured(struct smtp_client *c, struct buf *out)
{
    pt_assert(c->state == SMTP_CLIENT_STATE_HANDSHAKE);
    c->secured = true;
    say_hello(c, SMTP_CLIENT_STATE_EHLO, out);
}

/* ---- replies ---- */

static void connection_reply(struct smtp_client *c, const struct str *in, struct buf *out)
{
    bool accepted = c->reply.code / 100 == 2;

    switch (c->state) {
    case SMTP_CLIENT_STATE_GREETING:
        if (accepted)
            say_hello(c, SMTP_CLIENT_STATE_EHLO, out);
        else
            refused(c, out);
        return;
    case SMTP_CLIENT_STATE_EHLO:
        ehlo_reply(c, out);
        return;
    case SMTP_CLIENT_STATE_HELO:
        if (accepted)
            ehlo_accepted(c, out);
        else
            refused(c, out);
        return;
    case SMTP_CLIENT_STATE_STARTTLS:
        starttls_reply(c, in, out);
        return;
    case SMTP_CLIENT_STATE_RSET:
        /* A peer that cannot forget must not be told of another message. */
        if (accepted)
            client_enter(c, SMTP_CLIENT_STATE_READY);
        else
            refused(c, out);
        return;
    case SMTP_CLIENT_STATE_NOOP:
        client_enter(c, SMTP_CLIENT_STATE_READY);
        return;
    case SMTP_CLIENT_STATE_QUIT:
        c->ending = client_reply_result(c);
        c->ending.outcome = SMTP_CLIENT_SENT;
        set_ending_text(c, c->ending.text);
        end(c);
        return;
    default:
        client_give_up(c, STR("4.5.0"), STR("the next hop answered what was not asked"));
    }
}

static void handle_reply(struct smtp_client *c, const struct str *in, struct buf *out)
{
    bool quitting = c->state == SMTP_CLIENT_STATE_QUIT;

    if (c->reply.code == 421 && !quitting)
        client_dismissed(c); /* RFC 5321 3.8: at any time */
    else if (c->reply.code / 100 == 3 && c->state < SMTP_CLIENT_STATE_MAIL)
        client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
    else if (client_tx_awaits(client_current(c)) != CLIENT_AWAIT_NOTHING)
        client_tx_reply(c, out);
    else
        connection_reply(c, in, out);
}

/* Takes one line of a reply. */
static void read_line(struct smtp_client *c, struct str *in, struct buf *out)
{
    struct str line;
    enum client_reply_status status = client_reply_read(&c->reply, in, &line);

    if (status == CLIENT_REPLY_BROKEN) {
        client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
        return;
    }
    if (status == CLIENT_REPLY_MORE)
        return;
    if (c->state == SMTP_CLIENT_STATE_EHLO && c->reply.lines > 1)
        client_peer_line(&c->peer, line);
    if (status == CLIENT_REPLY_END)
        handle_reply(c, in, out);
}

/* ---- events ---- */

/* The current message is over: its slot is freed and what comes next becomes current. */
static void retire(struct smtp_client *c, struct buf *out)
{
    struct client_tx *t = client_current(c);

    c->subject = t->m;
    c->served = c->served || t->mail_answered;
    c->releasing = t;
    t->m = NULL;
    if (c->tx[!c->current].m)
        c->current = !c->current;
    if (c->ended)
        return;
    if (client_current(c)->m) {
        client_enter(c, client_tx_state(client_current(c)));
    } else if (c->reset_due) {
        c->reset_due = false;
        BUF_LIT(out, "RSET\r\n");
        client_enter(c, SMTP_CLIENT_STATE_RSET);
    } else {
        client_enter(c, SMTP_CLIENT_STATE_READY);
    }
}

static void release(struct smtp_client *c)
{
    if (c->releasing)
        arena_done(&c->releasing->texts);
    c->releasing = NULL;
}

static bool take(bool *due)
{
    bool was = *due;

    *due = false;
    return was;
}

enum smtp_client_event smtp_client_step(struct smtp_client *c, struct str *in, struct buf *out)
{
    release(c);
    for (;;) {
        if (out->failed && !c->ended)
            client_give_up(c, STR("4.3.0"), STR("out of memory"));
        if (client_current(c)->m && client_current(c)->over) {
            retire(c, out);
            return SMTP_CLIENT_DONE_EVENT;
        }
        if (c->ended)
            return SMTP_CLIENT_CLOSE_EVENT;
        if (take(&c->content_due)) {
            c->subject = client_current(c)->m;
            client_enter(c, SMTP_CLIENT_STATE_CONTENT);
            return SMTP_CLIENT_CONTENT_EVENT;
        }
        if (take(&c->starttls_due))
            return SMTP_CLIENT_STARTTLS_EVENT;
        if (in->n == 0)
            return take(&c->ready_due) ? SMTP_CLIENT_READY_EVENT : SMTP_CLIENT_MORE;
        /* READY waits until all that the peer has said is read: it may have said good-bye. */
        read_line(c, in, out);
    }
}

/* ---- what the driver does ---- */

bool smtp_client_can_begin(const struct smtp_client *c)
{
    const struct client_tx *t = &c->tx[c->current];
    bool ahead = (c->flags & SMTP_CLIENT_AHEAD) && c->pipelining && t->m && t->content_out &&
                 !c->tx[!c->current].m;

    if (c->ended || (c->max_messages && c->messages >= c->max_messages) ||
        (c->peer.mail_max && c->messages >= c->peer.mail_max))
        return false;
    return c->state == SMTP_CLIENT_STATE_READY || (ahead && !t->over);
}

void smtp_client_begin(struct smtp_client *c, struct smtp_client_message *m, struct buf *out)
{
    bool ahead = c->state != SMTP_CLIENT_STATE_READY;
    struct client_tx *t = &c->tx[ahead ? !c->current : c->current];
    struct arena texts = t->texts;

    pt_assert(smtp_client_can_begin(c) && !t->m && c->releasing != t && m->rcpt_count);
    *t = (struct client_tx){ .texts = texts, .ahead = ahead };
    c->ready_due = false;
    client_tx_begin(c, t, m, out);
    if (!ahead)
        client_enter(c, client_tx_state(t));
}

void smtp_client_content_end(struct smtp_client *c)
{
    struct client_tx *t = client_current(c);

    pt_assert(t->m && t->content_out && !t->content_ended);
    t->content_ended = true;
    client_enter(c, client_tx_state(t));
}

void smtp_client_content_fail(struct smtp_client *c, enum smtp_client_outcome outcome,
                              const uint8_t status[3], struct str text)
{
    struct client_tx *t = client_current(c);

    pt_assert(t->m && t->content_out && !t->content_ended && outcome >= SMTP_CLIENT_RETRY);
    c->ending = (struct smtp_client_result){ .outcome = (uint8_t)outcome };
    memcpy(c->ending.status, status, 3);
    set_ending_text(c, text);
    client_tx_settle(t, &c->ending);
    t->over = true;
    settle_all(c, false);
    end(c);
}

void smtp_client_quit(struct smtp_client *c, struct buf *out)
{
    pt_assert(c->state == SMTP_CLIENT_STATE_READY);
    c->ready_due = false;
    BUF_LIT(out, "QUIT\r\n");
    client_enter(c, SMTP_CLIENT_STATE_QUIT);
}

void smtp_client_noop(struct smtp_client *c, struct buf *out)
{
    pt_assert(c->state == SMTP_CLIENT_STATE_READY);
    c->ready_due = false;
    BUF_LIT(out, "NOOP\r\n");
    client_enter(c, SMTP_CLIENT_STATE_NOOP);
}
