/*
 * A revision that must be confirmed, table `pending` of STATE/settings.db: at most one row, written
 * in the transaction of its revision, so that a crash cannot part them, and gone with the next one.
 */
#include "settings/store_sqlite.h"

#define BIND_FAILURE "a failed bind leaves NULL, which the table refuses"

int settings_store_set_pending(struct settings_store *s, uint64_t revision, uint64_t before,
                               int64_t confirm_by_us)
{
    sqlite3_stmt *st = NULL;
    int code = settings_store_execute(s, "DELETE FROM pending");

    if (code != SQLITE_OK || !confirm_by_us)
        return code;
    code = sqlite3_prepare_v2(s->db,
                              "INSERT INTO pending (revision, before, confirm_by_us)"
                              " VALUES (?1, ?2, ?3)",
                              -1, &st, NULL);
    if (code != SQLITE_OK)
        return code;
    PT_IGNORE(sqlite3_bind_int64(st, 1, (int64_t)revision), BIND_FAILURE);
    PT_IGNORE(sqlite3_bind_int64(st, 2, (int64_t)before), BIND_FAILURE);
    PT_IGNORE(sqlite3_bind_int64(st, 3, confirm_by_us), BIND_FAILURE);
    return settings_store_finish(st);
}

static int read_row(struct settings_store *s, struct settings_pending *out)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db,
                                  "SELECT revision, before, confirm_by_us FROM pending"
                                  " WHERE revision = (SELECT max(number) FROM revisions)",
                                  -1, &st, NULL);

    *out = (struct settings_pending){ 0 };
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW)
        *out = (struct settings_pending){ (uint64_t)sqlite3_column_int64(st, 0),
                                          (uint64_t)sqlite3_column_int64(st, 1),
                                          sqlite3_column_int64(st, 2) };
    sqlite3_finalize(st);
    return code == SQLITE_ROW || code == SQLITE_DONE ? SQLITE_OK : code;
}

enum pt_err settings_store_pending(struct settings_store *s, struct settings_pending *out,
                                   struct pt_fault *fault)
{
    enum pt_err err = settings_store_follow(s, fault);
    int code;

    *out = (struct settings_pending){ 0 };
    if (err != PT_ERR_OK)
        return err;
    code = read_row(s, out);
    return code == SQLITE_OK ? PT_ERR_OK : settings_store_fault(s, code, "reading", fault);
}

enum pt_err settings_store_confirm(struct settings_store *s, uint64_t revision,
                                   const struct settings_audit *audit, struct pt_fault *fault)
{
    struct settings_pending p;
    enum pt_err err = settings_store_begin(s, SETTINGS_REVISION_ANY, fault);
    int64_t id;

    if (err == PT_ERR_OK) {
        int code = read_row(s, &p);

        if (code == SQLITE_OK && (p.revision == 0 || p.revision != revision))
            return settings_store_undo(s, pt_fault_set(fault, PT_ERR_NOTFOUND,
                                                       "revision %llu does not wait to be "
                                                       "confirmed",
                                                       (unsigned long long)revision));
        if (code == SQLITE_OK)
            code = settings_store_execute(s, "DELETE FROM pending");
        if (code == SQLITE_OK && audit)
            code = settings_audit_insert(s, audit, SETTINGS_AUDIT_DONE, revision, &id);
        err = settings_store_end(s, code, fault);
    }
    return settings_store_undo(s, err);
}
