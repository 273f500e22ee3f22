#pragma once
#include <sqlite3.h>
#include <sys/stat.h>

#include "settings/audit.h"
#include "settings/store.h"

/*
 * settings/store_sqlite: what its files share: store_sqlite_open.c (opening, faults),
 * store_sqlite.c (revisions), store_sqlite_lists.c (long lists) and store_audit.c (the audit log).
 */

enum { SETTINGS_STORE_PATH_SIZE = 4096 };

struct settings_store {
    sqlite3 *db; /* NULL: to be opened by settings_store_follow() */
    char path[SETTINGS_STORE_PATH_SIZE];
    struct stat file; /* that was opened */
    int patience_ms;
    bool writes; /* SETTINGS_STORE_CREATE */
};

/* Tells what failed, where, and what to do about it; returns the error. `doing` is a word. */
enum pt_err settings_store_fault(struct settings_store *s, int code, const char *doing,
                                 struct pt_fault *fault);

/* Within a transaction; nothing when it is there already. SQLite's result code. */
int settings_store_insert_list(struct settings_store *s, const struct settings_list *list);

/* SQLite's result code. */
int settings_store_execute(struct settings_store *s, const char *sql);

/* Runs a statement that gives no rows to its end and frees it; SQLite's result code. */
int settings_store_finish(sqlite3_stmt *st);

/* The first column of the first row, 0 without a row; SQLite's result code. */
int settings_store_number(struct settings_store *s, const char *sql, int64_t *out);

/* A text for a column, cut to at most `max` octets of whole characters. */
void settings_store_bind_text(sqlite3_stmt *st, int index, struct str text, size_t max);

/* Takes the write lock, and sees to it that the database is the one at the path: one that an
 * administrator has moved away takes no more revisions. PT_ERR_CONFLICT as settings_store_commit().
 * Ends with settings_store_end() with SQLite's code of what came between, then, whatever came,
 * settings_store_undo(), which gives the error back. */
PT_NODISCARD enum pt_err settings_store_begin(struct settings_store *s, uint64_t expected,
                                              struct pt_fault *fault);
PT_NODISCARD enum pt_err settings_store_end(struct settings_store *s, int code,
                                            struct pt_fault *fault);
enum pt_err settings_store_undo(struct settings_store *s, enum pt_err err);

/* Opens anew where the path leads to another file, or to none. */
PT_NODISCARD enum pt_err settings_store_follow(struct settings_store *s, struct pt_fault *fault);

/* Within the transaction of a revision: it waits to be confirmed, or (0) none does any more.
 * SQLite's result code. */
PT_NODISCARD int settings_store_set_pending(struct settings_store *s, uint64_t revision,
                                            uint64_t before, int64_t confirm_by_us);

/* Within a transaction; SQLite's result code. */
PT_NODISCARD int settings_audit_insert(struct settings_store *s, const struct settings_audit *a,
                                       enum settings_audit_outcome outcome, uint64_t revision,
                                       int64_t *out_id);
