/*
 * Limits and bans: what is on, watched or off; and that an explanation and a session agree under
 * random settings, counts and clients.
 */
#include <stdio.h>

#include "base/rng.h"
#include "check.h"
#include "policy/explain_view.h"
#include "policy/policy.h"
#include "settings/schema.h"

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
    struct settings_errors errors;
    struct policy_snapshot *snap;
    struct settings *s;

    settings_errors_init(&errors);
    if (settings_parse(document, strlen(document), &host, &s, &errors) != PT_ERR_OK)
        fail_msg("%s: %s: %s", document, errors.errors[0].pointer, errors.errors[0].detail);
    settings_errors_done(&errors);
    snap = policy_snapshot_new(s, NULL, 0);
    assert_non_null(snap);
    settings_unref(s);
    return snap;
}

static struct policy_snapshot *with_limits(const char *limits)
{
    char document[1024];

    snprintf(document, sizeof document,
             "{\"connections\":{\"limits\":{%s}},\"message_rules\":{\"relay_domains\":"
             "[\"example.com\"]}}",
             limits);
    return snapshot(document);
}

/* ---- each of them ---- */

typedef void question_fn(const struct policy_snapshot *snap, const struct policy_facts *facts,
                         struct policy_verdict *v);

static const struct limit_case {
    const char *key;
    int counted; /* enum access_counted; -1: sessions */
    enum policy_rule rule;
    question_fn *ask;
} cases[] = {
    { "simultaneous_connections", -1, POLICY_RULE_LIMIT_SESSIONS, policy_limits },
    { "connections_per_minute", ACCESS_CONNECTIONS, POLICY_RULE_LIMIT_CONNECTIONS, policy_limits },
    { "messages_per_minute", ACCESS_MESSAGES, POLICY_RULE_LIMIT_MESSAGES, policy_mail },
    { "recipients_per_minute", ACCESS_RECIPIENTS, POLICY_RULE_LIMIT_RECIPIENTS, policy_rcpt },
    { "failures_per_minute", ACCESS_FAILURES, POLICY_RULE_LIMIT_FAILURES, policy_limits },
    { "failures_per_minute", ACCESS_FAILURES, POLICY_RULE_LIMIT_FAILURES, policy_mail },
    { "failures_per_minute", ACCESS_FAILURES, POLICY_RULE_LIMIT_FAILURES, policy_rcpt },
};

static void set(struct access_usage *u, int counted, uint32_t n)
{
    if (counted < 0)
        u->sessions = n;
    else
        u->in_minute[counted] = n;
}

static void ask(const struct policy_snapshot *snap, const struct limit_case *c, uint32_t by_address,
                uint32_t by_prefix, struct policy_verdict *v)
{
    struct access_client usage = { 0 };
    const struct policy_facts facts = { .client = addr("192.0.2.1"),
                                        .recipient = STR("a@example.com"),
                                        .usage = &usage };

    set(&usage.address, c->counted, by_address);
    set(&usage.prefix, c->counted, by_prefix);
    policy_verdict_init(v, false);
    c->ask(snap, &facts, v);
}

static void a_limit_refuses_from_its_value_on(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        const struct limit_case *c = &cases[i];
        char text[200];
        struct policy_snapshot *snap;
        struct policy_verdict v;

        print_message("%s\n", c->key);
        snprintf(text, sizeof text, "\"%s\":{\"mode\":\"on\",\"per_address\":3,\"per_prefix\":5}",
                 c->key);
        snap = with_limits(text);
        assert_true(policy_limits_asked(snap));
        ask(snap, c, 2, 4, &v);
        assert_int_equal(v.action, POLICY_ACCEPT);
        ask(snap, c, 3, 3, &v);
        assert_int_equal(v.action, POLICY_DISCONNECT);
        assert_int_equal(v.rule, c->rule);
        assert_int_equal(v.reply.code, 421);
        assert_memory_equal(v.reply.status, ((uint8_t[]){ 4, 7, 0 }), 3);
        assert_non_null(memmem(v.reply.text.p, v.reply.text.n, "your address", 12));
        assert_int_equal(v.shadow, 0);
        ask(snap, c, 1, 5, &v);
        assert_int_equal(v.action, POLICY_DISCONNECT);
        assert_non_null(memmem(v.reply.text.p, v.reply.text.n, "your network", 12));
        policy_snapshot_unref(snap);
    }
}

