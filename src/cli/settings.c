/*
 * cli/settings: the settings document from the command line.
 *
 * Each command asks the gateway first. When nobody answers on the socket, the command works on the
 * store itself (offline.h), so that an administrator gets back in whatever has gone wrong.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/offline.h"
#include "cli/output.h"
#include "settings/schema.h"

#define V1 "/api/v1/settings"

/* The document in force, or the one that would be when the gateway starts. */
static json_t *document(struct cli *c)
{
    bool down;
    json_t *doc = cli_get_or_down(c, V1, &down);

    return down ? offline_document(c) : doc;
}

/* The document of a revision. */
static json_t *revision(struct cli *c, uint64_t number)
{
    char target[80];
    bool down;
    json_t *row, *doc;

    snprintf(target, sizeof target, V1 "/revisions/%" PRIu64, number);
    row = cli_get_or_down(c, target, &down);
    if (down)
        return offline_revision(c, number);
    doc = json_incref(json_object_get(row, "document"));
    json_decref(row);
    return doc;
}

/* ---- show, export ---- */

/* The value at "connections.interface.port"; list elements by their number. */
static json_t *value_at(json_t *value, struct str key)
{
    while (key.n && value) {
        ptrdiff_t dot = str_find(key, '.', 0);
        struct str part = dot < 0 ? key : str_head(key, (size_t)dot);
        char name[256];
        uint64_t index;

        if (part.n >= sizeof name)
            return NULL;
        memcpy(name, part.p, part.n);
        name[part.n] = 0;
        if (json_is_array(value))
            value = str_to_u64(part, &index) ? json_array_get(value, index) : NULL;
        else
            value = json_object_get(value, name);
        key = dot < 0 ? STR("") : str_from(key, (size_t)dot + 1);
    }
    return value;
}

int cli_settings_show(struct cli *c)
{
    json_t *doc = document(c), *value = doc;

    if (!doc)
        return CLI_FAILED;
    if (c->arg_count)
        value = value_at(doc, str_of(c->args[0]));
    if (!value) {
        json_decref(doc);
        return cli_fail("there is no setting %s", c->args[0]);
    }
    if (json_is_string(value) && !c->json) {
        out_safe(stdout, str_of(json_string_value(value)));
        putchar('\n');
    } else {
        out_json(value, !c->json);
    }
    json_decref(doc);
    return CLI_OK;
}

int cli_settings_export(struct cli *c)
{
    json_t *doc = document(c);

    if (!doc)
        return CLI_FAILED;
    out_json(doc, true);
    json_decref(doc);
    return CLI_OK;
}

/* ---- apply, rollback ---- */

/* The octets of the file, or of standard input. False: said. */
static bool read_whole(const char *file, struct buf *out)
{
    FILE *in = strcmp(file, "-") == 0 ? stdin : fopen(file, "re");
    bool good;

    if (!in) {
        cli_fail("cannot read %s: %s", file, strerrordesc_np(errno));
        return false;
    }
    while (!feof(in) && !ferror(in) && buf_reserve(out, 65536))
        out->n += fread(out->p + out->n, 1, 65536, in);
    good = feof(in) && !ferror(in);
    if (ferror(in))
        cli_fail("cannot read %s: %s", file, strerrordesc_np(errno));
    else if (!good)
        cli_fail("%s is larger than %u MiB", file, SETTINGS_DOCUMENT_MAX >> 20);
    if (in != stdin)
        fclose(in);
    return good;
}

/* Reads a document; some editors put a byte-order mark before it. */
static json_t *read_document(const char *file, bool confirm)
{
    static const struct str mark = { "\xEF\xBB\xBF", 3 };
    json_t *doc = NULL;
    json_error_t error;
    struct buf octets;
    struct str text;

    buf_init(&octets, SETTINGS_DOCUMENT_MAX + 65536);
    if (read_whole(file, &octets)) {
        text = buf_str(&octets);
        if (text.n >= mark.n && str_eq(str_head(text, mark.n), mark))
            text = str_from(text, mark.n);
        doc = json_loadb(text.n ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY,
                         &error);
        if (!doc)
            cli_fail("%s is not JSON: line %d, column %d: %s", file, error.line, error.column,
                     error.text);
    }
    buf_done(&octets);
    if (confirm && json_is_object(doc))
        json_object_set_new(
            doc, "confirm",
            json_pack("[s,s,s]", "empty_permit_list", "open_relay", "expired_certificate"));
    return doc;
}

