/*
 * api/settings: the settings document.
 *
 * A change carries the revision it was made from (If-Match, or the one that a PATCH was merged
 * into), so that nobody overwrites what they have not seen. Changes go through one lock; reading
 * takes a reference to the settings in force.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/resources.h"
#include "base/log.h"

enum { REFUSALS_TOLD = 5, PATCH_TRIES = 3, CONFIRM_MIN = 5, CONFIRM_MAX = 86400 };

/* ---- small things ---- */

/* POST /connections/preview */
static bool is_preview(const struct http_exchange *x)
{
    return str_ends_nocase(str_of(x->match.route->pattern), STR("/connections/preview"));
}

/* Nothing is to be changed. */
static bool is_dry_run(const struct http_exchange *x)
{
    return is_preview(x) || http_exchange_query_flag(x, "dry_run");
}

void api_set_etag(struct http_exchange *x, uint64_t revision)
{
    char tag[32];

    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", revision);
    http_header_add(x, "ETag", tag);
}

json_t *api_problems_json(const struct settings_problem *problems, uint32_t count)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < count; i++) {
        json_t *entry = json_object();

        api_json_set(&entry, "pointer", api_json_str(str_of(problems[i].pointer)));
        api_json_set(&entry, "detail", api_json_str(str_of(problems[i].detail)));
        api_json_add(&list, entry);
    }
    return list;
}

/* The words by which a document that was refused would be taken. */
static json_t *unconfirmed_json(unsigned unconfirmed)
{
    json_t *list = json_array();

    for (unsigned bit = 1; bit <= SETTINGS_CONFIRM_ALL; bit <<= 1)
        if (unconfirmed & bit)
            api_json_add(&list, json_string(settings_confirm_name((enum settings_confirm)bit)));
    return list;
}

/* If-Match (RFC 9110 section 13.1.1) against the revision in force: what the change must expect.
 * False: the answer is filled in. */
bool api_if_match(struct http_exchange *x, uint64_t current, uint64_t *out_expected)
{
    struct str header = http_request_header(x->request, "if-match");
    char wanted[32];

    *out_expected = SETTINGS_REVISION_ANY;
    if (!header.p || str_eq(str_trim(header), STR("*")))
        return true;
    snprintf(wanted, sizeof wanted, "\"%" PRIu64 "\"", current);
    for (size_t at = 0; at < header.n;) {
        ptrdiff_t comma = str_find(header, ',', at);
        size_t end = comma < 0 ? header.n : (size_t)comma;

        if (str_eq(str_trim((struct str){ header.p + at, end - at }), str_of(wanted))) {
            *out_expected = current;
            return true;
        }
        at = end + 1;
    }
    api_set_etag(x, current);
    http_problem(x, 412, "The settings have changed meanwhile: revision %" PRIu64 " is in force.",
                 current);
    if (!is_dry_run(x))
        api_audit_refused(x, "settings.change", STR(""), PT_ERR_CONFLICT,
                          STR("made from a revision that is not in force any more"));
    return false;
}

/* ---- the outcome of a change ---- */

void api_answer_refused(struct http_exchange *x, const struct settings_errors *e)
{
    json_t *errors = api_problems_json(e->errors, e->error_count);
    char detail[200];

    if (e->line)
        snprintf(detail, sizeof detail, "The document is not JSON (line %u, column %u).",
                 (unsigned)e->line, (unsigned)e->column);
    else
        snprintf(detail, sizeof detail, "%u value%s of the settings cannot be accepted.",
                 (unsigned)(e->error_count + e->more_errors),
                 e->error_count + e->more_errors == 1 ? "" : "s");
    if (e->unconfirmed) {
        json_t *words = unconfirmed_json(e->unconfirmed);
        char *text = words ? json_dumps(words, JSON_COMPACT) : NULL;
        size_t used = strlen(detail);

        if (text)
            snprintf(detail + used, sizeof detail - used, " To confirm: \"confirm\": %s.", text);
        free(text);
        json_decref(words);
    }
    http_problem_errors(x, e->line ? 400 : 422, detail, errors);
}

static void add_move(void *user, const struct relay_move *m)
{
    json_t **list = user, *v = json_object();

    api_json_set(&v, "from", api_json_str(str_of(m->from)));
    api_json_set(&v, "to", api_json_str(str_of(m->to)));
    api_json_set(&v, "messages", json_integer((json_int_t)m->messages));
    api_json_set(&v, "waits", json_boolean(m->waits));
    api_json_add(list, v);
}

