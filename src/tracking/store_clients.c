/*
 * STATE/tracking/clients.db: one row an address.
 *
 * What a loop has gathered is added to the row that is there. Domains are a text, a line each, the
 * latest first. Rows go when they are older than a week, and a tenth of them when there are too
 * many: that looks through all rows, so there is no index that every row would pay for.
 */
#include <string.h>

#include "tracking/store_private.h"

enum { NAMES_SIZE = TRACKING_RECIPIENTS * TRACKING_NAME_SIZE };

static const int64_t day_us = INT64_C(86400000000);

#define COLUMNS                                                                                    \
    "address, first_us, last_us, connections, messages, refusals, messages_max, recipients_max,"   \
    " size_max, mail, tls, code, step, helo, senders, recipients"

/* ---- names ---- */

static void names_write(char names[][TRACKING_NAME_SIZE], uint8_t count, char out[NAMES_SIZE])
{
    size_t n = 0;

    for (uint8_t i = 0; i < count; i++) {
        size_t length = strlen(names[i]);

        if (i)
            out[n++] = '\n';
        memcpy(out + n, names[i], length);
        n += length;
    }
    out[n] = 0;
}

static uint8_t names_read(sqlite3_stmt *st, int column, char names[][TRACKING_NAME_SIZE],
                          uint8_t max)
{
    const char *text = sqlite3_column_blob(st, column);
    struct str rest = { text, (size_t)sqlite3_column_bytes(st, column) };
    uint8_t count = 0;

    while (rest.n && count < max) {
        ptrdiff_t end = str_find(rest, '\n', 0);
        struct str name = end < 0 ? rest : str_head(rest, (size_t)end);

        if (name.n && name.n < TRACKING_NAME_SIZE) {
            memcpy(names[count], name.p, name.n);
            names[count++][name.n] = 0;
        }
        rest = end < 0 ? STR_NULL : str_from(rest, (size_t)end + 1);
    }
    return count;
}

/* Those of `older` that are not among the names go behind them. */
static uint8_t names_add(char names[][TRACKING_NAME_SIZE], uint8_t count, uint8_t max,
                         char older[][TRACKING_NAME_SIZE], uint8_t older_count)
{
    for (uint8_t i = 0; i < older_count && count < max; i++) {
        uint8_t k = 0;

        while (k < count && strcmp(names[k], older[i]) != 0)
            k++;
        if (k == count)
            memcpy(names[count++], older[i], TRACKING_NAME_SIZE);
    }
    return count;
}

/* ---- rows ---- */

static struct str address_octets(const struct net_addr *a)
{
    return (struct str){ (const char *)a->octets, a->family == NET_IPV6 ? 16 : 4 };
}

static void read_row(sqlite3_stmt *st, struct tracking_client *c)
{
    const void *address = sqlite3_column_blob(st, 0);
    int n = sqlite3_column_bytes(st, 0);

    c->address = (struct net_addr){ .family = NET_NONE };
    if (address && (n == 4 || n == 16)) {
        c->address.family = n == 4 ? NET_IPV4 : NET_IPV6;
        memcpy(c->address.octets, address, (size_t)n);
    }
    c->first_us = sqlite3_column_int64(st, 1);
    c->last_us = sqlite3_column_int64(st, 2);
    c->connections = (uint32_t)sqlite3_column_int64(st, 3);
    c->messages = (uint32_t)sqlite3_column_int64(st, 4);
    c->refusals = (uint32_t)sqlite3_column_int64(st, 5);
    c->messages_max = (uint32_t)sqlite3_column_int64(st, 6);
    c->recipients_max = (uint32_t)sqlite3_column_int64(st, 7);
    c->size_max = (uint64_t)sqlite3_column_int64(st, 8);
    c->mail = sqlite3_column_int(st, 9) != 0;
    c->tls = sqlite3_column_int(st, 10) != 0;
    c->code = (uint16_t)sqlite3_column_int(st, 11);
    tracking_store_text(st, 12, c->step, sizeof c->step);
    tracking_store_text(st, 13, c->helo, sizeof c->helo);
    c->sender_count = names_read(st, 14, c->senders, TRACKING_SENDERS);
    c->recipient_count = names_read(st, 15, c->recipients, TRACKING_RECIPIENTS);
}

static uint32_t sum(uint32_t a, uint32_t b)
{
    return a > UINT32_MAX - b ? UINT32_MAX : a + b;
}

/* What was known before is added to what is new. */
static void merge(struct tracking_client *c, struct tracking_client *before)
{
    c->first_us = PT_MIN(c->first_us, before->first_us);
    c->last_us = PT_MAX(c->last_us, before->last_us);
    c->connections = sum(c->connections, before->connections);
    c->refusals = sum(c->refusals, before->refusals);
    c->messages_max = PT_MAX(c->messages_max, before->messages_max);
    c->recipients_max = PT_MAX(c->recipients_max, before->recipients_max);
    c->size_max = PT_MAX(c->size_max, before->size_max);
    if (!c->mail) {
        c->mail = before->mail;
        c->tls = before->tls;
    }
    if (!c->code && !c->messages) {
        c->code = before->code;
        memcpy(c->step, before->step, sizeof c->step);
    }
    c->messages = sum(c->messages, before->messages);
    if (!c->helo[0])
        memcpy(c->helo, before->helo, sizeof c->helo);
    c->sender_count = names_add(c->senders, c->sender_count, TRACKING_SENDERS, before->senders,
                                before->sender_count);
    c->recipient_count = names_add(c->recipients, c->recipient_count, TRACKING_RECIPIENTS,
                                   before->recipients, before->recipient_count);
}