static void a_shadow_refuses_nothing_and_says_so(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        const struct limit_case *c = &cases[i];
        char text[200];
        struct policy_snapshot *snap;
        struct policy_verdict v;

        snprintf(text, sizeof text,
                 "\"%s\":{\"mode\":\"shadow\",\"per_address\":3,\"per_prefix\":null}", c->key);
        snap = with_limits(text);
        assert_true(policy_limits_asked(snap));
        ask(snap, c, 3, 1000, &v);
        assert_int_equal(v.action, POLICY_ACCEPT);
        assert_int_equal(v.shadow, 1u << c->rule);
        ask(snap, c, 2, 1000, &v);
        assert_int_equal(v.shadow, 0);
        policy_snapshot_unref(snap);
    }
}

static void nothing_is_asked_without_limits(void **state)
{
    static const char *const documents[] = {
        "{}",
        "{\"connections\":{\"limits\":null}}",
        "{\"connections\":{\"limits\":{}}}",
        "{\"connections\":{\"limits\":{\"messages_per_minute\":{\"per_address\":1}}}}",
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(documents); i++) {
        struct policy_snapshot *snap = snapshot(documents[i]);
        struct policy_verdict v;

        assert_false(policy_limits_asked(snap));
        ask(snap, &cases[2], 100000, 100000, &v);
        assert_int_equal(v.action, POLICY_ACCEPT);
        policy_snapshot_unref(snap);
    }
}

static void the_exempt_are_asked_nothing(void **state)
{
    struct policy_snapshot *snap =
        with_limits("\"connections_per_minute\":{\"mode\":\"on\",\"per_address\":1},"
                    "\"ban\":{\"mode\":\"on\",\"failures\":1},\"exempt\":[\"192.0.2.0/24\"]");
    struct access_client usage = { .address = { .failures = 9 } };
    struct net_addr exempt = addr("192.0.2.1"), other = addr("198.51.100.1");
    struct policy_verdict v;
    struct access_ban ban;

    (void)state;
    ask(snap, &cases[1], 100, 100, &v);
    assert_int_equal(v.action, POLICY_ACCEPT);
    assert_false(policy_ban_due(snap, &exempt, 1, &usage, &ban));
    assert_true(policy_ban_due(snap, &other, 1, &usage, &ban));
    policy_snapshot_unref(snap);
}

/* ---- bans ---- */

static void a_ban_counts_by_its_kind_and_the_mode(void **state)
{
    static const char *const modes[] = { "off", "shadow", "on" };
    /* By mode, then by kind: . passes, s is watched, X refuses. */
    static const char *const outcomes[] = { "..X", "ssX", "sXX" };

    (void)state;
    for (int mode = 0; mode < 3; mode++)
        for (int kind = 0; kind < 3; kind++) {
            char text[80];
            const struct access_ban ban = { .kind = (uint8_t)kind, .until_us = 5 };
            const struct policy_facts facts = { .client = addr("192.0.2.1"), .ban = &ban };
            struct policy_snapshot *snap;
            struct policy_verdict v;
            char got;

            snprintf(text, sizeof text, "\"ban\":{\"mode\":\"%s\"}", modes[mode]);
            snap = with_limits(text);
            policy_verdict_init(&v, false);
            policy_limits(snap, &facts, &v);
            got = v.action != POLICY_ACCEPT ? 'X' : v.shadow ? 's' : '.';
            print_message("%s, kind %d: %c\n", modes[mode], kind, got);
            assert_int_equal(got, outcomes[mode][kind]);
            policy_mail(snap, &facts, &v);
            assert_int_equal(v.action != POLICY_ACCEPT, got == 'X');
            policy_snapshot_unref(snap);
        }
}

