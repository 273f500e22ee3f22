#include "http/conn.h"

#include <stdlib.h>
#include <sys/uio.h>

#include "base/clock.h"

enum {
    READ_SIZE = 16 * 1024,
    READS_PER_TURN = 16,
    DRAIN_MAX = 1024 * 1024,
    DRAIN_MS = 1000,
    DATE_SIZE = CLOCK_RFC5322_SIZE,
};

static void conn_run(struct http_conn *c);

static void start_timer(struct http_conn *c, unsigned ms)
{
    net_timer_start(&c->timer, (int64_t)ms * 1000000);
}

static void list_remove(struct http_conn *c)
{
    struct http_server *s = c->server;

    *(c->prev ? &c->prev->next : &s->first) = c->next;
    *(c->next ? &c->next->prev : &s->last) = c->prev;
}

static void list_append(struct http_conn *c)
{
    struct http_server *s = c->server;

    c->prev = s->last;
    c->next = NULL;
    *(s->last ? &s->last->next : &s->first) = c;
    s->last = c;
}

/* An exchange whose handler is still at work is left to it and freed when it finishes. */
static void let_go(struct http_conn *c)
{
    if (!c->x)
        return;
    c->x->conn = NULL;
    if (c->state != CONN_WAITING || c->x->finished)
        http_exchange_free(c->x);
    c->x = NULL;
}

void http_conn_close(struct http_conn *c)
{
    let_go(c);
    net_timer_stop(&c->timer);
    net_watch_close(&c->watch);
    net_stream_close(&c->stream);
    list_remove(c);
    c->server->connections--;
    buf_done(&c->in);
    buf_done(&c->out);
    free(c);
}

bool http_conn_idle(const struct http_conn *c)
{
    return c->state == CONN_READING && c->in.n == 0 && (!c->x || !http_reader_begun(&c->x->reader));
}

/* ---- writing ---- */

static void write_head(struct http_conn *c, unsigned status, const char *type, uint64_t length,
                       struct str more)
{
    char date[CLOCK_RFC5322_SIZE];

    clock_rfc5322(clock_wall_us(), date);
    /* RFC 9110 section 5.6.7 wants "GMT" where mail has "+0000". */
    buf_addf(&c->out, "HTTP/1.1 %u %s\r\nDate: %.*s GMT\r\n", status, http_status_text(status),
             (int)(strlen(date) - sizeof " +0000" + 1), date);
    if (type)
        buf_addf(&c->out, "Content-Type: %s\r\n", type);
    if (status != 204 && status != 304)
        buf_addf(&c->out, "Content-Length: %llu\r\n", (unsigned long long)length);
    BUF_LIT(&c->out, "Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\n");
    buf_add_str(&c->out, str_of(c->server->config.common_head));
    if (c->close_after)
        BUF_LIT(&c->out, "Connection: close\r\n");
    buf_add_str(&c->out, more);
    BUF_LIT(&c->out, "\r\n");
}

/* Answers by itself and closes afterwards: for what never reaches a handler. */
static void refuse(struct http_conn *c, unsigned status, const char *detail)
{
    struct buf body;

    let_go(c);
    buf_init(&body, 4096);
    http_problem_write(&body, status, detail);
    c->close_after = true;
    write_head(c, status, "application/problem+json", body.n, STR_NULL);
    buf_add_str(&c->out, buf_str(&body));
    buf_done(&body);
    c->body_left = 0;
    c->state = CONN_WRITING;
}

/* Turns the finished exchange into octets. */
static void start_response(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    struct http_response *r = &x->response;
    bool headless = x->request->method == HTTP_METHOD_HEAD;
    uint64_t length;

    if (r->status == 0)
        http_problem(x, 500, "The request was not answered.");
    if (r->body.failed || r->head.failed) {
        r->head.n = 0;
        http_problem(x, 503, "The answer does not fit in memory.");
    }
    length = r->more ? r->total : r->body.n;
    c->close_after |= !x->request->keep_alive || c->server->stopping;
    write_head(c, r->status, r->type, length, buf_str(&r->head));
    c->body_left = headless ? 0 : length;
    if (headless || (r->status == 204 || r->status == 304)) {
        c->body_left = 0;
        r->body.n = 0;
        r->more = NULL;
    }
    c->head_made = true;
    c->state = CONN_WRITING;
}

enum flushed { FLUSH_ALL, FLUSH_WAIT, FLUSH_GONE };

/* Writes head and body in one call where the socket takes it. */
static enum flushed flush(struct http_conn *c)
{
    struct buf *body = c->x && c->head_made ? &c->x->response.body : NULL;

