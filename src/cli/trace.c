/*
 * cli/trace: the life of a message from STATE/log.
 *
 * The log is read from the oldest file to the newest, twice for an address: first to find the
 * messages that it sent or was to receive, then for their events. A line is parsed only when the
 * ID or address stands in it. Events of one message are printed together; messages come in the
 * order of their first event. Lines about the address that belong to no message (a recipient that
 * was refused) are printed as a group of their own, where they stand.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/msgid.h"
#include "cli/command.h"
#include "cli/output.h"

enum { ROTATED = 7, GROUPS_MAX = 100000, FLUSH_TIMEOUT_MS = 2000 };

struct group {
    char id[MSGID_SIZE]; /* "": lines without a message */
    json_t *events;
};

struct trace {
    const char *address; /* NULL: one ID is asked for */
    struct group *groups;
    size_t count, room;
    json_t *index; /* ID → number of its group */
    bool failed;
};

/* ---- reading ---- */

typedef void line_fn(struct trace *t, const char *line, size_t n);

static void read_file(struct trace *t, const char *path, line_fn *fn)
{
    FILE *in = fopen(path, "re");
    char *line = NULL;
    size_t room = 0;
    ssize_t n;

    if (!in) {
        /* A file may be rotated away between two reads. */
        if (errno != ENOENT) {
            cli_fail("cannot read %s: %s", path, strerrordesc_np(errno));
            t->failed = true;
        }
        return;
    }
    while ((n = getline(&line, &room, in)) > 0)
        fn(t, line, (size_t)n);
    free(line);
    fclose(in);
}

static void read_log(struct trace *t, const char *state, line_fn *fn)
{
    char path[4300];

    for (int i = ROTATED; i >= 1 && !t->failed; i--) {
        snprintf(path, sizeof path, "%s/log/postern.log.%d", state, i);
        read_file(t, path, fn);
    }
    snprintf(path, sizeof path, "%s/log/postern.log", state);
    if (!t->failed)
        read_file(t, path, fn);
}

static json_t *parse(const char *line, size_t n)
{
    json_t *v = json_loadb(line, n, 0, NULL);

    if (v && !json_is_object(v)) {
        json_decref(v);
        return NULL;
    }
    return v;
}

/* ---- groups ---- */

static struct group *add_group(struct trace *t, const char *id)
{
    struct group *g;

    if (t->count == GROUPS_MAX)
        return NULL;
    if (t->count == t->room) {
        size_t room = t->room ? 2 * t->room : 16;

        g = realloc(t->groups, room * sizeof *g);
        if (!g) {
            t->failed = true;
            return NULL;
        }
        t->groups = g;
        t->room = room;
    }
    g = &t->groups[t->count];
    snprintf(g->id, sizeof g->id, "%s", id);
    g->events = json_array();
    if (*id)
        json_object_set_new(t->index, id, json_integer((json_int_t)t->count));
    t->count++;
    return g;
}

static struct group *find_group(const struct trace *t, const char *id)
{
    const json_t *at = json_object_get(t->index, id);

    return at ? &t->groups[json_integer_value(at)] : NULL;
}

/* ---- whose line is it ---- */

/* True if the address is `text`, or one of several in it; angle brackets do not count. */
static bool names(struct str text, struct str address)
{
    for (size_t at = 0; at < text.n;) {
        size_t end = at;
        struct str one;

        while (end < text.n && text.p[end] != ' ' && text.p[end] != ',')
            end++;
        one = (struct str){ text.p + at, end - at };
        if (one.n >= 2 && one.p[0] == '<' && one.p[one.n - 1] == '>')
            one = (struct str){ one.p + 1, one.n - 2 };
        if (str_eq_nocase(one, address))
            return true;
        at = end + 1;
    }
    /* A quoted local part may hold spaces and commas. */
    return str_eq_nocase(text, address);
}

static bool is_about(const json_t *event, const char *address)
{
    static const char *const keys[] = { "reverse_path", "sender",     "from",
                                        "recipient",    "recipients", "to" };

    for (size_t i = 0; i < PT_ARRAY_LEN(keys); i++) {
        const json_t *value = json_object_get(event, keys[i]), *v;
        size_t j;

        if (json_is_string(value) && names(str_of(json_string_value(value)), str_of(address)))
            return true;
        json_array_foreach(value, j, v)
        {
            if (json_is_string(v) && names(str_of(json_string_value(v)), str_of(address)))
                return true;
        }
    }
    return false;
}

/* First pass for an address: which messages, and the lines that belong to none. */
static void find_messages(struct trace *t, const char *line, size_t n)
{
    json_t *event;
    const char *id;

    if (!strcasestr(line, t->address))
        return;
    event = parse(line, n);
    if (event && is_about(event, t->address)) {
        id = json_string_value(json_object_get(event, "id"));
        if (!id) {
            struct group *last = t->count ? &t->groups[t->count - 1] : NULL;

            if (!last || last->id[0])
                last = add_group(t, "");
            if (last)
                json_array_append(last->events, event);
        } else if (!find_group(t, id)) {
            add_group(t, id);
        }
    }
    json_decref(event);
}

