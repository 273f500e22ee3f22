#include "smtp/client_private.h"

/*
 * From the greeting to READY, and what else is about the connection rather than a message:
 *
 *     GREETING → EHLO (→ HELO) (→ STARTTLS → HANDSHAKE → EHLO) (→ AUTH) → READY
 *     RSET → READY, NOOP → READY, QUIT → CLOSED
 */

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
    client_ending_text(c, c->ending.text);
    client_part(c, out);
}

static void no_tls(struct smtp_client *c, struct buf *out)
{
    client_ending_reason(c, STR("4.7.4"),
                         STR("TLS is required and the next hop does not offer STARTTLS"),
                         smtp_client_state_phrase(c->state));
    client_part(c, out);
}

static void tls_refused(struct smtp_client *c, struct buf *out)
{
    struct buf reason;

    buf_init(&reason, 1024);
    buf_addf(&reason, "TLS is required and the next hop refused STARTTLS with \"%u %.*s\"",
             c->reply.code, STR_FMT(str_head(client_reply_text(&c->reply), 150)));
    client_ending_reason(c, STR("4.7.4"), buf_str(&reason), smtp_client_state_phrase(c->state));
    buf_done(&reason);
    client_part(c, out);
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
    if (c->auth && !c->auth->done)
        client_auth_begin(c, out);
    else
        client_enter(c, SMTP_CLIENT_STATE_READY);
}

static void ehlo_reply(struct smtp_client *c, struct buf *out)
{
    bool lmtp = c->flags & SMTP_CLIENT_LMTP;

    if (c->reply.code / 100 == 2)
        ehlo_accepted(c, out);
    else if (c->reply.code / 100 == 5 && c->flags & SMTP_CLIENT_TLS_ONLY && !c->secured)
        no_tls(c, out); /* without EHLO there is no STARTTLS */
    else if (c->reply.code / 100 == 5 && !lmtp)
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
        tls_refused(c, out);
    } else if (c->auth) {
        client_auth_begin(c, out); /* which says why not */
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

void client_connection_reply(struct smtp_client *c, const struct str *in, struct buf *out)
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
    case SMTP_CLIENT_STATE_AUTH:
        client_auth_reply(c, out);
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
        client_ending_text(c, c->ending.text);
        client_end(c);
        return;
    default:
        client_give_up(c, STR("4.5.0"), STR("the next hop answered what was not asked"));
    }
}
