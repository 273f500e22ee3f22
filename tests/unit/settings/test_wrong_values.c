/* Every key of the table with every kind of wrong value: refused, named by its pointer, alone. */
#include <jansson.h>
#include <stdlib.h>

#include "check.h"
#include "settings/schema.h"
#include "settings/table.h"

enum { DEPTH = 16 };

/* Where a value is: from the root inward. An element's level has no key. */
struct place {
    const struct schema_node *parents[DEPTH];
    const char *keys[DEPTH];
    unsigned depth;
};

static unsigned tried;

/* ---- strings by format ---- */

static const char *sample(const struct schema_format *f)
{
    if (f == &schema_network || f == &schema_address || f == &schema_server)
        return "192.0.2.1";
    return f == &schema_time ? "2030-01-31T18:00:00Z" : "example.com";
}

static const struct {
    const struct schema_format *format;
    const char *text;
} wrong_texts[] = {
    { &schema_hostname, "" },
    { &schema_hostname, "a b" },
    { &schema_hostname, "a_b.example" },
    { &schema_hostname, "-a.example" },
    { &schema_hostname, "a..example" },
    { &schema_hostname, ".example" },
    { &schema_hostname, "192.0.2.1" },
    { &schema_hostname, "[192.0.2.1]" },
    { &schema_hostname, "a\r\nb" },
    { &schema_hostname, "*.example.com" },
    { &schema_domain_pattern, "" },
    { &schema_domain_pattern, "*." },
    { &schema_domain_pattern, "**" },
    { &schema_domain_pattern, "*example.com" },
    { &schema_domain_pattern, "a.*.example.com" },
    { &schema_domain_pattern, "a@example.com" },
    { &schema_domain_pattern, "@example.com" },
    { &schema_domain_pattern, ".example.com" },
    { &schema_domain_pattern, "10.0.0.0" },
    { &schema_domain_pattern, "[10.0.0.1]" },
    { &schema_domain_pattern, "\xE2\x98\x83\xE2\x80\x8B.com/" },
    { &schema_network, "" },
    { &schema_network, "192.168.1.1:25" },
    { &schema_network, "10.0.0.0:255.0.255.0" },
    { &schema_network, "300.1.1.1" },
    { &schema_network, "192.168.001.1" },
    { &schema_network, "2001:db8::/129" },
    { &schema_network, "2001:db8::1:255.255.255.0" },
    { &schema_network, "fe80::1%eth0" },
    { &schema_network, "mail.example.com" },
    { &schema_network, "10.0.0.1-10.0.0.9" },
    { &schema_network, " 10.0.0.1" },
    { &schema_time, "" },
    { &schema_time, "tomorrow" },
    { &schema_time, "2030-01-31" },
    { &schema_time, "2030-02-29T00:00:00Z" },
    { &schema_time, "2030-13-01T00:00:00Z" },
    { &schema_time, "2030-01-31T24:00:00Z" },
    { &schema_time, "2030-01-31T18:00:00" },
    { &schema_time, "2030-01-31T18:00:00+1:00" },
    { &schema_time, "2030-01-31T18:00:00.Z" },
    { &schema_time, "2030-01-31T18:00:00Z " },
    { &schema_time, "1969-12-31T23:59:59Z" },
    { &schema_address, "" },
    { &schema_address, "any" },
    { &schema_address, "0.0.0.0" },
    { &schema_address, "::" },
    { &schema_address, "10.0.0.1/32" },
    { &schema_address, "fe80::1%eth0" },
    { &schema_address, "localhost" },
    { &schema_address, "[::1]" },
    { &schema_host, "" },
    { &schema_host, "mx.example.com:25" },
    { &schema_host, "10.0.0" },
    { &schema_host, "[mx.example.com]" },
    { &schema_host, "fe80::1%eth0" },
    { &schema_host, "a b" },
    { &schema_server, "" },
    { &schema_server, "dns.example.com" },
    { &schema_server, "127.0.0.1:53" },
    { &schema_server, "127.0.0.1@" },
    { &schema_server, "127.0.0.1@0" },
    { &schema_server, "127.0.0.1@65536" },
    { &schema_server, "127.0.0.1@053" },
    { &schema_anchor, "" },
    { &schema_anchor, "None" },
    { &schema_anchor, ". IN DS 20326 8 2" },
    { &schema_anchor, ". IN DS 99999 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC68345710423" },
    { &schema_anchor, ". IN DNSKEY 257 3 8 AwEAAaz" },
    { &schema_anchor, ". IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC6834571042Z" },
    { &schema_id, "" },
    { &schema_id, "../x" },
    { &schema_id, "a b" },
    { &schema_line, "a\nb" },
    { &schema_line, "\x1b[31m" },
    { &schema_greeting, "caf\xC3\xA9" },
    { &schema_greeting, "a\tb" },
    { &schema_greeting, "a\r\n220 b" },
};