static void print_warnings(const json_t *warnings)
{
    const json_t *w;
    size_t i;

    json_array_foreach(warnings, i, w)
    {
        fputs("warning: ", stderr);
        out_safe(stderr, str_of(json_string_value(json_object_get(w, "pointer"))));
        fputs(": ", stderr);
        out_safe(stderr, str_of(json_string_value(json_object_get(w, "detail"))));
        fputc('\n', stderr);
    }
}

/* Where queued mail goes by the other routes. */
static void print_moves(const json_t *result)
{
    const json_t *m;
    size_t i;

    json_array_foreach(json_object_get(result, "queue"), i, m)
    {
        int64_t n = cli_number(m, "messages");

        printf("queue: %" PRId64 " message%s for ", n, n == 1 ? "" : "s");
        out_safe(stdout, str_of(cli_text(m, "from")));
        if (json_is_true(json_object_get(m, "waits"))) {
            printf(" wait%s: no route leads there any more\n", n == 1 ? "s" : "");
            continue;
        }
        printf(" now go%s to ", n == 1 ? "es" : "");
        out_safe(stdout, str_of(cli_text(m, "to")));
        putchar('\n');
    }
    if (cli_number(result, "queue_more"))
        printf("queue: %" PRId64 " more messages go elsewhere\n", cli_number(result, "queue_more"));
}

static int report_change(const struct cli *c, const json_t *result)
{
    uint64_t number = (uint64_t)json_integer_value(json_object_get(result, "revision"));
    const json_t *pending = json_object_get(result, "pending");

    print_warnings(json_object_get(result, "warnings"));
    if (c->json) {
        out_json(result, true);
        return CLI_OK;
    }
    if (json_is_true(json_object_get(result, "dry_run"))) {
        puts("valid; nothing was changed");
        if (json_is_object(json_object_get(result, "preview")))
            cli_preview_print(json_object_get(result, "preview"));
    } else {
        printf("revision %" PRIu64 " is in force\n", number);
    }
    print_moves(result);
    if (json_is_object(pending))
        printf("it goes back by itself in %" PRId64
               " s unless confirmed: postern settings confirm\n",
               (int64_t)json_integer_value(json_object_get(pending, "seconds_left")));
    return CLI_OK;
}

/* Adds "?dry_run=true&comment=…&confirm_within=…". */
static void add_query(const struct cli *c, const char *within, struct buf *target)
{
    const char *comment = cli_option(c, "--comment");
    char mark = '?';

    if (cli_option(c, "--dry-run")) {
        BUF_LIT(target, "?dry_run=true&preview=true");
        mark = '&';
    }
    if (comment) {
        buf_addf(target, "%ccomment=", mark);
        http_target_add(target, str_of(comment));
        mark = '&';
    }
    if (within) {
        buf_addf(target, "%cconfirm_within=", mark);
        http_target_add(target, str_of(within));
    }
}

/* Sends the change. CLI_OK or CLI_FAILED, or -1 when the gateway is down. */
static int change(struct cli *c, struct http_call *call)
{
    struct http_reply reply;
    struct pt_fault fault;
    json_t *result;
    int status;
    enum pt_err err = cli_call(c, call, &reply, &fault);

    if (err == PT_ERR_CLOSED)
        return -1;
    if (err)
        return cli_fail("%s", fault.text);
    if (reply.status != 200) {
        status = cli_problem(&reply);
    } else {
        result = http_reply_json(&reply);
        status = result ? report_change(c, result) : cli_fail("the gateway's answer is not JSON");
        json_decref(result);
    }
    http_reply_done(&reply);
    return status;
}

