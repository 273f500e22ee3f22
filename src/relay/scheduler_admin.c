#include "relay/scheduler_private.h"

/* What an administrator does to queued messages. */

static void end_rest(struct relay_sched *s, struct relay_dest *d)
{
    due_remove(&s->due, &d->rest);
    relay_dest_refresh(&s->dests, d);
}

uint32_t relay_sched_retry(struct relay_sched *s, struct relay_item *item, struct relay_group **out,
                           uint32_t max, bool *out_waits)
{
    uint32_t n = 0;

    *out_waits = false;
    for (struct relay_group *g = item->groups; g && n < max; g = g->sibling) {
        if (g->state != RELAY_GROUP_DEFERRED && g->state != RELAY_GROUP_READY)
            continue;
        *out_waits = true;
        end_rest(s, g->dest);
        if (g->state != RELAY_GROUP_DEFERRED)
            continue;
        relay_group_unlink(s, g);
        g->unreachable = false;
        relay_group_link(s, g, RELAY_GROUP_BUSY, false);
        out[n++] = g;
    }
    return n;
}

bool relay_sched_hold(struct relay_sched *s, struct relay_item *item)
{
    if (item->message->flags & SPOOL_HELD)
        return false;
    __atomic_fetch_or(&item->message->flags, (uint32_t)SPOOL_HELD, __ATOMIC_RELAXED);
    for (struct relay_group *g = item->groups; g; g = g->sibling) {
        if (g->state == RELAY_GROUP_BUSY)
            continue; /* held when it comes back */
        relay_group_unlink(s, g);
        relay_group_link(s, g, RELAY_GROUP_HELD, false);
    }
    return true;
}

bool relay_sched_release(struct relay_sched *s, struct relay_item *item, int64_t now_us)
{
    if (!(item->message->flags & SPOOL_HELD))
        return false;
    __atomic_fetch_and(&item->message->flags, ~(uint32_t)SPOOL_HELD, __ATOMIC_RELAXED);
    relay_sched_still_late(s, item);
    for (struct relay_group *g = item->groups; g; g = g->sibling) {
        if (g->state != RELAY_GROUP_HELD)
            continue;
        relay_group_unlink(s, g);
        relay_group_link_by_time(s, g, now_us);
    }
    return true;
}

void relay_sched_delete(struct relay_sched *s, struct relay_item *item)
{
    struct relay_group *g = item->groups;

    atomic_store_explicit(&item->deleted, true, memory_order_relaxed);
    while (g) {
        struct relay_group *next = g->sibling;

        if (g->state != RELAY_GROUP_BUSY) {
            relay_group_unlink(s, g);
            relay_group_leave(g);
            relay_group_free(s, g);
        }
        g = next;
    }
    if (!item->groups)
        relay_item_free(s, item);
}

uint32_t relay_sched_take(struct relay_sched *s, struct relay_item *item, struct relay_group **out,
                          uint32_t max)
{
    struct relay_group *g;
    uint32_t n = 0;

    while (n < max && (g = relay_gather(s, item, NULL)))
        out[n++] = g;
    return n;
}