/* ---- a document around a value ---- */

static json_t *right_value(const struct schema_node *n)
{
    return json_string(n->choices ? n->choices[0] : sample(n->format));
}

/* The members an object needs beside the one at hand. */
static void add_required(json_t *object, const struct schema_node *parent, const char *key)
{
    for (const struct schema_node *child = parent->children; child->key; child++)
        if (child->flags & SCHEMA_REQUIRED && strcmp(child->key, key) != 0)
            json_object_set_new(object, child->key, right_value(child));
}

static json_t *around(const struct place *p, json_t *value)
{
    for (unsigned i = p->depth; i-- > 0;) {
        json_t *outer = p->keys[i] ? json_object() : json_array();

        if (p->keys[i]) {
            json_object_set_new(outer, p->keys[i], value);
            add_required(outer, p->parents[i], p->keys[i]);
        } else {
            json_array_append_new(outer, value);
        }
        value = outer;
    }
    return value;
}

static void pointer_of(const struct place *p, char out[512])
{
    size_t n = 0;

    out[0] = 0;
    for (unsigned i = 0; i < p->depth; i++)
        n += (size_t)snprintf(out + n, 512 - n, "/%s", p->keys[i] ? p->keys[i] : "0");
}

static enum pt_err parse(const char *text, struct settings **s, struct settings_errors *e)
{
    static const struct settings_host host = {
        .hostname = "gw.example.com",
        .confirmed = SETTINGS_CONFIRM_ALL,
    };

    return settings_parse(text, strlen(text), &host, s, e);
}

static void refused(const struct place *p, json_t *value)
{
    json_t *document = around(p, value);
    char *text = json_dumps(document, JSON_COMPACT), pointer[512];
    struct settings *untouched = (struct settings *)&tried, *s = untouched;
    struct settings_errors e;

    pointer_of(p, pointer);
    settings_errors_init(&e);
    if (parse(text, &s, &e) != PT_ERR_INVALID || s != untouched)
        fail_msg("accepted: %s", text);
    if (e.error_count != 1 || strcmp(e.errors[0].pointer, pointer) != 0)
        fail_msg("%s: %u errors, the first at \"%s\": %s", text, e.error_count, e.errors[0].pointer,
                 e.errors[0].detail);
    assert_int_equal(e.line, 0);
    settings_errors_done(&e);
    free(text);
    json_decref(document);
    tried++;
}

/* ---- wrong values of each kind ---- */

static void wrong_integers(const struct place *p, const struct schema_node *n)
{
    refused(p, json_integer(n->min - 1));
    refused(p, json_integer(n->max + 1));
    refused(p, json_integer(-n->max));
    refused(p, json_integer(INT64_MAX));
    refused(p, json_integer(INT64_MIN));
    refused(p, json_real((double)n->min)); /* 1.0 is no integer */
    refused(p, json_real(1e300));
    refused(p, json_string("5"));
}

