/* Builds the structure that table_inner.h describes. */
#include <stdlib.h>

#include "access/table_inner.h"
#include "base/large.h"

/* ---- building: the rows in order ---- */

struct item {
    struct key key;
    uint32_t row;
    uint8_t length;
};

struct build {
    struct access_table *t;
    struct family *f;
    struct item *stack[129]; /* prefixes that hold the one at hand, from wide to narrow */
    unsigned depth;
};

static int compare_items(const void *a, const void *b)
{
    const struct item *x = a, *y = b;

    if (!key_eq(x->key, y->key))
        return key_less(x->key, y->key) ? -1 : 1;
    if (x->length != y->length)
        return x->length < y->length ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static bool outlasts(const struct access_row *a, const struct access_row *b)
{
    return b->expires_us && (!a->expires_us || a->expires_us > b->expires_us);
}

/* Leaves one item for each prefix; returns how many. */
static uint32_t drop_doubles(const struct access_row *rows, struct item *items, uint32_t count)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < count; i++) {
        struct item *last = kept ? &items[kept - 1] : NULL;

        if (!last || !key_eq(last->key, items[i].key) || last->length != items[i].length)
            items[kept++] = items[i];
        else if (outlasts(&rows[items[i].row], &rows[last->row]))
            last->row = items[i].row;
    }
    return kept;
}

/* Export files and stored lists are in order already: then sorting is one pass. */
static void sort_items(struct item *items, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++)
        if (compare_items(&items[i - 1], &items[i]) > 0) {
            qsort(items, count, sizeof *items, compare_items);
            return;
        }
}

static struct item *family_items(const struct access_row *rows, uint32_t count,
                                 enum net_family family, uint32_t *out_count)
{
    uint32_t n = 0;
    struct item *items;

    for (uint32_t i = 0; i < count; i++)
        n += rows[i].prefix.addr.family == family;
    items = malloc((n ? n : 1) * sizeof *items);
    if (!items)
        return NULL;
    n = 0;
    for (uint32_t i = 0; i < count; i++)
        if (rows[i].prefix.addr.family == family)
            items[n++] = (struct item){ key_of(&rows[i].prefix.addr), i, rows[i].prefix.length };
    sort_items(items, n);
    *out_count = drop_doubles(rows, items, n);
    return items;
}

/* ---- building: the ranges ---- */

static void start_range(struct family *f, struct key at, uint32_t row)
{
    uint32_t i = f->range_count;

    if (i > 0 && key_eq(start_of(f, i - 1), at))
        i--;
    if (i > 0 && f->ranges[i - 1].row == row) {
        f->range_count = i;
        return;
    }
    f->ranges[i] = (struct range){ at.hi, row };
    if (f->lo)
        f->lo[i] = at.lo;
    f->range_count = i + 1;
}

/* A row as ranges and chains name it. */
static uint32_t marked(const struct build *b, uint32_t row)
{
    return b->t->expires_us && b->t->expires_us[row] ? row | ROW_EXPIRES : row;
}

/* The innermost prefix at hand. */
static uint32_t inner_row(const struct build *b)
{
    return b->depth ? marked(b, b->stack[b->depth - 1]->row) : ACCESS_NONE;
}

/* Ends the innermost prefix: behind it the one around it goes on. */
static void leave(struct build *b)
{
    struct item *inner = b->stack[--b->depth];
    struct key last = key_last(inner->key, inner->length);

    if (last.hi == ~0ull && last.lo == ~0ull)
        return;
    last.lo++;
    last.hi += last.lo == 0;
    start_range(b->f, last, inner_row(b));
}

static void make_ranges(struct build *b, struct item *items, uint32_t count)
{
    start_range(b->f, (struct key){ 0 }, ACCESS_NONE);
    for (uint32_t i = 0; i < count; i++) {
        struct item *p = &items[i];

        while (b->depth) {
            struct item *top = b->stack[b->depth - 1];

            if (key_eq(key_head(p->key, top->length), top->key))
                break;
            leave(b);
        }
        b->t->cover[p->row] = inner_row(b);
        b->stack[b->depth++] = p;
        start_range(b->f, p->key, inner_row(b));
    }
    while (b->depth)
        leave(b);
}

/* Room for `n` prefixes; the low halves only when some prefix needs them. */
static bool alloc_ranges(struct family *f, const struct item *items, uint32_t n)
{
    size_t most = 2 * (size_t)n + 1;
    bool low = false;

    for (uint32_t i = 0; i < n; i++)
        low |= items[i].length > 64;
    f->ranges = malloc(most * sizeof *f->ranges);
    if (low)
        f->lo = malloc(most * sizeof *f->lo);
    return f->ranges && (!low || f->lo);
}

/* ---- building: the trie over the ranges ---- */

static void *grow(void *p, size_t size, uint32_t *cap, uint32_t need)
{
    uint32_t more = *cap ? *cap : 16;
    void *bigger;

    if (need <= *cap)
        return p;
    while (more < need)
        more += more / 4 + 16;
    bigger = realloc(p, more * size);
    if (bigger)
        *cap = more;
    return bigger;
}

