/*
 * What a client says of itself and of its sender: each check by each finding, on and watched; whom
 * they are not for; which names the DNS is asked about; that a session and an explanation agree.
 */
#include <stdio.h>

#include "base/rng.h"
#include "check.h"
#include "policy/policy.h"
#include "settings/schema.h"

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(str_of(text), &a));
    return a;
}

/* The host has 198.51.100.1; 10.0.0.0/8 may relay. */
static struct policy_snapshot *snapshot(const char *rules)
{
    const struct settings_host host = { .hostname = "Gw.Example.COM",
                                        .confirmed = SETTINGS_CONFIRM_ALL };
    const struct net_prefix own = { addr("198.51.100.1"), 24 };
    struct settings_errors errors;
    struct policy_snapshot *snap;
    struct settings *s;
    char document[1024];

    snprintf(document, sizeof document,
             "{\"message_rules\":{\"relay_domains\":[\"example.com\",\"*.sub.example\"%s],"
             "\"permitted_relay\":{\"hosts\":\"specified\",\"networks\":[\"10.0.0.0/8\"]},%s}}",
             strstr(rules, "*any*") ? ",\"*\"" : "", strchr(rules, '"'));
    settings_errors_init(&errors);
    if (settings_parse(document, strlen(document), &host, &s, &errors) != PT_ERR_OK)
        fail_msg("%s: %s: %s", document, errors.errors[0].pointer, errors.errors[0].detail);
    settings_errors_done(&errors);
    snap = policy_snapshot_new(s, &own, 1);
    assert_non_null(snap);
    settings_unref(s);
    return snap;
}

