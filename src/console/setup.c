/*
 * console/setup: the first administrator, made with the link that the start has printed.
 */
#include <sodium.h>
#include <string.h>

#include "base/clock.h"
#include "console/inner.h"

/* Is there no account at all? Damaged accounts are not none. */
static bool is_needed(struct console *c)
{
    bool none = console_refresh(c) == PT_ERR_OK;

    pthread_mutex_lock(&c->lock);
    none &= c->accounts.count == 0;
    pthread_mutex_unlock(&c->lock);
    return none;
}

static bool is_right(const struct console *c, struct str token)
{
    size_t n = strlen(c->setup_token);

    return token.n == n && sodium_memcmp(token.p, c->setup_token, n) == 0;
}

/* ---- GET /api/v1/setup ---- */

static void get_job(struct http_exchange *x)
{
    struct console *c = console_of(x);
    bool needed = is_needed(c), valid = needed && is_right(c, http_exchange_query(x, "token"));
    struct who who;

    /* A page that asked /me to find out would leave an error in the browser's console. */
    http_answer_json(x, 200,
                     json_pack("{s:b, s:b, s:b}", "needed", needed, "valid", valid, "logged_in",
                               who_asks(x, &who) == PT_ERR_OK));
}

void setup_get(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, get_job);
}

/* ---- POST /api/v1/setup ---- */

/* Makes it, if there is still none: the file is locked meanwhile. Without the gateway it is made
 * all the same, or nobody could ever get in to see what is wrong. */
static enum pt_err make_first(struct console *c, struct str name, const char *hash,
                              struct pt_fault *fault)
{
    struct accounts_edit e;
    enum pt_err err = accounts_edit_begin(&e, c->state_directory, fault);

    if (err)
        return err;
    err = e.accounts.count
              ? PT_ERR_DENIED
              : accounts_add(&e.accounts, name, ROLE_ADMINISTRATOR, hash, clock_wall_us(), fault);
    if (!err)
        return accounts_edit_commit(&e, fault);
    accounts_edit_cancel(&e);
    return err;
}

static void refuse_link(struct http_exchange *x)
{
    http_problem(x, 403,
                 "The link is spent, or it is of an earlier start. On the gateway's host: postern "
                 "admin add NAME");
}

static void set_up(struct http_exchange *x, struct str name, struct str password)
{
    char actor[ACCOUNT_NAME_MAX + 1], hash[136];
    struct login l = { .name = name, .password = password };
    struct pt_fault fault = { 0 };
    enum pt_err err;

    if (accounts_name_check(name, &fault) != PT_ERR_OK) {
        answer_invalid(x, "/name", fault.text);
        return;
    }
    if (accounts_password_check(name, password, &fault) != PT_ERR_OK) {
        answer_invalid(x, "/password", fault.text);
        return;
    }
    err = accounts_password_hash(password, hash, &fault);
    if (!err)
        err = make_first(console_of(x), name, hash, &fault);
    if (err == PT_ERR_DENIED) {
        refuse_link(x);
    } else if (err) {
        answer_fault(x, &fault);
    } else {
        snprintf(actor, sizeof actor, "%.*s", STR_FMT(name));
        PT_IGNORE(record(x, actor, "admins.add", actor, "done", "by the set-up link", NULL),
                  "the way in comes first");
        if (login_check(x, &l) == LOGIN_OK)
            http_answer_json(x, 201, json_pack("{s:s}", "csrf", l.csrf));
        else
            http_answer_empty(x, 204); /* it is made; the log says what is wrong with logging in */
    }
}

static void post_job(struct http_exchange *x)
{
    static const char *const members[] = { "token", "name", "password", NULL };
    json_t *body = http_exchange_json(x, NULL);
    struct str name = json_text(body, "name"), password = json_text(body, "password");
    struct console *c = console_of(x);

    if (body && json_only(x, body, members)) {
        if (!is_right(c, json_text(body, "token")) || !is_needed(c))
            refuse_link(x);
        else if (!name.p || !password.p)
            answer_invalid(x, name.p ? "/password" : "/name", "must be a string");
        else
            set_up(x, name, password);
    }
    json_decref(body);
}

void setup_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, post_job);
}
