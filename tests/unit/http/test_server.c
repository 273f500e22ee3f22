#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/server.h"
#include "http/work.h"

/* One server on one loop, spoken to over socket pairs; the test turns the loop. */
static struct net_loop *loop;
static struct http_server *server;
static struct http_work *work;
static struct http_exchange *parked;

static void say_hello(struct http_exchange *x)
{
    http_answer_text(x, 200, "text/plain", STR("hello"));
    http_exchange_finish(x);
}

static void echo(struct http_exchange *x)
{
    http_answer_text(x, 200, "text/plain", x->request->body);
    http_exchange_finish(x);
}

static void answer_elsewhere(struct http_exchange *x)
{
    http_answer_text(x, 200, "text/plain", STR("from a thread"));
}

static void work_elsewhere(struct http_exchange *x)
{
    http_work_run(work, x, answer_elsewhere);
}

static void park(struct http_exchange *x)
{
    parked = x;
}

static void say_nothing(struct http_exchange *x)
{
    http_exchange_finish(x);
}

static void more_pieces(struct http_exchange *x)
{
    unsigned *left = x->user;

    if (--*left == 0 && http_exchange_query_flag(x, "break"))
        http_exchange_abort(x);
    for (unsigned i = 0; i < 100000; i++)
        BUF_LIT(&x->response.body, "0123456789");
}

static void too_much(struct http_exchange *x)
{
    BUF_LIT(&x->response.body, "0123456789HTTP/1.1 200 smuggled");
    http_exchange_finish(x);
}

static void something_else(struct http_exchange *x)
{
    http_problem(x, 503, "smuggled");
    http_exchange_finish(x);
}

static void nothing_more(struct http_exchange *x)
{
    http_exchange_finish(x);
}

/* A body of 20 octets, of which 10 are there; who goes on is told by the query. */
static void start_short(struct http_exchange *x)
{
    http_answer_text(x, 200, "text/plain", STR("0123456789"));
    x->response.total = 20;
    x->response.more = http_exchange_query_flag(x, "a")   ? too_much
                       : http_exchange_query_flag(x, "b") ? something_else
                                                          : nothing_more;
    http_exchange_finish(x);
}

static void more_elsewhere(struct http_exchange *x)
{
    http_work_run(work, x, more_pieces);
}

static void stream(struct http_exchange *x)
{
    static unsigned left;

    left = 3;
    x->user = &left;
    x->response.status = 200;
    x->response.type = "text/plain";
    x->response.total = 3000000;
    x->response.more = more_elsewhere;
    http_exchange_finish(x);
}

static void parse(struct http_exchange *x)
{
    json_t *value = http_exchange_json(x, "application/merge-patch+json");

    if (value)
        http_answer_json(x, 200, value);
    http_exchange_finish(x);
}

static const struct http_route routes[] = {
    { HTTP_METHOD_GET, "/hello", say_hello, .query = "a b" },
    { HTTP_METHOD_PUT, "/echo", echo, .body_max = 100 },
    { HTTP_METHOD_GET, "/work", work_elsewhere },
    { HTTP_METHOD_GET, "/park", park },
    { HTTP_METHOD_GET, "/nothing", say_nothing },
    { HTTP_METHOD_GET, "/stream", stream, .query = "break" },
    { HTTP_METHOD_GET, "/short", start_short, .query = "a b" },
    { HTTP_METHOD_POST, "/json", parse, .body_max = 1000 },
};

static int start(unsigned deadline_ms)
{
    static const char *const hosts[] = { "gw" };
    struct http_server_config config = {
        .routes = routes,
        .route_count = PT_ARRAY_LEN(routes),
        .hosts = hosts,
        .host_count = 1,
        .max_connections = 2,
        .deadline_ms = deadline_ms,
        .idle_ms = 20000,
    };

    loop = net_loop_new(0);
    config.loop = loop;
    server = http_server_new(&config);
    work = http_work_new(1, 1);
    return loop && server && work ? 0 : -1;
}

static int set_up(void **state)
{
    return start(20000);
}

static int set_up_hasty(void **state)
{
    return start(50);
}

static int tear_down(void **state)
{
    http_work_free(work);
    http_server_free(server);
    net_loop_free(loop);
    return 0;
}

static int dial(void)
{
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    http_server_serve_take(server, pair[0]);
    return pair[1];
}

static void say(int fd, const char *text)
{
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
}

/* Turns the loop until the answer has `want` in it or the connection ends; gives all that came. */
static struct buf heard;

static bool hear(int fd, const char *want)
{
    buf_done(&heard);
    buf_init(&heard, 16 * 1024 * 1024);
    for (int turns = 0; turns < 20000; turns++) {
        char some[65536];
        ssize_t n;

        net_loop_turn(loop, 1);
        n = recv(fd, some, sizeof some, MSG_DONTWAIT);
        if (n == 0)
            break;
        if (n > 0)
            buf_add(&heard, some, (size_t)n);
        if (want && heard.n && strstr(buf_cstr(&heard), want))
            return true;
    }
    return heard.n && want && strstr(buf_cstr(&heard), want);
}

