#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/buf.h"
#include "console/console.h"
#include "console/files.h"
#include "http/server.h"

/* A console on a port of its own, and a gateway of which only /readyz exists. */
static struct console *console;
static pthread_t console_thread;
static char state_directory[256];
static struct net_endpoint at;
static int ready[2];

static char setup_url[600];

static void note_url(void *ctx, const char *url, const char *link)
{
    snprintf(setup_url, sizeof setup_url, "%s", link ? link : "");
    at.port = (uint16_t)atoi(strrchr(url, ':') + 1);
    if (write(ready[1], "", 1) != 1)
        abort();
}

static void *run(void *ctx)
{
    console_run(console);
    return NULL;
}

static int set_up(void **state)
{
    struct console_config config = {
        .state_directory = state_directory,
        .listen = "127.0.0.1:0",
        .version = "1",
        .listen_fd = -1,
        .ready = note_url,
    };
    const char *tmp = getenv("TMPDIR");
    char byte;

    if (pipe(ready) != 0)
        return -1;
    snprintf(state_directory, sizeof state_directory, "%s/postern-console-XXXXXX",
             tmp ? tmp : "/tmp");
    if (!mkdtemp(state_directory) || console_new(&console, &config, NULL) != PT_ERR_OK)
        return -1;
    if (!net_addr_parse(STR("127.0.0.1"), &at.addr) ||
        pthread_create(&console_thread, NULL, run, NULL) != 0)
        return -1;
    return read(ready[0], &byte, 1) == 1 ? 0 : -1;
}

static int tear_down(void **state)
{
    console_stop(console);
    pthread_join(console_thread, NULL);
    console_free(console);
    rmdir(state_directory);
    close(ready[0]);
    close(ready[1]);
    return 0;
}

/* One request on a connection of its own; the whole answer as text. */
static char *ask(const char *method, const char *target, const char *host)
{
    static char answer[1 << 21];
    struct sockaddr_storage sa;
    socklen_t length = net_to_sockaddr(&at, &sa);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    char request[1024];
    size_t n = 0;
    ssize_t got;

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n%s\r\n%s",
             method, target, host, *method == 'P' ? "Content-Length: 2\r\n" : "",
             *method == 'P' ? "{}" : "");
    assert_int_equal(connect(fd, (struct sockaddr *)&sa, length), 0);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    while ((got = read(fd, answer + n, sizeof answer - 1 - n)) > 0)
        n += (size_t)got;
    answer[n] = 0;
    close(fd);
    return answer;
}

static void has(const char *answer, const char *text)
{
    if (!strstr(answer, text))
        fail_msg("no \"%s\" in: %s", text, answer);
}

static void the_page_is_there_and_strict(void **state)
{
    static const char *const targets[] = { "/", "/login", "/setup?token=x", "/connections" };

    for (size_t i = 0; i < PT_ARRAY_LEN(targets); i++) {
        const char *answer = ask("GET", targets[i], "localhost:8025");

        has(answer, "HTTP/1.1 200 OK\r\n");
        has(answer, "Content-Type: text/html; charset=utf-8\r\n");
        has(answer, "Content-Security-Policy: default-src 'none'; script-src 'self'; ");
        has(answer, "frame-ancestors 'none'");
        has(answer, "X-Content-Type-Options: nosniff\r\n");
        has(answer, "Referrer-Policy: no-referrer\r\n");
        has(answer, "\r\nCache-Control: no-cache\r\n");
        has(answer, "\r\nETag: \"");
        has(answer, "<script type=\"module\" src=\"/assets/");
        assert_null(strstr(answer, "no-store"));
        assert_null(strstr(answer, "Content-Encoding"));
        assert_null(strstr(answer, "Strict-Transport-Security"));
    }
}

static void what_is_named_by_its_hash_may_be_kept(void **state)
{
    char target[200] = "";
    const char *answer;

    for (size_t i = 0; i < console_file_count; i++)
        if (strstr(console_files[i].type, "css"))
            snprintf(target, sizeof target, "%s", console_files[i].path);
    answer = ask("GET", target, "localhost:8025");
    has(answer, "HTTP/1.1 200 OK\r\n");
    has(answer, "Cache-Control: public, max-age=31536000, immutable\r\n");
    has(answer, "Content-Type: text/css; charset=utf-8\r\n");
    has(answer, "Vary: Accept-Encoding\r\n");
    target[strlen(target) - 5] ^= 1;
    has(ask("GET", target, "localhost:8025"), "HTTP/1.1 404 Not Found\r\n");
    has(ask("GET", "/assets/../../etc/passwd", "localhost"), "HTTP/1.1 404 Not Found\r\n");
    has(ask("GET", "/%2e%2e/etc/passwd", "localhost"), "HTTP/1.1 404 Not Found\r\n");
    has(ask("GET", "/assets/", "localhost"), "HTTP/1.1 404 Not Found\r\n");
}

