#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "net/resolver_private.h"

/*
 * How the DNS does, told by how queries end. One that fails makes us look whether the servers
 * answer at all (net/probe); while none does they are asked on and on, and the first answer makes a
 * new context, for libunbound remembers for a while that they were down.
 */

enum { LOOK_S = 5, FAILURES = 3 };

static bool has_ended_well(enum pt_err result)
{
    return result == PT_ERR_OK || result == PT_ERR_NOTFOUND;
}

static void note(struct net_resolver *r, const struct net_query *q, enum pt_err result)
{
    struct net_resolver_health *h = &r->health;

    if (has_ended_well(result)) {
        h->failures = 0;
        if (h->state == NET_RESOLVER_FAILING)
            h->state = NET_RESOLVER_FINE;
        return;
    }
    h->failures++;
    h->bogus = result == PT_ERR_CORRUPT;
    snprintf(h->reason, sizeof h->reason, "%s", q->reason);
    if (h->failures >= FAILURES && h->state == NET_RESOLVER_FINE)
        h->state = NET_RESOLVER_FAILING;
}

void net_health_ended(struct net_resolver *r, const struct net_query *q, enum pt_err result)
{
    int64_t soon = r->looked_ns + LOOK_S * INT64_C(1000000000);

    pthread_mutex_lock(&r->health_lock);
    note(r, q, result);
    pthread_mutex_unlock(&r->health_lock);
    if (result == PT_ERR_AGAIN && r->contexts->server_count && r->probe.next_ns == INT64_MAX)
        r->look_ns = PT_MIN(r->look_ns, soon);
}

static bool any_answered(const struct net_probe *p)
{
    for (unsigned i = 0; i < p->count; i++)
        if (p->servers[i].answered)
            return true;
    return false;
}

static void name_servers(const struct net_probe *p, struct net_resolver_health *h)
{
    size_t used = 0;

    h->servers[0] = 0;
    for (unsigned i = 0; i < p->count && used + NET_SERVER_SIZE + 2 < sizeof h->servers; i++) {
        char text[NET_SERVER_SIZE];

        net_server_format(&p->servers[i].endpoint, text);
        used += (size_t)snprintf(h->servers + used, sizeof h->servers - used, "%s%s",
                                 used ? ", " : "", text);
    }
}

static void end_round(struct net_resolver *r, int64_t now)
{
    struct net_resolver_health *h = &r->health;
    bool answered = any_answered(&r->probe), was_silent;

    pthread_mutex_lock(&r->health_lock);
    was_silent = h->state == NET_RESOLVER_SILENT;
    if (!answered) {
        h->state = NET_RESOLVER_SILENT;
        name_servers(&r->probe, h);
    } else if (was_silent) {
        h->state = NET_RESOLVER_FINE;
        h->failures = 0;
    }
    pthread_mutex_unlock(&r->health_lock);
    r->looked_ns = now;
    r->look_ns = answered ? INT64_MAX : now + LOOK_S * INT64_C(1000000000);
    if (answered && was_silent)
        net_resolver_renew(r);
}

void net_health_step(struct net_resolver *r)
{
    int64_t now = clock_mono_ns();

    if (r->look_ns <= now) {
        r->look_ns = INT64_MAX;
        net_probe_begin(&r->probe, r->contexts->servers, r->contexts->server_count, &r->rng, now);
    }
    if (net_probe_step(&r->probe, now))
        end_round(r, now);
}

void net_health_of_new_context(struct net_resolver *r)
{
    net_probe_stop(&r->probe);
    r->look_ns = INT64_MAX;
    pthread_mutex_lock(&r->health_lock);
    /* Servers that were silent are no news of these, until they were asked. */
    if (r->health.state == NET_RESOLVER_SILENT && r->contexts->server_count)
        r->look_ns = 0;
    else
        r->health.state = NET_RESOLVER_FINE;
    r->health.failures = 0;
    pthread_mutex_unlock(&r->health_lock);
}

void net_resolver_health(struct net_resolver *r, struct net_resolver_health *out)
{
    pthread_mutex_lock(&r->health_lock);
    *out = r->health;
    pthread_mutex_unlock(&r->health_lock);
}
