#include "relay/queue_filter.h"

#include "base/buf.h"
#include "relay/index.h"

/* ---- destinations ---- */

static struct relay_dest *find_at(struct relay *r, struct str prefix, struct str name)
{
    struct relay_dest *d = NULL;
    struct buf place;

    buf_init(&place, 1024);
    buf_add_str(&place, prefix);
    buf_add_str(&place, relay_dest_place(name));
    if (!place.failed)
        d = relay_dest_at_place(&r->sched.dests, buf_str(&place));
    while (d && !relay_dest_is(d, name))
        d = d->hash_next;
    buf_done(&place);
    return d;
}

struct relay_dest *relay_view_find_destination(struct relay *r, struct str name)
{
    struct relay_dest *d = find_at(r, STR(""), name);

    if (!d)
        d = find_at(r, STR("mx:"), name);
    return d ? d : find_at(r, STR("no-route:"), name);
}

static bool goes_to(const struct relay_item *item, struct str destination)
{
    for (const struct relay_group *g = item->groups; g; g = g->sibling)
        if (relay_dest_is(g->dest, destination))
            return true;
    return false;
}

/* ---- messages ---- */

enum relay_view_state relay_view_state_of(const struct relay_group *g,
                                          const struct spool_recipient *recipient)
{
    if (g->state == RELAY_GROUP_BUSY)
        return RELAY_VIEW_DELIVERING;
    if (recipient->state == SPOOL_IN_DOUBT)
        return RELAY_VIEW_IN_DOUBT;
    if (recipient->attempts || g->state == RELAY_GROUP_DEFERRED ||
        (g->state == RELAY_GROUP_READY && relay_dest_rests(g->dest)))
        return RELAY_VIEW_DEFERRED;
    return RELAY_VIEW_QUEUED;
}

static bool is_in_state(const struct relay_item *item, enum relay_view_state state)
{
    if (state == RELAY_VIEW_HELD)
        return item->message->flags & SPOOL_HELD;
    for (const struct relay_group *g = item->groups; g; g = g->sibling)
        for (uint32_t i = 0; i < g->count; i++)
            if (relay_view_state_of(g, &item->message->recipients[g->indexes[i]]) == state)
                return true;
    return false;
}

static bool has_recipient(const struct spool_message *m, struct str address)
{
    for (uint32_t i = 0; i < m->recipient_count; i++)
        if (str_eq_nocase(m->recipients[i].address, address))
            return true;
    return false;
}

static bool is_sender(const struct spool_message *m, struct str sender)
{
    if (str_eq(sender, STR("<>")))
        sender.n = 0;
    return str_eq_nocase(m->reverse_path, sender);
}

static bool matches(const struct relay_item *item, const struct relay_view_filter *f)
{
    const struct spool_message *m = item->message;

    return !(f->received_before_us && m->received_us >= f->received_before_us) &&
           !(f->received_after_us && m->received_us < f->received_after_us) &&
           !(f->sender.p && !is_sender(m, f->sender)) &&
           !(f->state && !is_in_state(item, f->state)) &&
           !(f->recipient.p && !has_recipient(m, f->recipient)) &&
           !(f->destination.p && !goes_to(item, f->destination));
}

struct relay_item *relay_view_next(struct relay *r, const struct relay_view_filter *f,
                                   uint64_t *cursor, uint32_t *looks, bool *at_end)
{
    while (*looks) {
        struct relay_item *item = f->newest_first ? relay_index_before(r->sched.index, *cursor)
                                                  : relay_index_after(r->sched.index, *cursor);

        if (!item) {
            *at_end = true;
            return NULL;
        }
        *cursor = item->id;
        *looks -= PT_MIN(*looks, 1 + item->message->recipient_count);
        if (matches(item, f))
            return item;
    }
    return NULL;
}
