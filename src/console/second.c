/*
 * console/second: the second factor of one's own account: begun, confirmed, given up; and asked for
 * at the log-in.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "console/inner.h"
#include "console/totp.h"
#include "http/client.h"

/* ---- at the log-in ---- */

static enum totp_result keep_use(struct console *c, struct account *account, struct str code)
{
    int64_t now_s = clock_wall_us() / 1000000;
    struct pt_fault fault = { 0 };
    struct accounts_edit e;
    struct account *stored;
    enum totp_result result;

    /* With a full disk one must still get in to see so; then a code counts twice at worst. */
    if (accounts_edit_begin(&e, c->state_directory, &fault) != PT_ERR_OK) {
        log_text(LOG_WARN, "console", "the use of a code is not kept: %s", fault.text);
        return totp_check(&account->second, code, now_s);
    }
    stored = accounts_find(&e.accounts, str_of(account->name));
    if (!stored || stored->serial != account->serial) {
        accounts_edit_cancel(&e);
        return TOTP_WRONG;
    }
    result = totp_check(&stored->second, code, now_s);
    account->second = stored->second;
    if (result == TOTP_WRONG)
        accounts_edit_cancel(&e);
    else if (accounts_edit_commit(&e, &fault) != PT_ERR_OK)
        log_text(LOG_WARN, "console", "the use of a code is not kept: %s", fault.text);
    return result;
}

enum second_result second_check(struct http_exchange *x, struct account *account, struct str code,
                                unsigned *out_wait)
{
    struct console *c = console_of(x);
    struct str name = str_of(account->name);
    enum totp_result result;

    if (!account->second.on)
        return code.n ? SECOND_NONE : SECOND_RIGHT;
    if (!code.n)
        return SECOND_NEEDED;
    pthread_mutex_lock(&c->lock);
    *out_wait = throttle_try_code(c->throttle, name, clock_mono_ns());
    pthread_mutex_unlock(&c->lock);
    if (*out_wait)
        return SECOND_LATER;
    result = keep_use(c, account, code);
    if (result == TOTP_WRONG)
        return SECOND_WRONG;
    pthread_mutex_lock(&c->lock);
    throttle_good_code(c->throttle, name);
    pthread_mutex_unlock(&c->lock);
    return result == TOTP_SPARE ? SECOND_SPARE : SECOND_RIGHT;
}

bool second_answer(struct http_exchange *x, enum second_result result, unsigned wait,
                   unsigned status)
{
    static const char *const details[] = {
        [SECOND_NEEDED] = "a code of the second factor is needed",
        [SECOND_WRONG] = "is wrong, or was used before",
        [SECOND_NONE] = "this account has no second factor",
    };

    switch (result) {
    case SECOND_RIGHT:
    case SECOND_SPARE:
        return true;
    case SECOND_LATER:
        answer_later(x, wait);
        return false;
    case SECOND_NONE:
        status = 422;
        break;
    case SECOND_NEEDED:
    case SECOND_WRONG:
        break;
    }
    http_problem_errors(x, status, "The code cannot be accepted.",
                        json_pack("[{s:s, s:s}]", "pointer", "/code", "detail", details[result]));
    return false;
}

/* ---- beginning ---- */

/* Who asks, with a session, and the body; NULL: answered. */
static json_t *begin(struct http_exchange *x, struct who *who, const char *const *members)
{
    json_t *body;

    if (!who_may(x, ROLE_VIEWER, who))
        return NULL;
    if (who->by_token) {
        http_problem(x, 403, "A token cannot change how its account logs in.");
        return NULL;
    }
    body = http_exchange_json(x, NULL);
    if (body && !json_only(x, body, members)) {
        json_decref(body);
        return NULL;
    }
    return body;
}

static void post_job(struct http_exchange *x)
{
    static const char *const members[] = { "password", NULL };
    struct console *c = console_of(x);
    uint8_t key[ACCOUNT_KEY_SIZE];
    char text[TOTP_KEY_TEXT], uri[300];
    struct account account;
    struct buf name;
    struct who who;
    json_t *body = begin(x, &who, members);

    if (body && password_is_right(x, &who, json_text(body, "password"), &account)) {
        totp_key(key);
        totp_key_text(key, text);
        pthread_mutex_lock(&c->lock);
        sessions_offer(c->sessions, who_cookie(x), key);
        pthread_mutex_unlock(&c->lock);
        buf_init(&name, 4 * ACCOUNT_NAME_MAX);
        http_target_add(&name, str_of(who.name));
        snprintf(uri, sizeof uri,
                 "otpauth://totp/Postern:%.*s?secret=%s&issuer=Postern&algorithm=SHA1&digits=6&"
                 "period=%d",
                 STR_FMT(buf_str(&name)), text, TOTP_STEP_S);
        http_answer_json(x, 200, json_pack("{s:s, s:s}", "key", text, "uri", uri));
        buf_done(&name);
        sodium_memzero(key, sizeof key);
        sodium_memzero(text, sizeof text);
        sodium_memzero(uri, sizeof uri);
    }
    json_decref(body);
}

