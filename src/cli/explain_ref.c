/*
 * cli/explain_ref: what the reference in a refusal stands for.
 */
#include "cli/command.h"
#include "cli/output.h"

int cli_explain_ref(struct cli *c, const char *ref)
{
    json_t *body = json_pack("{s:s}", "ref", ref), *answer;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    answer = cli_expect(c, &(struct http_call){ .method = "POST",
                                                .target = "/api/v1/explain",
                                                .type = "application/json",
                                                .body = str_of(text ? text : "{}") });
    free(text);
    json_decref(body);
    if (!answer)
        return CLI_FAILED;
    out_json(answer, true);
    json_decref(answer);
    return CLI_OK;
}
