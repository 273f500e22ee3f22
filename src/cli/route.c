/*
 * cli/route: where mail for an address would go, for a person.
 */
#include <inttypes.h>
#include <string.h>

#include "base/clock.h"
#include "cli/command.h"
#include "cli/output.h"

static void begin(const char *name)
{
    printf("%-12s", name);
}

static void line(const char *name, const char *value)
{
    begin(name);
    out_safe(stdout, str_of(value));
    putchar('\n');
}

/* ", for 5 min more" */
static void print_left(const json_t *v, const char *key, const char *before, const char *after)
{
    char age[OUT_SIZE];
    int64_t us;

    if (!out_parse_time(cli_text(v, key), &us))
        return;
    out_age(PT_MAX((us - clock_wall_us() + 999999) / 1000000, INT64_C(0)), age);
    printf("%s%s%s", before, age, after);
}

/* ---- the route ---- */

static void print_route(const json_t *v)
{
    const json_t *route = json_object_get(v, "route"), *others = json_object_get(v, "other_routes");
    const json_t *other;
    size_t i;

    begin("route");
    if (json_is_object(route)) {
        out_safe(stdout, str_of(cli_text(route, "domain")));
        printf(", %s", strcmp(cli_text(route, "via"), "mx") == 0 ? "by the mail exchangers"
                                                                 : "to its next hops");
    } else {
        fputs("none fits", stdout);
    }
    puts(json_is_true(json_object_get(v, "draft")) ? " (of the draft)" : "");
    json_array_foreach((json_t *)others, i, other)
    {
        begin(i ? "" : "not");
        out_safe(stdout, str_of(cli_text(other, "domain")));
        printf(": %s\n", cli_text(other, "why_not"));
    }
}

static void print_demand(const json_t *route)
{
    begin("TLS");
    printf("%s (%s)", cli_text(route, "tls"), cli_text(route, "tls_from"));
    if (*cli_text(route, "ca"))
        printf(", by the CA %s", cli_text(route, "ca"));
    putchar('\n');
    if (*cli_text(route, "user"))
        line("logs in as", cli_text(route, "user"));
    if (strcmp(cli_text(route, "protocol"), "smtp") != 0)
        line("protocol", "LMTP");
    if (*cli_text(route, "source"))
        line("from", cli_text(route, "source"));
    begin("limits");
    printf("%" PRId64 " connections", cli_number(route, "max_concurrency"));
    if (cli_number(route, "max_messages_per_minute"))
        printf(", %" PRId64 " messages a minute", cli_number(route, "max_messages_per_minute"));
    if (cli_number(route, "max_message_size"))
        printf(", %" PRId64 " MiB a message", cli_number(route, "max_message_size") / 1048576);
    putchar('\n');
}

/* ---- next hops ---- */

static void print_address(const json_t *a)
{
    fputs("               ", stdout);
    fputs(cli_text(a, "address"), stdout);
    if (*cli_text(a, "skipped"))
        printf(", not tried: %s", cli_text(a, "skipped"));
    print_left(a, "failed_until", ", failed lately: after the others for ", "");
    if (json_is_true(json_object_get(a, "tls_failed")))
        fputs(", TLS failed lately", stdout);
    putchar('\n');
}

static void print_host(const json_t *hop, bool mx)
{
    const char *host = cli_text(hop, "host");
    bool v6 = strchr(host, ':') && *host != '[';

    fputs(v6 ? "[" : "", stdout);
    out_safe(stdout, str_of(host));
    fputs(v6 ? "]" : "", stdout);
    if (!mx)
        printf(":%" PRId64, cli_number(hop, "port"));
}

