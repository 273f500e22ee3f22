/*
 * api/preview: whom a draft of the settings would refuse, or let in, of the clients of the last
 * days; and warnings for who is about to lock himself out.
 */
#include <stdio.h>
#include <stdlib.h>

#include "api/resources.h"
#include "base/clock.h"
#include "net/host.h"

enum { ROWS = 100, ROWS_MAX = 1000, INTERFACES_MAX = 256 };

static const int64_t day_us = INT64_C(86400000000);

/* ---- clients ---- */

static struct policy_past past_of(const struct tracking_client *c,
                                  const char *recipients[TRACKING_RECIPIENTS])
{
    for (uint8_t i = 0; i < c->recipient_count; i++)
        recipients[i] = c->recipients[i];
    return (struct policy_past){ .address = c->address,
                                 .mail = c->mail,
                                 .tls = c->tls,
                                 .messages_max = c->messages_max,
                                 .recipients_max = c->recipients_max,
                                 .size_max = c->size_max,
                                 .connections = c->connections,
                                 .messages = c->messages,
                                 .refusals = c->refusals,
                                 .last_us = c->last_us,
                                 .helo = c->helo,
                                 .recipients = recipients,
                                 .recipient_count = c->recipient_count };
}

static bool add_client(void *user, const struct tracking_client *c)
{
    const char *recipients[TRACKING_RECIPIENTS];
    const struct policy_past past = past_of(c, recipients);

    policy_preview_add(user, &past);
    return true;
}

/* ---- the answer ---- */

static json_t *text_or_null(const char *text)
{
    return text && text[0] ? api_json_str(str_of(text)) : json_null();
}

static json_t *row_json(const struct policy_preview_row *r)
{
    json_t *v = json_object();
    char address[NET_ADDR_SIZE];

    net_addr_format(&r->address, address);
    api_json_set(&v, "client", json_string(address));
    api_json_set(&v, "helo", text_or_null(r->helo));
    api_json_set(&v, "connections", json_integer((json_int_t)r->connections));
    api_json_set(&v, "messages", json_integer((json_int_t)r->messages));
    api_json_set(&v, "refusals", json_integer((json_int_t)r->refusals));
    api_json_set(&v, "last_seen", api_json_time(r->last_us));
    api_json_set(&v, "command", text_or_null(r->command));
    api_json_set(&v, "domain", text_or_null(r->recipient));
    api_json_set(&v, "rule", text_or_null(r->rule));
    api_json_set(&v, "list", text_or_null(r->list));
    api_json_set(&v, "entry", text_or_null(r->entry));
    api_json_set(&v, "comment", text_or_null(r->comment));
    api_json_set(&v, "code", json_integer(r->code));
    api_json_set(&v, "reply", text_or_null(r->reply));
    return v;
}

static json_t *side_json(const struct policy_preview_side *s)
{
    json_t *v = json_object(), *items = json_array();

    for (uint32_t i = 0; i < s->count; i++)
        api_json_add(&items, row_json(&s->rows[i]));
    api_json_set(&v, "clients", json_integer((json_int_t)s->clients));
    api_json_set(&v, "connections", json_integer((json_int_t)s->connections));
    api_json_set(&v, "messages", json_integer((json_int_t)s->messages));
    api_json_set(&v, "items", items);
    return v;
}

static json_t *result_json(const struct policy_preview_result *r)
{
    json_t *v = json_object();

    api_json_set(&v, "clients", json_integer((json_int_t)r->clients));
    api_json_set(&v, "refused", side_json(&r->refused));
    api_json_set(&v, "let_in", side_json(&r->let_in));
    return v;
}

json_t *api_preview_json(struct http_exchange *x, const struct policy_snapshot *before,
                         const struct policy_snapshot *after)
{
    struct api *a = api_of(x);
    int64_t now_us = clock_wall_us();
    struct pt_fault fault = { 0 };
    struct policy_preview *p;
    uint64_t rows = ROWS;
    json_t *v = NULL;

    if (!http_exchange_query_u64(x, "limit", ROWS, &rows) || rows > ROWS_MAX)
        rows = ROWS_MAX;
    p = policy_preview_new(before, after, now_us, now_us - day_us, (uint32_t)rows);
    if (!p)
        return NULL;
    if (a->deps.clients_each(a->deps.ctx, add_client, p, &fault) == PT_ERR_OK) {
        v = result_json(policy_preview_end(p));
    } else {
        v = json_object();
        api_json_set(&v, "error", api_json_str(str_of(fault.text)));
    }
    policy_preview_free(p);
    return v;
}

