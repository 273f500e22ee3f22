/* New lists made of old ones. */
#include <stdlib.h>

#include "access/list.h"
#include "policy/list_view.h"
#include "policy/snapshot.h"

static const struct policy_table *own_table(const struct policy_snapshot *snap,
                                            enum policy_which which)
{
    return which == POLICY_WHICH_DENY ? snap->deny : snap->permit;
}

static const struct policy_table *other_table(const struct policy_snapshot *snap,
                                              enum policy_which which)
{
    return which == POLICY_WHICH_DENY ? snap->permit : snap->deny;
}

const struct settings_list *policy_which_list(const struct policy_snapshot *snap,
                                              enum policy_which which)
{
    return settings_list_of(snap->settings, (enum settings_list_of)which);
}

/* ---- import ---- */

static void add_item(struct settings_list_builder *b, const struct access_item *item)
{
    settings_list_add(b, &item->prefix, item->masked, item->comment, item->expires_us);
}

/* A table of what the file adds; expired entries of the list that it has too give way to it. */
static struct access_table *added_table(const struct access_list *file)
{
    struct access_row *rows = malloc((file->count ? file->count : 1) * sizeof *rows);
    struct access_table *t = NULL;
    uint32_t n = 0;

    for (uint32_t i = 0; rows && i < file->count; i++)
        if (!file->items[i].duplicate)
            rows[n++] = (struct access_row){ file->items[i].prefix, 0 };
    if (rows)
        t = access_table_new(rows, n);
    free(rows);
    return t;
}

static bool any_expired(const struct settings_list *list, int64_t now_us)
{
    for (uint32_t i = 0; i < list->count; i++)
        if (settings_list_expires_us(list, i) && settings_list_expires_us(list, i) <= now_us)
            return true;
    return false;
}

static bool add_present(struct settings_list_builder *b, const struct settings_list *list,
                        const struct access_list *file, int64_t now_us)
{
    struct access_table *added = NULL;

    if (any_expired(list, now_us)) {
        added = added_table(file);
        if (!added)
            return false;
    }
    for (uint32_t i = 0; i < list->count; i++) {
        int64_t expires_us = settings_list_expires_us(list, i);

        if (!added || !expires_us || expires_us > now_us ||
            access_table_find_prefix(added, &list->entries[i].prefix) == ACCESS_NONE)
            settings_list_add_from(b, list, i);
    }
    access_table_free(added);
    return true;
}

static struct settings_list *imported(const struct settings_list *present,
                                      const struct access_list *file, uint32_t added,
                                      int64_t now_us)
{
    struct settings_list_builder b;
    struct settings_list *list;
    bool ok = true;

    settings_list_begin(&b, (present ? present->count : 0) + added);
    if (present)
        ok = add_present(&b, present, file, now_us);
    for (uint32_t i = 0; ok && i < file->count; i++)
        if (!file->items[i].duplicate)
            add_item(&b, &file->items[i]);
    list = settings_list_end(&b);
    if (ok)
        return list;
    settings_list_unref(list);
    return NULL;
}

enum pt_err policy_import(const struct policy_snapshot *snap, enum policy_which which,
                          struct str file, bool replace, bool valid_only, int64_t now_us,
                          struct policy_import *out)
{
    const struct policy_table *present = replace ? NULL : own_table(snap, which);
    struct policy_import import = { .file = calloc(1, sizeof *import.file) };
    struct access_counts counts;
    enum pt_err err = PT_ERR_NOMEM;

    if (!import.file)
        return err;
    err = access_list_parse(file, import.file);
    if (err == PT_ERR_OK)
        err = access_list_compare(import.file, present ? present->table : NULL,
                                  other_table(snap, which)->table, now_us, &counts);
    if (err == PT_ERR_OK && (valid_only || import.file->error_count == 0)) {
        import.list = imported(present ? present->list : NULL, import.file, counts.added, now_us);
        err = import.list ? PT_ERR_OK : PT_ERR_NOMEM;
    }
    if (err != PT_ERR_OK) {
        policy_import_done(&import);
        return err;
    }
    import.counts = (struct policy_import_counts){
        counts.added,   counts.duplicate,    counts.normalised,
        counts.covered, counts.contradicted, import.file->error_count,
    };
    *out = import;
    return PT_ERR_OK;
}

void policy_import_done(struct policy_import *import)
{
    if (import->file)
        access_list_done(import->file);
    free(import->file);
    settings_list_unref(import->list);
    *import = (struct policy_import){ 0 };
}

bool policy_import_error(const struct policy_import *import, uint32_t at, struct policy_remark *out)
{
    const struct access_error *e;

    if (at >= PT_MIN(import->file->error_count, ACCESS_LIST_ERRORS_MAX))
        return false;
    e = &import->file->errors[at];
    *out = (struct policy_remark){ .line = e->line, .text = e->text, .reason = e->reason };
    return true;
}

bool policy_import_remark(const struct policy_import *import, uint32_t *at,
                          struct policy_remark *out)
{
    for (; *at < import->file->count; ++*at) {
        const struct access_item *item = &import->file->items[*at];
        const struct settings_entry entry = { .prefix = item->prefix };

        if (item->duplicate || !(item->normalised || item->covered || item->contradicted))
            continue;
        *out = (struct policy_remark){ .line = item->line,
                                       .text = item->text,
                                       .normalised = item->normalised,
                                       .covered = item->covered,
                                       .contradicted = item->contradicted };
        settings_entry_format(&entry, out->entry);
        ++*at;
        return true;
    }
    return false;
}

