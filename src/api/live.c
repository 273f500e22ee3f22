/*
 * api/live: the clients that are connected now.
 */
#include "api/resources.h"
#include "base/log.h"
#include "base/msgid.h"
#include "net/entry.h"

enum { PAGE = 100, PAGE_MAX = 1000 };

static void problem(struct http_exchange *x, enum pt_err err)
{
    const char *detail = NULL;

    if (err == PT_ERR_NOTFOUND)
        detail = "There is no connection with that ID now.";
    else if (err == PT_ERR_AGAIN)
        detail = "No mail is served now, so nobody is connected; see the status for why.";
    api_problem(x, err, detail);
}

/* null where the client has shown no certificate. */
static json_t *client_certificate_json(const struct api_connection *c)
{
    json_t *v;

    if (!*c->tls_subject)
        return json_null();
    v = json_object();
    api_json_set(&v, "subject", api_json_str(str_of(c->tls_subject)));
    api_json_set(&v, "verified", json_boolean(*c->tls_unverified == 0));
    api_json_set(&v, "error",
                 *c->tls_unverified ? api_json_str(str_of(c->tls_unverified)) : json_null());
    return v;
}

/* null in clear. */
static json_t *tls_json(const struct api_connection *c)
{
    json_t *v;

    if (!c->tls_version)
        return json_null();
    v = json_object();
    api_json_set(&v, "version", json_string(c->tls_version));
    api_json_set(&v, "cipher", json_string(c->tls_cipher ? c->tls_cipher : ""));
    api_json_set(&v, "certificate", client_certificate_json(c));
    return v;
}

static json_t *connection_json(const struct api_connection *c)
{
    char id[MSGID_SIZE], address[NET_ADDR_SIZE];
    json_t *v = json_object();

    msgid_format(c->id, id);
    net_addr_format(&c->client.addr, address);
    api_json_set(&v, "id", json_string(id));
    api_json_set(&v, "client", json_string(address));
    api_json_set(&v, "port", json_integer(c->client.port));
    api_json_set(&v, "since", api_json_time(c->since_us));
    api_json_set(&v, "state", json_string(c->state));
    api_json_set(&v, "ends", c->ends ? json_string(c->ends) : json_null());
    api_json_set(&v, "helo", *c->helo ? api_json_str(str_of(c->helo)) : json_null());
    api_json_set(&v, "protocol", *c->helo ? json_string(c->esmtp ? "ESMTP" : "SMTP") : json_null());
    api_json_set(&v, "tls", tls_json(c));
    api_json_set(&v, "messages", json_integer((json_int_t)c->messages));
    api_json_set(&v, "octets_in", json_integer((json_int_t)c->octets_in));
    api_json_set(&v, "octets_out", json_integer((json_int_t)c->octets_out));
    api_json_set(&v, "content", json_integer((json_int_t)c->content));
    api_json_set(&v, "idle_seconds", json_integer((json_int_t)c->idle_seconds));
    return v;
}

/* ---- the list ---- */

struct listing {
    json_t *items;
    uint32_t shown, limit;
    uint64_t last;
    bool more;
};

static void list_one(void *user, const struct api_connection *c)
{
    struct listing *l = user;

    if (l->shown == l->limit) {
        l->more = true;
        return;
    }
    api_json_add(&l->items, connection_json(c));
    l->last = c->id;
    l->shown++;
}

/* `address` of the query: one address or a group. False: answered. */
static bool read_address(struct http_exchange *x, struct net_prefix *out)
{
    struct str text = http_exchange_query(x, "address");
    struct net_entry entry;
    const char *why;

    if (!text.p)
        return true;
    if (!net_entry_parse(text, &entry, &why)) {
        http_problem(x, 400, "address must be one address or a group: %s.", why);
        return false;
    }
    *out = entry.prefix;
    return true;
}

static void list_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct api_connection_filter filter = { .after = 0 };
    struct str cursor = http_exchange_query(x, "cursor");
    struct listing l = { 0 };
    char next[MSGID_SIZE];
    uint64_t total = 0;
    enum pt_err err;

    if (!api_query_limit(x, PAGE, PAGE_MAX, &filter.limit) || !read_address(x, &filter.address))
        return;
    if (cursor.p && !msgid_parse(cursor, &filter.after)) {
        http_problem(x, 400, "cursor must be one that this list gave.");
        return;
    }
    l.limit = filter.limit++; /* one more tells whether there is a next page */
    l.items = json_array();
    err = a->deps.connections_list(a->deps.ctx, &filter, list_one, &l, &total);
    if (err) {
        json_decref(l.items);
        problem(x, err);
        return;
    }
    msgid_format(l.last, next);
    http_answer_json(x, 200, api_json_list(l.items, l.more ? json_string(next) : NULL, total));
}

void api_live_get(struct http_exchange *x)
{
    api_job(x, list_job);
}

/* ---- one of them ---- */

static bool read_id(struct http_exchange *x, uint64_t *out)
{
    if (msgid_parse(http_exchange_param(x, "id"), out))
        return true;
    problem(x, PT_ERR_NOTFOUND);
    return false;
}

static void show_one(void *user, const struct api_connection *c)
{
    *(json_t **)user = connection_json(c);
}

static void show_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *body = NULL;
    uint64_t id;
    enum pt_err err;

    if (!read_id(x, &id))
        return;
    err = a->deps.connection_show(a->deps.ctx, id, show_one, &body);
    if (err)
        problem(x, err);
    else
        http_answer_json(x, 200, body);
}

void api_live_item_get(struct http_exchange *x)
{
    api_job(x, show_job);
}

static void log_end_of(struct http_exchange *x, bool now)
{
    char author[API_AUTHOR_SIZE];
    struct log_line line;

    api_author(x, author);
    log_begin(&line, LOG_INFO, "disconnect");
    log_str(&line, "connection", http_exchange_param(x, "id"));
    if (now)
        log_cstr(&line, "when", "now");
    log_cstr(&line, "by", author);
    log_end(&line);
}

static void disconnect(struct http_exchange *x, uint64_t id, bool now, uint64_t row)
{
    struct api *a = api_of(x);
    bool gone = false;
    enum pt_err err = a->deps.connection_end(a->deps.ctx, id, now, &gone);
    json_t *body;

    if (err) {
        api_audit_end(x, row, err, STR(""));
        problem(x, err);
        return;
    }
    api_audit_end(x, row, PT_ERR_OK, gone ? STR("ended") : STR("ends with its next command"));
    log_end_of(x, now);
    body = json_object();
    api_json_set(&body, "disconnected", json_boolean(gone));
    http_answer_json(x, 200, body);
}

static void delete_job(struct http_exchange *x)
{
    bool now = http_exchange_query_flag(x, "now");
    uint64_t id, row;

    if (read_id(x, &id) &&
        api_audit_begin(x, "connection.disconnect", http_exchange_param(x, "id"), &row))
        disconnect(x, id, now, row);
}

void api_live_item_delete(struct http_exchange *x)
{
    api_job(x, delete_job);
}