static void failures_bring_a_ban_for_the_address_or_the_64(void **state)
{
    struct policy_snapshot *snap = with_limits(
        "\"ban\":{\"mode\":\"on\",\"failures\":3,\"within_minutes\":7,\"duration_minutes\":2}");
    struct policy_snapshot *watched = with_limits("\"ban\":{\"mode\":\"shadow\",\"failures\":3}");
    struct access_client usage = { .address = { .failures = 2 }, .prefix = { .failures = 3 } };
    struct net_addr four = addr("192.0.2.1"), six = addr("2001:db8::1");
    struct access_ban ban;

    (void)state;
    assert_int_equal(policy_failure_span(snap), 7);
    assert_false(policy_ban_due(snap, &four, 1000, &usage, &ban));
    assert_true(policy_ban_due(snap, &six, 1000, &usage, &ban));
    assert_int_equal(ban.client.length, 64);
    assert_int_equal(ban.until_us, 1000 + 120000000);
    assert_int_equal(ban.kind, ACCESS_BAN_AUTOMATIC);
    usage.address.failures = 3;
    assert_true(policy_ban_due(snap, &four, 1000, &usage, &ban));
    assert_int_equal(ban.client.length, 32);
    assert_int_equal(ban.failures, 3);
    assert_true(policy_ban_due(watched, &four, 1000, &usage, &ban));
    assert_int_equal(ban.kind, ACCESS_BAN_SHADOW);
    policy_snapshot_unref(snap);
    policy_snapshot_unref(watched);
}

/* ---- an explanation and a session ---- */

static const char *pick(struct rng *r, const char *const *from, size_t n)
{
    return from[rng_below(r, n)];
}

static struct policy_snapshot *some_snapshot(struct rng *r)
{
    static const char *const modes[] = { "off", "shadow", "on" };
    static const char *const control[] = { "accept_all_except", "deny_all_except" };
    static const char *const lists[] = { "", "\"10.0.0.0/8\"", "\"10.1.2.3\",\"2001:db8::/32\"" };
    static const char *const hosts[] = { "host_only", "specified" };
    static const char *const keys[] = { "simultaneous_connections", "connections_per_minute",
                                        "messages_per_minute", "recipients_per_minute",
                                        "failures_per_minute" };
    struct policy_snapshot *snap;
    struct buf b;

    buf_init(&b, 8192);
    buf_addf(
        &b,
        "{\"connections\":{\"interface\":{\"max_connections\":%s},\"control\":{\"mode\":\"%s\","
        "\"deny_list\":[%s],\"permit_list\":[%s]},\"tls\":{\"incoming\":true,\"certificate\":"
        "\"a\",\"incoming_required\":%s},\"limits\":{",
        rng_below(r, 2) ? "3" : "null", pick(r, control, 2), pick(r, lists, 3), pick(r, lists, 3),
        rng_below(r, 2) ? "true" : "false");
    for (size_t i = 0; i < PT_ARRAY_LEN(keys); i++)
        buf_addf(&b, "\"%s\":{\"mode\":\"%s\",\"per_address\":%u,\"per_prefix\":%s},", keys[i],
                 pick(r, modes, 3), (unsigned)rng_below(r, 4) + 1, rng_below(r, 2) ? "3" : "null");
    buf_addf(
        &b,
        "\"ban\":{\"mode\":\"%s\"},\"exempt\":[%s]}},\"message_rules\":{\"relay_domains\":[%s],"
        "\"permitted_relay\":{\"hosts\":\"%s\",\"networks\":[%s]}}}",
        pick(r, modes, 3), rng_below(r, 4) ? "" : "\"10.0.0.0/9\"",
        rng_below(r, 2) ? "\"example.com\"" : "", pick(r, hosts, 2), pick(r, lists, 3));
    assert_non_null(buf_cstr(&b));
    snap = snapshot(b.p);
    buf_done(&b);
    return snap;
}

static void some_usage(struct rng *r, struct access_usage *u)
{
    u->sessions = (uint32_t)rng_below(r, 3);
    for (int i = 0; i < ACCESS_COUNTED; i++)
        u->in_minute[i] = (uint32_t)rng_below(r, 3);
}

