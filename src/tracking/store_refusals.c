/*
 * STATE/tracking/refusals.db: refusals by reference, and which numbers were given out when.
 *
 * A span covers about a minute, so that a reference that was not kept can still be dated; a month
 * has some 43,000 of them.
 */
#include <stdio.h>
#include <string.h>

#include "tracking/number.h"
#include "tracking/store_private.h"

static const int64_t second_us = 1000000, minute_us = 60 * second_us, day_us = 86400 * second_us;

/* ---- writing ---- */

static int insert(const struct tracking_db *d, sqlite3_stmt *st, const struct tracking_refusal *r)
{
    size_t n = r->client.addr.family == NET_IPV6 ? 16 : 4;

    return tracking_store_run(d, st, "nnbnnnnttttttttt", (int64_t)r->ref, r->time_us,
                              (struct str){ (const char *)r->client.addr.octets, n },
                              (int64_t)r->client.port, (int64_t)r->revision, (int64_t)r->code,
                              (int64_t)r->tls, r->step, r->list, r->entry, r->comment, r->command,
                              r->reply, r->helo, r->sender, r->recipient);
}

static int insert_all(const struct tracking_db *d, const struct tracking_store_batch *b)
{
    sqlite3_stmt *st = NULL;
    int code;

    if (b->refusal_count == 0)
        return SQLITE_OK;
    code = sqlite3_prepare_v2(d->db,
                              "INSERT OR REPLACE INTO refusals VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7,"
                              " ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                              -1, &st, NULL);
    for (uint32_t i = 0; code == SQLITE_OK && i < b->refusal_count; i++)
        code = insert(d, st, &b->refusals[i]);
    sqlite3_finalize(st);
    return code;
}

/* The last span goes on as long as it is short and nothing lies between. */
static int add_span(const struct tracking_db *d, const struct tracking_store_batch *b)
{
    static const char lengthen[] =
        "UPDATE spans SET given=given+?2, lost=lost+?3, until_us=?4"
        " WHERE number=(SELECT number FROM spans WHERE number<=?1 ORDER BY number DESC LIMIT 1)"
        " AND number+given=?1 AND from_us>?5";
    static const char begin[] = "INSERT OR REPLACE INTO spans VALUES (?1, ?2, ?3, ?5, ?4)";
    const char *const statements[] = { lengthen, begin };
    int code = SQLITE_OK;

    for (size_t i = 0; code == SQLITE_OK && i < PT_ARRAY_LEN(statements); i++) {
        sqlite3_stmt *st = NULL;

        code = sqlite3_prepare_v2(d->db, statements[i], -1, &st, NULL);
        if (code == SQLITE_OK)
            code = tracking_store_run(d, st, "nnnnn", (int64_t)b->number, (int64_t)b->given,
                                      (int64_t)b->lost, b->until_us,
                                      i == 0 ? b->until_us - minute_us : b->from_us);
        sqlite3_finalize(st);
        if (code == SQLITE_OK && sqlite3_changes(d->db) > 0)
            break;
    }
    return code;
}

int tracking_store_add_refusals(struct tracking_store *s, const struct tracking_store_batch *b)
{
    const struct tracking_db *d = &s->refusals;
    int code;

    if (b->refusal_count == 0 && b->given == 0)
        return SQLITE_OK;
    code = tracking_store_begin(d);
    if (code != SQLITE_OK)
        return code;
    code = insert_all(d, b);
    if (code == SQLITE_OK && b->given > 0)
        code = add_span(d, b);
    return tracking_store_end(d, code);
}

/* ---- cleaning ---- */

static int drop_older(const struct tracking_db *d, int64_t than_us)
{
    static const char *const statements[] = { "DELETE FROM refusals WHERE time_us<?1",
                                              "DELETE FROM spans WHERE until_us<?1" };
    int code = SQLITE_OK;

    for (size_t i = 0; code == SQLITE_OK && i < PT_ARRAY_LEN(statements); i++) {
        sqlite3_stmt *st = NULL;

        code = sqlite3_prepare_v2(d->db, statements[i], -1, &st, NULL);
        if (code == SQLITE_OK)
            code = tracking_store_run(d, st, "n", than_us);
        sqlite3_finalize(st);
    }
    return code;
}

/* The oldest tenth goes; what it held is used for new rows. */
static int drop_oldest(const struct tracking_db *d)
{
    return tracking_store_execute(
        d, "DELETE FROM refusals WHERE ref IN (SELECT ref FROM refusals ORDER BY time_us"
           " LIMIT 1+(SELECT count(*)/10 FROM refusals))");
}

int tracking_store_clean_refusals(struct tracking_store *s, int64_t now_us)
{
    const struct tracking_db *d = &s->refusals;
    uint64_t octets = 0;
    int code = drop_older(d, now_us - TRACKING_REFUSAL_DAYS * day_us);

    if (code == SQLITE_OK)
        code = tracking_store_octets(d, &octets);
    if (code == SQLITE_OK && octets > s->config.refusals_max)
        code = drop_oldest(d);
    return code;
}

/* ---- numbers ---- */

enum pt_err tracking_store_reserved(struct tracking_store *s, uint64_t *out, struct pt_fault *fault)
{
    int64_t rows = 0, number = 0;
    int code = tracking_store_number(&s->refusals, "SELECT count(*) FROM reserved", &rows);

    if (code == SQLITE_OK)
        code = tracking_store_number(&s->refusals, "SELECT max(number) FROM reserved", &number);
    if (code != SQLITE_OK)
        return tracking_store_fault(&s->refusals, code, "reading", fault);
    *out = (uint64_t)number;
    return rows ? PT_ERR_OK : PT_ERR_NOTFOUND;
}

enum pt_err tracking_store_reserve(struct tracking_store *s, uint64_t number,
                                   struct pt_fault *fault)
{
    const struct tracking_db *d = &s->refusals;
    char sql[120];
    int code = tracking_store_execute(d, "PRAGMA synchronous=FULL");

    snprintf(sql, sizeof sql, "DELETE FROM reserved; INSERT INTO reserved VALUES (%llu)",
             (unsigned long long)number);
    if (code == SQLITE_OK)
        code = tracking_store_begin(d);
    if (code == SQLITE_OK)
        code = tracking_store_end(d, tracking_store_execute(d, sql));
    PT_IGNORE(tracking_store_execute(d, "PRAGMA synchronous=NORMAL"), "then it is slower");
    return code == SQLITE_OK ? PT_ERR_OK : tracking_store_fault(d, code, "writing", fault);
}

/* ---- reading ---- */

static void read_row(sqlite3_stmt *st, struct tracking_refusal *r)
{
    const void *address = sqlite3_column_blob(st, 2);
    int n = sqlite3_column_bytes(st, 2);

    *r = (struct tracking_refusal){
        .ref = (uint64_t)sqlite3_column_int64(st, 0),
        .time_us = sqlite3_column_int64(st, 1),
        .client.port = (uint16_t)sqlite3_column_int(st, 3),
        .revision = (uint64_t)sqlite3_column_int64(st, 4),
        .code = (uint16_t)sqlite3_column_int(st, 5),
        .tls = sqlite3_column_int(st, 6) != 0,
    };
    if (address && (n == 4 || n == 16)) {
        r->client.addr.family = n == 4 ? NET_IPV4 : NET_IPV6;
        memcpy(r->client.addr.octets, address, (size_t)n);
    }
    tracking_store_text(st, 7, r->step, sizeof r->step);
    tracking_store_text(st, 8, r->list, sizeof r->list);
    tracking_store_text(st, 9, r->entry, sizeof r->entry);
    tracking_store_text(st, 10, r->comment, sizeof r->comment);
    tracking_store_text(st, 11, r->command, sizeof r->command);
    tracking_store_text(st, 12, r->reply, sizeof r->reply);
    tracking_store_text(st, 13, r->helo, sizeof r->helo);
    tracking_store_text(st, 14, r->sender, sizeof r->sender);
    tracking_store_text(st, 15, r->recipient, sizeof r->recipient);
}

/* The statement at its first row, or NULL and the error. */
static sqlite3_stmt *first_row(const struct tracking_db *d, const char *sql, uint64_t key,
                               enum pt_err *out, struct pt_fault *fault)
{
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(d->db, sql, -1, &st, NULL);

    if (code == SQLITE_OK)
        code = sqlite3_bind_int64(st, 1, (int64_t)key);
    if (code == SQLITE_OK)
        code = sqlite3_step(st);
    if (code == SQLITE_ROW) {
        *out = PT_ERR_OK;
        return st;
    }
    *out = code == SQLITE_DONE ? PT_ERR_NOTFOUND : tracking_store_fault(d, code, "reading", fault);
    sqlite3_finalize(st);
    return NULL;
}

enum pt_err tracking_store_refusal(struct tracking_store *s, uint64_t ref,
                                   struct tracking_refusal *out, struct pt_fault *fault)
{
    enum pt_err err;
    sqlite3_stmt *st = first_row(&s->refusals, "SELECT * FROM refusals WHERE ref=?1",
                                 ref & TRACKING_NUMBER_MASK, &err, fault);

    if (st)
        read_row(st, out);
    sqlite3_finalize(st);
    return err;
}

enum pt_err tracking_store_span(struct tracking_store *s, uint64_t number,
                                struct tracking_span *out, struct pt_fault *fault)
{
    enum pt_err err;
    sqlite3_stmt *st = first_row(&s->refusals,
                                 "SELECT from_us, until_us, given, lost, number FROM spans"
                                 " WHERE number<=?1 ORDER BY number DESC LIMIT 1",
                                 number, &err, fault);

    if (st &&
        number >= (uint64_t)sqlite3_column_int64(st, 4) + (uint64_t)sqlite3_column_int64(st, 2))
        err = PT_ERR_NOTFOUND;
    else if (st)
        *out = (struct tracking_span){ sqlite3_column_int64(st, 0), sqlite3_column_int64(st, 1),
                                       (uint64_t)sqlite3_column_int64(st, 2),
                                       (uint64_t)sqlite3_column_int64(st, 3) };
    sqlite3_finalize(st);
    return err;
}
