/*
 * api/lists_change: the deny and the permit list, changed: a file imported, entries added and
 * removed. Each is a change of the settings like any other, made from the revision it has seen.
 */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/audit.h"
#include "api/resources.h"
#include "base/clock.h"
#include "settings/store.h"

enum { TRIES = 3, REMARKS_MAX = 1000 };

static const char *name_of(const struct http_exchange *x)
{
    static const char *const names[] = { "deny list", "permit list", "relay domains" };

    return names[api_list_which(x)];
}

/* ---- the change ---- */

void api_list_refused(struct http_exchange *x, const char *why)
{
    if (!http_exchange_query_flag(x, "dry_run"))
        api_audit_refused(x, "settings.change", str_of(name_of(x)), PT_ERR_INVALID, str_of(why));
}

void api_list_change(struct http_exchange *x, const struct api_list_change *by,
                     const struct settings_list *list, unsigned confirmed, const char *comment,
                     json_t *body)
{
    const struct settings *s = policy_snapshot_settings(by->snap);
    enum settings_list_of which = (enum settings_list_of)api_list_which(x);
    const struct settings_list *present = settings_list_of(s, which);
    char *document = settings_document_to_store(s);
    struct api_change change = { .document = str_of(document),
                                 .stored_form = true,
                                 .confirmed = confirmed,
                                 .comment = str_of(comment),
                                 .expected = s->revision };

    change.lists[which] = list;
    api_json_set(&body, "total", json_integer((json_int_t)list->count));
    if (!document || !body) {
        json_decref(body);
        api_problem(x, PT_ERR_NOMEM, NULL);
    } else if (settings_hash_eq(&list->hash, &present->hash)) {
        /* It says what it said before: no revision. */
        api_json_set(&body, "revision", json_integer((json_int_t)s->revision));
        api_json_set(&body, "dry_run", json_boolean(http_exchange_query_flag(x, "dry_run")));
        api_json_set(&body, "warnings", json_array());
        api_set_etag(x, s->revision);
        http_answer_json(x, 200, body);
    } else {
        api_settings_change(x, &change, body, by->again);
    }
    free(document);
}

void api_list_change_with(struct http_exchange *x,
                          void (*attempt)(struct http_exchange *x,
                                          const struct api_list_change *by))
{
    for (int i = 1; i <= TRIES; i++) {
        struct policy_snapshot *snap = api_list_snapshot(x);
        struct api_list_change by = { .snap = snap };
        uint64_t revision, expected;
        bool again = false;

        if (!snap)
            return;
        revision = policy_snapshot_settings(snap)->revision;
        buf_clear(&x->response.head);
        if (api_if_match(x, revision, &expected)) {
            by.again = expected == SETTINGS_REVISION_ANY && i < TRIES;
            attempt(x, &by);
            again = by.again && x->response.status == 409 && api_revision_in_force(x) != revision;
        }
        policy_snapshot_unref(snap);
        if (!again)
            return;
    }
}

/* ---- import ---- */

json_t *api_list_line(unsigned line, struct str text, const char *reason)
{
    json_t *v = json_object();
    char detail[160];

    api_json_set(&v, "line", json_integer(line));
    api_json_set(&v, "text", api_json_str(str_head(text, 200)));
    if (!reason)
        return v;
    /* As in every problem document too: the line's index, and a sentence. */
    snprintf(detail, sizeof detail, "/%u", line - 1);
    api_json_set(&v, "pointer", json_string(detail));
    api_json_set(&v, "reason", json_string(reason));
    snprintf(detail, sizeof detail, "line %u: %s", line, reason);
    api_json_set(&v, "detail", json_string(detail));
    return v;
}

void api_list_refuse_file(struct http_exchange *x, uint32_t count, json_t *errors)
{
    const json_t *first = json_array_get(errors, 0);
    const char *reason = json_string_value(json_object_get(first, "reason"));
    char detail[300];

    snprintf(detail, sizeof detail,
             "%u line%s of the file cannot be read, and nothing was imported. The first is line "
             "%u: %s.",
             count, count == 1 ? "" : "s",
             (unsigned)json_integer_value(json_object_get(first, "line")), reason ? reason : "");
    http_problem_errors(x, 422, detail, errors);
    api_list_refused(x, detail);
}

static json_t *remark_json(const struct policy_remark *r)
{
    json_t *v = api_list_line(r->line, r->text, r->reason);

    if (!r->reason) {
        api_json_set(&v, "network", json_string(r->entry));
        api_json_set(&v, "normalised", json_boolean(r->normalised));
        api_json_set(&v, "covered", json_boolean(r->covered));
        api_json_set(&v, "contradicted", json_boolean(r->contradicted));
    }
    return v;
}

static json_t *errors_json(const struct policy_import *import)
{
    json_t *list = json_array();
    struct policy_remark r;

    for (uint32_t i = 0; policy_import_error(import, i, &r); i++)
        api_json_add(&list, remark_json(&r));
    return list;
}