/* What the change means for the mail that is queued. */
static void add_moves(struct http_exchange *x, const struct policy_snapshot *before,
                      const struct policy_snapshot *after, json_t **body)
{
    struct api *a = api_of(x);
    json_t *list = json_array();
    uint64_t more = 0;

    if (a->deps.queue_moves(a->deps.ctx, policy_snapshot_settings(before),
                            policy_snapshot_settings(after), add_move, &list, &more)) {
        json_decref(list); /* memory is short: the change itself is done, and that is said */
        list = json_null();
    }
    api_json_set(body, "queue", list);
    if (more)
        api_json_set(body, "queue_more", json_integer((json_int_t)more));
}

/* What the change means for the clients of the last days, and for the queue. */
static void add_consequences(struct http_exchange *x, const struct api_change *change,
                             const struct policy_snapshot *before,
                             const struct api_change_result *result, json_t **body,
                             json_t **warnings)
{
    struct api *a = api_of(x);
    struct policy_snapshot *after = change->dry_run
                                        ? a->deps.draft_snapshot(a->deps.ctx, result->settings)
                                        : a->deps.snapshot(a->deps.ctx);

    if (before && after) {
        if (change->dry_run && (is_preview(x) || http_exchange_query_flag(x, "preview")))
            api_json_set(body, "preview", api_preview_json(x, before, after));
        api_preview_warn(x, before, after, warnings);
        add_moves(x, before, after, body);
    }
    policy_snapshot_unref(after);
}

static void answer_done(struct http_exchange *x, const struct api_change *change,
                        const struct policy_snapshot *before,
                        const struct api_change_result *result, json_t *body)
{
    json_t *warnings = api_problems_json(result->errors.warnings, result->errors.warning_count);

    add_consequences(x, change, before, result, &body, &warnings);
    api_json_set(&body, "revision", json_integer((json_int_t)result->revision));
    api_json_set(&body, "dry_run", json_boolean(change->dry_run));
    api_json_set(&body, "pending", api_pending_json(x));
    api_json_set(&body, "warnings", warnings);
    api_set_etag(x, result->revision);
    http_answer_json(x, 200, body);
}

static void answer_change(struct http_exchange *x, enum pt_err err, const struct api_change *change,
                          const struct policy_snapshot *before,
                          const struct api_change_result *result, const struct pt_fault *fault,
                          json_t *body)
{
    const char *detail = fault->text[0] ? fault->text : pt_err_text(err);

    switch (err) {
    case PT_ERR_OK:
        answer_done(x, change, before, result, json_incref(body));
        return;
    case PT_ERR_CONFLICT:
        api_set_etag(x, result->revision);
        http_problem(x, http_request_header(x->request, "if-match").p ? 412 : 409, "%s", detail);
        return;
    default:
        if (err == PT_ERR_INVALID && result->errors.error_count) {
            api_answer_refused(x, &result->errors);
            return;
        }
        api_problem(x, err, detail);
        /* A participant that cannot take the change may name the value that is to blame. */
        if (result->errors.error_count)
            http_problem_errors(
                x, x->response.status, detail,
                api_problems_json(result->errors.errors, result->errors.error_count));
    }
}

/* Carries the change out under the lock; the result is to be done with. */
static enum pt_err apply(struct http_exchange *x, const struct api_change *change,
                         struct api_change_result *result, struct pt_fault *fault)
{
    struct api *a = api_of(x);
    enum pt_err err;

    *result = (struct api_change_result){ 0 };
    settings_errors_init(&result->errors);
    *fault = (struct pt_fault){ 0 };
    pthread_mutex_lock(&a->settings_lock);
    err = a->deps.settings_apply(a->deps.ctx, change, result, fault);
    pthread_mutex_unlock(&a->settings_lock);
    return err;
}

static void result_done(struct api_change_result *result)
{
    settings_errors_done(&result->errors);
    settings_unref(result->settings);
}

static void log_change(const struct api_change *change, const struct api_change_result *result)
{
    struct log_line line;

    log_begin(&line, LOG_INFO, "settings_changed");
    log_u64(&line, "revision", result->revision);
    log_str(&line, "by", change->author);
    if (change->comment.n)
        log_str(&line, "comment", change->comment);
    if (change->restored_from)
        log_u64(&line, "restored_from", change->restored_from);
    log_end(&line);
}

