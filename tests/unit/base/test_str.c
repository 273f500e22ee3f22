#include "base/str.h"

#include <stdlib.h>

#include "check.h"

static void numbers_are_digits_and_nothing_else(void **state)
{
    static const struct {
        struct str text;
        bool ok;
        uint64_t value;
    } cases[] = {
        { STR("0"), true, 0 },
        { STR("007"), true, 7 },
        { STR("18446744073709551615"), true, UINT64_MAX },
        { STR("18446744073709551616"), false, 0 },
        { STR("99999999999999999999"), false, 0 },
        { STR("184467440737095516150"), false, 0 },
        { STR(""), false, 0 },
        { STR("-1"), false, 0 },
        { STR("+1"), false, 0 },
        { STR(" 1"), false, 0 },
        { STR("1 "), false, 0 },
        { STR("0x10"), false, 0 },
        { STR("1\0"), false, 0 },
        { STR("1e3"), false, 0 },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        uint64_t value = 4711;

        print_message("case %zu\n", i);
        assert_int_equal(str_to_u64(cases[i].text, &value), cases[i].ok);
        assert_true(value == (cases[i].ok ? cases[i].value : 4711));
    }
}

static void comparing_folds_ascii_and_nothing_else(void **state)
{
    (void)state;
    assert_true(str_eq_nocase(STR("Mail From"), STR("mAIL fROM")));
    assert_false(str_eq_nocase(STR("mail"), STR("mails")));
    assert_false(str_eq_nocase(STR("a@b"), STR("a`b"))); /* neighbours of the letters */
    assert_false(str_eq_nocase(STR("["), STR("{")));
    assert_false(str_eq_nocase(STR("\xC4"), STR("\xE4")));
    assert_true(str_eq_nocase(STR_NULL, STR("")));
    assert_true(str_eq(STR_NULL, STR("")));
    assert_true(str_starts_nocase(STR("EHLO x"), STR("ehlo")));
    assert_false(str_starts_nocase(STR("EHL"), STR("ehlo")));
    assert_true(str_ends_nocase(STR("a.Example.ORG"), STR(".example.org")));
    assert_false(str_ends_nocase(STR("org"), STR(".example.org")));
    assert_true(str_hash_nocase(STR("Example.ORG")) == str_hash_nocase(STR("example.org")));
    assert_true(str_hash_nocase(STR("example.org")) != str_hash_nocase(STR("example.net")));
}

static void finding_starts_where_it_is_told(void **state)
{
    struct str s = STR("a.b.c");

    (void)state;
    assert_int_equal(str_find(s, '.', 0), 1);
    assert_int_equal(str_find(s, '.', 1), 1);
    assert_int_equal(str_find(s, '.', 2), 3);
    assert_int_equal(str_find(s, '.', 4), -1);
    assert_int_equal(str_find(s, '.', 5), -1);
    assert_int_equal(str_find(s, '.', 99), -1);
    assert_int_equal(str_find(STR("a\0b"), 'b', 0), 2);
    assert_int_equal(str_find(STR_NULL, 'b', 0), -1);
}

static void trimming_takes_blanks_at_both_ends(void **state)
{
    (void)state;
    check_lit(str_trim(STR(" \t a b \r\n")), "a b");
    check_lit(str_trim(STR(" \r\n\t")), "");
    check_lit(str_trim(STR("")), "");
    check_lit(str_trim(STR("\0x\0")), "\0x\0");
}

/* What the table 3-7 of the Unicode standard calls well-formed, written down once more. */
static size_t encode(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xC0 | c >> 6);
        out[1] = (char)(0x80 | (c & 63));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xE0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 63));
        out[2] = (char)(0x80 | (c & 63));
        return 3;
    }
    out[0] = (char)(0xF0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 63));
    out[2] = (char)(0x80 | (c >> 6 & 63));
    out[3] = (char)(0x80 | (c & 63));
    return 4;
}

static void every_character_is_utf8_and_no_surrogate(void **state)
{
    (void)state;
    for (uint32_t c = 0; c < 0x110000; c++) {
        char octets[4];
        size_t n = encode(c, octets);
        bool surrogate = c >= 0xD800 && c <= 0xDFFF;

        if (str_is_utf8((struct str){ octets, n }) == surrogate)
            fail_msg("U+%04X", (unsigned)c);
    }
}

/* All sequences of up to three octets: exactly as many are UTF-8 as there are ways to put
 * characters together in that many octets. */
static void nothing_else_of_three_octets_is_utf8(void **state)
{
    const unsigned ones = 0x80, twos = 0x800 - 0x80, threes = 0x10000 - 0x800 - 0x800;
    unsigned found = 0;

    (void)state;
    for (unsigned i = 0; i < 1u << 24; i++) {
        char octets[3] = { (char)(i >> 16), (char)(i >> 8), (char)i };

        found += str_is_utf8((struct str){ octets, 3 });
    }
    assert_int_equal(found, threes + 2 * ones * twos + ones * ones * ones);
}

static void ill_formed_utf8_is_refused(void **state)
{
    static const struct str cases[] = {
        STR("\x80"),             /* a continuation alone */
        STR("\xC0\x80"),         /* NUL, overlong */
        STR("\xC1\xBF"),         /* overlong */
        STR("\xE0\x9F\xBF"),     /* overlong */
        STR("\xF0\x8F\xBF\xBF"), /* overlong */
        STR("\xF4\x90\x80\x80"), /* beyond U+10FFFF */
        STR("\xF5\x80\x80\x80"),
        STR("\xFE"),
        STR("\xFF"),
        STR("\xED\xA0\x80"), /* a surrogate */
        STR("\xE2\x82"),     /* cut */
        STR("\xF0\x9F\x98"),
        STR("\xC3"),
        STR("a\xC3"),
        STR("\xC3\x28"), /* a letter where a continuation belongs */
        STR("\xF0\x9F\x28\x80"),
        STR("\xF0\x9F\x98\x28"),
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        print_message("case %zu\n", i);
        assert_false(str_is_utf8(cases[i]));
        assert_true(str_has_8bit(cases[i]));
    }
    assert_true(str_is_utf8(STR("")));
    assert_true(str_is_utf8(STR("Gr\xC3\xBC\xC3\x9F"
                                "e \xE2\x82\xAC \xF0\x9F\x98\x80")));
    assert_false(str_has_8bit(STR("plain\x7F\0")));
}

static void a_copy_ends_in_nul(void **state)
{
    char *copy = str_dup(str_head(STR("abcdef"), 3));

    (void)state;
    assert_string_equal(copy, "abc");
    free(copy);
    copy = str_dup(STR_NULL);
    assert_string_equal(copy, "");
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_are_digits_and_nothing_else),
        cmocka_unit_test(comparing_folds_ascii_and_nothing_else),
        cmocka_unit_test(finding_starts_where_it_is_told),
        cmocka_unit_test(trimming_takes_blanks_at_both_ends),
        cmocka_unit_test(every_character_is_utf8_and_no_surrogate),
        cmocka_unit_test(nothing_else_of_three_octets_is_utf8),
        cmocka_unit_test(ill_formed_utf8_is_refused),
        cmocka_unit_test(a_copy_ends_in_nul),
    };

    return cmocka_run_group_tests_name("base/str", tests, NULL, NULL);
}
