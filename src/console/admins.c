/*
 * console/admins: the accounts, for administrators.
 */
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "console/inner.h"

static json_t *account_json(const struct account *a)
{
    char time[CLOCK_RFC3339_SIZE];

    clock_rfc3339(a->created_us, time);
    return json_pack("{s:s, s:s, s:s, s:b}", "name", a->name, "role", account_role_name(a->role),
                     "created", time, "second_factor", a->second.on);
}

static void get_job(struct http_exchange *x)
{
    struct console *c = console_of(x);
    json_t *items = json_array();
    struct who who;
    size_t count;

    if (!who_may(x, ROLE_ADMINISTRATOR, &who)) {
        json_decref(items);
        return;
    }
    pthread_mutex_lock(&c->lock);
    count = c->accounts.count;
    for (size_t i = 0; i < count; i++)
        json_array_append_new(items, account_json(&c->accounts.list[i]));
    pthread_mutex_unlock(&c->lock);
    http_answer_json(
        x, 200, json_pack("{s:o, s:n, s:I}", "items", items, "next", "total", (json_int_t)count));
}

void admins_get(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, get_job);
}

/* ---- adding ---- */

/* False: answered. */
static bool read_role(struct http_exchange *x, const json_t *body, enum account_role *out)
{
    *out = account_role_of(json_text(body, "role"));
    if (*out == ROLE_NONE)
        answer_invalid(x, "/role", "must be administrator, operator or viewer");
    return *out != ROLE_NONE;
}

/* False: answered. */
static bool read_password(struct http_exchange *x, struct str name, const json_t *body,
                          char hash[136])
{
    struct pt_fault fault = { 0 };
    struct str password = json_text(body, "password");

    if (accounts_password_check(name, password, &fault) != PT_ERR_OK) {
        answer_invalid(x, "/password", fault.text);
        return false;
    }
    if (accounts_password_hash(password, hash, &fault) == PT_ERR_OK)
        return true;
    answer_fault(x, &fault);
    return false;
}

static void add(struct http_exchange *x, const struct who *who, const json_t *body)
{
    struct str name = json_text(body, "name");
    struct accounts_edit e;
    struct pt_fault fault = { 0 };
    char hash[136], target[ACCOUNT_NAME_MAX + 1];
    enum account_role role;
    json_t *made;

    if (accounts_name_check(name, &fault) != PT_ERR_OK) {
        answer_invalid(x, "/name", fault.text);
        return;
    }
    if (!read_role(x, body, &role) || !read_password(x, name, body, hash) || !change_begin(x, &e))
        return;
    if (accounts_add(&e.accounts, name, role, hash, clock_wall_us(), &fault) != PT_ERR_OK) {
        accounts_edit_cancel(&e);
        answer_fault(x, &fault);
        return;
    }
    made = account_json(accounts_find(&e.accounts, name));
    snprintf(target, sizeof target, "%.*s", STR_FMT(name));
    if (change_commit(x, &e, who->actor, "admins.add", target, account_role_name(role)))
        http_answer_json(x, 201, made);
    else
        json_decref(made);
}

static void post_job(struct http_exchange *x)
{
    static const char *const members[] = { "name", "role", "password", NULL };
    struct who who;
    json_t *body;

    if (!who_may(x, ROLE_ADMINISTRATOR, &who))
        return;
    body = http_exchange_json(x, NULL);
    if (body && json_only(x, body, members))
        add(x, &who, body);
    json_decref(body);
}

void admins_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, post_job);
}

/* ---- one of them ---- */

/* Begins an edit and finds the account that the path names; NULL: answered. */
static struct account *begin_one(struct http_exchange *x, struct accounts_edit *e)
{
    struct account *found;

    if (!change_begin(x, e))
        return NULL;
    found = accounts_find(&e->accounts, http_exchange_param(x, "name"));
    if (!found) {
        accounts_edit_cancel(e);
        http_problem(x, 404, "There is no such account.");
    }
    return found;
}

/* False: answered, the edit is over. */
static bool stays_managed(struct http_exchange *x, struct accounts_edit *e,
                          const struct account *account)
{
    if (account->role != ROLE_ADMINISTRATOR || accounts_administrators(&e->accounts) > 1)
        return true;
    accounts_edit_cancel(e);
    http_problem(x, 409, "This is the last administrator.");
    return false;
}

static void patch(struct http_exchange *x, const struct who *who, const json_t *body)
{
    bool has_role = json_object_get(body, "role"), has_password = json_object_get(body, "password");
    bool resets = json_object_get(body, "second_factor");
    struct accounts_edit e;
    struct account *account;
    enum account_role role = ROLE_NONE;
    char hash[136], detail[64], target[ACCOUNT_NAME_MAX + 1];
    json_t *made;

    if (resets && !json_is_false(json_object_get(body, "second_factor"))) {
        answer_invalid(x, "/second_factor", "must be false: only its owner can begin one");
        return;
    }
    if ((has_role && !read_role(x, body, &role)) ||
        (has_password && !read_password(x, http_exchange_param(x, "name"), body, hash)))
        return;
    account = begin_one(x, &e);
    if (!account || (has_role && role != ROLE_ADMINISTRATOR && !stays_managed(x, &e, account)))
        return;
    if (has_role)
        accounts_set_role(&e.accounts, account, role);
    if (has_password)
        accounts_set_password(&e.accounts, account, hash);
    if (resets && account->second.on)
        accounts_set_second(&e.accounts, account, &(struct account_second){ 0 });
    snprintf(detail, sizeof detail, "%s%s%s%s%s", has_role ? account_role_name(role) : "",
             has_role && has_password ? ", " : "", has_password ? "new password" : "",
             resets && (has_role || has_password) ? ", " : "", resets ? "no second factor" : "");
    memcpy(target, account->name, sizeof target);
    made = account_json(account);
    if (change_commit(x, &e, who->actor, "admins.change", target, detail))
        http_answer_json(x, 200, made);
    else
        json_decref(made);
}

static void patch_job(struct http_exchange *x)
{
    static const char *const members[] = { "role", "password", "second_factor", NULL };
    struct who who;
    json_t *body;

    if (!who_may(x, ROLE_ADMINISTRATOR, &who))
        return;
    body = http_exchange_json(x, "application/merge-patch+json");
    if (body && json_only(x, body, members))
        patch(x, &who, body);
    json_decref(body);
}

void admin_patch(struct http_exchange *x)
{
    http_work_run(console_of(x)->logins, x, patch_job);
}

static void delete_job(struct http_exchange *x)
{
    char target[ACCOUNT_NAME_MAX + 1];
    struct accounts_edit e;
    struct account *account;
    struct who who;

    if (!who_may(x, ROLE_ADMINISTRATOR, &who))
        return;
    account = begin_one(x, &e);
    if (!account || !stays_managed(x, &e, account))
        return;
    memcpy(target, account->name, sizeof target);
    accounts_remove(&e.accounts, account);
    if (change_commit(x, &e, who.actor, "admins.remove", target, ""))
        http_answer_empty(x, 204);
}

void admin_delete(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, delete_job);
}
