#include "http/conn.h"

#include <stdlib.h>

enum {
    READ_SIZE = 16 * 1024,
    READS_PER_TURN = 16,
    DRAIN_MAX = 1024 * 1024,
    DRAIN_MS = 1000,
    BODY_STEP = 1024 * 1024, /* of a body in pieces, within one deadline */
};

#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"

static void conn_run(struct http_conn *c);

static void start_timer(struct http_conn *c, unsigned ms)
{
    net_timer_start(&c->timer, (int64_t)ms * 1000000);
}

/* Of what the exchange does next. */
static void start_deadline(struct http_conn *c)
{
    start_timer(c, c->x->deadline_ms ? c->x->deadline_ms : c->server->config.deadline_ms);
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

void http_conn_let_go(struct http_conn *c)
{
    if (!c->x)
        return;
    c->x->conn = NULL;
    if (c->state != CONN_WAITING || c->x->finished || c->x->on_loop)
        http_exchange_free(c->x);
    c->x = NULL;
}

void http_conn_close(struct http_conn *c)
{
    http_conn_let_go(c);
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

/* A handler is called back inside a run, which then goes on by itself. */
static void call(struct http_conn *c, void (*fn)(struct http_exchange *x))
{
    c->dispatching = true;
    fn(c->x);
    c->dispatching = false;
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

    http_conn_let_go(c);
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

    switch (http_conn_flush(c)) {
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
        if (x->response.total == HTTP_ENDLESS)
            net_timer_stop(&c->timer); /* until there is something to write */
        else
            start_deadline(c);
        buf_clear(&x->response.body);
        c->body_done = 0;
        x->finished = false;
        c->state = CONN_WAITING;
        call(c, x->response.more);
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
        http_conn_refuse(c, 421, "This server does not go by that host name.");
        return false;
    }
    x->room = malloc(x->request->path.n + x->request->query.n + 1);
    if (!x->room) {
        http_conn_refuse(c, 503, "out of memory");
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
        http_conn_refuse(c, x->reader.status, x->reader.reason);
        return false;
    }
    if (x->request->expect_continue && !http_conn_streams(c))
        BUF_LIT(&c->out, CONTINUE);
    return true;
}

bool http_conn_streams(const struct http_conn *c)
{
    return c->x->match.route && c->x->match.route->streams;
}

/* The request is complete, or its head where the body comes in pieces: calls its handler, or
 * answers in its stead. */
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
        call(c, m->route->handler);
        return;
    }
    x->finished = true;
}

static void send_continue(struct http_conn *c)
{
    if (c->out.n && http_conn_flush(c) == FLUSH_ALL) {
        buf_clear(&c->out);
        c->out_done = 0;
    }
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
            if (route(c))
                send_continue(c);
            if (c->state == CONN_READING && http_conn_streams(c) &&
                http_reader_has_body(&c->x->reader))
                dispatch(c);
            break;
        case HTTP_READ_BROKEN:
            http_conn_refuse(c, c->x->reader.status, c->x->reader.reason);
            break;
        case HTTP_READ_DONE:
            c->x->body_over = true;
            dispatch(c);
            break;
        }
    }
    return true;
}

/* One read. False: nothing has come, or the connection is gone. */
static bool fill(struct http_conn *c)
{
    ssize_t n;

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
    return true;
}

/* False when there is nothing to do until the socket says so, or the connection is gone. */
static bool run_reading(struct http_conn *c)
{
    if (!c->x && c->in.n == 0 && c->server->stopping) {
        http_conn_close(c);
        return false;
    }
    if (c->in.n == 0 && !fill(c))
        return false;
    if (!c->x) {
        c->x = http_exchange_new(c->server->config.loop, c->server->config.ctx, &c->server->live);
        if (!c->x) {
            http_conn_refuse(c, 503, "out of memory");
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

/* Reads up to the next piece of the body and hands it over. False as above. */
static bool run_body(struct http_conn *c)
{
    struct http_exchange *x = c->x;
    void (*taken)(struct http_exchange *) = x->body_wanted;

    if (x->request->expect_continue) {
        x->request->expect_continue = false;
        BUF_LIT(&c->out, CONTINUE);
        send_continue(c);
    }
    while (!x->body_over && x->reader.body.n == 0) {
        struct http_step step = http_reader_feed(&x->reader, buf_str(&c->in));

        buf_drop(&c->in, step.taken);
        c->body_read += step.taken;
        if (step.status == HTTP_READ_BROKEN) {
            http_conn_refuse(c, x->reader.status, x->reader.reason);
            return true;
        }
        x->body_over = step.status == HTTP_READ_DONE;
        if (step.status == HTTP_READ_MORE && x->reader.body.n == 0 && !fill(c))
            return false;
    }
    if (c->body_read >= BODY_STEP) {
        c->body_read = 0;
        start_deadline(c);
    }
    x->request->body = buf_str(&x->reader.body);
    x->body_wanted = NULL;
    call(c, taken);
    http_reader_drop(&x->reader);
    return true;
}

/* A handler has the exchange. False as above. */
static bool run_waiting(struct http_conn *c)
{
    char waste[4096];
    ssize_t n;

    if (c->x->body_wanted)
        return run_body(c);
    if (!c->head_made || c->x->response.total != HTTP_ENDLESS) {
        net_watch_want(&c->watch, 0);
        return false;
    }
    /* Nothing more is expected of the client but that it leaves. */
    n = net_stream_read(&c->stream, waste, sizeof waste);
    c->drained += n > 0 ? (size_t)n : 0;
    if (n > 0 && c->drained <= DRAIN_MAX)
        return true;
    if (n == NET_STREAM_AGAIN)
        net_watch_want(&c->watch, NET_READ);
    else
        http_conn_close(c);
    return false;
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

    return r->aborted ||
           (c->head_made &&
            (!r->more || (r->body.n == 0 && r->total != HTTP_ENDLESS) || r->body.failed));
}

/* There is something to write, or an endless body has ended. */
static void run_answered(struct http_conn *c)
{
    struct http_exchange *x = c->x;

    if (!c->head_made)
        http_conn_start_response(c);
    else if (x->response.total == HTTP_ENDLESS && x->response.body.n == 0)
        c->body_left = 0;
    if (x->response.more && x->response.total == HTTP_ENDLESS)
        start_deadline(c);
    c->state = CONN_WRITING;
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
                if (!run_waiting(c))
                    return;
                break;
            }
            if (cannot_go_on(c)) {
                http_conn_close(c);
                return;
            }
            run_answered(c);
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

void http_conn_go_on(struct http_conn *c)
{
    /* A handler that answers at once is still inside call(): conn_run() goes on after it. */
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
    if (c->state == CONN_WAITING && !c->x->body_wanted)
        http_conn_refuse(c, 503, "The request took too long.");
    else
        http_conn_refuse(c, 408, "The request did not arrive in time.");
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
