/*
 * cli/status: how the gateway is, for a person.
 */
#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"

static void start_line(const char *name)
{
    printf("%-10s  ", name);
}

static void print_listeners(const json_t *listeners)
{
    const json_t *l;
    size_t i;

    json_array_foreach(listeners, i, l)
    {
        start_line(i == 0 ? "listening" : "");
        out_safe(stdout, str_of(cli_text(l, "address")));
        if (!json_is_true(json_object_get(l, "listening"))) {
            fputs("  NOT OPEN: ", stdout);
            out_safe(stdout, str_of(cli_text(l, "error")));
        }
        putchar('\n');
    }
    if (json_array_size(listeners) == 0) {
        start_line("listening");
        puts("nowhere");
    }
}

static void print_spool(const json_t *spool)
{
    char free_text[OUT_SIZE], size_text[OUT_SIZE];

    out_size((uint64_t)cli_number(spool, "disk_free"), free_text);
    out_size((uint64_t)cli_number(spool, "disk_size"), size_text);
    start_line("spool");
    printf("%" PRId64 " message%s in %" PRId64 " segment%s (%" PRId64
           " free), disk %s free of %s\n",
           cli_number(spool, "messages"), cli_number(spool, "messages") == 1 ? "" : "s",
           cli_number(spool, "segments"), cli_number(spool, "segments") == 1 ? "" : "s",
           cli_number(spool, "free_segments"), free_text, size_text);
    if (json_is_object(json_object_get(spool, "loading"))) {
        const json_t *loading = json_object_get(spool, "loading");

        start_line("");
        printf("loading, %" PRId64 " of %" PRId64 "\n", cli_number(loading, "loaded"),
               cli_number(loading, "of"));
    }
    if (!json_is_true(json_object_get(spool, "accepting"))) {
        start_line("");
        puts("ACCEPTS NO MESSAGES");
    }
    if (*cli_text(spool, "fault")) {
        start_line("");
        fputs("trouble: ", stdout);
        out_safe(stdout, str_of(cli_text(spool, "fault")));
        putchar('\n');
    }
}

static void print_memory(const json_t *memory)
{
    static const struct {
        const char *key, *max, *name;
    } shares[] = { { "receiving", "receiving_max", "receiving" },
                   { "cached", "cached_max", "cache" },
                   { "reading", "reading_max", "reading back" } };
    char resident[OUT_SIZE], limit[OUT_SIZE], used[OUT_SIZE], max[OUT_SIZE];

    if (!json_is_object(memory))
        return;
    out_size((uint64_t)cli_number(memory, "resident"), resident);
    out_size((uint64_t)cli_number(memory, "limit"), limit);
    start_line("memory");
    printf("%s of %s (%s)", resident, limit, cli_text(memory, "limited_by"));
    for (size_t i = 0; i < PT_ARRAY_LEN(shares); i++) {
        out_size((uint64_t)cli_number(memory, shares[i].key), used);
        out_size((uint64_t)cli_number(memory, shares[i].max), max);
        printf("%s %s %s of %s", i ? "," : ";", shares[i].name, used, max);
    }
    putchar('\n');
}

static void print_queue(const json_t *queue)
{
    static const char *const titles[] = { "DESTINATION", "READY", "DELIVERING", "DEFERRED",
                                          "HELD",        "CONN",  "TROUBLE" };
    struct out_table t;
    const json_t *d;
    size_t i;

    if (json_array_size(queue) == 0) {
        start_line("queue");
        puts("empty");
        return;
    }
    putchar('\n');
    out_table_init(&t, titles, 7, 0x3e);
    json_array_foreach(queue, i, d)
    {
        out_table_add(&t, str_of(cli_text(d, "destination")));
        out_table_addf(&t, "%" PRId64, cli_number(d, "ready"));
        out_table_addf(&t, "%" PRId64, cli_number(d, "delivering"));
        out_table_addf(&t, "%" PRId64, cli_number(d, "deferred"));
        out_table_addf(&t, "%" PRId64, cli_number(d, "held"));
        out_table_addf(&t, "%" PRId64, cli_number(d, "connections"));
        out_table_add(&t,
                      str_of(json_is_true(json_object_get(d, "suspended")) ? "suspended"
                                                                           : cli_text(d, "error")));
    }
    out_table_print(&t, stdout);
}

static void print_warnings(const json_t *warnings)
{
    const json_t *w;
    size_t i;

    json_array_foreach(warnings, i, w)
    {
        fputs("\nwarning: ", stdout);
        out_safe(stdout, str_of(cli_text(w, "text")));
        if (*cli_text(w, "remedy")) {
            fputs("\n         ", stdout);
            out_safe(stdout, str_of(cli_text(w, "remedy")));
        }
        putchar('\n');
    }
}

