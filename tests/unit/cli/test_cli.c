#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/command.h"
#include "http/server.h"
#include "run.h"

static const char *manual; /* the source of the manual page */

/* ---- usage ---- */

static void wrong_usage_is_status_2(void **state)
{
    static const char *const lines[][5] = {
        { NULL },
        { "frobnicate" },
        { "queue" },
        { "queue", "frobnicate" },
        { "queue", "list", "--frobnicate" },
        { "queue", "list", "extra" },
        { "queue", "list", "--limit" },
        { "queue", "list", "--limit", "0" },
        { "queue", "list", "--limit=x" },
        { "queue", "list", "--json=yes" },
        { "queue", "list", "--state=" },
        { "queue", "retry" },
        { "queue", "retry", "00000000001", "--all" },
        { "queue", "delete", "--all", "--destination", "x" },
        { "settings", "apply" },
        { "settings", "rollback", "x" },
        { "settings", "diff", "1", "b" },
        { "trace" },
        { "help", "frobnicate" },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(lines); i++) {
        const char *const *w = lines[i];
        const struct run *r = run_plain(w[0], w[1], w[2], w[3], NULL);

        if (r->status != 2)
            fail_msg("case %zu: status %d\n%s%s", i, r->status, r->out, r->err);
        assert_true(strlen(r->err) > 10);
        assert_string_equal(r->out, "");
        if (w[0])
            assert_ptr_equal(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
    }
}

static void help_names_every_command_and_each_has_its_own(void **state)
{
    char top[RUN_TEXT_MAX];

    snprintf(top, sizeof top, "%s", run_plain("--help", NULL)->out);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        const struct run *r =
            c->verb ? run_plain(c->name, c->verb, "--help", NULL) : run_plain(c->name, "-h", NULL);

        assert_int_equal(r->status, 0);
        run_has(top, c->summary);
        run_has(r->out, c->summary + 1);
        run_has(r->out, "--state DIR");
        for (int i = 0; i < CLI_OPTIONS_MAX && c->options[i].name; i++)
            run_has(r->out, c->options[i].help);
    }
    run_has(run_plain("queue", "--help", NULL)->out, "postern queue COMMAND --help");
    run_has(run_plain("help", "queue", "list", NULL)->out, "--destination D");
    run_has(run_plain("--version", NULL)->out, "postern 0.");
}

/* Without the marks of emphasis. */
static void read_page(const char *file, char text[RUN_TEXT_MAX])
{
    FILE *f = fopen(file, "re");
    size_t n = 0;
    int c;

    assert_non_null(f);
    while ((c = getc(f)) != EOF && n + 1 < RUN_TEXT_MAX)
        if (c != '*' && c != '_')
            text[n++] = (char)c;
    text[n] = 0;
    fclose(f);
}

static void the_manual_has_every_command_and_option(void **state)
{
    static char page[RUN_TEXT_MAX];

    read_page(manual, page);
    for (const struct cli_command *c = cli_commands; c->name; c++) {
        char title[80];
        const char *section, *end;

        snprintf(title, sizeof title, "\n%s%s%s", c->name, c->verb ? " " : "",
                 c->verb ? c->verb : "");
        section = strstr(page, title);
        if (!section)
            fail_msg("no section for%s", title);
        end = strchr(section + 1, '\n');
        for (int i = 0; i < CLI_OPTIONS_MAX && c->options[i].name; i++) {
            const char *option = strstr(section, c->options[i].name);

            if (!option || option > end)
                fail_msg("the section for%s does not have %s", title, c->options[i].name);
        }
    }
}

static void externals_are_called_for_a_real_run_only(void **state)
{
    const struct run *r = run_plain("run", "--console", "127.0.0.1:1", NULL);

    assert_int_equal(r->status, 7);
    assert_string_equal(r->out, "external run with 4 words\n");
    assert_int_equal(run_plain("run", "--help", NULL)->status, 0);
    r = run_plain("gateway", NULL);
    assert_int_equal(r->status, 1);
}