static void only_the_link_sets_up(void **state)
{
    const char *token = strstr(setup_url, "token=");
    char target[600];

    assert_non_null(token);
    snprintf(target, sizeof target, "/api/v1/setup?%s", token);
    has(ask("GET", target, "localhost"), "{\"needed\":true,\"valid\":true,\"logged_in\":false}");
    target[strlen(target) - 1] ^= 1;
    has(ask("GET", target, "localhost"), "{\"needed\":true,\"valid\":false,\"logged_in\":false}");
    target[strlen(target) - 1] = 0;
    has(ask("GET", target, "localhost"), "\"valid\":false");
    has(ask("GET", "/api/v1/setup", "localhost"), "\"valid\":false");
}

static void nobody_is_logged_in(void **state)
{
    static const char *const requests[][2] = {
        { "GET", "/api/v1/settings" },
        { "PUT", "/api/v1/settings?dry_run=true" },
        { "DELETE", "/api/v1/queue/123" },
        { "GET", "/api/v1/login" },
        { "POST", "/api/v1/audit" },
        { "GET", "/api/v1/../../etc/passwd" },
        { "GET", "/metrics" },
        { "PATCH", "/api/v1/anything/at/all" },
        { "OPTIONS", "/api/v1/settings" },
        { "GET", "/api/v1" },
        { "GET", "/api/v1/" },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(requests); i++) {
        const char *answer = ask(requests[i][0], requests[i][1], "127.0.0.1");

        has(answer, "HTTP/1.1 401 Unauthorized\r\n");
        has(answer, "Content-Type: application/problem+json\r\n");
        has(answer, "WWW-Authenticate: Bearer");
    }
}

static void other_paths_and_methods_are_problems(void **state)
{
    has(ask("GET", "/none", "127.0.0.1"), "HTTP/1.1 404 Not Found\r\n");
    has(ask("GET", "/api/v2/settings", "127.0.0.1"), "HTTP/1.1 404 Not Found\r\n");
    has(ask("PUT", "/", "127.0.0.1"), "HTTP/1.1 405 Method Not Allowed\r\n");
    has(ask("POST", "/healthz", "127.0.0.1"), "Allow: GET, HEAD\r\n");
    has(ask("GET", "/", "rebound.example"), "HTTP/1.1 421 Misdirected Request\r\n");
}

static void readiness_is_the_gateways(void **state)
{
    has(ask("GET", "/healthz", "127.0.0.1"), "HTTP/1.1 200 OK\r\n");
    has(ask("GET", "/readyz", "127.0.0.1"), "HTTP/1.1 503 Service Unavailable\r\n");
}

static void answer_ready(struct http_exchange *x)
{
    http_answer_text(x, 200, "text/html", STR("<script>from the gateway</script>"));
    http_exchange_finish(x);
}

static void *run_loop(void *loop)
{
    net_loop_run(loop);
    return NULL;
}

static void a_ready_gateway_is_told_in_words_of_our_own(void **state)
{
    static const struct http_route routes[] = { { HTTP_METHOD_GET, "/readyz", answer_ready } };
    struct net_loop *loop = net_loop_new(1);
    struct http_server_config config = { .loop = loop, .routes = routes, .route_count = 1 };
    struct http_server *gateway = http_server_new(&config);
    char path[300];
    pthread_t thread;
    const char *answer;

    snprintf(path, sizeof path, "%s/api.sock", state_directory);
    assert_int_equal(http_server_listen_unix(gateway, path, 0600, NULL), PT_ERR_OK);
    assert_int_equal(pthread_create(&thread, NULL, run_loop, loop), 0);
    answer = ask("GET", "/readyz", "[::1]:8025");
    has(answer, "HTTP/1.1 200 OK\r\n");
    has(answer, "{\"status\":\"ready\"}");
    assert_null(strstr(answer, "script>"));
    net_loop_stop(loop);
    pthread_join(thread, NULL);
    http_server_free(gateway);
    net_loop_free(loop);
}

static void an_address_and_a_port_are_needed(void **state)
{
    static const struct {
        const char *listen;
        enum pt_err err;
    } cases[] = {
        { NULL, PT_ERR_OK },
        { "127.0.0.1:8025", PT_ERR_OK },
        { "127.1.2.3:0", PT_ERR_OK },
        { "[::1]:8025", PT_ERR_OK },
        { "localhost:8025", PT_ERR_OK },
        { "0.0.0.0:8025", PT_ERR_OK },
        { "[::]:8025", PT_ERR_OK },
        { "192.0.2.1:8025", PT_ERR_OK },
        { "127.0.0.1", PT_ERR_INVALID },
        { ":8025", PT_ERR_INVALID },
        { "127.0.0.1:", PT_ERR_INVALID },
        { "127.0.0.1:99999", PT_ERR_INVALID },
        { "127.0.0.1:+1", PT_ERR_INVALID },
        { "gw.example:8025", PT_ERR_INVALID },
        { "https://[::1]:8025", PT_ERR_OK },
        { "http://127.0.0.1:8025", PT_ERR_INVALID },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct pt_fault fault;

        assert_int_equal(console_listen_check(cases[i].listen, &fault), cases[i].err);
    }
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(the_page_is_there_and_strict),
        T(what_is_named_by_its_hash_may_be_kept),
        T(only_the_link_sets_up),
        T(nobody_is_logged_in),
        T(other_paths_and_methods_are_problems),
        T(readiness_is_the_gateways),
        T(a_ready_gateway_is_told_in_words_of_our_own),
        cmocka_unit_test(an_address_and_a_port_are_needed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
