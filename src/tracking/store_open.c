/*
 * Opening the databases of STATE/tracking, and what their statements share.
 *
 * WAL with synchronous=NORMAL: readers never wait, and a batch costs no sync; nothing here is worth
 * one but the reservation of numbers. The log grows to 32 MiB before it is worked in: clients come
 * in no order, and each page that is touched again meanwhile is written once less.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tracking/store_private.h"

enum { APPLICATION_ID = 0x50535454 /* "PSTT" */, VERSION = 1, BUSY_MS = 2000 };

static const char refusals_schema[] =
    "CREATE TABLE refusals (ref INTEGER PRIMARY KEY, time_us INTEGER NOT NULL,"
    " address BLOB NOT NULL, port INTEGER NOT NULL, revision INTEGER NOT NULL,"
    " code INTEGER NOT NULL, tls INTEGER NOT NULL, step TEXT NOT NULL, list TEXT NOT NULL, entry "
    "TEXT NOT NULL,"
    " comment TEXT NOT NULL, command TEXT NOT NULL, reply TEXT NOT NULL, helo TEXT NOT NULL,"
    " sender TEXT NOT NULL, recipient TEXT NOT NULL);"
    "CREATE INDEX refusals_time ON refusals (time_us);"
    "CREATE TABLE spans (number INTEGER PRIMARY KEY, given INTEGER NOT NULL,"
    " lost INTEGER NOT NULL, from_us INTEGER NOT NULL, until_us INTEGER NOT NULL);"
    "CREATE TABLE reserved (number INTEGER NOT NULL);";

static const char clients_schema[] =
    "CREATE TABLE clients (address BLOB PRIMARY KEY, first_us INTEGER NOT NULL,"
    " last_us INTEGER NOT NULL, connections INTEGER NOT NULL, messages INTEGER NOT NULL,"
    " refusals INTEGER NOT NULL, messages_max INTEGER NOT NULL, recipients_max INTEGER NOT NULL,"
    " size_max INTEGER NOT NULL, mail INTEGER NOT NULL, tls INTEGER NOT NULL,"
    " code INTEGER NOT NULL, step TEXT NOT NULL, helo TEXT NOT NULL, senders TEXT NOT NULL,"
    " recipients TEXT NOT NULL) WITHOUT ROWID;";

/* ---- statements ---- */

enum pt_err tracking_store_fault(const struct tracking_db *d, int code, const char *doing,
                                 struct pt_fault *fault)
{
    const char *why = d->db ? sqlite3_errmsg(d->db) : sqlite3_errstr(code);
    enum pt_err err = PT_ERR_IO;

    switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        err = PT_ERR_BUSY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        err = PT_ERR_CORRUPT;
        break;
    case SQLITE_FULL:
        err = PT_ERR_NOSPACE;
        break;
    case SQLITE_NOMEM:
        err = PT_ERR_NOMEM;
        break;
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        err = PT_ERR_DENIED;
        break;
    default:
        break;
    }
    return pt_fault_set(fault, err, "%s: %s: %s", d->path, doing, why);
}

int tracking_store_execute(const struct tracking_db *d, const char *sql)
{
    return sqlite3_exec(d->db, sql, NULL, NULL, NULL);
}

