#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/msgid.h"
#include "fake_gateway.h"
#include "http/client.h"

static struct api *api;
static struct http_client *client;

static int set_up(void **state)
{
    api = fake_start();
    client = api ? http_client_new(fake.socket, 10000) : NULL;
    return client ? 0 : -1;
}

static int tear_down(void **state)
{
    http_client_free(client);
    fake_stop(api);
    return 0;
}

/* One call; the answer's body as JSON (NULL: it had none), its status and tag in `reply`. */
static struct http_reply reply;

static json_t *call(const char *method, const char *target, const char *body, const char *if_match)
{
    struct http_call c = {
        .method = method,
        .target = target,
        .type = body ? "application/json" : NULL,
        .body = str_of(body),
        .if_match = if_match,
    };
    json_t *v;

    assert_int_equal(http_client_call(client, &c, &reply, NULL), PT_ERR_OK);
    v = http_reply_json(&reply);
    if (reply.status >= 400) {
        assert_string_equal(reply.type, "application/problem+json");
        assert_int_equal(json_integer_value(json_object_get(v, "status")), reply.status);
    }
    http_reply_done(&reply);
    return v;
}

static void expect(unsigned status, const char *method, const char *target, const char *body)
{
    json_t *v = call(method, target, body, NULL);

    if (reply.status != status) {
        char *text = json_dumps(v, 0);

        fail_msg("%s %s: %u, not %u: %s", method, target, reply.status, status, text);
    }
    json_decref(v);
}

static const char *text_at(const json_t *v, const char *key)
{
    return json_string_value(json_object_get(v, key));
}

static json_int_t number_at(const json_t *v, const char *key)
{
    return json_integer_value(json_object_get(v, key));
}

/* ---- settings ---- */

static json_int_t port(void)
{
    json_t *v = call("GET", "/api/v1/settings", NULL, NULL);
    json_int_t n = -1;

    json_unpack(v, "{s:{s:{s:I}}}", "connections", "interface", "port", &n);
    json_decref(v);
    return n;
}

#define PORT(n) "{\"connections\":{\"interface\":{\"port\":" #n "}}}"

static void settings_are_put_patched_and_read(void **state)
{
    json_t *v;

    assert_int_equal(port(), 2525);
    assert_string_equal(reply.etag, "\"0\"");
    v = call("PUT", "/api/v1/settings?comment=first+one", PORT(2600), NULL);
    assert_int_equal(reply.status, 200);
    assert_string_equal(reply.etag, "\"1\"");
    assert_int_equal(number_at(v, "revision"), 1);
    json_decref(v);
    expect(200, "PATCH", "/api/v1/settings", "{\"message_rules\":{\"max_recipients\":7}}");
    assert_int_equal(port(), 2600);
    assert_string_equal(reply.etag, "\"2\"");
    /* Null takes a value back to its default. */
    expect(200, "PATCH", "/api/v1/settings", "{\"connections\":{\"interface\":null}}");
    assert_int_equal(port(), 2525);
}

static void a_stale_tag_is_412(void **state)
{
    json_decref(call("PUT", "/api/v1/settings", PORT(2600), "\"0\""));
    assert_int_equal(reply.status, 200);
    json_decref(call("PUT", "/api/v1/settings", PORT(2601), "\"0\""));
    assert_int_equal(reply.status, 412);
    assert_string_equal(reply.etag, "\"1\"");
    json_decref(call("PATCH", "/api/v1/settings", PORT(2601), "\"0\""));
    assert_int_equal(reply.status, 412);
    json_decref(call("PUT", "/api/v1/settings", PORT(2601), "W/\"1\""));
    assert_int_equal(reply.status, 412);
    assert_int_equal(port(), 2600);
    json_decref(call("PUT", "/api/v1/settings", PORT(2602), "\"9\", \"1\""));
    assert_int_equal(reply.status, 200);
    json_decref(call("PUT", "/api/v1/settings", PORT(2603), "*"));
    assert_int_equal(reply.status, 200);
    assert_int_equal(port(), 2603);
    /* Somebody commits between our look and the change. */
    fake.intruders = 1;
    json_decref(call("PUT", "/api/v1/settings", PORT(2604), "\"3\""));
    assert_int_equal(reply.status, 412);
}

