/*
 * cli/preview: whom a draft of the settings would refuse or let in.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/output.h"

/* "entry 192.0.2.0/24 of deny (sends spam)" */
static void add_reason(struct out_table *t, const json_t *row)
{
    const char *comment = cli_text(row, "comment"), *domain = cli_text(row, "domain");
    struct buf text;

    buf_init(&text, 4096);
    BUF_LIT(&text, "");
    buf_add_str(&text, str_of(cli_text(row, "rule")));
    if (*domain)
        buf_addf(&text, ", to %s", domain);
    if (*cli_text(row, "entry"))
        buf_addf(&text, ": entry %s of %s", cli_text(row, "entry"), cli_text(row, "list"));
    if (*comment)
        buf_addf(&text, " (%s)", comment);
    out_table_add(t, buf_str(&text));
    buf_done(&text);
}

static void print_side(const char *title, const json_t *side)
{
    static const char *const titles[] = { "CLIENT",   "HELO",      "CONNECTIONS",
                                          "MESSAGES", "LAST SEEN", "RULE" };
    const json_t *items = json_object_get(side, "items"), *row;
    int64_t clients = cli_number(side, "clients"), messages = cli_number(side, "messages");
    int64_t connections = cli_number(side, "connections");
    struct out_table t;
    char time[32];
    size_t i;

    if (clients == 0)
        return;
    printf("\n%s: %" PRId64 " client%s, %" PRId64 " connection%s, %" PRId64 " message%s\n", title,
           clients, clients == 1 ? "" : "s", connections, connections == 1 ? "" : "s", messages,
           messages == 1 ? "" : "s");
    out_table_init(&t, titles, 6, 0xc);
    json_array_foreach(items, i, row)
    {
        out_time(cli_text(row, "last_seen"), time);
        out_table_add(&t, str_of(cli_text(row, "client")));
        out_table_add(&t, str_of(*cli_text(row, "helo") ? cli_text(row, "helo") : "-"));
        out_table_addf(&t, "%" PRId64, cli_number(row, "connections"));
        out_table_addf(&t, "%" PRId64, cli_number(row, "messages"));
        out_table_add(&t, str_of(time));
        add_reason(&t, row);
    }
    out_table_print(&t, stdout);
    if ((int64_t)json_array_size(items) < clients)
        printf("… and %" PRId64 " more with less traffic\n",
               clients - (int64_t)json_array_size(items));
}

void cli_preview_print(const json_t *preview)
{
    const json_t *refused = json_object_get(preview, "refused");
    const json_t *let_in = json_object_get(preview, "let_in");
    int64_t clients = cli_number(preview, "clients");

    if (*cli_text(preview, "error")) {
        fputs("what it means for the clients of the last days is not known: ", stdout);
        out_safe(stdout, str_of(cli_text(preview, "error")));
        putchar('\n');
        return;
    }
    if (clients == 0) {
        puts("no clients of the last days are known");
        return;
    }
    if (cli_number(refused, "clients") == 0 && cli_number(let_in, "clients") == 0) {
        printf("nothing would change for the %" PRId64 " client%s of the last days\n", clients,
               clients == 1 ? "" : "s");
        return;
    }
    printf("of %" PRId64 " client%s of the last days:\n", clients, clients == 1 ? "" : "s");
    print_side("would be refused", refused);
    print_side("would be let in", let_in);
}
