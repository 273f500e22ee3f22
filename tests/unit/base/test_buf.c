#include "base/buf.h"

#include <stdio.h>

#include "check.h"

static void appending_beyond_the_maximum_appends_nothing(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 100);
    for (int i = 0; i < 100; i++)
        buf_add_char(&b, 'x');
    assert_false(b.failed);
    assert_int_equal(b.n, 100);
    buf_add_char(&b, 'y');
    assert_true(b.failed);
    assert_int_equal(b.n, 100);
    /* Once failed, even what would fit is refused: no message with a hole in it. */
    b.n = 50;
    buf_add(&b, "z", 1);
    assert_int_equal(b.n, 50);
    buf_clear(&b);
    BUF_LIT(&b, "again");
    check_lit(buf_str(&b), "again");
    buf_done(&b);
}

static void every_size_up_to_the_maximum_fits(void **state)
{
    (void)state;
    for (size_t max = 0; max < 300; max++) {
        struct buf b;

        buf_init(&b, max);
        for (size_t i = 0; i < max; i++)
            buf_add(&b, &(char){ (char)i }, 1);
        assert_false(b.failed);
        assert_int_equal(b.n, max);
        assert_true(b.cap <= PT_MAX(max, 64u));
        for (size_t i = 0; i < max; i++)
            assert_int_equal(b.p[i], (char)i);
        assert_non_null(buf_cstr(&b));
        assert_int_equal(b.n, max);
        assert_false(buf_reserve(&b, 1));
        buf_done(&b);
    }
}

static void a_huge_request_is_refused(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 1000);
    BUF_LIT(&b, "kept");
    assert_false(buf_reserve(&b, SIZE_MAX));
    check_lit(buf_str(&b), "kept");
    buf_clear(&b);
    assert_false(buf_reserve(&b, SIZE_MAX - 3));
    buf_done(&b);
}

static void formatted_text_may_fill_the_buffer_to_the_last_octet(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 8);
    buf_addf(&b, "%s-%d", "abcdef", 7);
    assert_false(b.failed);
    check_lit(buf_str(&b), "abcdef-7");
    buf_addf(&b, "%s", "");
    assert_false(b.failed);
    buf_addf(&b, "x");
    assert_true(b.failed);
    check_lit(buf_str(&b), "abcdef-7");
    buf_done(&b);
}

static void numbers_are_written_in_decimal(void **state)
{
    static const uint64_t values[] = { 0, 9, 10, 99, 100, 12345678901234567890u, UINT64_MAX };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(values); i++) {
        struct buf b;
        char want[32];

        buf_init(&b, 64);
        buf_add_u64(&b, values[i]);
        snprintf(want, sizeof want, "%llu", (unsigned long long)values[i]);
        check_str(buf_str(&b), str_of(want));
        buf_done(&b);
    }
}

static void the_front_is_dropped_and_the_rest_stays(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 64);
    BUF_LIT(&b, "abcdef");
    buf_drop(&b, 0);
    buf_drop(&b, 2);
    check_lit(buf_str(&b), "cdef");
    buf_drop(&b, 4);
    assert_int_equal(b.n, 0);
    assert_string_equal(buf_cstr(&b), "");
    buf_done(&b);
}

static void octets_with_nul_are_kept(void **state)
{
    struct buf b;

    (void)state;
    buf_init(&b, 64);
    buf_add_str(&b, STR("a\0b"));
    buf_add_str(&b, STR_NULL);
    check_lit(buf_str(&b), "a\0b");
    assert_memory_equal(buf_cstr(&b), "a\0b", 4);
    buf_done(&b);
    buf_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(appending_beyond_the_maximum_appends_nothing),
        cmocka_unit_test(every_size_up_to_the_maximum_fits),
        cmocka_unit_test(a_huge_request_is_refused),
        cmocka_unit_test(formatted_text_may_fill_the_buffer_to_the_last_octet),
        cmocka_unit_test(numbers_are_written_in_decimal),
        cmocka_unit_test(the_front_is_dropped_and_the_rest_stays),
        cmocka_unit_test(octets_with_nul_are_kept),
    };

    return cmocka_run_group_tests_name("base/buf", tests, NULL, NULL);
}
