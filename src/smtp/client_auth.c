#include <stdlib.h>
#include <string.h>

#include "smtp/client_private.h"

/*
 * AUTH (RFC 4954) with PLAIN (RFC 4616), or LOGIN where that is all there is:
 *
 *     EHLO → AUTH → READY
 *
 * Only over TLS. What goes wrong here is about the route, never about a message: whatever the next
 * hop says, the connection ends with RETRY.
 */

enum { COMMAND_MAX = 512, ENCODED_MAX = (2 * SMTP_CLIENT_SECRET_MAX + 2 + 2) / 3 * 4 };

/* ---- what is sent ---- */

/* Base64 (RFC 4648 section 4); `out` has room for four octets for each three begun. */
static size_t encode(const unsigned char *in, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t at = 0;

    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        unsigned v = (unsigned)in[i] << 16 | (left > 1 ? (unsigned)in[i + 1] << 8 : 0) |
                     (left > 2 ? in[i + 2] : 0);

        out[at++] = digits[v >> 18];
        out[at++] = digits[v >> 12 & 63];
        out[at++] = left > 1 ? digits[v >> 6 & 63] : '=';
        out[at++] = left > 2 ? digits[v & 63] : '=';
    }
    return at;
}

/* A line with `octets` behind `command`; false: it would be longer than a command may be. */
static bool say_encoded(struct buf *out, struct str command, struct str octets)
{
    char line[ENCODED_MAX + 16];
    size_t n = command.n;

    memcpy(line, command.p, n);
    n += encode((const unsigned char *)octets.p, octets.n, line + n);
    line[n++] = '\r';
    line[n++] = '\n';
    if (!command.n || n <= COMMAND_MAX)
        buf_add(out, line, n); /* in one piece: a buffer that grows leaves no part behind */
    explicit_bzero(line, sizeof line);
    return !command.n || n <= COMMAND_MAX;
}

/* NUL, user, NUL, password (RFC 4616 section 2). */
static bool say_plain(struct smtp_client *c, struct str command, struct buf *out)
{
    const struct client_auth *a = c->auth;
    char message[2 * SMTP_CLIENT_SECRET_MAX + 2] = { 0 };
    bool said;

    memcpy(message + 1, a->user, a->user_n);
    memcpy(message + 2 + a->user_n, a->password, a->password_n);
    said = say_encoded(out, command, (struct str){ message, a->user_n + a->password_n + 2u });
    explicit_bzero(message, sizeof message);
    return said;
}

/* ---- beginning ---- */

static void wait_in(struct smtp_client *c, enum client_auth_step step)
{
    c->auth->step = (uint8_t)step;
    client_enter(c, SMTP_CLIENT_STATE_AUTH);
}

static void begin_login(struct smtp_client *c, struct buf *out)
{
    BUF_LIT(out, "AUTH LOGIN\r\n");
    wait_in(c, CLIENT_AUTH_LOGIN_USER);
}

static void give_up(struct smtp_client *c, struct str status, struct str reason, struct buf *out)
{
    client_ending_reason(c, status, reason, smtp_client_state_phrase(SMTP_CLIENT_STATE_AUTH));
    client_part(c, out);
}

void client_auth_begin(struct smtp_client *c, struct buf *out)
{
    if (!c->secured) {
        give_up(c, STR("4.7.4"),
                STR("the route has a password, which is sent over TLS only, and there is no TLS"),
                out);
    } else if (c->peer.auth_plain) {
        if (say_plain(c, STR("AUTH PLAIN "), out)) {
            wait_in(c, CLIENT_AUTH_LAST);
        } else {
            BUF_LIT(out, "AUTH PLAIN\r\n");
            wait_in(c, CLIENT_AUTH_PLAIN);
        }
    } else if (c->peer.auth_login) {
        begin_login(c, out);
    } else {
        give_up(c, STR("4.7.0"), STR("the next hop offers neither AUTH PLAIN nor AUTH LOGIN"), out);
    }
}

/* ---- answers ---- */

/* Challenges of PLAIN are empty, those of LOGIN "Username:" and "Password:" in many spellings,
 * encoded or not: their order alone counts. */
static void challenged(struct smtp_client *c, struct buf *out)
{
    struct client_auth *a = c->auth;

    switch ((enum client_auth_step)a->step) {
    case CLIENT_AUTH_PLAIN:
        PT_IGNORE(say_plain(c, STR(""), out), "no command, no limit");
        wait_in(c, CLIENT_AUTH_LAST);
        return;
    case CLIENT_AUTH_LOGIN_USER:
        PT_IGNORE(say_encoded(out, STR(""), (struct str){ a->user, a->user_n }), "the same");
        wait_in(c, CLIENT_AUTH_LOGIN_PASSWORD);
        return;
    case CLIENT_AUTH_LOGIN_PASSWORD:
        PT_IGNORE(say_encoded(out, STR(""), (struct str){ a->password, a->password_n }),
                  "the same");
        wait_in(c, CLIENT_AUTH_LAST);
        return;
    case CLIENT_AUTH_LAST:
        break;
    }
    client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
}

static void refused(struct smtp_client *c, struct buf *out)
{
    struct client_auth *a = c->auth;
    bool for_good = c->reply.code / 100 == 5;
    struct str text = str_head(client_reply_text(&c->reply), 150);
    struct buf reason;

    a->refused = for_good;
    buf_init(&reason, 1024);
    if (for_good)
        buf_addf(&reason, "the next hop refused the route's user \"%.*s\" with \"%u %.*s\"",
                 (int)PT_MIN(a->user_n, 100u), a->user, c->reply.code, STR_FMT(text));
    else
        buf_addf(&reason, "the next hop cannot check the route's password now: \"%u %.*s\"",
                 c->reply.code, STR_FMT(text));
    give_up(c, for_good ? STR("4.7.8") : STR("4.7.0"), buf_str(&reason), out);
    buf_done(&reason);
}

void client_auth_reply(struct smtp_client *c, struct buf *out)
{
    struct client_auth *a = c->auth;

    if (c->reply.code / 100 == 2) {
        a->done = true;
        client_enter(c, SMTP_CLIENT_STATE_READY);
    } else if (c->reply.code == 334) {
        challenged(c, out);
    } else if (c->reply.code / 100 == 3) {
        client_give_up(c, STR("4.5.0"), STR("the next hop gave an answer that makes no sense"));
    } else if (c->reply.code == 504 && c->peer.auth_login && !a->login_tried) {
        a->login_tried = true;
        begin_login(c, out); /* it does not know PLAIN, whatever it offers */
    } else {
        refused(c, out);
    }
}

/* ---- its life ---- */

bool client_auth_new(struct smtp_client *c, struct str user, struct str password)
{
    struct client_auth *a = calloc(1, sizeof *a);

    pt_assert(user.n <= SMTP_CLIENT_SECRET_MAX && password.n <= SMTP_CLIENT_SECRET_MAX);
    if (!a)
        return false;
    memcpy(a->user, user.p, user.n);
    memcpy(a->password, password.p, password.n);
    a->user_n = (uint16_t)user.n;
    a->password_n = (uint16_t)password.n;
    c->auth = a;
    return true;
}

void client_auth_free(struct smtp_client *c)
{
    if (c->auth)
        explicit_bzero(c->auth, sizeof *c->auth);
    free(c->auth);
    c->auth = NULL;
}

bool smtp_client_auth_refused(const struct smtp_client *c)
{
    return c->auth && c->auth->refused;
}
