#include "settings/changes.h"

#include <jansson.h>
#include <stdlib.h>

#include "base/log.h"
#include "settings/json.h"
#include "settings/lists.h"

enum { POINTER_MAX = 1024, VALUE_MAX = 2048, ELEMENTS_MAX = 20, DEPTH_MAX = 32, LAST_MAX = 64 };

struct changes {
    struct buf *out;
    struct buf pointer;
    size_t end;                            /* `out` may grow to here */
    const struct settings *before, *after; /* NULL: there are only the documents */
    unsigned count, more;
};

/* ---- pointers ---- */

static size_t enter(struct changes *c, const char *key)
{
    size_t mark = c->pointer.n;

    buf_add_char(&c->pointer, '/');
    for (; *key; key++) {
        if (*key == '~')
            BUF_LIT(&c->pointer, "~0");
        else if (*key == '/')
            BUF_LIT(&c->pointer, "~1");
        else
            buf_add_char(&c->pointer, *key);
    }
    return mark;
}

static void leave(struct changes *c, size_t mark)
{
    c->pointer.n = mark;
    c->pointer.failed = false;
}

/* ---- writing ---- */

static int add_octets(const char *octets, size_t n, void *ctx)
{
    struct buf *out = ctx;

    buf_add(out, octets, n);
    return out->failed ? -1 : 0;
}

static void add_value(struct buf *out, const char *name, const json_t *value)
{
    struct buf text;

    if (!value)
        return;
    buf_init(&text, VALUE_MAX);
    buf_addf(out, ",\"%s\":", name);
    if (json_dump_callback(value, add_octets, &text, JSON_COMPACT | JSON_ENCODE_ANY) == 0)
        buf_add_str(out, buf_str(&text));
    else
        BUF_LIT(out, "\"(too long to be shown)\"");
    buf_done(&text);
}

/* Takes `one`, the members after "pointer", into the list if there is room. */
static void add_change(struct changes *c, struct buf *one)
{
    struct buf entry;

    buf_init(&entry, SIZE_MAX);
    BUF_LIT(&entry, "{\"pointer\":");
    log_json_string(&entry, buf_str(&c->pointer));
    buf_add_str(&entry, buf_str(one));
    BUF_LIT(&entry, "}");
    if (entry.failed || one->failed || c->out->n + entry.n + LAST_MAX > c->end) {
        c->more++;
    } else {
        if (c->count++)
            buf_add_char(c->out, ',');
        buf_add_str(c->out, buf_str(&entry));
    }
    buf_done(&entry);
    buf_done(one);
}

static void add_pair(struct changes *c, const json_t *before, const json_t *after)
{
    struct buf one;

    buf_init(&one, SIZE_MAX);
    add_value(&one, "before", before);
    add_value(&one, "after", after);
    add_change(c, &one);
}

/* ---- lists ---- */

/* `list` from `from`, n elements, without those that stand in the other part. NULL: none. */
static json_t *surplus(const json_t *list, const json_t *other, size_t from, size_t n,
                       size_t other_n)
{
    bool taken[ELEMENTS_MAX] = { false };
    json_t *out = json_array();

    for (size_t i = 0; i < n; i++) {
        const json_t *element = json_array_get(list, from + i);
        size_t k = 0;

        while (k < other_n && (taken[k] || !json_equal(json_array_get(other, from + k), element)))
            k++;
        if (k < other_n)
            taken[k] = true;
        else
            json_array_append(out, (json_t *)element);
    }
    return out;
}

static void diff_lists(struct changes *c, const json_t *before, const json_t *after)
{
    size_t n = json_array_size(before), m = json_array_size(after), head = 0, tail = 0;
    struct buf one;

    while (head < n && head < m &&
           json_equal(json_array_get(before, head), json_array_get(after, head)))
        head++;
    while (tail < n - head && tail < m - head &&
           json_equal(json_array_get(before, n - 1 - tail), json_array_get(after, m - 1 - tail)))
        tail++;
    buf_init(&one, SIZE_MAX);
    if (n - head - tail <= ELEMENTS_MAX && m - head - tail <= ELEMENTS_MAX) {
        json_t *removed = surplus(before, after, head, n - head - tail, m - head - tail);
        json_t *added = surplus(after, before, head, m - head - tail, n - head - tail);

        add_value(&one, "removed", removed);
        add_value(&one, "added", added);
        json_decref(removed);
        json_decref(added);
    }
    buf_addf(&one, ",\"before_count\":%zu,\"after_count\":%zu", n, m);
    add_change(c, &one);
}

/* ---- lists that are not in the document ---- */