static void a_gateway_that_is_down_is_one_line(void **state)
{
    static const char *const lines[][2] = {
        { "status", NULL }, { "queue", "list" }, { "queue", "show" }, { "access", "test" }
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(lines); i++) {
        const struct run *r =
            strcmp(lines[i][0], "status") == 0
                ? run_words("status", NULL)
                : run_words(lines[i][0], lines[i][1], i > 1 ? "192.0.2.1" : "--json", NULL);

        assert_int_equal(r->status, 1);
        run_has(r->err, "postern: cannot reach the gateway at ");
        run_has(r->err, "/api.sock: is it running?\n");
        assert_ptr_equal(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
        assert_string_equal(r->out, "");
    }
}

/* ---- settings without a gateway ---- */

static char path[400];

static const struct run *apply(const char *document, const char *option)
{
    run_write("settings.json", document);
    snprintf(path, sizeof path, "%s/settings.json", run_state);
    return run_words("settings", "apply", path, option, NULL);
}

static void settings_work_with_the_gateway_down(void **state)
{
    const struct run *r;
    json_t *v;

    r = run_words("settings", "show", "connections.interface.port", NULL);
    assert_int_equal(r->status, 0);
    assert_string_equal(r->out, "2525\n");
    run_has(run_words("settings", "history", NULL)->out, "defaults are in force");
    r = apply("{\"identity\":{\"hostname\":\"gw.example\"}}", NULL);
    assert_int_equal(r->status, 0);
    run_has(r->out, "revision 1 will be in force");
    assert_int_equal(apply("{\"connections\":{\"interface\":{\"port\":2600}}}", NULL)->status, 0);
    assert_string_equal(run_words("settings", "show", "connections.interface.port", NULL)->out,
                        "2600\n");
    r = run_words("settings", "diff", "1", "2", NULL);
    assert_int_equal(r->status, 0);
    run_has(r->out, "- connections.interface.port: 2525\n+ connections.interface.port: 2600\n");
    run_has(r->out, "- identity.hostname: \"gw.example\"");
    r = run_words("settings", "rollback", "1", "--comment", "back", NULL);
    assert_int_equal(r->status, 0);
    assert_string_equal(run_words("settings", "show", "identity.hostname", NULL)->out,
                        "gw.example\n");
    v = json_loads(run_words("settings", "history", "--json", NULL)->out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(v, "total")), 3);
    json_decref(v);
    r = run_words("settings", "history", NULL);
    run_has(r->out, "REVISION  TIME");
    run_has(r->out, "back");
    assert_int_equal(run_words("settings", "rollback", "9", NULL)->status, 1);
    assert_int_equal(run_words("settings", "diff", "1", "9", NULL)->status, 1);
    assert_int_equal(run_words("settings", "show", "connections.nothing", NULL)->status, 1);
}

static void export_and_apply_are_inverse(void **state)
{
    char exported[RUN_TEXT_MAX];

    assert_int_equal(
        apply("{\"message_rules\":{\"relay_domains\":[\"example.org\"]}}", NULL)->status, 0);
    snprintf(exported, sizeof exported, "%s", run_words("settings", "export", NULL)->out);
    assert_int_equal(apply(exported, NULL)->status, 0);
    assert_string_equal(run_words("settings", "export", NULL)->out, exported);
}

static void wrong_settings_are_named_and_nothing_changes(void **state)
{
    const struct run *r = apply("{\"connections\":{\"interface\":{\"port\":0}}}", NULL);

    assert_int_equal(r->status, 1);
    run_has(r->err, "postern: /connections/interface/port: ");
    assert_ptr_equal(strchr(r->err, '\n'), r->err + strlen(r->err) - 1);
    r = apply("{\"a\":1,\"b\":2}", NULL);
    run_has(r->err, "/a: ");
    run_has(r->err, "/b: ");
    assert_int_equal(apply("{", NULL)->status, 1);
    assert_int_equal(apply("[]", NULL)->status, 1);
    assert_int_equal(apply("{\"identity\":{},\"identity\":{}}", NULL)->status, 1);
    assert_int_equal(run_words("settings", "apply", "/nonexistent", NULL)->status, 1);
    run_has(run_words("settings", "history", NULL)->out, "defaults are in force");
}

static void a_dry_run_stores_nothing_and_yes_confirms(void **state)
{
    static const char open_relay[] = "{\"message_rules\":{\"relay_domains\":[\"*\"]}}";

    assert_int_equal(apply("{}", "--dry-run")->status, 0);
    run_has(run_words("settings", "history", NULL)->out, "defaults are in force");
    assert_int_equal(apply(open_relay, NULL)->status, 1);
    assert_int_equal(apply(open_relay, "--yes")->status, 0);
    run_has_not(run_words("settings", "export", NULL)->out, "confirm");
}