/* Why a change came to nothing, in one line: the fault, or the first errors. */
static void tell_refusal(const struct settings_errors *e, enum pt_err err,
                         const struct pt_fault *fault, struct buf *out)
{
    if (fault->text[0])
        buf_addf(out, "%s", fault->text);
    else if (e->error_count == 0)
        buf_addf(out, "%s", pt_err_text(err));
    for (uint32_t i = 0; !fault->text[0] && i < e->error_count && i < REFUSALS_TOLD; i++)
        buf_addf(out, "%s%s: %s", i ? "; " : "", e->errors[i].pointer, e->errors[i].detail);
    if (e->error_count + e->more_errors > REFUSALS_TOLD)
        buf_addf(out, "; %u in all", (unsigned)(e->error_count + e->more_errors));
}

static void record_refusal(struct http_exchange *x, const struct settings_audit *row,
                           const struct api_change_result *result, enum pt_err err,
                           const struct pt_fault *fault)
{
    struct buf text;

    buf_init(&text, 8192);
    tell_refusal(&result->errors, err, fault, &text);
    api_audit_refused(x, row->action, row->target, err, buf_str(&text));
    buf_done(&text);
}

/* False: 400 was answered. */
static bool confirm_within(struct http_exchange *x, uint32_t *out)
{
    uint64_t seconds;

    if (!http_exchange_query_u64(x, "confirm_within", 0, &seconds) ||
        (http_exchange_query(x, "confirm_within").p &&
         (seconds < CONFIRM_MIN || seconds > CONFIRM_MAX))) {
        http_problem(x, 400, "confirm_within must be %d to %d seconds.", CONFIRM_MIN, CONFIRM_MAX);
        return false;
    }
    *out = (uint32_t)seconds;
    return true;
}

void api_settings_change(struct http_exchange *x, struct api_change *change, json_t *body,
                         bool again)
{
    struct api_change_result result;
    struct policy_snapshot *before;
    struct settings_audit row;
    struct api_actor actor;
    struct pt_fault fault;
    char target[40] = "";
    enum pt_err err;

    api_actor_of(x, &actor);
    if (change->restored_from)
        snprintf(target, sizeof target, "revision %" PRIu64, change->restored_from);
    else if (change->lists[SETTINGS_LIST_RELAY_DOMAINS])
        snprintf(target, sizeof target, "relay domains");
    else if (change->lists[SETTINGS_LIST_DENY] || change->lists[SETTINGS_LIST_PERMIT])
        snprintf(target, sizeof target, "%s list",
                 change->lists[SETTINGS_LIST_DENY] ? "deny" : "permit");
    row = api_audit_row(&actor, change->restored_from ? "settings.restore" : "settings.change",
                        str_of(target));
    change->author = row.actor;
    if (http_exchange_query(x, "comment").n > 0)
        change->comment = http_exchange_query(x, "comment");
    row.detail = change->comment;
    change->dry_run = is_dry_run(x);
    if (!confirm_within(x, &change->confirm_within)) {
        json_decref(body);
        return;
    }
    change->audit = &row;
    before = api_of(x)->deps.snapshot(api_of(x)->deps.ctx);
    err = apply(x, change, &result, &fault);
    if (!err && !change->dry_run)
        log_change(change, &result);
    else if (err && !change->dry_run && !(again && err == PT_ERR_CONFLICT))
        record_refusal(x, &row, &result, err, &fault);
    answer_change(x, err, change, before, &result, &fault, body);
    json_decref(body);
    policy_snapshot_unref(before);
    result_done(&result);
}

/* 0 when there are no settings in force. */
uint64_t api_revision_in_force(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct settings *s = a->deps.settings_current(a->deps.ctx);
    uint64_t revision = s ? s->revision : 0;

    settings_unref(s);
    return revision;
}

/* The settings in force, or NULL: answered. */
static struct settings *settings_in_force(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct settings *s = a->deps.settings_current(a->deps.ctx);

    if (!s)
        http_problem(x, 503,
                     "No settings are in force: those that are stored cannot be used. "
                     "Put a document, or restore a revision.");
    return s;
}

/* ---- /settings ---- */

/* An answer is held in memory as a whole, up to a limit. */
void api_check_size(struct http_exchange *x)
{
    if (x->response.body.failed)
        http_problem(x, 500,
                     "The document is larger than %u MiB or memory is short; its lists can be had "
                     "by themselves, at /api/v1/connections/lists.",
                     HTTP_RESPONSE_MAX >> 20);
}

