/*
 * api/patched: the settings in force changed by a merge patch (RFC 7396), in which a list may stand
 * as what is to be added, removed and read from a file, so that a change of one entry in a million
 * sends one entry, and goes with all else in one revision.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"

/* One list's change in the making. */
struct list_edit {
    enum policy_which which;
    const char *name;    /* "deny" */
    char pointer[64];    /* of its object in the patch */
    const json_t *asked; /* that object */
    struct policy_import import;
    struct settings_list *add, *remove, *list; /* references */
    json_t *report;
    json_t *errors; /* at most one kind of them is collected */
};

static void add_error(struct list_edit *e, const char *member, const char *detail)
{
    json_t *error = json_object();
    char pointer[160];

    snprintf(pointer, sizeof pointer, "%s%s%.60s", e->pointer, *member ? "/" : "", member);
    api_json_set(&error, "pointer", json_string(pointer));
    api_json_set(&error, "detail", json_string(detail));
    api_json_add(&e->errors, error);
}

/* A document that comes in may bring a password. */
static void wipe(char *text)
{
    if (text)
        explicit_bzero(text, strlen(text));
    free(text);
}

static enum pt_err read_entries(struct list_edit *e, const char *key, struct settings_list **out)
{
    json_t *array = json_object_get(e->asked, key);
    struct settings_errors errors;
    char pointer[80];
    enum pt_err err;

    if (!array)
        return PT_ERR_OK;
    snprintf(pointer, sizeof pointer, "%s/%s", e->pointer, key);
    settings_errors_init(&errors);
    err = settings_parse_entries(array, str_of(pointer), out, &errors);
    if (err == PT_ERR_INVALID) {
        json_decref(e->errors);
        e->errors = api_problems_json(errors.errors, errors.error_count);
    }
    settings_errors_done(&errors);
    return err;
}

/* ---- a file ---- */

static void refuse_lines(struct list_edit *e)
{
    struct policy_remark r;
    char member[32], detail[160];

    for (uint32_t i = 0; policy_import_error(&e->import, i, &r); i++) {
        snprintf(member, sizeof member, "file/text/%u", r.line - 1);
        snprintf(detail, sizeof detail, "line %u: %s", r.line, r.reason);
        add_error(e, member, detail);
    }
}

static enum pt_err read_file(struct list_edit *e, const struct policy_snapshot *snap)
{
    const json_t *file = json_object_get(e->asked, "file"), *text = json_object_get(file, "text");
    const char *key;
    json_t *value;
    enum pt_err err;

    if (!file)
        return PT_ERR_OK;
    if (!json_is_string(text))
        add_error(e, "file", "must be an object with the text of a file as \"text\"");
    json_object_foreach((json_t *)file, key, value)
    {
        if (strcmp(key, "text") != 0 &&
            !((strcmp(key, "replace") == 0 || strcmp(key, "valid_only") == 0) &&
              json_is_boolean(value)))
            add_error(e, "file", "has \"text\", and as true or false \"replace\", \"valid_only\"");
    }
    if (json_array_size(e->errors) > 0)
        return PT_ERR_INVALID;
    err = policy_import(
        snap, e->which, (struct str){ json_string_value(text), json_string_length(text) },
        json_is_true(json_object_get(file, "replace")),
        json_is_true(json_object_get(file, "valid_only")), clock_wall_us(), &e->import);
    if (err || e->import.list)
        return err;
    refuse_lines(e);
    return PT_ERR_INVALID;
}

/* ---- adding and removing ---- */

static void refuse_missing(struct list_edit *e, const struct policy_edit *edit)
{
    char member[32], text[SETTINGS_ENTRY_SIZE], detail[SETTINGS_ENTRY_SIZE + 40];

    for (uint32_t i = 0; i < PT_MIN(edit->missing_count, POLICY_EDIT_MISSING_MAX); i++) {
        snprintf(member, sizeof member, "remove/%u", edit->missing[i]);
        settings_entry_format(&edit->remove->entries[edit->missing[i]], text);
        snprintf(detail, sizeof detail, "%s is no entry of the %s list", text, e->name);
        add_error(e, member, detail);
    }
}

static void report(struct list_edit *e, const struct policy_edit *edit)
{
    const struct policy_import_counts *file = &e->import.counts;

    e->report = json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "added",
                          (json_int_t)file->added + edit->added, "duplicate",
                          (json_int_t)file->duplicate + edit->unchanged, "updated",
                          (json_int_t)edit->updated, "removed", (json_int_t)edit->removed,
                          "normalised", (json_int_t)file->normalised, "skipped",
                          (json_int_t)file->errors, "total", (json_int_t)edit->list->count);
}

static enum pt_err edit_list(struct list_edit *e, const struct policy_snapshot *snap)
{
    struct policy_edit *edit = calloc(1, sizeof *edit);
    enum pt_err err;

    if (!edit)
        return PT_ERR_NOMEM;
    edit->base = e->import.list;
    edit->add = e->add;
    edit->remove = e->remove;
    edit->now_us = clock_wall_us();
    err = policy_edit(snap, e->which, edit);
    if (!err && edit->missing_count) {
        refuse_missing(e, edit);
        err = PT_ERR_INVALID;
    }
    if (!err) {
        report(e, edit);
        e->list = edit->list;
    }
    free(edit);
    return err;
}

