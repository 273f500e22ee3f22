#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "net/loop.h"
#include "net/resolver.h"
#include "relay/route_private.h"
#include "relay/scheduler_private.h"

enum { SMTP_PORT = 25 };

/* ---- the DNS ---- */

struct question {
    struct net_query query;
    bool answered;
};

static void on_answer(struct net_query *q)
{
    PT_CONTAINER_OF(q, struct question, query)->answered = true;
}

/* On a loop of its own: a job thread has none. */
static void ask(struct route_test *t, struct net_query *out, enum net_query_kind kind,
                const char *name)
{
    struct question q = { .query = { .kind = kind, .done = on_answer } };
    struct net_loop *loop = t->resolver ? net_loop_new(0) : NULL;

    if (!loop) {
        *out = (struct net_query){ .result = PT_ERR_AGAIN };
        snprintf(out->reason, sizeof out->reason, "names are not looked up now");
        return;
    }
    snprintf(q.query.name, sizeof q.query.name, "%s", name);
    q.query.reply_to = loop;
    net_resolve(t->resolver, &q.query);
    while (!q.answered)
        net_loop_turn(loop, -1);
    net_loop_free(loop);
    *out = q.query;
}

/* ---- addresses ---- */

static const char *why_not(struct route_test *t, const struct net_endpoint *e, const char *host,
                           bool exchanger)
{
    const struct net_addr *source = t->route ? &t->route->source : NULL;

    if (relay_is_ourselves(&t->us, e, exchanger ? host : NULL))
        return "this is the gateway itself";
    if (source && source->family != NET_NONE && source->family != e->addr.family)
        return "not of the family of the route's source";
    return NULL;
}

/* How it is with a destination that is there. */
static void describe_health(struct route_test *t, const struct net_endpoint *e,
                            struct relay_route_address *a)
{
    struct relay *r = t->relay;
    uint32_t hash = relay_endpoint_hash(e);
    int64_t now_us = relay_now(r);
    const struct relay_dest *d;

    relay_lock(r);
    d = relay_dest_find(&r->sched.dests, str_of(t->view.destination));
    if (d) {
        a->tls_failed = relay_dest_is_clear(d, hash, now_us);
        for (unsigned i = 0; i < RELAY_BAD_MAX; i++)
            if (d->bad[i].hash == hash && d->bad[i].until_us > now_us)
                a->failed_until_us = d->bad[i].until_us;
    }
    relay_unlock(r);
}

static void fill_addresses(struct route_test *t, struct relay_route_hop *hop,
                           const struct net_target *targets, uint32_t count, const char *skipped)
{
    struct relay_route_address *all = arena_zalloc(&t->arena, (count + 1) * sizeof *all);

    t->failed |= !all;
    for (uint32_t i = 0; all && i < count; i++) {
        struct net_endpoint e = { targets[i].addr, hop->port };

        net_endpoint_format(&e, all[i].text);
        all[i].skipped = why_not(t, &e, hop->host, t->view.asked_dns);
        if (!all[i].skipped)
            all[i].skipped = skipped;
        describe_health(t, &e, &all[i]);
    }
    hop->addresses = all;
    hop->address_count = all ? count : 0;
}

static const char *keep(struct route_test *t, const char *text)
{
    struct str copy = arena_str(&t->arena, str_of(text));

    t->failed |= !copy.p;
    return copy.p ? copy.p : "";
}

/* ---- next hops of the route ---- */

static void fill_hop(struct route_test *t, const struct settings_next_hop *from, bool shares,
                     struct relay_route_hop *out)
{
    struct net_target literal = { .priority = 0 };
    struct net_query q;

    *out = (struct relay_route_hop){ .host = from->host,
                                     .port = from->port,
                                     .ordered = t->route->ordered,
                                     .order = from->order,
                                     .weight = shares ? PT_MAX(from->weight, 1u) : 0 };
    if (net_addr_parse(str_of(from->host), &literal.addr)) {
        fill_addresses(t, out, &literal, 1, NULL);
        return;
    }
    ask(t, &q, NET_QUERY_ADDRESSES, from->host);
    out->looked_up = true;
    out->secure = q.secure;
    if (q.result != PT_ERR_OK)
        out->error = keep(t, q.reason[0] ? q.reason : pt_err_text(q.result));
    fill_addresses(t, out, q.targets, q.target_count, NULL);
    net_query_clear(&q);
}

static bool shares(const struct settings_route *route, uint32_t i)
{
    for (uint32_t k = 0; route->ordered && k < route->next_hop_count; k++)
        if (k != i && route->next_hops[k].order == route->next_hops[i].order)
            return true;
    return false;
}

