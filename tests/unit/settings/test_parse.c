#include <jansson.h>
#include <pthread.h>
#include <stdlib.h>

#include "check.h"
#include "settings/schema.h"

#define YEAR_2025_US 1735689600000000

static const struct settings_host host = { .hostname = "GW.example.com", .now_us = YEAR_2025_US };

static struct settings_errors errors;

static int clear_errors(void **state)
{
    (void)state;
    settings_errors_done(&errors);
    return 0;
}

static enum pt_err try_on(const struct settings_host *h, const char *text, struct settings **out)
{
    return settings_parse(text, strlen(text), h, out, &errors);
}

static struct settings *good(const char *text)
{
    struct settings *s = NULL;
    struct buf told;

    buf_init(&told, 10000);
    if (try_on(&host, text, &s) != PT_ERR_OK) {
        settings_errors_write(&errors, &told);
        fail_msg("%s: %s", text, buf_cstr(&told));
    }
    buf_done(&told);
    return s;
}

static void bad_on(const struct settings_host *h, const char *text, const char *const *pointers)
{
    struct settings *s = NULL;
    uint32_t n = 0;

    assert_int_equal(try_on(h, text, &s), PT_ERR_INVALID);
    assert_null(s);
    for (; pointers[n]; n++) {
        assert_true(n < errors.error_count);
        assert_string_equal(errors.errors[n].pointer, pointers[n]);
    }
    assert_int_equal(errors.error_count, n);
}

#define BAD(text, ...) bad_on(&host, (text), (const char *const[]){ __VA_ARGS__, NULL })

/* ---- values ---- */

static const char default_document[] =
    "{\"identity\":{\"hostname\":\"gw.example.com\",\"greeting\":\"ESMTP ready\"},"
    "\"connections\":{\"interface\":{\"address\":\"loopback\",\"port\":2525,"
    "\"idle_timeout_minutes\":5,\"max_connections\":null},"
    "\"control\":{\"mode\":\"accept_all_except\",\"deny_list\":[],\"permit_list\":[]},"
    "\"tls\":{\"incoming\":false,\"incoming_required\":false,\"certificate\":null,"
    "\"outgoing\":false}},"
    "\"message_rules\":{\"max_message_size_mb\":50,\"max_recipients\":1000,"
    "\"max_messages_per_connection\":null,\"relay_domains\":[],"
    "\"permitted_relay\":{\"hosts\":\"host_only\",\"networks\":[]}},"
    "\"delivery\":{\"routes\":[{\"domain\":\"*\",\"via\":\"mx\"}]},"
    "\"resolver\":{\"servers\":[],\"trust_anchor\":null}}";

static void the_default_document(void **state)
{
    struct settings *s = good("{}");

    (void)state;
    assert_string_equal(s->document, default_document);
    assert_int_equal(errors.warning_count, 0);
    assert_int_equal(s->revision, 0);
    assert_string_equal(s->identity.hostname, "gw.example.com");
    assert_string_equal(s->identity.greeting, "ESMTP ready");
    assert_int_equal(s->interface.listen, SETTINGS_LISTEN_LOOPBACK);
    assert_int_equal(s->interface.port, 2525);
    assert_int_equal(s->interface.idle_timeout_minutes, 5);
    assert_int_equal(s->interface.max_connections, 0);
    assert_int_equal(s->control.mode, SETTINGS_ACCEPT_ALL_EXCEPT);
    assert_int_equal(s->control.deny_list->count + s->control.permit_list->count, 0);
    assert_int_equal(s->message_rules.max_message_size, 50 * 1048576);
    assert_int_equal(s->message_rules.max_recipients, 1000);
    assert_int_equal(s->message_rules.max_messages_per_connection, 0);
    assert_int_equal(s->message_rules.relay_hosts, SETTINGS_RELAY_HOST_ONLY);
    assert_int_equal(s->route_count, 1);
    assert_int_equal(s->routes[0].via, SETTINGS_VIA_MX);
    assert_null(s->resolver.trust_anchor);
    settings_unref(s);
}