static void a_patch_is_merged_again_when_somebody_was_faster(void **state)
{
    fake.intruders = 2;
    json_decref(call("PATCH", "/api/v1/settings", PORT(2600), NULL));
    /* The store knows nothing of the intruder's revisions: what counts is that it was tried. */
    assert_int_equal(fake.intruders, 0);
}

static void wrong_values_are_named_and_nothing_changes(void **state)
{
    json_t *v = call("PUT", "/api/v1/settings",
                     "{\"connections\":{\"interface\":{\"port\":0}},\"surprise\":1}", NULL);
    const json_t *errors = json_object_get(v, "errors");

    assert_int_equal(reply.status, 422);
    assert_int_equal(json_array_size(errors), 2);
    assert_string_equal(text_at(json_array_get(errors, 0), "pointer"),
                        "/connections/interface/port");
    assert_string_equal(text_at(json_array_get(errors, 1), "pointer"), "/surprise");
    assert_true(strlen(text_at(json_array_get(errors, 0), "detail")) > 3);
    json_decref(v);
    expect(400, "PUT", "/api/v1/settings", "{");
    expect(400, "PATCH", "/api/v1/settings", "{\"a\":1");
    expect(400, "PUT", "/api/v1/settings?confirm=1", "{}");
    assert_int_equal(port(), 2525);
    assert_string_equal(reply.etag, "\"0\"");
}

static void what_needs_confirmation_says_how(void **state)
{
    static const char open_relay[] = "{\"message_rules\":{\"relay_domains\":[\"*\"]}}";
    static const char confirmed[] =
        "{\"message_rules\":{\"relay_domains\":[\"*\"]},\"confirm\":[\"open_relay\"]}";
    json_t *v = call("PUT", "/api/v1/settings", open_relay, NULL);

    assert_int_equal(reply.status, 422);
    assert_non_null(strstr(text_at(v, "detail"), "\"confirm\": [\"open_relay\"]"));
    json_decref(v);
    expect(200, "PATCH", "/api/v1/settings", confirmed);
    v = call("GET", "/api/v1/settings", NULL, NULL);
    assert_null(json_object_get(v, "confirm"));
    json_decref(v);
}

static void a_dry_run_changes_nothing(void **state)
{
    json_t *v = call("PUT", "/api/v1/settings?dry_run=true", PORT(2600), NULL);

    assert_int_equal(reply.status, 200);
    assert_true(json_is_true(json_object_get(v, "dry_run")));
    json_decref(v);
    expect(422, "PUT", "/api/v1/settings?dry_run=true", PORT(0));
    assert_int_equal(port(), 2525);
}

static void a_participant_that_cannot_is_a_conflict(void **state)
{
    json_t *v;

    fake.participant = PT_ERR_BUSY;
    v = call("PUT", "/api/v1/settings", PORT(25), NULL);
    assert_int_equal(reply.status, 409);
    assert_string_equal(text_at(v, "detail"), "port 25 is in use");
    json_decref(v);
    fake.participant = PT_ERR_NOSPACE;
    expect(507, "PUT", "/api/v1/settings", PORT(25));
    assert_int_equal(port(), 2525);
}

static void without_settings_in_force_a_document_can_be_put(void **state)
{
    json_t *v;

    fake.no_settings = true;
    expect(503, "GET", "/api/v1/settings", NULL);
    expect(503, "PATCH", "/api/v1/settings", "{}");
    v = call("GET", "/api/v1/status", NULL, NULL);
    assert_string_equal(text_at(v, "health"), "red");
    assert_true(json_is_null(json_object_get(v, "revision")));
    json_decref(v);
    expect(200, "PUT", "/api/v1/settings", PORT(2600));
    expect(200, "POST", "/api/v1/settings/revisions/1/restore", NULL);
}

