#include "settings/check.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/log.h"
#include "settings/errors.h"

/* ---- pointers (RFC 6901) ---- */

size_t settings_check_enter(struct settings_check *c, struct str key)
{
    size_t mark = c->pointer.n;

    key = str_head(key, 1000); /* no key of ours is nearly as long */
    buf_add_char(&c->pointer, '/');
    for (size_t i = 0; i < key.n; i++) {
        if (key.p[i] == '~')
            BUF_LIT(&c->pointer, "~0");
        else if (key.p[i] == '/')
            BUF_LIT(&c->pointer, "~1");
        else
            buf_add_char(&c->pointer, key.p[i]);
    }
    return mark;
}

size_t settings_check_enter_index(struct settings_check *c, size_t index)
{
    size_t mark = c->pointer.n;

    buf_add_char(&c->pointer, '/');
    buf_add_u64(&c->pointer, index);
    return mark;
}

void settings_check_leave(struct settings_check *c, size_t mark)
{
    c->pointer.n = mark;
    c->pointer.failed = false;
}

const char *settings_check_pointer(struct settings_check *c)
{
    const char *text = buf_cstr(&c->pointer);

    return text ? text : "";
}

json_t *settings_json_at(const json_t *document, ...)
{
    const json_t *at = document;
    const char *key;
    va_list keys;

    va_start(keys, document);
    while (at && (key = va_arg(keys, const char *)))
        at = json_object_get(at, key);
    va_end(keys);
    return (json_t *)at;
}

/* ---- telling what a value must be ---- */

static void expect_string(struct buf *out, const struct schema_node *n)
{
    const char *between = "";

    for (size_t i = 0; n->choices && n->choices[i]; i++) {
        bool last = !n->choices[i + 1] && !n->format;

        buf_addf(out, "%s\"%s\"", last && i > 0 ? " or " : between, n->choices[i]);
        between = ", ";
    }
    if (n->format)
        buf_addf(out, "%s%s", n->choices ? " or " : "", n->format->expect);
    else if (!n->choices)
        BUF_LIT(out, "a string");
}

static void expect(struct buf *out, const struct schema_node *n)
{
    if (n->flags & SCHEMA_NULLABLE)
        BUF_LIT(out, "null or ");
    switch (n->type) {
    case SCHEMA_OBJECT:
        buf_addf(out, "%san object", n->shorthand ? "a string or " : "");
        return;
    case SCHEMA_INTEGER:
        buf_addf(out, "a whole number from %lld to %lld", (long long)n->min, (long long)n->max);
        return;
    case SCHEMA_BOOLEAN:
        BUF_LIT(out, "true or false");
        return;
    case SCHEMA_STRING:
        expect_string(out, n);
        return;
    case SCHEMA_LIST:
        buf_addf(out, "%slist", n->flags & SCHEMA_ONE_OR_LIST ? "a string or a " : "a ");
        return;
    }
}

/* The value as JSON, shortened to what a person can take in. */
static void describe(struct buf *out, const json_t *value)
{
    char number[40];

    switch (json_typeof(value)) {
    case JSON_OBJECT:
        BUF_LIT(out, "an object");
        return;
    case JSON_ARRAY:
        BUF_LIT(out, "a list");
        return;
    case JSON_STRING:
        log_json_string(out, str_head(settings_json_str(value), 60));
        if (json_string_length(value) > 60)
            BUF_LIT(out, " (and so on)");
        return;
    case JSON_INTEGER:
        buf_addf(out, "%lld", (long long)json_integer_value(value));
        return;
    case JSON_REAL:
        snprintf(number, sizeof number, "%.17g", json_real_value(value));
        buf_addf(out, "%s%s", number, strpbrk(number, ".e") ? "" : ".0");
        return;
    case JSON_TRUE:
    case JSON_FALSE:
        buf_addf(out, "%s", json_is_true(value) ? "true" : "false");
        return;
    case JSON_NULL:
        BUF_LIT(out, "null");
        return;
    }
}