static void every_value_arrives(void **state)
{
    struct settings *s = good(
        "{\"identity\":{\"hostname\":\"Mail.B\xC3\x9C"
        "cher.de.\",\"greeting\":\"hi\"},"
        "\"connections\":{\"interface\":{\"address\":\"2001:DB8::1\",\"port\":25,"
        "\"idle_timeout_minutes\":30,\"max_connections\":7},"
        "\"control\":{\"mode\":\"deny_all_except\",\"deny_list\":[\"192.168.2.0:255.255.255.0\"],"
        "\"permit_list\":[\"10.0.0.1\",{\"network\":\"2001:db8::/32\",\"comment\":\"lab\","
        "\"expires\":\"2030-01-01T01:30:00.25+01:30\"}]}},"
        "\"message_rules\":{\"max_message_size_mb\":1,\"max_recipients\":2,"
        "\"max_messages_per_connection\":3,\"relay_domains\":[\"EXAMPLE.org\",\"*.B\xC3\xBC"
        "cher.de\"],\"permitted_relay\":{\"hosts\":\"specified\",\"networks\":[\"10.1.0.0/16\"]}},"
        "\"delivery\":{\"routes\":[{\"domain\":\"A.example\",\"next_hops\":"
        "[{\"host\":\"[::1]\",\"port\":26},{\"host\":\"MX.a.example\"}],\"max_concurrency\":4}]},"
        "\"resolver\":{\"servers\":[\"127.0.0.1@5353\",\"::1\"],\"trust_anchor\":\"none\"}}");
    const struct settings_list *permit = s->control.permit_list;
    char text[SETTINGS_ENTRY_SIZE];

    (void)state;
    assert_string_equal(s->identity.hostname, "mail.xn--bcher-kva.de");
    assert_int_equal(s->interface.listen, SETTINGS_LISTEN_ADDRESS);
    assert_int_equal(s->interface.address.family, NET_IPV6);
    assert_int_equal(s->interface.max_connections, 7);
    assert_int_equal(s->control.mode, SETTINGS_DENY_ALL_EXCEPT);
    settings_entry_format(&s->control.deny_list->entries[0], text);
    assert_string_equal(text, "192.168.2.0:255.255.255.0");
    assert_int_equal(s->control.deny_list->entries[0].prefix.length, 24);
    assert_null(settings_list_comment(s->control.deny_list, 0));
    assert_int_equal(permit->count, 2);
    assert_string_equal(settings_list_comment(permit, 1), "lab");
    assert_int_equal(permit->entries[1].prefix.length, 32);
    assert_true(settings_list_expires_us(permit, 1) == 1893456000250000);
    assert_int_equal(s->message_rules.max_message_size, 1048576);
    assert_int_equal(s->message_rules.max_recipients, 2);
    assert_int_equal(s->message_rules.max_messages_per_connection, 3);
    assert_string_equal(settings_list_pattern(s->message_rules.relay_domains, 0), "example.org");
    assert_string_equal(settings_list_pattern(s->message_rules.relay_domains, 1),
                        "*.xn--bcher-kva.de");
    assert_int_equal(s->message_rules.relay_networks[0].length, 16);
    assert_int_equal(s->routes[0].via, SETTINGS_VIA_NEXT_HOPS);
    assert_int_equal(s->routes[0].max_concurrency, 4);
    assert_int_equal(s->routes[0].next_hop_count, 2);
    assert_string_equal(s->routes[0].next_hops[0].host, "::1");
    assert_int_equal(s->routes[0].next_hops[0].port, 26);
    assert_string_equal(s->routes[0].next_hops[1].host, "mx.a.example");
    assert_int_equal(s->routes[0].next_hops[1].port, 25);
    assert_int_equal(s->resolver.server_count, 2);
    assert_string_equal(s->resolver.servers[0], "127.0.0.1@5353");
    assert_string_equal(s->resolver.trust_anchor, "none");
    settings_unref(s);
}

