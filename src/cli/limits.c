/*
 * cli/limits: temporary bans, and what limits do.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"

/* One page of a list; NULL: said. */
static json_t *page_of(struct cli *c, const char *path)
{
    char target[128];
    uint64_t limit;

    if (!cli_option_u64(c, "--limit", 100, &limit))
        return NULL;
    snprintf(target, sizeof target, "%s?limit=%" PRIu64, path, PT_MIN(limit, UINT64_C(1000)));
    return cli_get(c, target);
}

static void print_more(const json_t *list, const char *what)
{
    size_t shown = json_array_size(json_object_get(list, "items"));

    if (shown < cli_count(list, "total"))
        printf("%zu of %" PRIu64 " %s\n", shown, cli_count(list, "total"), what);
}

/* ---- bans ---- */

static void add_ban(struct out_table *t, const json_t *ban)
{
    char time[32];

    out_table_add(t, str_of(cli_text(ban, "client")));
    out_time(cli_text(ban, "until"), time);
    out_table_add(t, str_of(time));
    if (strcmp(cli_text(ban, "kind"), "set") == 0)
        out_table_add(t, STR("set by an administrator"));
    else
        out_table_addf(t, "%" PRIu64 " failures%s", cli_count(ban, "failures"),
                       strcmp(cli_text(ban, "kind"), "shadow") == 0 ? " (watched only)" : "");
    out_table_add(t, str_of(*cli_text(ban, "comment") ? cli_text(ban, "comment") : "-"));
}

static void print_bans(const json_t *list)
{
    static const char *const titles[] = { "CLIENT", "UNTIL", "BECAUSE", "COMMENT" };
    const json_t *items = json_object_get(list, "items"), *ban;
    struct out_table t;
    size_t i;

    if (json_array_size(items) == 0) {
        puts("nobody is banned");
        return;
    }
    out_table_init(&t, titles, 4, 0);
    json_array_foreach((json_t *)items, i, ban) add_ban(&t, ban);
    out_table_print(&t, stdout);
    print_more(list, "bans");
}

int cli_connections_bans(struct cli *c)
{
    json_t *list = page_of(c, "/api/v1/connections/bans");

    if (!list)
        return CLI_FAILED;
    if (c->json)
        out_json(list, true);
    else
        print_bans(list);
    json_decref(list);
    return CLI_OK;
}

static int ban(struct cli *c, const char *address, uint64_t minutes)
{
    const char *comment = cli_option(c, "--comment");
    json_t *body = json_pack("{s:s, s:I}", "address", address, "minutes", (json_int_t)minutes);
    json_t *done;
    char *text, until[32];

    if (comment)
        json_object_set_new(body, "comment", json_string(comment));
    text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    json_decref(body);
    if (!text)
        return cli_fail("%s is not UTF-8", address);
    done = cli_expect(c, &(struct http_call){ .method = "POST",
                                              .target = "/api/v1/connections/bans",
                                              .type = "application/json",
                                              .body = str_of(text) });
    free(text);
    if (!done)
        return CLI_FAILED;
    out_time(cli_text(done, "until"), until);
    out_safe(stdout, str_of(cli_text(done, "client")));
    printf(" is banned until %s\n", until);
    json_decref(done);
    return CLI_OK;
}

int cli_connections_ban(struct cli *c)
{
    int status = CLI_OK;
    uint64_t minutes;

    if (!cli_option_u64(c, "--minutes", 60, &minutes))
        return CLI_USAGE;
    for (int i = 0; i < c->arg_count; i++)
        if (ban(c, c->args[i], minutes) != CLI_OK)
            status = CLI_FAILED;
    return status;
}

static int unban(struct cli *c, const char *address)
{
    struct buf target;
    json_t *done;

    buf_init(&target, 16384);
    BUF_LIT(&target, "/api/v1/connections/bans/");
    http_target_add(&target, str_of(address));
    done = cli_expect(c, &(struct http_call){ .method = "DELETE", .target = buf_cstr(&target) });
    buf_done(&target);
    if (!done)
        return CLI_FAILED;
    out_safe(stdout, str_of(address));
    puts(" is not banned any more");
    json_decref(done);
    return CLI_OK;
}

int cli_connections_unban(struct cli *c)
{
    int status = CLI_OK;

    for (int i = 0; i < c->arg_count; i++)
        if (unban(c, c->args[i]) != CLI_OK)
            status = CLI_FAILED;
    return status;
}

/* ---- limits ---- */

static void print_rules(const json_t *rules)
{
    static const char *const titles[] = { "LIMIT", "MODE", "REFUSED", "WOULD REFUSE" };
    const json_t *rule;
    struct out_table t;
    size_t i;

    out_table_init(&t, titles, 4, 0xc);
    json_array_foreach((json_t *)rules, i, rule)
    {
        out_table_add(&t, str_of(cli_text(rule, "rule")));
        out_table_add(&t, str_of(cli_text(rule, "mode")));
        out_table_addf(&t, "%" PRIu64, cli_count(rule, "refused"));
        out_table_addf(&t, "%" PRIu64, cli_count(rule, "shadow"));
    }
    out_table_print(&t, stdout);
}

static void print_clients(const json_t *list)
{
    static const char *const titles[] = { "CLIENT", "LIMIT", "WOULD REFUSE", "LAST" };
    const json_t *items = json_object_get(list, "items"), *row;
    struct out_table t;
    char time[32];
    size_t i;

    if (json_array_size(items) == 0)
        return;
    putchar('\n');
    out_table_init(&t, titles, 4, 0x4);
    json_array_foreach((json_t *)items, i, row)
    {
        out_table_add(&t, str_of(cli_text(row, "client")));
        out_table_add(&t, str_of(cli_text(row, "rule")));
        out_table_addf(&t, "%" PRIu64, cli_count(row, "count"));
        out_time(cli_text(row, "last"), time);
        out_table_add(&t, str_of(time));
    }
    out_table_print(&t, stdout);
    print_more(list, "clients");
}

int cli_connections_limits(struct cli *c)
{
    json_t *list = page_of(c, "/api/v1/connections/limits");

    if (!list)
        return CLI_FAILED;
    if (c->json) {
        out_json(list, true);
    } else {
        print_rules(json_object_get(list, "rules"));
        print_clients(list);
    }
    json_decref(list);
    return CLI_OK;
}
