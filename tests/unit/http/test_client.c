#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "http/client.h"
#include "http/server.h"

/* A server on a thread of its own, in a folder of its own, and the client against it. */
static struct net_loop *loop;
static struct http_server *server;
static pthread_t thread;
static char folder[512], path[600];
static bool strangers;

static void echo(struct http_exchange *x)
{
    http_header_add(x, "ETag", "\"7\"");
    http_answer_text(x, 200, "text/plain; charset=utf-8",
                     x->request->method == HTTP_METHOD_PUT ? x->request->body
                                                           : http_exchange_param(x, "what"));
    http_exchange_finish(x);
}

static const struct http_route routes[] = {
    { HTTP_METHOD_GET, "/echo/{what}", echo },
    { HTTP_METHOD_PUT, "/echo/{what}", echo, .body_max = 4 * 1024 * 1024 },
};

static bool allowed(void *ctx, uint32_t uid, uint32_t gid)
{
    return !strangers && uid == getuid() && gid == getgid();
}

static void *serve(void *ctx)
{
    net_loop_run(loop);
    return NULL;
}

static int start(const char *deep)
{
    struct http_server_config config = { .routes = routes,
                                         .route_count = PT_ARRAY_LEN(routes),
                                         .peer_allowed = allowed };
    const char *tmp = getenv("TMPDIR");
    struct pt_fault fault;

    strangers = false;
    snprintf(folder, sizeof folder, "%s/postern-http-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s%s", folder, deep);
    if (*deep && mkdir(path, 0700) != 0)
        return -1;
    snprintf(path + strlen(path), sizeof path - strlen(path), "/api.sock");
    loop = net_loop_new(0);
    config.loop = loop;
    server = http_server_new(&config);
    if (!server || http_server_listen_unix(server, path, 0660, &fault) != PT_ERR_OK)
        return -1;
    return pthread_create(&thread, NULL, serve, NULL);
}

static int set_up(void **state)
{
    return start("");
}

static int set_up_deep(void **state)
{
    char deep[160];

    memset(deep, 'd', sizeof deep);
    deep[0] = '/';
    deep[sizeof deep - 1] = 0;
    return start(deep);
}

static int tear_down(void **state)
{
    net_loop_stop(loop);
    pthread_join(thread, NULL);
    http_server_free(server);
    net_loop_free(loop);
    if (access(path, F_OK) == 0)
        return -1;
    *strrchr(path, '/') = 0;
    rmdir(path);
    rmdir(folder);
    return 0;
}

static void calls_are_answered(void **state)
{
    struct http_client *c = http_client_new(path, 5000);
    struct http_reply reply;
    struct buf target;

    buf_init(&target, 100);
    BUF_LIT(&target, "/echo/");
    http_target_add(&target, STR("a/b c%\x1b"));
    for (int i = 0; i < 2; i++) {
        struct http_call call = { .method = "GET", .target = buf_cstr(&target) };

        assert_int_equal(http_client_call(c, &call, &reply, NULL), PT_ERR_OK);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.etag, "\"7\"");
        assert_string_equal(reply.type, "text/plain");
        assert_true(str_eq(buf_str(&reply.body), STR("a/b c%\x1b")));
        http_reply_done(&reply);
    }
    buf_done(&target);
    http_client_free(c);
}

static void a_large_body_arrives_whole(void **state)
{
    struct http_client *c = http_client_new(path, 5000);
    size_t n = 3 * 1024 * 1024;
    char *octets = malloc(n);
    struct http_call call = {
        .method = "PUT", .target = "/echo/x", .type = "text/plain", .body = { octets, n }
    };
    struct http_reply reply;

    for (size_t i = 0; i < n; i++)
        octets[i] = (char)(i * 31 >> 3);
    assert_int_equal(http_client_call(c, &call, &reply, NULL), PT_ERR_OK);
    assert_int_equal(reply.body.n, n);
    assert_memory_equal(reply.body.p, octets, n);
    http_reply_done(&reply);
    free(octets);
    http_client_free(c);
}

static bool count(void *ctx, struct str octets)
{
    *(size_t *)ctx += octets.n;
    return true;
}

static bool enough(void *ctx, struct str octets)
{
    return false;
}

static void a_sink_takes_the_octets_of_success_only(void **state)
{
    struct http_client *c = http_client_new(path, 5000);
    size_t n = 0;
    struct http_call call = {
        .method = "GET", .target = "/echo/12345", .sink = count, .sink_ctx = &n
    };
    struct http_reply reply;
    struct pt_fault fault;

    assert_int_equal(http_client_call(c, &call, &reply, NULL), PT_ERR_OK);
    assert_int_equal(n, 5);
    assert_int_equal(reply.body.n, 0);
    http_reply_done(&reply);
    call.target = "/none";
    assert_int_equal(http_client_call(c, &call, &reply, NULL), PT_ERR_OK);
    assert_int_equal(reply.status, 404);
    assert_string_equal(reply.type, "application/problem+json");
    assert_int_equal(n, 5);
    assert_true(reply.body.n > 0);
    http_reply_done(&reply);
    call.target = "/echo/1";
    call.sink = enough;
    assert_int_equal(http_client_call(c, &call, &reply, &fault), PT_ERR_CLOSED);
    http_client_free(c);
}

static void strangers_are_turned_away(void **state)
{
    struct http_client *c = http_client_new(path, 5000);
    struct http_call call = { .method = "GET", .target = "/echo/x" };
    struct http_reply reply;

    strangers = true;
    assert_int_equal(http_client_call(c, &call, &reply, NULL), PT_ERR_OK);
    assert_int_equal(reply.status, 403);
    http_reply_done(&reply);
    http_client_free(c);
}

static void a_gateway_that_is_down_is_said_so(void **state)
{
    struct http_call call = { .method = "GET", .target = "/" };
    char nowhere[700];
    struct http_client *c;
    struct http_reply reply;
    struct pt_fault fault;

    snprintf(nowhere, sizeof nowhere, "%s.not", path);
    c = http_client_new(nowhere, 5000);
    assert_int_equal(http_client_call(c, &call, &reply, &fault), PT_ERR_CLOSED);
    assert_non_null(strstr(fault.text, "is it running?"));
    http_client_free(c);
}

static void a_served_socket_is_not_taken_over(void **state)
{
    struct http_server_config config = { .loop = loop };
    struct http_server *second = http_server_new(&config);
    struct pt_fault fault;

    assert_int_equal(http_server_listen_unix(second, path, 0660, &fault), PT_ERR_BUSY);
    http_server_free(second);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(calls_are_answered),
        T(a_large_body_arrives_whole),
        T(a_sink_takes_the_octets_of_success_only),
        T(strangers_are_turned_away),
        T(a_gateway_that_is_down_is_said_so),
        T(a_served_socket_is_not_taken_over),
        cmocka_unit_test_setup_teardown(calls_are_answered, set_up_deep, tear_down),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
