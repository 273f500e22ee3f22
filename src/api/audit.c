#include "api/audit.h"

#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/log.h"

enum { PAGE = 50, PAGE_MAX = 500 };

/* ---- who ---- */

static bool is_control(unsigned char c)
{
    return c < 0x20 || c == 0x7f;
}

/* A header's value as one clean line, or nothing. */
static struct str clean_header(const struct http_exchange *x, const char *name, size_t max)
{
    struct str value = str_trim(http_request_header(x->request, name));

    if (value.n == 0 || value.n >= max || !str_is_utf8(value))
        return STR("");
    for (size_t i = 0; i < value.n; i++)
        if (is_control((unsigned char)value.p[i]))
            return STR("");
    return value;
}

static void user_name(uint32_t uid, char *out, size_t size)
{
    char room[2048];
    struct passwd entry, *found = NULL;

    if (getpwuid_r(uid, &entry, room, sizeof room, &found) == 0 && found)
        snprintf(out, size, "%s", entry.pw_name);
    else
        snprintf(out, size, "uid %u", (unsigned)uid);
}

void api_actor_of(const struct http_exchange *x, struct api_actor *out)
{
    struct str actor = clean_header(x, "postern-actor", sizeof out->name);
    struct str client = clean_header(x, "postern-client", 64);

    out->uid = x->peer_uid;
    if (x->peer_uid == api_of(x)->deps.console_uid && actor.n) {
        snprintf(out->name, sizeof out->name, "%.*s", (int)actor.n, actor.p);
        snprintf(out->origin, sizeof out->origin, "console%s%.*s", client.n ? ", client " : "",
                 (int)client.n, client.p);
        return;
    }
    user_name(x->peer_uid, out->name, sizeof out->name);
    snprintf(out->origin, sizeof out->origin, "api.sock, process %ld", (long)x->peer_pid);
}

struct settings_audit api_audit_row(const struct api_actor *actor, const char *action,
                                    struct str target)
{
    return (struct settings_audit){
        .time_us = clock_wall_us(),
        .actor = str_of(actor->name),
        .uid = actor->uid,
        .origin = str_of(actor->origin),
        .action = action,
        .target = target,
    };
}

/* ---- writing ---- */

/* Under the lock. Opened when it is first needed, and again after it could not be. */
static enum pt_err open_store(struct api *a, struct pt_fault *fault)
{
    if (a->audit)
        return PT_ERR_OK;
    return settings_store_open(&a->audit, a->deps.state_directory, SETTINGS_STORE_CREATE, fault);
}

static enum pt_err add(struct api *a, const struct settings_audit *row, uint64_t *out_id,
                       struct pt_fault *fault)
{
    enum pt_err err;

    pthread_mutex_lock(&a->audit_lock);
    err = open_store(a, fault);
    if (err == PT_ERR_OK)
        err = settings_audit_add(a->audit, row, out_id, fault);
    pthread_mutex_unlock(&a->audit_lock);
    return err;
}

bool api_audit_begin(struct http_exchange *x, const char *action, struct str target,
                     uint64_t *out_id)
{
    struct pt_fault fault = { 0 };
    struct settings_audit row;
    struct api_actor actor;
    char detail[320];
    enum pt_err err;

    api_actor_of(x, &actor);
    row = api_audit_row(&actor, action, target);
    err = add(api_of(x), &row, out_id, &fault);
    if (err == PT_ERR_OK)
        return true;
    snprintf(detail, sizeof detail, "Not done, because the audit log cannot be written: %s",
             fault.text);
    log_text(LOG_ERROR, "audit", "%s by %s refused: %s", action, actor.name, fault.text);
    api_problem(x, err, detail);
    return false;
}

static enum settings_audit_outcome outcome_of(enum pt_err err)
{
    switch (err) {
    case PT_ERR_OK:
        return SETTINGS_AUDIT_DONE;
    case PT_ERR_INVALID:
    case PT_ERR_CONFLICT:
    case PT_ERR_NOTFOUND:
    case PT_ERR_TOOBIG:
    case PT_ERR_EXISTS:
        return SETTINGS_AUDIT_REFUSED;
    default:
        return SETTINGS_AUDIT_FAILED;
    }
}

void api_audit_end(struct http_exchange *x, uint64_t id, enum pt_err err, struct str detail)
{
    struct api *a = api_of(x);
    struct pt_fault fault = { 0 };
    enum pt_err failed;

    pthread_mutex_lock(&a->audit_lock);
    failed = open_store(a, &fault);
    if (failed == PT_ERR_OK)
        failed = settings_audit_end(a->audit, id, outcome_of(err), detail, &fault);
    pthread_mutex_unlock(&a->audit_lock);
    /* The row says that it was begun; what became of it is in the log. */
    if (failed != PT_ERR_OK)
        log_text(LOG_ERROR, "audit", "row %" PRIu64 " (%s) lacks its end: %s", id,
                 settings_audit_outcome_name(outcome_of(err)), fault.text);
}

void api_audit_refused(struct http_exchange *x, const char *action, struct str target,
                       enum pt_err err, struct str detail)
{
    struct pt_fault fault = { 0 };
    struct settings_audit row;
    struct api_actor actor;
    uint64_t id;

    api_actor_of(x, &actor);
    row = api_audit_row(&actor, action, target);
    row.outcome = outcome_of(err);
    row.detail = detail;
    if (add(api_of(x), &row, &id, &fault) != PT_ERR_OK)
        log_text(LOG_ERROR, "audit", "%s by %s, %s: not recorded: %s", action, actor.name,
                 settings_audit_outcome_name(row.outcome), fault.text);
}

/* ---- what the console does ---- */

