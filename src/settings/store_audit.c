/*
 * The audit log in SQLite, table `audit` of STATE/settings.db.
 *
 * Rows are numbered without reuse, so a gap at the old end tells how many were let go. There is no
 * index but the number: a hundred thousand rows are looked through in a few hundredths of a second,
 * and each index would cost every row a page.
 */
#include "settings/audit.h"
#include "settings/store_sqlite.h"

#define BIND_FAILURE "a failed bind leaves NULL, which the table refuses"

const char *settings_audit_outcome_name(enum settings_audit_outcome outcome)
{
    switch (outcome) {
    case SETTINGS_AUDIT_BEGUN:
        return "begun";
    case SETTINGS_AUDIT_DONE:
        return "done";
    case SETTINGS_AUDIT_REFUSED:
        return "refused";
    case SETTINGS_AUDIT_FAILED:
        break;
    }
    return "failed";
}

/* ---- writing ---- */

static int drop_oldest(struct settings_store *s, int64_t newest)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, "DELETE FROM audit WHERE id<=?1", -1, &st, NULL);

    if (code != SQLITE_OK)
        return code;
    PT_IGNORE(sqlite3_bind_int64(st, 1, newest - (int64_t)SETTINGS_AUDIT_ROWS_MAX), BIND_FAILURE);
    return settings_store_finish(st);
}

int settings_audit_insert(struct settings_store *s, const struct settings_audit *a,
                          enum settings_audit_outcome outcome, uint64_t revision, int64_t *out_id)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db,
                                  "INSERT INTO audit (time_us, actor, uid, origin, action, target,"
                                  " outcome, detail, changes, revision)"
                                  " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
                                  -1, &st, NULL);

    if (code != SQLITE_OK)
        return code;
    PT_IGNORE(sqlite3_bind_int64(st, 1, a->time_us), BIND_FAILURE);
    settings_store_bind_text(st, 2, a->actor, SETTINGS_AUDIT_ACTOR_MAX);
    PT_IGNORE(sqlite3_bind_int64(st, 3, a->uid), BIND_FAILURE);
    settings_store_bind_text(st, 4, a->origin, SETTINGS_AUDIT_ORIGIN_MAX);
    settings_store_bind_text(st, 5, str_of(a->action), SETTINGS_AUDIT_ACTOR_MAX);
    settings_store_bind_text(st, 6, a->target, SETTINGS_AUDIT_TARGET_MAX);
    PT_IGNORE(sqlite3_bind_int64(st, 7, outcome), BIND_FAILURE);
    settings_store_bind_text(st, 8, a->detail, SETTINGS_AUDIT_DETAIL_MAX);
    /* Cut JSON would be none: the writer of settings/changes keeps below the maximum. */
    settings_store_bind_text(st, 9,
                             a->changes.n <= SETTINGS_AUDIT_CHANGES_MAX ? a->changes : STR(""),
                             SETTINGS_AUDIT_CHANGES_MAX);
    PT_IGNORE(sqlite3_bind_int64(st, 10, (int64_t)revision), BIND_FAILURE);
    code = settings_store_finish(st);
    if (code != SQLITE_OK)
        return code;
    *out_id = sqlite3_last_insert_rowid(s->db);
    return drop_oldest(s, *out_id);
}

static bool well_formed(const struct settings_audit *a)
{
    return a->actor.n > 0 && str_is_utf8(a->actor) && str_is_utf8(a->origin) &&
           str_is_utf8(a->target) && str_is_utf8(a->detail) && str_is_utf8(a->changes);
}

enum pt_err settings_audit_add(struct settings_store *s, const struct settings_audit *a,
                               uint64_t *out_id, struct pt_fault *fault)
{
    int64_t id = 0;
    enum pt_err err;

    if (!well_formed(a))
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "an audit row needs an actor, and its texts are UTF-8");
    err = settings_store_begin(s, SETTINGS_REVISION_ANY, fault);
    if (err == PT_ERR_OK)
        err =
            settings_store_end(s, settings_audit_insert(s, a, a->outcome, a->revision, &id), fault);
    if (err == PT_ERR_OK)
        *out_id = (uint64_t)id;
    return settings_store_undo(s, err);
}

static int update(struct settings_store *s, uint64_t id, enum settings_audit_outcome outcome,
                  struct str detail)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, "UPDATE audit SET outcome=?2, detail=?3 WHERE id=?1", -1,
                                  &st, NULL);

    if (code != SQLITE_OK)
        return code;
    PT_IGNORE(sqlite3_bind_int64(st, 1, (int64_t)id), BIND_FAILURE);
    PT_IGNORE(sqlite3_bind_int64(st, 2, outcome), BIND_FAILURE);
    settings_store_bind_text(st, 3, detail, SETTINGS_AUDIT_DETAIL_MAX);
    return settings_store_finish(st);
}

