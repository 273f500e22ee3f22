#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/server.h"
#include "http/upstream.h"

/* Both ends on one loop, which the test turns: a server with bodies in pieces, and a request to it.
 */
static struct net_loop *loop;
static struct http_server *server;
static char folder[512], path[600];
static struct http_upstream *up;

/* What the server's handlers have seen. */
static struct http_exchange *held;
static struct buf seen;
static unsigned pieces, freed;
static bool hold; /* a piece is taken only when the test says so */

static void on_free(void *user)
{
    freed++;
    held = NULL;
}

static void on_piece(struct http_exchange *x)
{
    pieces += x->request->body.n > 0;
    buf_add_str(&seen, x->request->body);
    if (x->body_over) {
        http_answer_text(x, 200, "text/plain", STR("taken"));
        http_header_add(x, "ETag", "\"7\"");
        http_exchange_finish(x);
    } else if (!hold) {
        http_exchange_want_body(x, on_piece);
    }
}

static void take(struct http_exchange *x)
{
    held = x;
    x->user = x;
    x->user_free = on_free;
    x->on_loop = true;
    if (!hold)
        http_exchange_want_body(x, on_piece);
}

static void refuse(struct http_exchange *x)
{
    http_problem(x, 403, "not this");
    http_exchange_finish(x);
}

static void nothing_yet(struct http_exchange *x)
{
    held = x;
}

static void endless(struct http_exchange *x)
{
    x->user = x;
    x->user_free = on_free;
    x->on_loop = true;
    http_answer_text(x, 200, "text/event-stream", STR("first\n"));
    x->response.total = HTTP_ENDLESS;
    x->response.more = nothing_yet;
    http_exchange_finish(x);
}

static const struct http_route routes[] = {
    { HTTP_METHOD_PUT, "/take", take, .body_max = 8 * 1024 * 1024, .streams = true },
    { HTTP_METHOD_PUT, "/refuse", refuse, .body_max = 8 * 1024 * 1024, .streams = true },
    { HTTP_METHOD_GET, "/endless", endless, .streams = true },
};

static int set_up(void **state)
{
    struct http_server_config config = { .routes = routes, .route_count = PT_ARRAY_LEN(routes) };
    const char *tmp = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/postern-up-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/api.sock", folder);
    loop = net_loop_new(0);
    config.loop = loop;
    server = http_server_new(&config);
    up = NULL;
    pieces = freed = 0;
    hold = false;
    buf_init(&seen, 16 * 1024 * 1024);
    return server ? (int)http_server_listen_unix(server, path, 0600, NULL) : -1;
}

static int tear_down(void **state)
{
    http_upstream_close(up);
    http_server_free(server);
    net_loop_free(loop);
    buf_done(&seen);
    return rmdir(folder);
}

static void on_ready(void *ctx)
{
}

static enum pt_err ask(const char *method, const char *target, int64_t length)
{
    static const char *const lines[] = { "X-One: 1", NULL };
    struct http_upstream_request r = {
        .method = method,
        .target = target,
        .headers = lines,
        .has_body = length != 0,
        .has_length = length > 0,
        .length = (uint64_t)length,
    };

    return http_upstream_open(&up, loop, path, &r, on_ready, NULL, NULL);
}

static void turn_until_head(void)
{
    for (int i = 0; i < 10000 && !http_upstream_head(up) && !http_upstream_error(up); i++)
        net_loop_turn(loop, 1);
    assert_non_null(http_upstream_head(up));
}

/* Writes as fast as it is taken; stops when nothing is for some turns. */
static size_t write_all(const char *octets, size_t n)
{
    size_t sent = 0;
    unsigned idle = 0;

    while (sent < n && idle < 50) {
        size_t step = PT_MIN(n - sent, 10000u);

        if (!http_upstream_has_room(up)) {
            net_loop_turn(loop, 1);
            idle++;
            continue;
        }
        http_upstream_write(up, (struct str){ octets + sent, step });
        sent += step;
        idle = 0;
    }
    return sent;
}

static char *make_octets(size_t n)
{
    char *octets = malloc(n);

    assert_non_null(octets);
    for (size_t i = 0; i < n; i++)
        octets[i] = (char)(i * 31 >> 3);
    return octets;
}