/* As a session comes to the questions. */
static void live(const struct policy_snapshot *snap, const struct policy_facts *facts,
                 struct policy_verdict *v)
{
    static question_fn *const questions[] = { policy_connect, policy_limits, policy_mail,
                                              policy_rcpt };

    policy_verdict_init(v, false);
    for (size_t i = 0; i < PT_ARRAY_LEN(questions); i++) {
        questions[i](snap, facts, v);
        if (v->action != POLICY_ACCEPT)
            return;
    }
}

struct told {
    unsigned steps, decisive, number;
    const char *rule;
};

static void count_step(void *user, const struct policy_explain_step *s)
{
    struct told *t = user;

    t->steps++;
    t->decisive += s->decisive;
    if (s->decisive)
        t->rule = s->rule;
    assert_in_range(s->number, 2, 7);
    assert_true(s->text.n > 0);
}

static void agree_once(struct rng *r, unsigned refused[POLICY_RULE_COUNT])
{
    static const char *const clients[] = { "10.1.2.3", "10.200.0.1", "192.0.2.1", "127.0.0.1",
                                           "2001:db8::7" };
    static const struct str recipients[] = { STR("a@example.com"), STR("a@elsewhere.test"),
                                             STR("a%b@example.com"), STR("postmaster") };
    struct policy_snapshot *snap = some_snapshot(r);

    for (int i = 0; i < 20; i++) {
        struct policy_explain_ask ask = { .client = addr(pick(r, clients, 5)),
                                          .to = recipients[rng_below(r, 4)],
                                          .tls = rng_below(r, 2),
                                          .sessions = (uint32_t)rng_below(r, 4),
                                          .now_us = 1000,
                                          .banned = rng_below(r, 4) == 0 };
        struct policy_facts facts;
        struct policy_explained e;
        struct policy_verdict v;
        struct told told = { 0 };

        some_usage(r, &ask.usage.address);
        some_usage(r, &ask.usage.prefix);
        ask.ban = (struct access_ban){ .kind = (uint8_t)rng_below(r, 3), .until_us = 5000 };
        facts = (struct policy_facts){ .client = ask.client,
                                       .now_us = ask.now_us,
                                       .tls = ask.tls,
                                       .sessions = ask.sessions,
                                       .recipient = ask.to,
                                       .usage = &ask.usage,
                                       .ban = ask.banned ? &ask.ban : NULL };
        live(snap, &facts, &v);
        policy_explain_tell(snap, &ask, count_step, &told, &e);
        assert_int_equal(strcmp(e.decision, "accept") == 0, v.action == POLICY_ACCEPT);
        assert_int_equal(told.decisive, 1);
        assert_string_equal(told.rule, policy_rule_name(v.rule));
        assert_string_equal(e.rule, told.rule);
        assert_int_equal(e.code, v.action == POLICY_ACCEPT ? 250 : v.reply.code);
        if (v.action != POLICY_ACCEPT) {
            check_str(str_of(e.text), v.reply.text);
            refused[v.rule]++;
        }
    }
    policy_snapshot_unref(snap);
}

static void an_explanation_and_a_session_agree(void **state)
{
    unsigned refused[POLICY_RULE_COUNT] = { 0 };

    (void)state;
    for (uint64_t seed = 0; seed < 500; seed++) {
        struct rng r;

        print_message("seed %llu\n", (unsigned long long)seed);
        rng_seed(&r, seed);
        agree_once(&r, refused);
    }
    for (int rule = POLICY_RULE_BAN; rule <= POLICY_RULE_LIMIT_FAILURES; rule++)
        assert_true(refused[rule] > 0 || rule == POLICY_RULE_EXEMPT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_limit_refuses_from_its_value_on),
        cmocka_unit_test(a_shadow_refuses_nothing_and_says_so),
        cmocka_unit_test(nothing_is_asked_without_limits),
        cmocka_unit_test(the_exempt_are_asked_nothing),
        cmocka_unit_test(a_ban_counts_by_its_kind_and_the_mode),
        cmocka_unit_test(failures_bring_a_ban_for_the_address_or_the_64),
        cmocka_unit_test(an_explanation_and_a_session_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
