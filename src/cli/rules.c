/*
 * cli/rules: the relay domains from the command line.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/list_file.h"
#include "cli/output.h"

#define PATH "/api/v1/message_rules/relay_domains"

/* ---- import ---- */

static void print_report(const json_t *report, const char *list)
{
    uint64_t total = cli_count(report, "total");

    cli_list_counts(report, "domain");
    if (json_is_true(json_object_get(report, "dry_run")))
        puts("nothing was changed (--dry-run)");
    else
        printf("%" PRIu64 " relay domain%s; revision %" PRIu64 " is in force\n", total,
               total == 1 ? "" : "s", cli_count(report, "revision"));
    cli_list_left_out(report);
}

int cli_rules_import(struct cli *c)
{
    static const struct {
        const char *option, *query;
    } options[] = { { "--replace", "&replace=true" },
                    { "--valid-only", "&valid_only=true" },
                    { "--dry-run", "&dry_run=true" },
                    { "--yes", "&confirm=open_relay" } };
    struct http_call call = { .method = "POST", .type = "text/plain" };
    struct buf file, target;
    int status = CLI_FAILED;

    buf_init(&file, CLI_LIST_FILE_MAX);
    buf_init(&target, 1024);
    BUF_LIT(&target, PATH "?");
    for (size_t i = 0; i < PT_ARRAY_LEN(options); i++)
        if (cli_option(c, options[i].option))
            buf_add_str(&target, str_of(options[i].query));
    call.target = buf_cstr(&target);
    if (!call.target) {
        cli_fail("out of memory");
    } else if (cli_list_read(c->args[0], &file)) {
        call.body = buf_str(&file);
        status = cli_list_send(c, &call, print_report, NULL);
    }
    buf_done(&target);
    buf_done(&file);
    return status;
}

/* ---- export ---- */

static json_t *domain_of(const json_t *item)
{
    return json_incref(json_object_get(item, "domain"));
}

int cli_rules_export(struct cli *c)
{
    return c->json ? cli_list_export_json(c, PATH, domain_of) : cli_list_export(c, PATH);
}
