/*
 * What is told of the table: the manual page in the tree and the JSON Schema.
 *
 * With a file name as argument it writes the page anew:
 *     build/tests/unit/settings/settings_reference docs/man/postern-settings.5.scd
 */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "check.h"
#include "settings/schema.h"
#include "settings/table.h"

static void the_page_in_the_tree_is_the_tables(void **state)
{
    struct buf page;
    size_t n;
    char *file = check_file_read(MAN_FOLDER, "postern-settings.5.scd", &n);

    (void)state;
    buf_init(&page, 1 << 20);
    settings_reference(&page);
    assert_false(page.failed);
    if (page.n != n || memcmp(page.p, file, n) != 0)
        fail_msg("docs/man/postern-settings.5.scd is out of date; write it anew with\n"
                 "    build/tests/unit/settings/settings_reference "
                 "docs/man/postern-settings.5.scd");
    buf_done(&page);
    free(file);
}

static json_t *schema(void)
{
    struct buf text;
    json_t *json;

    buf_init(&text, 1 << 20);
    settings_json_schema(&text);
    assert_false(text.failed);
    json = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(json);
    buf_done(&text);
    return json;
}

/* Each key of the table stands in the schema with its kind, default and limits. */
static void compare(const struct schema_node *n, const json_t *json)
{
    const json_t *properties = json_object_get(json, "properties");

    assert_non_null(json_object_get(json, "type"));
    if (n->fallback) {
        json_t *want = json_loads(n->fallback, JSON_DECODE_ANY, NULL);

        assert_true(json_equal(json_object_get(json, "default"), want));
        json_decref(want);
    }
    if (n->type == SCHEMA_INTEGER) {
        assert_int_equal(json_integer_value(json_object_get(json, "minimum")), n->min);
        assert_int_equal(json_integer_value(json_object_get(json, "maximum")), n->max);
    }
    if (n->type == SCHEMA_LIST)
        compare(n->item, json_object_get(json, "items"));
    if (n->type != SCHEMA_OBJECT)
        return;
    assert_true(json_is_false(json_object_get(json, "additionalProperties")));
    for (const struct schema_node *child = n->children; child->key; child++) {
        print_message("%s\n", child->key);
        compare(child, json_object_get(properties, child->key));
    }
}

static void the_json_schema_has_every_key(void **state)
{
    json_t *json = schema();

    (void)state;
    compare(&schema_root, json);
    json_decref(json);
}

/* Every key is explained, and a number without limits or a string without a check would be a hole.
 */
static void complete(const struct schema_node *n)
{
    if (n->key[0] || n->type == SCHEMA_OBJECT)
        assert_non_null(n->summary);
    if (n->type == SCHEMA_INTEGER)
        assert_true(n->min < n->max);
    if (n->type == SCHEMA_STRING)
        assert_true(n->max > 0 && (n->choices || n->format));
    if (n->type == SCHEMA_LIST) {
        assert_true(n->max > 0);
        complete(n->item);
    }
    for (const struct schema_node *child = n->children; child && child->key; child++) {
        print_message("%s\n", child->key);
        complete(child);
    }
}

static void the_table_is_complete(void **state)
{
    (void)state;
    complete(&schema_root);
}

static int write_page(const char *path)
{
    FILE *f = fopen(path, "w");
    struct buf page;
    bool ok;

    buf_init(&page, 1 << 20);
    settings_reference(&page);
    ok = f && !page.failed && fwrite(page.p, 1, page.n, f) == page.n;
    if (f)
        ok = fclose(f) == 0 && ok;
    buf_done(&page);
    return ok ? 0 : 1;
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_page_in_the_tree_is_the_tables),
        cmocka_unit_test(the_json_schema_has_every_key),
        cmocka_unit_test(the_table_is_complete),
    };

    if (argc == 2)
        return write_page(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
