/*
 * cli/audit: who did what.
 */
#include <inttypes.h>

#include "cli/command.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "settings/audit.h"
#include "settings/settings.h"

enum { PAGE_MAX = 500 };

static struct str text_of(const json_t *object, const char *key)
{
    return str_of(json_string_value(json_object_get(object, key)));
}

/* ---- for a person ---- */

static void print_value(char sign, struct str pointer, const json_t *value)
{
    if (!value)
        return;
    printf("    %c ", sign);
    out_safe(stdout, pointer);
    fputs(": ", stdout);
    out_json_bare(value);
    putchar('\n');
}

static void print_each(char sign, struct str pointer, const json_t *list)
{
    const json_t *v;
    size_t i;

    json_array_foreach(list, i, v) print_value(sign, pointer, v);
}

static void print_change(const json_t *c)
{
    struct str pointer = text_of(c, "pointer");
    const json_t *more = json_object_get(c, "more"), *count = json_object_get(c, "before_count");

    print_value('-', pointer, json_object_get(c, "before"));
    print_value('+', pointer, json_object_get(c, "after"));
    print_each('-', pointer, json_object_get(c, "removed"));
    print_each('+', pointer, json_object_get(c, "added"));
    if (more)
        printf("    and %" PRId64 " more changes\n", (int64_t)json_integer_value(more));
    if (count && !json_object_get(c, "removed")) {
        fputs("    ~ ", stdout);
        out_safe(stdout, pointer);
        printf(": %" PRId64 " entries became %" PRId64 "\n", (int64_t)json_integer_value(count),
               (int64_t)json_integer_value(json_object_get(c, "after_count")));
    }
}

static void print_row(const json_t *r)
{
    const json_t *changes = json_object_get(r, "changes"), *c;
    const json_t *revision = json_object_get(r, "revision");
    struct str target = text_of(r, "target"), detail = text_of(r, "detail");
    char time[32];
    size_t i;

    out_time(json_string_value(json_object_get(r, "time")), time);
    printf("%s  ", time);
    out_safe(stdout, text_of(r, "actor"));
    fputs(" (", stdout);
    out_safe(stdout, text_of(r, "origin"));
    fputs(")  ", stdout);
    out_safe(stdout, text_of(r, "action"));
    if (target.n) {
        putchar(' ');
        out_safe(stdout, target);
    }
    fputs(": ", stdout);
    out_safe(stdout, text_of(r, "outcome"));
    if (json_is_integer(revision))
        printf(", revision %" PRId64, (int64_t)json_integer_value(revision));
    putchar('\n');
    if (detail.n) {
        fputs("    ", stdout);
        out_safe(stdout, detail);
        putchar('\n');
    }
    json_array_foreach(changes, i, c) print_change(c);
}

/* ---- asking ---- */

/* From the store itself; the times were not looked at by the gateway. NULL: said. */
static json_t *ask_store(struct cli *c, uint64_t limit)
{
    struct settings_audit_filter f = { .actor = str_of(cli_option(c, "--actor")),
                                       .action = str_of(cli_option(c, "--action")),
                                       .limit = (uint32_t)limit };
    const char *since = cli_option(c, "--since"), *until = cli_option(c, "--until");

    if ((since && !settings_time_parse(str_of(since), &f.since_us)) ||
        (until && !settings_time_parse(str_of(until), &f.until_us))) {
        cli_fail("%s is no time as in RFC 3339, such as 2026-11-24T08:00:00Z",
                 since && !f.since_us ? since : until);
        return NULL;
    }
    return offline_audit(c, &f);
}

static json_t *ask(struct cli *c, uint64_t limit)
{
    struct buf target;
    bool down = false;
    json_t *list;

    buf_init(&target, 16384);
    buf_addf(&target, "/api/v1/audit?limit=%" PRIu64, limit);
    cli_add_query(c, &target, "--since", "since");
    cli_add_query(c, &target, "--until", "until");
    cli_add_query(c, &target, "--actor", "actor");
    cli_add_query(c, &target, "--action", "action");
    list = cli_get_or_down(c, buf_cstr(&target), &down);
    buf_done(&target);
    return down ? ask_store(c, limit) : list;
}

int cli_audit(struct cli *c)
{
    const json_t *items, *r;
    json_t *list;
    uint64_t limit;
    size_t i;

    if (!cli_option_u64(c, "--limit", 50, &limit))
        return CLI_USAGE;
    list = ask(c, PT_MIN(limit, (uint64_t)PAGE_MAX));
    if (!list)
        return CLI_FAILED;
    items = json_object_get(list, "items");
    if (c->json) {
        out_json(list, true);
    } else {
        json_array_foreach(items, i, r) print_row(r);
        if (json_array_size(items) == 0)
            puts("nothing is recorded");
    }
    json_decref(list);
    return CLI_OK;
}