/* "must be …, not …", then the reason where there is one. */
static json_t *refuse(struct settings_check *c, const struct schema_node *n, const json_t *value,
                      const char *note)
{
    struct buf text;

    buf_init(&text, 4096);
    BUF_LIT(&text, "must be ");
    expect(&text, n);
    if (!(n->flags & SCHEMA_SECRET)) {
        BUF_LIT(&text, ", not ");
        describe(&text, value);
    }
    if (note)
        buf_addf(&text, ": %s", note);
    settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c), "%s",
                        buf_cstr(&text) ? text.p : "is wrong");
    buf_done(&text);
    return NULL;
}

static json_t *refuse_size(struct settings_check *c, const char *what, int64_t min, int64_t max,
                           uint64_t size)
{
    settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c),
                        "must have %lld to %lld %s, not %llu", (long long)min, (long long)max, what,
                        (unsigned long long)size);
    return NULL;
}

/* ---- values ---- */

static json_t *check_node(struct settings_check *c, const struct schema_node *n, json_t *value);

static json_t *check_integer(struct settings_check *c, const struct schema_node *n, json_t *value)
{
    json_int_t number = json_integer_value(value);

    if (!json_is_integer(value) || number < n->min || number > n->max)
        return refuse(c, n, value, NULL);
    return json_incref(value);
}

static bool is_choice(const struct schema_node *n, const json_t *value)
{
    for (size_t i = 0; n->choices && n->choices[i]; i++)
        if (str_eq(settings_json_str(value), str_of(n->choices[i])))
            return true;
    return false;
}

static json_t *check_string(struct settings_check *c, const struct schema_node *n, json_t *value)
{
    char replacement[SCHEMA_TEXT_SIZE];
    const char *note = NULL;
    json_t *result;

    if (!json_is_string(value))
        return refuse(c, n, value, NULL);
    if (is_choice(n, value))
        return json_incref(value);
    if (n->choices && !n->format)
        return refuse(c, n, value, NULL);
    if ((int64_t)json_string_length(value) > n->max)
        return refuse_size(c, "octets", n->min, n->max, json_string_length(value));
    switch (n->format->check(settings_json_str(value), replacement, &note)) {
    case SCHEMA_BAD:
        return refuse(c, n, value, note);
    case SCHEMA_GOOD:
        return json_incref(value);
    case SCHEMA_REPLACE:
        break;
    }
    if (note)
        settings_errors_add(c->errors, SETTINGS_WARNING, settings_check_pointer(c), "%s: %s", note,
                            replacement);
    result = json_string(replacement);
    c->no_memory |= !result;
    return result;
}

/* Adds what `value` becomes to a list; null when it is wrong, so that indices stay true. */
static void check_element(struct settings_check *c, const struct schema_node *n, size_t index,
                          json_t *value, json_t *list)
{
    size_t mark = settings_check_enter_index(c, index);
    json_t *element = check_node(c, n->item, value);

    if (json_array_append_new(list, element ? element : json_null()) != 0)
        c->no_memory = true;
    settings_check_leave(c, mark);
}

static json_t *check_list(struct settings_check *c, const struct schema_node *n, json_t *value)
{
    size_t size = json_array_size(value), i;
    json_t *element, *list;

    if (n->flags & SCHEMA_ONE_OR_LIST && json_is_string(value))
        return check_node(c, n->item, value);
    if (!json_is_array(value))
        return refuse(c, n, value, NULL);
    if ((int64_t)size < n->min || (int64_t)size > n->max)
        return refuse_size(c, "elements", n->min, n->max, size);
    list = json_array();
    if (!list)
        c->no_memory = true;
    json_array_foreach(value, i, element) if (list) check_element(c, n, i, element, list);
    return list;
}

/* ---- objects ---- */

static const struct schema_node *find_child(const struct schema_node *n, const char *key)
{
    for (const struct schema_node *child = n->children; child->key; child++)
        if (strcmp(child->key, key) == 0)
            return child;
    return NULL;
}

/* True if the two differ by at most one letter added, left out or changed, or two swapped. */
static bool nearly_same(const char *a, const char *b)
{
    size_t same = 0, end = 0, na = strlen(a), nb = strlen(b);

    while (same < na && same < nb && a[same] == b[same])
        same++;
    while (end < na - same && end < nb - same && a[na - 1 - end] == b[nb - 1 - end])
        end++;
    na -= same + end;
    nb -= same + end;
    if (na == 2 && nb == 2)
        return a[same] == b[same + 1] && a[same + 1] == b[same];
    return na <= 1 && nb <= 1;
}