static const struct row {
    const char *check; /* object and key */
    enum policy_rule rule;
    const char *client, *helo, *sender;
    int dns;
    unsigned code, detail; /* 250: passed; of the enhanced status */
    uint8_t asks;
} rows[] = {
#define HELO(key) "\"helo_checks\":{\"" key "\":\"%s\"}"
#define PATH(key) "\"reverse_path_checks\":{\"" key "\":\"%s\"}"
#define STRANGER "192.0.2.1"
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "pc", "", 0, 504, 2, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "1.2.3.4", "", 0, 504, 2, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "[1.2.3]", "", 0, 504, 2, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "[::1]", "", 0, 504, 2, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "[IPv6:1.2.3.4]", "", 0, 504, 2, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "[]", "", 0, 504, 2, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "a.b.", "", 0, 250, 0, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, STRANGER, "[ipv6:2001:db8::1]", "", 0, 250, 0, 0 },
    { HELO("syntax"), POLICY_RULE_HELO_SYNTAX, "10.1.1.1", "pc", "", 0, 250, 0, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, STRANGER, "gw.example.com.", "", 0, 550, 1, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, STRANGER, "[198.51.100.1]", "", 0, 550, 1, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, STRANGER, "198.51.100.1", "", 0, 550, 1, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, STRANGER, "LOCALHOST", "", 0, 550, 1, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, STRANGER, "[127.0.0.9]", "", 0, 550, 1, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, STRANGER, "198.51.100.2", "", 0, 250, 0, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, "198.51.100.1", "gw.example.com", "", 0, 250, 0,
      0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, "127.0.0.1", "localhost", "", 0, 250, 0, 0 },
    { HELO("own_name"), POLICY_RULE_HELO_OWN_NAME, "10.0.0.1", "gw.example.com", "", 0, 250, 0, 0 },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, STRANGER, "a.b", "", POLICY_DNS_NOT_ASKED,
      250, 0, POLICY_ASK_HELO },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, STRANGER, "a.b", "", POLICY_DNS_FOUND, 250,
      0, 0 },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, STRANGER, "a.b", "", POLICY_DNS_NOTHING, 550,
      1, 0 },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, STRANGER, "a.b", "", POLICY_DNS_UNTOLD, 451,
      3, 0 },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, STRANGER, "[1.2.3.4]", "",
      POLICY_DNS_NOT_ASKED, 250, 0, 0 },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, STRANGER, "a..b", "", POLICY_DNS_NOT_ASKED,
      550, 1, 0 },
    { HELO("resolvable"), POLICY_RULE_HELO_RESOLVABLE, "10.0.0.1", "a.b", "", POLICY_DNS_NOT_ASKED,
      250, 0, 0 },
    { PATH("syntax"), POLICY_RULE_SENDER_SYNTAX, STRANGER, "x", "a@pc", 0, 553, 7, 0 },
    { PATH("syntax"), POLICY_RULE_SENDER_SYNTAX, STRANGER, "x", "a@[tag:y]", 0, 553, 7, 0 },
    { PATH("syntax"), POLICY_RULE_SENDER_SYNTAX, STRANGER, "x", "\"a@b.c\"@pc", 0, 553, 7, 0 },
    { PATH("syntax"), POLICY_RULE_SENDER_SYNTAX, STRANGER, "x", "a@[1.2.3.4]", 0, 250, 0, 0 },
    { PATH("syntax"), POLICY_RULE_SENDER_SYNTAX, STRANGER, "x", "", 0, 250, 0, 0 },
    { PATH("own_domain"), POLICY_RULE_SENDER_OWN_DOMAIN, STRANGER, "x", "a@Example.com", 0, 550, 1,
      0 },
    { PATH("own_domain"), POLICY_RULE_SENDER_OWN_DOMAIN, STRANGER, "x", "a@b.sub.example", 0, 550,
      1, 0 },
    { PATH("own_domain"), POLICY_RULE_SENDER_OWN_DOMAIN, STRANGER, "x", "a@sub.example", 0, 250, 0,
      0 },
    { PATH("own_domain"), POLICY_RULE_SENDER_OWN_DOMAIN, STRANGER, "x", "\"a@example.com\"@b.c", 0,
      250, 0, 0 },
    { PATH("own_domain"), POLICY_RULE_SENDER_OWN_DOMAIN, "10.0.0.1", "x", "a@example.com", 0, 250,
      0, 0 },
    { "*any* " PATH("own_domain"), POLICY_RULE_SENDER_OWN_DOMAIN, STRANGER, "x", "a@b.c", 0, 250, 0,
      0 },
    { PATH("resolvable"), POLICY_RULE_SENDER_RESOLVABLE, STRANGER, "x", "a@b.c",
      POLICY_DNS_NOT_ASKED, 250, 0, POLICY_ASK_SENDER },
    { PATH("resolvable"), POLICY_RULE_SENDER_RESOLVABLE, STRANGER, "x", "a@b.c", POLICY_DNS_FOUND,
      250, 0, 0 },
    { PATH("resolvable"), POLICY_RULE_SENDER_RESOLVABLE, STRANGER, "x", "a@b.c", POLICY_DNS_NOTHING,
      553, 8, 0 },
    { PATH("resolvable"), POLICY_RULE_SENDER_RESOLVABLE, STRANGER, "x", "a@b.c", POLICY_DNS_NULL_MX,
      550, 27, 0 },
    { PATH("resolvable"), POLICY_RULE_SENDER_RESOLVABLE, STRANGER, "x", "a@b.c", POLICY_DNS_UNTOLD,
      450, 8, 0 },
    { PATH("resolvable"), POLICY_RULE_SENDER_RESOLVABLE, STRANGER, "x", "", POLICY_DNS_NOT_ASKED,
      250, 0, 0 },
};

static struct policy_facts facts_of(const struct row *r)
{
    return (struct policy_facts){
        .client = addr(r->client),
        .helo = str_of(r->helo),
        .sender = str_of(r->sender),
        .helo_dns = (uint8_t)r->dns,
        .sender_dns = (uint8_t)r->dns,
    };
}

static struct policy_snapshot *with_mode(const struct row *r, const char *mode)
{
    char rules[200];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(rules, sizeof rules, r->check, mode);
#pragma GCC diagnostic pop
    return snapshot(rules);
}

