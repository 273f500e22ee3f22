/*
 * Opening STATE/settings.db.
 *
 * WAL with synchronous=FULL: a commit is on the disk when the call returns, readers never wait for
 * a writer. application_id tells our files from others, user_version counts migrations; a file
 * with a higher one is left alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "settings/store_sqlite.h"

enum {
    APPLICATION_ID = 0x50535453, /* "PSTS" */
    BUSY_MS = 5000,
};

/* Each brings a database from its index to the next version. */
static const char *const migrations[] = {
    "CREATE TABLE documents ("
    " id INTEGER PRIMARY KEY,"
    " size INTEGER NOT NULL,"
    " crc INTEGER NOT NULL,"
    " body TEXT NOT NULL);"
    "CREATE TABLE revisions ("
    " number INTEGER PRIMARY KEY AUTOINCREMENT,"
    " document INTEGER NOT NULL REFERENCES documents (id),"
    " time_us INTEGER NOT NULL,"
    " author TEXT NOT NULL,"
    " comment TEXT NOT NULL,"
    " restored_from INTEGER NOT NULL DEFAULT 0);",

    "CREATE TABLE audit ("
    " id INTEGER PRIMARY KEY AUTOINCREMENT,"
    " time_us INTEGER NOT NULL,"
    " actor TEXT NOT NULL,"
    " uid INTEGER NOT NULL,"
    " origin TEXT NOT NULL,"
    " action TEXT NOT NULL,"
    " target TEXT NOT NULL,"
    " outcome INTEGER NOT NULL,"
    " detail TEXT NOT NULL,"
    " changes TEXT NOT NULL,"
    " revision INTEGER NOT NULL);"
    "CREATE TABLE reserve (octets BLOB NOT NULL);",

    "CREATE TABLE lists ("
    " hash BLOB PRIMARY KEY,"
    " count INTEGER NOT NULL,"
    " chunks BLOB NOT NULL);"
    "CREATE TABLE list_chunks ("
    " hash BLOB PRIMARY KEY,"
    " body BLOB NOT NULL);",

    "CREATE TABLE pending ("
    " revision INTEGER PRIMARY KEY,"
    " before INTEGER NOT NULL,"
    " confirm_by_us INTEGER NOT NULL);",
};

enum { VERSION = PT_ARRAY_LEN(migrations) };

/* ---- faults with a way out ---- */

enum pt_err settings_store_fault(struct settings_store *s, int code, const char *doing,
                                 struct pt_fault *fault)
{
    const char *why = s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(code);

    switch (code & 0xFF) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return pt_fault_set(fault, PT_ERR_BUSY,
                            "%s is locked by another process (%s); end that process or try again",
                            s->path, doing);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return pt_fault_set(fault, PT_ERR_CORRUPT,
                            "%s is damaged (%s: %s); move settings.db* away and apply your "
                            "settings again from a file, or restore it from a backup",
                            s->path, doing, why);
    case SQLITE_FULL:
        return pt_fault_set(fault, PT_ERR_NOSPACE, "%s: no space left on the disk (%s)", s->path,
                            doing);
    case SQLITE_NOMEM:
        return pt_fault_set(fault, PT_ERR_NOMEM, "%s: out of memory (%s)", s->path, doing);
    case SQLITE_TOOBIG:
        return pt_fault_set(fault, PT_ERR_TOOBIG, "%s: the document is too big (%s)", s->path,
                            doing);
    case SQLITE_PERM:
    case SQLITE_READONLY:
    case SQLITE_AUTH:
        return pt_fault_set(fault, PT_ERR_DENIED,
                            "%s may not be written (%s: %s); look at its owner and permissions, "
                            "and those of its folder",
                            s->path, doing, why);
    default:
        return pt_fault_set(fault, PT_ERR_IO, "%s: %s: %s", s->path, doing, why);
    }
}

/* ---- statements ---- */

int settings_store_execute(struct settings_store *s, const char *sql)
{
    return sqlite3_exec(s->db, sql, NULL, NULL, NULL);
}

int settings_store_finish(sqlite3_stmt *st)
{
    int code = sqlite3_step(st);

    sqlite3_finalize(st);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

int settings_store_number(struct settings_store *s, const char *sql, int64_t *out)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK) {
        code = sqlite3_step(st);
        *out = code == SQLITE_ROW ? sqlite3_column_int64(st, 0) : 0;
        if (code == SQLITE_ROW || code == SQLITE_DONE)
            code = SQLITE_OK;
    }
    sqlite3_finalize(st);
    return code;
}

