/*
 * console/login: log-in, log-out, and who one is.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "console/inner.h"

static void log_attempt(const struct http_exchange *x, enum log_level level, const char *event,
                        struct str name)
{
    char address[NET_ADDR_SIZE] = "";
    char shown[ACCOUNT_NAME_MAX + 1] = "?";

    /* Only what could be a name: people type passwords there. */
    if (accounts_name_check(name, NULL) == PT_ERR_OK)
        snprintf(shown, sizeof shown, "%.*s", STR_FMT(name));
    if (x->peer.addr.family)
        net_addr_format(&x->peer.addr, address);
    log_text(level, "console", "%s: %s, from %s", event, shown, address);
}

/* Under the lock: a copy of the account, for the check outside of it. False: there is none. */
static bool copy_account(struct console *c, struct str name, struct account *out)
{
    const struct account *found = accounts_find(&c->accounts, name);

    if (found)
        *out = *found;
    return found != NULL;
}

/* Under the lock. The account may have changed while its password was checked. */
static bool open_session(struct console *c, const struct account *checked,
                         char id[ACCOUNT_SECRET_SIZE], char csrf[ACCOUNT_SECRET_SIZE])
{
    const struct account *now;
    const struct session *new;

    now = accounts_find(&c->accounts, str_of(checked->name));
    if (!now || now->serial != checked->serial)
        return false;
    new = sessions_add(c->sessions, now, clock_mono_ns(), id);
    memcpy(csrf, new->csrf, ACCOUNT_SECRET_SIZE);
    return true;
}

/* The session is new whatever the request came with, which ends: no identifier that somebody else
 * has chosen or seen is ever worth more afterwards. */
bool login_enter(struct http_exchange *x, const struct account *account,
                 char csrf[ACCOUNT_SECRET_SIZE])
{
    struct console *c = console_of(x);
    char id[ACCOUNT_SECRET_SIZE];
    bool opened;

    who_forget(x);
    if (console_refresh(c) != PT_ERR_OK)
        return false;
    pthread_mutex_lock(&c->lock);
    opened = open_session(c, account, id, csrf);
    if (opened)
        throttle_good(c->throttle, &x->peer.addr, str_of(account->name));
    pthread_mutex_unlock(&c->lock);
    if (opened)
        who_set_cookie(x, id);
    sodium_memzero(id, sizeof id);
    return opened;
}

static void note_entry(struct http_exchange *x, const struct account *account,
                       enum second_result second)
{
    const char *name = account->name;
    struct pt_fault fault = { 0 };
    char detail[80] = "";

    log_attempt(x, LOG_INFO, "logged in", str_of(name));
    /* With the gateway down one must still get in to see so. */
    if (second == SECOND_SPARE)
        snprintf(detail, sizeof detail, "with a recovery code; %u are left",
                 account->second.spare_count);
    if (record(x, name, "console.login", "", "done", detail, &fault) != PT_ERR_OK)
        log_text(LOG_WARN, "console", "a log-in of %s is not in the audit log: %s", name,
                 fault.text);
}

static void note_refusal(struct http_exchange *x, const char *name, const char *why)
{
    PT_IGNORE(record(x, name, "console.login", "", "refused", why, NULL), "it is in the log");
}

enum login_result login_check(struct http_exchange *x, struct login *l)
{
    struct console *c = console_of(x);
    struct account account;
    bool there, right;

    if (console_refresh(c) != PT_ERR_OK)
        return LOGIN_IMPOSSIBLE;
    pthread_mutex_lock(&c->lock);
    l->wait = throttle_try(c->throttle, &x->peer.addr, l->name, clock_mono_ns());
    there = !l->wait && copy_account(c, l->name, &account);
    pthread_mutex_unlock(&c->lock);
    if (l->wait) {
        log_attempt(x, LOG_INFO, "log-in put off, too many tries", l->name);
        return LOGIN_LATER;
    }
    right = accounts_password_matches(there ? &account : NULL, l->password);
    if (right) {
        l->second = second_check(x, &account, l->code, &l->wait);
        if (l->second == SECOND_NEEDED) {
            pthread_mutex_lock(&c->lock);
            throttle_give_back(c->throttle, &x->peer.addr, l->name);
            pthread_mutex_unlock(&c->lock);
            return LOGIN_CODE;
        }
        if (l->second != SECOND_RIGHT && l->second != SECOND_SPARE) {
            log_attempt(x, LOG_WARN, "log-in refused, the code is wrong", l->name);
            note_refusal(x, account.name, "wrong code");
            return LOGIN_CODE;
        }
    }
    if (right && login_enter(x, &account, l->csrf)) {
        note_entry(x, &account, l->second);
        return LOGIN_OK;
    }
    log_attempt(x, LOG_WARN, "log-in refused", l->name);
    if (there)
        note_refusal(x, account.name, "wrong password");
    return LOGIN_WRONG;
}

/* ---- POST /api/v1/login ---- */

void answer_later(struct http_exchange *x, unsigned wait)
{
    char seconds[16];

    snprintf(seconds, sizeof seconds, "%u", wait);
    http_header_add(x, "Retry-After", seconds);
    http_problem(x, 429, "Too many tries. Try again in %u s.", wait);
}

static void answer_login(struct http_exchange *x, enum login_result result, const struct login *l)
{
    switch (result) {
    case LOGIN_OK:
        http_answer_json(x, 200, json_pack("{s:s}", "csrf", l->csrf));
        return;
    case LOGIN_WRONG:
        http_problem(x, 401, "Name or password is wrong.");
        return;
    case LOGIN_CODE:
        PT_IGNORE(second_answer(x, l->second, l->wait, 401), "it is answered");
        return;
    case LOGIN_LATER:
        answer_later(x, l->wait);
        return;
    case LOGIN_IMPOSSIBLE:
        http_problem(x, 503, "The accounts cannot be read; the console's log says why.");
        return;
    }
}

