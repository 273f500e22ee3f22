#include "relay/scheduler.h"

#include <stdlib.h>
#include <string.h>

#include "relay/index.h"
#include "relay/scheduler_private.h"

enum { PASS_OVER_MAX = 2, PULL_LOOK_MAX = 64, CLOCK_SLACK_US = 5000000 };

void relay_sched_init(struct relay_sched *s, const struct retry_policy *retry, unsigned loops,
                      uint64_t seed)
{
    pt_assert(loops >= 1 && loops <= RELAY_LOOPS_MAX);
    *s = (struct relay_sched){
        .retry = *retry, .loops = loops, .cache_budget = UINT64_MAX, .suspensions_end_us = INT64_MAX
    };
    rng_seed(&s->rng, seed);
}

void relay_sched_set_retry(struct relay_sched *s, const struct retry_policy *retry)
{
    s->retry = *retry;
    s->late_cursor = 0;
}

static void free_everything(struct relay_sched *s)
{
    struct relay_item *item;

    while ((item = relay_sched_after(s, 0))) {
        while (item->groups) {
            struct relay_group *g = item->groups;

            relay_group_unlink(s, g);
            relay_group_leave(g);
            relay_group_free(s, g);
        }
        relay_item_free(s, item);
    }
}

void relay_sched_done(struct relay_sched *s)
{
    free_everything(s);
    while (s->free_groups) {
        struct relay_group *g = s->free_groups;

        s->free_groups = g->next;
        free(g);
    }
    while (s->free_items) {
        struct relay_item *item = s->free_items;

        s->free_items = item->left;
        free(item);
    }
    free(s->by_route);
    settings_unref(s->settings);
    relay_suspensions_done(s);
    due_heap_done(&s->due);
    relay_dest_table_done(&s->dests);
}

/* ---- messages come and go ---- */

static void touch(struct relay_dest_set *set, struct relay_dest *d)
{
    if (!set)
        return;
    for (uint32_t i = set->count; i-- > 0;)
        if (set->dests[i] == d)
            return;
    if (set->count < PT_ARRAY_LEN(set->dests))
        set->dests[set->count] = d;
    set->count++; /* beyond the array: the caller wakes for all */
}

/* Content stays in memory while the budget lasts; what comes beyond is read back in its turn. */
static void count_content(struct relay_sched *s, struct relay_item *item)
{
    struct spool_message *m = item->message;

    if (!m->cached)
        return;
    s->cached += relay_item_content_cost(item);
    item->counted = true;
    if (s->cached > s->cache_budget)
        relay_item_uncache(s, item);
}

bool relay_sched_add(struct relay_sched *s, struct spool_message *m, int64_t now_us,
                     struct relay_dest_set *touched)
{
    struct relay_item *item = relay_item_new(s, m);
    struct relay_group *made = NULL;

    if (!item)
        return false;
    if (!relay_group_recipients(s, item, NULL, m->recipient_count, &made)) {
        relay_item_free(s, item);
        return false;
    }
    count_content(s, item);
    relay_sched_still_late(s, item); /* after a start they come in any order */
    while (made) {
        struct relay_group *g = made;

        made = g->sibling;
        relay_group_join(g, item);
        relay_group_link_by_time(s, g, now_us);
        if (g->state == RELAY_GROUP_READY)
            touch(touched, g->dest);
    }
    if (!item->groups)
        relay_item_free(s, item);
    return true;
}

struct relay_item *relay_sched_find(struct relay_sched *s, uint64_t id)
{
    return relay_index_find(s->index, id);
}

struct relay_item *relay_sched_after(struct relay_sched *s, uint64_t id)
{
    return relay_index_after(s->index, id);
}

uint32_t relay_sched_share(const struct relay_sched *s, const struct relay_dest *d)
{
    uint32_t share = (relay_dest_takeable(d) + d->limit - 1) / d->limit;

    (void)s;
    share = PT_MAX(share, 1 + d->patience);
    return PT_MIN(share, (uint32_t)RELAY_PULL_MAX);
}

