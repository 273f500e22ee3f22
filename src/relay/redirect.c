#include "relay/redirect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/scheduler_private.h"

/* ---- next hops as text ---- */

bool relay_next_hop_parse(struct str text, struct settings_next_hop *out, char host[256])
{
    struct str name;
    uint64_t port;
    size_t colon = text.n;

    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || !str_to_u64(str_from(text, colon), &port) || !port || port > UINT16_MAX)
        return false;
    name = str_head(text, colon - 1);
    if (name.n > 2 && name.p[0] == '[' && name.p[name.n - 1] == ']')
        name = (struct str){ name.p + 1, name.n - 2 };
    if (name.n >= 256)
        return false;
    memcpy(host, name.p, name.n);
    host[name.n] = 0;
    *out = (struct settings_next_hop){ .host = host, .port = (uint16_t)port, .weight = 1 };
    return true;
}

/* The host and, where there is one, the port. */
static bool split(struct str text, struct str *host, struct str *port)
{
    ptrdiff_t close, colon;
    struct net_addr a;

    *host = text;
    *port = STR_NULL;
    if (net_addr_parse(text, &a))
        return true;
    if (text.n && text.p[0] == '[') {
        close = str_find(text, ']', 0);
        if (close < 0)
            return false;
        *host = (struct str){ text.p + 1, (size_t)close - 1 };
        text = str_from(text, (size_t)close + 1);
        *port = str_from(text, text.n > 0);
        return !text.n || (text.p[0] == ':' && port->n);
    }
    colon = str_find(text, ':', 0);
    if (colon < 0)
        return true;
    *host = str_head(text, (size_t)colon);
    *port = str_from(text, (size_t)colon + 1);
    return port->n > 0;
}

const char *relay_next_hop_normalise(struct str text, char out[RELAY_NEXT_HOP_SIZE])
{
    char name[SETTINGS_DOMAIN_SIZE], address[NET_ADDR_SIZE];
    uint64_t number = 25;
    struct net_addr a;
    struct str host, port;

    if (!split(text, &host, &port) ||
        (port.n && (!str_to_u64(port, &number) || !number || number > UINT16_MAX)))
        return "must be HOST or HOST:PORT";
    if (net_addr_parse(host, &a)) {
        net_addr_format(&a, address);
        snprintf(out, RELAY_NEXT_HOP_SIZE, a.family == NET_IPV6 ? "[%s]:%u" : "%s:%u", address,
                 (unsigned)number);
        return NULL;
    }
    if (!settings_domain_normalise(host, name))
        return "must be the name or the address of a host, and its port behind a colon";
    snprintf(out, RELAY_NEXT_HOP_SIZE, "%s:%u", name, (unsigned)number);
    return NULL;
}

/* ---- a destination of its own ---- */

void relay_redirected_route(const struct settings_route *route, struct settings_next_hop *hop,
                            struct settings_route *out)
{
    *out = route ? *route : (struct settings_route){ .domain = "" };
    out->via = SETTINGS_VIA_NEXT_HOPS;
    out->next_hops = hop;
    out->next_hop_count = 1;
    out->ordered = false;
    if (!out->auth)
        return;
    /* The password is for the route's own next hops; what it demanded of TLS stays. */
    out->auth = NULL;
    if (out->tls < SETTINGS_ROUTE_TLS_ENCRYPT)
        out->tls = SETTINGS_ROUTE_TLS_ENCRYPT;
}

/* ---- recipients ---- */

static bool goes_by_route_to(struct relay_sched *s, struct str address, struct str destination)
{
    const struct relay_dest *d = relay_dest_by_route(s, address);

    return d && relay_dest_is(d, destination);
}

static bool is_meant(struct relay_sched *s, const struct relay_group *g, uint32_t index,
                     const struct relay_redirect *how)
{
    const struct spool_message *m = g->item->message;
    struct str now = m->next_hops ? m->next_hops[index] : STR_NULL;
    const struct relay_dest *d;

    if (str_eq_nocase(now, how->next_hop) || (!how->next_hop.n && !now.n))
        return false;
    if (!how->destination.p)
        return true;
    d = g->gathered ? relay_dest_of(s, m, index) : g->dest;
    return (d && relay_dest_is(d, how->destination)) ||
           (!how->next_hop.n &&
            goes_by_route_to(s, m->recipients[index].address, how->destination));
}

/* True if any recipient of the group is sent elsewhere now. */
static bool redirect_group(struct relay_sched *s, struct relay_group *g,
                           const struct relay_redirect *how, int64_t now_us, uint32_t *out,
                           uint32_t *count)
{
    struct spool_message *m = g->item->message;
    uint32_t before = *count;

    for (uint32_t i = 0; i < g->count; i++) {
        struct spool_recipient *r = &m->recipients[g->indexes[i]];

        if (!is_meant(s, g, g->indexes[i], how) ||
            !spool_message_send_to(m, g->indexes[i], how->next_hop))
            continue;
        if (r->state == SPOOL_QUEUED && g->state != RELAY_GROUP_BUSY)
            r->next_attempt_us = now_us;
        out[(*count)++] = g->indexes[i];
    }
    return *count > before;
}

uint32_t *relay_sched_redirect(struct relay_sched *s, struct relay_item *item,
                               const struct relay_redirect *how, int64_t now_us,
                               uint32_t *out_count)
{
    uint32_t *indexes = malloc(item->message->recipient_count * sizeof *indexes);
    struct relay_group *g = item->groups, *next;
    uint32_t n = 0;

    for (; indexes && g; g = next) {
        next = g->sibling;
        if (!redirect_group(s, g, how, now_us, indexes, &n) || g->state == RELAY_GROUP_BUSY)
            continue; /* what is in delivery goes there when it comes back */
        relay_group_unlink(s, g);
        g->unreachable = false;
        relay_group_reroute(s, g, true, now_us);
    }
    *out_count = n;
    if (n)
        return indexes;
    free(indexes);
    return NULL;
}
