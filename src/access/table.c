#include "access/table.h"

#include "access/table_inner.h"

/* The last range of those before `end` that does not start above `k`; all before `first` do not. */
static uint32_t last_not_above(const struct family *f, uint32_t first, uint32_t end, struct key k)
{
    while (end - first > LEAF_RANGES) {
        uint32_t middle = first + (end - first) / 2;

        if (key_less(k, start_of(f, middle)))
            end = middle;
        else
            first = middle + 1;
    }
    while (first < end && !key_less(k, start_of(f, first)))
        first++;
    return first - 1;
}

/* The range at which a slot's run begins. */
static uint32_t slot_first(const struct family *f, uint32_t slot)
{
    return slot & SLOT_NODE ? f->nodes[slot & ~SLOT_NODE].first : slot;
}

static uint32_t find_range(const struct family *f, struct key k)
{
    uint32_t first = 0, end = f->range_count, at = 0;

    while (f->node_count) {
        const struct node *n = &f->nodes[at];
        struct key head = key_head(k, n->shared);
        const uint32_t *slot;

        if (!key_eq(head, n->prefix))
            return key_less(head, n->prefix) ? n->first - 1 : end - 1;
        slot = &f->slots[n->slots + key_bits(k, n->shared, n->stride)];
        end = slot_first(f, slot[1]);
        first = slot[0];
        if (!(first & SLOT_NODE))
            break;
        at = first & ~SLOT_NODE;
    }
    return last_not_above(f, first, end, k);
}

/* The row with the longest prefix that has the address, with ROW_EXPIRES, or ACCESS_NONE. */
static uint32_t find_row(const struct access_table *t, const struct net_addr *a)
{
    const struct family *f = a->family == NET_IPV4 ? &t->ipv4 : &t->ipv6;

    if (a->family == NET_NONE || f->range_count == 0)
        return ACCESS_NONE;
    return f->ranges[find_range(f, key_of(a))].row;
}

static bool alive(const struct access_table *t, uint32_t row, int64_t now_us)
{
    return !(row & ROW_EXPIRES) || now_us < t->expires_us[row & ~ROW_EXPIRES];
}

bool access_table_lives(const struct access_table *t, uint32_t row, int64_t now_us)
{
    return !t->expires_us || !t->expires_us[row] || now_us < t->expires_us[row];
}

static uint32_t row_index(uint32_t row)
{
    return row == ACCESS_NONE ? row : row & ~ROW_EXPIRES;
}

uint32_t access_table_find(const struct access_table *t, const struct net_addr *a, int64_t now_us)
{
    uint32_t row = find_row(t, a);

    while (row != ACCESS_NONE && !alive(t, row, now_us))
        row = t->cover[row_index(row)];
    return row_index(row);
}

/* The row with the longest prefix of at most `length` bits that has the first address of `p`. */
static uint32_t find_holder(const struct access_table *t, const struct net_prefix *p,
                            unsigned length)
{
    uint32_t row = row_index(find_row(t, &p->addr));

    while (row != ACCESS_NONE && t->length[row] > length)
        row = row_index(t->cover[row]);
    return row;
}

uint32_t access_table_find_prefix(const struct access_table *t, const struct net_prefix *p)
{
    uint32_t row = find_holder(t, p, p->length);

    return row != ACCESS_NONE && t->length[row] == p->length ? row : ACCESS_NONE;
}

uint32_t access_table_find_cover(const struct access_table *t, const struct net_prefix *p)
{
    return p->length == 0 ? ACCESS_NONE : find_holder(t, p, p->length - 1u);
}

bool access_table_overlaps(const struct access_table *t, const struct net_prefix *p)
{
    const struct family *f = p->addr.family == NET_IPV4 ? &t->ipv4 : &t->ipv6;
    struct key first = key_of(&p->addr);
    uint32_t from;

    if (p->addr.family == NET_NONE || f->range_count == 0)
        return false;
    from = find_range(f, first);
    return f->ranges[from].row != ACCESS_NONE || from != find_range(f, key_last(first, p->length));
}

size_t access_table_memory(const struct access_table *t)
{
    size_t size = sizeof *t;

    for (int i = 0; i < 2; i++) {
        const struct family *f = i ? &t->ipv6 : &t->ipv4;

        size += f->range_count * (sizeof *f->ranges + (f->lo ? sizeof *f->lo : 0));
        size += f->node_cap * sizeof *f->nodes + f->slot_cap * sizeof *f->slots;
    }
    return size + t->count * (sizeof *t->cover + sizeof *t->length +
                              (t->expires_us ? sizeof *t->expires_us : 0));
}
