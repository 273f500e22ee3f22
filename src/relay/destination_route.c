#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "relay/redirect.h"
#include "relay/scheduler_private.h"

/* A route's destinations: their names, and how one is made. */

enum { KEY_MAX = 16384 };

/* ---- names ---- */

/* "/order=1,1,2/weight=3,1,1", as far as there is something to say. */
static void write_shares(struct buf *key, const struct settings_route *route)
{
    bool weighted = false;

    if (!route->ordered)
        return;
    for (uint32_t i = 0; i < route->next_hop_count; i++) {
        buf_addf(key, "%s%u", i ? "," : "/order=", (unsigned)route->next_hops[i].order);
        weighted |= route->next_hops[i].weight != 1;
    }
    for (uint32_t i = 0; weighted && i < route->next_hop_count; i++)
        buf_addf(key, "%s%u", i ? "," : "/weight=", (unsigned)route->next_hops[i].weight);
}

static void write_demand(struct buf *key, const struct settings_route *route)
{
    static const char *const names[] = {
        [SETTINGS_ROUTE_TLS_NONE] = "none",
        [SETTINGS_ROUTE_TLS_OPPORTUNISTIC] = "opportunistic",
        [SETTINGS_ROUTE_TLS_ENCRYPT] = "encrypt",
        [SETTINGS_ROUTE_TLS_VERIFY] = "verify",
    };
    char source[NET_ADDR_SIZE];

    if (route->lmtp)
        BUF_LIT(key, "/lmtp");
    if (route->tls != SETTINGS_ROUTE_TLS_DEFAULT)
        buf_addf(key, "/tls=%s", names[route->tls]);
    if (route->ca)
        buf_addf(key, "/ca=%s", route->ca);
    if (route->auth)
        buf_addf(key, "/auth=%s/%s", route->auth->user, route->auth->secret);
    if (route->source.family != NET_NONE) {
        net_addr_format(&route->source, source);
        buf_addf(key, "/source=%s", source);
    }
}

static void write_key(struct buf *key, const struct settings_route *route, struct str domain)
{
    if (!route) {
        BUF_LIT(key, "no-route:");
        buf_add_str(key, domain);
        return;
    }
    if (route->via == SETTINGS_VIA_MX) {
        BUF_LIT(key, "mx:");
        for (size_t i = 0; i < domain.n; i++)
            buf_add_char(key, ascii_lower(domain.p[i]));
    }
    for (uint32_t i = 0; route->via != SETTINGS_VIA_MX && i < route->next_hop_count; i++) {
        const struct settings_next_hop *hop = &route->next_hops[i];
        bool v6 = strchr(hop->host, ':') != NULL;

        buf_addf(key, "%s%s%s%s:%u", i ? "," : "", v6 ? "[" : "", hop->host, v6 ? "]" : "",
                 (unsigned)hop->port);
    }
    write_shares(key, route);
    write_demand(key, route);
}

bool relay_dest_key(const struct settings_route *route, struct str domain, struct buf *out)
{
    write_key(out, route, domain);
    return !out->failed;
}

/* ---- making one ---- */

static void fill_shares(struct relay_dest *d, const struct settings_route *route)
{
    for (uint32_t i = 0; i < d->hop_count; i++) {
        struct relay_share *s = &d->shares[i];

        s->order = route->ordered ? route->next_hops[i].order : i;
        s->weight = PT_MAX(route->next_hops[i].weight, 1u);
        for (uint32_t k = 0; k < i; k++)
            d->balanced |= d->shares[k].order == s->order;
    }
}

static bool fill_hops(struct relay_dest *d, const struct settings_route *route)
{
    uint32_t room = PT_MAX(route->next_hop_count, 1u);

    pt_assert(room <= RELAY_BALANCE_MAX);
    d->hops = calloc(room, sizeof *d->hops);
    d->shares = calloc(room, sizeof *d->shares);
    if (!d->hops || !d->shares)
        return false;
    for (uint32_t i = 0; i < route->next_hop_count; i++) {
        d->hops[i].host = str_dup(str_of(route->next_hops[i].host));
        if (!d->hops[i].host)
            return false;
        d->hops[i].port = route->next_hops[i].port;
        d->hop_count++;
    }
    fill_shares(d, route);
    return true;
}

/* False: memory is short. */
static bool fill_auth(struct relay_dest *d, const struct settings_auth *auth)
{
    if (!auth)
        return true;
    d->user = str_dup(str_of(auth->user));
    d->password = auth->password ? str_dup(str_of(auth->password)) : NULL;
    return d->user && (d->password || !auth->password);
}

static char *lower_dup(struct str s)
{
    char *p = str_dup(s);

    for (size_t i = 0; p && i < s.n; i++)
        p[i] = ascii_lower(p[i]);
    return p;
}