static void a_body_passes_in_pieces(bool chunked)
{
    size_t n = 5 * 1024 * 1024;
    char *octets = make_octets(n);
    struct buf answer;

    assert_int_equal(ask("PUT", "/take", chunked ? -1 : (int64_t)n), PT_ERR_OK);
    assert_int_equal(write_all(octets, n), n);
    http_upstream_write_end(up);
    turn_until_head();
    assert_int_equal(http_upstream_head(up)->status, 200);
    assert_string_equal(http_upstream_head(up)->etag, "\"7\"");
    buf_init(&answer, 100);
    while (!http_upstream_is_over(up) && !http_upstream_error(up)) {
        http_upstream_read(up, &answer, 2);
        net_loop_turn(loop, 0);
    }
    assert_int_equal(answer.n, 5);
    assert_memory_equal(answer.p, "taken", 5);
    assert_int_equal(seen.n, n);
    assert_memory_equal(seen.p, octets, n);
    assert_true(pieces > 100);
    buf_done(&answer);
    free(octets);
}

static void a_body_with_a_length_passes_in_pieces(void **state)
{
    a_body_passes_in_pieces(false);
}

static void a_chunked_body_passes_in_pieces(void **state)
{
    a_body_passes_in_pieces(true);
}

static void what_is_not_asked_for_is_not_held(void **state)
{
    size_t n = 8 * 1024 * 1024, sent;
    char *octets = make_octets(n);

    hold = true;
    assert_int_equal(ask("PUT", "/take", (int64_t)n), PT_ERR_OK);
    sent = write_all(octets, n);
    /* Two socket buffers, what the upstream holds, one read of the server. */
    assert_true(sent < 2 * 1024 * 1024);
    assert_int_equal(seen.n, 0);
    assert_non_null(held);
    hold = false;
    http_exchange_want_body(held, on_piece);
    assert_int_equal(write_all(octets + sent, n - sent), n - sent);
    http_upstream_write_end(up);
    turn_until_head();
    assert_int_equal(seen.n, n);
    assert_memory_equal(seen.p, octets, n);
    free(octets);
}

static void an_answer_may_come_before_the_body_is_sent(void **state)
{
    assert_int_equal(ask("PUT", "/refuse", 1000000), PT_ERR_OK);
    http_upstream_write(up, STR("a little of it"));
    turn_until_head();
    assert_int_equal(http_upstream_head(up)->status, 403);
}

static void who_leaves_within_the_body_takes_the_exchange_along(void **state)
{
    assert_int_equal(ask("PUT", "/take", 1000000), PT_ERR_OK);
    http_upstream_write(up, STR("a little of it"));
    for (int i = 0; i < 10000 && !seen.n; i++)
        net_loop_turn(loop, 1);
    assert_int_equal(freed, 0);
    http_upstream_close(up);
    up = NULL;
    for (int i = 0; i < 10000 && !freed; i++)
        net_loop_turn(loop, 1);
    assert_int_equal(freed, 1);
}

/* Octets straight into the server, where the client would send none such. */
static void a_body_that_breaks_its_framing_is_refused(void **state)
{
    static const char *const requests[] = {
        "PUT /take HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nx\r\n",
        "PUT /take HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\nabc",
        "PUT /take HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n",
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(requests); i++) {
        char answer[4096] = "";
        ssize_t n = -1;
        int pair[2];

        freed = 0;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
        http_server_serve_take(server, pair[0]);
        assert_int_equal(write(pair[1], requests[i], strlen(requests[i])), strlen(requests[i]));
        for (int t = 0; t < 1000 && n < 0; t++) {
            net_loop_turn(loop, 1);
            n = recv(pair[1], answer, sizeof answer - 1, 0);
        }
        assert_true(n > 0);
        assert_non_null(strstr(answer, i ? " 413 " : " 400 "));
        close(pair[1]);
        for (int t = 0; t < 1000 && !freed && i < 2; t++)
            net_loop_turn(loop, 1);
        assert_int_equal(freed, i < 2);
    }
}

