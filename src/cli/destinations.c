/*
 * cli/destinations: destinations suspended, and queued mail sent to another next hop.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/msgid.h"
#include "cli/command.h"
#include "cli/output.h"

static int print_json(json_t *answer)
{
    out_json(answer, true);
    json_decref(answer);
    return CLI_OK;
}

/* "until 2030-01-31 12:00:00 (in 2 h)", or until it is resumed. */
static void print_until(const json_t *s)
{
    const char *until = cli_text(s, "until");
    char text[64], age[OUT_SIZE];
    int64_t us;

    if (!out_parse_time(until, &us)) {
        fputs("until it is resumed", stdout);
        return;
    }
    out_time(until, text);
    out_age(PT_MAX((us - clock_wall_us() + 999999) / 1000000, INT64_C(0)), age);
    printf("until %s (in %s)", text, age);
}

/* ---- suspend, resume ---- */

/* "90", "90s", "30m", "2h", "5d". */
static bool read_span(const char *text, uint64_t *out_seconds)
{
    static const uint64_t seconds[] = { 1, 60, 3600, 86400 };
    const char *units = "smhd";
    struct str s = str_of(text);
    const char *unit = s.n ? strchr(units, ascii_lower(s.p[s.n - 1])) : NULL;
    uint64_t n;

    if (unit && *unit)
        s.n--;
    else
        unit = units;
    if (!str_to_u64(s, &n) || n < 1 || n > 366 * UINT64_C(86400) / seconds[unit - units])
        return false;
    *out_seconds = n * seconds[unit - units];
    return true;
}

int cli_queue_suspend(struct cli *c)
{
    const char *span = cli_option(c, "--for"), *reason = cli_option(c, "--reason");
    json_t *body, *answer;
    uint64_t seconds = 0;

    if (span && !read_span(span, &seconds))
        return cli_usage(c->command, "--for must be a time such as 90s, 30m, 2h or 5d");
    body = json_pack("{s:s}", "destination", c->args[0]);
    if (body && reason && json_object_set_new(body, "reason", json_string(reason)) != 0) {
        json_decref(body);
        body = NULL;
    }
    if (body && span)
        json_object_set_new(body, "for_seconds", json_integer((json_int_t)seconds));
    answer = cli_post(c, "/api/v1/queue/suspend", body);
    if (!answer)
        return CLI_FAILED;
    if (c->json)
        return print_json(answer);
    out_safe(stdout, str_of(cli_text(answer, "destination")));
    fputs(" is suspended ", stdout);
    print_until(answer);
    puts("; mail for it is taken and waits");
    json_decref(answer);
    return CLI_OK;
}

int cli_queue_resume(struct cli *c)
{
    json_t *answer =
        cli_post(c, "/api/v1/queue/resume", json_pack("{s:s}", "destination", c->args[0]));

    if (!answer)
        return CLI_FAILED;
    if (c->json)
        return print_json(answer);
    out_safe(stdout, str_of(cli_text(answer, "destination")));
    puts(" goes on");
    json_decref(answer);
    return CLI_OK;
}

void cli_suspensions_print(const json_t *items)
{
    const json_t *s;
    size_t i;

    json_array_foreach((json_t *)items, i, s)
    {
        out_safe(stdout, str_of(cli_text(s, "destination")));
        fputs(" is suspended ", stdout);
        print_until(s);
        fputs(" by ", stdout);
        out_safe(stdout, str_of(cli_text(s, "by")));
        if (*cli_text(s, "reason")) {
            fputs(": ", stdout);
            out_safe(stdout, str_of(cli_text(s, "reason")));
        }
        putchar('\n');
    }
}

int cli_queue_suspensions(struct cli *c)
{
    json_t *list = cli_get(c, "/api/v1/queue/suspensions");

    if (!list)
        return CLI_FAILED;
    if (c->json)
        return print_json(list);
    if (json_array_size(json_object_get(list, "items")) == 0)
        puts("no destination is suspended");
    cli_suspensions_print(json_object_get(list, "items"));
    json_decref(list);
    return CLI_OK;
}

/* ---- redirect ---- */

/* A single argument that is no ID names a destination. */
static const char *destination_of(const struct cli *c)
{
    uint64_t id;

    if (c->arg_count == 1 && !msgid_parse(str_of(c->args[0]), &id))
        return c->args[0];
    return cli_option(c, "--destination");
}

/* NULL: wrong usage, said. */
static json_t *redirect_body(struct cli *c)
{
    const char *to = cli_option(c, "--to"), *destination = destination_of(c);
    bool by_id = c->arg_count && destination != c->args[0], all = cli_option(c, "--all") != NULL;
    bool named = c->arg_count && !by_id && cli_option(c, "--destination");
    json_t *ids = json_array(), *body = json_object();

    if (by_id + all + (destination != NULL) + named != 1) {
        cli_usage(c->command, "say which: a destination, IDs or --all");
    } else if ((to != NULL) == (cli_option(c, "--undo") != NULL)) {
        cli_usage(c->command, "either --to HOST[:PORT] or --undo");
    } else {
        for (int i = 0; by_id && i < c->arg_count; i++)
            json_array_append_new(ids, json_string(c->args[i]));
        json_object_set_new(body, to ? "to" : "undo", to ? json_string(to) : json_true());
        if (destination)
            json_object_set_new(body, "destination", json_string(destination));
        else
            json_object_set_new(body, by_id ? "ids" : "all",
                                by_id ? json_incref(ids) : json_true());
        json_decref(ids);
        return body;
    }
    json_decref(ids);
    json_decref(body);
    return NULL;
}

int cli_queue_redirect(struct cli *c)
{
    const char *to = cli_option(c, "--to");
    json_t *body = redirect_body(c), *answer;
    int64_t count;

    if (!body)
        return CLI_USAGE;
    answer = cli_post(c, "/api/v1/queue/redirect", body);
    if (!answer)
        return CLI_FAILED;
    if (c->json)
        return print_json(answer);
    count = cli_number(answer, "count");
    printf("%" PRId64 " message%s now go%s ", count, count == 1 ? "" : "s", count == 1 ? "es" : "");
    fputs(to ? "to " : "where the routes lead\n", stdout);
    if (to) {
        out_safe(stdout, str_of(to));
        putchar('\n');
    }
    json_decref(answer);
    return CLI_OK;
}