static bool fill(struct relay_dest *d, const struct settings_route *route, struct str domain,
                 struct str key)
{
    d->key = str_dup(key);
    d->domain = lower_dup(domain);
    if (!d->key || !d->domain)
        return false;
    if (!route)
        return true;
    d->lmtp = route->lmtp;
    d->source = route->source;
    d->tls = (uint8_t)route->tls;
    d->ca = route->ca ? str_dup(str_of(route->ca)) : NULL;
    return (d->ca || !route->ca) && fill_auth(d, route->auth) &&
           (d->kind != RELAY_DEST_HOPS || fill_hops(d, route));
}

static struct relay_dest *make(struct relay_dest_table *t, const struct settings_route *route,
                               struct str domain, struct str key)
{
    struct relay_dest *d = calloc(1, sizeof *d);

    if (!d)
        return NULL;
    due_init(&d->rest, RELAY_DUE_DEST);
    due_init(&d->pace_due, RELAY_DUE_PACE);
    d->kind = !route                          ? RELAY_DEST_NO_ROUTE
              : route->via == SETTINGS_VIA_MX ? RELAY_DEST_MX
                                              : RELAY_DEST_HOPS;
    d->max_concurrency = RELAY_CONCURRENCY_DEFAULT;
    d->limit = RELAY_CONCURRENCY_FIRST;
    d->small_run = RELAY_SMALL_RUN;
    if (!fill(d, route, domain, key) || !relay_dest_table_add(t, d)) {
        relay_dest_discard(d);
        return NULL;
    }
    return d;
}

struct relay_dest *relay_dest_of_table(struct relay_dest_table *t,
                                       const struct settings_route *route, struct str domain)
{
    struct relay_dest *d = NULL;
    struct buf key;

    buf_init(&key, KEY_MAX);
    write_key(&key, route, domain);
    if (!key.failed) {
        d = relay_dest_find(t, buf_str(&key));
        if (!d)
            d = make(t, route, domain, buf_str(&key));
    }
    buf_done(&key);
    return d;
}

static struct relay_dest *find_or_make(struct relay_sched *s, const struct settings_route *route,
                                       struct str domain, bool *out_made)
{
    struct relay_dest *d = relay_dest_of_table(&s->dests, route, domain);

    *out_made = d && !d->known;
    if (*out_made) {
        d->known = true;
        relay_suspension_meets(s, d);
    }
    return d;
}

/* ---- limits ---- */

static void set_limits(struct relay_sched *s, struct relay_dest *d, uint32_t concurrency,
                       uint32_t per_minute)
{
    if (d->max_concurrency == concurrency && d->pace.per_minute == per_minute)
        return;
    d->max_concurrency = concurrency;
    d->limit = PT_MIN(d->limit, concurrency);
    relay_pace_set(&d->pace, per_minute);
    relay_dest_refresh(&s->dests, d);
}

static void take_limits(struct relay_sched *s, struct relay_dest *d,
                        const struct settings_route *route, bool with_others)
{
    uint32_t concurrency =
        route->max_concurrency ? route->max_concurrency : RELAY_CONCURRENCY_DEFAULT;
    uint32_t per_minute = route->max_messages_per_minute;

    if (with_others) {
        concurrency = PT_MIN(concurrency, d->max_concurrency);
        if (d->pace.per_minute && (!per_minute || d->pace.per_minute < per_minute))
            per_minute = d->pace.per_minute;
    }
    set_limits(s, d, concurrency, per_minute);
}

struct relay_dest *relay_dest_for_route(struct relay_sched *s, const struct settings_route *route,
                                        struct str domain)
{
    bool made;
    struct relay_dest *d = find_or_make(s, route, domain, &made);

    if (d && route) {
        /* Of several routes with the same next hops the strictest counts. */
        bool with_others = d->kind == RELAY_DEST_HOPS && d->limits_of == s->settings_count && !made;

        take_limits(s, d, route, with_others);
        d->limits_of = s->settings_count;
    }
    return d;
}

/* ---- where an administrator sends it instead ---- */

/* What a route says of limits it says of its own next hops: one that is known keeps its own. */
struct relay_dest *relay_dest_for_redirect(struct relay_sched *s,
                                           const struct settings_route *route, struct str next_hop)
{
    char host[256];
    struct settings_next_hop hop;
    struct settings_route redirected;
    struct relay_dest *d;
    bool made;

    if (!relay_next_hop_parse(next_hop, &hop, host))
        return NULL;
    relay_redirected_route(route, &hop, &redirected);
    d = find_or_make(s, &redirected, STR(""), &made);
    if (d && made)
        take_limits(s, d, &redirected, false);
    return d;
}
