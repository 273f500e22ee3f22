/*
 * api/explain: what would become of such a client, rule by rule, today or under a draft of the
 * settings; and what a reference stands for (explain_ref.c).
 */
#include <stdlib.h>

#include "api/resources.h"
#include "base/clock.h"

/* What was asked. The strings lie in the body. */
struct question {
    struct policy_explain_ask ask;
    const json_t *draft; /* NULL: the settings in force */
    const json_t *patch; /* the same as a patch of them */
    json_t *errors;
};

/* ---- reading the question ---- */

static void wrong(struct question *q, const char *pointer, const char *detail)
{
    json_t *error = json_object();

    api_json_set(&error, "pointer", json_string(pointer));
    api_json_set(&error, "detail", json_string(detail));
    api_json_add(&q->errors, error);
}

static struct str string_of(const json_t *value)
{
    return (struct str){ json_string_value(value), json_string_length(value) };
}

/* "<a@b>" is as good as "a@b", and "<>" as "". */
static struct str without_brackets(struct str s)
{
    return s.n >= 2 && s.p[0] == '<' && s.p[s.n - 1] == '>' ? (struct str){ s.p + 1, s.n - 2 } : s;
}

static void read_text(struct question *q, const char *pointer, const json_t *value, struct str *out)
{
    if (json_is_string(value))
        *out = without_brackets(string_of(value));
    else if (!json_is_null(value))
        wrong(q, pointer, "must be a string");
}

static void read_size(struct question *q, const json_t *value)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0)
        q->ask.size = (uint64_t)json_integer_value(value);
    else if (!json_is_null(value))
        wrong(q, "/size", "must be a number of octets");
}

static void read_member(struct question *q, const char *key, const json_t *value)
{
    struct policy_explain_ask *ask = &q->ask;
    char pointer[64];

    if (strcmp(key, "address") == 0) {
        if (!json_is_string(value) || !net_addr_parse(string_of(value), &ask->client))
            wrong(q, "/address", "must be one IPv4 or IPv6 address");
    } else if (strcmp(key, "helo") == 0) {
        read_text(q, "/helo", value, &ask->helo);
    } else if (strcmp(key, "from") == 0) {
        read_text(q, "/from", value, &ask->from);
        if (ask->from.n && !policy_explain_is_sender(ask->from))
            wrong(q, "/from", "must be the address of a mailbox, or empty");
    } else if (strcmp(key, "to") == 0) {
        read_text(q, "/to", value, &ask->to);
        if (ask->to.n && !policy_explain_is_recipient(ask->to))
            wrong(q, "/to", "must be the address of a mailbox");
    } else if (strcmp(key, "size") == 0) {
        read_size(q, value);
    } else if (strcmp(key, "tls") == 0) {
        ask->tls = json_is_true(value);
        if (!json_is_boolean(value) && !json_is_null(value))
            wrong(q, "/tls", "must be true or false");
    } else if (strcmp(key, "draft") == 0) {
        q->draft = json_is_null(value) ? NULL : value;
        if (q->draft && !json_is_object(value))
            wrong(q, "/draft", "must be a settings document");
    } else if (strcmp(key, "patch") == 0) {
        q->patch = json_is_null(value) ? NULL : value;
        if (q->patch && !json_is_object(value))
            wrong(q, "/patch", "must be a merge patch of the settings");
    } else {
        snprintf(pointer, sizeof pointer, "/%.60s", key);
        wrong(q, pointer, "unknown key");
    }
}

/* False: answered. */
static bool read_question(struct http_exchange *x, json_t *body, struct question *q)
{
    const char *key;
    json_t *value;

    q->errors = json_array();
    json_object_foreach(body, key, value) read_member(q, key, value);
    if (!json_object_get(body, "address"))
        wrong(q, "/address", "is missing");
    if (json_array_size(q->errors) > 0) {
        http_problem_errors(x, 422, "This is no question about a client.", q->errors);
        return false;
    }
    json_decref(q->errors);
    return true;
}

/* ---- a draft ---- */

/* The snapshot of a change, which is checked and then forgotten. NULL: answered. */
static struct policy_snapshot *snapshot_of(struct http_exchange *x, struct api_change *change)
{
    struct api *a = api_of(x);
    struct api_change_result result = { 0 };
    struct pt_fault fault = { 0 };
    struct policy_snapshot *snap = NULL;
    enum pt_err err = PT_ERR_NOMEM;

    change->confirmed = SETTINGS_CONFIRM_ALL;
    change->expected = SETTINGS_REVISION_ANY;
    change->dry_run = true;
    settings_errors_init(&result.errors);
    pthread_mutex_lock(&a->settings_lock);
    if (change->document.p)
        err = a->deps.settings_apply(a->deps.ctx, change, &result, &fault);
    pthread_mutex_unlock(&a->settings_lock);
    if (err == PT_ERR_OK && result.settings)
        snap = a->deps.draft_snapshot(a->deps.ctx, result.settings);
    if (result.errors.error_count)
        api_answer_refused(x, &result.errors);
    else if (!snap)
        api_problem(x, err ? err : PT_ERR_NOMEM, fault.text[0] ? fault.text : NULL);
    settings_errors_done(&result.errors);
    settings_unref(result.settings);
    return snap;
}

