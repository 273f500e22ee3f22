#include <string.h>

#include "relay/scheduler_private.h"

/*
 * How many connections a destination gets, on which loops, and when it rests.
 *
 * It starts with a few connections, gets one more after as many successes as it has, and half of
 * them when one breaks. When no next hop can be reached it rests, longer each time; then a single
 * connection probes, and the first message that is answered ends the trouble.
 */

enum { WAKE_LOOK_MAX = 64, RELEASE_STEP = 64 };

/* One that may not open here has a connection on this loop: so the loop's connections bound the
 * search. */
static struct relay_dest *first_to_open(struct relay_sched *s, enum relay_active class,
                                        unsigned loop)
{
    struct relay_dest *d;

    if (class == RELAY_ACTIVE_PROBING && s->probes[loop] >= RELAY_PROBES_MAX)
        return NULL;
    for (d = s->dests.active[class].first; d; d = d->active_next) {
        s->steps++;
        if (relay_dest_may_open(d, loop, s->loops))
            return d;
    }
    return NULL;
}

struct relay_dest *relay_sched_open(struct relay_sched *s, unsigned loop)
{
    enum relay_active class =
        (s->turn + 1) % RELAY_PROBE_TURN ? RELAY_ACTIVE_WELL : RELAY_ACTIVE_PROBING;
    struct relay_dest *d = first_to_open(s, class, loop);

    if (!d)
        d = first_to_open(s, !class, loop);
    if (!d)
        return NULL;
    s->turn++;
    relay_dest_to_back(&s->dests, d); /* the others' turn next */
    if (d->probing) {
        d->probed = true;
        d->probe_loop = (uint8_t)loop;
        s->probes[loop]++;
    }
    if (d->balanced && !d->begun) {
        d->begun = true;
        relay_balance_begin(d->shares, d->hop_count, rng_next(&s->rng));
    }
    s->connections++;
    d->connections++;
    d->connecting++;
    d->per_loop[loop]++;
    relay_dest_refresh(&s->dests, d);
    return d;
}

bool relay_sched_should_yield(const struct relay_sched *s, const struct relay_dest *d,
                              uint32_t served)
{
    bool others = false;

    for (unsigned class = 0; class < RELAY_ACTIVE_CLASSES; class ++)
        others |= s->dests.active[class].count > (d->active && d->active_class == class);
    return others && (d->connections > 1 || served >= RELAY_YIELD_AFTER);
}

void relay_sched_connected(struct relay_sched *s, struct relay_dest *d)
{
    pt_assert(d->connecting);
    d->connecting--;
    relay_dest_refresh(&s->dests, d);
}

static void end_probe(struct relay_sched *s, struct relay_dest *d)
{
    if (d->probed)
        s->probes[d->probe_loop]--;
    d->probed = false;
}

static void drop_connection(struct relay_sched *s, struct relay_dest *d, unsigned loop)
{
    pt_assert(d->connections && d->per_loop[loop] && s->connections);
    s->connections--;
    d->connections--;
    d->per_loop[loop]--;
    if (!d->connections)
        end_probe(s, d);
}

static void keep_error(struct relay_dest *d, struct str reason, int64_t now_us)
{
    size_t n = PT_MIN(reason.n, sizeof d->error - 1);

    memcpy(d->error, reason.p, n);
    d->error[n] = 0;
    d->error_at_us = now_us;
}

bool relay_sched_unreachable(struct relay_sched *s, struct relay_dest *d, unsigned loop,
                             bool connecting, int64_t now_us, struct str reason)
{
    bool begins = false;
    uint32_t standing;

    drop_connection(s, d, loop);
    if (connecting)
        d->connecting--;
    keep_error(d, reason, now_us);
    standing = d->connections - d->connecting;
    if (standing > 0 && !d->probing) {
        /* It serves others of ours: it only wants no more of them. */
        d->limit = PT_MIN(d->limit, standing);
        d->successes = 0;
    } else {
        d->limit = 1;
        d->probing = true;
        if (!relay_dest_rests(d)) {
            d->failures++;
            d->rest.at_us = now_us + retry_backoff_us(&s->retry, d->failures, &s->rng);
            due_push(&s->due, &d->rest);
            begins = true;
        }
    }
    relay_dest_refresh(&s->dests, d);
    return begins;
}

