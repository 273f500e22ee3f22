#include "access/list.h"

#include <stdlib.h>

#include "check.h"

static const char example[] = "192.168.1.1\n"
                              "192.168.2.0:255.255.255.0\n"
                              "192.168.3.1:255.255.255.128\n"
                              "192.168.4.100\n"
                              "192.168.5.32:255.255.255.192\n"
                              "2001:db8:10ff::ae:44f2\n"
                              "2001:db8::/32\n";

static struct access_list parse(struct str file)
{
    struct access_list list;

    assert_int_equal(access_list_parse(file, &list), PT_ERR_OK);
    return list;
}

static struct access_table *table(struct access_list *list)
{
    struct access_row *rows = calloc(list->count + 1, sizeof *rows);
    struct access_table *t;

    for (uint32_t i = 0; i < list->count; i++)
        rows[i].prefix = list->items[i].prefix;
    t = access_table_new(rows, list->count);
    free(rows);
    assert_non_null(t);
    return t;
}

static void the_example_is_seven_entries(void **state)
{
    struct access_list list = parse(str_of(example));
    struct access_counts counts;

    (void)state;
    assert_int_equal(list.error_count, 0);
    assert_int_equal(access_list_compare(&list, NULL, NULL, 0, &counts), PT_ERR_OK);
    assert_int_equal(counts.added, 7);
    assert_int_equal(counts.duplicate, 0);
    assert_int_equal(counts.normalised, 2);
    assert_int_equal(counts.covered, 1);
    assert_int_equal(counts.contradicted, 0);
    assert_true(list.items[2].normalised && list.items[4].normalised && list.items[5].covered);
    access_list_done(&list);
}

static void what_may_stand_around_an_entry(void **state)
{
    struct access_list list = parse(STR("\xEF\xBB\xBF# a list\r\n"
                                        "\r\n"
                                        " \t10.0.0.1\t \r\n"
                                        "10.0.0.2#why: it sends\tspam # a lot \r\n"
                                        "   # nothing\n"
                                        "10.0.0.3  #\n"
                                        "10.0.0.4 # \xC3\xA9t\xC3\xA9"));

    (void)state;
    assert_int_equal(list.error_count, 0);
    assert_int_equal(list.count, 4);
    check_lit(list.items[0].text, "10.0.0.1");
    assert_int_equal(list.items[0].line, 3);
    check_lit(list.items[1].comment, "why: it sends\tspam # a lot");
    assert_int_equal(list.items[2].comment.n, 0);
    check_lit(list.items[3].comment, "\xC3\xA9t\xC3\xA9");
    assert_int_equal(list.items[3].line, 7);
    access_list_done(&list);
}

static void every_wrong_line_is_named(void **state)
{
    struct access_list list = parse(STR("10.0.0.1\n"
                                        "192.168.1.1:25\n"
                                        "10.0.0.0/8 10.0.0.0/9\n"
                                        "10.0.0.2\r10.0.0.3\n"
                                        "10.0.0.4 # \x01\n"
                                        "10.0.0.5 # \xFF\n"
                                        "mail.example.com # host\n"
                                        "\0\n"
                                        "\xEF\xBB\xBF"
                                        "10.0.0.6\n"
                                        "10.0.0.7"));
    static const uint32_t lines[] = { 2, 3, 4, 5, 6, 7, 8, 9 };

    (void)state;
    assert_int_equal(list.count, 2);
    assert_int_equal(list.error_count, PT_ARRAY_LEN(lines));
    for (size_t i = 0; i < PT_ARRAY_LEN(lines); i++) {
        assert_int_equal(list.errors[i].line, lines[i]);
        assert_true(strlen(list.errors[i].reason) > 10);
    }
    check_lit(list.errors[0].text, "192.168.1.1:25");
    check_lit(list.errors[5].text, "mail.example.com # host");
    access_list_done(&list);
}

static void a_comment_has_a_longest(void **state)
{
    char line[ACCESS_COMMENT_MAX + 20];
    struct access_list list;

    (void)state;
    memset(line, 'x', sizeof line);
    memcpy(line, "10.0.0.1 #", 10);
    list = parse((struct str){ line, 10 + ACCESS_COMMENT_MAX });
    assert_int_equal(list.count, 1);
    access_list_done(&list);
    list = parse((struct str){ line, 11 + ACCESS_COMMENT_MAX });
    assert_int_equal(list.count, 0);
    assert_int_equal(list.error_count, 1);
    access_list_done(&list);
}

static void errors_beyond_the_kept_are_counted(void **state)
{
    enum { LINES = ACCESS_LIST_ERRORS_MAX + 5 };
    char *file = malloc(LINES * 2);
    struct access_list list;

    (void)state;
    for (size_t i = 0; i < LINES; i++)
        memcpy(file + 2 * i, "x\n", 2);
    list = parse((struct str){ file, LINES * 2 });
    assert_int_equal(list.error_count, LINES);
    assert_int_equal(list.errors[ACCESS_LIST_ERRORS_MAX - 1].line, ACCESS_LIST_ERRORS_MAX);
    access_list_done(&list);
    free(file);
}

static void an_import_is_compared_with_both_lists(void **state)
{
    struct access_list present = parse(STR("10.0.0.0/8\n172.16.0.1\n"));
    struct access_list other = parse(STR("192.0.2.128/25\n198.51.100.7\n"));
    struct access_list list = parse(STR("10.0.0.0:255.0.0.0\n" /* there already */
                                        "10.1.2.3\n"           /* covered by the present */
                                        "172.16.0.0/12\n"
                                        "192.0.2.129\n"     /* inside the other's */
                                        "198.51.100.0/24\n" /* around the other's */
                                        "198.51.100.9/24\n" /* the same once more */
                                        "203.0.113.9/24\n"));
    struct access_table *p = table(&present), *o = table(&other);
    struct access_counts counts;

    (void)state;
    assert_int_equal(access_list_compare(&list, p, o, 0, &counts), PT_ERR_OK);
    assert_int_equal(counts.added, 5);
    assert_int_equal(counts.duplicate, 2);
    assert_int_equal(counts.normalised, 1);
    assert_int_equal(counts.covered, 1);
    assert_int_equal(counts.contradicted, 2);
    assert_true(list.items[0].duplicate && list.items[1].covered && list.items[3].contradicted &&
                list.items[4].contradicted && list.items[5].duplicate);
    assert_false(list.items[4].duplicate);
    access_table_free(p);
    access_table_free(o);
    access_list_done(&list);
    access_list_done(&present);
    access_list_done(&other);
}

static void what_is_written_reads_back(void **state)
{
    struct access_list list = parse(STR("10.0.0.0/8 # a # b\n2001:db8::1\n")), again;
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    for (uint32_t i = 0; i < list.count; i++)
        access_list_write(&out, list.items[i].text, list.items[i].expires_us,
                          list.items[i].comment);
    check_lit(buf_str(&out), "10.0.0.0/8  # a # b\n2001:db8::1\n");
    again = parse(buf_str(&out));
    assert_int_equal(again.count, 2);
    check_str(again.items[0].comment, list.items[0].comment);
    access_list_done(&again);
    access_list_done(&list);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_example_is_seven_entries),
        cmocka_unit_test(what_may_stand_around_an_entry),
        cmocka_unit_test(every_wrong_line_is_named),
        cmocka_unit_test(a_comment_has_a_longest),
        cmocka_unit_test(errors_beyond_the_kept_are_counted),
        cmocka_unit_test(an_import_is_compared_with_both_lists),
        cmocka_unit_test(what_is_written_reads_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