static void revisions_are_listed_shown_and_restored(void **state)
{
    json_t *v;
    const json_t *items;

    v = call("GET", "/api/v1/settings/revisions", NULL, NULL);
    assert_int_equal(number_at(v, "total"), 0);
    json_decref(v);
    expect(404, "GET", "/api/v1/settings/revisions/1", NULL);
    expect(200, "PUT", "/api/v1/settings?comment=one", PORT(2601));
    expect(200, "PUT", "/api/v1/settings", PORT(2602));
    expect(200, "POST", "/api/v1/settings/revisions/1/restore", NULL);
    assert_int_equal(port(), 2601);
    v = call("GET", "/api/v1/settings/revisions?limit=2", NULL, NULL);
    items = json_object_get(v, "items");
    assert_int_equal(json_array_size(items), 2);
    assert_int_equal(number_at(v, "total"), 3);
    assert_int_equal(number_at(json_array_get(items, 0), "revision"), 3);
    assert_int_equal(number_at(json_array_get(items, 0), "restored_from"), 1);
    assert_string_equal(text_at(v, "next"), "2");
    json_decref(v);
    v = call("GET", "/api/v1/settings/revisions?limit=2&cursor=2", NULL, NULL);
    items = json_object_get(v, "items");
    assert_int_equal(json_array_size(items), 1);
    assert_string_equal(text_at(json_array_get(items, 0), "comment"), "one");
    assert_true(json_is_null(json_object_get(v, "next")));
    json_decref(v);
    v = call("GET", "/api/v1/settings/revisions/2", NULL, NULL);
    assert_true(json_is_object(json_object_get(v, "document")));
    assert_true(strlen(text_at(v, "author")) > 0);
    json_decref(v);
    expect(404, "GET", "/api/v1/settings/revisions/9", NULL);
    expect(404, "GET", "/api/v1/settings/revisions/x", NULL);
    expect(404, "POST", "/api/v1/settings/revisions/9/restore", NULL);
    expect(400, "GET", "/api/v1/settings/revisions?limit=0", NULL);
    expect(400, "GET", "/api/v1/settings/revisions?cursor=x", NULL);
}

/* ---- queue ---- */

static char *id_of(uint64_t number)
{
    static char text[MSGID_SIZE];

    msgid_format(number, text);
    return text;
}

static void a_queue_that_is_loading_says_so(void **state)
{
    json_t *v = call("GET", "/api/v1/queue", NULL, NULL), *loading;

    assert_true(json_is_false(json_object_get(v, "loading")));
    json_decref(v);
    fake.status.spool.loading = true;
    fake.status.spool.found = 100;
    fake.status.spool.loaded = 3;
    v = call("GET", "/api/v1/queue", NULL, NULL);
    assert_true(json_is_true(json_object_get(v, "loading")));
    json_decref(v);
    expect(503, "GET", "/api/v1/queue/00000000001", NULL);
    expect(503, "GET", "/api/v1/queue/00000000001/content", NULL);
    expect(503, "POST", "/api/v1/queue/delete", "{\"all\": true}");
    v = call("GET", "/api/v1/status", NULL, NULL);
    loading = json_object_get(json_object_get(v, "spool"), "loading");
    assert_int_equal(json_integer_value(json_object_get(loading, "loaded")), 3);
    assert_int_equal(json_integer_value(json_object_get(loading, "of")), 100);
    json_decref(v);
}

static void the_queue_comes_in_pages(void **state)
{
    json_t *v = call("GET", "/api/v1/queue?limit=2", NULL, NULL);
    char target[100];
    const json_t *first = json_array_get(json_object_get(v, "items"), 0);

    assert_int_equal(json_array_size(json_object_get(v, "items")), 2);
    assert_int_equal(number_at(v, "total"), 3);
    assert_string_equal(text_at(first, "id"), id_of(1001));
    assert_string_equal(text_at(first, "sender"), "a@x.example");
    assert_int_equal(number_at(first, "recipient_count"), 2);
    snprintf(target, sizeof target, "/api/v1/queue?limit=2&cursor=%s", text_at(v, "next"));
    json_decref(v);
    v = call("GET", target, NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(v, "items")), 1);
    assert_true(json_is_null(json_object_get(v, "next")));
    assert_int_equal(number_at(v, "total"), 3);
    assert_int_equal(fake.counts, 1); /* the second page does not count again */
    json_decref(v);
    v = call("GET", "/api/v1/queue?held=true", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(v, "items")), 1);
    json_decref(v);
    v = call("GET", "/api/v1/queue?sender=a%40x.example", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(v, "items")), 1);
    json_decref(v);
    expect(400, "GET", "/api/v1/queue?limit=1001", NULL);
    expect(400, "GET", "/api/v1/queue?cursor=!", NULL);
}