static void print_hop(const json_t *hop, bool mx, size_t number)
{
    const json_t *validated = json_object_get(hop, "validated"), *a;
    const char *place = mx ? "preference" : "order";
    size_t i;

    begin(number ? "" : "next hops");
    printf("%zu. ", number + 1);
    print_host(hop, mx);
    if (json_is_integer(json_object_get(hop, place)))
        printf(", %s %" PRId64, place, cli_number(hop, place));
    if (cli_number(hop, "weight"))
        printf(", weight %" PRId64, cli_number(hop, "weight"));
    if (json_is_boolean(validated) && !mx)
        fputs(json_is_true(validated) ? ", validated by DNSSEC" : ", not validated", stdout);
    if (*cli_text(hop, "error")) {
        fputs(": ", stdout);
        out_safe(stdout, str_of(cli_text(hop, "error")));
    }
    putchar('\n');
    json_array_foreach(json_object_get(hop, "addresses"), i, a) print_address(a);
}

static void print_hops(const json_t *v)
{
    const json_t *dns = json_object_get(v, "dns"), *hop;
    size_t i;

    /* Of a question without an answer the verdict tells all there is. */
    if (json_is_object(dns) && json_array_size(json_object_get(v, "next_hops"))) {
        begin("DNS");
        fputs(json_is_true(json_object_get(dns, "validated")) ? "validated by DNSSEC"
                                                              : "not validated",
              stdout);
        if (cli_number(dns, "ttl"))
            printf(", for %" PRId64 " s", cli_number(dns, "ttl"));
        putchar('\n');
    }
    json_array_foreach(json_object_get(v, "next_hops"), i, hop)
        print_hop(hop, json_is_object(dns), i);
}

/* ---- as it is now ---- */

static void print_state(const json_t *v)
{
    const json_t *q = json_object_get(v, "queue"), *s = json_object_get(v, "suspended");
    int64_t redirected = cli_number(q, "redirected");

    begin("now");
    printf("%" PRId64 " ready, %" PRId64 " delivering, %" PRId64 " deferred, %" PRId64
           " held; %" PRId64 " connections\n",
           cli_number(q, "ready"), cli_number(q, "delivering"), cli_number(q, "deferred"),
           cli_number(q, "held"), cli_number(q, "connections"));
    if (*cli_text(q, "error")) {
        begin("trouble");
        out_safe(stdout, str_of(cli_text(q, "error")));
        print_left(q, "rests_until", "; rests for ", " more");
        putchar('\n');
    }
    if (json_is_object(s)) {
        begin("suspended");
        fputs("by ", stdout);
        out_safe(stdout, str_of(cli_text(s, "by")));
        print_left(s, "until", ", for ", " more");
        if (*cli_text(s, "reason")) {
            fputs(": ", stdout);
            out_safe(stdout, str_of(cli_text(s, "reason")));
        }
        putchar('\n');
    }
    if (redirected) {
        begin("redirected");
        printf("%" PRId64 " queued recipient%s of this domain\n", redirected,
               redirected == 1 ? "" : "s");
    }
}

static void print_fate(const json_t *v)
{
    const char *fate = cli_text(v, "fate");

    putchar('\n');
    fputs(strcmp(fate, "goes") == 0       ? "Mail goes "
          : strcmp(fate, "returned") == 0 ? "Mail goes back to its sender: "
                                          : "Mail waits: ",
          stdout);
    out_safe(stdout, str_of(cli_text(v, "text")));
    putchar('\n');
}

/* NULL: said. */
static json_t *ask(struct cli *c)
{
    const char *file = cli_option(c, "--draft");
    json_t *draft = file ? cli_read_draft(file) : NULL;

    if (file && !draft)
        return NULL;
    return cli_post(c, "/api/v1/routes/test",
                    json_pack("{s:s, s:o?}", "address", c->args[0], "draft", draft));
}

int cli_route_test(struct cli *c)
{
    json_t *v = ask(c);

    if (!v)
        return CLI_FAILED;
    if (c->json) {
        out_json(v, true);
    } else {
        line("address", cli_text(v, "address"));
        print_route(v);
        if (json_is_object(json_object_get(v, "route")))
            print_demand(json_object_get(v, "route"));
        line("destination", cli_text(v, "destination"));
        print_hops(v);
        print_state(v);
        print_fate(v);
    }
    json_decref(v);
    return CLI_OK;
}