static void an_endless_answer_is_there_at_once_and_ends_with_either_side(void **state)
{
    for (int i = 0; i < 3; i++) {
        struct buf got;

        freed = 0;
        held = NULL;
        buf_init(&got, 1000);
        assert_int_equal(ask("GET", "/endless", 0), PT_ERR_OK);
        turn_until_head();
        assert_false(http_upstream_head(up)->has_length);
        for (int t = 0; t < 1000 && (got.n < 6 || !held); t++) {
            http_upstream_read(up, &got, 100);
            net_loop_turn(loop, 1);
        }
        assert_non_null(held);
        BUF_LIT(&held->response.body, "second\n");
        http_exchange_finish(held);
        for (int t = 0; t < 1000 && got.n < 13; t++) {
            net_loop_turn(loop, 1);
            http_upstream_read(up, &got, 100);
        }
        assert_memory_equal(got.p, "first\nsecond\n", 13);
        net_loop_turn(loop, 1);
        if (i == 0) {
            http_exchange_finish(held); /* with nothing: the end */
        } else if (i == 1) {
            http_exchange_hang_up(held);
        } else {
            http_upstream_close(up);
            up = NULL;
        }
        for (int t = 0; t < 1000 && (!freed || (up && !http_upstream_is_over(up))); t++) {
            net_loop_turn(loop, 1);
            if (up)
                http_upstream_read(up, &got, 100);
        }
        assert_int_equal(freed, 1);
        http_upstream_close(up);
        up = NULL;
        buf_done(&got);
    }
}

static void nobody_there_is_said_so(void **state)
{
    http_server_stop(server);
    assert_int_equal(ask("GET", "/endless", 0), PT_ERR_CLOSED);
    assert_null(up);
}

/* ---- heads of answers ---- */

static const struct reply_case {
    const char *text;
    enum http_reply_status status;
    unsigned code;
    int64_t length; /* -1: none */
} replies[] = {
    { "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n", HTTP_REPLY_DONE, 200, 7 },
    { "HTTP/1.1 200\r\ncontent-type: text/event-stream\r\n\r\n", HTTP_REPLY_DONE, 200, -1 },
    { "HTTP/1.1 204 No Content\r\n\r\n", HTTP_REPLY_DONE, 204, -1 },
    { "HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n\r\n", HTTP_REPLY_BROKEN, 0,
      0 },
    { "HTTP/1.1 200 OK\r\nContent-Length: -7\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 100 Continue\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 999 Much\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.0 200 OK\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 2000 OK\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\nA : b\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\n: b\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\nA: b\nC: d\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\nA: b\rC: d\r\n\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "\r\n", HTTP_REPLY_BROKEN, 0, 0 },
    { "HTTP/1.1 200 OK\r\nA: b\r\n", HTTP_REPLY_MORE, 0, 0 },
};

static void check_reply(const struct reply_case *c, size_t cut)
{
    struct http_reply_reader r;
    enum http_reply_status status = HTTP_REPLY_MORE;
    struct str rest = str_of(c->text);
    size_t taken;

    http_reply_reader_init(&r);
    while (status == HTTP_REPLY_MORE && rest.n) {
        status = http_reply_reader_feed(&r, str_head(rest, PT_MIN(cut, rest.n)), &taken);
        rest = str_from(rest, taken);
    }
    if (status != c->status)
        fail_msg("%zu at a time: %s", cut, c->text);
    if (status == HTTP_REPLY_DONE) {
        assert_int_equal(r.head.status, c->code);
        assert_int_equal(r.head.has_length, c->length >= 0);
        assert_int_equal(r.head.has_length ? (int64_t)r.head.length : -1, c->length);
    }
    http_reply_reader_done(&r);
}

static void heads_of_answers(void **state)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(replies); i++)
        for (size_t cut = 1; cut <= strlen(replies[i].text); cut++)
            check_reply(&replies[i], cut);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_body_with_a_length_passes_in_pieces),
        T(a_chunked_body_passes_in_pieces),
        T(what_is_not_asked_for_is_not_held),
        T(an_answer_may_come_before_the_body_is_sent),
        T(who_leaves_within_the_body_takes_the_exchange_along),
        T(a_body_that_breaks_its_framing_is_refused),
        T(an_endless_answer_is_there_at_once_and_ends_with_either_side),
        T(nobody_there_is_said_so),
        cmocka_unit_test(heads_of_answers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
