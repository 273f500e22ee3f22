/*
 * cli/diff: what changed between two settings documents.
 */
#include <stdlib.h>
#include <string.h>

#include "cli/offline.h"
#include "cli/output.h"

enum { KEY_MAX = 512, DEPTH_MAX = 32 };

static void add(json_t *changes, const char *key, const char *a_name, json_t *a, const char *b_name,
                json_t *b)
{
    json_t *change = json_pack("{s:s}", "key", key);

    if (a)
        json_object_set(change, a_name, a);
    if (b)
        json_object_set(change, b_name, b);
    json_array_append_new(changes, change);
}

/* Adds `by` to how often the element occurs; gives the new number. */
static json_int_t count(json_t *counts, const json_t *element, json_int_t by)
{
    char *text = json_dumps(element, JSON_ENCODE_ANY | JSON_COMPACT | JSON_SORT_KEYS);
    json_int_t n = by;

    if (text) {
        n += json_integer_value(json_object_get(counts, text));
        json_object_set_new(counts, text, json_integer(n));
    }
    free(text);
    return n;
}

/* The elements of `list` that are not in `other`, each as often as it is there more often. */
static json_t *surplus(const json_t *list, const json_t *other)
{
    json_t *counts = json_object(), *out = json_array(), *v;
    size_t i;

    json_array_foreach(other, i, v) count(counts, v, 1);
    json_array_foreach(list, i, v)
    {
        if (count(counts, v, -1) < 0)
            json_array_append(out, v);
    }
    json_decref(counts);
    return out;
}

static void diff_lists(json_t *changes, const char *key, json_t *from, json_t *to)
{
    json_t *removed = surplus(from, to), *added = surplus(to, from);

    if (json_array_size(removed) || json_array_size(added))
        add(changes, key, "removed", removed, "added", added);
    else
        add(changes, key, "from", from, "to", to); /* only the order */
    json_decref(removed);
    json_decref(added);
}

static void diff_values(json_t *changes, const char *key, json_t *from, json_t *to, int depth)
{
    char longer[KEY_MAX];
    const char *name;
    json_t *v;

    if (from && to && json_equal(from, to))
        return;
    if (json_is_array(from) && json_is_array(to)) {
        diff_lists(changes, key, from, to);
        return;
    }
    if (!json_is_object(from) || !json_is_object(to) || depth == DEPTH_MAX) {
        add(changes, key, "from", from, "to", to);
        return;
    }
    json_object_foreach(from, name, v)
    {
        snprintf(longer, sizeof longer, "%s%s%s", key, *key ? "." : "", name);
        diff_values(changes, longer, v, json_object_get(to, name), depth + 1);
    }
    json_object_foreach(to, name, v)
    {
        snprintf(longer, sizeof longer, "%s%s%s", key, *key ? "." : "", name);
        if (!json_object_get(from, name))
            diff_values(changes, longer, NULL, v, depth + 1);
    }
}

json_t *diff_documents(const json_t *from, const json_t *to)
{
    json_t *changes = json_array();

    if (changes)
        diff_values(changes, "", (json_t *)from, (json_t *)to, 0);
    return changes;
}

static void print_value(char sign, const char *key, const json_t *value)
{
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

    printf("%c ", sign);
    out_safe(stdout, str_of(key));
    fputs(": ", stdout);
    out_safe(stdout, str_of(text));
    putchar('\n');
    free(text);
}

static void print_each(char sign, const char *key, const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v) print_value(sign, key, v);
}

void diff_print(const json_t *changes)
{
    const json_t *c, *v;
    size_t i;

    json_array_foreach(changes, i, c)
    {
        const char *key = json_string_value(json_object_get(c, "key"));

        print_each('-', key, json_object_get(c, "removed"));
        print_each('+', key, json_object_get(c, "added"));
        if ((v = json_object_get(c, "from")))
            print_value('-', key, v);
        if ((v = json_object_get(c, "to")))
            print_value('+', key, v);
    }
    if (json_array_size(changes) == 0)
        puts("no difference");
}