static enum pt_err check_members(struct list_edit *e)
{
    const char *key;
    json_t *ignored;

    json_object_foreach((json_t *)e->asked, key, ignored)
    {
        if (strcmp(key, "add") != 0 && strcmp(key, "remove") != 0 && strcmp(key, "file") != 0)
            add_error(e, key, "unknown key; \"add\", \"remove\" and \"file\" are possible");
    }
    return json_array_size(e->errors) > 0 ? PT_ERR_INVALID : PT_ERR_OK;
}

static enum pt_err run(struct list_edit *e, const struct policy_snapshot *snap)
{
    enum pt_err err = check_members(e);

    if (!err)
        err = read_file(e, snap);
    if (!err)
        err = read_entries(e, "add", &e->add);
    if (!err)
        err = read_entries(e, "remove", &e->remove);
    return err ? err : edit_list(e, snap);
}

/* ---- the patch ---- */

static void tell_first(const json_t *errors, char *out, size_t size)
{
    const json_t *first = json_array_get(errors, 0);
    const char *pointer = json_string_value(json_object_get(first, "pointer"));
    const char *detail = json_string_value(json_object_get(first, "detail"));

    snprintf(out, size, "%s: %s", pointer ? pointer : "", detail ? detail : "");
}

/* Takes a list's change out of `control` and carries it out. False: answered. */
static bool take_list(struct http_exchange *x, const struct policy_snapshot *snap,
                      enum policy_which which, json_t *control, struct api_patched *out)
{
    bool deny = which == POLICY_WHICH_DENY;
    const char *key = deny ? "deny_list" : "permit_list";
    struct list_edit e = { .which = which, .name = deny ? "deny" : "permit" };
    json_t *asked = json_object_get(control, key);
    enum pt_err err;

    if (!json_is_object(asked))
        return true;
    snprintf(e.pointer, sizeof e.pointer, "/connections/control/%s", key);
    e.asked = asked;
    e.errors = json_array();
    err = run(&e, snap);
    if (!err) {
        *(deny ? &out->deny_list : &out->permit_list) = e.list;
        if (!out->lists)
            out->lists = json_object();
        api_json_set(&out->lists, e.name, e.report);
        json_object_del(control, key);
    } else if (err == PT_ERR_INVALID && e.errors) {
        tell_first(e.errors, out->why, sizeof out->why);
        http_problem_errors(x, 422, "The change of a list cannot be carried out.",
                            json_incref(e.errors));
    } else {
        api_problem(x, err, NULL);
    }
    json_decref(e.errors);
    settings_list_unref(e.add);
    settings_list_unref(e.remove);
    policy_import_done(&e.import);
    return err == PT_ERR_OK;
}

/* *out_rest is the patch without the changes of lists, on the heap, or NULL where it has none. What
 * is no JSON stays as it is: the merge says what is wrong. False: answered. */
static bool take_lists(struct http_exchange *x, const struct policy_snapshot *snap,
                       struct str patch, struct api_patched *out, char **out_rest)
{
    json_t *v = json_loadb(patch.p, patch.n, JSON_REJECT_DUPLICATES, NULL);
    json_t *control = json_object_get(json_object_get(v, "connections"), "control");
    bool good = take_list(x, snap, POLICY_WHICH_DENY, control, out) &&
                take_list(x, snap, POLICY_WHICH_PERMIT, control, out);

    if (good && out->lists) {
        *out_rest = json_dumps(v, JSON_COMPACT);
        if (!*out_rest)
            api_problem(x, PT_ERR_NOMEM, NULL);
        good = *out_rest != NULL;
    }
    json_decref(v);
    return good;
}

static bool may_change_lists(struct str patch)
{
    static const char *const members[] = { "\"add\"", "\"remove\"", "\"file\"" };

    for (size_t i = 0; i < PT_ARRAY_LEN(members); i++)
        if (patch.n > 0 && memmem(patch.p, patch.n, members[i], strlen(members[i])))
            return true;
    return false;
}

static bool merge(struct http_exchange *x, const struct policy_snapshot *snap, struct str patch,
                  struct api_patched *out)
{
    struct settings_errors errors;
    char *base = settings_document_to_store(policy_snapshot_settings(snap));
    enum pt_err err = PT_ERR_NOMEM;

    settings_errors_init(&errors);
    if (base)
        err = settings_merge_patch(str_of(base), patch, &out->document, &errors);
    if (errors.error_count)
        snprintf(out->why, sizeof out->why, "%s", errors.errors[0].detail);
    if (err == PT_ERR_INVALID && errors.error_count)
        api_answer_refused(x, &errors);
    else if (err)
        api_problem(x, err, NULL);
    settings_errors_done(&errors);
    free(base);
    return err == PT_ERR_OK;
}

bool api_settings_patched(struct http_exchange *x, const struct policy_snapshot *snap,
                          struct str patch, struct api_patched *out)
{
    char *rest = NULL;
    bool good;

    *out = (struct api_patched){ 0 };
    if (may_change_lists(patch) && !take_lists(x, snap, patch, out, &rest))
        return false;
    if (rest)
        patch = str_of(rest);
    good = merge(x, snap, patch, out);
    wipe(rest);
    return good;
}

void api_patched_done(struct api_patched *p)
{
    wipe(p->document);
    settings_list_unref(p->deny_list);
    settings_list_unref(p->permit_list);
    json_decref(p->lists);
}