static void the_normal_form_is_its_own(void **state)
{
    struct settings *s = good("{\"connections\":{\"control\":{\"deny_list\":["
                              "{\"network\":\"192.168.3.1:255.255.255.128\"},"
                              "{\"network\":\"10.0.0.1\",\"comment\":null}]}},"
                              "\"delivery\":{\"routes\":[{\"domain\":\"A\",\"next_hops\":null}]}}");
    struct settings *again;

    (void)state;
    assert_non_null(strstr(s->document, "\"deny_list\":[\"192.168.3.0/25\",\"10.0.0.1\"]"));
    assert_non_null(strstr(s->document, "\"routes\":[{\"domain\":\"a\",\"via\":\"mx\"}]"));
    assert_int_equal(errors.warning_count, 1);
    assert_string_equal(errors.warnings[0].pointer, "/connections/control/deny_list/0/network");
    again = good(s->document);
    assert_int_equal(errors.warning_count, 0);
    assert_string_equal(again->document, s->document);
    settings_unref(again);
    settings_unref(s);
}

static void a_stored_document_follows_the_host(void **state)
{
    struct settings *s = good("{}");
    char *kept = settings_document_to_store(s);
    const struct settings_host moved = { .hostname = "new.example.com" };

    (void)state;
    settings_unref(s);
    assert_null(strstr(kept, "hostname"));
    assert_int_equal(try_on(&moved, kept, &s), PT_ERR_OK);
    assert_string_equal(s->identity.hostname, "new.example.com");
    free(kept);
    settings_unref(s);

    s = good("{\"identity\":{\"hostname\":\"own.example\"}}");
    kept = settings_document_to_store(s);
    assert_string_equal(kept, s->document);
    free(kept);
    settings_unref(s);
}

static void a_host_without_a_name_starts(void **state)
{
    static const char *const names[] = { NULL, "", "my_host", "-", "10.0.0.1" };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(names); i++) {
        const struct settings_host nameless = { .hostname = names[i] };
        struct settings *s;

        assert_int_equal(try_on(&nameless, "{}", &s), PT_ERR_OK);
        assert_string_equal(s->identity.hostname, "localhost");
        assert_int_equal(errors.warning_count, 1);
        settings_unref(s);
    }
}

/* ---- errors ---- */

static void syntax_errors_are_located(void **state)
{
    static const struct {
        struct str text;
        uint32_t line;
    } cases[] = {
        { STR(""), 1 },
        { STR("{\n\"identity\":,\n}"), 2 },
        { STR("{\n\"a\":1,\n\"a\":1}"), 3 },
        { STR("{} x"), 1 },
        { STR("{\"a\":\"\\u0000\"}"), 1 },
        { STR("{\"a\":\"\xFF\"}"), 1 },
        { STR("{\"a\":\"\xED\xA0\x80\"}"), 1 },
        { STR("{\0}"), 1 },
        { STR("{\"a\":01}"), 1 },
        { STR("{'a':1}"), 1 },
        { STR("{\"a\":1,}"), 1 },
        { STR("nul"), 1 },
        { STR("{\"a\":NaN}"), 1 },
        { STR("{\"a\":99999999999999999999}"), 1 },
        { STR("{\"\x1b[31m\":1}"), 1 },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct settings *s;
        struct buf told;

        print_message("%.*s\n", STR_FMT(cases[i].text));
        assert_int_equal(settings_parse(cases[i].text.p, cases[i].text.n, &host, &s, &errors),
                         PT_ERR_INVALID);
        assert_int_equal(errors.error_count, 1);
        assert_string_equal(errors.errors[0].pointer, "");
        assert_int_equal(errors.line, cases[i].line);
        assert_true(errors.column > 0);
        buf_init(&told, 1000);
        settings_errors_write(&errors, &told);
        assert_non_null(strstr(buf_cstr(&told), "line "));
        assert_null(strchr(told.p, 0x1b));
        buf_done(&told);
    }
}

static void deep_nesting_and_size_have_ends(void **state)
{
    size_t n = 1000000;
    char *deep = malloc(n + 1);
    struct settings *s;

    (void)state;
    memset(deep, '[', n);
    deep[n] = 0;
    assert_int_equal(try_on(&host, deep, &s), PT_ERR_INVALID);
    free(deep);
    assert_int_equal(settings_parse("{}", (size_t)SETTINGS_DOCUMENT_MAX + 1, &host, &s, &errors),
                     PT_ERR_INVALID);
}