/* Second pass: the events of the messages that were found. */
static void gather_events(struct trace *t, const char *line, size_t n)
{
    const char *at = strstr(line, "\"id\":\"");
    char id[MSGID_SIZE];
    struct group *g;
    json_t *event;

    if (!at || n - (size_t)(at - line) < sizeof "\"id\":\"" + MSGID_SIZE)
        return;
    snprintf(id, sizeof id, "%s", at + sizeof "\"id\":\"" - 1);
    g = find_group(t, id);
    if (!g)
        return;
    event = parse(line, n);
    /* The text may stand inside another value. */
    at = json_string_value(json_object_get(event, "id"));
    if (at && strcmp(at, id) == 0)
        json_array_append(g->events, event);
    json_decref(event);
}

/* ---- order ---- */

/* "received" first: threads write their lines each for themselves, and the gateway's may come after
 * that of the first thing that the relay did. Then by time. */
struct position {
    int rank;
    const char *time;
    size_t line;
    json_t *event;
};

static int compare(const void *a, const void *b)
{
    const struct position *x = a, *y = b;
    int order = x->rank - y->rank;

    if (order == 0)
        order = strcmp(x->time, y->time);
    return order ? order : x->line < y->line ? -1 : 1;
}

static void sort_events(struct group *g)
{
    size_t n = json_array_size(g->events), i;
    struct position *all = calloc(n + 1, sizeof *all);
    json_t *sorted = json_array(), *event;

    if (!all || !sorted) {
        free(all);
        json_decref(sorted);
        return; /* unsorted is better than nothing */
    }
    json_array_foreach(g->events, i, event)
    {
        const char *time = json_string_value(json_object_get(event, "time"));
        const char *name = json_string_value(json_object_get(event, "event"));

        all[i] = (struct position){ .rank = !name || strcmp(name, "received") != 0,
                                    .time = time ? time : "",
                                    .line = i,
                                    .event = event };
    }
    qsort(all, n, sizeof *all, compare);
    for (i = 0; i < n; i++)
        json_array_append(sorted, all[i].event);
    json_decref(g->events);
    g->events = sorted;
    free(all);
}

/* ---- printing ---- */

static const char *text_of(const json_t *event, const char *key)
{
    return json_string_value(json_object_get(event, key));
}

static void print_value(const json_t *value)
{
    char *text;

    if (json_is_string(value)) {
        out_safe(stdout, str_of(json_string_value(value)));
        return;
    }
    text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    out_safe(stdout, str_of(text ? text : ""));
    free(text);
}

/* " word value" where the event has the key. */
static void word(const json_t *event, const char *name, const char *key)
{
    const json_t *value = json_object_get(event, key);

    if (!value || json_is_null(value))
        return;
    printf(" %s ", name);
    if (json_is_string(value) && !*json_string_value(value))
        fputs("<>", stdout);
    else
        print_value(value);
}

/* Before a detail: the first one of a line begins it, under the event's name. */
static void detail(bool *begun)
{
    fputs(*begun ? ", " : "\n                            ", stdout);
    *begun = true;
}

static void detail_word(bool *begun, const json_t *event, const char *name, const char *key)
{
    const json_t *value = json_object_get(event, key);

    if (!value || json_is_null(value))
        return;
    detail(begun);
    printf("%s%s", name, *name ? " " : "");
    print_value(value);
}

/* Keys that are said in words, or not at all; all others are printed as they are. */
static bool said(const char *key)
{
    static const char *const keys[] = {
        "time",      "level",  "event",    "id",           "reverse_path",
        "sender",    "client", "helo",     "size",         "recipients",
        "recipient", "to",     "next_hop", "code",         "reply",
        "delay_ms",  "reason", "text",     "next_attempt", "recipient_count",
        "connection"
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(keys); i++)
        if (strcmp(key, keys[i]) == 0)
            return true;
    return false;
}

/* The second line: what else is known. */
static void print_details(const json_t *event)
{
    json_int_t size = json_integer_value(json_object_get(event, "size"));
    json_int_t delay = json_integer_value(json_object_get(event, "delay_ms"));
    char text[OUT_SIZE], next[32];
    bool begun = false;
    const json_t *v;
    const char *key;

    detail_word(&begun, event, "client", "client");
    detail_word(&begun, event, "HELO", "helo");
    if (size) {
        detail(&begun);
        out_size((uint64_t)size, text);
        printf("size %s", text);
    }
    if (delay) {
        detail(&begun);
        printf("after %.*f s", delay < 10000 ? 3 : 0, (double)delay / 1000);
    }
    if (text_of(event, "next_attempt")) {
        detail(&begun);
        out_time(text_of(event, "next_attempt"), next);
        printf("next attempt %s", next);
    }
    json_object_foreach((json_t *)event, key, v)
    {
        if (!said(key)) {
            detail(&begun);
            out_safe(stdout, str_of(key));
            printf("=");
            print_value(v);
        }
    }
}

