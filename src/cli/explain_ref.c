/*
 * cli/explain_ref: what the reference at the end of a refusal leads to.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/output.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int64_t number_of(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

/* Nothing where there is no value. */
static void line(const char *name, const char *value)
{
    if (!*value)
        return;
    printf("%-10s  ", name);
    out_safe(stdout, str_of(value));
    putchar('\n');
}

/* "[REF]", "[ref REF]" and "REF" are the same to who copies it out of a bounce. */
static struct str bare_reference(const char *text)
{
    struct str ref = str_trim(str_of(text));

    if (ref.n && ref.p[0] == '[')
        ref = str_from(ref, 1);
    if (ref.n && ref.p[ref.n - 1] == ']')
        ref.n--;
    if (str_starts_nocase(ref, STR("ref ")))
        ref = str_trim(str_from(ref, 4));
    return ref;
}

static void print_entry(const json_t *r)
{
    const json_t *added = json_object_get(r, "added");
    char time[32];

    if (!*text_of(r, "entry"))
        return;
    printf("%-10s  ", "entry");
    out_safe(stdout, str_of(text_of(r, "entry")));
    printf(" of %s\n", text_of(r, "list"));
    line("comment", text_of(r, "comment"));
    if (!json_is_object(added))
        return;
    out_time(text_of(added, "time"), time);
    printf("%-10s  %s by ", "added", time);
    out_safe(stdout, str_of(text_of(added, "author")));
    printf(", revision %" PRId64 "\n", number_of(added, "revision"));
}

static void print_envelope(const json_t *r)
{
    const char *from = text_of(r, "from");

    line("command", text_of(r, "command"));
    if (json_is_string(json_object_get(r, "from")))
        line("from", *from ? from : "<>");
    line("to", text_of(r, "to"));
}

static void print_refusal(const json_t *r)
{
    char time[32];

    out_time(text_of(r, "time"), time);
    line("reference", text_of(r, "ref"));
    line("time", time);
    printf("%-10s  %s port %" PRId64 "%s\n", "client", text_of(r, "client"), number_of(r, "port"),
           json_is_true(json_object_get(r, "tls")) ? ", encrypted" : "");
    line("HELO", text_of(r, "helo"));
    print_envelope(r);
    line("rule", text_of(r, "rule"));
    print_entry(r);
    if (json_is_integer(json_object_get(r, "revision")))
        printf("%-10s  %" PRId64 "\n", "revision", number_of(r, "revision"));
    printf("%-10s  %" PRId64 " ", "reply", number_of(r, "code"));
    out_safe(stdout, str_of(text_of(r, "reply")));
    putchar('\n');
}

int cli_explain_ref(struct cli *c, const char *text)
{
    json_t *ask = json_object(), *found;
    struct str ref = bare_reference(text);
    char *body;

    json_object_set_new(ask, "ref", json_stringn(ref.p, ref.n));
    body = json_dumps(ask, JSON_COMPACT);
    json_decref(ask);
    if (!body)
        return cli_fail("out of memory");
    found = cli_expect(c, &(struct http_call){ .method = "POST",
                                               .target = "/api/v1/explain",
                                               .type = "application/json",
                                               .body = str_of(body) });
    free(body);
    if (!found)
        return CLI_FAILED;
    if (c->json)
        out_json(found, true);
    else
        print_refusal(found);
    json_decref(found);
    return CLI_OK;
}
