#include "policy/policy.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "settings/schema.h"

#define REF 0x123456789Aull
#define REF_TEXT " [ref 28T5-CY4T]"

/* This host: two IPv4 addresses, one in a class B network, and an IPv6 one; and a tunnel whose
 * network is everything, which must mean nothing. */
static const char *const host_net_texts[][2] = {
    { "192.168.1.5", "24" },
    { "172.16.9.1", "30" },
    { "2001:db8:1::5", "64" },
    { "198.51.100.1", "0" },
};

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(str_of(text), &a));
    return a;
}

static struct policy_snapshot *snapshot(const char *document)
{
    const struct settings_host host = { .hostname = "gw.example.com",
                                        .confirmed = SETTINGS_CONFIRM_ALL };
    struct net_prefix nets[PT_ARRAY_LEN(host_net_texts)];
    struct settings_errors errors;
    struct policy_snapshot *snap;
    struct settings *s;

    for (size_t i = 0; i < PT_ARRAY_LEN(nets); i++)
        nets[i] =
            (struct net_prefix){ addr(host_net_texts[i][0]), (uint8_t)atoi(host_net_texts[i][1]) };
    settings_errors_init(&errors);
    if (settings_parse(document, strlen(document), &host, &s, &errors) != PT_ERR_OK)
        fail_msg("%s: %s: %s", document, errors.errors[0].pointer, errors.errors[0].detail);
    settings_errors_done(&errors);
    snap = policy_snapshot_new(s, nets, PT_ARRAY_LEN(nets));
    assert_non_null(snap);
    settings_unref(s);
    return snap;
}

static void accepted(const struct policy_verdict *v)
{
    assert_int_equal(v->action, POLICY_ACCEPT);
    assert_int_equal(v->reply.code, 0);
}

static void refused(const struct policy_verdict *v, enum policy_action action,
                    enum policy_rule rule, unsigned code, const char *status)
{
    char got[16];

    snprintf(got, sizeof got, "%u.%u.%u", v->reply.status[0], v->reply.status[1],
             v->reply.status[2]);
    assert_int_equal(v->action, action);
    assert_int_equal(v->rule, rule);
    assert_int_equal(v->reply.code, code);
    assert_string_equal(got, status);
    assert_true(v->reply.text.n > sizeof REF_TEXT);
    check_lit(str_from(v->reply.text, v->reply.text.n - (sizeof REF_TEXT - 1)), REF_TEXT);
}

/* ---- connecting ---- */

#define LISTS                                                                                      \
    "\"deny_list\":[\"10.0.0.0/8\",{\"network\":\"10.1.0.0/16\",\"comment\":\"spam\","             \
    "\"expires\":\"2030-01-01T00:00:00Z\"},\"2001:db8::/32\"],"                                    \
    "\"permit_list\":[\"10.1.2.3\",\"192.0.2.0/24\"]"
#define T2030 1893456000000000

static void connect_from(const struct policy_snapshot *snap, const char *client, int64_t now_us,
                         struct policy_verdict *v)
{
    const struct policy_facts facts = { .client = addr(client), .now_us = now_us, .ref = REF };

    policy_verdict_init(v, false);
    policy_connect(snap, &facts, v);
    assert_int_equal(v->step_count, 0);
}

