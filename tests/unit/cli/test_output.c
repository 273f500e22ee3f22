#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cli/offline.h"
#include "cli/output.h"

static void nothing_that_drives_a_terminal_passes(void **state)
{
    static const struct {
        struct str in;
        const char *out;
    } cases[] = {
        { STR("plain"), "plain" },
        { STR("\xc3\xa9t\xc3\xa9 \xe2\x82\xac \xf0\x9f\x93\xa7"), "\xc3\xa9t\xc3\xa9 \xe2\x82\xac "
                                                                  "\xf0\x9f\x93\xa7" },
        { STR("\x1b[2J"), "\\x1b[2J" },
        { STR("a\0b\nc\rd\te"), "a\\x00b\\x0ac\\x0dd\\x09e" },
        { STR("\x7f"), "\\x7f" },
        { STR("\xc2\x9b"
              "31m"),
          "\\xc2\\x9b31m" },                        /* CSI as one character of C1 */
        { STR("\x9b"), "\\x9b" },                   /* and as an octet */
        { STR("\xe2\x80\xae"), "\\xe2\\x80\\xae" }, /* right-to-left override */
        { STR("\xe2\x81\xa6"), "\\xe2\\x81\\xa6" }, /* isolate */
        { STR("\xef\xbb\xbf"), "\\xef\\xbb\\xbf" },
        { STR("\xc3"), "\\xc3" },
        { STR("\xed\xa0\x80"), "\\xed\\xa0\\x80" }, /* a surrogate is no UTF-8 */
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct buf out;

        buf_init(&out, 1000);
        out_safe_add(&out, cases[i].in);
        assert_string_equal(buf_cstr(&out), cases[i].out);
        buf_done(&out);
    }
}

static void sizes_and_ages_are_short(void **state)
{
    static const struct {
        uint64_t octets;
        const char *text;
    } sizes[] = { { 0, "0" },         { 999, "999" },      { 1000, "1.0K" },     { 4300, "4.2K" },
                  { 102400, "100K" }, { 52428800, "50M" }, { UINT64_MAX, "16E" } };
    static const struct {
        int64_t seconds;
        const char *text;
    } ages[] = { { -5, "0 s" },      { 0, "0 s" },    { 99, "99 s" },     { 100, "1 min" },
                 { 5999, "99 min" }, { 6000, "1 h" }, { 172799, "47 h" }, { 172800, "2 d" } };
    char text[OUT_SIZE];

    for (size_t i = 0; i < PT_ARRAY_LEN(sizes); i++) {
        out_size(sizes[i].octets, text);
        assert_string_equal(text, sizes[i].text);
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(ages); i++) {
        out_age(ages[i].seconds, text);
        assert_string_equal(text, ages[i].text);
    }
}

static void times_are_read_back(void **state)
{
    int64_t us;
    char text[32];

    assert_true(out_parse_time("2023-11-14T22:13:20.123Z", &us));
    assert_int_equal(us, 1700000000123000);
    assert_true(out_parse_time("2023-11-14T22:13:20Z", &us));
    assert_int_equal(us, 1700000000000000);
    assert_false(out_parse_time("2023-11-14", &us));
    assert_false(out_parse_time("2023-11-14T22:13:20+01:00", &us));
    assert_false(out_parse_time(NULL, &us));
    out_time("2023-11-14T22:13:20.123Z", text);
    assert_string_equal(text, "2023-11-14 22:13:20Z");
    out_time(NULL, text);
    assert_string_equal(text, "-");
}

static void tables_line_up(void **state)
{
    static const char *const titles[] = { "NAME", "N", "NOTE" };
    struct out_table t;
    FILE *f = tmpfile();
    char text[400];
    size_t n;

    out_table_init(&t, titles, 3, 2);
    out_table_add(&t, STR("\xc3\xa9"));
    out_table_addf(&t, "%d", 1000);
    out_table_add(&t, STR("x"));
    out_table_add(&t, STR("longer name"));
    out_table_addf(&t, "%d", 1);
    out_table_add(&t, STR("a\x1b"));
    assert_true(out_table_print(&t, f));
    rewind(f);
    n = fread(text, 1, sizeof text - 1, f);
    text[n] = 0;
    fclose(f);
    assert_string_equal(text, "NAME            N  NOTE\n"
                              "\xc3\xa9            1000  x\n"
                              "longer name     1  a\\x1b\n");
}

static void differences_are_found(void **state)
{
    static const struct {
        const char *from, *to, *changes;
    } cases[] = {
        { "{\"a\":1}", "{\"a\":1}", "[]" },
        { "{\"a\":{\"b\":1}}", "{\"a\":{\"b\":2}}", "[{\"key\":\"a.b\",\"from\":1,\"to\":2}]" },
        { "{\"a\":1}", "{}", "[{\"key\":\"a\",\"from\":1}]" },
        { "{}", "{\"a\":null}", "[{\"key\":\"a\",\"to\":null}]" },
        { "{\"a\":[1,2,2]}", "{\"a\":[2,3]}", "[{\"key\":\"a\",\"removed\":[1,2],\"added\":[3]}]" },
        { "{\"a\":[{\"b\":1,\"c\":2}]}", "{\"a\":[{\"c\":2,\"b\":1},0]}",
          "[{\"key\":\"a\",\"removed\":[],\"added\":[0]}]" },
        { "{\"a\":[1,2]}", "{\"a\":[2,1]}", "[{\"key\":\"a\",\"from\":[1,2],\"to\":[2,1]}]" },
        { "{\"a\":[1]}", "{\"a\":{}}", "[{\"key\":\"a\",\"from\":[1],\"to\":{}}]" },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        json_t *from = json_loads(cases[i].from, 0, NULL), *to = json_loads(cases[i].to, 0, NULL);
        json_t *changes = diff_documents(from, to);
        char *text = json_dumps(changes, JSON_COMPACT);

        assert_string_equal(text, cases[i].changes);
        free(text);
        json_decref(changes);
        json_decref(from);
        json_decref(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_that_drives_a_terminal_passes),
        cmocka_unit_test(sizes_and_ages_are_short),
        cmocka_unit_test(times_are_read_back),
        cmocka_unit_test(tables_line_up),
        cmocka_unit_test(differences_are_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
