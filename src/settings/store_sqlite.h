#pragma once
#include <sqlite3.h>

#include "settings/store.h"

/*
 * settings/store_sqlite: what its two files share: store_sqlite_open.c (opening, faults) and
 * store_sqlite.c (revisions).
 */

enum { SETTINGS_STORE_PATH_SIZE = 4096 };

struct settings_store {
    sqlite3 *db;
    char path[SETTINGS_STORE_PATH_SIZE];
};

/* Tells what failed, where, and what to do about it; returns the error. `doing` is a word. */
enum pt_err settings_store_fault(struct settings_store *s, int code, const char *doing,
                                 struct pt_fault *fault);

/* SQLite's result code. */
int settings_store_execute(struct settings_store *s, const char *sql);

/* The first column of the first row, 0 without a row; SQLite's result code. */
int settings_store_number(struct settings_store *s, const char *sql, int64_t *out);