static void the_mode_names_the_list_that_counts(void **state)
{
    struct policy_snapshot *except =
        snapshot("{\"connections\":{\"control\":{\"mode\":\"accept_all_except\"," LISTS "}}}");
    struct policy_snapshot *only =
        snapshot("{\"connections\":{\"control\":{\"mode\":\"deny_all_except\"," LISTS "}}}");
    static const struct {
        const char *client, *denied_by, *permitted_by; /* NULL: by no entry */
    } cases[] = {
        { "10.2.3.4", "10.0.0.0/8", NULL },       { "10.1.2.3", "10.1.0.0/16", "10.1.2.3" },
        { "192.0.2.9", NULL, "192.0.2.0/24" },    { "127.0.0.1", NULL, NULL },
        { "2001:db8::1", "2001:db8::/32", NULL }, { "::ffff:10.2.3.4", "10.0.0.0/8", NULL },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct policy_verdict v;
        char room[SETTINGS_ENTRY_SIZE];
        const char *entry;

        connect_from(except, cases[i].client, 1, &v);
        entry = policy_entry_text(except, v.list, v.entry, room);
        print_message("%s\n", cases[i].client);
        if (cases[i].denied_by) {
            assert_string_equal(entry, cases[i].denied_by);
            assert_int_equal(v.list, POLICY_LIST_DENY);
            assert_int_equal(v.action, POLICY_DISCONNECT);
            assert_int_equal(v.reply.code, 554);
        } else {
            accepted(&v);
            assert_null(entry);
        }
        connect_from(only, cases[i].client, 1, &v);
        entry = policy_entry_text(only, v.list, v.entry, room);
        if (cases[i].permitted_by) {
            accepted(&v);
            assert_string_equal(entry, cases[i].permitted_by);
            assert_int_equal(v.list, POLICY_LIST_PERMIT);
        } else {
            assert_int_equal(v.action, POLICY_DISCONNECT);
            assert_null(entry);
        }
    }
    policy_snapshot_unref(except);
    policy_snapshot_unref(only);
}

static void an_expired_entry_gives_way(void **state)
{
    struct policy_snapshot *snap = snapshot("{\"connections\":{\"control\":{" LISTS "}}}");
    char room[SETTINGS_ENTRY_SIZE];
    struct policy_verdict v;

    (void)state;
    connect_from(snap, "10.1.2.3", T2030 - 1, &v);
    assert_string_equal(policy_entry_comment(snap, v.list, v.entry), "spam");
    connect_from(snap, "10.1.2.3", T2030, &v);
    assert_string_equal(policy_entry_text(snap, v.list, v.entry, room), "10.0.0.0/8");
    policy_snapshot_unref(snap);
}

static void the_answers_to_connecting(void **state)
{
    struct policy_snapshot *snap =
        snapshot("{\"connections\":{\"interface\":{\"max_connections\":3},"
                 "\"control\":{" LISTS "}}}");
    struct policy_facts facts = { .client = addr("192.0.2.1"), .sessions = 2, .ref = REF };
    char room[SETTINGS_ENTRY_SIZE];
    struct policy_verdict v;

    (void)state;
    policy_verdict_init(&v, false);
    policy_connect(snap, &facts, &v);
    accepted(&v);
    facts.sessions = 3;
    policy_connect(snap, &facts, &v);
    refused(&v, POLICY_DISCONNECT, POLICY_RULE_MAX_CONNECTIONS, 421, "4.3.2");
    facts.client = addr("10.0.0.1");
    policy_connect(snap, &facts, &v); /* the list comes first */
    refused(&v, POLICY_DISCONNECT, POLICY_RULE_CONNECTION_CONTROL, 554, "5.7.1");
    policy_client(snap, &facts, &v);
    refused(&v, POLICY_DISCONNECT, POLICY_RULE_CONNECTION_CONTROL, 421, "4.7.0");
    facts.client = addr("192.0.2.1");
    policy_client(snap, &facts, &v); /* a session that is there is not counted again */
    accepted(&v);
    policy_test_address(snap, &facts.client, 0, &v);
    accepted(&v);
    facts.client = addr("10.0.0.1");
    policy_test_address(snap, &facts.client, 0, &v);
    assert_string_equal(policy_entry_text(snap, v.list, v.entry, room), "10.0.0.0/8");
    policy_snapshot_unref(snap);
}

static void without_a_reference_none_is_shown(void **state)
{
    struct policy_snapshot *snap = snapshot("{\"connections\":{\"control\":{" LISTS "}}}");
    const struct policy_facts facts = { .client = addr("10.0.0.1") };
    struct policy_verdict v;

    (void)state;
    policy_verdict_init(&v, false);
    policy_connect(snap, &facts, &v);
    assert_null(memmem(v.reply.text.p, v.reply.text.n, "ref", 3));
    policy_snapshot_unref(snap);
}

/* ---- MAIL ---- */

