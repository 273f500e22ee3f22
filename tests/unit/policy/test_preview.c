#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "policy/policy.h"
#include "policy/preview_view.h"
#include "settings/schema.h"

/* What a preview says of a client is what policy_explain() says under both settings. */

static const int64_t now = 1800000000000000;

static struct policy_snapshot *snapshot(const char *document)
{
    struct settings_host host = { .hostname = "gw.example", .confirmed = SETTINGS_CONFIRM_ALL };
    struct settings_errors errors;
    struct policy_snapshot *snap;
    struct settings *s = NULL;

    settings_errors_init(&errors);
    if (settings_parse(document, strlen(document), &host, &s, &errors) != PT_ERR_OK)
        fail_msg("%s", document);
    snap = policy_snapshot_new(s, NULL, 0);
    settings_unref(s);
    settings_errors_done(&errors);
    return snap;
}

static const char *const domains[] = { "a.example", "b.example", "x.c.example", "d.example" };

/* ---- random settings and clients ---- */

static void add_networks(struct rng *r, struct buf *out)
{
    uint64_t n = rng_below(r, 6);

    for (uint64_t i = 0; i < n; i++)
        buf_addf(out, "%s\"10.0.%u.%u/%u\"", i ? "," : "", (unsigned)rng_below(r, 4),
                 (unsigned)rng_below(r, 256), (unsigned)(16 + rng_below(r, 17)));
}

static struct policy_snapshot *random_snapshot(struct rng *r)
{
    static const char *const relay[] = { "a.example", "b.example", "*.c.example", "e.example" };
    struct policy_snapshot *snap;
    struct buf text;
    bool first = true;

    buf_init(&text, 65536);
    buf_addf(&text, "{\"connections\":{\"control\":{\"mode\":\"%s\",\"deny_list\":[",
             rng_below(r, 2) ? "accept_all_except" : "deny_all_except");
    add_networks(r, &text);
    BUF_LIT(&text, "],\"permit_list\":[");
    add_networks(r, &text);
    BUF_LIT(&text, "]}},\"message_rules\":{\"relay_domains\":[");
    for (size_t i = 0; i < PT_ARRAY_LEN(relay); i++) {
        if (!rng_below(r, 2))
            continue;
        buf_addf(&text, "%s\"%s\"", first ? "" : ",", relay[i]);
        first = false;
    }
    buf_addf(&text, "],\"max_recipients\":%u,\"max_message_size_mb\":%u,",
             (unsigned)(1 + rng_below(r, 5)), (unsigned)(1 + rng_below(r, 3)));
    BUF_LIT(&text, "\"permitted_relay\":{\"hosts\":\"specified\",\"networks\":[");
    add_networks(r, &text);
    BUF_LIT(&text, "]}}}");
    snap = snapshot(buf_cstr(&text));
    buf_done(&text);
    return snap;
}

static struct policy_past random_client(struct rng *r, const char *recipients[4])
{
    struct policy_past past = {
        .address = { NET_IPV4, { 10, 0, (uint8_t)rng_below(r, 4), (uint8_t)rng_below(r, 256) } },
        .mail = rng_below(r, 4) > 0,
        .tls = rng_below(r, 2) > 0,
        .messages_max = (uint32_t)rng_below(r, 4),
        .recipients_max = (uint32_t)rng_below(r, 6),
        .size_max = rng_below(r, 4u << 20),
        .connections = rng_below(r, 1000),
        .messages = rng_below(r, 1000),
        .last_us = now,
        .helo = "x.example",
        .recipients = recipients,
        .recipient_count = (uint32_t)rng_below(r, 4),
    };

    for (uint32_t i = 0; i < past.recipient_count; i++)
        recipients[i] = domains[rng_below(r, PT_ARRAY_LEN(domains))];
    return past;
}

/* ---- the other way to find out ---- */

static bool explained(const struct policy_snapshot *snap, const struct policy_past *past,
                      const char *domain, uint8_t *out_rule)
{
    char address[64] = "";
    struct policy_facts facts = { .client = past->address,
                                  .now_us = now,
                                  .tls = past->tls,
                                  .messages = past->messages_max ? past->messages_max - 1 : 0,
                                  .size = past->size_max };
    struct policy_verdict v;

    if (domain) {
        snprintf(address, sizeof address, "x@%s", domain);
        facts.recipients = past->recipients_max ? past->recipients_max - 1 : 0;
        facts.recipient = str_of(address);
    }
    policy_verdict_init(&v, true);
    policy_explain(snap, &facts, &v);
    *out_rule = v.rule;
    return v.action == POLICY_ACCEPT;
}