static void all_errors_come_at_once(void **state)
{
    (void)state;
    BAD("[]", "");
    BAD("{\"connections\":{\"interface\":{\"port\":0,\"prot\":1},\"control\":{\"mode\":"
        "\"deny_all_except\"}},\"a/b~c\":1,\"message_rules\":{\"relay_domains\":[\"a@b\",\"*\"]},"
        "\"delivery\":{\"routes\":[{\"domain\":\"x\"},{\"domain\":7},{\"domain\":\"X\"}]}}",
        "/connections/interface/port", "/connections/interface/prot",
        "/message_rules/relay_domains/0", "/delivery/routes/1/domain", "/a~1b~0c",
        "/delivery/routes/2/domain", "/connections/control/permit_list",
        "/message_rules/relay_domains/1");
    assert_non_null(strstr(errors.errors[1].detail, "did you mean \"port\"?"));
    assert_non_null(strstr(errors.errors[0].detail, "from 1 to 65535, not 0"));
    assert_int_equal(errors.unconfirmed,
                     SETTINGS_CONFIRM_EMPTY_PERMIT_LIST | SETTINGS_CONFIRM_OPEN_RELAY);
}

static void too_many_errors_are_counted(void **state)
{
    struct buf text;
    struct settings *s;

    (void)state;
    buf_init(&text, 100000);
    BUF_LIT(&text, "{\"connections\":{\"control\":{\"deny_list\":[0");
    for (unsigned i = 0; i < SETTINGS_PROBLEMS_MAX + 4; i++)
        BUF_LIT(&text, ",0");
    BUF_LIT(&text, "]}}}");
    assert_int_equal(try_on(&host, buf_cstr(&text), &s), PT_ERR_INVALID);
    assert_int_equal(errors.error_count, SETTINGS_PROBLEMS_MAX);
    assert_int_equal(errors.more_errors, 5);
    assert_string_equal(errors.errors[999].pointer, "/connections/control/deny_list/999");
    buf_done(&text);
}

static void routes_must_make_sense(void **state)
{
    (void)state;
    BAD("{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"via\":\"mx\",\"next_hops\":[{\"host\":"
        "\"a.b\"}]}]}}",
        "/delivery/routes/0/next_hops");
    BAD("{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"via\":\"next_hops\"}]}}",
        "/delivery/routes/0/next_hops");
    BAD("{\"delivery\":{\"routes\":[{\"domain\":\"*.a\"},{\"domain\":\"*.A.\"}]}}",
        "/delivery/routes/1/domain");
    settings_unref(good("{\"delivery\":{\"routes\":[]}}"));
    assert_int_equal(errors.warning_count, 1);
}

static void tls_keys_depend_on_each_other(void **state)
{
    struct settings *s;

    (void)state;
    BAD("{\"connections\":{\"tls\":{\"incoming_required\":true}}}",
        "/connections/tls/incoming_required");
    BAD("{\"connections\":{\"tls\":{\"incoming\":true}}}", "/connections/tls/incoming");
    BAD("{\"connections\":{\"tls\":{\"implicit_port\":465}}}", "/connections/tls/implicit_port");
    BAD("{\"connections\":{\"tls\":{\"implicit_port\":2525,\"certificate\":\"a\"}}}",
        "/connections/tls/implicit_port");
    BAD("{\"connections\":{\"tls\":{\"client_certificates\":\"require\"}}}",
        "/connections/tls/client_ca");
    BAD("{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"ca\":\"a\"}]}}", "/delivery/routes/0/ca");
    assert_int_equal(try_on(&host,
                            "{\"connections\":{\"tls\":{\"incoming\":true,\"certificate\":\"a\","
                            "\"incoming_required\":true,\"outgoing\":true}}}",
                            &s),
                     PT_ERR_OK);
    assert_true(s->tls.incoming && s->tls.incoming_required && s->tls.outgoing);
    settings_unref(s);
}

