/*
 * cli/queue: the queue from the command line.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "base/msgid.h"
#include "cli/command.h"
#include "cli/output.h"

enum { PAGE = 500, LISTED = 1000, DESCRIBED_MAX = 200 };

/* Seconds from `now` to a time of the API; negative: it has passed. False: there is none. */
static bool seconds_to(const json_t *object, const char *key, int64_t *out)
{
    int64_t us;

    if (!out_parse_time(json_string_value(json_object_get(object, key)), &us))
        return false;
    *out = (us - clock_wall_us()) / 1000000;
    return true;
}

/* ---- list ---- */

/* "deferred, next in 12 min: 451 4.3.0 no", from the first recipient that waits. */
static void describe(const json_t *message, struct buf *out)
{
    const json_t *first = json_array_get(json_object_get(message, "recipients"), 0);
    const char *reply = cli_text(first, "reply");
    char age[OUT_SIZE];
    int64_t seconds;

    if (json_is_true(json_object_get(message, "held")))
        BUF_LIT(out, "held, ");
    if (json_is_true(json_object_get(first, "suspended")))
        BUF_LIT(out, "suspended, ");
    if (*cli_text(first, "redirected_to"))
        buf_addf(out, "redirected to %s, ", cli_text(first, "redirected_to"));
    buf_add_str(out, str_of(cli_text(first, "state")));
    if (seconds_to(first, "next_attempt", &seconds) && seconds > 0) {
        out_age(seconds, age);
        buf_addf(out, ", next in %s", age);
    }
    if (*reply)
        buf_addf(out, ": %s", reply);
    out->n = PT_MIN(out->n, (size_t)DESCRIBED_MAX);
}

static void add_message(struct out_table *t, const json_t *m)
{
    const json_t *first = json_array_get(json_object_get(m, "recipients"), 0);
    int64_t others = cli_number(m, "recipient_count") - 1, age = 0;
    char text[OUT_SIZE];
    struct buf cell;

    buf_init(&cell, 8192);
    out_table_add(t, str_of(cli_text(m, "id")));
    if (seconds_to(m, "received", &age))
        age = -age;
    out_age(age, text);
    out_table_add(t, str_of(text));
    out_size((uint64_t)cli_number(m, "size"), text);
    out_table_add(t, str_of(text));
    out_table_add(t, str_of(*cli_text(m, "sender") ? cli_text(m, "sender") : "<>"));
    buf_add_str(&cell, str_of(cli_text(first, "address")));
    if (others > 0)
        buf_addf(&cell, " (+%" PRId64 ")", others);
    out_table_add(t, buf_str(&cell));
    buf_clear(&cell);
    describe(m, &cell);
    out_table_add(t, buf_str(&cell));
    buf_done(&cell);
}

json_t *cli_queue_page(struct cli *c, const char *filter, const char *cursor, uint64_t limit)
{
    struct buf target;
    json_t *list = NULL;

    buf_init(&target, 32768);
    buf_addf(&target, "/api/v1/queue?limit=%" PRIu64 "%s", limit, filter);
    if (cursor && *cursor) {
        BUF_LIT(&target, "&cursor=");
        http_target_add(&target, str_of(cursor));
    }
    if (target.failed || !buf_cstr(&target))
        cli_fail("the arguments are too long");
    else
        list = cli_get(c, buf_cstr(&target));
    buf_done(&target);
    return list;
}

/* What is done with each page; `first` and `last` of the run. */
typedef void page_fn(void *ctx, const json_t *list, bool first, bool last);

/* Goes through the pages up to `limit` messages, one page in memory at a time. */
static int each_page(struct cli *c, uint64_t limit, page_fn *fn, void *ctx)
{
    char cursor[64] = "";
    struct buf filter;
    uint64_t seen = 0;
    bool first = true, last = false;

    buf_init(&filter, 16384);
    cli_add_query(c, &filter, "--destination", "destination");
    cli_add_query(c, &filter, "--sender", "sender");
    cli_add_query(c, &filter, "--recipient", "recipient");
    cli_add_query(c, &filter, "--status", "state");
    cli_add_query(c, &filter, "--older-than", "older_than");
    cli_add_query(c, &filter, "--newer-than", "newer_than");
    if (cli_option(c, "--held"))
        BUF_LIT(&filter, "&held=true");
    if (cli_option(c, "--newest"))
        BUF_LIT(&filter, "&order=newest");
    while (!last) {
        json_t *list =
            cli_queue_page(c, buf_cstr(&filter), cursor, PT_MIN(limit - seen, (uint64_t)PAGE));
        const char *next = json_string_value(json_object_get(list, "next"));

        if (!list) {
            buf_done(&filter);
            return CLI_FAILED;
        }
        seen += json_array_size(json_object_get(list, "items"));
        snprintf(cursor, sizeof cursor, "%s", next ? next : "");
        last = !next || seen >= limit;
        fn(ctx, list, first, last);
        first = false;
        json_decref(list);
    }
    buf_done(&filter);
    return CLI_OK;
}