static void check_row(const struct row *r)
{
    static const char *const modes[] = { "off", "shadow", "on" };
    const struct policy_facts facts = facts_of(r);

    print_message("%s: %s says %s, <%s>, DNS %d\n", r->check, r->client, r->helo, r->sender,
                  r->dns);
    for (int mode = 0; mode < 3; mode++) {
        struct policy_snapshot *snap = with_mode(r, modes[mode]);
        bool refuses = mode == 2 && r->code != 250;
        struct policy_verdict v;

        policy_verdict_init(&v, false);
        policy_mail(snap, &facts, &v);
        assert_int_equal(v.action, refuses ? POLICY_REFUSE : POLICY_ACCEPT);
        assert_int_equal(v.shadow, mode == 1 && r->code != 250 ? 1u << r->rule : 0u);
        assert_int_equal(v.asks, mode ? r->asks : 0);
        if (refuses) {
            assert_int_equal(v.rule, r->rule);
            assert_int_equal(v.reply.code, r->code);
            assert_int_equal(v.reply.status[0], r->code / 100);
            assert_int_equal(v.reply.status[2], r->detail);
        }
        policy_snapshot_unref(snap);
    }
}

static void each_check_refuses_what_it_is_about(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(rows); i++)
        check_row(&rows[i]);
}

static void names_are_asked_for_as_the_dns_has_them(void **state)
{
    static const struct {
        enum policy_ask ask;
        const char *helo, *sender, *name; /* NULL: none */
    } cases[] = {
        { POLICY_ASK_HELO, "Mail.Example.", "", "mail.example" },
        { POLICY_ASK_HELO, "[192.0.2.1]", "", NULL },
        { POLICY_ASK_SENDER, "x",
          "\"a@b\"@B\xC3\xBC"
          "cher.example",
          "xn--bcher-kva.example" },
        { POLICY_ASK_SENDER, "x", "a@[192.0.2.1]", NULL },
        { POLICY_ASK_SENDER, "x", "", NULL },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        const struct policy_facts facts = { .helo = str_of(cases[i].helo),
                                            .sender = str_of(cases[i].sender) };
        char name[SETTINGS_DOMAIN_SIZE];
        bool there = policy_ask_name(&facts, cases[i].ask, name);

        assert_int_equal(there, cases[i].name != NULL);
        if (there)
            assert_string_equal(name, cases[i].name);
    }
}

/* Who is refused anyway is not looked up. */
static void the_dns_comes_last(void **state)
{
    struct policy_snapshot *snap = snapshot("\"max_message_size_mb\":1,\"helo_checks\":{\"syntax\":"
                                            "\"on\",\"resolvable\":\"on\"},\"reverse_path_checks\":"
                                            "{\"own_domain\":\"on\",\"resolvable\":\"on\"}");
    struct policy_facts facts = { .client = addr("192.0.2.1"),
                                  .helo = STR("a.b"),
                                  .sender = STR("a@b.c") };
    struct policy_verdict v;

    (void)state;
    policy_verdict_init(&v, false);
    policy_mail(snap, &facts, &v);
    assert_int_equal(v.asks, POLICY_ASK_HELO | POLICY_ASK_SENDER);
    facts.size = 1048577;
    policy_mail(snap, &facts, &v);
    assert_int_equal(v.asks, 0);
    assert_int_equal(v.rule, POLICY_RULE_MAX_MESSAGE_SIZE);
    facts.size = 0;
    facts.sender = STR("a@example.com");
    policy_mail(snap, &facts, &v);
    assert_int_equal(v.asks, 0);
    assert_int_equal(v.rule, POLICY_RULE_SENDER_OWN_DOMAIN);
    policy_snapshot_unref(snap);
}

static void data_of_a_session_is_limited(void **state)
{
    static const struct {
        uint64_t data, size;
        bool refused;
    } cases[] = { { 0, 0, false },
                  { 0, 1048576, false },
                  { 2097151, 0, false },
                  { 2097152, 0, true },
                  { 1048576, 1048576, false },
                  { 1048577, 1048576, true },
                  { UINT64_MAX, UINT64_MAX, true } };
    struct policy_snapshot *snap =
        snapshot("\"max_data_per_connection_mb\":2,\"max_message_size_mb\":1");

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        const struct policy_facts facts = { .client = addr("10.0.0.1"),
                                            .data = cases[i].data,
                                            .size = cases[i].size };
        struct policy_verdict v;

        policy_verdict_init(&v, false);
        policy_mail(snap, &facts, &v);
        assert_int_equal(v.action, cases[i].refused ? POLICY_DISCONNECT : POLICY_ACCEPT);
        if (cases[i].refused)
            assert_int_equal(v.rule, POLICY_RULE_MAX_DATA);
    }
    policy_snapshot_unref(snap);
}