static json_t *remarks_json(const struct policy_import *import)
{
    json_t *list = json_array();
    struct policy_remark r;
    uint32_t at = 0;

    for (unsigned n = 0; n < REMARKS_MAX && policy_import_remark(import, &at, &r); n++)
        api_json_add(&list, remark_json(&r));
    return list;
}

static json_t *report_json(const struct policy_import *import)
{
    const struct policy_import_counts *c = &import->counts;
    json_t *v = json_object();

    api_json_set(&v, "added", json_integer(c->added));
    api_json_set(&v, "duplicate", json_integer(c->duplicate));
    api_json_set(&v, "normalised", json_integer(c->normalised));
    api_json_set(&v, "covered", json_integer(c->covered));
    api_json_set(&v, "contradicted", json_integer(c->contradicted));
    api_json_set(&v, "error_count", json_integer(c->errors));
    api_json_set(&v, "errors", errors_json(import));
    api_json_set(&v, "remarks", remarks_json(import));
    return v;
}

static unsigned confirmed_by_query(const struct http_exchange *x)
{
    struct str word = http_exchange_query(x, "confirm");

    return str_eq(word, STR("empty_permit_list")) ? SETTINGS_CONFIRM_EMPTY_PERMIT_LIST : 0;
}

static void try_import(struct http_exchange *x, const struct api_list_change *by)
{
    bool replace = http_exchange_query_flag(x, "replace");
    struct policy_import import;
    char comment[120];
    enum pt_err err =
        policy_import(by->snap, api_list_which(x), x->request->body, replace,
                      http_exchange_query_flag(x, "valid_only"), clock_wall_us(), &import);

    if (err) {
        api_problem(x, err, NULL);
        return;
    }
    if (import.list) {
        snprintf(comment, sizeof comment, "%s: %s %u entries from a file", name_of(x),
                 replace ? "replaced by" : "added", import.counts.added);
        api_list_change(x, by, import.list, confirmed_by_query(x), comment, report_json(&import));
    } else {
        api_list_refuse_file(x, import.counts.errors, errors_json(&import));
    }
    policy_import_done(&import);
    PT_IGNORE(malloc_trim(0), "a large file has left much behind");
}

bool api_list_is_text(struct http_exchange *x)
{
    struct str header = http_request_header(x->request, "content-type");
    ptrdiff_t semicolon = str_find(header, ';', 0);
    struct str type = str_trim(semicolon < 0 ? header : str_head(header, (size_t)semicolon));

    if (str_eq_nocase(type, STR("text/plain")))
        return true;
    http_problem(x, 415, "The body must be text/plain, a line an entry.");
    return false;
}

static void import_job(struct http_exchange *x)
{
    struct str word = http_exchange_query(x, "confirm");

    if (word.p && !confirmed_by_query(x))
        http_problem(x, 400, "confirm must be empty_permit_list.");
    else if (api_list_is_text(x))
        api_list_change_with(x, try_import);
}

void api_list_import(struct http_exchange *x)
{
    api_job(x, import_job);
}

/* ---- adding and removing ---- */

/* What the body asks for. */
struct asked {
    struct settings_list *add, *remove; /* references, or NULL */
    unsigned confirmed;
};

static void asked_free(void *user)
{
    struct asked *asked = user;

    settings_list_unref(asked->add);
    settings_list_unref(asked->remove);
    free(asked);
}

static void refuse_member(struct http_exchange *x, const char *pointer, const char *detail)
{
    api_list_refused(x, detail);
    http_problem_errors(x, 422, "1 value cannot be accepted.",
                        json_pack("[{s:s,s:s}]", "pointer", pointer, "detail", detail));
}

/* The entries of a member; false: answered. */
static bool read_entries(struct http_exchange *x, json_t *body, const char *key,
                         struct settings_list **out)
{
    json_t *array = json_object_get(body, key);
    struct settings_errors errors;
    char pointer[16];
    enum pt_err err;

    if (!array)
        return true;
    snprintf(pointer, sizeof pointer, "/%s", key);
    settings_errors_init(&errors);
    err = settings_parse_entries(array, str_of(pointer), out, &errors);
    if (err == PT_ERR_INVALID) {
        api_answer_refused(x, &errors);
        api_list_refused(x, errors.errors[0].detail);
    }
    if (err && err != PT_ERR_INVALID)
        api_problem(x, err, NULL);
    settings_errors_done(&errors);
    return err == PT_ERR_OK;
}

static bool read_confirm(struct http_exchange *x, json_t *body, unsigned *out)
{
    json_t *words = json_object_get(body, "confirm"), *word;
    char pointer[40];
    size_t i;

    if (words && !json_is_array(words)) {
        refuse_member(x, "/confirm", "must be a list of words");
        return false;
    }
    json_array_foreach(words, i, word)
    {
        if (!json_is_string(word) || strcmp(json_string_value(word), "empty_permit_list") != 0) {
            snprintf(pointer, sizeof pointer, "/confirm/%zu", i);
            refuse_member(x, pointer, "must be \"empty_permit_list\"");
            return false;
        }
        *out |= SETTINGS_CONFIRM_EMPTY_PERMIT_LIST;
    }
    return true;
}

