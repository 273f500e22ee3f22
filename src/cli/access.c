/*
 * cli/access: the deny and the permit list from the command line.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/list_file.h"
#include "cli/output.h"

enum { PAGE = 1000 };

/* The list that --list names; NULL: said. */
static const char *list_of(const struct cli *c)
{
    const char *name = cli_option(c, "--list");

    if (name && (strcmp(name, "deny") == 0 || strcmp(name, "permit") == 0))
        return name;
    cli_usage(c->command,
              name ? "--list must be deny or permit, not %s"
                   : "--list deny or --list permit is missing%s",
              name ? name : "");
    return NULL;
}

static void begin_target(struct buf *target, const char *list)
{
    buf_init(target, 16384);
    buf_addf(target, "/api/v1/connections/lists/%s", list);
}

/* "?name" or "&name". */
static void add_query(struct buf *target, const char *text)
{
    buf_addf(target, "%c%s", target->p && memchr(target->p, '?', target->n) ? '&' : '?', text);
}

static void print_revision(const json_t *result, const char *list)
{
    uint64_t total = cli_count(result, "total");

    if (json_is_true(json_object_get(result, "dry_run")))
        puts("nothing was changed (--dry-run)");
    else
        printf("the %s list has %" PRIu64 " %s; revision %" PRIu64 " is in force\n", list, total,
               total == 1 ? "entry" : "entries", cli_count(result, "revision"));
}

/* ---- import ---- */

static void print_report(const json_t *report, const char *list)
{
    cli_list_counts(report, "network");
    print_revision(report, list);
    cli_list_left_out(report);
}

int cli_access_import(struct cli *c)
{
    const char *list = list_of(c);
    struct http_call call = { .method = "POST", .type = "text/plain" };
    struct buf file, target;
    int status = CLI_FAILED;

    if (!list)
        return CLI_USAGE;
    buf_init(&file, CLI_LIST_FILE_MAX);
    if (cli_list_read(c->args[0], &file)) {
        begin_target(&target, list);
        if (cli_option(c, "--replace"))
            add_query(&target, "replace=true");
        if (cli_option(c, "--valid-only"))
            add_query(&target, "valid_only=true");
        if (cli_option(c, "--dry-run"))
            add_query(&target, "dry_run=true");
        if (cli_option(c, "--yes"))
            add_query(&target, "confirm=empty_permit_list");
        call.target = buf_cstr(&target);
        call.body = buf_str(&file);
        status =
            call.target ? cli_list_send(c, &call, print_report, list) : cli_fail("out of memory");
        buf_done(&target);
    }
    buf_done(&file);
    return status;
}

/* ---- export ---- */

/* The first page of a list; NULL: said. */
static json_t *get_page(struct cli *c, const char *list, const char *query, uint64_t limit)
{
    struct buf target;
    json_t *page = NULL;

    begin_target(&target, list);
    buf_addf(&target, "?limit=%" PRIu64, limit);
    if (query) {
        BUF_LIT(&target, "&q=");
        http_target_add(&target, str_of(query));
    }
    if (buf_cstr(&target) && !target.failed)
        page = cli_get(c, target.p);
    else
        cli_fail("the text to look for is too long");
    buf_done(&target);
    return page;
}

/* As in the settings document. */
static json_t *entry_json(const json_t *item)
{
    json_t *entry;

    if (!*cli_text(item, "comment") && !*cli_text(item, "expires"))
        return json_incref(json_object_get(item, "network"));
    entry = json_pack("{s:O}", "network", json_object_get(item, "network"));
    if (*cli_text(item, "comment"))
        json_object_set(entry, "comment", json_object_get(item, "comment"));
    if (*cli_text(item, "expires"))
        json_object_set(entry, "expires", json_object_get(item, "expires"));
    return entry;
}

int cli_access_export(struct cli *c)
{
    const char *list = list_of(c);
    struct buf target;
    int status;

    if (!list)
        return CLI_USAGE;
    begin_target(&target, list);
    status = !c->json            ? cli_list_export(c, buf_cstr(&target))
             : buf_cstr(&target) ? cli_list_export_json(c, target.p, entry_json)
                                 : cli_fail("out of memory");
    buf_done(&target);
    return status;
}

