/*
 * cli/preview: whom a draft of the settings would refuse or let in.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "cli/command.h"
#include "cli/output.h"

static const char *text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static int64_t number_of(const json_t *object, const char *key)
{
    return (int64_t)json_integer_value(json_object_get(object, key));
}

/* "entry 192.0.2.0/24 of deny (sends spam)" */
static void add_reason(struct out_table *t, const json_t *row)
{
    const char *comment = text_of(row, "comment"), *domain = text_of(row, "domain");
    struct buf text;

    buf_init(&text, 4096);
    BUF_LIT(&text, "");
    buf_add_str(&text, str_of(text_of(row, "rule")));
    if (*domain)
        buf_addf(&text, ", to %s", domain);
    if (*text_of(row, "entry"))
        buf_addf(&text, ": entry %s of %s", text_of(row, "entry"), text_of(row, "list"));
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
    int64_t clients = number_of(side, "clients"), messages = number_of(side, "messages");
    int64_t connections = number_of(side, "connections");
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
        out_time(text_of(row, "last_seen"), time);
        out_table_add(&t, str_of(text_of(row, "client")));
        out_table_add(&t, str_of(*text_of(row, "helo") ? text_of(row, "helo") : "-"));
        out_table_addf(&t, "%" PRId64, number_of(row, "connections"));
        out_table_addf(&t, "%" PRId64, number_of(row, "messages"));
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
    int64_t clients = number_of(preview, "clients");

    if (*text_of(preview, "error")) {
        fputs("what it means for the clients of the last days is not known: ", stdout);
        out_safe(stdout, str_of(text_of(preview, "error")));
        putchar('\n');
        return;
    }
    if (clients == 0) {
        puts("no clients of the last days are known");
        return;
    }
    if (number_of(refused, "clients") == 0 && number_of(let_in, "clients") == 0) {
        printf("nothing would change for the %" PRId64 " client%s of the last days\n", clients,
               clients == 1 ? "" : "s");
        return;
    }
    printf("of %" PRId64 " client%s of the last days:\n", clients, clients == 1 ? "" : "s");
    print_side("would be refused", refused);
    print_side("would be let in", let_in);
}