static void print_session_limit(const json_t *sessions)
{
    int64_t limit = cli_number(sessions, "limit"), system = cli_number(sessions, "system_limit");

    if (limit && (!system || limit <= system))
        printf("up to %" PRId64 " at a time\n", limit);
    else if (system)
        printf("up to %" PRId64 " at a time, as the system allows\n", system);
    else
        puts("no limit");
}

static void print_tls(const json_t *tls)
{
    const json_t *list = json_object_get(tls, "certificates"), *one;
    size_t i;

    start_line("tls");
    fputs(cli_text(tls, "incoming"), stdout);
    if (json_is_integer(json_object_get(tls, "implicit_port")))
        printf(", port %" PRId64 " begins with it", cli_number(tls, "implicit_port"));
    printf("; %" PRId64 " messages came encrypted\n", cli_number(tls, "messages"));
    json_array_foreach(list, i, one)
    {
        start_line("");
        printf("%s %s (",
               strcmp(cli_text(one, "kind"), "ca") == 0 ? "CA of clients" : "certificate",
               cli_text(one, "id"));
        out_safe(stdout, str_of(cli_text(one, "subject")));
        printf(", %s) until %.10s, %" PRId64 " days\n", cli_text(one, "key_type"),
               cli_text(one, "expires"), cli_number(one, "days_left"));
    }
}

static void print_status(const json_t *s)
{
    const json_t *sessions = json_object_get(s, "sessions");
    const json_t *messages = json_object_get(s, "messages");
    int64_t dropped = cli_number(json_object_get(s, "log"), "dropped");
    char up[OUT_SIZE];

    out_age(cli_number(s, "uptime_seconds"), up);
    start_line("health");
    puts(cli_text(s, "health"));
    start_line("gateway");
    if (*cli_text(s, "hostname")) {
        out_safe(stdout, str_of(cli_text(s, "hostname")));
        fputs(", ", stdout);
    }
    printf("postern %s, up %s, ", cli_text(s, "version"), up);
    if (json_is_integer(json_object_get(s, "revision")))
        printf("settings revision %" PRId64 "\n", cli_number(s, "revision"));
    else
        puts("NO SETTINGS IN FORCE");
    print_listeners(json_object_get(s, "listeners"));
    start_line("sessions");
    printf("%" PRId64 " now, %" PRId64 " since the start; ", cli_number(sessions, "now"),
           cli_number(sessions, "total"));
    print_session_limit(sessions);
    start_line("messages");
    printf("%" PRId64 " accepted, %" PRId64 " delivered since the start\n",
           cli_number(messages, "accepted"), cli_number(messages, "delivered"));
    print_tls(json_object_get(s, "tls"));
    print_spool(json_object_get(s, "spool"));
    print_memory(json_object_get(s, "memory"));
    if (dropped) {
        start_line("log");
        printf("%" PRId64 " lines dropped: the disk was too slow\n", dropped);
    }
    print_queue(json_object_get(s, "queue"));
    if (json_array_size(json_object_get(s, "suspensions")))
        putchar('\n');
    cli_suspensions_print(json_object_get(s, "suspensions"));
    print_warnings(json_object_get(s, "warnings"));
}

int cli_status(struct cli *c)
{
    json_t *s = cli_get(c, "/api/v1/status");

    if (!s)
        return CLI_FAILED;
    if (c->json)
        out_json(s, true);
    else
        print_status(s);
    json_decref(s);
    return CLI_OK;
}

/* ---- access test ---- */

static void print_decision(const json_t *d, const char *address)
{
    const char *entry = cli_text(d, "entry"), *list = cli_text(d, "list");

    out_safe(stdout, str_of(address));
    printf(" %s: ", strcmp(cli_text(d, "decision"), "accept") == 0 ? "is let in" : "is refused");
    if (*entry) {
        fputs("entry ", stdout);
        out_safe(stdout, str_of(entry));
        printf(" of the %s list", list);
        if (*cli_text(d, "comment")) {
            fputs(" (", stdout);
            out_safe(stdout, str_of(cli_text(d, "comment")));
            putchar(')');
        }
        putchar('\n');
    } else if (*list) {
        printf("no entry of the %s list matches\n", list);
    } else {
        puts("no entry matches");
    }
}

int cli_access_test(struct cli *c)
{
    json_t *body = json_pack("{s:s}", "address", c->args[0]), *d;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;

    json_decref(body);
    if (!text)
        return cli_fail("the address is no UTF-8");
    d = cli_expect(c, &(struct http_call){ .method = "POST",
                                           .target = "/api/v1/connections/test",
                                           .type = "application/json",
                                           .body = str_of(text) });
    free(text);
    if (!d)
        return CLI_FAILED;
    if (c->json)
        out_json(d, true);
    else
        print_decision(d, c->args[0]);
    json_decref(d);
    return CLI_OK;
}