static void the_queue_is_filtered_and_sorted(void **state)
{
    int64_t now = clock_wall_us(), hour = INT64_C(3600) * 1000000;

    json_decref(call("GET", "/api/v1/queue?state=in_doubt&older_than=2h&newer_than=3d&order=newest",
                     NULL, NULL));
    assert_int_equal(fake.filter.state, API_QUEUE_IN_DOUBT);
    assert_true(fake.filter.newest_first);
    assert_in_range(now - fake.filter.received_before_us, hour, 2 * hour);
    assert_in_range(now - fake.filter.received_after_us, 71 * hour, 72 * hour);
    json_decref(call("GET", "/api/v1/queue?older_than=90", NULL, NULL));
    assert_in_range(now - fake.filter.received_before_us, 0, 91 * 1000000);
    expect(400, "GET", "/api/v1/queue?older_than=2w", NULL);
    expect(400, "GET", "/api/v1/queue?older_than=h", NULL);
    expect(400, "GET", "/api/v1/queue?newer_than=99999999999999999999", NULL);
    expect(400, "GET", "/api/v1/queue?state=lost", NULL);
    expect(400, "GET", "/api/v1/queue?order=size", NULL);
    expect(400, "GET", "/api/v1/queue?cursor=00000000001-x", NULL);
}

static void a_message_is_shown_whatever_its_next_hop_said(void **state)
{
    char target[100];
    const json_t *recipient;
    json_t *v;

    snprintf(target, sizeof target, "/api/v1/queue/%s", id_of(1001));
    v = call("GET", target, NULL, NULL);
    recipient = json_array_get(json_object_get(v, "recipients"), 0);
    assert_string_equal(text_at(recipient, "reply"), "451 no\x1b[2J \xef\xbf\xbd");
    assert_string_equal(text_at(recipient, "next_attempt"), "2023-11-14T22:13:20.000Z");
    assert_int_equal(number_at(recipient, "attempts"), 2);
    assert_true(json_is_null(json_object_get(v, "next_recipient")));
    json_decref(v);
    snprintf(target, sizeof target, "/api/v1/queue/%s?recipient=7&limit=5", id_of(1001));
    json_decref(call("GET", target, NULL, NULL));
    assert_int_equal(fake.first_recipient, 7);
    assert_int_equal(fake.recipients_max, 5);
    snprintf(target, sizeof target, "/api/v1/queue/%s?recipient=x", id_of(1001));
    expect(400, "GET", target, NULL);
    expect(404, "GET", "/api/v1/queue/NONSENSE", NULL);
    expect(404, "GET", "/api/v1/queue/00000000001", NULL);
}

static void actions_reach_the_gateway(void **state)
{
    static const struct {
        const char *name;
        enum api_queue_action action;
    } actions[] = { { "retry", API_QUEUE_RETRY },
                    { "hold", API_QUEUE_HOLD },
                    { "release", API_QUEUE_RELEASE },
                    { "bounce", API_QUEUE_BOUNCE } };
    char target[100], body[100], id[MSGID_SIZE];

    msgid_format(1002, id);
    for (size_t i = 0; i < PT_ARRAY_LEN(actions); i++) {
        snprintf(target, sizeof target, "/api/v1/queue/%s/%s", id, actions[i].name);
        expect(200, "POST", target, NULL);
        assert_int_equal(fake.action, actions[i].action);
        assert_int_equal(fake.acted[0], 1002);
        snprintf(target, sizeof target, "/api/v1/queue/%s", actions[i].name);
        expect(200, "POST", target, "{\"all\":true}");
        assert_true(fake.acted_all);
        expect(200, "POST", target, "{\"destination\":\"relay:25\"}");
        assert_string_equal(fake.acted_destination, "relay:25");
        assert_false(fake.acted_all);
    }
    snprintf(body, sizeof body, "{\"ids\":[\"%s\",\"%s\"]}", id, "00000000001");
    expect(200, "POST", "/api/v1/queue/delete", body);
    assert_int_equal(fake.action, API_QUEUE_DELETE);
    assert_int_equal(fake.acted_count, 2);
    snprintf(target, sizeof target, "/api/v1/queue/%s", id);
    expect(200, "DELETE", target, NULL);
    expect(404, "DELETE", "/api/v1/queue/00000000001", NULL);
}

static void an_unclear_selection_touches_nothing(void **state)
{
    static const char *const bodies[] = {
        "{}",
        "[]",
        "{\"all\":false}",
        "{\"all\":\"yes\"}",
        "{\"all\":true,\"destination\":\"x\"}",
        "{\"ids\":[]}",
        "{\"ids\":[1]}",
        "{\"ids\":[\"no id\"]}",
        "{\"ids\":\"00000000001\"}",
        "{\"destination\":\"\"}",
        "{\"destination\":7}",
        "{\"everything\":true}",
    };

    fake.action = API_QUEUE_HOLD;
    for (size_t i = 0; i < PT_ARRAY_LEN(bodies); i++) {
        expect(400, "POST", "/api/v1/queue/delete", bodies[i]);
        assert_int_equal(fake.action, API_QUEUE_HOLD);
    }
    expect(415, "POST", "/api/v1/queue/delete", NULL);
}

