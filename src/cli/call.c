/*
 * cli/call: the API from the command line's side.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"
#include "net/addr.h"

enum { CALL_TIMEOUT_MS = 310000 };

/* Who has logged in from elsewhere is warned of locking that address out. The gateway believes it
 * for nothing else. */
static const char *logged_in_from(char room[NET_ADDR_SIZE])
{
    struct str text = str_of(getenv("SSH_CLIENT"));
    ptrdiff_t space = text.n ? str_find(text, ' ', 0) : -1;
    struct net_addr address;

    if (space < 0 || !net_addr_parse(str_head(text, (size_t)space), &address))
        return NULL;
    net_addr_format(&address, room);
    return room;
}

void cli_add_query(const struct cli *c, struct buf *target, const char *option, const char *name)
{
    const char *value = cli_option(c, option);

    if (!value)
        return;
    buf_addf(target, "&%s=", name);
    http_target_add(target, str_of(value));
}

enum pt_err cli_call(struct cli *c, const struct http_call *call, struct http_reply *out,
                     struct pt_fault *fault)
{
    struct http_call mine = *call;
    char client[NET_ADDR_SIZE];

    mine.client = logged_in_from(client);
    if (!c->client) {
        int n = snprintf(c->socket, sizeof c->socket, "%s/api.sock", c->state);

        if (n < 0 || (size_t)n >= sizeof c->socket)
            return pt_fault_set(fault, PT_ERR_TOOBIG, "the name of the state folder is too long");
        c->client = http_client_new(c->socket, CALL_TIMEOUT_MS);
        if (!c->client)
            return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    }
    return http_client_call(c->client, &mine, out, fault);
}

/* "POINTER: DETAIL" for each of the errors. */
static void print_errors(const json_t *errors)
{
    const json_t *e;
    size_t i;

    json_array_foreach(errors, i, e)
    {
        const char *pointer = json_string_value(json_object_get(e, "pointer"));
        const char *detail = json_string_value(json_object_get(e, "detail"));

        fputs("  ", stderr);
        out_safe(stderr, str_of(pointer && *pointer ? pointer : "document"));
        fputs(": ", stderr);
        out_safe(stderr, str_of(detail ? detail : ""));
        fputc('\n', stderr);
    }
}

int cli_problem(const struct http_reply *reply)
{
    json_t *problem = http_reply_json(reply);
    const char *detail = json_string_value(json_object_get(problem, "detail"));
    const char *title = json_string_value(json_object_get(problem, "title"));
    const json_t *errors = json_object_get(problem, "errors");
    const json_t *only = json_array_size(errors) == 1 ? json_array_get(errors, 0) : NULL;
    const char *pointer = json_string_value(json_object_get(only, "pointer"));
    const char *why = json_string_value(json_object_get(only, "detail"));

    fputs("postern: ", stderr);
    if (pointer && why) {
        /* One thing is wrong: one line says it all. */
        out_safe(stderr, str_of(*pointer ? pointer : "document"));
        fputs(": ", stderr);
        out_safe(stderr, str_of(why));
        fputc('\n', stderr);
    } else if (detail || title) {
        out_safe(stderr, str_of(detail ? detail : title));
        fputc('\n', stderr);
        print_errors(errors);
    } else {
        fprintf(stderr, "the gateway answered %u\n", reply->status);
    }
    json_decref(problem);
    return CLI_FAILED;
}

json_t *cli_expect(struct cli *c, const struct http_call *call)
{
    struct http_reply reply;
    struct pt_fault fault;
    json_t *body = NULL;

    if (cli_call(c, call, &reply, &fault) != PT_ERR_OK) {
        cli_fail("%s", fault.text);
        return NULL;
    }
    if (reply.status < 200 || reply.status > 299) {
        cli_problem(&reply);
    } else {
        body = reply.body.n ? http_reply_json(&reply) : json_null();
        if (!body)
            cli_fail("the gateway's answer is not JSON");
    }
    http_reply_done(&reply);
    return body;
}

json_t *cli_get(struct cli *c, const char *target)
{
    return cli_expect(c, &(struct http_call){ .method = "GET", .target = target });
}

json_t *cli_get_or_down(struct cli *c, const char *target, bool *out_down)
{
    struct http_call call = { .method = "GET", .target = target };
    struct http_reply reply;
    struct pt_fault fault;
    json_t *body = NULL;
    enum pt_err err = cli_call(c, &call, &reply, &fault);

    *out_down = err == PT_ERR_CLOSED;
    if (err) {
        if (!*out_down)
            cli_fail("%s", fault.text);
        return NULL;
    }
    if (reply.status == 200)
        body = http_reply_json(&reply);
    if (reply.status != 200)
        cli_problem(&reply);
    else if (!body)
        cli_fail("the gateway's answer is not JSON");
    http_reply_done(&reply);
    return body;
}

json_t *cli_post(struct cli *c, const char *target, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_t *answer;

    json_decref(body);
    if (!text) {
        cli_fail("the arguments are no UTF-8");
        return NULL;
    }
    answer = cli_expect(c, &(struct http_call){ .method = "POST",
                                                .target = target,
                                                .type = "application/json",
                                                .body = str_of(text) });
    free(text);
    return answer;
}