static void wrong_strings(const struct place *p, const struct schema_node *n)
{
    if (n->choices && !n->format) {
        refused(p, json_string(""));
        refused(p, json_string("no such word"));
        refused(p, json_sprintf("%s ", n->choices[0]));
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(wrong_texts); i++)
        if (wrong_texts[i].format == n->format)
            refused(p, json_string(wrong_texts[i].text));
    if (n->format) {
        char *text = malloc((size_t)n->max + 2);

        memset(text, 'a', (size_t)n->max + 1);
        text[n->max + 1] = 0;
        refused(p, json_string(text));
        free(text);
    }
}

static void wrong_types(const struct place *p, const struct schema_node *n)
{
    bool text = n->type == SCHEMA_STRING || n->shorthand || n->flags & SCHEMA_ONE_OR_LIST;

    if (n->type != SCHEMA_OBJECT)
        refused(p, json_object());
    if (n->type != SCHEMA_LIST || n->min > 0)
        refused(p, json_array());
    if (n->type != SCHEMA_BOOLEAN)
        refused(p, json_true());
    if (!(n->flags & SCHEMA_NULLABLE))
        refused(p, json_null());
    if (!text)
        refused(p, json_string("example"));
    refused(p, json_real(2.5));
    if (n->type != SCHEMA_INTEGER)
        refused(p, json_integer(1));
}

static void visit(struct place *p, const struct schema_node *n)
{
    wrong_types(p, n);
    if (n->type == SCHEMA_INTEGER)
        wrong_integers(p, n);
    if (n->type == SCHEMA_STRING)
        wrong_strings(p, n);
    assert_true(p->depth < DEPTH);
    if (n->type == SCHEMA_LIST) {
        p->keys[p->depth++] = NULL;
        visit(p, n->item);
        p->depth--;
    }
    for (const struct schema_node *child = n->children; child && child->key; child++) {
        p->parents[p->depth] = n;
        p->keys[p->depth++] = child->key;
        visit(p, child);
        p->depth--;
    }
    if (n->type == SCHEMA_OBJECT) { /* a key that is none */
        p->parents[p->depth] = n;
        p->keys[p->depth++] = "no such key";
        refused(p, json_null());
        p->depth--;
    }
}

static void every_wrong_value_is_named(void **state)
{
    struct place p = { .depth = 0 };

    (void)state;
    for (const struct schema_node *child = schema_root.children; child->key; child++) {
        p.parents[0] = &schema_root;
        p.keys[0] = child->key;
        p.depth = 1;
        visit(&p, child);
    }
    print_message("%u wrong values\n", tried);
    assert_true(tried > 500);
}

/* Each key's default, given, changes nothing; but for keys of an object that is not there by
 * default, which is made by what is given of it. */
static void every_default_may_be_given(struct place *p, const struct schema_node *n,
                                       const char *want)
{
    for (const struct schema_node *child = n->children; child && child->key; child++) {
        p->parents[p->depth] = n;
        p->keys[p->depth++] = child->key;
        if (child->type == SCHEMA_OBJECT && child->flags & SCHEMA_NULLABLE) {
            assert_null(child->fallback);
        } else if (child->type == SCHEMA_OBJECT) {
            every_default_may_be_given(p, child, want);
        } else if (child->fallback) {
            json_t *document = around(p, json_loads(child->fallback, JSON_DECODE_ANY, NULL));
            char *text = json_dumps(document, JSON_COMPACT);
            struct settings_errors e;
            struct settings *s;

            print_message("%s\n", text);
            settings_errors_init(&e);
            assert_int_equal(parse(text, &s, &e), PT_ERR_OK);
            assert_string_equal(s->document, want);
            settings_unref(s);
            settings_errors_done(&e);
            free(text);
            json_decref(document);
        }
        p->depth--;
    }
}

static void defaults_change_nothing(void **state)
{
    struct place p = { .depth = 0 };
    struct settings_errors e;
    struct settings *s;

    (void)state;
    settings_errors_init(&e);
    assert_int_equal(parse("{}", &s, &e), PT_ERR_OK);
    every_default_may_be_given(&p, &schema_root, s->document);
    settings_unref(s);
    settings_errors_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_wrong_value_is_named),
        cmocka_unit_test(defaults_change_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