static enum settings_certificate none_is_there(void *ctx, struct str id)
{
    return SETTINGS_CERTIFICATE_MISSING;
}

static void required_tls_tells_who_sends_in_clear(void **state)
{
    static const char text[] = "{\"connections\":{\"tls\":{\"incoming\":true,\"certificate\":\"a\","
                               "\"incoming_required\":true}}}";
    struct settings_host busy = host;
    struct settings *s, *again;

    (void)state;
    busy.messages = 1000;
    assert_int_equal(try_on(&busy, text, &s), PT_ERR_OK);
    assert_int_equal(errors.warning_count, 0);
    settings_unref(s);
    busy.messages_clear = 1;
    assert_int_equal(try_on(&busy, text, &s), PT_ERR_OK);
    assert_int_equal(errors.warning_count, 1);
    assert_string_equal(errors.warnings[0].pointer, "/connections/tls/incoming_required");
    assert_non_null(strstr(errors.warnings[0].detail, "1 of the 1000 messages"));
    assert_non_null(strstr(errors.warnings[0].detail, "(1 %)"));
    /* It is so already; and a certificate that was lost since is no new trouble. */
    busy.in_force = s;
    busy.certificate = none_is_there;
    assert_int_equal(try_on(&busy, text, &again), PT_ERR_OK);
    assert_int_equal(errors.warning_count, 0);
    assert_string_equal(settings_names_certificate(again, STR("a")),
                        "/connections/tls/certificate");
    assert_null(settings_names_certificate(again, STR("b")));
    settings_unref(again);
    settings_unref(s);
    busy.in_force = NULL;
    bad_on(&busy, text, (const char *const[]){ "/connections/tls/certificate", NULL });
}

/* ---- confirmations and warnings ---- */

static void what_locks_out_or_opens_is_confirmed(void **state)
{
    static const struct {
        const char *body, *word, *pointer;
        unsigned what;
    } cases[] = {
        { "\"connections\":{\"control\":{\"mode\":\"deny_all_except\"}}", "empty_permit_list",
          "/connections/control/permit_list", SETTINGS_CONFIRM_EMPTY_PERMIT_LIST },
        { "\"connections\":{\"control\":{\"mode\":\"deny_all_except\",\"permit_list\":[{"
          "\"network\":"
          "\"10.0.0.1\",\"expires\":\"2024-12-31T23:59:59Z\"}]}}",
          "empty_permit_list", "/connections/control/permit_list",
          SETTINGS_CONFIRM_EMPTY_PERMIT_LIST },
        { "\"message_rules\":{\"relay_domains\":[\"a.b\",\"*\"]}", "open_relay",
          "/message_rules/relay_domains/1", SETTINGS_CONFIRM_OPEN_RELAY },
        { "\"message_rules\":{\"permitted_relay\":{\"hosts\":\"specified\",\"networks\":"
          "[\"10.0.0.0/8\",\"1.2.3.4:0.0.0.0\"]}}",
          "open_relay", "/message_rules/permitted_relay/networks/1", SETTINGS_CONFIRM_OPEN_RELAY },
        { "\"message_rules\":{\"permitted_relay\":{\"hosts\":\"specified\",\"networks\":[\"::/"
          "0\"]}}",
          "open_relay", "/message_rules/permitted_relay/networks/0", SETTINGS_CONFIRM_OPEN_RELAY },
    };
    struct settings_host in_force = host;
    struct settings *s;
    char text[400];

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof text, "{%s}", cases[i].body);
        BAD(text, cases[i].pointer);
        assert_int_equal(errors.unconfirmed, cases[i].what);
        assert_non_null(strstr(errors.errors[0].detail, cases[i].word));
        in_force.confirmed = cases[i].what;
        assert_int_equal(try_on(&in_force, text, &s), PT_ERR_OK);
        settings_unref(s);
        snprintf(text, sizeof text, "{%s,\"confirm\":[\"%s\"]}", cases[i].body, cases[i].word);
        s = good(text);
        assert_int_equal(settings_hazards(s), cases[i].what);
        assert_null(strstr(s->document, "confirm"));
        settings_unref(s);
    }
}

