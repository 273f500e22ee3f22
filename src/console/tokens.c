/*
 * console/tokens: what programs log in with. Everybody has their own, which can do at most what
 * they can; administrators see and remove those of all.
 */
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "console/inner.h"

static json_t *time_or_null(int64_t us)
{
    char text[CLOCK_RFC3339_SIZE];

    if (!us)
        return json_null();
    clock_rfc3339(us, text);
    return json_string(text);
}

static json_t *token_json(const struct account_token *t)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o}", "id", t->id, "name", t->name, "owner",
                     t->owner, "role", account_role_name(t->role), "created",
                     time_or_null(t->created_us), "expires", time_or_null(t->expires_us));
}

static bool may_see(const struct who *who, const struct account_token *t)
{
    return who->role == ROLE_ADMINISTRATOR || strcmp(who->name, t->owner) == 0;
}

static void get_job(struct http_exchange *x)
{
    struct console *c = console_of(x);
    struct who who;
    json_t *items;

    if (!who_may(x, ROLE_VIEWER, &who))
        return;
    items = json_array();
    pthread_mutex_lock(&c->lock);
    for (size_t i = 0; i < c->accounts.token_count; i++)
        if (may_see(&who, &c->accounts.tokens[i]))
            json_array_append_new(items, token_json(&c->accounts.tokens[i]));
    pthread_mutex_unlock(&c->lock);
    http_answer_json(x, 200,
                     json_pack("{s:o, s:n, s:I}", "items", items, "next", "total",
                               (json_int_t)json_array_size(items)));
}

void tokens_get(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, get_job);
}

/* ---- a new one ---- */

/* False: answered. */
static bool read_wish(struct http_exchange *x, const json_t *body, const struct who *who,
                      enum account_role *role, int64_t *expires_us)
{
    const json_t *expires = json_object_get(body, "expires"),
                 *wanted = json_object_get(body, "role");

    *role = wanted ? account_role_of(json_text(body, "role")) : who->role;
    *expires_us = 0;
    if (*role == ROLE_NONE)
        answer_invalid(x, "/role", "must be administrator, operator or viewer");
    else if (*role > who->role)
        answer_invalid(x, "/role", "must not be more than your own");
    else if (expires && !json_is_null(expires) &&
             !clock_rfc3339_parse(json_text(body, "expires"), expires_us))
        answer_invalid(x, "/expires", "must be null or a time as in RFC 3339");
    else if (*expires_us && *expires_us <= clock_wall_us())
        answer_invalid(x, "/expires", "is in the past");
    else
        return true;
    return false;
}

static void add(struct http_exchange *x, const struct who *who, const json_t *body)
{
    const struct account_token *token;
    char secret[ACCOUNT_SECRET_SIZE], target[ACCOUNT_NAME_MAX + 1];
    const struct account *owner;
    struct pt_fault fault = { 0 };
    struct accounts_edit e;
    enum account_role role;
    int64_t expires_us;
    json_t *made;

    if (!read_wish(x, body, who, &role, &expires_us) || !change_begin(x, &e))
        return;
    owner = accounts_find(&e.accounts, str_of(who->name));
    if (!owner ||
        accounts_token_add(&e.accounts, owner, json_text(body, "name"), role, clock_wall_us(),
                           expires_us, secret, &token, &fault) != PT_ERR_OK) {
        accounts_edit_cancel(&e);
        if (owner && fault.err == PT_ERR_INVALID)
            answer_invalid(x, "/name", fault.text);
        else if (owner)
            answer_fault(x, &fault);
        else
            http_problem(x, 404, "The account is not there any more.");
        return;
    }
    made = token_json(token);
    memcpy(target, token->name, sizeof target);
    if (made)
        json_object_set_new(made, "token", json_string(secret));
    sodium_memzero(secret, sizeof secret);
    if (change_commit(x, &e, who->actor, "tokens.add", target, account_role_name(role)))
        http_answer_json(x, 201, made);
    else
        json_decref(made);
}

static void post_job(struct http_exchange *x)
{
    static const char *const members[] = { "name", "role", "expires", NULL };
    struct who who;
    json_t *body;

    if (!who_may(x, ROLE_VIEWER, &who))
        return;
    body = http_exchange_json(x, NULL);
    if (body && json_only(x, body, members))
        add(x, &who, body);
    json_decref(body);
}

void tokens_post(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, post_job);
}

/* ---- the end of one ---- */

static void delete_job(struct http_exchange *x)
{
    char target[ACCOUNT_NAME_MAX + 1];
    struct account_token *token;
    struct accounts_edit e;
    struct who who;

    if (!who_may(x, ROLE_VIEWER, &who) || !change_begin(x, &e))
        return;
    token = accounts_token_find(&e.accounts, http_exchange_param(x, "id"));
    if (!token || !may_see(&who, token)) {
        accounts_edit_cancel(&e);
        http_problem(x, 404, "There is no such token.");
        return;
    }
    memcpy(target, token->name, sizeof target);
    accounts_token_remove(&e.accounts, token);
    if (change_commit(x, &e, who.actor, "tokens.remove", target, ""))
        http_answer_empty(x, 204);
}

void token_delete(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, delete_job);
}
