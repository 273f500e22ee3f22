#include "relay/route_view.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "relay/queue_filter.h"
#include "relay/route_private.h"
#include "relay/scheduler_private.h"
#include "relay/suspend.h"
#include "smtp/address.h"

enum { TEST_MEMORY = 4 << 20, KEY_MAX = 16384, OTHERS_MAX = 64 };

void relay_route_say(struct route_test *t, enum relay_route_fate fate, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    vsnprintf(t->text, sizeof t->text, fmt, args);
    va_end(args);
    t->view.fate = fate;
    t->view.text = t->text;
}

static const char *keep(struct route_test *t, struct str text)
{
    struct str copy = arena_str(&t->arena, text);

    t->failed |= !copy.p;
    return copy.p ? copy.p : "";
}

/* ---- the domain ---- */

static bool find_domain(struct route_test *t, struct str address)
{
    char name[SETTINGS_DOMAIN_SIZE];
    struct smtp_address parsed;
    struct str domain = address;

    if (str_find(address, '@', 0) >= 0) {
        if (!smtp_address_parse(address, &parsed))
            return false;
        domain = relay_domain_of(address);
    }
    if (domain.n > 2 && domain.p[0] == '[' && domain.p[domain.n - 1] == ']') {
        t->view.domain = keep(t, domain);
        return true;
    }
    if (!settings_domain_normalise(domain, name))
        return false;
    t->view.domain = keep(t, str_of(name));
    return true;
}

/* ---- the routes ---- */

static bool ends_with(struct str domain, struct str parent)
{
    return domain.n > parent.n && domain.p[domain.n - parent.n - 1] == '.' &&
           str_ends_nocase(domain, parent);
}

/* Why a route that may be taken for the one is not; NULL: nobody would. */
static const char *why_not(struct str route, struct str domain)
{
    if (str_eq(route, STR("*")))
        return "for all that no other route is for";
    if (str_starts_nocase(route, STR("*."))) {
        route = str_from(route, 2);
        if (str_eq_nocase(route, domain))
            return "for what is below that domain, not for itself";
        return ends_with(domain, route) ? "less specific" : NULL;
    }
    return ends_with(domain, route) ? "for that domain alone, not for what is below it" : NULL;
}

static void find_others(struct route_test *t)
{
    const struct settings *s = t->settings;
    struct relay_route_other *others = arena_zalloc(&t->arena, OTHERS_MAX * sizeof *others);
    uint32_t n = 0;

    t->failed |= !others;
    for (uint32_t i = 0; others && i < s->route_count && n < OTHERS_MAX; i++) {
        const char *why = why_not(str_of(s->routes[i].domain), str_of(t->view.domain));

        if (why && &s->routes[i] != t->route)
            others[n++] = (struct relay_route_other){ s->routes[i].domain, why };
    }
    t->view.others = others;
    t->view.other_count = n;
}

static void describe_demand(struct route_test *t)
{
    static const char *const names[] = {
        [SETTINGS_ROUTE_TLS_NONE] = "none",
        [SETTINGS_ROUTE_TLS_OPPORTUNISTIC] = "opportunistic",
        [SETTINGS_ROUTE_TLS_ENCRYPT] = "encrypt",
        [SETTINGS_ROUTE_TLS_VERIFY] = "verify",
    };
    const struct settings_route *route = t->route;

    t->view.tls_from = "connections.tls.outgoing";
    t->view.tls = t->settings->tls.outgoing ? "opportunistic" : "none";
    if (!route || route->tls == SETTINGS_ROUTE_TLS_DEFAULT)
        return;
    t->view.tls = names[route->tls];
    t->view.tls_from = "the route's tls";
}

static void describe_route(struct route_test *t)
{
    const struct settings_route *route = t->route;
    struct relay_route_view *v = &t->view;

    v->protocol = "smtp";
    v->max_message_size = t->settings->message_rules.max_message_size;
    describe_demand(t);
    if (!route)
        return;
    v->route = route->domain;
    v->via = route->via == SETTINGS_VIA_MX ? "mx" : "next_hops";
    v->ca = route->ca;
    v->user = route->auth ? route->auth->user : NULL;
    if (route->source.family != NET_NONE)
        net_addr_format(&route->source, v->source);
    if (route->lmtp)
        v->protocol = "lmtp";
    v->max_concurrency =
        route->max_concurrency ? route->max_concurrency : (uint32_t)RELAY_CONCURRENCY_DEFAULT;
    v->max_messages_per_minute = route->max_messages_per_minute;
    if (route->max_message_size)
        v->max_message_size = PT_MIN(v->max_message_size, route->max_message_size);
}

