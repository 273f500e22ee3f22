/*
 * Octets to command lines.
 *
 * A line is looked at octet by octet, once. What makes it wrong (an octet that is none of a
 * command, a length without end) is answered where it is seen and the line is skipped to its CRLF:
 * it is never run, in whole or in part. So a client that ends its lines with a bare LF is told at
 * once. Usually a line arrives whole and is used where it lies; only a partial one is kept.
 */
#include <stdlib.h>

#include "smtp/server_private.h"

enum verdict { LINE_GOES_ON, LINE_COMPLETE, LINE_BAD };

/* Drops up to the end of a line that was answered. */
static void skip(struct smtp_server *s, struct turn *t)
{
    size_t i = 0;

    while (i < t->in.n && s->skipping) {
        char c = t->in.p[i++];

        s->skipping = !(s->cr && c == '\n');
        s->cr = c == '\r';
        s->left++;
    }
    t->in = str_from(t->in, i);
    if (s->skipping && s->left > SMTP_SERVER_LINE_GIVE_UP)
        smtp_server_close(s, t->out, &smtp_reply_endless_line);
}

static void begin_skipping(struct smtp_server *s, struct turn *t, const struct smtp_reply *reply)
{
    smtp_server_release(s);
    s->skipping = true;
    s->begun = true;
    s->left = 0;
    smtp_server_mistake(s, t->out, reply);
}

/* Looks at the octets from the front; *out_n is how many were, the one that decides included. */
static enum verdict look(struct smtp_server *s, struct str in, size_t *out_n,
                         const struct smtp_reply **out_wrong)
{
    size_t room = SMTP_SERVER_LINE_MAX - s->held_n;

    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        bool after_cr = s->cr;

        *out_n = i + 1;
        s->cr = c == '\r';
        if (after_cr && c == '\n')
            return LINE_COMPLETE;
        if (after_cr || c == '\n' || c == 0) {
            *out_wrong = &smtp_reply_bare_in_line;
            return LINE_BAD;
        }
        if (i + 1 >= room) {
            *out_wrong = &smtp_reply_long_line;
            return LINE_BAD;
        }
    }
    *out_n = in.n;
    return LINE_GOES_ON;
}

/* Adds to the partial line. Memory grows with what came, so that a slow client costs little. */
static bool hold(struct smtp_server *s, struct str octets)
{
    char *p;

    if (octets.n == 0)
        return true;
    p = realloc(s->held, s->held_n + octets.n);
    if (!p)
        return false;
    memcpy(p + s->held_n, octets.p, octets.n);
    s->held = p;
    s->held_n = (uint16_t)(s->held_n + octets.n);
    return true;
}

/* 0x16 begins a TLS record with a ClientHello; no command does. */
static bool is_tls(const struct smtp_server *s, struct str in)
{
    return !s->begun && s->held_n == 0 && in.n && in.p[0] == 0x16;
}

bool smtp_server_take_line(struct smtp_server *s, struct turn *t, struct str *out_line)
{
    while (t->in.n && s->state == STATE_COMMAND) {
        const struct smtp_reply *wrong = NULL;
        enum verdict verdict;
        struct str octets;
        size_t n = 0;

        if (s->skipping) {
            skip(s, t);
            continue;
        }
        if (is_tls(s, t->in)) {
            smtp_server_close(s, t->out, &smtp_reply_not_tls);
            break;
        }
        verdict = look(s, t->in, &n, &wrong);
        octets = str_head(t->in, n);
        t->in = str_from(t->in, n);
        if (verdict == LINE_BAD) {
            begin_skipping(s, t, wrong);
            continue;
        }
        if (verdict == LINE_COMPLETE && !s->held) {
            *out_line = str_head(octets, n - 2);
            s->cr = false;
            return true;
        }
        if (!hold(s, octets)) {
            smtp_server_close(s, t->out, &smtp_reply_out_of_memory);
            break;
        }
        if (verdict == LINE_COMPLETE) {
            *out_line = (struct str){ s->held, s->held_n - 2u };
            s->cr = false;
            return true;
        }
    }
    return false;
}