static bool reserve(struct family *f, uint32_t slots)
{
    struct node *nodes = grow(f->nodes, sizeof *nodes, &f->node_cap, f->node_count + 1);
    uint32_t *grown;

    if (!nodes)
        return false;
    f->nodes = nodes;
    grown = grow(f->slots, sizeof *grown, &f->slot_cap, f->slot_count + slots);
    if (!grown)
        return false;
    f->slots = grown;
    return true;
}

static struct node plan_node(const struct family *f, uint32_t first, uint32_t end)
{
    struct key a = start_of(f, first), z = start_of(f, end - 1);
    unsigned shared = key_shared(a, z), left = (shared < 64 ? 64 : 128) - shared;
    unsigned stride = 31u - (unsigned)__builtin_clz(end - first) - PER_SLOT_BITS;

    stride = PT_MIN(PT_MIN(stride, (unsigned)STRIDE_MAX), left);
    return (struct node){ .prefix = key_head(a, shared),
                          .first = first,
                          .shared = (uint8_t)shared,
                          .stride = (uint8_t)stride };
}

/* A node over the ranges from `first` to before `end`. */
static bool add_node(struct family *f, uint32_t first, uint32_t end)
{
    struct node n = plan_node(f, first, end);
    uint32_t slots = 1u << n.stride, range = first;

    if (!reserve(f, slots + 1))
        return false;
    n.slots = f->slot_count;
    for (uint32_t i = 0; i < slots; i++) {
        while (range < end && key_bits(start_of(f, range), n.shared, n.stride) < i)
            range++;
        f->slots[n.slots + i] = range;
    }
    f->slots[n.slots + slots] = end;
    f->slot_count += slots + 1;
    f->nodes[f->node_count++] = n;
    return true;
}

/* Nodes for the slots of a node that are still long. */
static bool split_slots(struct family *f, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++) {
        uint32_t first = f->slots[i], end = f->slots[i + 1];

        if (end - first <= LEAF_RANGES)
            continue;
        f->slots[i] = f->node_count | SLOT_NODE;
        if (!add_node(f, first, end))
            return false;
    }
    return true;
}

/* Breadth first: the nodes are their own queue. The first range, which begins at zero, stays out:
 * it shares no bits with the others, and is what comes before all of them. */
static bool make_nodes(struct family *f)
{
    if (f->range_count <= LEAF_RANGES)
        return true;
    if (!add_node(f, 1, f->range_count))
        return false;
    for (uint32_t at = 0; at < f->node_count; at++) {
        uint32_t from = f->nodes[at].slots;

        if (!split_slots(f, from, from + (1u << f->nodes[at].stride)))
            return false;
    }
    f->nodes = large_fit(f->nodes, f->node_count * sizeof *f->nodes);
    f->slots = large_fit(f->slots, f->slot_count * sizeof *f->slots);
    f->node_cap = f->node_count;
    f->slot_cap = f->slot_count;
    return f->nodes && f->slots;
}

static bool build_family(struct access_table *t, struct family *f, const struct access_row *rows,
                         enum net_family family)
{
    struct build b = { .t = t, .f = f };
    uint32_t count;
    struct item *items = family_items(rows, t->count, family, &count);
    bool ok = items && (count == 0 || alloc_ranges(f, items, count));

    if (ok && count > 0) {
        bool low = f->lo;

        make_ranges(&b, items, count);
        f->ranges = large_fit(f->ranges, f->range_count * sizeof *f->ranges);
        f->lo = large_fit(f->lo, f->range_count * sizeof *f->lo);
        ok = f->ranges && (!low || f->lo);
    }
    free(items);
    return ok && make_nodes(f);
}

/* ---- the table ---- */

static bool alloc_rows(struct access_table *t, const struct access_row *rows, uint32_t count)
{
    size_t n = count ? count : 1;
    bool expires = false;

    for (uint32_t i = 0; i < count; i++)
        expires |= rows[i].expires_us != 0;
    t->count = count;
    t->cover = malloc(n * sizeof *t->cover);
    t->length = malloc(n * sizeof *t->length);
    if (expires)
        t->expires_us = malloc(n * sizeof *t->expires_us);
    if (!t->cover || !t->length || (expires && !t->expires_us))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        t->cover[i] = ACCESS_NONE;
        t->length[i] = rows[i].prefix.length;
        if (expires)
            t->expires_us[i] = rows[i].expires_us;
    }
    return true;
}

struct access_table *access_table_new(const struct access_row *rows, uint32_t count)
{
    struct access_table *t;

    if (count > ACCESS_ROWS_MAX)
        return NULL;
    t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    if (alloc_rows(t, rows, count) && build_family(t, &t->ipv4, rows, NET_IPV4) &&
        build_family(t, &t->ipv6, rows, NET_IPV6))
        return t;
    access_table_free(t);
    return NULL;
}

static void family_done(struct family *f)
{
    free(f->ranges);
    free(f->lo);
    free(f->nodes);
    free(f->slots);
}

void access_table_free(struct access_table *t)
{
    if (!t)
        return;
    family_done(&t->ipv4);
    family_done(&t->ipv6);
    free(t->cover);
    free(t->length);
    free(t->expires_us);
    free(t);
}
