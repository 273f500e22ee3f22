/*
 * What a next hop says of a recipient: whom it is asked about, what each answer means, on and
 * watched, how its words are told, and that a session and an explanation agree.
 */
#include <stdio.h>

#include "check.h"
#include "policy/policy.h"
#include "settings/schema.h"

#define STRANGER "192.0.2.1"
#define FRIEND "10.1.1.1" /* may relay */

static struct policy_snapshot *snapshot(const char *mode, const char *domains)
{
    const struct settings_host host = { .hostname = "gw", .confirmed = SETTINGS_CONFIRM_ALL };
    struct settings_errors errors;
    struct policy_snapshot *snap;
    struct settings *s;
    char document[512];

    snprintf(document, sizeof document,
             "{\"message_rules\":{\"relay_domains\":[%s],\"recipient_check\":\"%s\","
             "\"permitted_relay\":{\"hosts\":\"specified\",\"networks\":[\"10.0.0.0/8\"]}}}",
             domains, mode);
    settings_errors_init(&errors);
    assert_int_equal(settings_parse(document, strlen(document), &host, &s, &errors), PT_ERR_OK);
    settings_errors_done(&errors);
    snap = policy_snapshot_new(s, NULL, 0);
    assert_non_null(snap);
    settings_unref(s);
    return snap;
}

static struct policy_facts facts_of(const char *client, const char *recipient,
                                    const struct policy_recipient *answer)
{
    struct policy_facts facts = { .recipient = str_of(recipient), .answer = answer };

    assert_true(net_addr_parse(str_of(client), &facts.client));
    return facts;
}

static const struct row {
    const char *mode, *domains, *client, *recipient;
    unsigned said; /* 0: not asked yet */
    unsigned code;
    bool asks, shadow;
} rows[] = {
#define OURS "\"example.com\",\"*.sub.example\""
    { "on", OURS, STRANGER, "a@example.com", 0, 0, true, false },
    { "on", OURS, FRIEND, "a@example.com", 0, 0, true, false },
    { "on", OURS, STRANGER, "a@EXAMPLE.com", 0, 0, true, false },
    { "on", OURS, STRANGER, "\"a b\"@x.sub.example", 0, 0, true, false },
    { "shadow", OURS, STRANGER, "a@example.com", 0, 0, true, false },
    { "off", OURS, STRANGER, "a@example.com", 0, 0, false, false },
    { "on", OURS, STRANGER, "a@elsewhere.example", 0, 550, false, false },
    { "on", OURS, FRIEND, "a@elsewhere.example", 0, 0, false, false },
    { "on", OURS, STRANGER, "a%b.example@example.com", 0, 550, false, false },
    { "on", OURS, STRANGER, "postmaster", 0, 0, false, false },
    { "on", "\"*\"", STRANGER, "a@example.com", 0, 0, false, false },
    { "on", "\"*\",\"example.com\"", STRANGER, "a@example.com", 0, 0, true, false },
    { "on", OURS, STRANGER, "a@example.com", POLICY_RECIPIENT_TAKEN, 0, false, false },
    { "on", OURS, STRANGER, "a@example.com", POLICY_RECIPIENT_REFUSED, 550, false, false },
    { "on", OURS, FRIEND, "a@example.com", POLICY_RECIPIENT_REFUSED, 550, false, false },
    { "on", OURS, STRANGER, "a@example.com", POLICY_RECIPIENT_UNTOLD, 451, false, false },
    { "shadow", OURS, STRANGER, "a@example.com", POLICY_RECIPIENT_TAKEN, 0, false, false },
    { "shadow", OURS, STRANGER, "a@example.com", POLICY_RECIPIENT_REFUSED, 0, false, true },
    { "shadow", OURS, FRIEND, "a@example.com", POLICY_RECIPIENT_UNTOLD, 0, false, true },
    { "off", OURS, STRANGER, "a@example.com", POLICY_RECIPIENT_REFUSED, 0, false, false },
};

static unsigned decisive(const struct policy_verdict *v)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < v->step_count; i++)
        n += v->steps[i].decisive;
    return n;
}

static void each_answer_means_what_it_says(void **state)
{
    const uint32_t bit = 1u << POLICY_RULE_RECIPIENT_CHECK;

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(rows); i++) {
        const struct row *r = &rows[i];
        struct policy_snapshot *snap = snapshot(r->mode, r->domains);
        const struct policy_recipient answer = { .said = (uint8_t)r->said, .words = "who?" };
        struct policy_facts facts = facts_of(r->client, r->recipient, r->said ? &answer : NULL);
        struct policy_verdict v, told;

        print_message("%s, %s, %s, %u\n", r->mode, r->client, r->recipient, r->said);
        policy_verdict_init(&v, false);
        policy_rcpt(snap, &facts, &v);
        assert_int_equal(v.reply.code, r->code);
        assert_int_equal(v.asks & POLICY_ASK_RECIPIENT, r->asks ? POLICY_ASK_RECIPIENT : 0);
        assert_int_equal(v.shadow, r->shadow ? bit : 0);
        policy_verdict_init(&told, true);
        policy_explain(snap, &facts, &told);
        assert_int_equal(told.action, v.action);
        assert_int_equal(told.rule, v.rule);
        assert_int_equal(told.reply.code, v.reply.code);
        assert_int_equal(told.shadow, v.shadow);
        assert_int_equal(decisive(&told), 1);
        policy_snapshot_unref(snap);
    }
}

static void its_words_are_folded(void **state)
{
    static const char *const words[][2] = {
        { "5.1.1 <x>: no", "The next hop does not take this recipient: <x>: no [ref " },
        { "no [ref AAAA-AAAA]", "The next hop does not take this recipient: no (ref AAAA-AAAA) [" },
        { "no\r\n250 ok", "The next hop does not take this recipient: no??250 ok [ref " },
        { "caf\xC3\xA9", "The next hop does not take this recipient: caf?? [ref " },
        { "5.1", "The next hop does not take this recipient: 5.1 [ref " },
        { "", "The next hop does not take this recipient [ref " },
    };
    struct policy_snapshot *snap = snapshot("on", OURS);

    (void)state;
    for (size_t i = 0; i <= PT_ARRAY_LEN(words); i++) {
        bool longest = i == PT_ARRAY_LEN(words);
        struct policy_recipient answer = { .said = POLICY_RECIPIENT_REFUSED, .code = 550 };
        struct policy_facts facts = facts_of(STRANGER, "a@example.com", &answer);
        struct policy_verdict v;

        facts.ref = 1;
        if (longest)
            memset(answer.words, 'x', sizeof answer.words - 1);
        else
            snprintf(answer.words, sizeof answer.words, "%s", words[i][0]);
        policy_verdict_init(&v, false);
        policy_rcpt(snap, &facts, &v);
        assert_int_equal(v.reply.code, 550);
        assert_memory_equal(v.reply.status, ((uint8_t[]){ 5, 1, 1 }), 3);
        assert_true(v.reply.text.n <= POLICY_TEXT_MAX);
        assert_memory_equal(v.reply.text.p + v.reply.text.n - 1, "]", 1);
        if (!longest)
            assert_true(str_starts_nocase(v.reply.text, str_of(words[i][1])));
    }
    policy_snapshot_unref(snap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_answer_means_what_it_says),
        cmocka_unit_test(its_words_are_folded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