static bool pass_over(struct relay_group *g, uint32_t where)
{
    if (!g->prefer || g->prefer == where || g->passed_over >= PASS_OVER_MAX)
        return false;
    g->passed_over++;
    return true;
}

/* Behind so many messages the next waits for its minute. */
static void keep_pace(struct relay_sched *s, struct relay_dest *d, uint32_t taken)
{
    if (!d->pace.per_minute)
        return;
    relay_pace_took(&d->pace, (int32_t)taken);
    if (!relay_pace_allows(&d->pace) && !due_waits(&d->pace_due)) {
        d->pace_due.at_us = relay_pace_next(&d->pace);
        due_push(&s->due, &d->pace_due);
    }
    relay_dest_refresh(&s->dests, d);
}

static uint32_t pull_from(struct relay_sched *s, struct relay_group *g, uint32_t where,
                          struct relay_group **out, uint32_t max)
{
    uint32_t n = 0, looked = 0;

    while (g && n < max && looked++ < PULL_LOOK_MAX) {
        struct relay_group *next = g->next;

        s->steps++;

        if (!pass_over(g, where)) {
            relay_group_unlink(s, g);
            relay_group_link(s, g, RELAY_GROUP_BUSY, false);
            out[n++] = g;
        }
        g = next;
    }
    return n;
}

/* A big one comes alone, so that no other waits behind it. */
uint32_t relay_sched_pull(struct relay_sched *s, struct relay_dest *d, uint32_t where,
                          struct relay_group **out, uint32_t max)
{
    uint32_t n;

    if (d->pace.per_minute && !due_waits(&d->pace_due))
        relay_pace_gather(&d->pace, s->now_us);
    max = d->suspension ? 0 : PT_MIN(max, relay_pace_allows(&d->pace));
    if (max && relay_dest_big_next(d) && pull_from(s, d->ready_big.first, where, out, 1)) {
        d->small_run = 0;
        keep_pace(s, d, 1);
        return 1;
    }
    n = pull_from(s, d->lists[RELAY_GROUP_READY].first, where, out, max);
    d->small_run = PT_MIN(d->small_run + n, (uint32_t)RELAY_SMALL_RUN);
    keep_pace(s, d, n);
    return n;
}

/* The group, in no list, ends; its message with its last group. */
static void end_group(struct relay_sched *s, struct relay_group *g)
{
    struct relay_item *item = g->item;

    relay_group_leave(g);
    relay_group_free(s, g);
    if (!item->groups)
        relay_item_free(s, item);
}

void relay_sched_put_back(struct relay_sched *s, struct relay_group *g)
{
    if (!g->gathered)
        relay_pace_took(&g->dest->pace, -1);
    relay_group_unlink(s, g);
    if (atomic_load_explicit(&g->item->deleted, memory_order_relaxed))
        end_group(s, g);
    else if (g->gathered)
        relay_group_reroute(s, g, true, 0); /* relay_sched_due() finds what is due */
    else if (g->item->message->flags & SPOOL_HELD)
        relay_group_link(s, g, RELAY_GROUP_HELD, false);
    else
        relay_group_link(s, g, RELAY_GROUP_READY, true);
}

static bool record(struct spool_message *m, uint32_t index, const struct relay_result *res,
                   int64_t next_us)
{
    struct spool_recipient *r = &m->recipients[index];
    bool again = res->state == SPOOL_QUEUED || res->state == SPOOL_IN_DOUBT;

    r->state = res->state;
    r->code = res->code;
    if (!res->untried)
        r->attempts++;
    if (!again || !res->keeps_time)
        r->next_attempt_us = again ? next_us : 0;
    r->delay_told |= res->delay_told;
    if (again)
        spool_reply_set(&r->reply, res->reply);
    return again;
}