static void a_request_gets_its_answer(void **state)
{
    int fd = dial();

    say(fd, "GET /hello HTTP/1.1\r\nHost: gw\r\n\r\n");
    assert_true(hear(fd, "\r\n\r\nhello"));
    assert_non_null(strstr(heard.p, "HTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(heard.p, "Content-Length: 5\r\n"));
    assert_non_null(strstr(heard.p, "X-Content-Type-Options: nosniff\r\n"));
    assert_non_null(strstr(heard.p, " GMT\r\n"));
    /* The connection is kept, and requests that came together are answered in order. */
    say(fd, "HEAD /hello HTTP/1.1\r\nHost: gw\r\n\r\n"
            "PUT /echo HTTP/1.1\r\nHost: gw\r\nContent-Length: 3\r\n\r\nabc"
            "GET /work HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n");
    assert_true(hear(fd, "from a thread"));
    assert_null(strstr(heard.p, "hello"));
    assert_non_null(strstr(heard.p, "\r\n\r\nabcHTTP/1.1 200 OK\r\n"));
    assert_non_null(strstr(heard.p, "Connection: close\r\n"));
    assert_false(hear(fd, NULL));
    close(fd);
}

static const struct {
    const char *request;
    const char *status;
    const char *also;
} problems[] = {
    { "GET /no HTTP/1.1\r\nHost: gw\r\n\r\n", "404 Not Found", "\"status\":404" },
    { "POST /hello HTTP/1.1\r\nHost: gw\r\n\r\n", "405 Method Not Allowed",
      "Allow: GET, HEAD\r\n" },
    { "GET /hello?c=1 HTTP/1.1\r\nHost: gw\r\n\r\n", "400 Bad Request", "does not take" },
    { "GET /hello?a=1&a=2 HTTP/1.1\r\nHost: gw\r\n\r\n", "400 Bad Request", "twice" },
    { "GET /hello?a=%g HTTP/1.1\r\nHost: gw\r\n\r\n", "400 Bad Request", "malformed" },
    { "GET /hello HTTP/1.1\r\nHost: evil\r\n\r\n", "421 Misdirected Request", "\"status\":421" },
    { "GET /hello HTTP/1.1\r\n\r\n", "400 Bad Request", "Host" },
    { "GET /hello HTTP/1.1\r\nHost: gw\r\nContent-Length: 5000\r\n\r\n", "413 Content Too Large",
      "" },
    { "PUT /echo HTTP/1.1\r\nHost: gw\r\nContent-Length: 101\r\n\r\n", "413 Content Too Large",
      "" },
    { "FROB /hello HTTP/1.1\r\nHost: gw\r\n\r\n", "501 Not Implemented", "" },
    { "GET /nothing HTTP/1.1\r\nHost: gw\r\n\r\n", "500 Internal Server Error", "" },
    { "POST /json HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}", "415 Unsupported", "" },
    { "POST /json HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\n"
      "Content-Length: 1\r\n\r\n{",
      "400 Bad Request", "line 1" },
    { "POST /json HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\n"
      "Content-Length: 13\r\n\r\n{\"a\":1,\"a\":2}",
      "400 Bad Request", "not JSON" },
};

static void what_goes_wrong_is_a_problem_document(void **state)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(problems); i++) {
        int fd = dial();

        say(fd, problems[i].request);
        if (!hear(fd, "}\n") || !strstr(heard.p, problems[i].status) ||
            !strstr(heard.p, problems[i].also) ||
            !strstr(heard.p, "Content-Type: application/problem+json\r\n"))
            fail_msg("%s: %.*s", problems[i].request, (int)heard.n, heard.p);
        close(fd);
        net_loop_turn(loop, 1);
    }
}

static void json_goes_in_and_out(void **state)
{
    int fd = dial();

    say(fd, "POST /json HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json; charset=utf-8\r\n"
            "Content-Length: 11\r\n\r\n{\"a\": [1] }");
    assert_true(hear(fd, "\r\n\r\n{\"a\":[1]}\n"));
    say(fd, "POST /json HTTP/1.1\r\nHost: gw\r\nContent-Type: application/merge-patch+json\r\n"
            "Content-Length: 2\r\n\r\n{}");
    assert_true(hear(fd, "\r\n\r\n{}\n"));
    close(fd);
}

static void a_long_body_comes_in_pieces(void **state)
{
    int fd = dial();

    say(fd, "GET /stream HTTP/1.1\r\nHost: gw\r\n\r\n");
    assert_true(hear(fd, "\r\n\r\n"));
    while (heard.n < 3000000) {
        struct buf so_far = heard;

        heard = (struct buf){ 0 };
        hear(fd, "9");
        buf_add(&so_far, heard.p, heard.n);
        buf_done(&heard);
        heard = so_far;
    }
    assert_int_equal(heard.n - 3000000, strstr(buf_cstr(&heard), "\r\n\r\n") + 4 - heard.p);
    say(fd, "GET /hello HTTP/1.1\r\nHost: gw\r\n\r\n");
    assert_true(hear(fd, "\r\n\r\nhello"));
    close(fd);
}