int cli_settings_apply(struct cli *c)
{
    json_t *doc = read_document(c->args[0], cli_option(c, "--yes") != NULL);
    char *text = doc ? json_dumps(doc, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
    struct http_call call = { .method = "PUT", .type = "application/json" };
    const char *within = cli_option(c, "--confirm-within");
    struct buf target;
    int status;

    json_decref(doc);
    if (!doc)
        return CLI_FAILED;
    if (!text)
        return cli_fail("out of memory");
    buf_init(&target, 16384);
    BUF_LIT(&target, V1);
    add_query(c, within, &target);
    call.target = buf_cstr(&target);
    call.body = str_of(text);
    status = change(c, &call);
    if (status < 0 && within)
        status = cli_fail("the gateway is down: nobody would be there to go back after %s seconds; "
                          "apply without --confirm-within",
                          within);
    else if (status < 0)
        status = offline_apply(c, str_of(text));
    buf_done(&target);
    free(text);
    return status;
}

int cli_settings_confirm(struct cli *c)
{
    bool revert = cli_option(c, "--revert") != NULL;
    json_t *answer = cli_expect(
        c, &(struct http_call){ .method = revert ? "DELETE" : "POST", .target = V1 "/confirm" });

    if (!answer)
        return CLI_FAILED;
    printf(revert ? "back: revision %" PRIu64 " is in force\n"
                  : "revision %" PRIu64 " is confirmed\n",
           (uint64_t)json_integer_value(json_object_get(answer, "revision")));
    json_decref(answer);
    return CLI_OK;
}

int cli_settings_rollback(struct cli *c)
{
    struct http_call call = { .method = "POST", .type = "application/json" };
    struct buf target;
    uint64_t number;
    int status;

    if (!str_to_u64(str_of(c->args[0]), &number))
        return cli_usage(c->command, "%s is no revision number", c->args[0]);
    buf_init(&target, 16384);
    buf_addf(&target, V1 "/revisions/%" PRIu64 "/restore", number);
    add_query(c, cli_option(c, "--confirm-within"), &target);
    call.target = buf_cstr(&target);
    status = change(c, &call);
    if (status < 0)
        status = offline_rollback(c, number);
    buf_done(&target);
    return status;
}

/* ---- history ---- */

static void print_history(const json_t *items)
{
    static const char *const titles[] = { "REVISION", "TIME", "AUTHOR", "COMMENT" };
    struct out_table t;
    const json_t *r;
    size_t i;

    out_table_init(&t, titles, 4, 1);
    json_array_foreach(items, i, r)
    {
        const json_t *restored = json_object_get(r, "restored_from");
        const char *comment = json_string_value(json_object_get(r, "comment"));
        char time[32];

        out_time(json_string_value(json_object_get(r, "time")), time);
        out_table_addf(&t, "%" PRId64, (int64_t)json_integer_value(json_object_get(r, "revision")));
        out_table_add(&t, str_of(time));
        out_table_add(&t, str_of(json_string_value(json_object_get(r, "author"))));
        if (json_is_integer(restored) && !(comment && *comment))
            out_table_addf(&t, "restored from revision %" PRId64,
                           (int64_t)json_integer_value(restored));
        else
            out_table_add(&t, str_of(comment));
    }
    out_table_print(&t, stdout);
}

int cli_settings_history(struct cli *c)
{
    char target[80];
    uint64_t limit;
    bool down;
    json_t *list;

    if (!cli_option_u64(c, "--limit", 50, &limit))
        return CLI_USAGE;
    limit = PT_MIN(limit, 500);
    snprintf(target, sizeof target, V1 "/revisions?limit=%" PRIu64, limit);
    list = cli_get_or_down(c, target, &down);
    if (down)
        list = offline_history(c, (uint32_t)limit);
    if (!list)
        return CLI_FAILED;
    if (c->json)
        out_json(list, true);
    else if (json_array_size(json_object_get(list, "items")) == 0)
        puts("no settings have been committed; the defaults are in force");
    else
        print_history(json_object_get(list, "items"));
    json_decref(list);
    return CLI_OK;
}

/* ---- diff ---- */

int cli_settings_diff(struct cli *c)
{
    uint64_t a, b = 0;
    json_t *from, *to, *changes;

    if (!str_to_u64(str_of(c->args[0]), &a) ||
        (c->arg_count > 1 && !str_to_u64(str_of(c->args[1]), &b)))
        return cli_usage(c->command, "a revision is a number");
    from = revision(c, a);
    if (!from)
        return CLI_FAILED;
    to = c->arg_count > 1 ? revision(c, b) : document(c);
    if (!to) {
        json_decref(from);
        return CLI_FAILED;
    }
    changes = diff_documents(from, to);
    json_decref(from);
    json_decref(to);
    if (!changes)
        return cli_fail("out of memory");
    if (c->json)
        out_json(changes, true);
    else
        diff_print(changes);
    json_decref(changes);
    return CLI_OK;
}