int tracking_store_number(const struct tracking_db *d, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(d->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_step(st);
        *out = code == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
        if (code == SQLITE_ROW || code == SQLITE_DONE)
            code = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return code;
}

int tracking_store_octets(const struct tracking_db *d, uint64_t *out)
{
    int64_t pages = 0, unused = 0, size = 0;
    int code = tracking_store_number(d, "PRAGMA page_count", &pages);

    if (code == SQLITE_OK)
        code = tracking_store_number(d, "PRAGMA freelist_count", &unused);
    if (code == SQLITE_OK)
        code = tracking_store_number(d, "PRAGMA page_size", &size);
    *out = (uint64_t)((pages - unused) * size);
    return code;
}

int tracking_store_run(const struct tracking_db *d, sqlite3_stmt *st, const char *types, ...)
{
    int code = SQLITE_OK;
    va_list args;

    va_start(args, types);
    for (int i = 0; types[i] && code == SQLITE_OK; i++) {
        if (types[i] == 'n') {
            code = sqlite3_bind_int64(st, i + 1, va_arg(args, int64_t));
        } else if (types[i] == 't') {
            code = sqlite3_bind_text(st, i + 1, va_arg(args, const char *), -1, SQLITE_STATIC);
        } else {
            struct str octets = va_arg(args, struct str);

            code = sqlite3_bind_blob(st, i + 1, octets.p, (int)octets.n, SQLITE_STATIC);
        }
    }
    va_end(args);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    sqlite3_reset(st);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int tracking_store_begin(const struct tracking_db *d)
{
    return tracking_store_execute(d, "BEGIN IMMEDIATE");
}

int tracking_store_end(const struct tracking_db *d, int code)
{
    if (code == SQLITE_OK)
        code = tracking_store_execute(d, "COMMIT");
    if (code != SQLITE_OK && !sqlite3_get_autocommit(d->db))
        PT_IGNORE(tracking_store_execute(d, "ROLLBACK"), "the first error is the one to tell");
    return code;
}

void tracking_store_text(sqlite3_stmt *st, int column, char *out, size_t size)
{
    const char *text = sqlite3_column_blob(st, column);
    size_t n = (size_t)sqlite3_column_bytes(st, column);

    n = PT_MIN(n, size - 1);
    if (n)
        memcpy(out, text, n);
    out[n] = 0;
}

/* ---- opening ---- */

static int make_schema(const struct tracking_db *d, const char *schema)
{
    char pragma[80];
    int code = tracking_store_execute(d, "PRAGMA journal_mode=WAL");

    snprintf(pragma, sizeof pragma, "PRAGMA application_id=%d; PRAGMA user_version=%d;",
             (int)APPLICATION_ID, (int)VERSION);
    if (code == SQLITE_OK)
        code = tracking_store_begin(d);
    if (code == SQLITE_OK) {
        code = tracking_store_execute(d, schema);
        if (code == SQLITE_OK)
            code = tracking_store_execute(d, pragma);
        code = tracking_store_end(d, code);
    }
    return code;
}

/* A file of another version holds nothing that is needed: it is treated as damaged. */
static int open_once(struct tracking_db *d, const char *schema, bool writes)
{
    int64_t version = 0, tables = 0;
    int code = sqlite3_open_v2(
        d->path, &d->db,
        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | (writes ? SQLITE_OPEN_CREATE : 0), NULL);

    if (code == SQLITE_OK)
        code = sqlite3_busy_timeout(d->db, BUSY_MS);
    if (code == SQLITE_OK)
        code = tracking_store_execute(d, "PRAGMA synchronous=NORMAL; PRAGMA cell_size_check=ON;"
                                         "PRAGMA cache_size=-16384;"
                                         "PRAGMA wal_autocheckpoint=8192;");
    if (code == SQLITE_OK)
        code = tracking_store_number(d, "PRAGMA user_version", &version);
    if (code == SQLITE_OK)
        code = tracking_store_number(d, "SELECT count(*) FROM sqlite_schema", &tables);
    if (code == SQLITE_OK && version == 0 && tables == 0)
        return writes ? make_schema(d, schema) : SQLITE_EMPTY;
    if (code == SQLITE_OK && version != VERSION)
        code = SQLITE_NOTADB;
    return code;
}

static void close_db(struct tracking_db *d)
{
    PT_IGNORE(sqlite3_close(d->db), "every statement was finalised");
    d->db = NULL;
}

static bool is_damage(int code)
{
    return (code & 0xFF) == SQLITE_CORRUPT || (code & 0xFF) == SQLITE_NOTADB;
}

static void move_aside(const struct tracking_db *d)
{
    static const char *const parts[] = { "-wal", "-shm" };
    char to[sizeof d->path + 16], from[sizeof d->path + 16];

    snprintf(to, sizeof to, "%s.damaged", d->path);
    if (rename(d->path, to) != 0)
        PT_IGNORE(unlink(d->path), "opening it anew tells");
    for (size_t i = 0; i < PT_ARRAY_LEN(parts); i++) {
        snprintf(from, sizeof from, "%s%s", d->path, parts[i]);
        PT_IGNORE(unlink(from), "it may not be there");
    }
}

static enum pt_err open_db(struct tracking_db *d, const struct tracking_store_config *config,
                           const char *name, const char *schema, bool *out_damaged,
                           struct pt_fault *fault)
{
    bool writes = config->mode == TRACKING_STORE_WRITE;
    int n = snprintf(d->path, sizeof d->path, "%s/%s", config->directory, name), code;

    if (n < 0 || (size_t)n >= sizeof d->path - 16)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the path of the state folder is too long");
    if (!writes && access(d->path, F_OK) != 0)
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: nothing is kept yet", d->path);
    code = open_once(d, schema, writes);
    if (writes && is_damage(code)) {
        close_db(d);
        move_aside(d);
        *out_damaged = true;
        code = open_once(d, schema, true);
    }
    if (code == SQLITE_EMPTY)
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: nothing is kept yet", d->path);
    return code == SQLITE_OK ? PT_ERR_OK : tracking_store_fault(d, code, "opening", fault);
}

static enum pt_err make_directory(const struct tracking_store_config *config,
                                  struct pt_fault *fault)
{
    if (config->mode == TRACKING_STORE_READ || mkdir(config->directory, 0750) == 0 ||
        errno == EEXIST)
        return PT_ERR_OK;
    return pt_fault_errno(fault, errno, "cannot make %s", config->directory);
}

enum pt_err tracking_store_open(struct tracking_store **out,
                                const struct tracking_store_config *config, bool *out_damaged,
                                struct pt_fault *fault)
{
    struct tracking_store *s = calloc(1, sizeof *s);
    bool damaged = false;
    int64_t kept = 0;
    enum pt_err err;

    if (!s)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    s->config = *config;
    if (!s->config.refusals_max)
        s->config.refusals_max = TRACKING_REFUSALS_OCTETS;
    if (!s->config.clients_max)
        s->config.clients_max = TRACKING_CLIENTS_MAX;
    err = make_directory(config, fault);
    if (err == PT_ERR_OK)
        err = open_db(&s->refusals, config, "refusals.db", refusals_schema, &damaged, fault);
    if (err == PT_ERR_OK)
        err = open_db(&s->clients, config, "clients.db", clients_schema, &damaged, fault);
    if (err == PT_ERR_OK && config->mode == TRACKING_STORE_WRITE &&
        tracking_store_number(&s->clients, "SELECT count(*) FROM clients", &kept) == SQLITE_OK)
        s->clients_kept = (uint64_t)kept;
    if (out_damaged)
        *out_damaged = damaged;
    if (err == PT_ERR_OK)
        *out = s;
    else
        tracking_store_close(s);
    return err;
}

static void discard(struct tracking_db *d)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(d->db, "PRAGMA quick_check(1)", -1, &st, NULL);
    const unsigned char *verdict = NULL;
    bool sound = false;

    if (code == SQLITE_OK && sqlite3_step(st) == SQLITE_ROW)
        verdict = sqlite3_column_text(st, 0);
    if (verdict)
        sound = strcmp((const char *)verdict, "ok") == 0;
    sqlite3_finalize(st);
    if (sound)
        return;
    close_db(d);
    move_aside(d);
}

void tracking_store_discard(struct tracking_store *s)
{
    discard(&s->refusals);
    discard(&s->clients);
}

void tracking_store_close(struct tracking_store *s)
{
    if (!s)
        return;
    close_db(&s->refusals);
    close_db(&s->clients);
    free(s);
}

/* ---- both of them ---- */

enum pt_err tracking_store_add(struct tracking_store *s, const struct tracking_store_batch *batch,
                               struct pt_fault *fault)
{
    enum pt_err err = PT_ERR_OK;
    int code = tracking_store_add_refusals(s, batch);

    if (code != SQLITE_OK)
        err = tracking_store_fault(&s->refusals, code, "writing", fault);
    code = tracking_store_add_clients(s, batch);
    if (code != SQLITE_OK)
        err = tracking_store_fault(&s->clients, code, "writing", fault);
    return err;
}

enum pt_err tracking_store_clean(struct tracking_store *s, int64_t now_us, struct pt_fault *fault)
{
    enum pt_err err = PT_ERR_OK;
    int code = tracking_store_clean_refusals(s, now_us);

    if (code != SQLITE_OK)
        err = tracking_store_fault(&s->refusals, code, "cleaning", fault);
    code = tracking_store_clean_clients(s, now_us);
    if (code != SQLITE_OK)
        err = tracking_store_fault(&s->clients, code, "cleaning", fault);
    return err;
}
