#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "console/totp.h"

/* RFC 6238 appendix B: its eight digits end in our six. */
static const struct {
    int64_t time;
    uint32_t code;
} vectors[] = {
    { 59, 287082 },       { 1111111109, 81804 },  { 1111111111, 50471 },
    { 1234567890, 5924 }, { 2000000000, 279037 }, { 20000000000, 353130 },
};

static const uint8_t key[] = "12345678901234567890";

static struct account_second make(void)
{
    struct account_second s = { .on = true };

    memcpy(s.key, key, sizeof s.key);
    return s;
}

static enum totp_result try(struct account_second *s, uint32_t code, int64_t now)
{
    char text[16];

    snprintf(text, sizeof text, "%06u", code);
    return totp_check(s, str_of(text), now);
}

static void codes_are_those_of_the_standard(void **state)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(vectors); i++) {
        struct account_second s = make();

        assert_int_equal(totp_code(key, (uint64_t)vectors[i].time / 30), vectors[i].code);
        assert_int_equal(try(&s, vectors[i].code, vectors[i].time), TOTP_RIGHT);
    }
}

static void a_code_counts_once_and_a_step_early_or_late(void **state)
{
    int64_t now = 1111111109;
    uint64_t step = (uint64_t)now / 30;

    for (int64_t late = -3; late <= 3; late++) {
        struct account_second s = make();
        bool near = late >= -1 && late <= 1;

        assert_int_equal(try(&s, totp_code(key, step + (uint64_t)late), now),
                         near ? TOTP_RIGHT : TOTP_WRONG);
        /* Not again, and none of before. */
        assert_int_equal(try(&s, totp_code(key, step + (uint64_t)late), now), TOTP_WRONG);
        if (near)
            assert_int_equal(try(&s, totp_code(key, step + (uint64_t)late - 1), now), TOTP_WRONG);
        assert_int_equal(try(&s, totp_code(key, step + 3), now + 90), TOTP_RIGHT);
    }
}

static void what_is_no_code_is_wrong(void **state)
{
    static const char *const texts[] = { "",       "28708",        "2870821", "28708x",
                                         "-28708", "287082287082", "+87082",  "\0\0\0\0\0\0" };

    for (size_t i = 0; i < PT_ARRAY_LEN(texts); i++) {
        struct account_second s = make();

        assert_int_equal(totp_check(&s, str_of(texts[i]), 59), TOTP_WRONG);
    }
    for (size_t n = 0; n < 40; n++) {
        struct account_second s = make();
        char junk[40];

        memset(junk, 0, sizeof junk);
        assert_int_equal(totp_check(&s, (struct str){ junk, n }, 59), TOTP_WRONG);
        memset(junk, '9', sizeof junk);
        assert_int_equal(totp_check(&s, (struct str){ junk, n }, 59), TOTP_WRONG);
    }
    {
        struct account_second s = make();

        assert_int_equal(totp_check(&s, STR(" 287 082 "), 59), TOTP_RIGHT);
    }
}

static void recovery_codes_count_once_each(void **state)
{
    struct account_second s = make();
    char codes[ACCOUNT_SPARES_MAX][TOTP_SPARE_TEXT], small[TOTP_SPARE_TEXT];

    totp_make_spares(&s, codes);
    for (size_t i = 0; i < ACCOUNT_SPARES_MAX; i++)
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(codes[i], codes[j]);
    for (size_t i = 0; i < ACCOUNT_SPARES_MAX; i++) {
        for (size_t j = 0; j < sizeof small; j++)
            small[j] =
                codes[i][j] >= 'A' && codes[i][j] <= 'Z' ? (char)(codes[i][j] + 32) : codes[i][j];
        assert_int_equal(totp_check(&s, str_of(small), 59), TOTP_SPARE);
        assert_int_equal(totp_check(&s, str_of(codes[i]), 59), TOTP_WRONG);
        assert_int_equal(s.spare_count, ACCOUNT_SPARES_MAX - 1 - i);
    }
}

static void the_key_as_text(void **state)
{
    char text[TOTP_KEY_TEXT];

    totp_key_text(key, text);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(codes_are_those_of_the_standard),
        cmocka_unit_test(a_code_counts_once_and_a_step_early_or_late),
        cmocka_unit_test(what_is_no_code_is_wrong),
        cmocka_unit_test(recovery_codes_count_once_each),
        cmocka_unit_test(the_key_as_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
