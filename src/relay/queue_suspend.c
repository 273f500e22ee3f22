#include <stdio.h>

#include "base/arena.h"
#include "relay/ourselves.h"
#include "relay/queue_filter.h"
#include "relay/redirect.h"
#include "relay/scheduler_private.h"
#include "relay/suspend.h"

/* Destinations that an administrator suspends, and next hops that he names. */

enum { ROWS_MEMORY = 8 << 20 };

/* ---- next hops ---- */

const char *relay_view_next_hop(struct relay *r, struct str text, char out[RELAY_VIEW_NEXT_HOP])
{
    const char *wrong = relay_next_hop_normalise(text, out);
    struct settings_next_hop hop;
    struct relay_ourselves us;
    struct net_endpoint e = { .port = 0 };
    char host[256];

    if (wrong || !relay_next_hop_parse(str_of(out), &hop, host))
        return wrong ? wrong : "must be HOST or HOST:PORT";
    relay_ourselves(r, &us);
    e.port = hop.port;
    if (net_addr_parse(str_of(host), &e.addr) && relay_is_ourselves(&us, &e, NULL))
        return "is the gateway itself: mail would go in circles";
    return NULL;
}

/* ---- what is meant ---- */

static enum pt_err copy_name(struct str name, char out[RELAY_VIEW_NAME])
{
    if (name.n >= RELAY_VIEW_NAME)
        return PT_ERR_INVALID;
    snprintf(out, RELAY_VIEW_NAME, "%.*s", STR_FMT(name));
    return PT_ERR_OK;
}

static enum pt_err shared(const char *domain, const struct settings_route *route,
                          struct pt_fault *fault)
{
    struct buf key;

    buf_init(&key, RELAY_VIEW_NAME);
    PT_IGNORE(!relay_dest_key(route, str_of(domain), &key), "then it is cut");
    fault->err = PT_ERR_INVALID;
    snprintf(fault->text, sizeof fault->text,
             "mail for %s goes to %.*s by the route of %s, perhaps with that of others: name that "
             "destination",
             domain, STR_FMT(buf_str(&key)), route->domain);
    buf_done(&key);
    return PT_ERR_INVALID;
}

/* A domain, with "mx:" before it or not, that has no mail here now. */
static enum pt_err name_of_domain(struct relay *r, struct str text, char out[RELAY_VIEW_NAME],
                                  struct pt_fault *fault)
{
    bool mx = str_starts_nocase(text, STR("mx:"));
    char domain[SETTINGS_DOMAIN_SIZE];
    const struct settings_route *route;

    fault->err = PT_ERR_NOTFOUND;
    snprintf(fault->text, sizeof fault->text, "there is no destination of that name");
    if (!settings_domain_normalise(relay_dest_place(mx ? str_from(text, 3) : text), domain))
        return PT_ERR_NOTFOUND;
    route = settings_route_for(r->sched.settings, str_of(domain));
    if (!route) {
        snprintf(fault->text, sizeof fault->text, "no route leads to %s", domain);
        return PT_ERR_NOTFOUND;
    }
    if (route->via != SETTINGS_VIA_MX)
        return shared(domain, route, fault);
    snprintf(out, RELAY_VIEW_NAME, "mx:%s", domain);
    return PT_ERR_OK;
}

enum pt_err relay_view_destination_name(struct relay *r, struct str text, char out[RELAY_VIEW_NAME],
                                        struct pt_fault *fault)
{
    enum pt_err err;
    struct relay_dest *d;

    relay_lock(r);
    d = relay_view_find_destination(r, text);
    if (!d)
        err = name_of_domain(r, text, out, fault);
    else if (str_eq_nocase(str_of(d->key), text))
        err = copy_name(text, out);
    else
        err = copy_name(relay_dest_place(str_of(d->key)), out);
    relay_unlock(r);
    return err;
}

/* ---- suspending ---- */

enum pt_err relay_view_suspend(struct relay *r, const struct relay_view_suspension *s)
{
    const struct relay_suspension like = { .name = s->destination,
                                           .reason = s->reason,
                                           .by = s->by,
                                           .since_us = s->since_us,
                                           .until_us = s->until_us };
    enum pt_err err;

    relay_lock(r);
    err = relay_sched_suspend(&r->sched, &like);
    relay_unlock(r);
    return err;
}

bool relay_view_is_suspended(struct relay *r, struct str destination)
{
    bool is;

    relay_lock(r);
    is = relay_sched_suspension(&r->sched, destination) != NULL;
    relay_unlock(r);
    return is;
}

bool relay_view_resume(struct relay *r, struct str destination)
{
    uint64_t loops;
    bool was;

    relay_lock(r);
    was = relay_sched_resume(&r->sched, destination);
    loops = relay_sched_wake(&r->sched);
    relay_unlock(r);
    relay_wake_loops(r, loops);
    return was;
}

struct row {
    struct row *next;
    struct relay_view_suspension s;
};

static struct row *copy_row(const struct relay_suspension *p, struct arena *a)
{
    struct row *row = arena_zalloc(a, sizeof *row);

    if (!row)
        return NULL;
    row->s = (struct relay_view_suspension){ .destination = arena_str(a, str_of(p->name)).p,
                                             .reason = arena_str(a, str_of(p->reason)).p,
                                             .by = arena_str(a, str_of(p->by)).p,
                                             .since_us = p->since_us,
                                             .until_us = p->until_us };
    return row->s.destination && row->s.reason && row->s.by ? row : NULL;
}

bool relay_view_suspensions(struct relay *r, relay_view_suspension_fn *fn, void *user)
{
    struct row *first = NULL, **end = &first;
    struct arena a;
    bool whole = true;

    arena_init(&a, ROWS_MEMORY);
    relay_lock(r);
    for (const struct relay_suspension *p = r->sched.suspensions; p && whole; p = p->next) {
        *end = copy_row(p, &a);
        whole = *end != NULL;
        if (whole)
            end = &(*end)->next;
    }
    relay_unlock(r);
    for (const struct row *row = first; row; row = row->next)
        fn(user, &row->s);
    arena_done(&a);
    return whole;
}
