#include "gateway/limits.h"

#include <stdlib.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/rng.h"
#include "gateway/limits_view.h"
#include "gateway/loop.h"
#include "gateway/session.h"

bool gateway_limits_init(struct gateway_limits *g)
{
    struct rng rng;

    rng_seed_from_system(&rng);
    g->counts = access_counts_new(rng_next(&rng));
    g->bans = access_bans_new(rng_next(&rng));
    g->shadow = access_tally_new(rng_next(&rng));
    return g->counts && g->bans && g->shadow;
}

void gateway_limits_done(struct gateway_limits *g)
{
    access_counts_free(g->counts);
    access_bans_free(g->bans);
    access_tally_free(g->shadow);
}

static struct access_now now_of(const struct policy_snapshot *snap, int64_t mono_ns)
{
    return (struct access_now){ mono_ns / 1000, policy_failure_span(snap) };
}

static struct gateway_limits *of(const struct gateway_loop *l)
{
    return &l->gateway->limits;
}

void limits_note(struct gateway_loop *l, const struct policy_facts *facts,
                 const struct policy_verdict *v)
{
    struct gateway_limits *g = of(l);

    for (uint32_t left = v->shadow; left; left &= left - 1) {
        unsigned rule = (unsigned)__builtin_ctz(left);

        atomic_fetch_add_explicit(&g->shadowed[rule], 1, memory_order_relaxed);
        access_tally_add(g->shadow, (uint8_t)rule, &facts->client, facts->now_us);
    }
    if (v->action != POLICY_ACCEPT)
        atomic_fetch_add_explicit(&g->refused[v->rule], 1, memory_order_relaxed);
}

/* The ban goes into the facts; true: there is one. */
static bool find_ban(struct gateway_loop *l, struct policy_facts *facts, struct access_ban *room)
{
    if (!access_bans_find(of(l)->bans, &facts->client, facts->now_us, room))
        return false;
    facts->ban = room;
    return true;
}

bool limits_admit(struct gateway_loop *l, const struct net_addr *client, struct policy_verdict *v,
                  uint8_t *out_where)
{
    struct policy_facts facts = { .client = *client,
                                  .now_us = clock_wall_us(),
                                  .ref = l->next_ref };
    struct limits_facts room;

    *out_where = 0;
    if (policy_limits_asked(l->snapshot)) {
        *out_where = access_counts_open(of(l)->counts, client,
                                        now_of(l->snapshot, net_loop_now(l->loop)), &room.usage);
        facts.usage = &room.usage;
    }
    if (!find_ban(l, &facts, &room.ban) && !facts.usage)
        return true;
    policy_limits(l->snapshot, &facts, v);
    limits_note(l, &facts, v);
    return v->action == POLICY_ACCEPT;
}

void limits_ended(struct gateway_loop *l, const struct net_addr *client, uint8_t where)
{
    if (where)
        access_counts_close(of(l)->counts, client, where);
}

void limits_count(struct session *s, enum access_counted what, struct policy_facts *facts,
                  struct limits_facts *room)
{
    struct gateway_loop *l = s->loop;

    find_ban(l, facts, &room->ban);
    if (!policy_limits_asked(l->snapshot))
        return;
    access_counts_add(of(l)->counts, &facts->client, what, 1,
                      now_of(l->snapshot, net_loop_now(l->loop)), &room->usage);
    facts->usage = &room->usage;
}

/* ---- failures ---- */

static void log_ban(const struct access_ban *ban)
{
    char client[NET_PREFIX_SIZE], until[CLOCK_RFC3339_SIZE];
    struct log_line line;

    net_prefix_format(&ban->client, client);
    clock_rfc3339(ban->until_us, until);
    log_begin(&line, LOG_INFO, ban->kind == ACCESS_BAN_SHADOW ? "would_ban" : "banned");
    log_cstr(&line, "client", client);
    log_cstr(&line, "until", until);
    log_u64(&line, "failures", ban->failures);
    log_end(&line);
}

static void ban(struct gateway_limits *g, const struct access_ban *ban)
{
    struct access_ban there;
    bool known = access_bans_find(g->bans, &ban->client.addr, ban->since_us, &there) &&
                 there.kind >= ban->kind;

    if (access_bans_set(g->bans, ban, ban->since_us) != PT_ERR_OK || known)
        return;
    if (ban->kind == ACCESS_BAN_AUTOMATIC)
        atomic_fetch_add_explicit(&g->banned, 1, memory_order_relaxed);
    log_ban(ban);
}

void limits_failed(struct session *s, uint32_t n)
{
    struct gateway_loop *l = s->loop;
    struct access_client usage;
    struct access_ban due;

    if (!policy_limits_asked(l->snapshot))
        return;
    access_counts_add(of(l)->counts, &s->client.addr, ACCESS_FAILURES, n,
                      now_of(l->snapshot, net_loop_now(l->loop)), &usage);
    usage.address.failures += n;
    usage.prefix.failures += n;
    if (policy_ban_due(l->snapshot, &s->client.addr, clock_wall_us(), &usage, &due))
        ban(of(l), &due);
}

/* ---- for an administrator ---- */

void gateway_limits_client(struct gateway *g, const struct net_addr *client, int64_t now_us,
                           uint32_t span_minutes, struct gateway_client *out)
{
    *out = (struct gateway_client){ .sessions = atomic_load(&g->sessions),
                                    .sessions_max = g->sessions_max };
    access_counts_read(g->limits.counts, client,
                       (struct access_now){ clock_mono_ns() / 1000, span_minutes }, &out->usage);
    out->banned = access_bans_find(g->limits.bans, client, now_us, &out->ban);
}

bool gateway_limits_lift(struct gateway *g, const struct net_addr *client, int64_t now_us)
{
    if (!access_bans_lift(g->limits.bans, client, now_us))
        return false;
    access_counts_forgive(g->limits.counts, client);
    return true;
}

struct access_bans *gateway_bans(struct gateway *g)
{
    return g->limits.bans;
}

struct access_tally *gateway_shadow(struct gateway *g)
{
    return g->limits.shadow;
}

void gateway_limits_counts(struct gateway *g, uint8_t rule, uint64_t *out_refused,
                           uint64_t *out_shadow)
{
    *out_refused = atomic_load_explicit(&g->limits.refused[rule], memory_order_relaxed);
    *out_shadow = atomic_load_explicit(&g->limits.shadowed[rule], memory_order_relaxed);
}

uint64_t gateway_limits_banned(struct gateway *g)
{
    return atomic_load_explicit(&g->limits.banned, memory_order_relaxed);
}