/* ---- with a gateway of pretence ---- */

static struct net_loop *loop;
static struct http_server *server;
static pthread_t thread;
static char asked[1000]; /* the last request's method, path and body */

static void note(struct http_exchange *x)
{
    snprintf(asked, sizeof asked, "%s %.*s?%.*s %.*s", http_method_name(x->request->method),
             STR_FMT(x->request->path), (int)x->request->query.n,
             x->request->query.p ? x->request->query.p : "", (int)x->request->body.n,
             x->request->body.p ? x->request->body.p : "");
}

static void answer(struct http_exchange *x)
{
    bool second = http_exchange_query(x, "cursor").p != NULL;

    note(x);
    if (str_ends_nocase(x->request->path, STR("/content")) &&
        !str_starts_nocase(x->request->path, STR("/api/v1/queue/00000000009")))
        http_answer_text(x, 200, "message/rfc822", STR("Subject: a\r\n\r\nb\r\n"));
    else if (str_eq(x->request->path, STR("/api/v1/queue")))
        http_answer_json(
            x, 200,
            json_pack("{s:[{s:s, s:s, s:i, s:s, s:i, s:b, s:[{s:s, s:s, s:s}]}], s:s?, s:i}",
                      "items", "id", second ? "0000000001B" : "0000000001A", "received",
                      "2023-11-14T22:13:20.123Z", "size", 4300, "sender", "", "recipient_count", 3,
                      "held", second, "recipients", "address", "ann\xc2\x9b@example.com", "state",
                      "deferred", "reply", "451 \x1b[2Jno", "next", second ? NULL : "0000000001A",
                      "total", 2));
    else if (http_request_header(x->request, "if-match").p)
        http_problem(x, 500, "not expected");
    else if (x->request->method == HTTP_METHOD_GET)
        http_problem(x, 404, "There is no message with that ID \x1b in the queue.");
    else if (x->request->method == HTTP_METHOD_PUT)
        http_problem_errors(x, 422, "2 values",
                            json_pack("[{s:s,s:s},{s:s,s:s}]", "pointer", "/a", "detail", "one",
                                      "pointer", "/b", "detail", "two"));
    else
        http_answer_json(x, 200, json_pack("{s:i}", "count", 1));
    http_exchange_finish(x);
}

static const struct http_route routes[] = {
    { HTTP_METHOD_GET, "/{*}", answer, 0, HTTP_QUERY_ANY },
    { HTTP_METHOD_POST, "/{*}", answer, 10000, HTTP_QUERY_ANY },
    { HTTP_METHOD_PUT, "/{*}", answer, 10000, HTTP_QUERY_ANY },
    { HTTP_METHOD_DELETE, "/{*}", answer },
};

static void *serve(void *ctx)
{
    net_loop_run(loop);
    return NULL;
}

static int set_up_gateway(void **state)
{
    struct http_server_config config = { .routes = routes, .route_count = PT_ARRAY_LEN(routes) };

    if (run_set_up(state) != 0)
        return -1;
    snprintf(path, sizeof path, "%s/api.sock", run_state);
    loop = net_loop_new(0);
    config.loop = loop;
    server = http_server_new(&config);
    if (http_server_listen_unix(server, path, 0600, NULL) != PT_ERR_OK)
        return -1;
    return pthread_create(&thread, NULL, serve, NULL);
}

static int tear_down_gateway(void **state)
{
    net_loop_stop(loop);
    pthread_join(thread, NULL);
    http_server_free(server);
    net_loop_free(loop);
    return run_tear_down(state);
}

static void the_queue_is_listed_over_all_pages(void **state)
{
    const struct run *r = run_words("queue", "list", "--recipient", "a&b", NULL);
    json_t *v;

    assert_int_equal(r->status, 0);
    run_has(asked, "recipient=a%26b&cursor=0000000001A");
    run_has(r->out, "0000000001A");
    run_has(r->out, "0000000001B");
    run_has(r->out, "<>");
    run_has(r->out, "ann\\xc2\\x9b@example.com (+2)");
    run_has(r->out, "held, deferred: 451 \\x1b[2Jno");
    run_has_not(r->out, "\x1b");
    run_has_not(r->out, "\xc2\x9b");
    v = json_loads(run_words("queue", "list", "--json", NULL)->out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(v, "items")), 2);
    assert_true(json_is_null(json_object_get(v, "next")));
    json_decref(v);
    r = run_words("queue", "list", "--limit=1", NULL);
    run_has(asked, "limit=1");
    run_has(r->out, "1 of 2 messages");
}