struct policy_snapshot *api_draft_snapshot(struct http_exchange *x, const json_t *draft)
{
    char *text = json_dumps(draft, JSON_COMPACT);
    struct api_change change = { .document = str_of(text) };
    struct policy_snapshot *snap = snapshot_of(x, &change);

    free(text);
    return snap;
}

static struct policy_snapshot *patched_snapshot(struct http_exchange *x, const json_t *patch)
{
    struct policy_snapshot *now = api_list_snapshot(x), *snap = NULL;
    char *text = json_dumps(patch, JSON_COMPACT);
    struct api_patched patched = { 0 };

    if (!text)
        api_problem(x, PT_ERR_NOMEM, NULL);
    else if (now && api_settings_patched(x, now, str_of(text), &patched)) {
        struct api_change change = { .document = str_of(patched.document),
                                     .lists = { [SETTINGS_LIST_DENY] = patched.deny_list,
                                                [SETTINGS_LIST_PERMIT] = patched.permit_list },
                                     .stored_form = true };

        snap = snapshot_of(x, &change);
    }
    api_patched_done(&patched);
    policy_snapshot_unref(now);
    free(text);
    return snap;
}

/* ---- the answer ---- */

static json_t *text_or_null(const char *text)
{
    return text ? api_json_str(str_of(text)) : json_null();
}

static void add_step(void *user, const struct policy_explain_step *s)
{
    json_t **steps = user, *v = json_object();

    api_json_set(&v, "step", json_integer((json_int_t)s->number));
    api_json_set(&v, "at", json_string(s->stage));
    api_json_set(&v, "rule", json_string(s->rule));
    api_json_set(&v, "outcome", json_string(s->outcome));
    api_json_set(&v, "decisive", json_boolean(s->decisive));
    api_json_set(&v, "list", text_or_null(s->list));
    api_json_set(&v, "entry", text_or_null(s->entry));
    api_json_set(&v, "comment", text_or_null(s->comment));
    api_json_set(&v, "per", text_or_null(s->scope));
    if (s->counted) {
        api_json_set(&v, "value", json_integer((json_int_t)s->value));
        api_json_set(&v, "limit", s->limit ? json_integer((json_int_t)s->limit) : json_null());
    }
    api_json_set(&v, "text", api_json_str(s->text));
    api_json_add(steps, v);
}

static json_t *reply_json(const struct policy_explained *e)
{
    char status[16];
    json_t *v = json_object();

    snprintf(status, sizeof status, "%u.%u.%u", e->status[0], e->status[1], e->status[2]);
    api_json_set(&v, "code", json_integer(e->code));
    api_json_set(&v, "status", json_string(status));
    api_json_set(&v, "text", json_string(e->text));
    return v;
}

static void answer(struct http_exchange *x, const struct policy_snapshot *snap,
                   const struct question *q)
{
    const struct settings *s = policy_snapshot_settings(snap);
    json_t *v = json_object(), *steps = json_array();
    char address[NET_ADDR_SIZE];
    struct policy_explained e;

    policy_explain_tell(snap, &q->ask, add_step, &steps, &e);
    net_addr_format(&q->ask.client, address);
    api_json_set(&v, "address", json_string(address));
    api_json_set(&v, "helo", q->ask.helo.n ? api_json_str(q->ask.helo) : json_null());
    api_json_set(&v, "from", api_json_str(q->ask.from));
    api_json_set(&v, "to", q->ask.to.n ? api_json_str(q->ask.to) : json_null());
    api_json_set(&v, "size", q->ask.size ? json_integer((json_int_t)q->ask.size) : json_null());
    api_json_set(&v, "tls", json_boolean(q->ask.tls));
    api_json_set(&v, "draft", json_boolean(q->draft || q->patch));
    api_json_set(&v, "revision",
                 q->draft || q->patch ? json_null() : json_integer((json_int_t)s->revision));
    api_json_set(&v, "decision", json_string(e.decision));
    api_json_set(&v, "rule", text_or_null(e.rule));
    api_json_set(&v, "reply", reply_json(&e));
    api_json_set(&v, "steps", steps);
    http_answer_json(x, 200, v);
}

static void explain_client(struct http_exchange *x, json_t *body)
{
    struct api *a = api_of(x);
    struct question q = { .draft = NULL };
    struct policy_snapshot *snap;

    if (!read_question(x, body, &q))
        return;
    snap = q.patch   ? patched_snapshot(x, q.patch)
           : q.draft ? api_draft_snapshot(x, q.draft)
                     : api_list_snapshot(x);
    if (!snap)
        return;
    q.ask.now_us = clock_wall_us();
    a->deps.client(a->deps.ctx, &q.ask.client, q.ask.now_us, &q.ask);
    a->deps.look_up(a->deps.ctx, snap, &q.ask);
    q.ask.tls_lacking = q.ask.tls_lacking && !q.draft; /* a Save would load what it names */
    answer(x, snap, &q);
    policy_snapshot_unref(snap);
}

static void explain_job(struct http_exchange *x)
{
    json_t *body = http_exchange_json(x, NULL);
    const json_t *ref = json_object_get(body, "ref");

    if (!body)
        return;
    if (!json_is_string(ref))
        explain_client(x, body);
    else if (json_object_size(body) == 1)
        api_explain_ref(x, string_of(ref));
    else
        http_problem(x, 422, "With a reference nothing else is asked.");
    json_decref(body);
}

void api_explain_post(struct http_exchange *x)
{
    api_job(x, explain_job);
}
