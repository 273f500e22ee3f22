#include "smtp/client_private.h"

/*
 * How connections end, and what that means for the messages under way: the current one is in doubt
 * if its content was handed out to the end, untried if nothing was ever said about it; one begun
 * ahead is untried.
 */

struct smtp_client_result client_reply_result(const struct smtp_client *c)
{
    struct smtp_client_result r = { .code = c->reply.code, .text = client_reply_text(&c->reply) };
    unsigned class = r.code / 100;

    r.outcome = class == 2 ? SMTP_CLIENT_SENT : class == 5 ? SMTP_CLIENT_FAILED : SMTP_CLIENT_RETRY;
    PT_IGNORE(smtp_client_status(r.code, r.text, r.status), "the class alone will do");
    return r;
}

/* The connection is over for the reason in c->ending. */
void client_end(struct smtp_client *c)
{
    c->ended = true;
    c->ready_due = c->content_due = c->starttls_due = false;
    client_enter(c, SMTP_CLIENT_STATE_CLOSED);
}

/* Ends the messages under way with c->ending. */
void client_settle_all(struct smtp_client *c, bool in_doubt)
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

void client_ending_text(struct smtp_client *c, struct str text)
{
    size_t n = client_text_clean(text, c->ending_text, sizeof c->ending_text);

    c->ending.text = (struct str){ c->ending_text, n };
}

/* "4.4.2 connection timed out while sending DATA" */
void client_ending_reason(struct smtp_client *c, struct str status, struct str reason,
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
    client_ending_text(c, buf_str(&text));
    buf_done(&text);
    if (!smtp_client_status(0, c->ending.text, c->ending.status))
        memcpy(c->ending.status, (uint8_t[3]){ 4, 0, 0 }, 3);
}

void client_give_up(struct smtp_client *c, struct str status, struct str reason)
{
    struct client_tx *t = client_current(c);
    bool in_doubt = t->m && !t->over && t->content_ended && !(t->mail_answered && t->refused) &&
                    !(t->asked && client_tx_awaits(t) == CLIENT_AWAIT_END && t->accepted == 0);

    client_ending_reason(c, status, reason,
                         smtp_client_state_phrase(in_doubt ? SMTP_CLIENT_STATE_DOT : c->state));
    client_settle_all(c, in_doubt);
    client_end(c);
}

/* LMTP: a good-bye in place of one recipient's answer says nothing about those behind, to whom the
 * message may have been delivered. */
static bool leaves_others_in_doubt(struct smtp_client *c)
{
    struct client_tx *t = client_current(c);

    if (!(c->flags & SMTP_CLIENT_LMTP) || client_tx_awaits(t) != CLIENT_AWAIT_END ||
        !t->content_ended || t->accepted == 0)
        return false;
    client_tx_answered(t, &c->ending);
    return true;
}

void client_dismissed(struct smtp_client *c)
{
    c->ending = client_reply_result(c);
    client_ending_text(c, c->ending.text);
    client_settle_all(c, leaves_others_in_doubt(c));
    client_end(c);
}

/* The connection ends before any message, in good manners. */
void client_part(struct smtp_client *c, struct buf *out)
{
    BUF_LIT(out, "QUIT\r\n");
    client_end(c);
}