/* ---- opening ---- */

static enum pt_err make_file(struct settings_store *s, const char *directory,
                             struct pt_fault *fault)
{
    int fd = open(s->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640), folder, failed;

    if (fd < 0)
        return errno == EEXIST ? PT_ERR_OK
                               : pt_fault_errno(fault, errno, "cannot make %s", s->path);
    PT_IGNORE(close(fd), "it is empty");
    folder = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    failed = folder < 0 || fsync(folder) != 0 ? errno : 0;
    if (folder >= 0)
        PT_IGNORE(close(folder), "nothing was written");
    return failed ? pt_fault_errno(fault, failed, "cannot sync %s", directory) : PT_ERR_OK;
}

static enum pt_err find_file(struct settings_store *s, const char *directory,
                             enum settings_store_mode mode, struct pt_fault *fault)
{
    int n = snprintf(s->path, sizeof s->path, "%s/settings.db", directory);

    if (n < 0 || (size_t)n >= sizeof s->path)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the path of the state folder is too long");
    if (mode == SETTINGS_STORE_CREATE)
        return make_file(s, directory, fault);
    if (access(s->path, F_OK) == 0)
        return PT_ERR_OK;
    if (errno == ENOENT)
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: there are no settings yet", s->path);
    return pt_fault_errno(fault, errno, "cannot open %s", s->path);
}

static int configure(struct settings_store *s)
{
    int code = sqlite3_busy_timeout(s->db, s->patience_ms);

    sqlite3_extended_result_codes(s->db, 1);
    PT_IGNORE(sqlite3_db_config(s->db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL), "extra care only");
    PT_IGNORE(sqlite3_db_config(s->db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL), "the same");
    if (code == SQLITE_OK)
        code = settings_store_execute(s, "PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL;"
                                         "PRAGMA cell_size_check=ON;");
    return code;
}

/* Whose file it is, and how old. `*out_version` is 0 for a new one. */
static enum pt_err identify(struct settings_store *s, int64_t *out_version, struct pt_fault *fault)
{
    int64_t id = 0, tables = 0;
    int code = settings_store_number(s, "PRAGMA application_id", &id);

    if (code == SQLITE_OK)
        code = settings_store_number(s, "PRAGMA user_version", out_version);
    if (code == SQLITE_OK)
        code = settings_store_number(s, "SELECT count(*) FROM sqlite_schema", &tables);
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "opening", fault);
    if (id != APPLICATION_ID && (id != 0 || *out_version != 0 || tables != 0))
        return pt_fault_set(fault, PT_ERR_CORRUPT,
                            "%s is a database of another program; move settings.db* away", s->path);
    if (*out_version > VERSION)
        return pt_fault_set(fault, PT_ERR_CORRUPT,
                            "%s was made by a newer version of Postern (format %lld, this one "
                            "knows %d); use that version, or move settings.db* away",
                            s->path, (long long)*out_version, (int)VERSION);
    return PT_ERR_OK;
}

static int migrate_from(struct settings_store *s, int64_t version)
{
    char pragma[80];
    int code = SQLITE_OK;

    for (; code == SQLITE_OK && version < VERSION; version++)
        code = settings_store_execute(s, migrations[version]);
    snprintf(pragma, sizeof pragma, "PRAGMA application_id=%d; PRAGMA user_version=%d;",
             (int)APPLICATION_ID, (int)VERSION);
    return code == SQLITE_OK ? settings_store_execute(s, pragma) : code;
}

/* Another process may do the same at the same time: the version counts that is read under the
 * lock. */
static enum pt_err bring_up_to_date(struct settings_store *s, struct pt_fault *fault)
{
    int64_t version = 0;
    int code = settings_store_execute(s, "PRAGMA journal_mode=WAL");
    enum pt_err err;