/* As a connection that is opened now would. */
static void rank(struct route_test *t, uint8_t out[RELAY_BALANCE_MAX])
{
    struct relay *r = t->relay;
    const struct settings_route *route = t->route;
    struct relay_share fresh[RELAY_BALANCE_MAX];
    const struct relay_dest *d;

    for (uint32_t i = 0; i < route->next_hop_count; i++)
        fresh[i] = (struct relay_share){ .order = route->ordered ? route->next_hops[i].order : i,
                                         .weight = PT_MAX(route->next_hops[i].weight, 1u) };
    relay_balance_rank(fresh, route->next_hop_count, relay_now(r), out);
    relay_lock(r);
    d = relay_dest_find(&r->sched.dests, str_of(t->view.destination));
    if (d)
        relay_dest_rank(d, relay_now(r), out);
    relay_unlock(r);
}

static void fill_next_hops(struct route_test *t)
{
    const struct settings_route *route = t->route;
    uint8_t order[RELAY_BALANCE_MAX];

    rank(t, order);
    t->view.hop_count = PT_MIN(route->next_hop_count, (uint32_t)ROUTE_HOPS_MAX);
    for (uint32_t i = 0; i < t->view.hop_count; i++)
        fill_hop(t, &route->next_hops[order[i]], shares(route, order[i]), &t->hops[i]);
}

/* ---- mail exchangers ---- */

static void fill_exchangers(struct route_test *t, const struct net_query *q)
{
    uint32_t usable = relay_targets_before_us(&t->us, q->targets, q->target_count);

    for (uint32_t i = 0; i < q->target_count && t->view.hop_count < ROUTE_HOPS_MAX;) {
        struct relay_route_hop *hop = &t->hops[t->view.hop_count++];
        uint32_t n = 1;

        while (i + n < q->target_count && strcmp(q->targets[i + n].host, q->targets[i].host) == 0)
            n++;
        *hop = (struct relay_route_hop){ .host = keep(t, q->targets[i].host),
                                         .port = SMTP_PORT,
                                         .ordered = true,
                                         .order = q->targets[i].priority,
                                         .looked_up = true,
                                         .secure = q->secure };
        fill_addresses(t, hop, &q->targets[i], n,
                       i >= usable ? "not better than this gateway" : NULL);
        i += n;
    }
}

static void look_up_exchangers(struct route_test *t)
{
    struct net_query q;

    t->view.asked_dns = true;
    ask(t, &q, NET_QUERY_MX, t->view.domain);
    t->view.dns_secure = q.secure;
    t->view.dns_ttl = q.ttl;
    if (q.null_mx)
        relay_route_say(t, RELAY_ROUTE_RETURNED, "5.1.10 the domain accepts no mail (null MX)");
    else if (q.result == PT_ERR_NOTFOUND)
        relay_route_say(t, RELAY_ROUTE_RETURNED,
                        "5.1.2 there is no such domain, or no host takes its mail");
    else if (q.result != PT_ERR_OK)
        relay_route_say(t, RELAY_ROUTE_WAITS, "4.4.3 %s",
                        q.reason[0] ? q.reason : "the name cannot be resolved");
    fill_exchangers(t, &q);
    if (q.result == PT_ERR_OK && q.target_count &&
        relay_targets_before_us(&t->us, q.targets, q.target_count) == 0)
        relay_route_say(t, RELAY_ROUTE_RETURNED,
                        "5.4.6 mail would go in circles: its mail exchanger %s is this gateway",
                        q.targets[0].host);
    net_query_clear(&q);
}

/* "[192.0.2.1]" (RFC 5321 4.1.3). */
static bool fill_literal(struct route_test *t)
{
    struct str text = str_of(t->view.domain);
    struct net_target target = { .priority = 0 };

    if (text.n < 3 || text.p[0] != '[')
        return false;
    text = (struct str){ text.p + 1, text.n - 2 };
    if (str_starts_nocase(text, STR("IPv6:")))
        text = str_from(text, 5);
    if (!net_addr_parse(text, &target.addr))
        return false;
    t->hops[0] = (struct relay_route_hop){ .host = t->view.domain, .port = SMTP_PORT };
    t->view.hop_count = 1;
    fill_addresses(t, &t->hops[0], &target, 1, NULL);
    return true;
}

void relay_route_find_hops(struct route_test *t)
{
    const struct relay_route_hop *first = NULL;

    if (!t->route) {
        relay_route_say(t, RELAY_ROUTE_WAITS, "4.4.4 no route leads to %s", t->view.domain);
        return;
    }
    if (t->route->via != SETTINGS_VIA_MX)
        fill_next_hops(t);
    else if (!fill_literal(t))
        look_up_exchangers(t);
    if (t->view.text)
        return;
    for (uint32_t i = 0; i < t->view.hop_count && !first; i++)
        for (uint32_t k = 0; k < t->hops[i].address_count && !first; k++)
            if (!t->hops[i].addresses[k].skipped)
                first = &t->hops[i];
    if (first)
        relay_route_say(t, RELAY_ROUTE_GOES, "to %s:%u first", first->host, (unsigned)first->port);
    else
        relay_route_say(t, RELAY_ROUTE_WAITS, "4.4.4 none of its next hops can be tried");
}
