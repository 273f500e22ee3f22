/*
 * console/pass: requests for the gateway, composed anew.
 *
 * Nothing of a request goes on but its method, its path and query (taken apart and put together
 * again), four headers and its body; nothing of an answer comes back but its status, six headers
 * and its body, which passes in pieces.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "console/inner.h"
#include "console/roles.h"
#include "http/client.h"

enum { PIECE = 256 * 1024, GATEWAY_TIMEOUT_MS = 300000, RECORD_TIMEOUT_MS = 10000 };

/* ---- who says it ---- */

struct voice {
    char actor[WHO_ACTOR_SIZE + 20];
    char client[NET_ADDR_SIZE + 20];
    const char *lines[3];
};

static void speak_for(struct voice *v, const struct http_exchange *x, const char *actor)
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

enum pt_err record(struct http_exchange *x, const char *actor, const char *action,
                   const char *target, const char *outcome, const char *detail,
                   struct pt_fault *fault)
{
    struct http_client *client = http_client_new(console_of(x)->socket, RECORD_TIMEOUT_MS);
    json_t *row = json_pack("{s:s, s:s, s:s, s:s}", "action", action, "target", target, "outcome",
                            outcome, "detail", detail);
    char *text = row ? json_dumps(row, JSON_COMPACT) : NULL;
    struct http_reply reply;
    struct voice voice;
    enum pt_err err = PT_ERR_OK;

    speak_for(&voice, x, actor);
    if (!client || !text)
        err = pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    if (!err) {
        err = http_client_call(client,
                               &(struct http_call){ .method = "POST",
                                                    .target = "/api/v1/audit",
                                                    .type = "application/json",
                                                    .body = str_of(text),
                                                    .headers = voice.lines },
                               &reply, fault);
        if (!err && reply.status != 201)
            err = pt_fault_set(fault, PT_ERR_DENIED, "the gateway answered %u", reply.status);
        http_reply_done(&reply);
    }
    free(text);
    json_decref(row);
    http_client_free(client);
    return err;
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

struct passing {
    struct http_client *client;
    struct http_reply reply;
    struct buf plain, target;
    struct voice voice;
    char type[160], if_match[96], accept[160];
};

static void passing_free(void *user)
{
    struct passing *p = user;

    http_client_free(p->client);
    http_reply_done(&p->reply);
    buf_done(&p->plain);
    buf_done(&p->target);
    free(p);
}

static struct passing *passing_new(struct http_exchange *x)
{
    struct passing *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    buf_init(&p->plain, HTTP_LINE_MAX);
    buf_init(&p->target, 4 * HTTP_LINE_MAX);
    p->client = http_client_new(console_of(x)->socket, GATEWAY_TIMEOUT_MS);
    x->user = p;
    x->user_free = passing_free;
    return p->client ? p : NULL;
}

/* A header of the request as a clean C string; NULL: it has none, or one that is too long. */
static const char *keep(const struct http_exchange *x, const char *name, char *out, size_t size)
{
    struct str value = http_request_header(x->request, name);

    if (!value.p || value.n >= size)
        return NULL;
    snprintf(out, size, "%.*s", STR_FMT(value));
    return out;
}

static void more_job(struct http_exchange *x)
{
    struct passing *p = x->user;
    struct pt_fault fault = { 0 };

    if (http_client_read(p->client, &x->response.body, PIECE, &fault) == PT_ERR_OK &&
        x->response.body.n)
        return;
    log_text(LOG_WARN, "console", "an answer of the gateway broke off: %s", fault.text);
    http_exchange_abort(x);
}

static void more(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, more_job);
}

static void add_if(struct http_exchange *x, const char *name, const char *value)
{
    for (const char *p = value; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return;
    if (*value)
        http_header_add(x, name, value);
}

static void answer(struct http_exchange *x, struct passing *p)
{
    struct http_reply *r = &p->reply;
    bool headless = x->request->method == HTTP_METHOD_HEAD;
    bool none = r->status == 204 || r->status == 304;

    if (r->status < 200 || r->status > 599 || (!r->has_length && !none)) {
        http_problem(x, 502, "The gateway's answer cannot be passed on.");
        return;
    }
    add_if(x, "ETag", r->etag);
    add_if(x, "Content-Disposition", r->disposition);
    add_if(x, "Allow", r->allow);
    add_if(x, "Retry-After", r->retry_after);
    x->response.status = (uint16_t)r->status;
    x->response.type = r->full_type[0] ? r->full_type : NULL;
    x->response.total = r->length;
    if (!none && (headless || r->length))
        x->response.more = more;
    if (!none && !headless && r->length)
        more_job(x);
}

static void send_on(struct http_exchange *x, struct passing *p, const char *actor)
{
    static const struct {
        enum pt_err err;
        unsigned status;
    } statuses[] = { { PT_ERR_TIMEOUT, 504 }, { PT_ERR_CLOSED, 503 }, { PT_ERR_NOMEM, 503 } };
    struct pt_fault fault = { 0 };
    unsigned status = 502;
    struct http_call call = {
        .method = http_method_name(x->request->method),
        .target = buf_cstr(&p->target),
        .headers = p->voice.lines,
        .type = keep(x, "content-type", p->type, sizeof p->type),
        .if_match = keep(x, "if-match", p->if_match, sizeof p->if_match),
        .accept = keep(x, "accept", p->accept, sizeof p->accept),
        .body = x->request->body,
    };
    enum pt_err err;

    speak_for(&p->voice, x, actor);
    if (!call.body.n)
        call.type = x->request->method == HTTP_METHOD_GET || x->request->method == HTTP_METHOD_HEAD
                        ? NULL
                        : call.type;
    else if (!call.type)
        call.type = "application/octet-stream";
    err = http_client_begin(p->client, &call, &p->reply, &fault);
    if (!err) {
        answer(x, p);
        return;
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(statuses); i++)
        if (statuses[i].err == err)
            status = statuses[i].status;
    http_problem(x, status, "%s",
                 status == 504 ? "The gateway took too long." : "The gateway does not answer.");
}

static void pass_job(struct http_exchange *x)
{
    const char *method = http_method_name(x->request->method);
    struct passing *p = passing_new(x);
    enum account_role least = ROLE_VIEWER;
    struct who who;
    bool good;

    if (!p) {
        http_problem(x, 503, "out of memory");
        return;
    }
    good = compose_path(x->request->path, &p->plain, &p->target);
    compose_query(x, &p->target);
    if (good)
        least = role_needed(method, buf_str(&p->plain));
    /* Strangers learn nothing but that they are none of us. */
    if (!who_may(x, least, &who))
        return;
    if (!good)
        http_problem(x, 404, "There is no such resource.");
    else if (x->request->method == HTTP_METHOD_OTHER)
        http_problem(x, 405, "No resource takes that method.");
    else if (p->target.failed || p->plain.failed || !buf_cstr(&p->target))
        http_problem(x, 414, "The target is too long.");
    else
        send_on(x, p, who.actor);
}

void pass_on(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, pass_job);
}