static bool is_loading(const json_t *list)
{
    return json_is_true(json_object_get(list, "loading"));
}

/* { "items": [ one message a line ], "next", "total", "loading" } */
static void print_json_page(void *ctx, const json_t *list, bool first, bool last)
{
    const json_t *m;
    size_t i;

    if (first)
        fputs("{\"items\": [", stdout);
    json_array_foreach(json_object_get(list, "items"), i, m)
    {
        fputs(first && i == 0 ? "\n" : ",\n", stdout);
        out_json_bare(m);
    }
    if (!last)
        return;
    fputs("\n], \"next\": ", stdout);
    out_json_bare(json_object_get(list, "next"));
    printf(", \"total\": %" PRId64 ", \"loading\": %s}\n", cli_number(list, "total"),
           is_loading(list) ? "true" : "false");
}

struct table_page {
    struct out_table table;
    uint64_t rows;
};

static void add_table_page(void *ctx, const json_t *list, bool first, bool last)
{
    static const char *const titles[] = { "ID", "AGE", "SIZE", "SENDER", "RECIPIENT", "STATE" };
    struct table_page *t = ctx;
    const json_t *m;
    size_t i;

    if (first)
        out_table_init(&t->table, titles, 6, 6);
    json_array_foreach(json_object_get(list, "items"), i, m) add_message(&t->table, m);
    t->rows += i;
    if (!last)
        return;
    if (t->rows == 0)
        puts("no messages");
    else
        out_table_print(&t->table, stdout);
    if (!json_is_null(json_object_get(list, "next")))
        printf("%" PRIu64 " of %" PRId64 " messages\n", t->rows, cli_number(list, "total"));
    if (is_loading(list))
        puts("messages of before the start are still being loaded: more will follow");
}

int cli_queue_list(struct cli *c)
{
    struct table_page t = { 0 };
    uint64_t limit;
    int status;

    if (!cli_option_u64(c, "--limit", c->json ? UINT64_MAX : LISTED, &limit))
        return CLI_USAGE;
    status = each_page(c, limit, c->json ? print_json_page : add_table_page, &t);
    out_table_done(&t.table);
    return status;
}

/* ---- show ---- */

static void line(const char *name, const char *value)
{
    printf("%-10s  ", name);
    out_safe(stdout, str_of(value));
    putchar('\n');
}

static void show_recipient(const json_t *r)
{
    char age[OUT_SIZE];
    int64_t seconds;

    fputs("  ", stdout);
    out_safe(stdout, str_of(cli_text(r, "address")));
    fputs("  ", stdout);
    out_safe(stdout, str_of(cli_text(r, "state")));
    if (cli_number(r, "attempts"))
        printf(", %" PRId64 " attempt%s", cli_number(r, "attempts"),
               cli_number(r, "attempts") == 1 ? "" : "s");
    if (seconds_to(r, "next_attempt", &seconds) && seconds > 0) {
        out_age(seconds, age);
        printf(", next in %s", age);
    }
    putchar('\n');
    if (*cli_text(r, "destination")) {
        fputs("    through ", stdout);
        out_safe(stdout, str_of(cli_text(r, "destination")));
        if (*cli_text(r, "redirected_to"))
            fputs(", redirected by an administrator", stdout);
        if (json_is_true(json_object_get(r, "suspended")))
            fputs(", suspended", stdout);
        putchar('\n');
    }
    if (*cli_text(r, "reply")) {
        fputs("    ", stdout);
        out_safe(stdout, str_of(cli_text(r, "reply")));
        putchar('\n');
    }
}

static void show_message(const json_t *m)
{
    char text[64], size[OUT_SIZE];
    const json_t *r;
    size_t i;

    line("ID", cli_text(m, "id"));
    out_time(cli_text(m, "received"), text);
    line("received", text);
    out_size((uint64_t)cli_number(m, "size"), size);
    snprintf(text, sizeof text, "%s (%" PRId64 " octets)", size, cli_number(m, "size"));
    line("size", text);
    line("sender", *cli_text(m, "sender") ? cli_text(m, "sender") : "<> (none)");
    if (*cli_text(m, "client"))
        line("client", cli_text(m, "client"));
    if (*cli_text(m, "helo"))
        line("HELO", cli_text(m, "helo"));
    if (json_is_true(json_object_get(m, "own")))
        line("origin", "made by the gateway: a bounce or a notice");
    if (json_is_true(json_object_get(m, "held")))
        line("held", "until `postern queue release`");
    printf("recipients  %" PRId64 ", of whom %" PRId64 " wait\n", cli_number(m, "recipient_count"),
           cli_number(m, "waiting_count"));
    json_array_foreach(json_object_get(m, "recipients"), i, r) show_recipient(r);
    if (json_array_size(json_object_get(m, "history"))) {
        puts("history");
        cli_trace_print(json_object_get(m, "history"));
    }
}

