#include "relay/scheduler_private.h"
#include "relay/suspend.h"
#include "smtp/envelope.h"

/*
 * What waits for too long, message by message: to be given up, or to have its sender told.
 *
 * IDs ascend with time, so both walks go up from the oldest message and stop at the first that is
 * young. The one for what is late never goes back: a message becomes late once. Who cannot be told
 * at that moment (in delivery, held) is told with its next deferral or when it is released.
 */

enum { LOOK_MAX = 1000 };

/* ---- one group of several ---- */

/* Each recipient's own fields say from now on what its group said. */
static void note_wait(struct relay_group *g)
{
    struct spool_message *m = g->item->message;
    bool rests = g->state == RELAY_GROUP_READY && relay_dest_rests(g->dest) && g->dest->error[0];
    struct str why = str_of(g->dest->suspension ? RELAY_SUSPENDED : g->dest->error);

    rests |= g->dest->suspension && g->state != RELAY_GROUP_HELD;
    for (uint32_t i = 0; i < g->count; i++) {
        struct spool_recipient *r = &m->recipients[g->indexes[i]];

        r->next_attempt_us = g->due.at_us;
        if (!rests)
            continue;
        spool_reply_set(&r->reply, why);
        r->code = 0;
    }
}

static bool join(struct relay_sched *s, struct relay_group *into, struct relay_group *g)
{
    uint32_t before = into->count;

    for (uint32_t i = 0; i < g->count; i++)
        if (!relay_group_add(into, g->indexes[i])) {
            into->count = before;
            return false;
        }
    note_wait(g);
    into->unreachable |= g->unreachable;
    into->attempts = PT_MAX(into->attempts, g->attempts);
    relay_group_unlink(s, g);
    relay_group_leave(g);
    relay_group_free(s, g);
    return true;
}

struct relay_group *relay_gather(struct relay_sched *s, struct relay_item *item,
                                 bool (*fits)(const struct relay_group *g))
{
    struct relay_group *all = NULL, *g = item->groups;

    while (g) {
        struct relay_group *next = g->sibling;

        if (g->state != RELAY_GROUP_BUSY && (!fits || fits(g))) {
            if (!all) {
                all = g;
                note_wait(g);
                g->gathered = true;
                relay_group_unlink(s, g);
                relay_group_link(s, g, RELAY_GROUP_BUSY, false);
            } else if (!all->prefer && !g->prefer) { /* where it is in doubt is the group's own */
                PT_IGNORE(join(s, all, g), "it stays for itself");
            }
        }
        g = next;
    }
    return all;
}

/* ---- expired ---- */

/* Of a destination that answers old messages get their last attempt, and are given up by its
 * outcome; only those that wait for one at rest, or suspended, would wait for ever. */
static bool waits_at_rest(const struct relay_group *g)
{
    return g->state == RELAY_GROUP_READY && (relay_dest_rests(g->dest) || g->dest->suspension);
}

uint32_t relay_sched_expired(struct relay_sched *s, int64_t now_us, struct relay_group **out,
                             uint32_t max)
{
    uint32_t n = 0;

    for (uint32_t looked = 0; looked < LOOK_MAX; looked++) {
        struct relay_item *item = relay_sched_after(s, s->expire_cursor);
        struct relay_group *g;

        if (!item || !retry_expired(&s->retry, item->message->received_us, now_us)) {
            s->expire_cursor = 0;
            return n;
        }
        if (n == max)
            return n; /* the cursor stands before this message */
        g = relay_gather(s, item, waits_at_rest);
        if (g)
            out[n++] = g;
        s->expire_cursor = item->id;
    }
    return n;
}

/* ---- late ---- */

bool relay_wants_delay_notice(const struct spool_recipient *r)
{
    return !r->delay_told && (r->notify == 0 || r->notify & SMTP_NOTIFY_DELAY);
}

static bool is_to_be_told(const struct relay_group *g)
{
    const struct spool_recipient *all = g->item->message->recipients;

    if (g->state == RELAY_GROUP_HELD)
        return false;
    for (uint32_t i = 0; i < g->count; i++)
        if (relay_wants_delay_notice(&all[g->indexes[i]]))
            return true;
    return false;
}

uint32_t relay_sched_late(struct relay_sched *s, int64_t now_us, struct relay_group **out,
                          uint32_t max)
{
    uint32_t n = 0;

    for (uint32_t looked = 0; looked < LOOK_MAX && n < max; looked++) {
        struct relay_item *item = relay_sched_after(s, s->late_cursor);
        struct relay_group *g = NULL;

        if (!item || !retry_is_late(&s->retry, item->message->received_us, now_us))
            return n;
        if (item->message->reverse_path.n &&
            !retry_expired(&s->retry, item->message->received_us, now_us))
            g = relay_gather(s, item, is_to_be_told);
        if (g)
            out[n++] = g;
        else
            s->late_cursor = item->id; /* what could not be joined comes in the next round */
    }
    return n;
}

void relay_sched_still_late(struct relay_sched *s, const struct relay_item *item)
{
    s->late_cursor = PT_MIN(s->late_cursor, item->id - 1);
}