    if (code == SQLITE_OK)
        code = settings_store_execute(s, "BEGIN IMMEDIATE");
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "bringing it up to date", fault);
    err = identify(s, &version, fault);
    if (err == PT_ERR_OK && version < VERSION)
        code = migrate_from(s, version);
    if (err == PT_ERR_OK && code == SQLITE_OK)
        code = settings_store_execute(s, "COMMIT");
    if (err == PT_ERR_OK && code != SQLITE_OK)
        err = settings_store_fault(s, code, "bringing it up to date", fault);
    if (err != PT_ERR_OK)
        PT_IGNORE(settings_store_execute(s, "ROLLBACK"), "the error is told already");
    return err;
}

static enum pt_err open_database(struct settings_store *s, enum settings_store_mode mode,
                                 struct pt_fault *fault)
{
    int64_t version = 0;
    int code = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
    enum pt_err err;

    if (code == SQLITE_OK && stat(s->path, &s->file) != 0)
        return pt_fault_errno(fault, errno, "cannot open %s", s->path);
    if (code == SQLITE_OK)
        code = configure(s);
    if (code != SQLITE_OK)
        return settings_store_fault(s, code, "opening", fault);
    err = identify(s, &version, fault);
    if (err != PT_ERR_OK || version == VERSION)
        return err;
    if (mode == SETTINGS_STORE_CREATE)
        return bring_up_to_date(s, fault);
    if (version == 0)
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: there are no settings yet", s->path);
    return pt_fault_set(fault, PT_ERR_CORRUPT,
                        "%s was made by an older version of Postern; start the gateway once to "
                        "bring it up to date",
                        s->path);
}

enum pt_err settings_store_open(struct settings_store **out, const char *state_directory,
                                enum settings_store_mode mode, struct pt_fault *fault)
{
    struct settings_store *s = calloc(1, sizeof *s);
    enum pt_err err;

    if (!s)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    s->patience_ms = BUSY_MS;
    s->writes = mode == SETTINGS_STORE_CREATE;
    err = find_file(s, state_directory, mode, fault);
    if (err == PT_ERR_OK)
        err = open_database(s, mode, fault);
    if (err == PT_ERR_OK)
        *out = s;
    else
        settings_store_close(s);
    return err;
}

void settings_store_close(struct settings_store *s)
{
    if (!s)
        return;
    PT_IGNORE(sqlite3_close(s->db), "every statement was finalised");
    free(s);
}

enum pt_err settings_store_follow(struct settings_store *s, struct pt_fault *fault)
{
    struct stat now;
    char directory[SETTINGS_STORE_PATH_SIZE];
    enum pt_err err;

    if (!s->writes || (s->db && stat(s->path, &now) == 0 && now.st_ino == s->file.st_ino &&
                       now.st_dev == s->file.st_dev))
        return PT_ERR_OK;
    PT_IGNORE(sqlite3_close(s->db), "every statement was finalised");
    s->db = NULL;
    snprintf(directory, sizeof directory, "%s", s->path);
    *strrchr(directory, '/') = 0;
    err = make_file(s, directory, fault);
    if (err == PT_ERR_OK)
        err = open_database(s, SETTINGS_STORE_CREATE, fault);
    if (err != PT_ERR_OK) {
        PT_IGNORE(sqlite3_close(s->db), "it was of no use");
        s->db = NULL; /* to be tried again */
    }
    return err;
}

/*
 * In WAL a commit needs room in two places: its pages in the log, and later the database. Writing
 * this much and deleting it leaves the log that long, to be written over, and the database that
 * many free pages. The log starts over when it was copied, so that must happen well before its end.
 */
enum { RESERVE_OCTETS = 256 * 1024 };

enum pt_err settings_store_reserve(struct settings_store *s, struct pt_fault *fault)
{
    char insert[80];
    int code = settings_store_execute(s, "PRAGMA wal_autocheckpoint=40");

    snprintf(insert, sizeof insert, "INSERT INTO reserve VALUES (zeroblob(%d))",
             (int)RESERVE_OCTETS);
    if (code == SQLITE_OK)
        code = settings_store_execute(s, insert);
    if (code == SQLITE_OK)
        code = settings_store_execute(s, "DELETE FROM reserve");
    return code == SQLITE_OK ? PT_ERR_OK : settings_store_fault(s, code, "writing", fault);
}

void settings_store_set_patience(struct settings_store *s, int ms)
{
    s->patience_ms = ms;
    if (s->db)
        PT_IGNORE(sqlite3_busy_timeout(s->db, ms), "it never fails on an open database");
}
