/*
 * console/who: a cookie or a token becomes a name and a role.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "console/inner.h"

#define COOKIE "postern_session="

static struct str bearer(const struct http_exchange *x)
{
    struct str value = http_request_header(x->request, "authorization");
    struct str scheme = STR("Bearer ");

    return str_starts_nocase(value, scheme) ? str_trim(str_from(value, scheme.n)) : STR_NULL;
}

static size_t count_headers(const struct http_exchange *x, const char *name)
{
    size_t n = 0;

    for (size_t i = 0; i < x->request->header_count; i++)
        n += str_eq_nocase(x->request->headers[i].name, str_of(name));
    return n;
}

/* Two of that name would be one that somebody else has put beside ours. */
struct str who_cookie(const struct http_exchange *x)
{
    struct str all = http_request_header(x->request, "cookie"), found = STR_NULL;

    if (count_headers(x, "cookie") != 1)
        return STR_NULL;
    for (size_t at = 0; at < all.n;) {
        ptrdiff_t semicolon = str_find(all, ';', at);
        size_t end = semicolon < 0 ? all.n : (size_t)semicolon;
        struct str pair = str_trim((struct str){ all.p + at, end - at });

        if (pair.n >= sizeof COOKIE - 1 && memcmp(pair.p, COOKIE, sizeof COOKIE - 1) == 0) {
            if (found.p)
                return STR_NULL;
            found = str_from(pair, sizeof COOKIE - 1);
        }
        at = end + 1;
    }
    return found;
}

void who_set_cookie(struct http_exchange *x, const char *id)
{
    char value[160];

    snprintf(value, sizeof value, COOKIE "%s; Path=/; HttpOnly; SameSite=Strict%s", id,
             console_of(x)->secure ? "; Secure" : "");
    http_header_add(x, "Set-Cookie", value);
}

void who_clear_cookie(struct http_exchange *x)
{
    http_header_add(x, "Set-Cookie",
                    console_of(x)->secure
                        ? COOKIE "; Path=/; Max-Age=0; HttpOnly; SameSite=Strict; Secure"
                        : COOKIE "; Path=/; Max-Age=0; HttpOnly; SameSite=Strict");
}

void who_forget(struct http_exchange *x)
{
    struct console *c = console_of(x);
    struct str id = who_cookie(x);

    pthread_mutex_lock(&c->lock);
    sessions_end(c->sessions, id);
    pthread_mutex_unlock(&c->lock);
}

enum account_role who_seems(struct http_exchange *x)
{
    struct console *c = console_of(x);
    struct str token = bearer(x), cookie = who_cookie(x);
    enum account_role role = ROLE_NONE;
    const struct session *session;
    const struct account *account = NULL;

    if (!token.p && !cookie.p)
        return ROLE_NONE;
    pthread_mutex_lock(&c->lock);
    if (token.p) {
        if (!accounts_token_check(&c->accounts, token, clock_wall_us(), &role))
            role = ROLE_NONE;
    } else {
        session = sessions_peek(c->sessions, NULL, cookie, clock_mono_ns());
        if (session)
            account = accounts_find(&c->accounts, str_of(session->name));
        role = account ? account->role : ROLE_NONE;
    }
    pthread_mutex_unlock(&c->lock);
    return role;
}

/* ---- under the lock ---- */

static enum pt_err by_token(struct console *c, struct str secret, struct who *out)
{
    int64_t now_us = clock_wall_us();
    const struct account_token *t = accounts_token_check(&c->accounts, secret, now_us, &out->role);

    if (!t)
        return PT_ERR_NOTFOUND;
    out->by_token = true;
    out->left_s = t->expires_us ? (t->expires_us - now_us) / 1000000 : -1;
    memcpy(out->name, t->owner, sizeof out->name);
    snprintf(out->actor, sizeof out->actor, "%s (token %s)", t->owner, t->name);
    return PT_ERR_OK;
}

static enum pt_err by_cookie(struct console *c, struct str id, struct who *out)
{
    int64_t now_ns = clock_mono_ns();
    const struct session *s = sessions_find(c->sessions, &c->accounts, id, now_ns);

    if (!s)
        return PT_ERR_NOTFOUND;
    out->role = accounts_find(&c->accounts, str_of(s->name))->role;
    out->left_s = SESSION_LIFE_S - (now_ns - s->since_ns) / 1000000000;
    memcpy(out->name, s->name, sizeof out->name);
    memcpy(out->csrf, s->csrf, sizeof out->csrf);
    snprintf(out->actor, sizeof out->actor, "%s", s->name);
    return PT_ERR_OK;
}

bool who_is_still(struct http_exchange *x, const struct who *was)
{
    struct console *c = console_of(x);
    struct str token = bearer(x), cookie = who_cookie(x);
    const struct session *session = NULL;
    enum account_role role = ROLE_NONE;

    pthread_mutex_lock(&c->lock);
    if (token.p) {
        if (!accounts_token_check(&c->accounts, token, clock_wall_us(), &role))
            role = ROLE_NONE;
    } else {
        session = sessions_peek(c->sessions, &c->accounts, cookie, clock_mono_ns());
        if (session)
            role = accounts_find(&c->accounts, str_of(session->name))->role;
    }
    pthread_mutex_unlock(&c->lock);
    return role == was->role;
}

enum pt_err who_asks(struct http_exchange *x, struct who *out)
{
    struct console *c = console_of(x);
    struct str token = bearer(x), cookie = who_cookie(x);
    enum pt_err err;

    *out = (struct who){ 0 };
    if (!token.p && !cookie.p)
        return PT_ERR_NOTFOUND;
    err = console_refresh(c);
    if (err)
        return err;
    pthread_mutex_lock(&c->lock);
    err = token.p ? by_token(c, token, out) : by_cookie(c, cookie, out);
    pthread_mutex_unlock(&c->lock);
    return err;
}

/* ---- what a request of the API needs ---- */

static bool changes(const struct http_exchange *x)
{
    return x->request->method != HTTP_METHOD_GET && x->request->method != HTTP_METHOD_HEAD;
}

static bool csrf_is_right(const struct http_exchange *x, const struct who *w)
{
    struct str sent = http_request_header(x->request, "x-csrf-token");
    size_t n = strlen(w->csrf);

    return sent.n == n && sodium_memcmp(sent.p, w->csrf, n) == 0;
}

bool who_may(struct http_exchange *x, enum account_role least, struct who *out)
{
    enum pt_err err = who_asks(x, out);

    if (err == PT_ERR_NOTFOUND) {
        http_header_add(x, "WWW-Authenticate", "Bearer realm=\"postern\"");
        http_problem(x, 401, "Nobody is logged in.");
        return false;
    }
    if (err) {
        http_problem(x, 503, "The accounts cannot be read; the console's log says why.");
        return false;
    }
    if (!out->by_token && changes(x) && !csrf_is_right(x, out)) {
        http_problem(x, 403, "The header X-CSRF-Token must have the value that the log-in gave.");
        return false;
    }
    if (least == ROLE_NONE || out->role < least) {
        http_problem(x, 403, "This is not for the role %s.", account_role_name(out->role));
        return false;
    }
    return true;
}