static void unused_lists_are_no_hazard(void **state)
{
    struct settings *s = good(
        "{\"message_rules\":{\"permitted_relay\":{\"hosts\":\"same_subnet\",\"networks\":"
        "[\"0.0.0.0/0\"]}},\"connections\":{\"control\":{\"mode\":\"deny_all_except\","
        "\"permit_list\":[{\"network\":\"10.0.0.1\",\"expires\":\"2026-01-01T00:00:00Z\"}]}}}");

    (void)state;
    assert_int_equal(settings_hazards(s), 0);
    settings_unref(s);
}

static void confirm_holds_known_words(void **state)
{
    (void)state;
    BAD("{\"confirm\":[\"open_relay\",\"all\",1]}", "/confirm/1", "/confirm/2");
    BAD("{\"confirm\":\"open_relay\"}", "/confirm");
    BAD("{\"confirm\":null}", "/confirm");
    settings_unref(good("{\"confirm\":[]}"));
    assert_string_equal(settings_confirm_name(SETTINGS_CONFIRM_EXPIRED_CERTIFICATE),
                        "expired_certificate");
}

static void doubtful_values_are_warned_of(void **state)
{
    (void)state;
    settings_unref(
        good("{\"connections\":{\"interface\":{\"idle_timeout_minutes\":4}},"
             "\"message_rules\":{\"permitted_relay\":{\"networks\":[\"64.0.0.0/2\"]}}}"));
    assert_int_equal(errors.warning_count, 2);
    assert_string_equal(errors.warnings[0].pointer, "/connections/interface/idle_timeout_minutes");
    assert_string_equal(errors.warnings[1].pointer, "/message_rules/permitted_relay/networks/0");
}

/* ---- routes ---- */

static void the_most_specific_route_wins(void **state)
{
    struct settings *s = good(
        "{\"delivery\":{\"routes\":[{\"domain\":\"*\"},{\"domain\":\"example.com\"},{\"domain\":"
        "\"*.example.com\"},{\"domain\":\"*.deep.example.com\"},{\"domain\":\"B\xC3\xBC"
        "cher.de\"}]}}");
    static const struct {
        struct str domain;
        uint32_t route;
    } cases[] = {
        { STR("example.com"), 1 },
        { STR("EXAMPLE.com."), 1 },
        { STR("a.example.com"), 2 },
        { STR("a.b.example.com"), 2 },
        { STR("deep.example.com"), 2 },
        { STR("a.deep.example.com"), 3 },
        { STR("badexample.com"), 0 },
        { STR("com"), 0 },
        { STR("b\xC3\xBC"
              "cher.DE"),
          4 },
        { STR("xn--bcher-kva.de"), 4 },
        { STR("[192.0.2.1]"), 0 },
        { STR("[IPv6:::1]"), 0 },
        { STR(""), 0 },
        { STR("*.example.com"), 0 },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        print_message("%.*s\n", STR_FMT(cases[i].domain));
        assert_ptr_equal(settings_route_for(s, cases[i].domain), &s->routes[cases[i].route]);
    }
    settings_unref(s);
    s = good("{\"delivery\":{\"routes\":[{\"domain\":\"example.com\"}]}}");
    assert_null(settings_route_for(s, STR("example.org")));
    settings_unref(s);
}

/* ---- documents as text ---- */

