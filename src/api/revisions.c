/*
 * api/revisions: the revisions of the settings, going back to one, and the change that waits to be
 * confirmed.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "settings/store.h"

enum { HISTORY_PAGE = 50, HISTORY_MAX = 500 };

/* ---- /settings/confirm ---- */

json_t *api_pending_json(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct settings_pending p = { 0 };
    json_t *v;

    a->deps.settings_pending(a->deps.ctx, &p);
    if (p.revision == 0)
        return json_null();
    v = json_object();
    api_json_set(&v, "revision", json_integer((json_int_t)p.revision));
    api_json_set(&v, "before", json_integer((json_int_t)p.before));
    api_json_set(&v, "confirm_by", api_json_time(p.confirm_by_us));
    api_json_set(&v, "seconds_left",
                 json_integer(PT_MAX(p.confirm_by_us - clock_wall_us(), INT64_C(0)) / 1000000));
    return v;
}

static void pending_job(struct http_exchange *x)
{
    json_t *body = json_object();

    api_json_set(&body, "pending", api_pending_json(x));
    http_answer_json(x, 200, body);
}

void api_confirm_get(struct http_exchange *x)
{
    api_job(x, pending_job);
}

static void end_wait(struct http_exchange *x, bool revert)
{
    struct api *a = api_of(x);
    const char *action = revert ? "settings.revert" : "settings.confirm";
    struct api_actor actor;
    struct settings_audit row;
    struct pt_fault fault = { 0 };
    uint64_t revision = 0;
    json_t *body;
    enum pt_err err;

    api_actor_of(x, &actor);
    row = api_audit_row(&actor, action, STR(""));
    if (revert)
        row.detail = STR("not confirmed: back by hand");
    pthread_mutex_lock(&a->settings_lock);
    err = a->deps.settings_confirm(a->deps.ctx, revert, &row, &revision, &fault);
    pthread_mutex_unlock(&a->settings_lock);
    if (err == PT_ERR_OK) {
        body = json_pack("{s:I}", "revision", (json_int_t)revision);
        api_set_etag(x, revision);
        http_answer_json(x, 200, body);
        return;
    }
    api_audit_refused(x, action, STR(""), err, str_of(fault.text));
    if (err == PT_ERR_NOTFOUND)
        http_problem(x, 409, "%s", fault.text);
    else
        api_problem(x, err, fault.text);
}

static void confirm_job(struct http_exchange *x)
{
    end_wait(x, false);
}

void api_confirm_post(struct http_exchange *x)
{
    api_job(x, confirm_job);
}

static void revert_job(struct http_exchange *x)
{
    end_wait(x, true);
}

void api_confirm_delete(struct http_exchange *x)
{
    api_job(x, revert_job);
}

/* ---- /settings/revisions ---- */

/* The store, or NULL: answered, or (with *out_none) there is none yet. */
static struct settings_store *open_store(struct http_exchange *x, bool *out_none)
{
    struct settings_store *store = NULL;
    struct pt_fault fault = { 0 };
    enum pt_err err =
        settings_store_open(&store, api_of(x)->deps.state_directory, SETTINGS_STORE_READ, &fault);

    *out_none = err == PT_ERR_NOTFOUND;
    if (err == PT_ERR_OK)
        return store;
    if (!*out_none)
        api_problem(x, err, fault.text);
    return NULL;
}

static json_t *revision_json(const struct settings_revision *r)
{
    json_t *v = json_object();

    api_json_set(&v, "revision", json_integer((json_int_t)r->number));
    api_json_set(&v, "time", api_json_time(r->time_us));
    api_json_set(&v, "author", api_json_str(str_of(r->author)));
    api_json_set(&v, "comment", api_json_str(str_of(r->comment)));
    api_json_set(&v, "restored_from",
                 r->restored_from ? json_integer((json_int_t)r->restored_from) : json_null());
    api_json_set(&v, "size", json_integer((json_int_t)r->size));
    return v;
}

static void answer_history(struct http_exchange *x, struct settings_store *store, uint64_t before,
                           uint32_t limit)
{
    struct settings_revision *rows = calloc(limit, sizeof *rows);
    struct pt_fault fault = { 0 };
    json_t *items = json_array(), *next = NULL;
    uint64_t head = 0;
    uint32_t count = 0;
    enum pt_err err = rows ? settings_store_head(store, &head, &fault) : PT_ERR_NOMEM;
    char cursor[24];

    if (!err)
        err = settings_store_history(store, before, limit, rows, &count, &fault);
    for (uint32_t i = 0; i < count; i++)
        api_json_add(&items, revision_json(&rows[i]));
    if (count == limit && rows[count - 1].number > 1) {
        snprintf(cursor, sizeof cursor, "%" PRIu64, rows[count - 1].number);
        next = json_string(cursor);
    }
    for (uint32_t i = 0; i < count; i++)
        settings_revision_done(&rows[i]);
    free(rows);
    if (err) {
        json_decref(items);
        json_decref(next);
        api_problem(x, err, fault.text);
        return;
    }
    http_answer_json(x, 200, api_json_list(items, next, head));
}

