/*
 * Revisions in SQLite, STATE/settings.db.
 *
 *     documents  id, size, crc, body    what a revision says; a rollback shares its body
 *     revisions  number, document, time_us, author, comment, restored_from
 *     lists, list_chunks   what documents name: see store_sqlite_lists.c
 *     pending    the revision that waits to be confirmed: see store_pending.c
 *
 * SQLite does not notice a flipped bit inside a text: `crc` is the CRC-32C of the body.
 *
 * Writers take the write lock before they look at the newest
 * revision (BEGIN IMMEDIATE), so the expected revision is compared and replaced as one step.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "settings/store_sqlite.h"

enum { AUTHOR_MAX = 256, COMMENT_MAX = 4096 };

#define BIND_FAILURE "a failed bind leaves NULL, which the table refuses"

void settings_store_bind_text(sqlite3_stmt *st, int index, struct str text, size_t max)
{
    if (text.n > max)
        for (text.n = max; !str_is_utf8(text);) /* not in the middle of a character */
            text.n--;
    PT_IGNORE(
        sqlite3_bind_text64(st, index, text.n ? text.p : "", text.n, SQLITE_STATIC, SQLITE_UTF8),
        BIND_FAILURE);
}

/* ---- writing ---- */

static int head_of(struct settings_store *s, uint64_t *out)
{
    int64_t number = 0;
    int code = settings_store_number(s, "SELECT max(number) FROM revisions", &number);

    *out = (uint64_t)number;
    return code;
}

/* Runs a prepared insert to its end. */
static int insert(struct settings_store *s, sqlite3_stmt *st, int64_t *out_id)
{
    int code = settings_store_finish(st);

    if (code == SQLITE_OK)
        *out_id = sqlite3_last_insert_rowid(s->db);
    return code;
}

static int insert_document(struct settings_store *s, struct str body, int64_t *out_id)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(
        s->db, "INSERT INTO documents (size, crc, body) VALUES (?1, ?2, ?3)", -1, &st, NULL);

    if (code != SQLITE_OK)
        return code;
    PT_IGNORE(sqlite3_bind_int64(st, 1, (int64_t)body.n), BIND_FAILURE);
    PT_IGNORE(sqlite3_bind_int64(st, 2, crc32c(0, body.p, body.n)), BIND_FAILURE);
    settings_store_bind_text(st, 3, body, SIZE_MAX);
    return insert(s, st, out_id);
}

static int insert_revision(struct settings_store *s, const struct settings_commit *c,
                           int64_t document, uint64_t restored_from, int64_t *out_number)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db,
                                  "INSERT INTO revisions"
                                  " (document, time_us, author, comment, restored_from)"
                                  " VALUES (?1, ?2, ?3, ?4, ?5)",
                                  -1, &st, NULL);

    if (code != SQLITE_OK)
        return code;
    PT_IGNORE(sqlite3_bind_int64(st, 1, document), BIND_FAILURE);
    PT_IGNORE(sqlite3_bind_int64(st, 2, c->time_us), BIND_FAILURE);
    settings_store_bind_text(st, 3, c->author, AUTHOR_MAX);
    settings_store_bind_text(st, 4, c->comment, COMMENT_MAX);
    PT_IGNORE(sqlite3_bind_int64(st, 5, (int64_t)restored_from), BIND_FAILURE);
    return insert(s, st, out_number);
}

static int insert_audit(struct settings_store *s, const struct settings_commit *c, int64_t number)
{
    int64_t id;

    if (!c->audit)
        return SQLITE_OK;
    return settings_audit_insert(s, c->audit, SETTINGS_AUDIT_DONE, (uint64_t)number, &id);
}

enum pt_err settings_store_begin(struct settings_store *s, uint64_t expected,
                                 struct pt_fault *fault)
{
    enum pt_err err = settings_store_follow(s, fault);
    uint64_t head = 0;
    int code;

    if (err != PT_ERR_OK)
        return err;
    code = settings_store_execute(s, "BEGIN IMMEDIATE");
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "saving", fault);
    code = head_of(s, &head);
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "saving", fault);
    if (expected != SETTINGS_REVISION_ANY && expected != head)
        return pt_fault_set(fault, PT_ERR_CONFLICT,
                            "the settings were changed meanwhile: revision %llu is in force, not "
                            "%llu",
                            (unsigned long long)head, (unsigned long long)expected);
    return PT_ERR_OK;
}

enum pt_err settings_store_end(struct settings_store *s, int code, struct pt_fault *fault)
{
    if (code == SQLITE_OK)
        code = settings_store_execute(s, "COMMIT");
    return code == SQLITE_OK ? PT_ERR_OK : settings_store_fault(s, code, "saving", fault);
}