/* ---- list ---- */

static void print_page(const char *list, const json_t *page, const char *query)
{
    static const char *const titles[] = { "ENTRY", "HITS", "LAST HIT", "EXPIRES", "COMMENT" };
    uint64_t total = cli_count(page, "total");
    struct out_table t;
    json_t *item;
    size_t i;

    printf("%s list: %" PRIu64 " %s%s\n", list, total, total == 1 ? "entry" : "entries",
           query ? " found" : "");
    if (total == 0)
        return;
    out_table_init(&t, titles, 5, 1u << 1);
    json_array_foreach(json_object_get(page, "items"), i, item)
    {
        char last[32], expires[32];
        bool expired = json_is_true(json_object_get(item, "expired"));

        out_time(json_string_value(json_object_get(item, "last_hit")), last);
        out_time(json_string_value(json_object_get(item, "expires")), expires);
        out_table_add(&t, str_of(cli_text(item, "network")));
        out_table_addf(&t, "%" PRIu64, cli_count(item, "hits"));
        out_table_add(&t, str_of(last));
        out_table_addf(&t, "%s%s", expired ? "expired " : "", expires);
        out_table_add(&t, str_of(cli_text(item, "comment")));
    }
    out_table_print(&t, stdout);
    if (*cli_text(page, "next"))
        puts("and more: --limit, or --search");
}

/* One list, gathered into `all` (an object) or printed. */
static int show_list(struct cli *c, const char *list, uint64_t limit, json_t *all)
{
    const char *query = cli_option(c, "--search");
    json_t *page = get_page(c, list, query, limit);

    if (!page)
        return CLI_FAILED;
    if (all)
        json_object_set(all, list, page);
    else
        print_page(list, page, query);
    json_decref(page);
    return CLI_OK;
}

int cli_access_list(struct cli *c)
{
    const char *only = cli_option(c, "--list");
    json_t *all;
    uint64_t limit;
    int status;

    if ((only && !list_of(c)) || !cli_option_u64(c, "--limit", 100, &limit))
        return CLI_USAGE;
    limit = PT_MIN(limit, PAGE);
    all = c->json ? json_object() : NULL;
    status = show_list(c, only ? only : "deny", limit, all);
    if (!only && status == CLI_OK) {
        if (!c->json)
            putchar('\n');
        status = show_list(c, "permit", limit, all);
    }
    if (all && status == CLI_OK)
        out_json(only ? json_object_get(all, only) : all, true);
    json_decref(all);
    return status;
}

/* ---- add, remove ---- */

/* "90s", "15m", "12h", "7d" from now on. */
static bool span(const char *text, int64_t *out_us)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
    size_t n = strlen(text);
    uint64_t number;

    if (n < 2 || !str_to_u64((struct str){ text, n - 1 }, &number) || number == 0 ||
        number > 5000000)
        return false;
    for (size_t i = 0; i < PT_ARRAY_LEN(units); i++)
        if (units[i].unit == text[n - 1]) {
            *out_us = clock_wall_us() + (int64_t)number * units[i].seconds * 1000000;
            *out_us -= *out_us % 1000000;
            return true;
        }
    return false;
}

/* False: said. `out` is "" without --expires. */
static bool expires_of(const struct cli *c, char out[CLOCK_RFC3339_SIZE])
{
    const char *text = cli_option(c, "--expires");
    int64_t when_us;

    out[0] = 0;
    if (!text)
        return true;
    if (!span(text, &when_us) && !clock_rfc3339_parse(str_of(text), &when_us)) {
        cli_usage(c->command, "--expires must be a time such as 2030-01-31T18:00:00Z, or a span "
                              "such as 12h or 7d");
        return false;
    }
    if (when_us <= clock_wall_us()) {
        cli_usage(c->command, "--expires: %s has passed", text);
        return false;
    }
    clock_rfc3339_exact(when_us, out);
    return true;
}

