/*
 * Long lists in SQLite, by the hash of what they say.
 *
 *     lists        hash, count, chunks    the hashes of its chunks, one behind the other
 *     list_chunks  hash, body             settings/list_chunks.c has the format
 *
 * What is there already is not written again, so that a revision with the same list costs nothing
 * and one with another entry costs a chunk. Nothing is ever removed: every revision is kept.
 */
#include <stdlib.h>

#include "base/log.h"
#include "settings/schema.h"
#include "settings/store_sqlite.h"

enum { CHUNK_LIST_MAX = 64 << 20, EXPANDED_MAX = 1 << 30 };

/* ---- writing ---- */

struct inserting {
    sqlite3_stmt *st;
    struct buf chunks;
    int code;
};

static bool insert_chunk(void *ctx, const struct settings_hash *hash, struct str text)
{
    struct inserting *in = ctx;

    buf_add(&in->chunks, hash->octets, sizeof hash->octets);
    in->code = sqlite3_bind_blob(in->st, 1, hash->octets, sizeof hash->octets, SQLITE_STATIC);
    if (in->code == SQLITE_OK)
        in->code = sqlite3_bind_blob64(in->st, 2, text.p, text.n, SQLITE_STATIC);
    if (in->code == SQLITE_OK)
        in->code = sqlite3_step(in->st);
    if (in->code == SQLITE_DONE)
        in->code = sqlite3_reset(in->st);
    return in->code == SQLITE_OK;
}

static int insert_chunks(struct settings_store *s, const struct settings_list *list,
                         struct inserting *in)
{
    enum pt_err err = PT_ERR_NOMEM;

    in->code = sqlite3_prepare_v2(
        s->db, "INSERT OR IGNORE INTO list_chunks (hash, body) VALUES (?1, ?2)", -1, &in->st, NULL);
    if (in->code == SQLITE_OK)
        err = settings_list_chunks(list, insert_chunk, in);
    sqlite3_finalize(in->st);
    if (in->code == SQLITE_OK && (err != PT_ERR_OK || in->chunks.failed))
        return SQLITE_NOMEM;
    return in->code;
}

static int insert_row(struct settings_store *s, const struct settings_list *list,
                      const struct buf *chunks)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(
        s->db, "INSERT INTO lists (hash, count, chunks) VALUES (?1, ?2, ?3)", -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_bind_blob(st, 1, list->hash.octets, sizeof list->hash.octets, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(st, 2, list->count);
    if (code == SQLITE_OK)
        code = sqlite3_bind_blob64(st, 3, chunks->p, chunks->n, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    sqlite3_finalize(st);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* A statement that has found the row of that hash, or NULL with SQLITE_DONE or an error. */
static sqlite3_stmt *find_row(struct settings_store *s, const char *sql,
                              const struct settings_hash *hash, int *out_code)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(s->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_bind_blob(st, 1, hash->octets, sizeof hash->octets, SQLITE_STATIC);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    *out_code = code;
    if (code == SQLITE_ROW)
        return st;
    sqlite3_finalize(st);
    return NULL;
}

int settings_store_insert_list(struct settings_store *s, const struct settings_list *list)
{
    struct inserting in = { .code = SQLITE_OK };
    int code;
    sqlite3_stmt *there = find_row(s, "SELECT 1 FROM lists WHERE hash=?1", &list->hash, &code);

    sqlite3_finalize(there);
    if (code != SQLITE_DONE)
        return there ? SQLITE_OK : code;
    buf_init(&in.chunks, CHUNK_LIST_MAX);
    code = insert_chunks(s, list, &in);
    if (code == SQLITE_OK)
        code = insert_row(s, list, &in.chunks);
    buf_done(&in.chunks);
    return code;
}

/* ---- reading ---- */

static bool read_chunk(struct settings_store *s, const struct settings_hash *hash,
                       struct settings_list_builder *b)
{
    struct settings_hash found;
    struct str text;
    bool ok;
    int code;
    sqlite3_stmt *st = find_row(s, "SELECT body FROM list_chunks WHERE hash=?1", hash, &code);

    if (!st)
        return false;
    text = (struct str){ sqlite3_column_blob(st, 0), (size_t)sqlite3_column_bytes(st, 0) };
    ok = text.p && settings_hash_of(text, &found) && settings_hash_eq(&found, hash) &&
         settings_list_add_chunk(b, text);
    sqlite3_finalize(st);
    return ok;
}

static struct settings_list *read_list(struct settings_store *s, const struct settings_hash *hash)
{
    struct settings_list_builder b;
    struct settings_list *list;
    int code;
    sqlite3_stmt *st = find_row(s, "SELECT count, chunks FROM lists WHERE hash=?1", hash, &code);
    const char *chunks;
    size_t n;
    bool ok = true;

    if (!st)
        return NULL;
    settings_list_begin(&b, (uint32_t)PT_MIN(sqlite3_column_int64(st, 0), 1 << 24));
    chunks = sqlite3_column_blob(st, 1);
    n = (size_t)sqlite3_column_bytes(st, 1);
    for (size_t at = 0; ok && at + sizeof *hash <= n; at += sizeof *hash) {
        struct settings_hash chunk;

        memcpy(chunk.octets, chunks + at, sizeof chunk.octets);
        ok = read_chunk(s, &chunk, &b);
    }
    sqlite3_finalize(st);
    list = settings_list_end(&b);
    if (list && ok && settings_hash_eq(&list->hash, hash))
        return list;
    settings_list_unref(list);
    return NULL;
}

struct settings_list *settings_store_find_list(void *store, const struct settings_hash *hash)
{
    struct settings_store *s = store;
    struct settings_list *list = read_list(s, hash);
    char name[SETTINGS_LIST_NAME_SIZE];

    if (!list) {
        settings_list_name(hash, name);
        log_text(LOG_ERROR, "settings",
                 "%s: the list %s is damaged or missing; go back to another revision with "
                 "\"settings rollback\"",
                 s->path, name);
    }
    return list;
}

enum pt_err settings_store_expand(struct settings_store *s, struct settings_revision *r,
                                  struct pt_fault *fault)
{
    struct buf text;
    enum pt_err err;
    char *whole = NULL;

    buf_init(&text, EXPANDED_MAX);
    err = settings_document_expand(str_of(r->document), settings_store_find_list, s, &text);
    if (err == PT_ERR_OK)
        whole = str_dup(buf_str(&text));
    buf_done(&text);
    if (err == PT_ERR_NOTFOUND)
        return pt_fault_set(fault, PT_ERR_CORRUPT,
                            "%s is damaged: a list of revision %llu cannot be read; go "
                            "back to another one with \"settings rollback\"",
                            s->path, (unsigned long long)r->number);
    if (!whole)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    free(r->document);
    r->document = whole;
    return PT_ERR_OK;
}