/* After an error of any kind: nothing has happened. */
enum pt_err settings_store_undo(struct settings_store *s, enum pt_err err)
{
    if (err != PT_ERR_OK && s->db && !sqlite3_get_autocommit(s->db))
        PT_IGNORE(settings_store_execute(s, "ROLLBACK"), "the error is told already");
    return err;
}

enum pt_err settings_store_commit(struct settings_store *s, const struct settings_commit *c,
                                  uint64_t *out_revision, struct pt_fault *fault)
{
    int64_t document = 0, number = 0;
    uint64_t before = 0;
    enum pt_err err;
    int code;

    if (c->author.n == 0 || !str_is_utf8(c->author) || !str_is_utf8(c->comment) ||
        !str_is_utf8(c->document))
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "a revision needs an author, and its texts are UTF-8");
    err = settings_store_begin(s, c->expected, fault);
    if (err == PT_ERR_OK) {
        code = head_of(s, &before);
        for (int i = 0; i < SETTINGS_LISTS && code == SQLITE_OK; i++)
            if (c->lists[i] && c->lists[i]->count > SETTINGS_LIST_INLINE_MAX)
                code = settings_store_insert_list(s, c->lists[i]);
        if (code == SQLITE_OK)
            code = insert_document(s, c->document, &document);
        if (code == SQLITE_OK)
            code = insert_revision(s, c, document, 0, &number);
        if (code == SQLITE_OK)
            code = insert_audit(s, c, number);
        if (code == SQLITE_OK)
            code = settings_store_set_pending(s, (uint64_t)number, before, c->confirm_by_us);
        err = settings_store_end(s, code, fault);
    }
    if (err == PT_ERR_OK)
        *out_revision = (uint64_t)number;
    return settings_store_undo(s, err);
}

static enum pt_err document_of(struct settings_store *s, uint64_t number, int64_t *out_document,
                               struct pt_fault *fault)
{
    char sql[96];
    int code;

    snprintf(sql, sizeof sql, "SELECT document FROM revisions WHERE number=%lld",
             (long long)number);
    code = settings_store_number(s, sql, out_document);
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "reading", fault);
    if (*out_document == 0)
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no revision %llu",
                            (unsigned long long)number);
    return PT_ERR_OK;
}

enum pt_err settings_store_rollback(struct settings_store *s, uint64_t number,
                                    const struct settings_commit *c, uint64_t *out_revision,
                                    struct pt_fault *fault)
{
    struct settings_commit copy = *c;
    int64_t document = 0, made = 0;
    uint64_t before = 0;
    char comment[64];
    enum pt_err err;

    snprintf(comment, sizeof comment, "rollback to revision %llu", (unsigned long long)number);
    if (copy.comment.n == 0)
        copy.comment = str_of(comment);
    if (copy.author.n == 0 || !str_is_utf8(copy.author) || !str_is_utf8(copy.comment))
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "a revision needs an author, and its texts are UTF-8");
    err = settings_store_begin(s, copy.expected, fault);
    if (err == PT_ERR_OK)
        err = document_of(s, number, &document, fault);
    if (err == PT_ERR_OK) {
        int code = head_of(s, &before);

        if (code == SQLITE_OK)
            code = insert_revision(s, &copy, document, number, &made);

        if (code == SQLITE_OK)
            code = insert_audit(s, &copy, made);
        if (code == SQLITE_OK)
            code = settings_store_set_pending(s, (uint64_t)made, before, copy.confirm_by_us);
        err = settings_store_end(s, code, fault);
    }
    if (err == PT_ERR_OK)
        *out_revision = (uint64_t)made;
    return settings_store_undo(s, err);
}

/* ---- reading ---- */

#define COLUMNS "r.number, r.time_us, r.restored_from, r.author, r.comment, d.size"

static char *column_text(sqlite3_stmt *st, int column)
{
    const void *text = sqlite3_column_blob(st, column);
    int n = sqlite3_column_bytes(st, column);

    return str_dup((struct str){ text ? text : "", (size_t)n });
}

/* The columns above; `body`: two more are its CRC and the document. */
static enum pt_err read_row(struct settings_store *s, sqlite3_stmt *st, bool body,
                            struct settings_revision *out, struct pt_fault *fault)
{
    struct settings_revision r = {
        .number = (uint64_t)sqlite3_column_int64(st, 0),
        .time_us = sqlite3_column_int64(st, 1),
        .restored_from = (uint64_t)sqlite3_column_int64(st, 2),
        .author = column_text(st, 3),
        .comment = column_text(st, 4),
        .size = (uint64_t)sqlite3_column_int64(st, 5),
        .document = body ? column_text(st, 7) : NULL,
    };
    enum pt_err err = PT_ERR_OK;