static void name_destination(struct route_test *t)
{
    struct buf key;

    buf_init(&key, KEY_MAX);
    t->failed |= !relay_dest_key(t->route, str_of(t->view.domain), &key);
    t->view.destination = keep(t, buf_str(&key));
    buf_done(&key);
}

/* ---- the destination as it is ---- */

static const struct relay_suspension *suspension_of(const struct relay_sched *s,
                                                    const char *destination)
{
    const struct relay_suspension *p = relay_sched_suspension(s, str_of(destination));

    return p ? p : relay_sched_suspension(s, relay_dest_place(str_of(destination)));
}

static void describe_state(struct route_test *t)
{
    struct relay *r = t->relay;
    struct relay_route_view *v = &t->view;
    const struct relay_suspension *p;
    const struct relay_dest *d;

    relay_lock(r);
    d = relay_dest_find(&r->sched.dests, str_of(v->destination));
    if (d) {
        v->known = true;
        v->ready = relay_dest_ready(d);
        v->deferred = relay_dest_deferred(d);
        v->busy = d->lists[RELAY_GROUP_BUSY].count;
        v->held = d->lists[RELAY_GROUP_HELD].count;
        v->connections = d->connections;
        v->limit = d->limit;
        v->rests_until_us = relay_dest_rests(d) ? d->rest.at_us : 0;
        v->error = d->error[0] ? keep(t, str_of(d->error)) : NULL;
        v->error_at_us = d->error_at_us;
    }
    p = suspension_of(&r->sched, v->destination);
    if (p) {
        v->suspended = true;
        v->suspended_by = keep(t, str_of(p->by));
        v->suspended_reason = keep(t, str_of(p->reason));
        v->suspended_until_us = p->until_us;
    }
    relay_unlock(r);
}

static uint64_t count_redirected(const struct relay_item *item, struct str domain)
{
    const struct spool_message *m = item->message;
    char name[SETTINGS_DOMAIN_SIZE];
    uint64_t n = 0;

    for (uint32_t i = 0; m->next_hops && i < m->recipient_count; i++) {
        const struct spool_recipient *r = &m->recipients[i];

        n += m->next_hops[i].n && (r->state == SPOOL_QUEUED || r->state == SPOOL_IN_DOUBT) &&
             settings_domain_normalise(relay_domain_of(r->address), name) &&
             str_eq(str_of(name), domain);
    }
    return n;
}

/* All queued messages, in steps. */
static void look_for_redirected(struct route_test *t)
{
    struct relay *r = t->relay;
    struct relay_item *item = NULL;
    uint64_t cursor = 0;
    uint32_t looks;

    do {
        relay_lock(r);
        for (looks = LOOK_STEP; looks && (item = relay_sched_after(&r->sched, cursor)); looks--) {
            cursor = item->id;
            t->view.redirected += count_redirected(item, str_of(t->view.domain));
        }
        relay_unlock(r);
    } while (item);
}

/* ---- all of it ---- */

/* What stands in the way, whatever the next hops are. */
static void judge(struct route_test *t)
{
    struct relay_route_view *v = &t->view;

    if (v->suspended)
        relay_route_say(t, RELAY_ROUTE_WAITS, "the destination is suspended");
    else if (v->fate == RELAY_ROUTE_GOES && v->rests_until_us)
        relay_route_say(t, RELAY_ROUTE_WAITS, "the destination rests since it failed: %s",
                        v->error ? v->error : "no next hop can be reached");
}

static void run(struct route_test *t)
{
    relay_ourselves_of(t->settings, &t->us);
    t->route = settings_route_for(t->settings, str_of(t->view.domain));
    describe_route(t);
    find_others(t);
    name_destination(t);
    relay_route_find_hops(t);
    describe_state(t);
    look_for_redirected(t);
    judge(t);
    t->view.hops = t->hops;
}

enum pt_err relay_route_test(struct relay *r, struct net_resolver *resolver, struct str address,
                             const struct settings *draft, relay_route_fn *show, void *user)
{
    struct route_test *t = calloc(1, sizeof *t);
    struct settings *settings = NULL;
    enum pt_err err = PT_ERR_INVALID;

    if (!t)
        return PT_ERR_NOMEM;
    t->relay = r;
    t->resolver = resolver;
    arena_init(&t->arena, TEST_MEMORY);
    relay_lock(r);
    settings = settings_ref(draft ? draft : r->sched.settings);
    relay_unlock(r);
    t->settings = settings;
    if (find_domain(t, address)) {
        run(t);
        err = t->failed ? PT_ERR_NOMEM : PT_ERR_OK;
    }
    if (err == PT_ERR_OK)
        show(user, &t->view);
    settings_unref(settings);
    arena_done(&t->arena);
    free(t);
    return err;
}
