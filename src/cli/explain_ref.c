/*
 * cli/explain_ref: what the reference at the end of a refusal leads to.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/output.h"

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

    if (!*cli_text(r, "entry"))
        return;
    printf("%-10s  ", "entry");
    out_safe(stdout, str_of(cli_text(r, "entry")));
    printf(" of %s\n", cli_text(r, "list"));
    line("comment", cli_text(r, "comment"));
    if (!json_is_object(added))
        return;
    out_time(cli_text(added, "time"), time);
    printf("%-10s  %s by ", "added", time);
    out_safe(stdout, str_of(cli_text(added, "author")));
    printf(", revision %" PRId64 "\n", cli_number(added, "revision"));
}

static void print_envelope(const json_t *r)
{
    const char *from = cli_text(r, "from");

    line("command", cli_text(r, "command"));
    if (json_is_string(json_object_get(r, "from")))
        line("from", *from ? from : "<>");
    line("to", cli_text(r, "to"));
}

static void print_refusal(const json_t *r)
{
    char time[32];

    out_time(cli_text(r, "time"), time);
    line("reference", cli_text(r, "ref"));
    line("time", time);
    printf("%-10s  %s port %" PRId64 "%s\n", "client", cli_text(r, "client"), cli_number(r, "port"),
           json_is_true(json_object_get(r, "tls")) ? ", encrypted" : "");
    line("HELO", cli_text(r, "helo"));
    print_envelope(r);
    line("rule", cli_text(r, "rule"));
    print_entry(r);
    if (json_is_integer(json_object_get(r, "revision")))
        printf("%-10s  %" PRId64 "\n", "revision", cli_number(r, "revision"));
    printf("%-10s  %" PRId64 " ", "reply", cli_number(r, "code"));
    out_safe(stdout, str_of(cli_text(r, "reply")));
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
