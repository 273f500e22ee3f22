#include "smtp/client.h"

#include <stdlib.h>

#include "smtp/client_private.h"

/*
 * Events, and what the driver asks and tells.
 *
 * There are two slots for messages: the current one, whose replies come, and one that may have been
 * begun ahead. DONE is returned for the current one only, so messages end in the order in which
 * they began.
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
    if (config->user.n && !client_auth_new(c, config->user, config->password)) {
        free(c);
        return NULL;
    }
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
    client_auth_free(c);
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

/* ---- replies ---- */

/* Step by step, nothing can be there already when a command is written: it would be taken for the
 * answer to it. Only a good-bye may come unasked (RFC 5321 3.8). */
static void transaction_reply(struct smtp_client *c, struct str rest, struct buf *out)
{
    size_t before = out->n;

    client_tx_reply(c, out);
    if (!c->ended && !c->pipelining && out->n > before && rest.n &&
        !str_starts_nocase(rest, STR("421")))
        client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
}

static void handle_reply(struct smtp_client *c, const struct str *in, struct buf *out)
{
    bool quitting = c->state == SMTP_CLIENT_STATE_QUIT;

    if (c->reply.code == 421 && !quitting)
        client_dismissed(c); /* RFC 5321 3.8: at any time */
    else if (c->reply.code / 100 == 3 && c->state < SMTP_CLIENT_STATE_MAIL &&
             c->state != SMTP_CLIENT_STATE_AUTH)
        client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
    else if (client_tx_awaits(client_current(c)) != CLIENT_AWAIT_NOTHING)
        transaction_reply(c, *in, out);
    else
        client_connection_reply(c, in, out);
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
    client_ending_text(c, text);
    client_tx_settle(t, &c->ending);
    t->over = true;
    client_settle_all(c, false);
    client_end(c);
}

void smtp_client_lost(struct smtp_client *c, struct str reason)
{
    if (c->ended)
        return;
    if (c->state == SMTP_CLIENT_STATE_QUIT) {
        c->ending = (struct smtp_client_result){ .outcome = SMTP_CLIENT_SENT, .status = { 2 } };
        client_end(c);
        return;
    }
    client_give_up(c, STR("4.4.2"), reason);
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
