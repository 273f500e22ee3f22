#include "relay/queue_filter.h"

bool relay_view_is_destination(const struct relay_dest *d, struct str name)
{
    return str_eq_nocase(str_of(d->key), name) ||
           (d->kind != RELAY_DEST_HOPS && str_eq_nocase(str_of(d->domain), name));
}

static bool goes_to(const struct relay_item *item, struct str destination)
{
    for (const struct relay_group *g = item->groups; g; g = g->sibling)
        if (relay_view_is_destination(g->dest, destination))
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

bool relay_view_matches(const struct relay_item *item, const struct relay_view_filter *f)
{
    const struct spool_message *m = item->message;

    return !(f->held && !(m->flags & SPOOL_HELD)) &&
           !(f->received_before_us && m->received_us >= f->received_before_us) &&
           !(f->sender.p && !is_sender(m, f->sender)) &&
           !(f->recipient.p && !has_recipient(m, f->recipient)) &&
           !(f->destination.p && !goes_to(item, f->destination));
}