static void patches_merge(void **state)
{
    /* The cases of RFC 7396 appendix A whose patch is an object. */
    static const char *const cases[][3] = {
        { "{\"a\":\"b\"}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"b\":\"c\"}", "{\"a\":\"b\",\"b\":\"c\"}" },
        { "{\"a\":\"b\"}", "{\"a\":null}", "{}" },
        { "{\"a\":\"b\",\"b\":\"c\"}", "{\"a\":null}", "{\"b\":\"c\"}" },
        { "{\"a\":[\"b\"]}", "{\"a\":\"c\"}", "{\"a\":\"c\"}" },
        { "{\"a\":\"c\"}", "{\"a\":[\"b\"]}", "{\"a\":[\"b\"]}" },
        { "{\"a\":{\"b\":\"c\"}}", "{\"a\":{\"b\":\"d\",\"c\":null}}", "{\"a\":{\"b\":\"d\"}}" },
        { "{\"a\":[{\"b\":\"c\"}]}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "{\"e\":null}", "{\"a\":1}", "{\"e\":null,\"a\":1}" },
        { "[1,2]", "{\"a\":\"b\",\"c\":null}", "{\"a\":\"b\"}" },
        { "{}", "{\"a\":{\"bb\":{\"ccc\":null}}}", "{\"a\":{\"bb\":{}}}" },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        char *out;

        assert_int_equal(
            settings_merge_patch(str_of(cases[i][0]), str_of(cases[i][1]), &out, &errors),
            PT_ERR_OK);
        assert_string_equal(out, cases[i][2]);
        free(out);
    }
}

static void patches_that_are_none(void **state)
{
    char *out;

    (void)state;
    assert_int_equal(settings_merge_patch(STR("{}"), STR("[]"), &out, &errors), PT_ERR_INVALID);
    assert_int_equal(settings_merge_patch(STR("{}"), STR("{\n\"a\":1,\"a\":2}"), &out, &errors),
                     PT_ERR_INVALID);
    assert_int_equal(errors.line, 2);
}

static void single_values_are_picked(void **state)
{
    static const char *const cases[][2] = {
        { "connections.interface.port", "2525" },
        { "connections.interface", "{\"address\":\"loopback\",\"port\":2525,"
                                   "\"idle_timeout_minutes\":5,\"max_connections\":null}" },
        { "delivery.routes.0.domain", "\"*\"" },
        { "resolver.trust_anchor", "null" },
    };
    static const char *const none[] = {
        "connections.port",  "delivery.routes.1",     "x", "connections.interface.port.0",
        "delivery.routes.x", "connections..interface"
    };
    struct buf out;

    (void)state;
    buf_init(&out, 10000);
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        buf_clear(&out);
        assert_int_equal(settings_document_get(str_of(default_document), str_of(cases[i][0]), &out),
                         PT_ERR_OK);
        check_str(buf_str(&out), str_of(cases[i][1]));
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(none); i++)
        assert_int_equal(settings_document_get(str_of(default_document), str_of(none[i]), &out),
                         PT_ERR_NOTFOUND);
    buf_clear(&out);
    assert_int_equal(settings_document_pretty(STR("{\"a\":[1]}"), &out), PT_ERR_OK);
    check_lit(buf_str(&out), "{\n  \"a\": [\n    1\n  ]\n}\n");
    buf_done(&out);
}

/* ---- shortage and threads ---- */

static long allocations_left;

static void *short_malloc(size_t n)
{
    return allocations_left-- > 0 ? malloc(n) : NULL;
}

/* The n-th allocation of the JSON library fails, for every n: an error, no crash, no leak. While it
 * reads, the library takes some of its own shortages for wrong syntax. */
static void memory_may_run_out_anywhere(void **state)
{
    static const char text[] =
        "{\"connections\":{\"control\":{\"deny_list\":[\"10.0.0.1/"
        "8\",{\"network\":\"::1\",\"comment\":"
        "\"a\"}]}},\"message_rules\":{\"relay_domains\":[\"A.b\"]},\"confirm\":[],\"delivery\":{"
        "\"routes\":[{\"domain\":\"*\",\"next_hops\":[{\"host\":\"a.b\"}]}]}}";
    enum pt_err err = PT_ERR_NOMEM;
    struct settings *s;
    long n = 0;

    (void)state;
    json_set_alloc_funcs(short_malloc, free);
    for (; err != PT_ERR_OK && n < 5000; n++) {
        allocations_left = n;
        err = try_on(&host, text, &s);
        if (err == PT_ERR_INVALID && errors.line == 0)
            break;
    }
    json_set_alloc_funcs(malloc, free);
    if (err == PT_ERR_INVALID)
        fail_msg("allocation %ld: %s", n, errors.errors[0].detail);
    assert_int_equal(err, PT_ERR_OK);
    assert_true(n > 100);
    assert_non_null(strstr(s->document, "\"a.b\",\"port\":25"));
    free((char *)s->document);
    s->document = NULL;
    settings_unref(s);
}