static bool same_entry(const struct settings_list *a, uint32_t i, const struct settings_list *b,
                       uint32_t k)
{
    const struct settings_entry *x = &a->entries[i], *y = &b->entries[k];

    return x->masked == y->masked && x->prefix.length == y->prefix.length &&
           net_addr_eq(&x->prefix.addr, &y->prefix.addr) &&
           settings_list_expires_us(a, i) == settings_list_expires_us(b, k) &&
           str_eq(str_of(settings_list_comment(a, i)), str_of(settings_list_comment(b, k))) &&
           str_eq(str_of(settings_list_pattern(a, i)), str_of(settings_list_pattern(b, k)));
}

static json_t *entries_json(const struct settings_list *list, uint32_t from, uint32_t n)
{
    struct buf text;
    json_t *array;

    buf_init(&text, 1 << 20);
    BUF_LIT(&text, "[");
    settings_list_write_json(list, from, from + n, &text);
    if (text.n > 1 && text.p[1] == ',')
        buf_drop(&text, 1);
    if (text.n > 0)
        text.p[0] = '[';
    BUF_LIT(&text, "]");
    array = text.failed ? NULL : json_loadb(text.p, text.n, 0, NULL);
    buf_done(&text);
    return array ? array : json_array();
}

static void diff_entries(struct changes *c, const struct settings_list *a,
                         const struct settings_list *b)
{
    uint32_t n = a->count, m = b->count, head = 0, tail = 0;
    struct buf one;

    while (head < n && head < m && same_entry(a, head, b, head))
        head++;
    while (tail < n - head && tail < m - head && same_entry(a, n - 1 - tail, b, m - 1 - tail))
        tail++;
    buf_init(&one, SIZE_MAX);
    if (n - head - tail <= ELEMENTS_MAX && m - head - tail <= ELEMENTS_MAX) {
        json_t *gone = entries_json(a, head, n - head - tail);
        json_t *come = entries_json(b, head, m - head - tail);
        json_t *removed = surplus(gone, come, 0, json_array_size(gone), json_array_size(come));
        json_t *added = surplus(come, gone, 0, json_array_size(come), json_array_size(gone));

        add_value(&one, "removed", removed);
        add_value(&one, "added", added);
        json_decref(gone);
        json_decref(come);
        json_decref(removed);
        json_decref(added);
    }
    buf_addf(&one, ",\"before_count\":%u,\"after_count\":%u", n, m);
    add_change(c, &one);
}

/* True: it is one of the lists, and is done with. */
static bool diff_known_list(struct changes *c)
{
    struct str pointer = buf_str(&c->pointer);

    for (int i = 0; c->before && i < SETTINGS_LISTS; i++)
        if (str_eq(pointer, str_of(settings_list_places[i].pointer))) {
            diff_entries(c, settings_list_of(c->before, (enum settings_list_of)i),
                         settings_list_of(c->after, (enum settings_list_of)i));
            return true;
        }
    return false;
}

/* ---- values ---- */

static void diff(struct changes *c, const json_t *before, const json_t *after, int depth);

static void diff_member(struct changes *c, const char *key, const json_t *before,
                        const json_t *after, int depth)
{
    size_t mark = enter(c, key);

    diff(c, before, after, depth + 1);
    leave(c, mark);
}

static void diff(struct changes *c, const json_t *before, const json_t *after, int depth)
{
    const char *key;
    json_t *value;

    if (before && after && json_equal(before, after))
        return;
    if (diff_known_list(c))
        return;
    if (json_is_array(before) && json_is_array(after)) {
        diff_lists(c, before, after);
    } else if (json_is_object(before) && json_is_object(after) && depth < DEPTH_MAX) {
        json_object_foreach((json_t *)before, key, value)
            diff_member(c, key, value, json_object_get(after, key), depth);
        json_object_foreach((json_t *)after, key, value)
        {
            if (!json_object_get(before, key))
                diff_member(c, key, NULL, value, depth);
        }
    } else {
        add_pair(c, before, after);
    }
}

static json_t *read(struct str text)
{
    return json_loadb(text.n ? text.p : "", text.n, 0, NULL);
}

static void write_changes(struct changes c, struct str before, struct str after)
{
    struct buf *out = c.out;
    json_t *a, *b;

    if (str_eq(before, after)) {
        BUF_LIT(out, "[]");
        return;
    }
    a = read(before);
    b = read(after);
    if (a && b) {
        buf_init(&c.pointer, POINTER_MAX);
        buf_add_char(out, '[');
        diff(&c, a, b, 0);
        if (c.more)
            buf_addf(out, "%s{\"pointer\":\"\",\"more\":%u}", c.count ? "," : "", c.more);
        buf_add_char(out, ']');
        buf_done(&c.pointer);
    }
    json_decref(a);
    json_decref(b);
}

void settings_changes_write(struct str before, struct str after, size_t max, struct buf *out)
{
    write_changes((struct changes){ .out = out, .end = out->n + max }, before, after);
}

void settings_changes_between(const struct settings *before, const struct settings *after,
                              size_t max, struct buf *out)
{
    write_changes(
        (struct changes){ .out = out, .end = out->n + max, .before = before, .after = after },
        str_of(before->document), str_of(after->document));
}