static void login_job(struct http_exchange *x)
{
    static const char *const members[] = { "name", "password", "code", NULL };
    json_t *body = http_exchange_json(x, NULL);
    const json_t *code = json_object_get(body, "code");
    struct login l = { .name = json_text(body, "name"),
                       .password = json_text(body, "password"),
                       .code = json_text(body, "code") };

    if (body && json_only(x, body, members)) {
        if (!l.name.p || !l.password.p)
            answer_invalid(x, l.name.p ? "/password" : "/name", "must be a string");
        else if (code && !json_is_null(code) && !l.code.p)
            answer_invalid(x, "/code", "must be a string");
        else
            answer_login(x, login_check(x, &l), &l);
    }
    sodium_memzero(&l, sizeof l);
    json_decref(body);
}

void login_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, login_job);
}

/* ---- POST /api/v1/logout ---- */

static void logout_job(struct http_exchange *x)
{
    struct console *c = console_of(x);
    struct who who;

    if (!who_may(x, ROLE_VIEWER, &who))
        return;
    if (who.by_token) {
        http_problem(x, 409, "A token does not log out: remove it.");
        return;
    }
    pthread_mutex_lock(&c->lock);
    if (http_exchange_query_flag(x, "everywhere"))
        sessions_end_all(c->sessions, str_of(who.name));
    else
        sessions_end(c->sessions, who_cookie(x));
    pthread_mutex_unlock(&c->lock);
    who_clear_cookie(x);
    http_answer_empty(x, 204);
}

void logout_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, logout_job);
}

/* ---- /api/v1/me ---- */

static void me_job(struct http_exchange *x)
{
    struct console *c = console_of(x);
    struct account account;
    struct who who;
    json_t *v;
    bool there;

    if (!who_may(x, ROLE_VIEWER, &who))
        return;
    pthread_mutex_lock(&c->lock);
    there = copy_account(c, str_of(who.name), &account);
    pthread_mutex_unlock(&c->lock);
    v = json_pack("{s:s, s:s, s:s, s:o}", "name", who.name, "role", account_role_name(who.role),
                  "by", who.by_token ? "token" : "session", "expires_in",
                  who.left_s < 0 ? json_null() : json_integer(who.left_s));
    if (v && !who.by_token)
        json_object_set_new(v, "csrf", json_string(who.csrf));
    if (v && there) {
        json_object_set_new(v, "second_factor", json_boolean(account.second.on));
        json_object_set_new(v, "recovery_codes", json_integer(account.second.spare_count));
    }
    http_answer_json(x, 200, v);
}

void me_get(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, me_job);
}

/* One's own password; all sessions end, the one that asks gets a new one. */
static void set_own_password(struct http_exchange *x, const struct who *who, struct str password)
{
    struct accounts_edit e;
    struct account *account, copy;
    struct pt_fault fault = { 0 };
    char hash[136], csrf[ACCOUNT_SECRET_SIZE];

    if (accounts_password_check(str_of(who->name), password, &fault) != PT_ERR_OK) {
        answer_invalid(x, "/new_password", fault.text);
        return;
    }
    if (accounts_password_hash(password, hash, &fault) != PT_ERR_OK) {
        answer_fault(x, &fault);
        return;
    }
    if (!change_begin(x, &e))
        return;
    account = accounts_find(&e.accounts, str_of(who->name));
    if (!account) {
        accounts_edit_cancel(&e);
        http_problem(x, 404, "The account is not there any more.");
        return;
    }
    accounts_set_password(&e.accounts, account, hash);
    copy = *account;
    if (!change_commit(x, &e, who->actor, "admins.password", who->name, ""))
        return;
    if (login_enter(x, &copy, csrf))
        http_answer_json(x, 200, json_pack("{s:s}", "csrf", csrf));
    else
        http_answer_empty(x, 204);
}

bool password_is_right(struct http_exchange *x, const struct who *who, struct str password,
                       struct account *out)
{
    struct console *c = console_of(x);
    unsigned wait;
    bool right;

    pthread_mutex_lock(&c->lock);
    wait = throttle_try(c->throttle, &x->peer.addr, str_of(who->name), clock_mono_ns());
    right = !wait && copy_account(c, str_of(who->name), out);
    pthread_mutex_unlock(&c->lock);
    right = right && accounts_password_matches(out, password);
    if (wait) {
        answer_later(x, wait);
    } else if (!right) {
        answer_invalid(x, "/password", "is not the password of this account");
    } else {
        pthread_mutex_lock(&c->lock);
        throttle_give_back(c->throttle, &x->peer.addr, str_of(who->name));
        pthread_mutex_unlock(&c->lock);
    }
    return right;
}

static void me_password_job(struct http_exchange *x)
{
    static const char *const members[] = { "password", "new_password", NULL };
    struct account account;
    struct who who;
    json_t *body;

    if (!who_may(x, ROLE_VIEWER, &who))
        return;
    if (who.by_token) {
        http_problem(x, 403, "A token cannot change the password of its account.");
        return;
    }
    body = http_exchange_json(x, NULL);
    if (body && json_only(x, body, members) &&
        password_is_right(x, &who, json_text(body, "password"), &account))
        set_own_password(x, &who, json_text(body, "new_password"));
    json_decref(body);
}

void me_password_put(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, me_password_job);
}
