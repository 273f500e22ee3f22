#include "base/msgid.h"

#include "base/clock.h"
#include "base/err.h"
#include "base/rng.h"
#include "check.h"

#include <errno.h>

static void an_id_reads_back_as_it_was_written(void **state)
{
    char text[MSGID_SIZE], before[MSGID_SIZE] = "";
    struct rng r;

    (void)state;
    rng_seed(&r, 5);
    for (int i = 0; i < 2000; i++) {
        uint64_t id = rng_next(&r) >> (9 + rng_below(&r, 55)), back;

        msgid_format(id, text);
        assert_int_equal(strlen(text), MSGID_SIZE - 1);
        assert_true(msgid_parse(str_of(text), &back));
        assert_true(back == id);
    }
    /* They sort as the numbers do. */
    for (uint64_t id = 0; id < UINT64_C(1) << 54; id = id * 3 + 1) {
        msgid_format(id, text);
        assert_true(strcmp(before, text) < 0);
        memcpy(before, text, sizeof text);
    }
}

static void a_person_may_copy_it_badly(void **state)
{
    uint64_t a, b;

    (void)state;
    assert_true(msgid_parse(STR("0123456789A"), &a));
    assert_true(msgid_parse(STR("oI23456789a"), &b));
    assert_true(a == b);
    assert_true(msgid_parse(STR("OL23456789A"), &b));
    assert_true(a == b);
    assert_true(msgid_parse(STR("ZZZZZZZZZZZ"), &a));
    assert_true(a == (UINT64_C(1) << 55) - 1);
}

static void anything_else_is_refused(void **state)
{
    static const struct str cases[] = {
        STR(""),
        STR("0123456789"),
        STR("0123456789AB"),
        STR("U123456789A"),
        STR("u123456789A"),
        STR("0123456789\0"),
        STR("01234 6789A"),
        STR("-123456789A"),
        STR("\xC3\xA4"
            "23456789A"),
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        uint64_t id = 4711;

        assert_false(msgid_parse(cases[i], &id));
        assert_true(id == 4711);
    }
}

static void times_are_written_as_the_standards_say(void **state)
{
    char text[CLOCK_RFC5322_SIZE];

    (void)state;
    clock_rfc3339(1764002074123456, text);
    assert_string_equal(text, "2025-11-24T16:34:34.123Z");
    clock_rfc5322(1764002074123456, text);
    assert_string_equal(text, "Mon, 24 Nov 2025 16:34:34 +0000");
    clock_rfc5322(951782400000000, text);
    assert_string_equal(text, "Tue, 29 Feb 2000 00:00:00 +0000");
    clock_rfc3339(0, text);
    assert_string_equal(text, "1970-01-01T00:00:00.000Z");
}

static void a_fault_says_what_and_why(void **state)
{
    struct pt_fault fault;
    char longest[400];

    (void)state;
    assert_int_equal(pt_fault_errno(&fault, ENOSPC, "cannot write %s", "x"), PT_ERR_NOSPACE);
    assert_int_equal(fault.err, PT_ERR_NOSPACE);
    assert_int_equal(fault.sys_errno, ENOSPC);
    assert_string_equal(fault.text, "cannot write x: No space left on device");
    assert_int_equal(pt_fault_errno(&fault, 99999, "odd"), PT_ERR_IO);
    assert_string_equal(fault.text, "odd: unknown error");
    assert_int_equal(pt_fault_set(NULL, PT_ERR_BUSY, "x"), PT_ERR_BUSY);
    assert_int_equal(pt_fault_errno(NULL, EACCES, "x"), PT_ERR_DENIED);
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = 0;
    assert_int_equal(pt_fault_errno(&fault, EIO, "%s", longest), PT_ERR_IO);
    assert_int_equal(strlen(fault.text), sizeof fault.text - 1);
    assert_int_equal(pt_fault_set(&fault, PT_ERR_INVALID, "%s", "no"), PT_ERR_INVALID);
    assert_int_equal(fault.sys_errno, 0);
    assert_string_equal(pt_err_text((enum pt_err)1000), "unknown error");
    assert_true(pt_err_may_retry(PT_ERR_NOSPACE));
    assert_false(pt_err_may_retry(PT_ERR_CORRUPT));
}

static void random_numbers_stay_below_and_repeat_from_their_seed(void **state)
{
    struct rng a, b;
    unsigned counts[10] = { 0 };

    (void)state;
    rng_seed(&a, 42);
    rng_seed(&b, 42);
    for (int i = 0; i < 10000; i++) {
        uint64_t n = rng_below(&a, 10);

        assert_true(n < 10);
        assert_true(n == rng_below(&b, 10));
        counts[n]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(counts[i], 850, 1150);
    assert_true(rng_below(&a, 1) == 0);
    rng_seed(&b, 43);
    assert_true(rng_next(&a) != rng_next(&b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_id_reads_back_as_it_was_written),
        cmocka_unit_test(a_person_may_copy_it_badly),
        cmocka_unit_test(anything_else_is_refused),
        cmocka_unit_test(times_are_written_as_the_standards_say),
        cmocka_unit_test(a_fault_says_what_and_why),
        cmocka_unit_test(random_numbers_stay_below_and_repeat_from_their_seed),
    };

    return cmocka_run_group_tests_name("base/values", tests, NULL, NULL);
}