static void content_comes_whole_however_long(void **state)
{
    char target[100];
    struct http_call c = { .method = "GET", .target = target };

    for (uint64_t id = 1001; id <= 1002; id++) {
        size_t size = id == 1002 ? FAKE_LONG : 5;

        snprintf(target, sizeof target, "/api/v1/queue/%s/content", id_of(id));
        assert_int_equal(http_client_call(client, &c, &reply, NULL), PT_ERR_OK);
        assert_int_equal(reply.status, 200);
        assert_string_equal(reply.type, "message/rfc822");
        assert_int_equal(reply.body.n, size);
        for (size_t i = 0; i < size; i++)
            assert_int_equal(reply.body.p[i], 'a' + i % 23);
        http_reply_done(&reply);
    }
    snprintf(target, sizeof target, "/api/v1/queue/%s/content", id_of(1003));
    expect(500, "GET", target, NULL);
    expect(404, "GET", "/api/v1/queue/00000000001/content", NULL);
}

/* ---- status and the rest ---- */

static void status_tells_how_the_gateway_is(void **state)
{
    json_t *v;

    fake.status.sessions = 4;
    v = call("GET", "/api/v1/status", NULL, NULL);
    assert_string_equal(text_at(v, "health"), "green");
    assert_string_equal(text_at(v, "version"), "1.2.3");
    assert_string_equal(text_at(v, "hostname"), "fake.example");
    assert_int_equal(number_at(json_object_get(v, "sessions"), "now"), 4);
    assert_true(number_at(v, "uptime_seconds") >= 5);
    assert_string_equal(text_at(json_array_get(json_object_get(v, "queue"), 0), "destination"),
                        "relay:25");
    json_decref(v);
    fake.status.warning_count = 1;
    snprintf(fake.status.warnings[0].text, 100, "the spool is on tmpfs");
    v = call("GET", "/api/v1/status", NULL, NULL);
    assert_string_equal(text_at(v, "health"), "yellow");
    assert_string_equal(text_at(json_array_get(json_object_get(v, "warnings"), 0), "text"),
                        "the spool is on tmpfs");
    json_decref(v);
    fake.status.listener_count = 2;
    v = call("GET", "/api/v1/status", NULL, NULL);
    assert_string_equal(text_at(v, "health"), "red");
    json_decref(v);
}

static void ready_means_that_mail_can_come_in(void **state)
{
    expect(200, "GET", "/healthz", NULL);
    expect(200, "GET", "/readyz", NULL);
    fake.status.listeners[0].listening = false;
    expect(503, "GET", "/readyz", NULL);
    fake.status.listeners[0].listening = true;
    fake.status.spool.accepting = false;
    expect(503, "GET", "/readyz", NULL);
    expect(200, "GET", "/healthz", NULL);
}

static void an_address_is_tested(void **state)
{
    json_t *v = call("POST", "/api/v1/connections/test", "{\"address\":\"127.0.0.1\"}", NULL);

    assert_string_equal(text_at(v, "decision"), "deny");
    assert_string_equal(text_at(v, "entry"), "127.0.0.0/8");
    assert_string_equal(text_at(v, "list"), "deny");
    json_decref(v);
    v = call("POST", "/api/v1/connections/test", "{\"address\":\"192.0.2.1\"}", NULL);
    assert_string_equal(text_at(v, "decision"), "accept");
    assert_true(json_is_null(json_object_get(v, "entry")));
    json_decref(v);
    expect(422, "POST", "/api/v1/connections/test", "{\"address\":\"gw.example\"}");
    expect(422, "POST", "/api/v1/connections/test", "{\"address\":1}");
    expect(422, "POST", "/api/v1/connections/test", "{}");
    expect(422, "POST", "/api/v1/connections/test", "{\"address\":\"::1\",\"helo\":\"x\"}");
}

