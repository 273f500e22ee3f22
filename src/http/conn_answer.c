/*
 * http/conn: the answer of a connection, turned into octets and written.
 */
#include <string.h>
#include <sys/uio.h>

#include "base/clock.h"
#include "http/conn.h"

/* `length` HTTP_ENDLESS: the body ends with the connection. */
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
    if (status != 204 && status != 304 && length != HTTP_ENDLESS)
        buf_addf(&c->out, "Content-Length: %llu\r\n", (unsigned long long)length);
    /* Nothing may be kept, unless the handler has begun with saying otherwise. */
    if (!str_starts_nocase(more, STR("Cache-Control:")))
        BUF_LIT(&c->out, "Cache-Control: no-store\r\n");
    BUF_LIT(&c->out, "X-Content-Type-Options: nosniff\r\n");
    buf_add_str(&c->out, str_of(c->server->config.common_head));
    if (c->close_after)
        BUF_LIT(&c->out, "Connection: close\r\n");
    buf_add_str(&c->out, more);
    BUF_LIT(&c->out, "\r\n");
}

void http_conn_refuse(struct http_conn *c, unsigned status, const char *detail)
{
    struct buf body;

    http_conn_let_go(c);
    buf_init(&body, 4096);
    http_problem_write(&body, status, detail);
    c->close_after = true;
    write_head(c, status, "application/problem+json", body.n, STR_NULL);
    buf_add_str(&c->out, buf_str(&body));
    buf_done(&body);
    c->body_left = 0;
    c->state = CONN_WRITING;
}

void http_conn_start_response(struct http_conn *c)
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
    /* What is left of the request's body cannot be told from a next request. */
    c->close_after |= !x->request->keep_alive || c->server->stopping || length == HTTP_ENDLESS ||
                      (http_conn_streams(c) && !x->body_over);
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

enum http_flushed http_conn_flush(struct http_conn *c)
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