static bool connects(const struct policy_snapshot *snap, const struct policy_past *past,
                     uint8_t *out_rule)
{
    struct policy_facts facts = { .client = past->address, .now_us = now };
    struct policy_verdict v;

    policy_verdict_init(&v, false);
    policy_connect(snap, &facts, &v);
    *out_rule = v.rule;
    return v.action == POLICY_ACCEPT;
}

/* 0: nothing differs, 1: refused, -1: let in. */
static int expected(const struct policy_snapshot *before, const struct policy_snapshot *after,
                    const struct policy_past *past, uint8_t *out_rule)
{
    uint8_t was, is;
    bool a = connects(before, past, &was), b = connects(after, past, &is);
    uint32_t at = 0;

    while (a == b && a && past->mail && at <= past->recipient_count) {
        const char *domain = at ? past->recipients[at - 1] : NULL;

        a = explained(before, past, domain, &was);
        b = explained(after, past, domain, &is);
        if (!a && !b && !domain)
            return 0; /* neither takes the message at all */
        if (!a && !b)
            a = b = true; /* this domain is refused by both; the next may differ */
        at++;
    }
    *out_rule = a ? is : was;
    return a == b ? 0 : a ? 1 : -1;
}

static void a_preview_says_what_explain_says(void **state)
{
    struct rng r;
    unsigned told[3] = { 0 };

    rng_seed(&r, 20261124);
    for (int round = 0; round < 400; round++) {
        struct policy_snapshot *before = random_snapshot(&r), *after = random_snapshot(&r);

        for (int i = 0; i < 50; i++) {
            const char *recipients[4];
            struct policy_past past = random_client(&r, recipients);
            struct policy_preview *p = policy_preview_new(before, after, now, 0, 1);
            const struct policy_preview_result *result;
            uint8_t rule = 0;
            int want = expected(before, after, &past, &rule);

            policy_preview_add(p, &past);
            result = policy_preview_end(p);
            assert_int_equal((int)result->refused.clients - (int)result->let_in.clients, want);
            if (want) {
                const struct policy_preview_side *side =
                    want > 0 ? &result->refused : &result->let_in;

                assert_int_equal(side->count, 1);
                assert_string_equal(side->rows[0].rule, policy_rule_name((enum policy_rule)rule));
            }
            told[want + 1]++;
            policy_preview_free(p);
        }
        policy_snapshot_unref(before);
        policy_snapshot_unref(after);
    }
    /* All three happen often. */
    assert_true(told[0] > 1000 && told[1] > 1000 && told[2] > 1000);
}

static void those_with_the_most_traffic_are_kept_in_order(void **state)
{
    struct policy_snapshot *before = snapshot("{}");
    struct policy_snapshot *after =
        snapshot("{\"connections\":{\"control\":{\"deny_list\":[{\"network\":\"10.0.0.0/8\","
                 "\"comment\":\"all\"}]}}}");
    struct policy_preview *p = policy_preview_new(before, after, now, now - 10, 10);
    const struct policy_preview_result *r;
    struct rng rng;

    rng_seed(&rng, 1);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t traffic = i * 7919u % 1000;
        struct policy_past past = {
            .address = { NET_IPV4, { 10, 0, (uint8_t)(i >> 8), (uint8_t)i } },
            .connections = traffic / 2,
            .messages = traffic - traffic / 2,
            .last_us = i % 2 ? now : now - 100,
        };

        policy_preview_add(p, &past);
    }
    r = policy_preview_end(p);
    assert_int_equal(r->clients, 1000);
    assert_int_equal(r->refused.clients, 1000);
    assert_int_equal(r->refused.connections + r->refused.messages, 499500);
    assert_int_equal(r->seen, 500);
    assert_int_equal(r->seen_refused_after, 500);
    assert_int_equal(r->seen_refused_before, 0);
    assert_int_equal(r->refused.count, 10);
    for (uint32_t i = 0; i < 10; i++)
        assert_int_equal(r->refused.rows[i].connections + r->refused.rows[i].messages, 999 - i);
    assert_string_equal(r->refused.rows[0].entry, "10.0.0.0/8");
    assert_string_equal(r->refused.rows[0].comment, "all");
    policy_preview_free(p);
    policy_snapshot_unref(before);
    policy_snapshot_unref(after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_preview_says_what_explain_says),
        cmocka_unit_test(those_with_the_most_traffic_are_kept_in_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
