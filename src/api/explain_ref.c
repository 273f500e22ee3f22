/*
 * api/explain_ref: what the reference at the end of a refusal leads to.
 *
 * The record says what was decided; who put the entry there is looked for in the audit log, from
 * the time of the refusal backwards.
 */
#include <stdio.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"

enum { ROWS_AT_ONCE = 500, ROWS_MAX = 20000 };

/* ---- who added the entry ---- */

struct search {
    const struct tracking_refusal *refusal;
    const char *pointer; /* of its list */
    uint64_t last;       /* row that was looked at */
    uint32_t rows;
    json_t *found; /* NULL: not yet */
};

static const char *pointer_of(const char *list)
{
    static const char *const rows[][2] = {
        { "deny", "/connections/control/deny_list" },
        { "permit", "/connections/control/permit_list" },
        { "networks", "/message_rules/permitted_relay/networks" },
        { "relay_domains", "/message_rules/relay_domains" },
        { "exempt", "/connections/limits/exempt" },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(rows); i++)
        if (strcmp(rows[i][0], list) == 0)
            return rows[i][1];
    return NULL;
}

static bool names_entry(const json_t *elements, const char *entry)
{
    const json_t *e;
    size_t i;

    json_array_foreach(elements, i, e)
    {
        const char *text = json_string_value(json_is_object(e) ? json_object_get(e, "network") : e);

        if (text && strcmp(text, entry) == 0)
            return true;
    }
    return false;
}

static bool adds_entry(const struct search *s, struct str text)
{
    json_t *changes = text.n ? json_loadb(text.p, text.n, 0, NULL) : NULL;
    const json_t *c;
    bool adds = false;
    size_t i;

    json_array_foreach(changes, i, c)
    {
        const char *pointer = json_string_value(json_object_get(c, "pointer"));

        if (!pointer || strcmp(pointer, s->pointer) != 0)
            continue;
        adds |= names_entry(json_object_get(c, "added"), s->refusal->entry) ||
                names_entry(json_object_get(c, "after"), s->refusal->entry);
    }
    json_decref(changes);
    return adds;
}

static void look_at(void *user, uint64_t id, const struct settings_audit *a)
{
    struct search *s = user;

    s->last = id;
    s->rows++;
    if (s->found || a->outcome != SETTINGS_AUDIT_DONE || a->revision == 0 ||
        a->revision > s->refusal->revision || !adds_entry(s, a->changes))
        return;
    s->found = json_object();
    api_json_set(&s->found, "author", api_json_str(a->actor));
    api_json_set(&s->found, "time", api_json_time(a->time_us));
    api_json_set(&s->found, "revision", json_integer((json_int_t)a->revision));
}

/* { "author", "time", "revision" }, or null: the log does not name the entry (any more), as with
 * one of a long file that was imported. */
static json_t *added_json(struct http_exchange *x, const struct tracking_refusal *r)
{
    struct search s = { .refusal = r, .pointer = pointer_of(r->list) };
    struct settings_store *store = NULL;
    struct pt_fault fault;
    bool more = s.pointer && r->entry[0];

    if (!more || settings_store_open(&store, api_of(x)->deps.state_directory, SETTINGS_STORE_READ,
                                     &fault) != PT_ERR_OK)
        return json_null();
    while (more && !s.found && s.rows < ROWS_MAX) {
        const struct settings_audit_filter filter = { .before = s.last,
                                                      .until_us = r->time_us,
                                                      .action = STR("settings"),
                                                      .limit = ROWS_AT_ONCE };
        uint64_t total;

        if (settings_audit_list(store, &filter, look_at, &s, &total, &more, &fault) != PT_ERR_OK)
            break;
    }
    settings_store_close(store);
    return s.found ? s.found : json_null();
}

/* ---- the answer ---- */

static json_t *text_or_null(const char *text)
{
    return text[0] ? api_json_str(str_of(text)) : json_null();
}

static void answer_found(struct http_exchange *x, struct str ref, const struct tracking_refusal *r)
{
    json_t *v = json_object();
    char address[NET_ADDR_SIZE];
    bool mail = strcmp(r->command, "MAIL") == 0, in_transaction = r->sender[0] || mail;

    net_addr_format(&r->client.addr, address);
    api_json_set(&v, "ref", api_json_str(ref));
    api_json_set(&v, "time", api_json_time(r->time_us));
    api_json_set(&v, "client", json_string(address));
    api_json_set(&v, "port", json_integer(r->client.port));
    api_json_set(&v, "helo", text_or_null(r->helo));
    api_json_set(&v, "tls", json_boolean(r->tls));
    api_json_set(&v, "command", text_or_null(r->command));
    api_json_set(&v, "from", in_transaction ? api_json_str(str_of(r->sender)) : json_null());
    api_json_set(&v, "to", text_or_null(r->recipient));
    api_json_set(&v, "rule", text_or_null(r->step));
    api_json_set(&v, "list", text_or_null(r->list));
    api_json_set(&v, "entry", text_or_null(r->entry));
    api_json_set(&v, "comment", text_or_null(r->comment));
    api_json_set(&v, "added", added_json(x, r));
    api_json_set(&v, "revision", r->revision ? json_integer((json_int_t)r->revision) : json_null());
    api_json_set(&v, "code", json_integer(r->code));
    api_json_set(&v, "reply", text_or_null(r->reply));
    http_answer_json(x, 200, v);
}

static void answer_lost(struct http_exchange *x, struct str ref, const struct tracking_span *span)
{
    char from[CLOCK_RFC3339_SIZE], until[CLOCK_RFC3339_SIZE];

    clock_rfc3339(span->from_us, from);
    clock_rfc3339(span->until_us, until);
    http_problem(x, 410,
                 "Reference %.*s was given out between %s and %s, but there is no record of it: of "
                 "the %llu refusals of that time %llu were not kept, because they were too many at "
                 "once, or it has had to make room. The log may have it.",
                 STR_FMT(ref), from, until, (unsigned long long)span->given,
                 (unsigned long long)span->lost);
}

void api_explain_ref(struct http_exchange *x, struct str ref)
{
    struct api *a = api_of(x);
    struct tracking_refusal r;
    struct tracking_span span;
    struct pt_fault fault = { 0 };
    enum pt_err err = a->deps.refusal_find(a->deps.ctx, ref, &r, &span, &fault);

    switch (err) {
    case PT_ERR_OK:
        answer_found(x, ref, &r);
        return;
    case PT_ERR_INVALID:
        http_problem(x, 422, "A reference has the form XXXX-XXXX, digits and letters.");
        return;
    case PT_ERR_AGAIN:
        answer_lost(x, ref, &span);
        return;
    case PT_ERR_NOTFOUND:
        http_problem(x, 404, "This gateway has given out no reference %.*s in the last %d days.",
                     STR_FMT(ref), TRACKING_REFUSAL_DAYS);
        return;
    default:
        api_problem(x, err, fault.text[0] ? fault.text : NULL);
    }
}
