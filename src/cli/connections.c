/*
 * cli/connections: the clients that are connected now.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/output.h"

enum { PAGE = 1000, LISTED = 1000 };

static void age_of(const json_t *c, char out[OUT_SIZE])
{
    int64_t us = 0, now = clock_wall_us();

    if (!out_parse_time(cli_text(c, "since"), &us) || us > now)
        us = now;
    out_age((now - us) / 1000000, out);
}

/* ---- list ---- */

static void add_row(struct out_table *t, const json_t *c)
{
    char text[OUT_SIZE];

    out_table_add(t, str_of(cli_text(c, "id")));
    out_table_add(t, str_of(cli_text(c, "client")));
    age_of(c, text);
    out_table_add(t, str_of(text));
    out_age(cli_number(c, "idle_seconds"), text);
    out_table_add(t, str_of(text));
    out_table_addf(t, "%" PRId64, cli_number(c, "messages"));
    out_size((uint64_t)cli_number(c, "octets_in"), text);
    out_table_add(t, str_of(text));
    out_table_add(t, str_of(*cli_text(c, "helo") ? cli_text(c, "helo") : "-"));
    if (*cli_text(c, "ends"))
        out_table_addf(t, "%s; ends: %s", cli_text(c, "state"), cli_text(c, "ends"));
    else
        out_table_add(t, str_of(cli_text(c, "state")));
}

static void print_table(const json_t *items, const json_t *next, int64_t total)
{
    static const char *const titles[] = { "ID",       "CLIENT", "AGE",  "IDLE",
                                          "MESSAGES", "IN",     "HELO", "STATE" };
    struct out_table t;
    const json_t *c;
    size_t i;

    if (json_array_size(items) == 0) {
        puts("no connections");
        return;
    }
    out_table_init(&t, titles, 8, 0x3c);
    json_array_foreach(items, i, c) add_row(&t, c);
    out_table_print(&t, stdout);
    if (json_is_string(next))
        printf("%zu of %" PRId64 " connections\n", json_array_size(items), total);
}

/* NULL: said on stderr. */
static json_t *page(struct cli *c, const char *cursor, uint64_t limit)
{
    const char *address = cli_option(c, "--address");
    struct buf target;
    json_t *list;

    buf_init(&target, 16384);
    buf_addf(&target, "/api/v1/connections/live?limit=%" PRIu64, PT_MIN(limit, (uint64_t)PAGE));
    if (*cursor)
        buf_addf(&target, "&cursor=%s", cursor);
    if (address) {
        BUF_LIT(&target, "&address=");
        http_target_add(&target, str_of(address));
    }
    list = cli_get(c, buf_cstr(&target));
    buf_done(&target);
    return list;
}

int cli_connections_list(struct cli *c)
{
    json_t *items = json_array(), *list = NULL;
    char cursor[64] = "";
    uint64_t limit;

    if (!cli_option_u64(c, "--limit", c->json ? UINT64_MAX : LISTED, &limit)) {
        json_decref(items);
        return CLI_USAGE;
    }
    do {
        const char *next;

        json_decref(list);
        list = page(c, cursor, limit - json_array_size(items));
        if (!list) {
            json_decref(items);
            return CLI_FAILED;
        }
        json_array_extend(items, json_object_get(list, "items"));
        next = cli_text(list, "next");
        snprintf(cursor, sizeof cursor, "%s", next);
    } while (*cursor && json_array_size(items) < limit);
    if (c->json) {
        json_object_set(list, "items", items);
        out_json(list, true);
    } else {
        print_table(items, json_object_get(list, "next"), cli_number(list, "total"));
    }
    json_decref(items);
    json_decref(list);
    return CLI_OK;
}

/* ---- one of them ---- */

static json_t *item(struct cli *c, const char *method, const char *id, const char *more)
{
    struct buf target;
    json_t *body;

    buf_init(&target, 16384);
    BUF_LIT(&target, "/api/v1/connections/live/");
    http_target_add(&target, str_of(id));
    buf_add_str(&target, str_of(more));
    body = cli_expect(c, &(struct http_call){ .method = method, .target = buf_cstr(&target) });
    buf_done(&target);
    return body;
}

static void line(const char *name, const char *value)
{
    printf("%-10s  ", name);
    out_safe(stdout, str_of(value));
    putchar('\n');
}

static void print_one(const json_t *c)
{
    char text[128], in[OUT_SIZE], out[OUT_SIZE];
    const json_t *tls, *certificate;

    line("ID", cli_text(c, "id"));
    snprintf(text, sizeof text, "%s port %" PRId64, cli_text(c, "client"), cli_number(c, "port"));
    line("client", text);
    out_time(cli_text(c, "since"), text);
    line("since", text);
    line("HELO", *cli_text(c, "helo") ? cli_text(c, "helo") : "not said yet");
    tls = json_object_get(c, "tls");
    if (json_is_object(tls)) {
        snprintf(text, sizeof text, "%s %s", cli_text(tls, "version"), cli_text(tls, "cipher"));
        line("TLS", text);
        certificate = json_object_get(tls, "certificate");
        if (json_is_object(certificate))
            line(json_is_true(json_object_get(certificate, "verified")) ? "verified" : "unverified",
                 cli_text(certificate, "subject"));
    }
    line("state", cli_text(c, "state"));
    if (*cli_text(c, "ends"))
        line("ends", cli_text(c, "ends"));
    out_age(cli_number(c, "idle_seconds"), text);
    line("idle", text);
    snprintf(text, sizeof text, "%" PRId64, cli_number(c, "messages"));
    line("messages", text);
    out_size((uint64_t)cli_number(c, "octets_in"), in);
    out_size((uint64_t)cli_number(c, "octets_out"), out);
    snprintf(text, sizeof text, "%s in, %s out", in, out);
    line("octets", text);
}

int cli_connections_show(struct cli *c)
{
    json_t *one = item(c, "GET", c->args[0], "");

    if (!one)
        return CLI_FAILED;
    if (c->json)
        out_json(one, true);
    else
        print_one(one);
    json_decref(one);
    return CLI_OK;
}

int cli_connections_disconnect(struct cli *c)
{
    const char *more = cli_option(c, "--now") ? "?now=true" : "";
    int status = CLI_OK;

    for (int i = 0; i < c->arg_count; i++) {
        json_t *done = item(c, "DELETE", c->args[i], more);

        if (!done) {
            status = CLI_FAILED;
            continue;
        }
        out_safe(stdout, str_of(c->args[i]));
        puts(json_is_true(json_object_get(done, "disconnected")) ? " disconnected"
                                                                 : " ends with its next command");
        json_decref(done);
    }
    return status;
}
