/* gateway/names: what the DNS said lately is known for a minute, and nothing that it did not say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "gateway/names.h"
#include "policy/policy.h"

static const int64_t second = INT64_C(1000000000);

static struct names_question said(const char *name, bool helo, uint8_t answer, uint32_t ttl)
{
    struct names_question q = { .helo = helo, .answer = answer };

    snprintf(q.query.name, sizeof q.query.name, "%s", name);
    q.query.ttl = ttl;
    return q;
}

static void test_for_as_long_as_it_holds(void **state)
{
    struct names_known *k = names_known_new();
    struct names_question brief = said("brief.example", false, POLICY_DNS_FOUND, 5);
    struct names_question lasting = said("lasting.example", false, POLICY_DNS_NULL_MX, 86400);
    uint8_t answer = POLICY_DNS_NOT_ASKED;

    (void)state;
    assert_non_null(k);
    assert_false(names_known_find(k, "brief.example", false, second, &answer));
    names_known_add(k, &brief, second);
    names_known_add(k, &lasting, second);
    assert_true(names_known_find(k, "brief.example", false, 5 * second, &answer));
    assert_int_equal(answer, POLICY_DNS_FOUND);
    assert_false(names_known_find(k, "brief.example", false, 6 * second, &answer));
    assert_true(names_known_find(k, "lasting.example", false, 60 * second, &answer));
    assert_int_equal(answer, POLICY_DNS_NULL_MX);
    assert_false(names_known_find(k, "lasting.example", false, 61 * second, &answer));
    names_known_free(k);
}

static void test_what_was_asked_and_answered(void **state)
{
    struct names_known *k = names_known_new();
    struct names_question helo = said("a.example", true, POLICY_DNS_FOUND, 60);
    struct names_question sender = said("a.example", false, POLICY_DNS_NOTHING, 60);
    struct names_question untold = said("b.example", true, POLICY_DNS_UNTOLD, 60);
    uint8_t answer = POLICY_DNS_NOT_ASKED;

    (void)state;
    assert_non_null(k);
    names_known_add(k, &helo, second);
    assert_false(names_known_find(k, "a.example", false, second, &answer));
    names_known_add(k, &sender, second);
    assert_true(names_known_find(k, "a.example", true, second, &answer));
    assert_int_equal(answer, POLICY_DNS_FOUND);
    assert_true(names_known_find(k, "a.example", false, second, &answer));
    assert_int_equal(answer, POLICY_DNS_NOTHING);
    names_known_add(k, &untold, second);
    assert_false(names_known_find(k, "b.example", true, second, &answer));
    names_known_free(k);
}

static void test_more_names_than_places(void **state)
{
    struct names_known *k = names_known_new();
    unsigned found = 0;
    uint8_t answer;

    (void)state;
    assert_non_null(k);
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];
        struct names_question q;

        snprintf(name, sizeof name, "host%u.example", i);
        q = said(name, true, i % 2 ? POLICY_DNS_FOUND : POLICY_DNS_NOTHING, 60);
        names_known_add(k, &q, second);
    }
    for (unsigned i = 0; i < 10000; i++) {
        char name[32];

        snprintf(name, sizeof name, "host%u.example", i);
        if (!names_known_find(k, name, true, second, &answer))
            continue;
        found++;
        assert_int_equal(answer, i % 2 ? POLICY_DNS_FOUND : POLICY_DNS_NOTHING);
    }
    assert_in_range(found, 500, 1024);
    names_known_free(k);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_for_as_long_as_it_holds),
        cmocka_unit_test(test_what_was_asked_and_answered),
        cmocka_unit_test(test_more_names_than_places),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