static void the_answers_to_mail(void **state)
{
    struct policy_snapshot *snap =
        snapshot("{\"connections\":{\"tls\":{\"incoming\":true,\"incoming_required\":true,"
                 "\"certificate\":\"a\"}},\"message_rules\":{\"max_message_size_mb\":1,"
                 "\"max_messages_per_connection\":2}}");
    struct policy_facts facts = { .client = addr("192.0.2.1"), .tls = true, .ref = REF };
    struct policy_verdict v;

    (void)state;
    policy_verdict_init(&v, false);
    facts.size = 1048576;
    facts.messages = 1;
    policy_mail(snap, &facts, &v);
    accepted(&v);
    facts.size++;
    policy_mail(snap, &facts, &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_MAX_MESSAGE_SIZE, 552, "5.3.4");
    facts.messages = 2;
    policy_mail(snap, &facts, &v);
    refused(&v, POLICY_DISCONNECT, POLICY_RULE_MAX_MESSAGES, 421, "4.7.0");
    facts.tls = false;
    policy_mail(snap, &facts, &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_REQUIRED_TLS, 530, "5.7.0");
    facts.recipient = STR("a@example.com");
    policy_rcpt(snap, &facts, &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_REQUIRED_TLS, 530, "5.7.0");
    facts.tls_lacking = true;
    policy_rcpt(snap, &facts, &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_REQUIRED_TLS, 454, "4.7.0");
    policy_snapshot_unref(snap);
}

/* ---- RCPT ---- */

#define RELAY_DOMAINS                                                                              \
    "\"relay_domains\":[\"example.com\",\"*.sub.example\",\"b\xC3\xBC"                             \
    "cher.de\"]"

static void rcpt_from(const struct policy_snapshot *snap, const char *client, struct str recipient,
                      struct policy_verdict *v)
{
    const struct policy_facts facts = { .client = addr(client),
                                        .recipient = recipient,
                                        .ref = REF };

    policy_verdict_init(v, false);
    policy_rcpt(snap, &facts, v);
}