static void actions_go_to_the_gateway(void **state)
{
    const struct run *r = run_words("queue", "retry", "--all", NULL);

    assert_int_equal(r->status, 0);
    assert_string_equal(asked, "POST /api/v1/queue/retry? {\"all\":true}");
    assert_string_equal(r->out, "1 message will be tried now\n");
    run_words("queue", "hold", "--destination", "mx:example.com", NULL);
    assert_string_equal(asked, "POST /api/v1/queue/hold? {\"destination\":\"mx:example.com\"}");
    run_words("queue", "release", "00000000001", NULL);
    assert_string_equal(asked, "POST /api/v1/queue/00000000001/release? ");
    run_words("queue", "delete", "00000000001", NULL);
    assert_string_equal(asked, "DELETE /api/v1/queue/00000000001? ");
    r = run_words("queue", "delete", "00000000001", "00000000002", NULL);
    assert_string_equal(asked,
                        "POST /api/v1/queue/delete? {\"ids\":[\"00000000001\",\"00000000002\"]}");
    assert_int_equal(r->status, 1); /* the gateway says that it was one only */
    assert_int_equal(run_words("queue", "retry", "x/../y", NULL)->status, 1);
}

static void file_has(const char *name, const char *text)
{
    char file[400], octets[100];
    size_t n;
    FILE *f;

    snprintf(file, sizeof file, "%s/%s", run_state, name);
    f = fopen(file, "re");
    if (!text) {
        assert_null(f);
        return;
    }
    assert_non_null(f);
    n = fread(octets, 1, sizeof octets - 1, f);
    octets[n] = 0;
    fclose(f);
    assert_string_equal(octets, text);
}

static void messages_are_exported_as_files(void **state)
{
    const struct run *r = run_words("queue", "export", "--all", "--to", run_state, NULL);

    assert_int_equal(r->status, 0);
    run_has(r->out, "2 messages written to ");
    file_has("0000000001A.eml", "Subject: a\r\n\r\nb\r\n");
    file_has("0000000001B.eml", "Subject: a\r\n\r\nb\r\n");
    r = run_words("queue", "export", "00000000009", "0000000000c", "--to", run_state, NULL);
    assert_int_equal(r->status, 1);
    run_has(r->out, "1 message written to ");
    file_has("0000000000C.eml", "Subject: a\r\n\r\nb\r\n");
    file_has("00000000009.eml", NULL);
    file_has("00000000009.eml.part", NULL);
    assert_int_equal(run_words("queue", "export", "--all", "--to", "/nonexistent", NULL)->status,
                     1);
}

static void a_problem_is_told_plainly(void **state)
{
    const struct run *r = run_words("queue", "show", "00000000001", NULL);

    assert_int_equal(r->status, 1);
    assert_string_equal(r->err, "postern: There is no message with that ID \\x1b in the queue.\n");
    r = apply("{}", "--dry-run");
    assert_int_equal(r->status, 1);
    run_has(asked, "PUT /api/v1/settings?dry_run=true&preview=true ");
    assert_string_equal(r->err, "postern: 2 values\n  /a: one\n  /b: two\n");
}

int main(int argc, char **argv)
{
#define T(name) cmocka_unit_test_setup_teardown(name, run_set_up, run_tear_down)
#define G(name) cmocka_unit_test_setup_teardown(name, set_up_gateway, tear_down_gateway)
    const struct CMUnitTest tests[] = {
        T(wrong_usage_is_status_2),
        T(help_names_every_command_and_each_has_its_own),
        T(the_manual_has_every_command_and_option),
        T(externals_are_called_for_a_real_run_only),
        T(a_gateway_that_is_down_is_one_line),
        T(settings_work_with_the_gateway_down),
        T(export_and_apply_are_inverse),
        T(wrong_settings_are_named_and_nothing_changes),
        T(a_dry_run_stores_nothing_and_yes_confirms),
        G(the_queue_is_listed_over_all_pages),
        G(actions_go_to_the_gateway),
        G(messages_are_exported_as_files),
        G(a_problem_is_told_plainly),
    };

    if (argc != 2)
        return 2;
    manual = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
