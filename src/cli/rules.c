/*
 * cli/rules: the relay domains from the command line.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/list_file.h"
#include "cli/output.h"

#define PATH "/api/v1/message_rules/relay_domains"

enum { REMARKS_SHOWN = 20, PAGE = 1000 };

/* ---- import ---- */

static void print_remark(const json_t *r)
{
    const char *between = ": ";

    printf("  line %" PRIu64 ": ", cli_count(r, "line"));
    out_safe(stdout, str_of(cli_text(r, "text")));
    if (json_is_true(json_object_get(r, "normalised"))) {
        printf("%sbecomes %s", between, cli_text(r, "domain"));
        between = ", ";
    }
    if (json_is_true(json_object_get(r, "covered")))
        printf("%sis covered by a wider entry", between);
    putchar('\n');
}

static void print_report(const json_t *report, const char *list)
{
    const json_t *remarks = json_object_get(report, "remarks"), *r;
    uint64_t total = cli_count(report, "total");
    size_t i;

    printf("added %" PRIu64 ", duplicate %" PRIu64 ", normalised %" PRIu64 ", covered %" PRIu64
           "\n",
           cli_count(report, "added"), cli_count(report, "duplicate"),
           cli_count(report, "normalised"), cli_count(report, "covered"));
    json_array_foreach((json_t *)remarks, i, r)
    {
        if (i == REMARKS_SHOWN) {
            puts("  and more");
            break;
        }
        print_remark(r);
    }
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

static int export_json(struct cli *c)
{
    char cursor[32] = "0", target[128];
    const char *between = "";

    putchar('[');
    while (*cursor) {
        json_t *page, *item;
        size_t i;

        snprintf(target, sizeof target, PATH "?limit=%d&cursor=%s", PAGE, cursor);
        page = cli_get(c, target);
        if (!page)
            return CLI_FAILED;
        json_array_foreach(json_object_get(page, "items"), i, item)
        {
            fputs(between, stdout);
            out_json_bare(json_object_get(item, "domain"));
            between = ",\n";
        }
        snprintf(cursor, sizeof cursor, "%s", cli_text(page, "next"));
        json_decref(page);
    }
    puts("]");
    return CLI_OK;
}

int cli_rules_export(struct cli *c)
{
    return c->json ? export_json(c) : cli_list_export(c, PATH);
}
