/*
 * console/pass: requests for the gateway, composed anew.
 *
 * Nothing of a request goes on but its method, its path and query (taken apart and put together
 * again), five headers and its body; nothing of an answer comes back but its status, five headers
 * and its body. Both bodies pass in pieces, each side as fast as the other takes it; an answer
 * without a length is a stream of events (streams.c).
 *
 * A worker finds out who asks, before any of the body is read; the rest is the loop's.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "console/inner.h"
#include "console/passing.h"
#include "console/roles.h"
#include "http/client.h"

enum { PIECE = 64 * 1024 };

/* ---- who says it ---- */

void voice_speak_for(struct voice *v, const struct http_exchange *x, const char *actor)
{
    char address[NET_ADDR_SIZE] = "";

    if (x->peer.addr.family)
        net_addr_format(&x->peer.addr, address);
    snprintf(v->actor, sizeof v->actor, "Postern-Actor: %s", actor);
    snprintf(v->client, sizeof v->client, "Postern-Client: %s", address);
    v->lines[0] = v->actor;
    v->lines[1] = v->client;
    v->lines[2] = NULL;
}

/* ---- the target ---- */

/* A segment that could mean another path to anybody is none. */
static bool is_plain(struct str segment)
{
    if (segment.n == 0 || str_eq(segment, STR(".")) || str_eq(segment, STR("..")))
        return false;
    for (size_t i = 0; i < segment.n; i++)
        if ((unsigned char)segment.p[i] < 0x20 || segment.p[i] == 0x7f || segment.p[i] == '/' ||
            segment.p[i] == '\\')
            return false;
    return true;
}

/* `plain` becomes the path as it is meant, `target` as it is sent. */
static bool compose_path(struct str path, struct buf *plain, struct buf *target)
{
    char room[HTTP_LINE_MAX];

    for (size_t at = 1; at <= path.n;) {
        ptrdiff_t slash = str_find(path, '/', at);
        size_t end = slash < 0 ? path.n : (size_t)slash;
        struct str segment = { room, 0 };

        if (end - at > sizeof room ||
            !http_percent_decode((struct str){ path.p + at, end - at }, false, room, &segment.n) ||
            !is_plain(segment))
            return false;
        buf_add_char(plain, '/');
        buf_add_str(plain, segment);
        buf_add_char(target, '/');
        http_target_add(target, segment);
        at = end + 1;
    }
    return plain->n > 0;
}

static void compose_query(const struct http_exchange *x, struct buf *target)
{
    for (size_t i = 0; i < x->query_count; i++) {
        buf_add_char(target, i ? '&' : '?');
        http_target_add(target, x->query[i].name);
        buf_add_char(target, '=');
        http_target_add(target, x->query[i].value);
    }
}

/* ---- one request on its way ---- */

static void passing_free(void *user)
{
    struct passing *p = user;

    streams_remove(p);
    http_upstream_close(p->upstream);
    buf_done(&p->plain);
    buf_done(&p->target);
    for (size_t i = 0; i < PT_ARRAY_LEN(p->kept); i++)
        buf_done(&p->kept[i]);
    free(p);
}

static struct passing *passing_new(struct http_exchange *x)
{
    struct passing *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->x = x;
    buf_init(&p->plain, HTTP_LINE_MAX);
    buf_init(&p->target, 4 * HTTP_LINE_MAX);
    for (size_t i = 0; i < PT_ARRAY_LEN(p->kept); i++)
        buf_init(&p->kept[i], 512);
    x->user = p;
    x->user_free = passing_free;
    return p;
}

/* The headers that go on. One that is too long is left out, and so is the type of no body. */
static void compose_headers(struct passing *p)
{
    static const char *const names[PASSED_HEADERS] = { "Accept", "If-Match", "If-None-Match",
                                                       "Last-Event-ID", "Content-Type" };
    size_t count = 0;

    p->lines[count++] = p->voice.actor;
    p->lines[count++] = p->voice.client;
    for (size_t i = 0; i < PASSED_HEADERS; i++) {
        struct str value = http_request_header(p->x->request, names[i]);

        if (strcmp(names[i], "Content-Type") == 0) {
            if (!p->has_body && p->x->request->method == HTTP_METHOD_GET)
                continue;
            if (!value.p && p->has_body)
                value = STR("application/octet-stream");
        }
        if (!value.p)
            continue;
        buf_addf(&p->kept[i], "%s: %.*s", names[i], STR_FMT(value));
        if (!p->kept[i].failed && buf_cstr(&p->kept[i]))
            p->lines[count++] = buf_cstr(&p->kept[i]);
    }
    p->lines[count] = NULL;
}

/* ---- back ---- */

static void add_if(struct http_exchange *x, const char *name, const char *value)
{
    if (*value)
        http_header_add(x, name, value);
}

/* The next piece of the answer, if there is one. */
static void pass_back(struct passing *p)
{
    struct http_exchange *x = p->x;
    struct http_upstream *u = p->upstream;
    size_t n = http_upstream_read(u, &x->response.body, PIECE);
    bool over = http_upstream_is_over(u), failed = http_upstream_error(u) != PT_ERR_OK;

    if (!n && !over && !failed) {
        p->hungry = true;
        return;
    }
    p->hungry = false;
    if (!n && failed && x->response.total != HTTP_ENDLESS) {
        log_text(LOG_WARN, "console", "an answer of the gateway broke off");
        http_exchange_abort(x);
    }
    http_exchange_finish(x);
}