/* "/api/v1/queue/ID" and more behind it. */
static json_t *item(struct cli *c, const char *method, const char *id, const char *more)
{
    struct buf target;
    json_t *body;

    buf_init(&target, 16384);
    BUF_LIT(&target, "/api/v1/queue/");
    http_target_add(&target, str_of(id));
    buf_add_str(&target, str_of(more));
    body = cli_expect(c, &(struct http_call){ .method = method, .target = buf_cstr(&target) });
    buf_done(&target);
    return body;
}

/* The message with all its recipients, page after page; it may be gone between two of them: then
 * what there was is shown. */
static json_t *whole(struct cli *c)
{
    json_t *m = item(c, "GET", c->args[0], ""), *next;

    while (m && json_is_integer(next = json_object_get(m, "next_recipient"))) {
        char more[48];
        json_t *page;

        snprintf(more, sizeof more, "?recipient=%" PRId64, (int64_t)json_integer_value(next));
        page = item(c, "GET", c->args[0], more);
        if (!page)
            break;
        json_array_extend(json_object_get(m, "recipients"), json_object_get(page, "recipients"));
        json_object_set(m, "next_recipient", json_object_get(page, "next_recipient"));
        json_decref(page);
    }
    if (m && json_is_null(json_object_get(m, "next_recipient")))
        json_object_del(m, "next_recipient");
    return m;
}

int cli_queue_show(struct cli *c)
{
    json_t *m = whole(c), *history;

    if (!m)
        return CLI_FAILED;
    history = cli_trace_events(c, c->args[0]);
    json_object_set_new(m, "history", history ? history : json_array());
    if (c->json)
        out_json(m, true);
    else
        show_message(m);
    json_decref(m);
    return CLI_OK;
}

/* ---- retry, hold, release, delete, bounce ---- */

/* What was done, for "3 messages WORDS". */
static const struct {
    const char *verb, *one, *many;
} done[] = {
    { "retry", "will be tried now", "will be tried now" },
    { "hold", "is held", "are held" },
    { "release", "is released", "are released" },
    { "delete", "was deleted", "were deleted" },
    { "bounce", "is given up", "are given up" },
};

static void report(const char *verb, int64_t count)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(done); i++)
        if (strcmp(done[i].verb, verb) == 0)
            printf("%" PRId64 " message%s %s\n", count, count == 1 ? "" : "s",
                   count == 1 ? done[i].one : done[i].many);
}

static json_t *selection(const struct cli *c)
{
    json_t *ids;

    if (cli_option(c, "--all"))
        return json_pack("{s:b}", "all", 1);
    if (cli_option(c, "--destination"))
        return json_pack("{s:s}", "destination", cli_option(c, "--destination"));
    ids = json_array();
    for (int i = 0; i < c->arg_count; i++)
        json_array_append_new(ids, json_string(c->args[i]));
    return json_pack("{s:o}", "ids", ids);
}

static json_t *act_on_many(struct cli *c)
{
    char target[64];

    snprintf(target, sizeof target, "/api/v1/queue/%s", c->command->verb);
    return cli_post(c, target, selection(c));
}

static json_t *act_on_one(struct cli *c)
{
    char more[32];

    if (strcmp(c->command->verb, "delete") == 0)
        return item(c, "DELETE", c->args[0], "");
    snprintf(more, sizeof more, "/%s", c->command->verb);
    return item(c, "POST", c->args[0], more);
}

int cli_queue_act(struct cli *c)
{
    int ways = (c->arg_count > 0) + (cli_option(c, "--all") != NULL) +
               (cli_option(c, "--destination") != NULL);
    json_t *answer;
    int64_t count;

    if (ways != 1)
        return cli_usage(c->command, "say which: IDs, --destination D or --all");
    for (int i = 0; i < c->arg_count; i++) {
        uint64_t id;

        if (!msgid_parse(str_of(c->args[i]), &id))
            return cli_fail("%s is no message ID", c->args[i]);
    }
    answer = c->arg_count == 1 ? act_on_one(c) : act_on_many(c);
    if (!answer)
        return CLI_FAILED;
    count = cli_number(answer, "count");
    json_decref(answer);
    report(c->command->verb, count);
    if (c->arg_count && count < c->arg_count)
        return cli_fail("%" PRId64 " of the IDs are not in the queue", c->arg_count - count);
    return CLI_OK;
}
