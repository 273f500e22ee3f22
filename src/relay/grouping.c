#include <stdlib.h>

#include "relay/scheduler_private.h"

/*
 * Which recipients go together: those of one message with the same destination under the routes of
 * today that are due at the same time. While a message is grouped, each destination remembers the
 * group it got last, so that a message to thousands of domains takes a single pass.
 */

struct str relay_domain_of(struct str address)
{
    for (size_t i = address.n; i-- > 0;)
        if (address.p[i] == '@')
            return str_from(address, i + 1);
    return STR_NULL;
}

struct relay_dest *relay_dest_by_route(struct relay_sched *s, struct str address)
{
    struct str domain = relay_domain_of(address);
    const struct settings_route *route =
        s->settings ? settings_route_for(s->settings, domain) : NULL;
    char ascii[SETTINGS_DOMAIN_SIZE];

    if (route && s->by_route[route - s->settings->routes])
        return s->by_route[route - s->settings->routes];
    /* The DNS knows A-labels, and both forms are one destination. */
    if (str_has_8bit(domain) && settings_domain_normalise(domain, ascii))
        domain = str_of(ascii);
    return relay_dest_for_route(s, route, domain);
}

struct relay_dest *relay_dest_of(struct relay_sched *s, const struct spool_message *m,
                                 uint32_t index)
{
    struct str address = m->recipients[index].address;

    if (!m->next_hops || !m->next_hops[index].n)
        return relay_dest_by_route(s, address);
    return relay_dest_for_redirect(
        s, s->settings ? settings_route_for(s->settings, relay_domain_of(address)) : NULL,
        m->next_hops[index]);
}

static bool waits(const struct spool_recipient *r)
{
    return r->state == SPOOL_QUEUED || r->state == SPOOL_IN_DOUBT;
}

static struct relay_group *group_for(struct relay_sched *s, struct relay_item *item,
                                     struct relay_dest *d, const struct spool_recipient *r,
                                     struct relay_group **out)
{
    struct relay_group *g = d->latest;

    if (g && g->due.at_us == r->next_attempt_us)
        return g;
    g = relay_group_new(s);
    if (!g)
        return NULL;
    g->item = item;
    g->dest = d;
    g->due.at_us = r->next_attempt_us;
    g->big = item->message->size > RELAY_BIG;
    g->sibling = *out;
    *out = g;
    d->latest = g;
    return g;
}

static bool add_recipient(struct relay_sched *s, struct relay_item *item, uint32_t index,
                          struct relay_group **out)
{
    const struct spool_recipient *r = &item->message->recipients[index];
    struct relay_dest *d;
    struct relay_group *g;

    if (!waits(r))
        return true;
    d = relay_dest_of(s, item->message, index);
    if (!d)
        return false;
    g = group_for(s, item, d, r, out);
    if (!g || !relay_group_add(g, index))
        return false;
    g->attempts = PT_MAX(g->attempts, r->attempts);
    return true;
}

bool relay_group_recipients(struct relay_sched *s, struct relay_item *item, const uint32_t *indexes,
                            uint32_t count, struct relay_group **out)
{
    struct relay_group *made = NULL;
    bool ok = true;

    for (uint32_t i = 0; i < count && ok; i++)
        ok = add_recipient(s, item, indexes ? indexes[i] : i, &made);
    for (struct relay_group *g = made; g; g = g->sibling)
        g->dest->latest = NULL;
    while (made) {
        struct relay_group *g = made;

        made = g->sibling;
        g->sibling = NULL;
        if (ok) {
            g->sibling = *out;
            *out = g;
        } else {
            relay_group_free(s, g);
        }
    }
    return ok;
}

static bool stays(struct relay_sched *s, const struct relay_group *g)
{
    for (uint32_t i = 0; i < g->count; i++)
        if (relay_dest_of(s, g->item->message, g->indexes[i]) != g->dest)
            return false;
    return true;
}

void relay_group_reroute(struct relay_sched *s, struct relay_group *g, bool mixed, int64_t now_us)
{
    struct relay_group *made = NULL;
    struct relay_item *item = g->item;
    bool unreachable;

    /* Without memory for new groups it stays where it was: a wrong route today is mended by the
     * next deferral. */
    if ((!mixed && stays(s, g)) || !relay_group_recipients(s, item, g->indexes, g->count, &made) ||
        !made) {
        relay_group_link_by_time(s, g, now_us);
        return;
    }
    unreachable = g->unreachable;
    relay_group_leave(g);
    relay_group_free(s, g);
    while (made) {
        struct relay_group *next = made->sibling;

        made->unreachable = unreachable;
        relay_group_join(made, item);
        relay_group_link_by_time(s, made, now_us);
        made = next;
    }
}

bool relay_sched_set_settings(struct relay_sched *s, const struct settings *settings)
{
    struct relay_dest **by_route = calloc(settings->route_count + 1u, sizeof(struct relay_dest *));

    if (!by_route)
        return false;
    s->settings_count++;
    for (uint32_t i = 0; i < settings->route_count; i++) {
        if (settings->routes[i].via != SETTINGS_VIA_NEXT_HOPS)
            continue;
        by_route[i] = relay_dest_for_route(s, &settings->routes[i], STR(""));
        if (by_route[i])
            by_route[i]->pins++;
    }
    for (uint32_t i = 0; s->settings && i < s->settings->route_count; i++)
        if (s->by_route[i])
            s->by_route[i]->pins--;
    free(s->by_route);
    settings_unref(s->settings);
    s->by_route = by_route;
    s->settings = settings_ref(settings);
    return true;
}

bool relay_sched_reroute(struct relay_sched *s, uint64_t *cursor, uint32_t max, int64_t now_us)
{
    struct relay_item *item = NULL;

    while (max && (item = relay_sched_after(s, *cursor))) {
        struct relay_group *g = item->groups;

        *cursor = item->id;
        max -= PT_MIN(max, PT_MAX(item->message->recipient_count, 1u));
        s->steps += item->message->recipient_count;
        while (g) {
            struct relay_group *next = g->sibling;

            if (g->state != RELAY_GROUP_BUSY && !stays(s, g)) {
                relay_group_unlink(s, g);
                g->unreachable = false;
                relay_group_reroute(s, g, false, now_us);
            }
            g = next;
        }
    }
    return !item;
}