static void *hold_and_drop(void *s)
{
    for (int i = 0; i < 10000; i++)
        settings_unref(settings_ref(s));
    settings_unref(s);
    return NULL;
}

static void references_are_counted_across_threads(void **state)
{
    struct settings *s = good("{}");
    pthread_t threads[4];

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_and_drop, settings_ref(s)), 0);
    settings_unref(s);
    for (size_t i = 0; i < PT_ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    settings_unref(NULL);
}

#define TEST(name) cmocka_unit_test_teardown(name, clear_errors)

static bool only_ten(const struct net_addr *a)
{
    return a->family == NET_IPV4 && a->octets[0] == 10;
}

static void lmtp_needs_next_hops_away_from_the_port_of_smtp(void **state)
{
    static const char hops[] =
        "{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"protocol\":\"lmtp\","
        "\"next_hops\":[{\"host\":\"a.b\",\"port\":24},{\"host\":\"c.d\"}]}]}}";
    struct settings *s;

    (void)state;
    BAD("{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"protocol\":\"lmtp\"}]}}",
        "/delivery/routes/0/protocol");
    s = good(hops);
    assert_true(s->routes[0].lmtp);
    assert_int_equal(errors.warning_count, 1);
    assert_string_equal(errors.warnings[0].pointer, "/delivery/routes/0/next_hops/1/port");
    settings_unref(s);
    s = good("{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"protocol\":\"smtp\"}]}}");
    assert_false(s->routes[0].lmtp);
    settings_unref(s);
}

static void a_source_is_an_address_of_this_host(void **state)
{
    static const char ten[] =
        "{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"source\":\"10.0.0.1\"}]}}";
    static const char eleven[] = "{\"delivery\":{\"routes\":[{\"domain\":\"a.example\"},"
                                 "{\"domain\":\"*\",\"source\":\"11.0.0.1\"}]}}";
    static const char *const where[] = { "/delivery/routes/1/source", NULL };
    struct settings_host host_of_ten = host;
    struct settings *s = NULL, *again = NULL;

    (void)state;
    host_of_ten.has_address = only_ten;
    assert_int_equal(try_on(&host_of_ten, ten, &s), PT_ERR_OK);
    assert_int_equal(s->routes[0].source.octets[0], 10);
    settings_unref(s);
    bad_on(&host_of_ten, eleven, where);
    assert_string_equal(errors.errors[0].detail, "is not an address of this host");
    /* One that is in force is not asked about again, nor is a stored revision. */
    assert_int_equal(try_on(&host, eleven, &s), PT_ERR_OK);
    host_of_ten.in_force = s;
    assert_int_equal(try_on(&host_of_ten, eleven, &again), PT_ERR_OK);
    settings_unref(s);
    settings_unref(again);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(the_default_document),
        TEST(every_value_arrives),
        TEST(the_normal_form_is_its_own),
        TEST(a_stored_document_follows_the_host),
        TEST(a_host_without_a_name_starts),
        TEST(syntax_errors_are_located),
        TEST(deep_nesting_and_size_have_ends),
        TEST(all_errors_come_at_once),
        TEST(too_many_errors_are_counted),
        TEST(routes_must_make_sense),
        TEST(lmtp_needs_next_hops_away_from_the_port_of_smtp),
        TEST(a_source_is_an_address_of_this_host),
        TEST(tls_keys_depend_on_each_other),
        TEST(required_tls_tells_who_sends_in_clear),
        TEST(what_locks_out_or_opens_is_confirmed),
        TEST(unused_lists_are_no_hazard),
        TEST(confirm_holds_known_words),
        TEST(doubtful_values_are_warned_of),
        TEST(the_most_specific_route_wins),
        TEST(patches_merge),
        TEST(patches_that_are_none),
        TEST(single_values_are_picked),
        TEST(memory_may_run_out_anywhere),
        TEST(references_are_counted_across_threads),
    };

    settings_errors_init(&errors);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