static void a_body_that_cannot_be_finished_breaks_the_connection(void **state)
{
    int fd = dial();

    say(fd, "GET /stream?break HTTP/1.1\r\nHost: gw\r\n\r\n");
    assert_false(hear(fd, NULL));
    assert_true(heard.n > 1000000 && heard.n < 3000000);
    close(fd);
}

static void a_body_is_never_longer_or_other_than_announced(void **state)
{
    static const char *const queries[] = { "?a", "?b", "" };

    for (size_t i = 0; i < PT_ARRAY_LEN(queries); i++) {
        char request[100];
        int fd = dial();

        snprintf(request, sizeof request,
                 "GET /short%s HTTP/1.1\r\nHost: gw\r\nConnection: close\r\n\r\n", queries[i]);
        say(fd, request);
        assert_false(hear(fd, "smuggled"));
        assert_non_null(strstr(heard.p, "Content-Length: 20\r\n"));
        assert_int_equal(strstr(heard.p, "01234567890123456789") != NULL, i == 0);
        close(fd);
    }
}

static void a_slow_request_is_cut_off(void **state)
{
    int fd = dial();

    say(fd, "GET /hello HTTP/1.1\r\nHo");
    assert_true(hear(fd, "408 Request Timeout"));
    assert_false(hear(fd, NULL));
    close(fd);
}

static void a_handler_that_takes_too_long_is_left_behind(void **state)
{
    int fd = dial();

    say(fd, "GET /park HTTP/1.1\r\nHost: gw\r\n\r\n");
    assert_true(hear(fd, "503 Service Unavailable"));
    close(fd);
    net_loop_turn(loop, 1);
    /* It may still answer: into nothing. */
    http_answer_text(parked, 200, "text/plain", parked->request->path);
    http_exchange_finish(parked);
}

static void a_client_that_leaves_takes_nothing_with_it(void **state)
{
    int fd = dial();

    say(fd, "GET /work HTTP/1.1\r\nHost: gw\r\n\r\n");
    net_loop_turn(loop, 1);
    close(fd);
    for (int i = 0; i < 10; i++)
        net_loop_turn(loop, 1);
}

static void expect_continue_is_answered_before_the_body(void **state)
{
    int fd = dial();

    say(fd, "PUT /echo HTTP/1.1\r\nHost: gw\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    assert_true(hear(fd, "HTTP/1.1 100 Continue\r\n\r\n"));
    assert_null(strstr(heard.p, "200"));
    say(fd, "abc");
    assert_true(hear(fd, "\r\n\r\nabc"));
    assert_non_null(strstr(heard.p, "HTTP/1.1 200 OK\r\n"));
    close(fd);
}

static int dial_tcp(const struct net_endpoint *at, const char *request)
{
    struct sockaddr_storage sa;
    socklen_t n = net_to_sockaddr(at, &sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&sa, n), 0);
    say(fd, request);
    return fd;
}

static struct http_exchange *wait_until_parked(void)
{
    parked = NULL;
    for (int turns = 0; !parked && turns < 10000; turns++)
        net_loop_turn(loop, 1);
    assert_non_null(parked);
    return parked;
}

static void connections_have_a_limit_and_idle_ones_give_way(void **state)
{
    static const char park_it[] = "GET /park HTTP/1.1\r\nHost: gw\r\n\r\n";
    static const char hello[] = "GET /hello HTTP/1.1\r\nHost: gw\r\n\r\n";
    struct net_endpoint at = { 0 };
    struct http_exchange *first, *second;
    int a, b, c;

    assert_true(net_addr_parse(STR("127.0.0.1"), &at.addr));
    assert_int_equal(http_server_listen_tcp(server, &at, &at.port, NULL), PT_ERR_OK);
    a = dial_tcp(&at, park_it);
    first = wait_until_parked();
    b = dial_tcp(&at, park_it);
    second = wait_until_parked();
    /* Two are at work: the third is turned away. */
    c = dial_tcp(&at, hello);
    assert_true(hear(c, "503 Service Unavailable"));
    close(c);
    /* One is idle: it gives way. */
    http_exchange_finish(first);
    assert_true(hear(a, "\r\n\r\n{"));
    c = dial_tcp(&at, hello);
    assert_true(hear(c, "hello"));
    assert_false(hear(a, NULL));
    http_exchange_finish(second);
    close(a);
    close(b);
    close(c);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_request_gets_its_answer),
        T(what_goes_wrong_is_a_problem_document),
        T(json_goes_in_and_out),
        T(a_long_body_comes_in_pieces),
        T(a_body_that_cannot_be_finished_breaks_the_connection),
        T(a_body_is_never_longer_or_other_than_announced),
        cmocka_unit_test_setup_teardown(a_slow_request_is_cut_off, set_up_hasty, tear_down),
        cmocka_unit_test_setup_teardown(a_handler_that_takes_too_long_is_left_behind, set_up_hasty,
                                        tear_down),
        T(a_client_that_leaves_takes_nothing_with_it),
        T(expect_continue_is_answered_before_the_body),
        T(connections_have_a_limit_and_idle_ones_give_way),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    buf_done(&heard);
    return failed;
}
