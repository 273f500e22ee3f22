/* postern tls check: a next hop seen with a delivery's eyes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/output.h"

static void line(const char *name, const char *text)
{
    printf("%-12s ", name);
    out_safe(stdout, str_of(text));
    putchar('\n');
}

static void print_names(const json_t *certificate)
{
    const json_t *names = json_object_get(certificate, "names"), *name;
    size_t i;

    fputs("names        ", stdout);
    json_array_foreach(names, i, name)
    {
        if (i)
            fputs(", ", stdout);
        out_safe(stdout, str_of(json_string_value(name)));
    }
    puts(json_array_size(names) ? "" : "none");
}

static void print_certificate(const json_t *answer)
{
    const json_t *c = json_object_get(answer, "certificate");

    if (!json_is_object(c))
        return;
    line("certificate", cli_text(c, "subject"));
    print_names(c);
    line("issuer", cli_text(c, "issuer"));
    printf("valid        %.10s to %.10s\n", cli_text(c, "not_before"), cli_text(c, "not_after"));
    fputs("verified     ", stdout);
    if (json_is_true(json_object_get(answer, "verified")))
        fputs("yes, chain and name", stdout);
    else
        out_safe(stdout, str_of(cli_text(answer, "unverified")));
    puts(" (by the system's trust store)");
}

static void print_seen(const json_t *answer)
{
    printf("next hop     ");
    out_safe(stdout, str_of(cli_text(answer, "host")));
    printf(" at %s\n", cli_text(answer, "address"));
    line("STARTTLS", json_is_true(json_object_get(answer, "starttls")) ? "offered"
                     : json_is_true(json_object_get(answer, "connected"))
                         ? "not offered"
                         : "not known: there is no session");
    if (json_is_true(json_object_get(answer, "secured")))
        printf("TLS          %s, %s\n", cli_text(answer, "version"), cli_text(answer, "cipher"));
    print_certificate(answer);
    if (*cli_text(answer, "error"))
        line("trouble", cli_text(answer, "error"));
}

static void print_demands(const json_t *answer)
{
    const json_t *one;
    size_t i;

    json_array_foreach(json_object_get(answer, "demands"), i, one)
    {
        if (*cli_text(one, "domain"))
            printf("route %s", cli_text(one, "domain"));
        else
            fputs("no route", stdout);
        printf(", TLS %s", cli_text(one, "tls"));
        if (*cli_text(one, "ca"))
            printf(" by CA %s", cli_text(one, "ca"));
        printf(": %s: ", json_is_true(json_object_get(one, "met")) ? "met" : "NOT MET");
        out_safe(stdout, str_of(cli_text(one, "detail")));
        putchar('\n');
    }
}

int cli_tls_check(struct cli *c)
{
    const char *domain = cli_option(c, "--domain");
    json_t *body = json_pack("{s:s, s:s*}", "next_hop", c->args[0], "domain", domain), *answer;
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    bool met;

    json_decref(body);
    if (!text) {
        cli_fail("the next hop is not well-formed UTF-8");
        return CLI_FAILED;
    }
    answer = cli_expect(c, &(struct http_call){ .method = "POST",
                                                .target = "/api/v1/tls/check",
                                                .type = "application/json",
                                                .body = str_of(text) });
    free(text);
    if (!answer)
        return CLI_FAILED;
    met = json_is_true(json_object_get(answer, "met"));
    if (c->json) {
        out_json(answer, true);
    } else {
        print_seen(answer);
        print_demands(answer);
    }
    json_decref(answer);
    return met ? CLI_OK : CLI_FAILED;
}