    for (;;) {
        struct iovec iov[2];
        int count = 0;
        size_t head_left = c->out.n - c->out_done, taken;
        size_t body_left = body ? PT_MIN(body->n - c->body_done, c->body_left) : 0;
        ssize_t n;

        if (head_left)
            iov[count++] = (struct iovec){ c->out.p + c->out_done, head_left };
        /* Never more than was announced: the next response would be read out of it. */
        if (body_left)
            iov[count++] = (struct iovec){ body->p + c->body_done, body_left };
        if (count == 0)
            return FLUSH_ALL;
        n = net_stream_writev(&c->stream, iov, count);
        if (n == NET_STREAM_AGAIN)
            return FLUSH_WAIT;
        if (n < 0)
            return FLUSH_GONE;
        taken = PT_MIN((size_t)n, head_left);
        c->out_done += taken;
        c->body_done += (size_t)n - taken;
        c->body_left -= PT_MIN(c->body_left, (size_t)n - taken);
    }
}

static void start_draining(struct http_conn *c)
{
    net_stream_shutdown(&c->stream);
    c->state = CONN_DRAINING;
    c->drained = 0;
    start_timer(c, DRAIN_MS);
}

/* The response is out: the next request, or the end. False when the connection is gone. */
static bool end_of_response(struct http_conn *c)
{
    bool aborted = c->body_left > 0;

    let_go(c);
    buf_clear(&c->out);
    c->out_done = 0;
    c->body_done = 0;
    c->head_made = false;
    if (aborted) {
        http_conn_close(c);
        return false;
    }
    if (c->close_after) {
        start_draining(c);
        return true;
    }
    c->state = CONN_READING;
    list_remove(c);
    list_append(c);
    start_timer(c, c->server->config.idle_ms);
    return true;
}

/* False: wait, or the connection is gone. */
static bool run_writing(struct http_conn *c)
{
    struct http_exchange *x = c->x;

    switch (flush(c)) {
    case FLUSH_WAIT:
        net_watch_want(&c->watch, NET_WRITE);
        return false;
    case FLUSH_GONE:
        http_conn_close(c);
        return false;
    case FLUSH_ALL:
        break;
    }
    if (x && x->response.more && c->body_left && !x->response.aborted) {
        start_timer(c, x->deadline_ms ? x->deadline_ms : c->server->config.deadline_ms);
        buf_clear(&x->response.body);
        c->body_done = 0;
        x->finished = false;
        c->state = CONN_WAITING;
        c->dispatching = true;
        x->response.more(x);
        c->dispatching = false;
        return true;
    }
    return end_of_response(c);
}

/* ---- reading ---- */

static bool host_allowed(const struct http_server_config *config, struct str host)
{
    if (config->host_allowed)
        return config->host_allowed(config->ctx, host);
    if (!config->hosts)
        return true;
    for (size_t i = 0; i < config->host_count; i++)
        if (str_eq_nocase(host, str_of(config->hosts[i])))
            return true;
    return false;
}

/* The head is here: finds the route. False: refused. */
static bool route(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    const struct http_server_config *config = &c->server->config;
    size_t body_max = 0;

    if (!host_allowed(config, x->request->host)) {
        refuse(c, 421, "This server does not go by that host name.");
        return false;
    }
    x->room = malloc(x->request->path.n + x->request->query.n + 1);
    if (!x->room) {
        refuse(c, 503, "out of memory");
        return false;
    }
    http_route_match(config->routes, config->route_count, x->request->method, x->request->path,
                     x->room, &x->match);
    /* A body for nobody is read and dropped up to a point, so that the connection lives on. */
    body_max = x->match.route ? x->match.route->body_max : 4096;
    if (config->body_max)
        body_max = PT_MIN(config->body_max(x, body_max), body_max);
    if (x->deadline_ms)
        start_timer(c, x->deadline_ms);
    if (!http_reader_body(&x->reader, body_max)) {
        refuse(c, x->reader.status, x->reader.reason);
        return false;
    }
    if (x->request->expect_continue)
        BUF_LIT(&c->out, "HTTP/1.1 100 Continue\r\n\r\n");
    return true;
}

/* The request is complete: calls its handler, or answers in its stead. */
static void dispatch(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    const struct http_match *m = &x->match;

    c->state = CONN_WAITING;
    if (m->malformed) {
        http_problem(x, 400, "The path has a malformed percent escape.");
    } else if (!m->route && m->path_known) {
        http_header_add(x, "Allow", m->allow);
        http_problem(x, 405, "This resource takes %s.", m->allow);
    } else if (!m->route) {
        http_problem(x, 404, "There is no such resource.");
    } else if (http_exchange_parse_query(x) &&
               (!c->server->config.before || c->server->config.before(x))) {
        c->dispatching = true;
        m->route->handler(x);
        c->dispatching = false;
        return;
    }
    x->finished = true;
}

/* Gives what was read to the reader. False: more must be read. */
static bool consume(struct http_conn *c)
{
    while (c->state == CONN_READING) {
        struct http_step step = http_reader_feed(&c->x->reader, buf_str(&c->in));

        buf_drop(&c->in, step.taken);
        switch (step.status) {
        case HTTP_READ_MORE:
            return false;
        case HTTP_READ_HEAD:
            if (route(c) && c->out.n && flush(c) == FLUSH_ALL) {
                buf_clear(&c->out);
                c->out_done = 0;
            }
            break;
        case HTTP_READ_BROKEN:
            refuse(c, c->x->reader.status, c->x->reader.reason);
            break;
        case HTTP_READ_DONE:
            dispatch(c);
            break;
        }
    }
    return true;
}