void relay_sched_closed(struct relay_sched *s, struct relay_dest *d, unsigned loop, bool trouble)
{
    drop_connection(s, d, loop);
    if (trouble)
        relay_dest_shrink(d);
    relay_dest_refresh(&s->dests, d);
}

void relay_sched_idle(struct relay_sched *s, struct relay_dest *d, unsigned loop, bool idle)
{
    if (idle) {
        d->idle++;
        d->idle_per_loop[loop]++;
    } else {
        pt_assert(d->idle && d->idle_per_loop[loop]);
        d->idle--;
        d->idle_per_loop[loop]--;
    }
    relay_dest_refresh(&s->dests, d);
}

/* Some with each message that goes well, so that a long list takes no long time. */
static void release_unreachable(struct relay_sched *s, struct relay_dest *d)
{
    struct relay_group *g;

    for (uint32_t n = 0; n < RELEASE_STEP && (g = d->unreachable.first); n++) {
        s->steps++;
        relay_group_unlink(s, g);
        g->unreachable = false;
        relay_group_link(s, g, RELAY_GROUP_READY, false);
    }
}

bool relay_sched_went_well(struct relay_sched *s, struct relay_dest *d, uint32_t us)
{
    bool before = d->active;

    relay_dest_served_in(d, us);
    if (d->failures || d->probing) {
        d->failures = 0;
        d->probing = false;
        d->error[0] = 0;
        d->limit = PT_MIN((uint32_t)RELAY_CONCURRENCY_FIRST, d->max_concurrency);
        due_remove(&s->due, &d->rest);
        end_probe(s, d);
    }
    release_unreachable(s, d);
    relay_dest_grow(d);
    relay_dest_refresh(&s->dests, d);
    return d->active && !before;
}

/* ---- which loops to wake ---- */

static uint64_t wake_idle(const struct relay_sched *s, const struct relay_dest *d, uint32_t *need)
{
    uint64_t loops = 0;

    for (unsigned k = 0; k < s->loops && *need && d->idle; k++) {
        unsigned l = (s->next_loop + k) % s->loops;

        if (!d->idle_per_loop[l])
            continue;
        loops |= UINT64_C(1) << l;
        *need -= PT_MIN(*need, d->idle_per_loop[l] * (1 + d->patience));
    }
    return loops;
}

uint64_t relay_sched_wake_for(struct relay_sched *s, struct relay_dest *d)
{
    uint32_t need = relay_dest_takeable(d);
    uint32_t share = (d->limit + s->loops - 1) / s->loops;
    uint64_t loops = wake_idle(s, d, &need);
    uint32_t open;

    s->next_loop = (s->next_loop + 1) % s->loops;
    if (!d->active)
        return loops;
    need -= PT_MIN(need, d->connecting);
    open = PT_MIN(need, d->limit - d->connections);
    for (unsigned k = 0; k < s->loops && open; k++) {
        unsigned l = (s->next_loop + k) % s->loops;
        uint32_t room = share > d->per_loop[l] ? share - d->per_loop[l] : 0;

        if (!room)
            continue;
        loops |= UINT64_C(1) << l;
        open -= PT_MIN(open, room);
    }
    return loops;
}

uint64_t relay_sched_wake(struct relay_sched *s)
{
    uint64_t loops = 0;

    for (unsigned class = 0; class < RELAY_ACTIVE_CLASSES; class ++) {
        if (s->dests.active[class].count > WAKE_LOOK_MAX)
            return UINT64_MAX >> (64 - s->loops);
        for (struct relay_dest *d = s->dests.active[class].first; d; d = d->active_next) {
            s->steps++;
            loops |= relay_sched_wake_for(s, d);
        }
    }
    return loops;
}