static void interfaces_have_loopback_among_them(void **state)
{
    json_t *v = call("GET", "/api/v1/interfaces", NULL, NULL);
    const json_t *i;
    size_t n;
    bool found = false;

    json_array_foreach(json_object_get(v, "items"), n, i) found |=
        strcmp(text_at(i, "address"), "127.0.0.1") == 0 && number_at(i, "prefix") == 8;
    assert_true(found);
    assert_int_equal(number_at(v, "total"), n);
    json_decref(v);
}

static size_t page_of(const char *target, char next[64], json_int_t total)
{
    json_t *v = call("GET", target, NULL, NULL);
    size_t n = json_array_size(json_object_get(v, "items"));

    assert_int_equal(reply.status, 200);
    assert_int_equal(number_at(v, "total"), total);
    snprintf(next, 64, "%s", text_at(v, "next") ? text_at(v, "next") : "");
    json_decref(v);
    return n;
}

static void live_connections_are_listed_in_pages_and_by_address(void **state)
{
    char next[64], target[128];

    assert_int_equal(page_of("/api/v1/connections/live", next, 3), 3);
    assert_string_equal(next, "");
    assert_int_equal(page_of("/api/v1/connections/live?limit=2", next, 3), 2);
    snprintf(target, sizeof target, "/api/v1/connections/live?limit=2&cursor=%s", next);
    assert_int_equal(page_of(target, next, 3), 1);
    assert_string_equal(next, "");
    assert_int_equal(page_of("/api/v1/connections/live?address=192.0.2.0/25", next, 1), 1);
    assert_int_equal(page_of("/api/v1/connections/live?address=2001:db8::", next, 1), 1);
    expect(400, "GET", "/api/v1/connections/live?address=mail.example", NULL);
    expect(400, "GET", "/api/v1/connections/live?limit=0", NULL);
    expect(400, "GET", "/api/v1/connections/live?cursor=!", NULL);
    expect(405, "DELETE", "/api/v1/connections/live", NULL);
}

static void a_live_connection_is_shown_and_disconnected(void **state)
{
    char id[MSGID_SIZE], target[64];
    json_t *v;

    msgid_format(2001, id);
    snprintf(target, sizeof target, "/api/v1/connections/live/%s", id);
    v = call("GET", target, NULL, NULL);
    assert_string_equal(text_at(v, "client"), "192.0.2.1");
    assert_string_equal(text_at(v, "helo"), "x\xef\xbf\xbd.example");
    assert_true(json_is_null(json_object_get(v, "tls")));
    assert_int_equal(number_at(v, "idle_seconds"), 7);
    json_decref(v);
    v = call("DELETE", target, NULL, NULL);
    assert_true(json_is_true(json_object_get(v, "disconnected")));
    json_decref(v);
    msgid_format(2002, id);
    snprintf(target, sizeof target, "/api/v1/connections/live/%s", id);
    v = call("DELETE", target, NULL, NULL);
    assert_true(json_is_false(json_object_get(v, "disconnected")));
    json_decref(v);
    expect(404, "GET", "/api/v1/connections/live/00000000009", NULL);
    expect(404, "DELETE", "/api/v1/connections/live/00000000009", NULL);
    expect(404, "GET", "/api/v1/connections/live/nobody", NULL);
}

/* The value at the keys, ended by NULL. */
static const json_t *member(const json_t *v, ...)
{
    const char *key;
    va_list keys;

    va_start(keys, v);
    while (v && (key = va_arg(keys, const char *)))
        v = json_object_get(v, key);
    va_end(keys);
    return v;
}

static void the_description_has_what_is_there(void **state)
{
    json_t *v = call("GET", "/api/v1/openapi.json", NULL, NULL);
    const json_t *paths = json_object_get(v, "paths"), *put, *show;

    put = json_object_get(json_object_get(paths, "/api/v1/settings"), "put");
    assert_int_equal(json_array_size(json_object_get(put, "parameters")), 4);
    assert_non_null(json_object_get(put, "requestBody"));
    show = json_object_get(json_object_get(paths, "/api/v1/queue/{id}"), "get");
    assert_string_equal(text_at(json_array_get(json_object_get(show, "parameters"), 0), "in"),
                        "path");
    assert_non_null(json_object_get(json_object_get(paths, "/api/v1/queue/{id}"), "delete"));
    assert_true(json_is_object(json_object_get(
        json_object_get(json_object_get(json_object_get(v, "components"), "schemas"), "settings"),
        "properties")));
    for (int i = 0; i < 2; i++) {
        const json_t *list = json_object_get(paths, i ? "/api/v1/connections/lists/permit"
                                                      : "/api/v1/connections/lists/deny");
        const json_t *get = member(list, "get", "responses", "200", "content", NULL);

        assert_non_null(json_object_get(get, "application/json"));
        assert_non_null(json_object_get(get, "text/plain"));
        assert_non_null(member(list, "post", "requestBody", "content", "text/plain", NULL));
        assert_non_null(member(list, "patch", "requestBody", "content", "application/json",
                               "schema", "properties", "remove", NULL));
        assert_int_equal(json_array_size(member(list, "post", "parameters", NULL)), 7);
    }
    json_decref(v);
}