void relay_sched_settle(struct relay_sched *s, struct relay_group *g,
                        const struct relay_result *results, const struct relay_again *again,
                        int64_t now_us)
{
    struct relay_item *item = g->item;
    const struct spool_recipient *all = item->message->recipients;
    uint32_t left = 0;
    bool mixed = false;

    relay_group_unlink(s, g);
    g->gathered = false;
    if (atomic_load_explicit(&item->deleted, memory_order_relaxed)) {
        end_group(s, g);
        return;
    }
    for (uint32_t i = 0; i < g->count; i++)
        if (record(item->message, g->indexes[i], &results[i], again->next_us))
            g->indexes[left++] = g->indexes[i];
    g->count = left;
    if (!left) {
        end_group(s, g);
        return;
    }
    g->attempts = 0;
    g->due.at_us = all[g->indexes[0]].next_attempt_us;
    for (uint32_t i = 0; i < left; i++) {
        g->attempts = PT_MAX(g->attempts, all[g->indexes[i]].attempts);
        mixed |= all[g->indexes[i]].next_attempt_us != g->due.at_us;
    }
    g->unreachable = again->unreachable;
    g->prefer = again->prefer;
    g->passed_over = 0;
    if (!item->busy)
        relay_item_uncache(s, item);
    relay_group_reroute(s, g, mixed, now_us);
}

/* ---- time ---- */

/* A clock that was set back must not keep mail waiting: what lies further ahead than any plan of
 * ours reaches is due. */
static bool is_due(const struct relay_sched *s, const struct due *d, int64_t now_us)
{
    return d->at_us <= now_us || d->at_us - now_us > 2 * s->retry.ceiling_us;
}

/* The first in the heap may be one that was planned since, with old ones behind it for ever. */
static void note_time(struct relay_sched *s, int64_t now_us)
{
    if (now_us < s->now_us - CLOCK_SLACK_US)
        due_heap_clamp(&s->due, now_us + s->retry.ceiling_us);
    s->now_us = now_us;
}

bool relay_sched_due(struct relay_sched *s, int64_t now_us, uint32_t max)
{
    struct due *first;

    note_time(s, now_us);
    while ((first = due_first(&s->due)) && is_due(s, first, now_us)) {
        if (!max--)
            return true;
        s->steps++;
        if (first->kind == RELAY_DUE_DEST) {
            due_remove(&s->due, first);
            relay_dest_refresh(&s->dests, PT_CONTAINER_OF(first, struct relay_dest, rest));
        } else if (first->kind == RELAY_DUE_PACE) {
            struct relay_dest *d = PT_CONTAINER_OF(first, struct relay_dest, pace_due);

            due_remove(&s->due, first);
            relay_pace_gather(&d->pace, now_us);
            keep_pace(s, d, 0);
        } else {
            struct relay_group *g = PT_CONTAINER_OF(first, struct relay_group, due);

            relay_group_unlink(s, g);
            g->unreachable = false;
            relay_group_link(s, g, RELAY_GROUP_READY, false);
        }
    }
    return false;
}

int64_t relay_sched_next_due(const struct relay_sched *s)
{
    const struct due *first = due_first(&s->due);

    return first ? first->at_us : INT64_MAX;
}

static void sweep_bucket(struct relay_sched *s, uint32_t bucket)
{
    struct relay_dest *d = relay_dest_in_bucket(&s->dests, bucket);

    while (d) {
        struct relay_dest *next = d->hash_next;

        s->steps++;
        if (relay_dest_is_empty(d) && !d->connections && !d->pins && !relay_dest_rests(d) &&
            !due_waits(&d->pace_due) && !d->suspension)
            relay_dest_free(&s->dests, d);
        d = next;
    }
}

void relay_sched_sweep(struct relay_sched *s, uint32_t max)
{
    max = PT_MIN(max, s->dests.bucket_count);
    while (max--) {
        s->steps++;
        if (s->sweep_bucket >= s->dests.bucket_count)
            s->sweep_bucket = 0;
        sweep_bucket(s, s->sweep_bucket++);
    }
}