enum pt_err settings_audit_end(struct settings_store *s, uint64_t id,
                               enum settings_audit_outcome outcome, struct str detail,
                               struct pt_fault *fault)
{
    enum pt_err err;

    if (!str_is_utf8(detail))
        return pt_fault_set(fault, PT_ERR_INVALID, "the texts of an audit row are UTF-8");
    err = settings_store_begin(s, SETTINGS_REVISION_ANY, fault);
    if (err == PT_ERR_OK)
        err = settings_store_end(s, update(s, id, outcome, detail), fault);
    return settings_store_undo(s, err);
}

/* ---- reading ---- */

#define MATCHES                                                                                    \
    " WHERE time_us>=?1 AND (?2=0 OR time_us<?2) AND (?3='' OR actor=?3)"                          \
    " AND (?4='' OR action=?4 OR substr(action,1,length(?4)+1)=?4||'.')"

static void bind_filter(sqlite3_stmt *st, const struct settings_audit_filter *f)
{
    PT_IGNORE(sqlite3_bind_int64(st, 1, f->since_us), BIND_FAILURE);
    PT_IGNORE(sqlite3_bind_int64(st, 2, f->until_us), BIND_FAILURE);
    settings_store_bind_text(st, 3, f->actor, SETTINGS_AUDIT_ACTOR_MAX);
    settings_store_bind_text(st, 4, f->action, SETTINGS_AUDIT_ACTOR_MAX);
}

static struct str text_at(sqlite3_stmt *st, int column)
{
    const char *text = sqlite3_column_blob(st, column);

    return (struct str){ text ? text : "", (size_t)sqlite3_column_bytes(st, column) };
}

static void show_row(sqlite3_stmt *st, settings_audit_fn *show, void *user)
{
    const char *action = (const char *)sqlite3_column_text(st, 5);
    struct settings_audit a = {
        .time_us = sqlite3_column_int64(st, 1),
        .actor = text_at(st, 2),
        .uid = (uint32_t)sqlite3_column_int64(st, 3),
        .origin = text_at(st, 4),
        .action = action ? action : "",
        .target = text_at(st, 6),
        .outcome = (enum settings_audit_outcome)sqlite3_column_int(st, 7),
        .detail = text_at(st, 8),
        .changes = text_at(st, 9),
        .revision = (uint64_t)sqlite3_column_int64(st, 10),
    };

    show(user, (uint64_t)sqlite3_column_int64(st, 0), &a);
}

static int count(struct settings_store *s, const struct settings_audit_filter *f,
                 uint64_t *out_total)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, "SELECT count(*) FROM audit" MATCHES, -1, &st, NULL);

    if (code == SQLITE_OK) {
        bind_filter(st, f);
        code = sqlite3_step(st);
        *out_total = code == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(st, 0) : 0;
        code = code == SQLITE_ROW ? SQLITE_OK : code;
    }
    sqlite3_finalize(st);
    return code;
}

static int read_rows(struct settings_store *s, const struct settings_audit_filter *f,
                     settings_audit_fn *show, void *user, bool *out_more)
{
    sqlite3_stmt *st = NULL;
    uint32_t shown = 0;
    int code = sqlite3_prepare_v2(s->db,
                                  "SELECT id, time_us, actor, uid, origin, action, target,"
                                  " outcome, detail, changes, revision FROM audit" MATCHES
                                  " AND id<?5 ORDER BY id DESC",
                                  -1, &st, NULL);

    if (code == SQLITE_OK) {
        bind_filter(st, f);
        PT_IGNORE(sqlite3_bind_int64(
                      st, 5, f->before && f->before <= INT64_MAX ? (int64_t)f->before : INT64_MAX),
                  BIND_FAILURE);
        while ((code = sqlite3_step(st)) == SQLITE_ROW && shown < f->limit) {
            show_row(st, show, user);
            shown++;
        }
        *out_more = code == SQLITE_ROW;
    }
    sqlite3_finalize(st);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

enum pt_err settings_audit_list(struct settings_store *s, const struct settings_audit_filter *f,
                                settings_audit_fn *show, void *user, uint64_t *out_total,
                                bool *out_more, struct pt_fault *fault)
{
    int code = count(s, f, out_total);

    if (code == SQLITE_OK)
        code = read_rows(s, f, show, user, out_more);
    return code == SQLITE_OK ? PT_ERR_OK : settings_store_fault(s, code, "reading", fault);
}