/* ---- writing ---- */

static int write_row(const struct tracking_db *d, sqlite3_stmt *st, struct tracking_client *c)
{
    char senders[NAMES_SIZE], recipients[NAMES_SIZE];

    names_write(c->senders, c->sender_count, senders);
    names_write(c->recipients, c->recipient_count, recipients);
    return tracking_store_run(
        d, st, "bnnnnnnnnnnntttt", address_octets(&c->address), c->first_us, c->last_us,
        (int64_t)c->connections, (int64_t)c->messages, (int64_t)c->refusals,
        (int64_t)c->messages_max, (int64_t)c->recipients_max, (int64_t)c->size_max,
        (int64_t)c->mail, (int64_t)c->tls, (int64_t)c->code, c->step, c->helo, senders, recipients);
}

static int add_one(struct tracking_store *s, sqlite3_stmt *find, sqlite3_stmt *put,
                   const struct tracking_client *client)
{
    struct tracking_client c = *client, before;
    struct str octets = address_octets(&c.address);
    int code = sqlite3_bind_blob(find, 1, octets.p, (int)octets.n, SQLITE_STATIC);

    if (code == SQLITE_OK)
        code = sqlite3_step(find);
    if (code == SQLITE_ROW) {
        read_row(find, &before);
        merge(&c, &before);
    } else if (code == SQLITE_DONE) {
        s->clients_kept++;
    }
    sqlite3_reset(find);
    return code == SQLITE_ROW || code == SQLITE_DONE ? write_row(&s->clients, put, &c) : code;
}

int tracking_store_add_clients(struct tracking_store *s, const struct tracking_store_batch *b)
{
    const struct tracking_db *d = &s->clients;
    sqlite3_stmt *find = NULL, *put = NULL;
    int code;

    if (b->client_count == 0)
        return SQLITE_OK;
    code = tracking_store_begin(d);
    if (code != SQLITE_OK)
        return code;
    code = sqlite3_prepare_v2(d->db, "SELECT " COLUMNS " FROM clients WHERE address=?1", -1, &find,
                              NULL);
    if (code == SQLITE_OK)
        code = sqlite3_prepare_v2(d->db,
                                  "INSERT OR REPLACE INTO clients (" COLUMNS ") VALUES (?1, ?2, ?3,"
                                  " ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
                                  -1, &put, NULL);
    for (uint32_t i = 0; code == SQLITE_OK && i < b->client_count; i++)
        code = add_one(s, find, put, &b->clients[i]);
    sqlite3_finalize(find);
    sqlite3_finalize(put);
    return tracking_store_end(d, code);
}

/* ---- cleaning ---- */

static int drop_older(struct tracking_store *s, int64_t than_us)
{
    const struct tracking_db *d = &s->clients;
    sqlite3_stmt *st = NULL;
    int64_t kept = 0;
    int code = sqlite3_prepare_v2(d->db, "DELETE FROM clients WHERE last_us<?1", -1, &st, NULL);

    if (code == SQLITE_OK)
        code = tracking_store_run(d, st, "n", than_us);
    sqlite3_finalize(st);
    if (code == SQLITE_OK)
        code = tracking_store_number(d, "SELECT count(*) FROM clients", &kept);
    if (code == SQLITE_OK)
        s->clients_kept = (uint64_t)kept;
    return code;
}

/* Who has sent a message is kept before those who only connected: strangers can have any number of
 * addresses. */
static int drop_least(struct tracking_store *s, uint64_t count)
{
    const struct tracking_db *d = &s->clients;
    sqlite3_stmt *st = NULL;
    int code = sqlite3_prepare_v2(d->db,
                                  "DELETE FROM clients WHERE address IN (SELECT address FROM"
                                  " clients ORDER BY messages>0, last_us LIMIT ?1)",
                                  -1, &st, NULL);

    if (code == SQLITE_OK)
        code = tracking_store_run(d, st, "n", (int64_t)count);
    sqlite3_finalize(st);
    if (code == SQLITE_OK)
        s->clients_kept -= PT_MIN(s->clients_kept, count);
    return code;
}

int tracking_store_clean_clients(struct tracking_store *s, int64_t now_us)
{
    uint64_t octets = 0, max = s->config.clients_max;
    int code = drop_older(s, now_us - TRACKING_CLIENT_DAYS * day_us);

    if (code == SQLITE_OK)
        code = tracking_store_octets(&s->clients, &octets);
    if (code == SQLITE_OK && s->clients_kept > max)
        return drop_least(s, s->clients_kept - max + max / 10);
    if (code == SQLITE_OK && octets > TRACKING_CLIENTS_OCTETS)
        return drop_least(s, s->clients_kept / 10 + 1);
    return code;
}

/* ---- reading ---- */

enum pt_err tracking_store_clients(struct tracking_store *s, tracking_client_fn *show, void *user,
                                   struct pt_fault *fault)
{
    struct tracking_client c;
    sqlite3_stmt *st = NULL;
    bool more = true;
    int code = sqlite3_prepare_v2(s->clients.db, "SELECT " COLUMNS " FROM clients", -1, &st, NULL);

    while (code == SQLITE_OK && more) {
        int step = sqlite3_step(st);

        if (step == SQLITE_ROW) {
            read_row(st, &c);
            more = c.address.family == NET_NONE || show(user, &c);
        } else {
            more = false;
            code = step == SQLITE_DONE ? SQLITE_OK : step;
        }
    }
    sqlite3_finalize(st);
    return code == SQLITE_OK ? PT_ERR_OK
                             : tracking_store_fault(&s->clients, code, "reading", fault);
}