/* ---- adding and removing ---- */

struct editing {
    struct policy_edit *edit;
    const struct policy_table *present;
    struct access_table *add, *remove;
    bool *placed;  /* per added entry: it stands in the new list */
    bool *removed; /* per removed entry: it was found */
    struct settings_list_builder b;
};

static struct access_table *table_of(const struct settings_list *list)
{
    uint32_t count = list ? list->count : 0;
    struct access_row *rows = calloc(count ? count : 1, sizeof *rows);
    struct access_table *t = NULL;

    for (uint32_t i = 0; rows && i < count; i++)
        rows[i].prefix = list->entries[i].prefix;
    if (rows)
        t = access_table_new(rows, count);
    free(rows);
    return t;
}

static bool same_note(const struct settings_list *a, uint32_t i, const struct settings_list *b,
                      uint32_t k)
{
    return settings_list_expires_us(a, i) == settings_list_expires_us(b, k) &&
           str_eq(str_of(settings_list_comment(a, i)), str_of(settings_list_comment(b, k)));
}

/* True if what is added says nothing that the entry in the list does not. */
static bool leaves_alone(const struct editing *e, uint32_t i, uint32_t at)
{
    const struct settings_list *list = e->present->list, *add = e->edit->add;
    int64_t expires_us = settings_list_expires_us(list, i);

    if (!settings_list_comment(add, at) && !settings_list_expires_us(add, at))
        return !expires_us || expires_us > e->edit->now_us;
    return same_note(list, i, add, at);
}

/* What becomes of an entry that is there. */
static void edit_entry(struct editing *e, uint32_t i)
{
    const struct settings_list *list = e->present->list;
    const struct net_prefix *p = &list->entries[i].prefix;
    uint32_t at = access_table_find_prefix(e->remove, p);

    if (at != ACCESS_NONE) {
        e->edit->removed++;
        e->removed[at] = true;
        return;
    }
    at = access_table_find_prefix(e->add, p);
    if (at == ACCESS_NONE) {
        settings_list_add_from(&e->b, list, i);
        return;
    }
    if (e->placed[at])
        return; /* it stood there twice */
    e->placed[at] = true;
    if (leaves_alone(e, i, at)) {
        e->edit->unchanged++;
        settings_list_add_from(&e->b, list, i);
    } else {
        e->edit->updated++;
        settings_list_add_from(&e->b, e->edit->add, at);
    }
}

static void append_entries(struct editing *e, const struct access_table *other)
{
    const struct settings_list *add = e->edit->add;

    for (uint32_t i = 0; add && i < add->count; i++) {
        const struct net_prefix *p = &add->entries[i].prefix;

        if (e->placed[i] || access_table_find_prefix(e->add, p) != i) {
            e->edit->unchanged += !e->placed[i]; /* given twice */
            continue;
        }
        settings_list_add_from(&e->b, add, i);
        e->edit->added++;
        e->edit->covered += access_table_find_cover(e->present->table, p) != ACCESS_NONE ||
                            access_table_find_cover(e->add, p) != ACCESS_NONE;
        e->edit->contradicted += access_table_overlaps(other, p);
    }
}

static void note_missing(struct editing *e)
{
    const struct settings_list *remove = e->edit->remove;

    for (uint32_t i = 0; remove && i < remove->count; i++) {
        uint32_t stands_for = access_table_find_prefix(e->remove, &remove->entries[i].prefix);

        if (e->removed[stands_for])
            continue;
        if (e->edit->missing_count < POLICY_EDIT_MISSING_MAX)
            e->edit->missing[e->edit->missing_count] = i;
        e->edit->missing_count++;
    }
}

static enum pt_err run_edit(struct editing *e, const struct access_table *other)
{
    struct settings_list *list;

    settings_list_begin(&e->b, e->present->list->count + (e->edit->add ? e->edit->add->count : 0));
    for (uint32_t i = 0; i < e->present->list->count; i++)
        edit_entry(e, i);
    append_entries(e, other);
    note_missing(e);
    list = settings_list_end(&e->b);
    if (!list)
        return PT_ERR_NOMEM;
    if (e->edit->missing_count)
        settings_list_unref(list);
    else
        e->edit->list = list;
    return PT_ERR_OK;
}

enum pt_err policy_edit(const struct policy_snapshot *snap, enum policy_which which,
                        struct policy_edit *edit)
{
    struct policy_table base = { .list = edit->base };
    struct editing e = {
        .edit = edit,
        .present = edit->base ? &base : own_table(snap, which),
        .add = table_of(edit->add),
        .remove = table_of(edit->remove),
        .placed = calloc((edit->add ? edit->add->count : 0) + (size_t)1, 1),
        .removed = calloc((edit->remove ? edit->remove->count : 0) + (size_t)1, 1),
    };
    enum pt_err err = PT_ERR_NOMEM;

    if (edit->base)
        base.table = table_of(edit->base);
    if (e.add && e.remove && e.placed && e.removed && e.present->table)
        err = run_edit(&e, other_table(snap, which)->table);
    access_table_free(e.add);
    access_table_free(e.remove);
    access_table_free(base.table);
    free(e.placed);
    free(e.removed);
    return err;
}
