#include "http/upstream.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/socket.h"

enum { READ_SIZE = 16 * 1024, OUT_MAX = 4 * 1024 * 1024 };

struct http_upstream {
    int fd;
    struct net_watch watch;
    void (*ready)(void *ctx);
    void *ctx;
    struct buf out; /* head and body that are still to be written */
    size_t out_done;
    struct http_reply_reader reader;
    struct buf rest; /* of the answer's body: what came in one read with its head */
    uint64_t left;   /* of the answer's body; without a length: all there may be */
    enum pt_err err;
    bool chunked;
    bool headless;  /* an answer to HEAD has no body */
    bool head_seen; /* of the answer */
    bool hungry;    /* a read found nothing */
    bool deaf;      /* the server takes no more */
    bool over;
};

static void fail(struct http_upstream *u, enum pt_err err)
{
    if (!u->err)
        u->err = err;
}

static void want(struct http_upstream *u)
{
    bool writes = u->out.n > u->out_done && !u->deaf;
    bool reads = !u->over && !u->err && (!u->head_seen || u->hungry);

    net_watch_want(&u->watch, (writes ? NET_WRITE : 0) | (reads ? NET_READ : 0));
}

/* ---- writing ---- */

static void flush(struct http_upstream *u)
{
    while (u->out_done < u->out.n && !u->deaf) {
        ssize_t n = send(u->fd, u->out.p + u->out_done, u->out.n - u->out_done, MSG_NOSIGNAL);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0)
            u->deaf = true; /* the reading tells whether it has answered */
        else
            u->out_done += (size_t)n;
    }
    buf_clear(&u->out);
    u->out_done = 0;
}

bool http_upstream_has_room(const struct http_upstream *u)
{
    return u->out.n - u->out_done < HTTP_UPSTREAM_HOLD;
}

static void add(struct http_upstream *u, struct str octets)
{
    buf_drop(&u->out, u->out_done);
    u->out_done = 0;
    buf_add_str(&u->out, octets);
}

void http_upstream_write(struct http_upstream *u, struct str piece)
{
    if (!piece.n || u->deaf)
        return;
    add(u, STR_NULL);
    if (u->chunked)
        buf_addf(&u->out, "%zx\r\n", piece.n);
    buf_add_str(&u->out, piece);
    if (u->chunked)
        BUF_LIT(&u->out, "\r\n");
    if (u->out.failed)
        fail(u, PT_ERR_NOMEM);
    flush(u);
    want(u);
}

void http_upstream_write_end(struct http_upstream *u)
{
    if (u->chunked && !u->deaf)
        add(u, STR("0\r\n\r\n"));
    flush(u);
    want(u);
}

/* ---- reading ---- */

/* Octets read, 0: none now, or no more ever. */
static size_t receive(struct http_upstream *u, char *room, size_t n)
{
    ssize_t got;

    do
        got = recv(u->fd, room, n, 0);
    while (got < 0 && errno == EINTR);
    if (got > 0)
        return (size_t)got;
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got == 0 && u->head_seen && !u->reader.head.has_length)
        u->over = true;
    else
        fail(u, u->head_seen ? PT_ERR_IO : PT_ERR_CLOSED);
    return 0;
}

static void begin_body(struct http_upstream *u)
{
    const struct http_reply_head *h = &u->reader.head;

    u->head_seen = true;
    u->left = h->has_length ? h->length : UINT64_MAX;
    if (u->headless || h->status == 204 || h->status == 304 || u->left == 0)
        u->over = true;
}

static void read_head(struct http_upstream *u)
{
    char room[READ_SIZE];
    size_t n, taken;

    while (!u->head_seen && !u->err && (n = receive(u, room, sizeof room)) > 0) {
        switch (http_reply_reader_feed(&u->reader, (struct str){ room, n }, &taken)) {
        case HTTP_REPLY_MORE:
            break;
        case HTTP_REPLY_BROKEN:
            fail(u, PT_ERR_IO);
            break;
        case HTTP_REPLY_DONE:
            begin_body(u);
            buf_add(&u->rest, room + taken, n - taken);
        }
    }
    if (u->rest.failed)
        fail(u, PT_ERR_NOMEM);
}