/* The document without the two lists, which may be long and can be had by themselves. */
static void answer_without_lists(struct http_exchange *x, const struct settings *s)
{
    json_t *v = json_loads(s->document, 0, NULL);
    json_t *control = json_object_get(json_object_get(v, "connections"), "control");

    json_object_del(control, "deny_list");
    json_object_del(control, "permit_list");
    http_answer_json(x, 200, v);
}

static void get_job(struct http_exchange *x)
{
    struct settings *s = settings_in_force(x);
    char tag[32];

    if (!s)
        return;
    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", s->revision);
    api_set_etag(x, s->revision);
    if (str_eq(str_trim(http_request_header(x->request, "if-none-match")), str_of(tag))) {
        http_answer_empty(x, 304);
    } else if (str_eq(http_exchange_query(x, "lists"), STR("false"))) {
        answer_without_lists(x, s);
    } else {
        http_answer_text(x, 200, "application/json", STR_NULL);
        settings_document_full(s, &x->response.body);
        buf_add_char(&x->response.body, '\n');
        api_check_size(x);
    }
    settings_unref(s);
}

void api_settings_get(struct http_exchange *x)
{
    api_job(x, get_job);
}

/* A document that comes in may bring a password. */
static void wipe(struct str octets)
{
    if (octets.n)
        explicit_bzero((char *)octets.p, octets.n);
}

static bool is_json(struct http_exchange *x, const char *type)
{
    struct str header = http_request_header(x->request, "content-type");
    ptrdiff_t semicolon = str_find(header, ';', 0);
    struct str value = str_trim(semicolon < 0 ? header : str_head(header, (size_t)semicolon));

    if (str_eq_nocase(value, STR("application/json")) || str_eq_nocase(value, str_of(type)))
        return true;
    http_problem(x, 415, "The body must be %s.", type);
    return false;
}

static void put_job(struct http_exchange *x)
{
    struct api_change change = { .document = x->request->body };

    if (is_json(x, "application/json") &&
        api_if_match(x, api_revision_in_force(x), &change.expected))
        api_settings_change(x, &change, json_object(), false);
    wipe(x->request->body);
}

void api_settings_put(struct http_exchange *x)
{
    api_job(x, put_job);
}

/* A patch that came to nothing before it was a change. */
static void record_patch_refusal(struct http_exchange *x, const char *why)
{
    if (!is_dry_run(x))
        api_audit_refused(x, "settings.change", STR(""), PT_ERR_INVALID, str_of(why));
}

/* One try; true when another one makes sense: somebody else was faster. */
static bool try_patch(struct http_exchange *x, bool last)
{
    struct policy_snapshot *snap = api_list_snapshot(x);
    struct api_patched patched = { 0 };
    struct api_change change = { 0 };
    bool conditional, again = false;
    uint64_t revision;

    if (!snap)
        return false;
    revision = policy_snapshot_settings(snap)->revision;
    if (api_if_match(x, revision, &change.expected)) {
        if (api_settings_patched(x, snap, x->request->body, &patched)) {
            conditional = change.expected != SETTINGS_REVISION_ANY;
            change.expected = revision;
            change.document = str_of(patched.document);
            change.lists[SETTINGS_LIST_DENY] = patched.deny_list;
            change.lists[SETTINGS_LIST_PERMIT] = patched.permit_list;
            change.stored_form = true;
            change.confirmed = is_preview(x) ? SETTINGS_CONFIRM_ALL : 0;
            api_settings_change(x, &change,
                                patched.lists ? json_pack("{s:O}", "lists", patched.lists)
                                              : json_object(),
                                !conditional && !last);
            again = !conditional && x->response.status == 409 &&
                    api_revision_in_force(x) != change.expected;
        } else {
            record_patch_refusal(x, patched.why);
        }
    }
    api_patched_done(&patched);
    policy_snapshot_unref(snap);
    return again;
}

static void patch_job(struct http_exchange *x)
{
    if (!is_json(x, "application/merge-patch+json"))
        return;
    for (int i = 0; i < PATCH_TRIES; i++) {
        buf_clear(&x->response.head);
        if (!try_patch(x, i == PATCH_TRIES - 1))
            break;
    }
    wipe(x->request->body);
}

void api_settings_patch(struct http_exchange *x)
{
    api_job(x, patch_job);
}

/* A patch that changes nothing, with what it would mean. What must be confirmed counts as
 * confirmed. */
void api_settings_preview(struct http_exchange *x)
{
    api_job(x, patch_job);
}
