/*
 * cli/events: what happens, line by line, until it is interrupted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"

enum { LINE_MAX_OCTETS = 256 * 1024, TYPE_SIZE = 32, ID_SIZE = 64 };

/* One event of the stream in the making (server-sent events, as in the HTML standard). */
struct listening {
    bool json;
    struct buf line;
    char type[TYPE_SIZE], id[ID_SIZE];
    json_t *data;
};

static void print_members(const json_t *data)
{
    const json_t *value;
    const char *key;

    json_object_foreach((json_t *)data, key, value)
    {
        if (strcmp(key, "time") == 0 || strcmp(key, "level") == 0)
            continue;
        putchar(' ');
        if (strcmp(key, "event") == 0) {
            out_safe(stdout, str_of(json_string_value(value)));
            continue;
        }
        out_safe(stdout, str_of(key));
        putchar('=');
        out_json_bare(value);
    }
}

static void print_event(struct listening *l)
{
    const char *at = json_string_value(json_object_get(l->data, "time"));
    char time[32] = "";

    if (l->json) {
        json_t *v = json_pack("{s:s, s:O}", "type", l->type, "data", l->data);

        if (v && l->id[0])
            json_object_set_new(v, "id", json_string(l->id));
        out_json(v, false);
        json_decref(v);
    } else {
        if (at)
            out_time(at, time);
        printf("%-11s", l->type);
        if (json_is_object(l->data))
            print_members(l->data);
        else
            fputs(" none", stdout);
        printf("%s%s\n", *time ? "  " : "", time);
    }
    fflush(stdout);
}

static void end_event(struct listening *l)
{
    if (l->data && l->type[0])
        print_event(l);
    json_decref(l->data);
    l->data = NULL;
    l->type[0] = l->id[0] = 0;
}

static void keep(char *out, size_t size, struct str value)
{
    snprintf(out, size, "%.*s", (int)PT_MIN(value.n, size - 1), value.p);
}

static void take_line(struct listening *l, struct str line)
{
    struct str data = STR("data: "), type = STR("event: "), id = STR("id: ");

    if (line.n == 0)
        end_event(l);
    else if (str_starts_nocase(line, type))
        keep(l->type, sizeof l->type, str_from(line, type.n));
    else if (str_starts_nocase(line, id))
        keep(l->id, sizeof l->id, str_from(line, id.n));
    else if (str_starts_nocase(line, data) && !l->data)
        l->data = json_loadb(line.p + data.n, line.n - data.n, JSON_DECODE_ANY, NULL);
}

static bool take(void *ctx, struct str octets)
{
    struct listening *l = ctx;

    for (size_t at = 0; at < octets.n && !l->line.failed;) {
        ptrdiff_t end = str_find(octets, '\n', at);
        size_t to = end < 0 ? octets.n : (size_t)end;

        buf_add(&l->line, octets.p + at, to - at);
        at = to + 1;
        if (end < 0)
            break;
        take_line(l, buf_str(&l->line));
        buf_clear(&l->line);
    }
    return !l->line.failed && !ferror(stdout);
}

int cli_events(struct cli *c)
{
    struct listening l = { .json = c->json };
    struct http_reply reply;
    struct pt_fault fault = { 0 };
    struct buf target;
    struct http_call call = {
        .method = "GET", .accept = "text/event-stream", .sink = take, .sink_ctx = &l
    };
    enum pt_err err = PT_ERR_NOMEM;
    int status;

    buf_init(&l.line, LINE_MAX_OCTETS);
    buf_init(&target, 4096);
    BUF_LIT(&target, "/api/v1/events?");
    cli_add_query(c, &target, "--types", "types");
    call.target = buf_cstr(&target);
    if (call.target && !target.failed)
        err = cli_call(c, &call, &reply, &fault);
    if (err)
        status = cli_fail("%s", fault.text[0] ? fault.text : pt_err_text(err));
    else if (reply.status != 200)
        status = cli_problem(&reply);
    else
        status = cli_fail("the gateway has ended the stream of events");
    if (!err)
        http_reply_done(&reply);
    json_decref(l.data);
    buf_done(&l.line);
    buf_done(&target);
    return status;
}
