/*
 * cli/explain: the chain of decisions about a client, for a person.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"

/* ---- the question ---- */

json_t *cli_read_draft(const char *file)
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    json_error_t error;
    json_t *draft;

    if (!in) {
        cli_fail("cannot read %s: %s", file, strerrordesc_np(errno));
        return NULL;
    }
    draft = json_loadf(in, JSON_REJECT_DUPLICATES, &error);
    if (in != stdin)
        fclose(in);
    if (!draft)
        cli_fail("%s is not JSON: line %d, column %d", file, error.line, error.column);
    else if (!json_is_object(draft))
        cli_fail("%s is no settings document: it must be a JSON object", file);
    if (!json_is_object(draft)) {
        json_decref(draft);
        return NULL;
    }
    return draft;
}

/* NULL: said. */
static json_t *question(struct cli *c)
{
    static const struct {
        const char *option, *key;
    } texts[] = { { "--helo", "helo" }, { "--from", "from" }, { "--to", "to" } };
    json_t *body =
        json_pack("{s:s, s:b}", "address", c->args[0], "tls", cli_option(c, "--tls") != NULL);
    const char *file = cli_option(c, "--draft");
    json_t *draft = file ? cli_read_draft(file) : NULL;
    uint64_t size = 0;

    if ((file && !draft) || !cli_option_u64(c, "--size", 0, &size)) {
        json_decref(draft);
        json_decref(body);
        return NULL;
    }
    if (size)
        json_object_set_new(body, "size",
                            json_integer((json_int_t)PT_MIN(size, (uint64_t)INT64_MAX)));
    if (draft)
        json_object_set_new(body, "draft", draft);
    for (size_t i = 0; i < PT_ARRAY_LEN(texts); i++) {
        const char *value = cli_option(c, texts[i].option);

        if (value && json_object_set_new(body, texts[i].key, json_string(value)) != 0) {
            cli_usage(c->command, "%s must be UTF-8", texts[i].option);
            json_decref(body);
            return NULL;
        }
    }
    return body;
}

/* ---- the answer ---- */

static void print_client(const json_t *v)
{
    const char *helo = cli_text(v, "helo");

    printf("client    ");
    out_safe(stdout, str_of(cli_text(v, "address")));
    printf(", %s", json_is_true(json_object_get(v, "tls")) ? "with TLS" : "in clear");
    if (*helo) {
        printf(", HELO ");
        out_safe(stdout, str_of(helo));
    }
    printf("\nfrom      <");
    out_safe(stdout, str_of(cli_text(v, "from")));
    printf(">\n");
    if (*cli_text(v, "to")) {
        printf("to        <");
        out_safe(stdout, str_of(cli_text(v, "to")));
        printf(">\n");
    }
    if (json_is_true(json_object_get(v, "draft")))
        printf("settings  the draft\n");
    else
        printf("settings  revision %" JSON_INTEGER_FORMAT "\n",
               json_integer_value(json_object_get(v, "revision")));
}

/* What a step says at its side: a refusal that counts stands out, one that comes too late does
 * not. */
static const char *outcome_of(const json_t *step)
{
    const char *outcome = cli_text(step, "outcome");
    bool decisive = json_is_true(json_object_get(step, "decisive"));

    if (strcmp(outcome, "refused") == 0)
        return decisive ? "REFUSED" : "(refused)";
    if (strcmp(outcome, "accepted") == 0)
        return decisive ? "ACCEPTED" : "(accepted)";
    return outcome;
}

static int rule_width(const json_t *steps)
{
    size_t width = 0, i;
    const json_t *step;

    json_array_foreach((json_t *)steps, i, step)
    {
        size_t n = strlen(cli_text(step, "rule"));

        width = PT_MAX(width, n);
    }
    return (int)PT_MIN(width, (size_t)60);
}

static void print_steps(const json_t *steps)
{
    int width = rule_width(steps);
    const char *at = "";
    json_int_t number = 0;
    const json_t *step;
    size_t i;

    json_array_foreach((json_t *)steps, i, step)
    {
        json_int_t n = json_integer_value(json_object_get(step, "step"));
        bool new_stage = strcmp(at, cli_text(step, "at")) != 0;

        if (new_stage)
            printf("\nat %s%s\n", strcmp(cli_text(step, "at"), "connection") == 0 ? "the " : "",
                   cli_text(step, "at"));
        at = cli_text(step, "at");
        if (n != number || new_stage)
            printf("  %" JSON_INTEGER_FORMAT " ", n);
        else
            printf("    ");
        number = n;
        printf("%-*s  %-10s  ", width, cli_text(step, "rule"), outcome_of(step));
        out_safe(stdout, str_of(cli_text(step, "text")));
        putchar('\n');
    }
}

static void print_reply(const json_t *v)
{
    const json_t *reply = json_object_get(v, "reply");

    printf("\nreply     %" JSON_INTEGER_FORMAT " %s ",
           json_integer_value(json_object_get(reply, "code")), cli_text(reply, "status"));
    out_safe(stdout, str_of(cli_text(reply, "text")));
    printf("\n");
    if (strcmp(cli_text(v, "decision"), "disconnect") == 0)
        puts("          and the connection is closed");
}

static int explain(struct cli *c)
{
    json_t *body = question(c), *answer;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(body);
    if (!text)
        return CLI_FAILED;
    answer = cli_expect(c, &(struct http_call){ .method = "POST",
                                                .target = "/api/v1/explain",
                                                .type = "application/json",
                                                .body = str_of(text) });
    free(text);
    if (!answer)
        return CLI_FAILED;
    if (c->json) {
        out_json(answer, true);
    } else {
        print_client(answer);
        print_steps(json_object_get(answer, "steps"));
        print_reply(answer);
    }
    json_decref(answer);
    return CLI_OK;
}

int cli_explain(struct cli *c)
{
    if (c->arg_count == 2 && strcmp(c->args[0], "ref") == 0)
        return cli_explain_ref(c, c->args[1]);
    if (c->arg_count == 2)
        return cli_usage(c->command, "one ADDRESS, or ref and a reference");
    return explain(c);
}