/* ---- the audit log ---- */

/* The newest row, which is to be released. */
static json_t *newest(const char *query)
{
    char target[200];
    json_t *v, *row;

    snprintf(target, sizeof target, "/api/v1/audit?limit=1%s", query);
    v = call("GET", target, NULL, NULL);
    assert_int_equal(reply.status, 200);
    row = json_incref(json_array_get(json_object_get(v, "items"), 0));
    json_decref(v);
    return row;
}

static void expect_row(const char *action, const char *outcome, const char *target,
                       const char *detail)
{
    json_t *row = newest("");

    assert_string_equal(text_at(row, "action"), action);
    assert_string_equal(text_at(row, "outcome"), outcome);
    assert_non_null(text_at(row, "actor"));
    assert_int_equal(number_at(row, "uid"), getuid());
    assert_non_null(strstr(text_at(row, "origin"), "api.sock, process"));
    if (target)
        assert_string_equal(text_at(row, "target"), target);
    if (detail)
        assert_non_null(strstr(text_at(row, "detail"), detail));
    json_decref(row);
}

static void every_deed_is_written_down(void **state)
{
    json_t *v, *row;

    v = call("GET", "/api/v1/audit", NULL, NULL); /* there is no database yet */
    assert_int_equal(number_at(v, "total"), 0);
    json_decref(v);
    expect(200, "PUT", "/api/v1/settings?comment=first", PORT(2526));
    row = newest("");
    assert_string_equal(text_at(row, "action"), "settings.change");
    assert_string_equal(text_at(row, "outcome"), "done");
    assert_string_equal(text_at(row, "detail"), "first");
    assert_int_equal(number_at(row, "revision"), 1);
    json_decref(row);
    expect(422, "PUT", "/api/v1/settings", PORT(0));
    expect_row("settings.change", "refused", NULL, "/connections/interface/port: must be");
    expect(400, "PATCH", "/api/v1/settings", "{");
    expect_row("settings.change", "refused", NULL, "no JSON");
    json_decref(call("PUT", "/api/v1/settings", PORT(2527), "\"77\""));
    assert_int_equal(reply.status, 412);
    expect_row("settings.change", "refused", NULL, "not in force");
    expect(200, "PUT", "/api/v1/settings?dry_run=true", PORT(2528));
    expect_row("settings.change", "refused", NULL, "not in force"); /* no new row */
    expect(200, "POST", "/api/v1/settings/revisions/1/restore", NULL);
    expect_row("settings.restore", "done", "revision 1", NULL);
    fake.participant = PT_ERR_BUSY;
    expect(409, "PUT", "/api/v1/settings", PORT(2529));
    expect_row("settings.change", "failed", NULL, "port 25 is in use");
    expect(200, "POST", "/api/v1/queue/hold", "{\"all\":true}");
    expect_row("queue.hold", "done", "all", "3 messages");
    expect(200, "POST", "/api/v1/queue/retry", "{\"destination\":\"relay:25\"}");
    expect_row("queue.retry", "done", "destination relay:25", "3 messages");
    expect(404, "DELETE", "/api/v1/queue/00000000001", NULL);
    expect_row("queue.delete", "refused", "00000000001", "no such message");
    expect(204, "POST", "/api/v1/log/flush", NULL);
    expect_row("log.flush", "done", NULL, NULL);
}