static void refuse_unknown(struct settings_check *c, const struct schema_node *n, const char *key)
{
    const struct schema_node *meant = NULL;

    for (const struct schema_node *child = n->children; child->key; child++)
        if (nearly_same(child->key, key))
            meant = child;
    if (meant)
        settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c),
                            "unknown key; did you mean \"%s\"?", meant->key);
    else
        settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c), "unknown key");
}

/* What stands where the key was not given: a new reference, or NULL for nothing. */
static json_t *default_of(struct settings_check *c, const struct schema_node *n)
{
    json_t *value = NULL;

    if (n->flags & SCHEMA_REQUIRED) {
        settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c), "is missing");
        return NULL;
    }
    if (n->type == SCHEMA_OBJECT && n->flags & SCHEMA_NULLABLE)
        return NULL;
    if (n->type == SCHEMA_OBJECT) {
        json_t *empty = json_object();

        if (empty)
            value = check_node(c, n, empty);
        json_decref(empty);
        return value;
    }
    if (n->flags & SCHEMA_HOST_NAME) {
        c->hostname_from_host = true;
        value = json_string(c->hostname);
    } else if (n->fallback) {
        value = json_loads(n->fallback, JSON_DECODE_ANY, NULL);
    } else {
        return NULL;
    }
    c->no_memory |= !value;
    return value;
}

static void check_member(struct settings_check *c, const struct schema_node *child,
                         const json_t *given, json_t *object)
{
    size_t mark = settings_check_enter(c, str_of(child->key));
    json_t *value = json_object_get(given, child->key), *result = NULL;
    const json_t *other = child->unless ? json_object_get(given, child->unless) : NULL;

    if (value || !other || json_is_null(other))
        result = value ? check_node(c, child, value) : default_of(c, child);
    if (json_is_null(result) && !child->fallback)
        json_decref(result); /* null for a key without a default: as if not given */
    else if (result && json_object_set_new_nocheck(object, child->key, result) != 0)
        c->no_memory = true;
    settings_check_leave(c, mark);
}

/* A string in place of an object, see schema_node.shorthand. */
static json_t *check_short(struct settings_check *c, const struct schema_node *n, json_t *value)
{
    return check_string(c, find_child(n, n->shorthand), value);
}

/* An object that says no more than its short form becomes that. */
static json_t *shorten(const struct schema_node *n, json_t *object)
{
    json_t *only = n->shorthand ? json_object_get(object, n->shorthand) : NULL;

    if (!only || json_object_size(object) != 1)
        return object;
    json_incref(only);
    json_decref(object);
    return only;
}

static json_t *check_object(struct settings_check *c, const struct schema_node *n, json_t *value)
{
    const char *key;
    json_t *ignored, *object;

    if (n->shorthand && json_is_string(value))
        return check_short(c, n, value);
    if (!json_is_object(value))
        return refuse(c, n, value, NULL);
    object = json_object();
    if (!object) {
        c->no_memory = true;
        return NULL;
    }
    for (const struct schema_node *child = n->children; child->key; child++)
        check_member(c, child, value, object);
    json_object_foreach(value, key, ignored)
    {
        size_t mark;

        if (find_child(n, key))
            continue;
        mark = settings_check_enter(c, str_of(key));
        refuse_unknown(c, n, key);
        settings_check_leave(c, mark);
    }
    return shorten(n, object);
}

static json_t *check_node(struct settings_check *c, const struct schema_node *n, json_t *value)
{
    if (json_is_null(value) && n->flags & SCHEMA_NULLABLE)
        return json_incref(value);
    switch (n->type) {
    case SCHEMA_OBJECT:
        return check_object(c, n, value);
    case SCHEMA_INTEGER:
        return check_integer(c, n, value);
    case SCHEMA_BOOLEAN:
        return json_is_boolean(value) ? json_incref(value) : refuse(c, n, value, NULL);
    case SCHEMA_STRING:
        return check_string(c, n, value);
    case SCHEMA_LIST:
        return check_list(c, n, value);
    }
    return NULL;
}

json_t *settings_check_entries(struct settings_check *c, json_t *array)
{
    return check_node(c, &schema_entries, array);
}

json_t *settings_check_table(struct settings_check *c, json_t *document)
{
    return check_node(c, &schema_root, document);
}