static void more(struct http_exchange *x)
{
    pass_back(x->user);
}

/* False: it is none that can be passed on. */
static bool take_length(struct passing *p, const struct http_reply_head *h)
{
    struct http_response *r = &p->x->response;
    bool stream = h->status == 200 && str_starts_nocase(str_of(h->type), STR("text/event-stream"));

    if (h->status == 204 || h->status == 304)
        return true;
    if (!h->has_length && !stream)
        return false;
    if (!h->has_length && !streams_add(p)) {
        http_upstream_close(p->upstream);
        p->upstream = NULL;
        return true;
    }
    r->total = h->has_length ? h->length : HTTP_ENDLESS;
    if (r->total || p->x->request->method == HTTP_METHOD_HEAD)
        r->more = more;
    return true;
}

static void answer(struct passing *p, const struct http_reply_head *h)
{
    struct http_exchange *x = p->x;

    p->answered = true;
    if (!take_length(p, h)) {
        http_problem(x, 502, "The gateway's answer cannot be passed on.");
    } else if (p->upstream) {
        add_if(x, "ETag", h->etag);
        add_if(x, "Content-Disposition", h->disposition);
        add_if(x, "Allow", h->allow);
        add_if(x, "Retry-After", h->retry_after);
        x->response.status = h->status;
        x->response.type = p->upstream && h->type[0] ? h->type : NULL;
    }
    http_exchange_finish(x);
}

static void cannot(struct passing *p, enum pt_err err)
{
    p->answered = true;
    http_problem(p->x, err == PT_ERR_IO ? 502 : 503, "The gateway does not answer.");
    http_exchange_finish(p->x);
}

/* ---- there ---- */

static void go_on(struct passing *p);

static void on_piece(struct http_exchange *x)
{
    struct passing *p = x->user;

    p->asked = false;
    http_upstream_write(p->upstream, x->request->body);
    if (x->body_over)
        http_upstream_write_end(p->upstream);
    go_on(p);
}

/* Whatever can be done now; `p` may be gone afterwards. */
static void go_on(struct passing *p)
{
    const struct http_reply_head *head = http_upstream_head(p->upstream);
    enum pt_err err = http_upstream_error(p->upstream);

    if (p->answered) {
        if (p->hungry)
            pass_back(p);
    } else if (head) {
        answer(p, head);
    } else if (err) {
        cannot(p, err);
    } else if (p->has_body && !p->x->body_over && !p->asked &&
               http_upstream_has_room(p->upstream)) {
        p->asked = true;
        http_exchange_want_body(p->x, on_piece);
    }
}

static void on_upstream(void *ctx)
{
    go_on(ctx);
}

static void send_on(struct passing *p)
{
    struct http_exchange *x = p->x;
    struct str length = http_request_header(x->request, "content-length");
    struct http_upstream_request request = {
        .method = http_method_name(x->request->method),
        .target = buf_cstr(&p->target),
        .headers = p->lines,
    };
    struct pt_fault fault = { 0 };
    enum pt_err err;

    p->has_body = !x->body_over;
    request.has_body = p->has_body || x->request->method != HTTP_METHOD_GET;
    request.has_length = !p->has_body || str_to_u64(length, &request.length);
    voice_speak_for(&p->voice, x, p->who.actor);
    compose_headers(p);
    err = http_upstream_open(&p->upstream, console_of(x)->loop, console_of(x)->socket, &request,
                             on_upstream, p, &fault);
    if (err) {
        cannot(p, err);
        return;
    }
    x->on_loop = true;
    go_on(p);
}

/* ---- who asks, and what ---- */

static void check_job(struct http_exchange *x)
{
    struct passing *p = x->user;

    p->allowed = who_may(x, p->least, &p->who);
}

static void checked(struct http_exchange *x)
{
    struct passing *p = x->user;

    if (p->allowed && p->good && x->request->method != HTTP_METHOD_OTHER && !p->target.failed &&
        !p->plain.failed && buf_cstr(&p->target)) {
        send_on(p);
        return;
    }
    /* Strangers learn nothing but that they are none of us. */
    if (p->allowed && !p->good)
        http_problem(x, 404, "There is no such resource.");
    else if (p->allowed && x->request->method == HTTP_METHOD_OTHER)
        http_problem(x, 405, "No resource takes that method.");
    else if (p->allowed)
        http_problem(x, 414, "The target is too long.");
    http_exchange_finish(x);
}

void pass_on(struct http_exchange *x)
{
    struct passing *p = passing_new(x);

    if (!p) {
        http_problem(x, 503, "out of memory");
        http_exchange_finish(x);
        return;
    }
    p->good = compose_path(x->request->path, &p->plain, &p->target);
    compose_query(x, &p->target);
    p->least = p->good ? role_needed(http_method_name(x->request->method), buf_str(&p->plain))
                       : ROLE_VIEWER;
    http_work_then(console_of(x)->work, x, check_job, checked);
}