static void strangers_reach_relay_domains_only(void **state)
{
    struct policy_snapshot *snap = snapshot("{\"message_rules\":{" RELAY_DOMAINS "}}");
    static const struct {
        struct str recipient;
        bool accepted;
        enum policy_rule rule;
    } cases[] = {
        { STR("a@example.com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@EXAMPLE.Com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@example.com."), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("\"a b\"@example.com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@x.sub.example"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@x.y.sub.example"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@b\xC3\xBC"
              "cher.de"),
          true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@B\xC3\x9C"
              "CHER.de"),
          true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@xn--bcher-kva.DE"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("postmaster"), true, POLICY_RULE_POSTMASTER },
        { STR("PostMaster"), true, POLICY_RULE_POSTMASTER },
        { STR("100%@example.com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("wow!@example.com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("!a@example.com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a%?@example.com"), true, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@sub.example"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@notexample.com"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@example.com.evil.test"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@x.example.com"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@gw.example.com"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@com"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@[192.168.1.5]"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@[example.com]"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@[IPv6:::1]"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("postmaster@other.test"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("\"postmaster"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("alice"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR(""), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@example.com\0.evil.test"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a@evil.test@example.com"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("@evil.test:a@example.com"), false, POLICY_RULE_RELAY_DOMAINS },
        { STR("a%evil.test@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("a%evil@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("a%b%evil.test@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("a%[192.0.2.1]@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("a%b\xC3\xBC.test@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("evil.test!a@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("x!y!a@x.sub.example"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("\"a@evil.test\"@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("\"a\\@evil.test\"@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("\"a\\\"@evil.test\"@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("\"a%evil.test\"@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("\"a\\%evil.test\"@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
        { STR("\"evil.test!a\"@example.com"), false, POLICY_RULE_SOURCE_ROUTE },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct policy_verdict v;

        rcpt_from(snap, "203.0.113.7", cases[i].recipient, &v);
        print_message("%.*s\n", STR_FMT(cases[i].recipient));
        assert_int_equal(v.rule, cases[i].rule);
        if (cases[i].accepted)
            accepted(&v);
        else
            refused(&v, POLICY_REFUSE, cases[i].rule, 550, "5.7.1");
        rcpt_from(snap, "127.0.0.1", cases[i].recipient, &v); /* a permitted client may */
        accepted(&v);
    }
    policy_snapshot_unref(snap);
}

static void a_local_part_too_long_is_not_misread(void **state)
{
    struct policy_snapshot *snap = snapshot("{\"message_rules\":{" RELAY_DOMAINS "}}");
    char address[700];
    struct policy_verdict v;

    (void)state;
    memset(address, 'a', sizeof address);
    memcpy(address + 600, "@example.com", 12);
    rcpt_from(snap, "203.0.113.7", (struct str){ address, 612 }, &v);
    accepted(&v);
    address[3] = '%';
    rcpt_from(snap, "203.0.113.7", (struct str){ address, 612 }, &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_SOURCE_ROUTE, 550, "5.7.1");
    policy_snapshot_unref(snap);
}

/* Who may relay, for each kind of permitted_relay: one column per kind. */
static void clients_that_may_relay(void **state)
{
    static const char *const kinds[] = {
        "{\"hosts\":\"host_only\",\"networks\":[\"203.0.113.0/24\"]}",
        "{\"hosts\":\"same_subnet\"}",
        "{\"hosts\":\"same_class\"}",
        "{\"hosts\":\"specified\",\"networks\":[\"203.0.113.0/24\",\"2001:db8:9::/48\"]}",
        "{\"hosts\":\"specified\"}",
    };
    static const struct {
        const char *client;
        bool may[PT_ARRAY_LEN(kinds)];
    } cases[] = {
        { "127.0.0.1", { true, true, true, false, false } },
        { "127.9.9.9", { true, true, true, false, false } },
        { "::1", { true, true, true, false, false } },
        { "::ffff:127.0.0.1", { true, true, true, false, false } },
        { "192.168.1.5", { true, true, true, false, false } },
        { "192.168.1.77", { false, true, true, false, false } },
        { "192.168.2.5", { false, false, false, false, false } }, /* class C: /24 */
        { "172.16.9.1", { true, true, true, false, false } },
        { "172.16.9.2", { false, true, true, false, false } },
        { "172.16.200.1", { false, false, true, false, false } }, /* class B: /16 */
        { "172.17.9.1", { false, false, false, false, false } },
        { "2001:db8:1::5", { true, true, true, false, false } },
        { "2001:db8:1::6", { false, true, true, false, false } },
        { "2001:db8:2::5", { false, false, false, false, false } },
        { "198.51.100.1", { true, true, true, false, false } }, /* its length is 0 */
        { "198.51.100.2", { false, false, false, false, false } },
        { "203.0.113.7", { false, false, false, true, false } },
        { "2001:db8:9::1", { false, false, false, true, false } },
        { "8.8.8.8", { false, false, false, false, false } },
    };

    (void)state;
    for (size_t k = 0; k < PT_ARRAY_LEN(kinds); k++) {
        char document[300];
        struct policy_snapshot *snap;

        snprintf(document, sizeof document, "{\"message_rules\":{\"permitted_relay\":%s}}",
                 kinds[k]);
        snap = snapshot(document);
        for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
            struct net_addr client = addr(cases[i].client);
            struct policy_verdict v;

            rcpt_from(snap, cases[i].client, STR("a@elsewhere.test"), &v);
            print_message("%s %s\n", kinds[k], cases[i].client);
            assert_int_equal(v.action == POLICY_ACCEPT, cases[i].may[k]);
            assert_int_equal(policy_may_relay(snap, &client, 0), cases[i].may[k]);
        }
        policy_snapshot_unref(snap);
    }
}

/* A permit entry lets a client connect; it never lets it relay. */
static void a_permit_entry_does_not_relay(void **state)
{
    struct policy_snapshot *snap =
        snapshot("{\"connections\":{\"control\":{\"mode\":\"deny_all_except\"," LISTS "}}}");
    struct policy_verdict v;

    (void)state;
    connect_from(snap, "192.0.2.1", 0, &v);
    accepted(&v);
    rcpt_from(snap, "192.0.2.1", STR("a@elsewhere.test"), &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_RELAY_DOMAINS, 550, "5.7.1");
    policy_snapshot_unref(snap);
}

static void a_confirmed_open_relay_is_open(void **state)
{
    struct policy_snapshot *snap = snapshot("{\"message_rules\":{\"relay_domains\":[\"*\"]}}");
    struct policy_verdict v;

    (void)state;
    rcpt_from(snap, "203.0.113.7", STR("a@[192.0.2.1]"), &v);
    accepted(&v);
    rcpt_from(snap, "203.0.113.7", STR("a%b.test@elsewhere.test"), &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_SOURCE_ROUTE, 550, "5.7.1");
    rcpt_from(snap, "203.0.113.7", STR("alice"), &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_RELAY_DOMAINS, 550, "5.7.1");
    policy_snapshot_unref(snap);
}

static void recipients_are_counted(void **state)
{
    struct policy_snapshot *snap =
        snapshot("{\"message_rules\":{\"max_recipients\":2," RELAY_DOMAINS "}}");
    struct policy_facts facts = {
        .client = addr("127.0.0.1"), .recipients = 1, .ref = REF, .recipient = STR("a@example.com")
    };
    struct policy_verdict v;

    (void)state;
    policy_verdict_init(&v, false);
    policy_rcpt(snap, &facts, &v);
    accepted(&v);
    facts.recipients = 2;
    policy_rcpt(snap, &facts, &v);
    refused(&v, POLICY_REFUSE, POLICY_RULE_MAX_RECIPIENTS, 452, "4.5.3");
    policy_snapshot_unref(snap);
}

/* ---- explaining ---- */

static const char *told(const struct policy_snapshot *snap, const struct policy_verdict *v)
{
    static char text[4000];
    struct buf out;

    buf_init(&out, sizeof text);
    for (uint32_t i = 0; i < v->step_count; i++) {
        policy_step_write(snap, &v->steps[i], &out);
        BUF_LIT(&out, "\n");
    }
    snprintf(text, sizeof text, "%s", buf_cstr(&out));
    buf_done(&out);
    return text;
}

static void the_chain_is_told_to_its_end(void **state)
{
    struct policy_snapshot *snap =
        snapshot("{\"connections\":{\"interface\":{\"max_connections\":3},\"control\":{" LISTS
                 "}},\"message_rules\":{" RELAY_DOMAINS "}}");
    const struct policy_facts facts = { .client = addr("10.1.2.3"),
                                        .sessions = 3,
                                        .size = 5,
                                        .recipient = STR("a%b@example.com"),
                                        .ref = REF };
    struct policy_verdict v;

    (void)state;
    policy_verdict_init(&v, true);
    policy_explain(snap, &facts, &v);
    refused(&v, POLICY_DISCONNECT, POLICY_RULE_CONNECTION_CONTROL, 554, "5.7.1");
    assert_string_equal(
        told(snap, &v),
        "connection control: refused: accept_all_except: entry 10.1.0.0/16 of the deny list fits "
        "(spam)\n"
        "simultaneous connections: refused: 3, the limit is 3 (decided before)\n"
        "temporary ban: passed: there is none\n"
        "required TLS: passed: not required, the session is in clear\n"
        "messages per connection: passed: 0, there is no limit\n"
        "message size: passed: 5, the limit is 52428800\n"
        "recipients per message: passed: 0, the limit is 1000\n"
        "postmaster: passed: the recipient is not <postmaster>\n"
        "permitted relay: passed: host_only: the client is not among them\n"
        "relay domains: passed: the recipient's domain is in example.com\n"
        "routing in the local part: refused: the local part names another host (decided before)\n");
    policy_snapshot_unref(snap);
}

/* For every fact that matters, alone and with others: the first refusal of a session is what the
 * explanation says. */
static void an_explanation_and_a_session_agree(void **state)
{
    struct policy_snapshot *snap =
        snapshot("{\"connections\":{\"interface\":{\"max_connections\":3},\"control\":{" LISTS
                 "},\"tls\":{\"incoming\":true,\"incoming_required\":true,\"certificate\":\"a\"}},"
                 "\"message_rules\":{\"max_recipients\":2,\"max_messages_per_connection\":2,"
                 "\"max_message_size_mb\":1," RELAY_DOMAINS "}}");
    static const char *const clients[] = { "10.1.2.3", "203.0.113.7", "127.0.0.1" };
    static const struct str recipients[] = { STR("a@example.com"), STR("a@elsewhere.test"),
                                             STR("a%b@example.com"), STR("postmaster") };

    (void)state;
    for (unsigned i = 0; i < 3 * 4 * 32; i++) {
        const struct policy_facts facts = {
            .client = addr(clients[i % 3]),
            .recipient = recipients[i / 3 % 4],
            .sessions = i / 12 & 1 ? 3 : 0,
            .tls = i / 12 & 2,
            .messages = i / 12 & 4 ? 2 : 0,
            .size = i / 12 & 8 ? 1048577 : 0,
            .recipients = i / 12 & 16 ? 2 : 0,
            .ref = REF,
        };
        struct policy_verdict live, told_of;

        policy_verdict_init(&live, false);
        policy_connect(snap, &facts, &live);
        if (live.action == POLICY_ACCEPT)
            policy_mail(snap, &facts, &live);
        if (live.action == POLICY_ACCEPT)
            policy_rcpt(snap, &facts, &live);
        policy_verdict_init(&told_of, true);
        policy_explain(snap, &facts, &told_of);
        assert_int_equal(told_of.action, live.action);
        assert_int_equal(told_of.reply.code, live.reply.code);
        assert_int_equal(told_of.rule, live.rule);
        assert_int_equal(told_of.entry, live.entry);
        check_str(told_of.reply.text, live.reply.text);
    }
    policy_snapshot_unref(snap);
}

/* ---- what it costs, and names ---- */

static void a_decision_allocates_nothing(void **state)
{
    struct policy_snapshot *snap = snapshot("{\"connections\":{\"control\":{" LISTS
                                            "}},\"message_rules\":{" RELAY_DOMAINS "}}");
    size_t before = mallinfo2().uordblks;
    struct policy_verdict v;

    (void)state;
    for (int i = 0; i < 100; i++) {
        const struct policy_facts facts = { .client = addr(i % 2 ? "10.1.2.3" : "203.0.113.7"),
                                            .recipient = STR("a@x.sub.example"),
                                            .ref = REF };

        policy_verdict_init(&v, false);
        policy_connect(snap, &facts, &v);
        policy_mail(snap, &facts, &v);
        policy_rcpt(snap, &facts, &v);
    }
    assert_int_equal(mallinfo2().uordblks, before);
    policy_snapshot_unref(policy_snapshot_ref(snap));
    policy_snapshot_unref(snap);
    policy_snapshot_unref(NULL);
}

static void references_read_back(void **state)
{
    static const uint64_t refs[] = { 0, 1, 31, 32, 0xFFFFFFFFFF, 0x123456789A };
    char text[POLICY_REF_SIZE];
    uint64_t ref;

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(refs); i++) {
        policy_ref_format(refs[i], text);
        assert_true(policy_ref_parse(str_of(text), &ref));
        assert_true(ref == refs[i]);
    }
    assert_string_equal(text, "28T5-CY4T");
    assert_true(policy_ref_parse(STR("28t5-cy4t"), &ref));
    assert_true(policy_ref_parse(STR("OOIL-OOIL"), &ref));
    policy_ref_format(ref, text);
    assert_string_equal(text, "0011-0011");
    assert_false(policy_ref_parse(STR("28T5CY4T"), &ref));
    assert_false(policy_ref_parse(STR("28T5-CY4U"), &ref));
    assert_false(policy_ref_parse(STR("28T5-CY4\0"), &ref));
    assert_string_equal(policy_rule_name(POLICY_RULE_RELAY_DOMAINS), "relay domains");
    assert_string_equal(policy_rule_name((enum policy_rule)999), "unknown rule");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_mode_names_the_list_that_counts),
        cmocka_unit_test(an_expired_entry_gives_way),
        cmocka_unit_test(the_answers_to_connecting),
        cmocka_unit_test(without_a_reference_none_is_shown),
        cmocka_unit_test(the_answers_to_mail),
        cmocka_unit_test(strangers_reach_relay_domains_only),
        cmocka_unit_test(a_local_part_too_long_is_not_misread),
        cmocka_unit_test(clients_that_may_relay),
        cmocka_unit_test(a_permit_entry_does_not_relay),
        cmocka_unit_test(a_confirmed_open_relay_is_open),
        cmocka_unit_test(recipients_are_counted),
        cmocka_unit_test(the_chain_is_told_to_its_end),
        cmocka_unit_test(an_explanation_and_a_session_agree),
        cmocka_unit_test(a_decision_allocates_nothing),
        cmocka_unit_test(references_read_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