static void revisions_job(struct http_exchange *x)
{
    struct settings_store *store;
    uint64_t before;
    uint32_t limit;
    bool none;

    if (!api_query_limit(x, HISTORY_PAGE, HISTORY_MAX, &limit))
        return;
    if (!http_exchange_query_u64(x, "cursor", 0, &before)) {
        http_problem(x, 400, "cursor must be one that this list gave.");
        return;
    }
    store = open_store(x, &none);
    if (store)
        answer_history(x, store, before, limit);
    else if (none)
        http_answer_json(x, 200, api_json_list(json_array(), NULL, 0));
    settings_store_close(store);
}

void api_revisions_get(struct http_exchange *x)
{
    api_job(x, revisions_job);
}

/* The revision named in the path; false: answered. */
static bool find_revision(struct http_exchange *x, bool full, struct settings_revision *out)
{
    struct settings_store *store;
    struct pt_fault fault = { 0 };
    uint64_t number;
    bool none = true;
    enum pt_err err = PT_ERR_NOTFOUND;

    *out = (struct settings_revision){ 0 };
    if (str_to_u64(http_exchange_param(x, "revision"), &number)) {
        store = open_store(x, &none);
        if (!store && !none)
            return false;
        if (store)
            err = settings_store_get(store, number, out, &fault);
        if (store && err == PT_ERR_OK && full)
            err = settings_store_expand(store, out, &fault);
        settings_store_close(store);
    }
    if (err == PT_ERR_NOTFOUND)
        http_problem(x, 404, "There is no such revision.");
    else if (err)
        api_problem(x, err, fault.text);
    if (err)
        settings_revision_done(out);
    return err == PT_ERR_OK;
}

static void revision_job(struct http_exchange *x)
{
    struct buf *body = &x->response.body;
    struct settings_revision r;
    json_t *row;
    char *text;

    if (!find_revision(x, true, &r))
        return;
    row = revision_json(&r);
    text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    if (text) {
        /* The document is JSON already, and may be large: it becomes the last member as it is. */
        http_answer_text(x, 200, "application/json", str_head(str_of(text), strlen(text) - 1));
        BUF_LIT(body, ",\"document\":");
        buf_add_str(body, str_of(r.document));
        BUF_LIT(body, "}\n");
        api_check_size(x);
    } else {
        api_problem(x, PT_ERR_NOMEM, NULL);
    }
    free(text);
    json_decref(row);
    settings_revision_done(&r);
}

void api_revision_get(struct http_exchange *x)
{
    api_job(x, revision_job);
}

static unsigned confirm_word(const json_t *word)
{
    const char *text = json_string_value(word);

    for (unsigned bit = 1; text && bit <= SETTINGS_CONFIRM_ALL; bit <<= 1)
        if (strcmp(text, settings_confirm_name((enum settings_confirm)bit)) == 0)
            return bit;
    return 0;
}

/* The words of "confirm", the one member of the body; false: answered. */
static bool read_confirm(struct http_exchange *x, const json_t *body, unsigned *out)
{
    const json_t *words = json_object_get(body, "confirm");
    bool good = json_is_object(body) && json_object_size(body) == (words ? 1 : 0) &&
                (!words || json_is_array(words));

    for (size_t i = 0; good && i < json_array_size(words); i++) {
        unsigned bit = confirm_word(json_array_get(words, i));

        *out |= bit;
        good = bit != 0;
    }
    if (!good)
        http_problem(x, 422,
                     "The body must be empty, or { \"confirm\": [ … ] } with words that a refusal "
                     "asked for.");
    return good;
}

/* A body is not needed; false: answered. */
static bool read_restore(struct http_exchange *x, unsigned *out_confirmed)
{
    json_t *body;
    bool good;

    if (x->request->body.n == 0)
        return true;
    body = http_exchange_json(x, NULL);
    good = body && read_confirm(x, body, out_confirmed);
    json_decref(body);
    return good;
}

static void restore_job(struct http_exchange *x)
{
    struct api_change change = { 0 };
    struct settings_revision r;

    if (!api_if_match(x, api_revision_in_force(x), &change.expected) ||
        !read_restore(x, &change.confirmed) || !find_revision(x, false, &r))
        return;
    change.document = str_of(r.document);
    change.stored_form = true;
    change.restored_from = r.number;
    api_settings_change(x, &change, json_object(), false);
    settings_revision_done(&r);
}

void api_revision_restore(struct http_exchange *x)
{
    api_job(x, restore_job);
}