/* ---- an explanation and a session ---- */

static const char *pick(struct rng *r, const char *const *from, size_t n)
{
    return from[rng_below(r, n)];
}

static struct policy_snapshot *some_snapshot(struct rng *r)
{
    static const char *const modes[] = { "off", "shadow", "on" };
    char rules[400];

    snprintf(rules, sizeof rules,
             "%s\"helo_checks\":{\"syntax\":\"%s\",\"own_name\":\"%s\",\"resolvable\":\"%s\"},"
             "\"reverse_path_checks\":{\"syntax\":\"%s\",\"own_domain\":\"%s\",\"resolvable\":"
             "\"%s\"}",
             rng_below(r, 4) ? "" : "*any* ", pick(r, modes, 3), pick(r, modes, 3),
             pick(r, modes, 3), pick(r, modes, 3), pick(r, modes, 3), pick(r, modes, 3));
    return snapshot(rules);
}

/* As a session does: asked once without the DNS, and again with what it says. */
static void live(const struct policy_snapshot *snap, const struct policy_facts *facts,
                 struct policy_verdict *v)
{
    struct policy_facts first = *facts;

    policy_verdict_init(v, false);
    first.helo_dns = first.sender_dns = POLICY_DNS_NOT_ASKED;
    policy_mail(snap, &first, v);
    if (v->action != POLICY_ACCEPT || !v->asks)
        return;
    if (v->asks & POLICY_ASK_HELO)
        first.helo_dns = facts->helo_dns;
    if (v->asks & POLICY_ASK_SENDER)
        first.sender_dns = facts->sender_dns;
    policy_mail(snap, &first, v);
    assert_int_equal(v->asks, 0);
}

static void an_explanation_and_a_session_agree(void **state)
{
    static const char *const clients[] = { "10.1.2.3", "192.0.2.1", "127.0.0.1", "198.51.100.1" };
    static const char *const helos[] = {
        "a.b", "pc", "gw.example.com", "[192.0.2.1]", "[198.51.100.1]", "a..b"
    };
    static const char *const senders[] = { "", "a@b.c", "a@pc", "a@example.com", "a@[1.2.3.4]" };
    unsigned refused[POLICY_RULE_COUNT] = { 0 };

    (void)state;
    for (uint64_t seed = 0; seed < 20000; seed++) {
        struct policy_verdict v, told;
        struct policy_snapshot *snap;
        struct policy_facts facts;
        struct rng r;

        rng_seed(&r, seed);
        snap = some_snapshot(&r);
        facts = (struct policy_facts){
            .client = addr(pick(&r, clients, 4)),
            .helo = str_of(pick(&r, helos, 6)),
            .sender = str_of(pick(&r, senders, 5)),
            .helo_dns = (uint8_t)(1 + rng_below(&r, 4)),
            .sender_dns = (uint8_t)(1 + rng_below(&r, 4)),
        };
        live(snap, &facts, &v);
        policy_verdict_init(&told, true);
        policy_explain(snap, &facts, &told);
        assert_int_equal(v.action, told.action);
        assert_int_equal(v.reply.code, told.reply.code);
        if (v.action != POLICY_ACCEPT)
            assert_int_equal(v.rule, told.rule);
        assert_int_equal(v.shadow, told.shadow);
        refused[v.rule] += v.action != POLICY_ACCEPT;
        policy_snapshot_unref(snap);
    }
    for (int rule = POLICY_RULE_HELO_SYNTAX; rule <= POLICY_RULE_SENDER_RESOLVABLE; rule++)
        assert_true(refused[rule] > 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_check_refuses_what_it_is_about),
        cmocka_unit_test(names_are_asked_for_as_the_dns_has_them),
        cmocka_unit_test(the_dns_comes_last),
        cmocka_unit_test(data_of_a_session_is_limited),
        cmocka_unit_test(an_explanation_and_a_session_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
