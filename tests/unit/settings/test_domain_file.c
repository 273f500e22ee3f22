/* Files of domains: what becomes of each line; and lists of names, in pieces and back. */
#include "settings/domain_file.h"

#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "settings/domain.h"

static struct settings_list *list_of(const char *const *patterns, uint32_t n)
{
    struct settings_list_builder b;
    struct settings_list *list;

    settings_list_begin(&b, n);
    for (uint32_t i = 0; i < n; i++)
        settings_list_add_pattern(&b, str_of(patterns[i]));
    list = settings_list_end(&b);
    assert_non_null(list);
    return list;
}

static const char text[] = "\xEF\xBB\xBF# ours\r\n"
                           "Example.ORG\r\n"
                           "  *.example.org.  # with a dot\r\n"
                           "\r\n"
                           "b\xC3\xBC"
                           "cher.example\n"
                           "there.example\n"
                           "a.example.org\n"
                           "EXAMPLE.org\n"
                           "*.b.example.org\n"
                           "last.example";

static void a_file_is_read_line_by_line(void **state)
{
    static const char *const before[] = { "there.example" };
    static const char *const after[] = { "there.example", "example.org",
                                         "*.example.org", "xn--bcher-kva.example",
                                         "a.example.org", "*.b.example.org",
                                         "last.example" };
    static const struct {
        uint32_t line;
        const char *domain;
        bool normalised, covered;
    } remarks[] = { { 3, "*.example.org", true, false },
                    { 5, "xn--bcher-kva.example", true, false },
                    { 7, "a.example.org", false, true },
                    { 9, "*.b.example.org", false, true } };
    struct settings_list *present = list_of(before, 1);
    struct settings_domain_import import;
    struct settings_domain_remark r;
    uint32_t at = 0;

    (void)state;
    assert_int_equal(settings_domain_import(present, str_of(text), false, false, &import),
                     PT_ERR_OK);
    assert_int_equal(import.counts.added, 6);
    assert_int_equal(import.counts.duplicate, 2);
    assert_int_equal(import.counts.normalised, 2);
    assert_int_equal(import.counts.covered, 2);
    assert_int_equal(import.counts.errors, 0);
    assert_int_equal(import.list->count, PT_ARRAY_LEN(after));
    for (uint32_t i = 0; i < import.list->count; i++)
        assert_string_equal(settings_list_pattern(import.list, i), after[i]);
    for (size_t i = 0; i < PT_ARRAY_LEN(remarks); i++) {
        assert_true(settings_domain_import_remark(&import, &at, &r));
        assert_int_equal(r.line, remarks[i].line);
        assert_string_equal(r.domain, remarks[i].domain);
        assert_int_equal(r.normalised, remarks[i].normalised);
        assert_int_equal(r.covered, remarks[i].covered);
    }
    assert_false(settings_domain_import_remark(&import, &at, &r));
    settings_domain_import_done(&import);
    assert_int_equal(settings_domain_import(present, str_of(text), true, false, &import),
                     PT_ERR_OK);
    assert_int_equal(import.counts.added, 7);
    assert_string_equal(settings_list_pattern(import.list, 0), "example.org");
    settings_domain_import_done(&import);
    settings_list_unref(present);
}

static void one_wrong_line_keeps_all_out_unless_told_otherwise(void **state)
{
    static const char wrong[] = "good.example\n"
                                "-bad.example\n"
                                "192.0.2.1\n"
                                "a@b.example\n"
                                "*.*.example\n"
                                "a.*.example\n"
                                "two words.example\n"
                                "a..example\n"
                                "*example\n";
    struct settings_list *none = list_of(NULL, 0);
    struct settings_domain_import import;
    struct settings_domain_remark r;
    uint32_t at = 0;

    (void)state;
    assert_int_equal(settings_domain_import(none, str_of(wrong), false, false, &import), PT_ERR_OK);
    assert_null(import.list);
    assert_int_equal(import.counts.errors, 8);
    for (uint32_t line = 2; line <= 9; line++) {
        assert_true(settings_domain_import_error(&import, &at, &r));
        assert_int_equal(r.line, line);
        assert_non_null(r.reason);
    }
    assert_false(settings_domain_import_error(&import, &at, &r));
    settings_domain_import_done(&import);
    assert_int_equal(settings_domain_import(none, str_of(wrong), false, true, &import), PT_ERR_OK);
    assert_int_equal(import.list->count, 1);
    settings_domain_import_done(&import);
    assert_int_equal(settings_domain_import(none, STR(""), false, false, &import), PT_ERR_OK);
    assert_int_equal(import.list->count, 0);
    settings_domain_import_done(&import);
    settings_list_unref(none);
}

/* ---- lists of names ---- */

struct gathered {
    struct settings_list_builder b;
    unsigned chunks;
};

static bool gather(void *ctx, const struct settings_hash *hash, struct str chunk)
{
    struct gathered *g = ctx;

    g->chunks++;
    return settings_list_add_chunk(&g->b, chunk);
}

static struct settings_list *many(uint32_t n, uint32_t without)
{
    struct settings_list_builder b;
    char name[64];

    settings_list_begin(&b, n);
    for (uint32_t i = 0; i < n; i++) {
        snprintf(name, sizeof name, "%sd%u.example", i % 5 ? "" : "*.", i);
        if (i != without)
            settings_list_add_pattern(&b, str_of(name));
    }
    return settings_list_end(&b);
}

static void names_come_back_from_their_chunks(void **state)
{
    struct settings_list *list = many(50000, UINT32_MAX), *less = many(50000, 25000), *again;
    struct gathered g = { .chunks = 0 };
    uint32_t at;

    (void)state;
    settings_list_begin(&g.b, 0);
    assert_int_equal(settings_list_chunks(list, gather, &g), PT_ERR_OK);
    again = settings_list_end(&g.b);
    assert_true(g.chunks > 5 && g.chunks < 50);
    assert_true(settings_hash_eq(&again->hash, &list->hash));
    assert_false(settings_hash_eq(&less->hash, &list->hash));
    at = settings_list_find_domain(again, STR("d49999.example"));
    assert_string_equal(settings_list_pattern(again, at), "d49999.example");
    at = settings_list_find_domain(again, STR("x.y.d5.example"));
    assert_string_equal(settings_list_pattern(again, at), "*.d5.example");
    assert_int_equal(settings_list_find_domain(again, STR("d5.example")), SETTINGS_DOMAIN_NONE);
    assert_int_equal(settings_list_find_domain(again, STR_NULL), SETTINGS_DOMAIN_NONE);
    assert_null(settings_list_comment(again, 3));
    settings_list_unref(again);
    settings_list_unref(less);
    settings_list_unref(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_is_read_line_by_line),
        cmocka_unit_test(one_wrong_line_keeps_all_out_unless_told_otherwise),
        cmocka_unit_test(names_come_back_from_their_chunks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
