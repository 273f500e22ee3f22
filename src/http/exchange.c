#include "http/exchange.h"

#include <stdlib.h>

#include "http/conn.h"
#include "net/loop.h"

enum { JSON_FLAGS = JSON_REJECT_DUPLICATES };

static void on_posted(struct mail *mail)
{
    struct http_exchange *x = PT_CONTAINER_OF(mail, struct http_exchange, mail);
    void (*then)(struct http_exchange *) = x->then;

    x->then = NULL;
    if (!then)
        http_exchange_finish(x);
    else if (!x->conn)
        http_exchange_free(x);
    else
        then(x);
}

struct http_exchange *http_exchange_new(struct net_loop *loop, void *ctx, _Atomic unsigned *live)
{
    struct http_exchange *x = calloc(1, sizeof *x);

    if (!x)
        return NULL;
    atomic_fetch_add(live, 1);
    x->live = live;
    x->loop = loop;
    x->ctx = ctx;
    x->request = &x->reader.request;
    x->mail.run = on_posted;
    buf_init(&x->response.head, 8192);
    buf_init(&x->response.body, HTTP_RESPONSE_MAX);
    if (!http_reader_init(&x->reader)) {
        http_exchange_free(x);
        return NULL;
    }
    return x;
}

void http_exchange_free(struct http_exchange *x)
{
    if (!x)
        return;
    if (x->user_free)
        x->user_free(x->user);
    http_reader_done(&x->reader);
    buf_done(&x->response.head);
    buf_done(&x->response.body);
    free(x->room);
    atomic_fetch_sub(x->live, 1);
    free(x);
}

struct str http_exchange_param(const struct http_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->match.param_count; i++)
        if (str_eq(x->match.params[i].name, str_of(name)))
            return x->match.params[i].value;
    pt_panic(__FILE__, __LINE__, "the route has no such parameter");
}

struct str http_exchange_query(const struct http_exchange *x, const char *name)
{
    for (size_t i = 0; i < x->query_count; i++)
        if (str_eq(x->query[i].name, str_of(name)))
            return x->query[i].value;
    return STR_NULL;
}

bool http_exchange_query_flag(const struct http_exchange *x, const char *name)
{
    struct str v = http_exchange_query(x, name);

    return v.p && (v.n == 0 || str_eq(v, STR("true")) || str_eq(v, STR("1")));
}

bool http_exchange_query_u64(const struct http_exchange *x, const char *name, uint64_t fallback,
                             uint64_t *out)
{
    struct str v = http_exchange_query(x, name);

    if (v.p)
        return str_to_u64(v, out);
    *out = fallback;
    return true;
}

/* ---- the query ---- */

static const char *add_pair(struct http_exchange *x, struct str pair, char **room)
{
    ptrdiff_t eq = str_find(pair, '=', 0);
    struct str raw_name = eq < 0 ? pair : str_head(pair, (size_t)eq);
    struct str raw_value = eq < 0 ? STR("") : str_from(pair, (size_t)eq + 1);
    struct http_param *p = &x->query[x->query_count];

    if (x->query_count == HTTP_QUERY_MAX)
        return "too many query parameters";
    p->name.p = *room;
    if (!http_percent_decode(raw_name, true, *room, &p->name.n))
        return "malformed query";
    *room += p->name.n;
    p->value.p = *room;
    if (!http_percent_decode(raw_value, true, *room, &p->value.n))
        return "malformed query";
    *room += p->value.n;
    /* A parameter that is not understood would be one that is silently not obeyed. */
    if (!http_route_takes(x->match.route, p->name))
        return "this resource does not take that query parameter";
    for (size_t i = 0; i < x->query_count; i++)
        if (str_eq(x->query[i].name, p->name))
            return "a query parameter is given twice";
    x->query_count++;
    return NULL;
}

bool http_exchange_parse_query(struct http_exchange *x)
{
    struct str q = x->request->query;
    char *room = x->room + x->request->path.n;

    for (size_t at = 0; at < q.n;) {
        ptrdiff_t amp = str_find(q, '&', at);
        size_t end = amp < 0 ? q.n : (size_t)amp;
        const char *why = NULL;

        if (end > at)
            why = add_pair(x, (struct str){ q.p + at, end - at }, &room);
        if (why) {
            http_problem(x, 400, "%s", why);
            return false;
        }
        at = end + 1;
    }
    return true;
}

/* ---- answers ---- */

void http_header_add(struct http_exchange *x, const char *name, const char *value)
{
    buf_addf(&x->response.head, "%s: %s\r\n", name, value);
}

static int dump(const char *octets, size_t n, void *ctx)
{
    struct buf *out = ctx;

    buf_add(out, octets, n);
    return out->failed ? -1 : 0;
}

void http_answer_json(struct http_exchange *x, unsigned status, json_t *value)
{
    struct http_response *r = &x->response;

    r->status = (uint16_t)status;
    r->type = "application/json";
    r->more = NULL;
    buf_clear(&r->body);
    if (!value || json_dump_callback(value, dump, &r->body, JSON_COMPACT) != 0)
        http_problem(x, 503, "The answer does not fit in memory.");
    else
        buf_add_char(&r->body, '\n');
    json_decref(value);
}

void http_answer_text(struct http_exchange *x, unsigned status, const char *type, struct str text)
{
    x->response.status = (uint16_t)status;
    x->response.type = type;
    x->response.more = NULL;
    buf_clear(&x->response.body);
    buf_add_str(&x->response.body, text);
}

void http_answer_empty(struct http_exchange *x, unsigned status)
{
    x->response.status = (uint16_t)status;
    x->response.type = NULL;
    x->response.more = NULL;
    buf_clear(&x->response.body);
}

void http_exchange_abort(struct http_exchange *x)
{
    x->response.aborted = true;
}

void http_exchange_finish(struct http_exchange *x)
{
    x->finished = true;
    if (!x->conn)
        http_exchange_free(x);
    else
        http_conn_go_on(x->conn);
}

void http_exchange_want_body(struct http_exchange *x, void (*taken)(struct http_exchange *x))
{
    pt_assert(x->conn && http_conn_streams(x->conn) && !x->body_over && !x->body_wanted);
    x->on_loop = true;
    x->body_wanted = taken;
    http_conn_go_on(x->conn);
}

void http_exchange_hang_up(struct http_exchange *x)
{
    pt_assert(x->conn && !x->conn->dispatching);
    http_conn_close(x->conn);
}

void http_exchange_post(struct http_exchange *x)
{
    net_loop_post(x->loop, &x->mail);
}

/* ---- JSON bodies ---- */

static bool type_is(struct str header, const char *type)
{
    ptrdiff_t semicolon = str_find(header, ';', 0);
    struct str value = str_trim(semicolon < 0 ? header : str_head(header, (size_t)semicolon));

    return type && str_eq_nocase(value, str_of(type));
}

json_t *http_exchange_json(struct http_exchange *x, const char *type)
{
    struct str header = http_request_header(x->request, "content-type");
    struct str body = x->request->body;
    json_error_t error;
    json_t *value;

    if (!type_is(header, "application/json") && !type_is(header, type)) {
        http_problem(x, 415, "The body must be %s.", type ? type : "application/json");
        return NULL;
    }
    value = json_loadb(body.p ? body.p : "", body.n, JSON_FLAGS, &error);
    if (!value)
        http_problem(x, 400, "The body is not JSON: %s (line %d, column %d).", error.text,
                     error.line, error.column);
    return value;
}