static void the_audit_log_comes_in_pages(void **state)
{
    static const char *const wrong[] = { "since=yesterday", "until=2026-13-01T00:00:00Z",
                                         "cursor=x",        "limit=0",
                                         "limit=501",       "who=ann" };
    char target[200];
    json_t *v;

    for (int i = 0; i < 5; i++)
        expect(200, "POST", "/api/v1/queue/hold", "{\"all\":true}");
    expect(200, "PUT", "/api/v1/settings", PORT(2526));
    v = call("GET", "/api/v1/audit?action=queue&limit=3", NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(v, "items")), 3);
    assert_int_equal(number_at(v, "total"), 5);
    snprintf(target, sizeof target, "/api/v1/audit?action=queue&limit=3&cursor=%s",
             text_at(v, "next"));
    json_decref(v);
    v = call("GET", target, NULL, NULL);
    assert_int_equal(json_array_size(json_object_get(v, "items")), 2);
    assert_true(json_is_null(json_object_get(v, "next")));
    json_decref(v);
    v = call("GET", "/api/v1/audit?until=2020-01-01T00:00:00Z", NULL, NULL);
    assert_int_equal(number_at(v, "total"), 0);
    json_decref(v);
    for (size_t i = 0; i < PT_ARRAY_LEN(wrong); i++) {
        snprintf(target, sizeof target, "/api/v1/audit?%s", wrong[i]);
        expect(400, "GET", target, NULL);
    }
}

/* What cannot be recorded is not done. */
static void without_the_audit_log_nothing_is_done(void **state)
{
    char path[400];
    FILE *f;

    snprintf(path, sizeof path, "%s/settings.db", fake.directory);
    f = fopen(path, "we");
    assert_non_null(f);
    for (int i = 0; i < 1000; i++)
        fputs("this is no database at all", f);
    fclose(f);
    fake.action = API_QUEUE_RETRY;
    fake.acted_all = false;
    expect(500, "POST", "/api/v1/queue/hold", "{\"all\":true}");
    assert_int_equal(fake.action, API_QUEUE_RETRY);
    expect(500, "POST", "/api/v1/log/flush", NULL);
    assert_int_equal(unlink(path), 0); /* moved away: all is well again */
    expect(200, "POST", "/api/v1/queue/hold", "{\"all\":true}");
    assert_true(fake.acted_all);
}

static void the_log_is_written_when_asked(void **state)
{
    char path[400], line[1000];
    FILE *f;

    snprintf(path, sizeof path, "%s/log", fake.directory);
    assert_int_equal(mkdir(path, 0700), 0);
    assert_int_equal(log_open(path, NULL), PT_ERR_OK);
    log_text(LOG_INFO, "test", "a line");
    expect(204, "POST", "/api/v1/log/flush", NULL);
    snprintf(path, sizeof path, "%s/log/postern.log", fake.directory);
    f = fopen(path, "re");
    assert_non_null(f);
    assert_non_null(fgets(line, sizeof line, f));
    assert_non_null(strstr(line, "a line"));
    fclose(f);
    log_close();
    unlink(path);
    *strrchr(path, '/') = 0;
    rmdir(path);
}

static void paths_and_methods_that_are_not_there(void **state)
{
    expect(404, "GET", "/api/v1/nothing", NULL);
    expect(404, "GET", "/api/v1/settings/", NULL);
    expect(405, "DELETE", "/api/v1/settings", NULL);
    expect(405, "PUT", "/api/v1/queue", NULL);
    expect(405, "GET", "/api/v1/connections/test", NULL);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(settings_are_put_patched_and_read),
        T(a_stale_tag_is_412),
        T(a_patch_is_merged_again_when_somebody_was_faster),
        T(wrong_values_are_named_and_nothing_changes),
        T(what_needs_confirmation_says_how),
        T(a_dry_run_changes_nothing),
        T(a_participant_that_cannot_is_a_conflict),
        T(without_settings_in_force_a_document_can_be_put),
        T(revisions_are_listed_shown_and_restored),
        T(the_queue_comes_in_pages),
        T(a_queue_that_is_loading_says_so),
        T(the_queue_is_filtered_and_sorted),
        T(a_message_is_shown_whatever_its_next_hop_said),
        T(actions_reach_the_gateway),
        T(an_unclear_selection_touches_nothing),
        T(content_comes_whole_however_long),
        T(status_tells_how_the_gateway_is),
        T(ready_means_that_mail_can_come_in),
        T(an_address_is_tested),
        T(interfaces_have_loopback_among_them),
        T(live_connections_are_listed_in_pages_and_by_address),
        T(a_live_connection_is_shown_and_disconnected),
        T(the_description_has_what_is_there),
        T(every_deed_is_written_down),
        T(the_audit_log_comes_in_pages),
        T(without_the_audit_log_nothing_is_done),
        T(the_log_is_written_when_asked),
        T(paths_and_methods_that_are_not_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