static bool outcome_named(struct str name, enum settings_audit_outcome *out)
{
    static const enum settings_audit_outcome all[] = { SETTINGS_AUDIT_DONE, SETTINGS_AUDIT_REFUSED,
                                                       SETTINGS_AUDIT_FAILED };

    for (size_t i = 0; i < PT_ARRAY_LEN(all); i++) {
        if (str_eq(name, str_of(settings_audit_outcome_name(all[i])))) {
            *out = all[i];
            return true;
        }
    }
    return false;
}

/* "admins.add": room and verb in small letters. */
static bool is_action(struct str s)
{
    bool dot = false;

    for (size_t i = 0; i < s.n; i++) {
        dot |= s.p[i] == '.';
        if (s.p[i] != '.' && s.p[i] != '_' && (s.p[i] < 'a' || s.p[i] > 'z'))
            return false;
    }
    return dot && s.n < 64;
}

static struct str member(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return (struct str){ json_string_value(value), json_string_length(value) };
}

static void post_row(struct http_exchange *x, const json_t *body)
{
    struct pt_fault fault = { 0 };
    struct settings_audit row;
    struct api_actor actor;
    char action[64];
    uint64_t id;
    enum pt_err err;

    api_actor_of(x, &actor);
    row = api_audit_row(&actor, action, member(body, "target"));
    row.detail = member(body, "detail");
    if (!is_action(member(body, "action")) ||
        !outcome_named(member(body, "outcome"), &row.outcome)) {
        http_problem(x, 422, "A row needs an action and an outcome.");
        return;
    }
    snprintf(action, sizeof action, "%.*s", STR_FMT(member(body, "action")));
    err = add(api_of(x), &row, &id, &fault);
    if (err == PT_ERR_OK)
        http_answer_json(x, 201, json_pack("{s:I}", "id", (json_int_t)id));
    else
        api_problem(x, err, fault.text);
}

static void post_job(struct http_exchange *x)
{
    json_t *body;

    if (x->peer_uid != api_of(x)->deps.console_uid ||
        !clean_header(x, "postern-actor", SETTINGS_AUDIT_ACTOR_MAX).n) {
        http_problem(x, 403, "Only the console writes here.");
        return;
    }
    body = http_exchange_json(x, NULL);
    if (body)
        post_row(x, body);
    json_decref(body);
}

void api_audit_post(struct http_exchange *x)
{
    api_job(x, post_job);
}

/* ---- showing ---- */

struct listing {
    json_t *items;
    uint64_t last;
};

static json_t *text_or_null(struct str s)
{
    return s.n ? api_json_str(s) : json_null();
}

static void show(void *user, uint64_t id, const struct settings_audit *a)
{
    struct listing *l = user;
    json_t *v = json_object();
    json_t *changes = a->changes.n ? json_loadb(a->changes.p, a->changes.n, 0, NULL) : NULL;

    api_json_set(&v, "id", json_integer((json_int_t)id));
    api_json_set(&v, "time", api_json_time(a->time_us));
    api_json_set(&v, "actor", api_json_str(a->actor));
    api_json_set(&v, "uid", a->uid == SETTINGS_AUDIT_NO_UID ? json_null() : json_integer(a->uid));
    api_json_set(&v, "origin", text_or_null(a->origin));
    api_json_set(&v, "action", api_json_str(str_of(a->action)));
    api_json_set(&v, "target", text_or_null(a->target));
    api_json_set(&v, "outcome", json_string(settings_audit_outcome_name(a->outcome)));
    api_json_set(&v, "detail", text_or_null(a->detail));
    api_json_set(&v, "changes", changes ? changes : json_array());
    api_json_set(&v, "revision", a->revision ? json_integer((json_int_t)a->revision) : json_null());
    api_json_add(&l->items, v);
    l->last = id;
}

static bool query_time(struct http_exchange *x, const char *name, int64_t *out)
{
    struct str text = http_exchange_query(x, name);

    if (!text.p || settings_time_parse(text, out))
        return true;
    http_problem(x, 400, "%s must be a time as in RFC 3339, such as 2026-11-24T08:00:00Z.", name);
    return false;
}

static bool read_filter(struct http_exchange *x, struct settings_audit_filter *f)
{
    *f = (struct settings_audit_filter){ .actor = http_exchange_query(x, "actor"),
                                         .action = http_exchange_query(x, "action") };
    if (!api_query_limit(x, PAGE, PAGE_MAX, &f->limit) || !query_time(x, "since", &f->since_us) ||
        !query_time(x, "until", &f->until_us))
        return false;
    if (http_exchange_query_u64(x, "cursor", 0, &f->before))
        return true;
    http_problem(x, 400, "cursor must be one that this list gave.");
    return false;
}

static void get_job(struct http_exchange *x)
{
    struct listing l = { .items = json_array() };
    struct settings_store *store = NULL;
    struct settings_audit_filter filter;
    struct pt_fault fault = { 0 };
    uint64_t total = 0;
    bool more = false;
    char cursor[24];
    enum pt_err err = PT_ERR_OK;

    if (!read_filter(x, &filter)) {
        json_decref(l.items);
        return;
    }
    err = settings_store_open(&store, api_of(x)->deps.state_directory, SETTINGS_STORE_READ, &fault);
    if (err == PT_ERR_OK)
        err = settings_audit_list(store, &filter, show, &l, &total, &more, &fault);
    settings_store_close(store);
    if (err != PT_ERR_OK && err != PT_ERR_NOTFOUND) {
        json_decref(l.items);
        api_problem(x, err, fault.text);
        return;
    }
    snprintf(cursor, sizeof cursor, "%" PRIu64, l.last);
    http_answer_json(x, 200, api_json_list(l.items, more ? json_string(cursor) : NULL, total));
}

void api_audit_get(struct http_exchange *x)
{
    api_job(x, get_job);
}