/* False when there is nothing to do until the socket says so, or the connection is gone. */
static bool run_reading(struct http_conn *c)
{
    ssize_t n;

    if (!c->x && c->in.n == 0 && c->server->stopping) {
        http_conn_close(c);
        return false;
    }
    if (c->in.n == 0) {
        /* Others get their turn, however much one client has to say. */
        if (c->reads++ >= READS_PER_TURN && !net_stream_pending(&c->stream)) {
            net_watch_want(&c->watch, NET_READ);
            return false;
        }
        if (!buf_reserve(&c->in, READ_SIZE)) {
            http_conn_close(c);
            return false;
        }
        n = net_stream_read(&c->stream, c->in.p, READ_SIZE);
        if (n == NET_STREAM_AGAIN) {
            buf_done(&c->in); /* an idle connection holds no buffer */
            net_watch_want(&c->watch, NET_READ);
            return false;
        }
        if (n <= 0) {
            http_conn_close(c);
            return false;
        }
        c->in.n = (size_t)n;
    }
    if (!c->x) {
        c->x = http_exchange_new(c->server->config.loop, c->server->config.ctx, &c->server->live);
        if (!c->x) {
            refuse(c, 503, "out of memory");
            return true;
        }
        c->x->conn = c;
        c->x->peer_uid = c->peer.uid;
        c->x->peer_pid = c->peer.pid;
        c->x->peer = c->peer.endpoint;
        start_timer(c, c->server->config.deadline_ms);
    }
    consume(c);
    return true;
}

static bool run_draining(struct http_conn *c)
{
    char waste[4096];
    ssize_t n = net_stream_read(&c->stream, waste, sizeof waste);

    if (n == NET_STREAM_AGAIN) {
        net_watch_want(&c->watch, NET_READ);
        return false;
    }
    c->drained += n > 0 ? (size_t)n : 0;
    if (n <= 0 || c->drained > DRAIN_MAX) {
        http_conn_close(c);
        return false;
    }
    return true;
}

/* A body begun cannot become another answer, nor end early. */
static bool cannot_go_on(const struct http_conn *c)
{
    const struct http_response *r = &c->x->response;

    return r->aborted || (c->head_made && (!r->more || r->body.n == 0 || r->body.failed));
}

/* Goes on until the socket or a handler must do something first. May free `c`. */
static void conn_run(struct http_conn *c)
{
    c->reads = 0;
    for (;;) {
        switch (c->state) {
        case CONN_READING:
            if (!run_reading(c))
                return;
            break;
        case CONN_WAITING:
            if (!c->x->finished) {
                net_watch_want(&c->watch, 0);
                return;
            }
            if (cannot_go_on(c)) {
                http_conn_close(c);
                return;
            }
            if (!c->head_made)
                start_response(c);
            c->state = CONN_WRITING;
            break;
        case CONN_WRITING:
            if (!run_writing(c))
                return;
            break;
        case CONN_DRAINING:
            if (!run_draining(c))
                return;
            break;
        }
    }
}

void http_conn_answered(struct http_conn *c)
{
    /* A handler that answers at once is still inside dispatch(): conn_run() goes on after it. */
    if (!c->dispatching)
        conn_run(c);
}

/* ---- events ---- */

static void on_ready(struct net_watch *w, unsigned ready)
{
    conn_run(PT_CONTAINER_OF(w, struct http_conn, watch));
}

static void on_timer(struct net_timer *t)
{
    struct http_conn *c = PT_CONTAINER_OF(t, struct http_conn, timer);

    if (http_conn_idle(c) || c->state == CONN_WRITING || c->state == CONN_DRAINING) {
        http_conn_close(c);
        return;
    }
    if (c->state == CONN_WAITING && c->head_made) { /* the rest of a streamed body */
        http_conn_close(c);
        return;
    }
    if (c->state == CONN_WAITING)
        refuse(c, 503, "The request took too long.");
    else
        refuse(c, 408, "The request did not arrive in time.");
    start_timer(c, DRAIN_MS);
    conn_run(c);
}

void http_conn_start(struct http_server *s, const struct net_stream *stream,
                     const struct http_peer *peer)
{
    struct http_conn *c = calloc(1, sizeof *c);

    if (!c) {
        struct net_stream mine = *stream;

        net_stream_close(&mine);
        return;
    }
    c->server = s;
    c->peer = *peer;
    c->stream = *stream;
    net_watch_init(&c->watch, s->config.loop, c->stream.fd, on_ready);
    net_timer_init(&c->timer, s->config.loop, on_timer);
    buf_init(&c->in, READ_SIZE);
    buf_init(&c->out, 64 * 1024);
    list_append(c);
    s->connections++;
    start_timer(c, s->config.idle_ms);
    net_watch_want(&c->watch, NET_READ);
    /* Read already, by the handshake: nobody will be told of it. */
    if (net_stream_pending(&c->stream))
        conn_run(c);
}
