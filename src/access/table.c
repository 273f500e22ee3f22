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

static uint32_t find_range(const struct family *f, struct key k)
{
    uint32_t first = 0, end = f->ranges, at = 0;

    while (f->node_count) {
        const struct node *n = &f->nodes[at];
        struct key head = key_head(k, n->shared);
        const struct slot *s;

        if (!key_eq(head, n->prefix))
            return key_less(head, n->prefix) ? first - 1 : end - 1;
        s = &f->slots[n->slots + key_bits(k, n->shared, n->stride)];
        first = s[0].first;
        end = s[1].first;
        at = s[0].node;
        if (!at)
            break;
    }
    return last_not_above(f, first, end, k);
}

static const struct family *family_of(const struct access_table *t, const struct net_addr *a)
{
    const struct family *f = a->family == NET_IPV4 ? &t->ipv4 : &t->ipv6;

    return a->family == NET_NONE || f->ranges == 0 ? NULL : f;
}

static bool alive(const struct access_table *t, uint32_t row, int64_t now_us)
{
    return !t->expires_us || t->expires_us[row] == 0 || now_us < t->expires_us[row];
}

uint32_t access_table_find(const struct access_table *t, const struct net_addr *a, int64_t now_us)
{
    const struct family *f = family_of(t, a);
    uint32_t row;

    if (!f)
        return ACCESS_NONE;
    row = f->row[find_range(f, key_of(a))];
    while (row != ACCESS_NONE && !alive(t, row, now_us))
        row = t->cover[row];
    return row;
}

/* The row with the longest prefix of at most `length` bits that has the first address of `p`. */
static uint32_t find_holder(const struct access_table *t, const struct net_prefix *p,
                            unsigned length)
{
    const struct family *f = family_of(t, &p->addr);
    uint32_t row;

    if (!f)
        return ACCESS_NONE;
    row = f->row[find_range(f, key_of(&p->addr))];
    while (row != ACCESS_NONE && t->length[row] > length)
        row = t->cover[row];
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
    const struct family *f = family_of(t, &p->addr);
    struct key first = key_of(&p->addr);
    uint32_t from, to;

    if (!f)
        return false;
    from = find_range(f, first);
    to = find_range(f, key_last(first, p->length));
    return from != to || f->row[from] != ACCESS_NONE;
}

size_t access_table_memory(const struct access_table *t)
{
    size_t size = sizeof *t;

    for (int i = 0; i < 2; i++) {
        const struct family *f = i ? &t->ipv6 : &t->ipv4;

        size += f->ranges * (sizeof *f->hi + sizeof *f->row + (f->lo ? sizeof *f->lo : 0));
        size += f->node_cap * sizeof *f->nodes + f->slot_cap * sizeof *f->slots;
    }
    return size + t->count * (sizeof *t->cover + sizeof *t->length +
                              (t->expires_us ? sizeof *t->expires_us : 0));
}