const struct http_reply_head *http_upstream_head(const struct http_upstream *u)
{
    return u->head_seen ? &u->reader.head : NULL;
}

static size_t take_rest(struct http_upstream *u, struct buf *out, size_t max)
{
    size_t n = PT_MIN(u->rest.n, max);

    buf_add(out, u->rest.p, n);
    buf_drop(&u->rest, n);
    if (!u->rest.n)
        buf_done(&u->rest);
    return n;
}

size_t http_upstream_read(struct http_upstream *u, struct buf *out, size_t max)
{
    size_t n = 0;

    pt_assert(u->head_seen);
    max = (size_t)PT_MIN((uint64_t)max, u->left);
    if (!u->over && !u->err && u->rest.n) {
        n = take_rest(u, out, max);
    } else if (!u->over && !u->err && !buf_reserve(out, max)) {
        fail(u, PT_ERR_NOMEM);
    } else if (!u->over && !u->err) {
        n = receive(u, out->p + out->n, max);
        out->n += n;
    }
    if (u->reader.head.has_length && !u->over) {
        u->left -= n;
        u->over = u->left == 0;
    }
    u->hungry = n == 0;
    want(u);
    return n;
}

bool http_upstream_is_over(const struct http_upstream *u)
{
    return u->over;
}

enum pt_err http_upstream_error(const struct http_upstream *u)
{
    return u->err;
}

/* ---- beginning and end ---- */

static void on_ready(struct net_watch *w, unsigned ready)
{
    struct http_upstream *u = PT_CONTAINER_OF(w, struct http_upstream, watch);

    if (ready & NET_WRITE)
        flush(u);
    if (!u->head_seen && (ready & NET_READ))
        read_head(u);
    u->hungry = false;
    want(u);
    u->ready(u->ctx); /* which may be its end */
}

static void compose(struct http_upstream *u, const struct http_upstream_request *r)
{
    buf_addf(&u->out, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", r->method,
             r->target);
    for (const char *const *line = r->headers; *line; line++)
        buf_addf(&u->out, "%s\r\n", *line);
    if (r->has_body && r->has_length)
        buf_addf(&u->out, "Content-Length: %llu\r\n", (unsigned long long)r->length);
    if (u->chunked)
        BUF_LIT(&u->out, "Transfer-Encoding: chunked\r\n");
    BUF_LIT(&u->out, "\r\n");
}

enum pt_err http_upstream_open(struct http_upstream **out, struct net_loop *loop,
                               const char *socket_path, const struct http_upstream_request *r,
                               void (*ready)(void *ctx), void *ctx, struct pt_fault *fault)
{
    struct http_upstream *u = calloc(1, sizeof *u);
    enum pt_err err;

    if (!u)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    u->ready = ready;
    u->ctx = ctx;
    u->chunked = r->has_body && !r->has_length;
    u->headless = strcmp(r->method, "HEAD") == 0;
    buf_init(&u->out, OUT_MAX);
    buf_init(&u->rest, READ_SIZE);
    http_reply_reader_init(&u->reader);
    err = http_connect_unix(socket_path, &u->fd, fault);
    if (!err)
        net_watch_init(&u->watch, loop, u->fd, on_ready);
    compose(u, r);
    if (!err && u->out.failed)
        err = pt_fault_set(fault, PT_ERR_TOOBIG, "the request is too long");
    if (err) {
        http_upstream_close(u);
        return err;
    }
    flush(u);
    want(u);
    *out = u;
    return PT_ERR_OK;
}

void http_upstream_close(struct http_upstream *u)
{
    if (!u)
        return;
    if (u->fd >= 0) {
        net_watch_close(&u->watch);
        PT_IGNORE(close(u->fd), "nothing left to lose");
    }
    http_reply_reader_done(&u->reader);
    buf_done(&u->out);
    buf_done(&u->rest);
    free(u);
}