void second_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, post_job);
}

/* ---- the first code: from now on it is asked for ---- */

/* NULL: answered. */
static struct account *change_own(struct http_exchange *x, struct accounts_edit *e,
                                  const struct who *who)
{
    struct account *account;

    if (!change_begin(x, e))
        return NULL;
    account = accounts_find(&e->accounts, str_of(who->name));
    if (account)
        return account;
    accounts_edit_cancel(e);
    http_problem(x, 404, "The account is not there any more.");
    return NULL;
}

/* Ends all sessions; the one that asks gets a new one. */
static void confirm(struct http_exchange *x, const struct who *who, struct account_second *second)
{
    char spares[ACCOUNT_SPARES_MAX][TOTP_SPARE_TEXT], csrf[ACCOUNT_SECRET_SIZE];
    json_t *codes = json_array(), *v;
    struct accounts_edit e;
    struct account *account = change_own(x, &e, who), copy;

    if (account) {
        second->on = true;
        totp_make_spares(second, spares);
        accounts_set_second(&e.accounts, account, second);
        copy = *account;
        if (change_commit(x, &e, who->actor, "admins.second_factor", who->name, "on")) {
            for (size_t i = 0; i < ACCOUNT_SPARES_MAX; i++)
                json_array_append_new(codes, json_string(spares[i]));
            v = json_pack("{s:O}", "recovery_codes", codes);
            if (login_enter(x, &copy, csrf))
                json_object_set_new(v, "csrf", json_string(csrf));
            http_answer_json(x, 200, v);
        }
        sodium_memzero(spares, sizeof spares);
    }
    json_decref(codes);
}

static void put_job(struct http_exchange *x)
{
    static const char *const members[] = { "code", NULL };
    struct console *c = console_of(x);
    struct account_second second = { 0 };
    struct who who;
    json_t *body = begin(x, &who, members);
    bool offered;

    if (body) {
        pthread_mutex_lock(&c->lock);
        offered = sessions_offered(c->sessions, who_cookie(x), second.key);
        pthread_mutex_unlock(&c->lock);
        if (!offered)
            http_problem(x, 409, "There is no key to confirm: POST first.");
        else if (totp_check(&second, json_text(body, "code"), clock_wall_us() / 1000000) !=
                 TOTP_RIGHT)
            answer_invalid(x, "/code", "does not follow from the key; is the clock right?");
        else
            confirm(x, &who, &second);
    }
    sodium_memzero(&second, sizeof second);
    json_decref(body);
}

void second_put(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, put_job);
}

/* ---- without it again ---- */

static void give_up(struct http_exchange *x, const struct who *who)
{
    struct accounts_edit e;
    struct account *account = change_own(x, &e, who), copy;
    char csrf[ACCOUNT_SECRET_SIZE];

    if (!account)
        return;
    accounts_set_second(&e.accounts, account, &(struct account_second){ 0 });
    copy = *account;
    if (!change_commit(x, &e, who->actor, "admins.second_factor", who->name, "off"))
        return;
    if (login_enter(x, &copy, csrf))
        http_answer_json(x, 200, json_pack("{s:s}", "csrf", csrf));
    else
        http_answer_empty(x, 204);
}

static void delete_job(struct http_exchange *x)
{
    static const char *const members[] = { "password", "code", NULL };
    struct account account;
    struct who who;
    unsigned wait = 0;
    json_t *body = begin(x, &who, members);

    if (body && password_is_right(x, &who, json_text(body, "password"), &account)) {
        if (!account.second.on)
            http_problem(x, 409, "There is no second factor.");
        else if (second_answer(x, second_check(x, &account, json_text(body, "code"), &wait), wait,
                               422))
            give_up(x, &who);
    }
    json_decref(body);
}

void second_delete(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, delete_job);
}