/* A line of its own for what was said, by the next hop or by us. */
static void print_words(const json_t *event)
{
    bool begun = false;

    detail_word(&begun, event, "", "reason");
    detail_word(&begun, event, "", "text");
    if (json_object_get(event, "reply"))
        detail_word(&begun, event, "", "reply");
    else
        detail_word(&begun, event, "", "code");
}

static void print_event(const json_t *event)
{
    const char *time = text_of(event, "time");

    printf("  %.10s %.13s  ", time && strlen(time) > 20 ? time : "-",
           time && strlen(time) > 20 ? time + 11 : "-");
    out_safe(stdout, str_of(text_of(event, "event") ? text_of(event, "event") : "?"));
    word(event, "from", "reverse_path");
    word(event, "from", "sender");
    word(event, "to", "recipient");
    word(event, "to", "recipients");
    word(event, "to", "to");
    word(event, "through", "next_hop");
    print_details(event);
    print_words(event);
    putchar('\n');
}

static void print_groups(const struct trace *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const json_t *event;
        size_t j;

        if (t->count > 1 || t->address)
            printf("%s%s\n", i ? "\n" : "", t->groups[i].id[0] ? t->groups[i].id : "no message");
        json_array_foreach(t->groups[i].events, j, event) print_event(event);
    }
}

static void print_json(const struct trace *t)
{
    json_t *items = json_array();

    for (size_t i = 0; i < t->count; i++) {
        const json_t *id = NULL;

        if (t->groups[i].id[0])
            id = json_string(t->groups[i].id);
        json_array_append_new(items, json_pack("{s:o, s:O}", "id", id ? id : json_null(), "events",
                                               t->groups[i].events));
    }
    out_json(items, true);
    json_decref(items);
}

/* ---- the command ---- */

static int start(struct trace *t, const char *what)
{
    char id[MSGID_SIZE];
    uint64_t number;

    t->index = json_object();
    if (strchr(what, '@')) {
        t->address = what;
        return CLI_OK;
    }
    if (!msgid_parse(str_of(what), &number))
        return cli_fail("%s is neither a message ID nor an address", what);
    msgid_format(number, id);
    add_group(t, id);
    return CLI_OK;
}

/* Asks a running gateway for the lines that it has not written yet. A gateway that is down, or does
 * not answer in time, is no reason not to show what there is. */
static void flush_log(const struct cli *c)
{
    char path[4200];
    struct http_call call = { .method = "POST", .target = "/api/v1/log/flush" };
    struct http_client *client;
    struct http_reply reply;

    snprintf(path, sizeof path, "%s/api.sock", c->state);
    client = http_client_new(path, FLUSH_TIMEOUT_MS);
    if (client && http_client_call(client, &call, &reply, NULL) == PT_ERR_OK)
        http_reply_done(&reply);
    http_client_free(client);
}

static bool anything(const struct trace *t)
{
    for (size_t i = 0; i < t->count; i++)
        if (json_array_size(t->groups[i].events))
            return true;
    return false;
}

/* Reads the log; false: it could not be read, and that was said. */
static bool gather(struct trace *t, const struct cli *c)
{
    flush_log(c);
    if (t->address)
        read_log(t, c->state, find_messages);
    if (!t->failed && json_object_size(t->index))
        read_log(t, c->state, gather_events);
    for (size_t i = 0; i < t->count; i++)
        sort_events(&t->groups[i]);
    return !t->failed;
}

static void done(struct trace *t)
{
    for (size_t i = 0; i < t->count; i++)
        json_decref(t->groups[i].events);
    free(t->groups);
    json_decref(t->index);
}

int cli_trace(struct cli *c)
{
    struct trace t = { 0 };
    int status = start(&t, c->args[0]);

    if (status == CLI_OK) {
        if (!gather(&t, c))
            status = CLI_FAILED;
        else if (!anything(&t))
            status = cli_fail("nothing about %s in %s/log", c->args[0], c->state);
        else if (c->json)
            print_json(&t);
        else
            print_groups(&t);
    }
    done(&t);
    return status;
}

json_t *cli_trace_events(struct cli *c, const char *id)
{
    struct trace t = { 0 };
    json_t *events = NULL;

    if (start(&t, id) == CLI_OK && gather(&t, c) && t.count)
        events = json_incref(t.groups[0].events);
    done(&t);
    return events;
}

void cli_trace_print(const json_t *events)
{
    const json_t *event;
    size_t i;

    json_array_foreach(events, i, event) print_event(event);
}