    if (!r.author || !r.comment || (body && !r.document))
        err = pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    else if (body &&
             crc32c(0, r.document, strlen(r.document)) != (uint32_t)sqlite3_column_int64(st, 6))
        err = pt_fault_set(fault, PT_ERR_CORRUPT,
                           "%s is damaged: revision %llu is not what was saved; go back to another "
                           "one with \"settings rollback\"",
                           s->path, (unsigned long long)r.number);
    if (err == PT_ERR_OK)
        *out = r;
    else
        settings_revision_done(&r);
    return err;
}

void settings_revision_done(struct settings_revision *r)
{
    free(r->author);
    free(r->comment);
    free(r->document);
    *r = (struct settings_revision){ 0 };
}

enum pt_err settings_store_head(struct settings_store *s, uint64_t *out_revision,
                                struct pt_fault *fault)
{
    uint64_t head = 0;
    enum pt_err err = settings_store_follow(s, fault);
    int code = err == PT_ERR_OK ? head_of(s, &head) : SQLITE_OK;

    if (err != PT_ERR_OK)
        return err;
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "reading", fault);
    *out_revision = head;
    return PT_ERR_OK;
}

/* The newest of the revisions from `first` to `last`. */
static enum pt_err read_newest(struct settings_store *s, int64_t first, int64_t last,
                               struct settings_revision *out, struct pt_fault *fault)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db,
                                  "SELECT " COLUMNS ", d.crc, d.body"
                                  " FROM revisions r JOIN documents d ON d.id = r.document"
                                  " WHERE r.number BETWEEN ?1 AND ?2"
                                  " ORDER BY r.number DESC LIMIT 1",
                                  -1, &st, NULL);
    enum pt_err err;

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(st, 1, first);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(st, 2, last);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        err = read_row(s, st, true, out, fault);
    else if (code == SQLITE_DONE)
        err = pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: there is no such revision", s->path);
    else
        err = settings_store_fault(s, code, "reading", fault);
    sqlite3_finalize(st);
    return err;
}

enum pt_err settings_store_current(struct settings_store *s, struct settings_revision *out,
                                   struct pt_fault *fault)
{
    enum pt_err err = read_newest(s, 1, INT64_MAX, out, fault);

    if (err == PT_ERR_NOTFOUND)
        return pt_fault_set(fault, err, "%s: there are no settings yet", s->path);
    return err;
}

enum pt_err settings_store_get(struct settings_store *s, uint64_t number,
                               struct settings_revision *out, struct pt_fault *fault)
{
    enum pt_err err = PT_ERR_NOTFOUND;

    if (number > 0 && number <= INT64_MAX)
        err = read_newest(s, (int64_t)number, (int64_t)number, out, fault);
    if (err == PT_ERR_NOTFOUND)
        return pt_fault_set(fault, err, "there is no revision %llu", (unsigned long long)number);
    return err;
}

static enum pt_err read_page(struct settings_store *s, sqlite3_stmt *st, uint32_t max,
                             struct settings_revision *out, uint32_t *out_count,
                             struct pt_fault *fault)
{
    enum pt_err err = PT_ERR_OK;
    uint32_t count = 0;
    int code = SQLITE_DONE;

    while (count < max && (code = sqlite3_step(st)) == SQLITE_ROW) {
        err = read_row(s, st, false, &out[count], fault);
        if (err != PT_ERR_OK)
            break;
        count++;
    }
    if (err == PT_ERR_OK && code != SQLITE_ROW && code != SQLITE_DONE)
        err = settings_store_fault(s, code, "reading", fault);
    for (uint32_t i = 0; err != PT_ERR_OK && i < count; i++)
        settings_revision_done(&out[i]);
    if (err == PT_ERR_OK)
        *out_count = count;
    return err;
}

enum pt_err settings_store_history(struct settings_store *s, uint64_t before, uint32_t max,
                                   struct settings_revision *out, uint32_t *out_count,
                                   struct pt_fault *fault)
{
    sqlite3_stmt *st = NULL;
    int64_t last = before && before <= INT64_MAX ? (int64_t)before : INT64_MAX;
    int code = sqlite3_prepare_v2(s->db,
                                  "SELECT " COLUMNS
                                  " FROM revisions r JOIN documents d ON d.id = r.document"
                                  " WHERE r.number < ?1 ORDER BY r.number DESC",
                                  -1, &st, NULL);
    enum pt_err err;

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(st, 1, last);
    if (code == SQLITE_OK)
        err = read_page(s, st, max, out, out_count, fault);
    else
        err = settings_store_fault(s, code, "reading", fault);
    sqlite3_finalize(st);
    return err;
}
