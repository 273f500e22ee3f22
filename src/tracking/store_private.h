#pragma once
#include <sqlite3.h>

#include "base/str.h"
#include "tracking/store.h"

/* tracking/store_private: what the files of the store share. */

struct tracking_db {
    sqlite3 *db;
    char path[4096];
};

struct tracking_store {
    struct tracking_store_config config;
    struct tracking_db refusals, clients;
    uint64_t clients_kept; /* rows, about */
};

/* Tells what failed and where; returns the error. */
enum pt_err tracking_store_fault(const struct tracking_db *d, int code, const char *doing,
                                 struct pt_fault *fault);

/* All of these return SQLite's code. */
int tracking_store_execute(const struct tracking_db *d, const char *sql);
int tracking_store_number(const struct tracking_db *d, const char *sql, int64_t *out);

/* Binds what is given in order of the arguments, 'n' int64_t, 't' a C string, 'b' a struct str as
 * a blob, and runs the statement, which gives no row. */
int tracking_store_run(const struct tracking_db *d, sqlite3_stmt *st, const char *types, ...);

/* Begins, and ends by committing, or, where `code` is an error, by taking back. */
int tracking_store_begin(const struct tracking_db *d);
int tracking_store_end(const struct tracking_db *d, int code);

/* Octets in use of the file. */
int tracking_store_octets(const struct tracking_db *d, uint64_t *out);

/* A column as a C string, cut. */
void tracking_store_text(sqlite3_stmt *st, int column, char *out, size_t size);

int tracking_store_add_refusals(struct tracking_store *s, const struct tracking_store_batch *b);
int tracking_store_clean_refusals(struct tracking_store *s, int64_t now_us);
int tracking_store_add_clients(struct tracking_store *s, const struct tracking_store_batch *b);
int tracking_store_clean_clients(struct tracking_store *s, int64_t now_us);