/* False: answered. */
static bool read_asked(struct http_exchange *x, json_t *body, struct asked *out)
{
    const char *key;
    char pointer[80];
    json_t *ignored;

    if (!json_is_object(body)) {
        refuse_member(x, "", "must be an object with \"add\" and \"remove\"");
        return false;
    }
    json_object_foreach(body, key, ignored)
    {
        if (strcmp(key, "add") == 0 || strcmp(key, "remove") == 0 || strcmp(key, "confirm") == 0)
            continue;
        snprintf(pointer, sizeof pointer, "/%.60s", key);
        refuse_member(x, pointer, "unknown key; \"add\" and \"remove\" are possible");
        return false;
    }
    return read_entries(x, body, "add", &out->add) &&
           read_entries(x, body, "remove", &out->remove) && read_confirm(x, body, &out->confirmed);
}

static void refuse_missing(struct http_exchange *x, const struct policy_edit *edit)
{
    uint32_t kept = PT_MIN(edit->missing_count, POLICY_EDIT_MISSING_MAX);
    json_t *errors = json_array();
    char text[SETTINGS_ENTRY_SIZE], detail[120];

    for (uint32_t i = 0; i < kept; i++) {
        json_t *error = json_object();

        snprintf(detail, sizeof detail, "/remove/%u", edit->missing[i]);
        api_json_set(&error, "pointer", json_string(detail));
        settings_entry_format(&edit->remove->entries[edit->missing[i]], text);
        snprintf(detail, sizeof detail, "%s is no entry of the %s", text, name_of(x));
        api_json_set(&error, "detail", json_string(detail));
        api_json_add(&errors, error);
    }
    snprintf(detail, sizeof detail,
             "%u of the entries to remove %s not there; nothing was changed.", edit->missing_count,
             edit->missing_count == 1 ? "is" : "are");
    http_problem_errors(x, 422, detail, errors);
    api_list_refused(x, detail);
}

static json_t *edit_json(const struct policy_edit *edit)
{
    json_t *v = json_object();

    api_json_set(&v, "added", json_integer(edit->added));
    api_json_set(&v, "updated", json_integer(edit->updated));
    api_json_set(&v, "unchanged", json_integer(edit->unchanged));
    api_json_set(&v, "removed", json_integer(edit->removed));
    api_json_set(&v, "covered", json_integer(edit->covered));
    api_json_set(&v, "contradicted", json_integer(edit->contradicted));
    return v;
}

/* "deny list: 192.0.2.1 added", or how many. */
static void describe(const struct http_exchange *x, const struct policy_edit *edit, char *out,
                     size_t size)
{
    const struct settings_list *only =
        edit->remove && edit->remove->count ? edit->remove : edit->add;
    uint32_t added = edit->added + edit->updated;
    char text[SETTINGS_ENTRY_SIZE];

    if (added + edit->removed == 1 && only && only->count == 1) {
        settings_entry_format(&only->entries[0], text);
        snprintf(out, size, "%s: %s %s", name_of(x), text, added ? "added" : "removed");
    } else {
        snprintf(out, size, "%s: %u added, %u removed", name_of(x), added, edit->removed);
    }
}

static void try_patch(struct http_exchange *x, const struct api_list_change *by)
{
    const struct asked *asked = x->user;
    struct policy_edit *edit = calloc(1, sizeof *edit);
    char comment[160];
    enum pt_err err = PT_ERR_NOMEM;

    if (edit) {
        edit->add = asked->add;
        edit->remove = asked->remove;
        edit->now_us = clock_wall_us();
        err = policy_edit(by->snap, api_list_which(x), edit);
    }
    if (err) {
        api_problem(x, err, NULL);
    } else if (edit->missing_count) {
        refuse_missing(x, edit);
    } else {
        describe(x, edit, comment, sizeof comment);
        api_list_change(x, by, edit->list, asked->confirmed, comment, edit_json(edit));
    }
    settings_list_unref(edit ? edit->list : NULL);
    free(edit);
}

static void patch_job(struct http_exchange *x)
{
    struct asked *asked = calloc(1, sizeof *asked);
    json_t *body;

    x->user = asked;
    x->user_free = asked_free;
    if (!asked) {
        x->user_free = NULL;
        api_problem(x, PT_ERR_NOMEM, NULL);
        return;
    }
    body = http_exchange_json(x, "application/merge-patch+json");
    if (body && read_asked(x, body, asked))
        api_list_change_with(x, try_patch);
    json_decref(body);
}

void api_list_patch(struct http_exchange *x)
{
    api_job(x, patch_job);
}