/* ---- warnings ---- */

static void add_warning(json_t **warnings, const char *detail)
{
    json_t *w = json_object();

    api_json_set(&w, "pointer", json_string("/connections/control"));
    api_json_set(&w, "detail", api_json_str(str_of(detail)));
    api_json_add(warnings, w);
}

/* "entry 192.0.2.0/24 of the deny list" */
static void decided_by(const struct policy_preview_row *r, char *out, size_t size)
{
    if (r->list && r->entry[0])
        snprintf(out, size, "entry %s of the %s list", r->entry, r->list);
    else
        snprintf(out, size, "%s%s%s", r->rule, r->list ? ": no entry of the list fits: " : "",
                 r->list ? r->list : "");
}

/* The address that the change comes from, as far as somebody says so: the console of its
 * administrator, the command line of who has logged in from elsewhere. It is believed for a warning
 * and for nothing else. */
static bool said_address(const struct http_exchange *x, struct net_addr *out)
{
    return net_addr_parse(str_trim(http_request_header(x->request, "postern-client")), out);
}

static void warn_of_own_address(const struct policy_snapshot *before,
                                const struct policy_snapshot *after, const struct net_addr *address,
                                json_t **warnings)
{
    int64_t now_us = clock_wall_us();
    struct policy_preview_row row;
    char text[NET_ADDR_SIZE], by[400], detail[600];

    if (policy_preview_refuses(before, address, now_us, NULL) ||
        !policy_preview_refuses(after, address, now_us, &row))
        return;
    net_addr_format(address, text);
    decided_by(&row, by, sizeof by);
    snprintf(detail, sizeof detail,
             "THIS REFUSES %s, the address from which the change is made (%s)", text, by);
    add_warning(warnings, detail);
}

/* Which addresses of this host may connect: all that a request on the socket is known to be from.
 */
static uint32_t own_let_in(const struct policy_snapshot *snap)
{
    struct net_interface *all = calloc(INTERFACES_MAX, sizeof *all);
    uint32_t count = all ? net_host_interfaces(all, INTERFACES_MAX) : 0, n = 0;

    for (uint32_t i = 0; i < count; i++)
        n += all[i].scope != NET_SCOPE_LINK &&
             !policy_preview_refuses(snap, &all[i].prefix.addr, clock_wall_us(), NULL);
    free(all);
    return n;
}

struct last_day {
    const struct policy_snapshot *before, *after;
    int64_t now_us;
    uint64_t seen, refused_before;
    bool some_let_in;
};

static bool look_at(void *user, const struct tracking_client *c)
{
    struct last_day *d = user;

    if (c->last_us < d->now_us - day_us)
        return true;
    d->seen++;
    d->refused_before += policy_preview_refuses(d->before, &c->address, d->now_us, NULL);
    d->some_let_in = !policy_preview_refuses(d->after, &c->address, d->now_us, NULL);
    return !d->some_let_in;
}

/* Ends with the first one that is let in, which usually is the first. */
static void warn_of_everybody(struct http_exchange *x, const struct policy_snapshot *before,
                              const struct policy_snapshot *after, json_t **warnings)
{
    struct api *a = api_of(x);
    struct last_day d = { .before = before, .after = after, .now_us = clock_wall_us() };
    char detail[200];

    if (a->deps.clients_each(a->deps.ctx, look_at, &d, NULL) != PT_ERR_OK || d.some_let_in ||
        d.refused_before == d.seen)
        return;
    snprintf(
        detail, sizeof detail,
        "THIS REFUSES EVERY CLIENT of the last day: all %llu of them, of whom %llu may connect "
        "now",
        (unsigned long long)d.seen, (unsigned long long)(d.seen - d.refused_before));
    add_warning(warnings, detail);
}

void api_preview_warn(struct http_exchange *x, const struct policy_snapshot *before,
                      const struct policy_snapshot *after, json_t **warnings)
{
    const struct settings *b = policy_snapshot_settings(before);
    const struct settings *a = policy_snapshot_settings(after);
    struct net_addr address;

    if (a->control.mode == b->control.mode && a->control.deny_list == b->control.deny_list &&
        a->control.permit_list == b->control.permit_list)
        return;
    if (said_address(x, &address))
        warn_of_own_address(before, after, &address, warnings);
    if (own_let_in(before) > 0 && own_let_in(after) == 0)
        add_warning(warnings,
                    "THIS REFUSES THIS HOST ITSELF: none of its own addresses may connect");
    warn_of_everybody(x, before, after, warnings);
}