/* The problem with pointers into the arguments said as those. */
static int print_problem(const struct cli *c, const struct http_reply *reply)
{
    json_t *problem = http_reply_json(reply), *e;
    const json_t *errors = json_object_get(problem, "errors");
    bool said = false;
    size_t i;

    json_array_foreach((json_t *)errors, i, e)
    {
        const char *pointer = cli_text(e, "pointer"), *slash = strrchr(pointer, '/');
        struct str index = str_of(slash ? slash + 1 : "");
        uint64_t at;

        if (strncmp(pointer, "/add/", 5) == 0) /* of an object: /add/0/network */
            index = str_head(str_of(pointer + 5), strcspn(pointer + 5, "/"));
        if ((strncmp(pointer, "/add/", 5) != 0 && strncmp(pointer, "/remove/", 8) != 0) ||
            !str_to_u64(index, &at) || at >= (uint64_t)c->arg_count)
            continue;
        fputs("postern: ", stderr);
        if (pointer[1] == 'a') {
            out_safe(stderr, str_of(c->args[at]));
            fputs(": ", stderr);
        }
        out_safe(stderr, str_of(cli_text(e, "detail")));
        fputc('\n', stderr);
        said = true;
    }
    if (!said)
        cli_problem(reply);
    json_decref(problem);
    return CLI_FAILED;
}

static void print_edit(const json_t *r, const char *list)
{
    static const char *const words[] = { "added", "updated", "removed", "unchanged" };
    const char *between = "";

    for (size_t i = 0; i < PT_ARRAY_LEN(words); i++) {
        uint64_t n = cli_count(r, words[i]);

        if (n == 0)
            continue;
        printf("%s%s %" PRIu64, between, words[i], n);
        between = ", ";
    }
    putchar('\n');
    if (cli_count(r, "contradicted"))
        puts("the other list has addresses of it too");
    print_revision(r, list);
}

static int send_edit(struct cli *c, const char *list, json_t *body)
{
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct http_call call = { .method = "PATCH", .type = "application/json", .body = str_of(text) };
    struct http_reply reply;
    struct pt_fault fault;
    struct buf target;
    int status = CLI_FAILED;

    if (!text)
        return cli_fail("the arguments are no UTF-8");
    begin_target(&target, list);
    if (cli_option(c, "--dry-run"))
        add_query(&target, "dry_run=true");
    call.target = buf_cstr(&target);
    if (cli_call(c, &call, &reply, &fault) != PT_ERR_OK) {
        cli_fail("%s", fault.text);
    } else if (reply.status != 200) {
        print_problem(c, &reply);
        http_reply_done(&reply);
    } else {
        json_t *result = http_reply_json(&reply);

        if (c->json)
            out_json(result, true);
        else
            print_edit(result, list);
        json_decref(result);
        http_reply_done(&reply);
        status = CLI_OK;
    }
    buf_done(&target);
    free(text);
    return status;
}

int cli_access_add(struct cli *c)
{
    const char *list = list_of(c), *comment = cli_option(c, "--comment");
    char expires[CLOCK_RFC3339_SIZE];
    json_t *add = json_array(), *body;
    int status;

    if (!list || !expires_of(c, expires)) {
        json_decref(add);
        return CLI_USAGE;
    }
    for (int i = 0; i < c->arg_count; i++) {
        json_t *entry = json_pack("{s:s}", "network", c->args[i]);

        if (comment)
            json_object_set_new(entry, "comment", json_string(comment));
        if (*expires)
            json_object_set_new(entry, "expires", json_string(expires));
        json_array_append_new(add, entry);
    }
    /* A text that is no UTF-8 has left a gap. */
    body = json_array_size(add) == (size_t)c->arg_count ? json_pack("{s:O}", "add", add) : NULL;
    status = send_edit(c, list, body);
    json_decref(body);
    json_decref(add);
    return status;
}

int cli_access_remove(struct cli *c)
{
    const char *list = list_of(c);
    json_t *remove, *body;
    int status;

    if (!list)
        return CLI_USAGE;
    remove = json_array();
    for (int i = 0; i < c->arg_count; i++)
        json_array_append_new(remove, json_string(c->args[i]));
    body = json_array_size(remove) == (size_t)c->arg_count ? json_pack("{s:O}", "remove", remove)
                                                           : NULL;
    if (body && cli_option(c, "--yes"))
        json_object_set_new(body, "confirm", json_pack("[s]", "empty_permit_list"));
    status = send_edit(c, list, body);
    json_decref(body);
    json_decref(remove);
    return status;
}
