#pragma once
#include <stdint.h>
#include <string.h>

#include "access/table.h"

/*
 * access/table_inner: what table.c (looking up) and table_build.c share; nobody else includes it.
 *
 * How it works.
 *
 * The prefixes of one family cut the address space into ranges in each of which the longest match
 * is the same row; there are at most 2 n + 1. They are kept as a sorted array: where a range starts
 * (the first 64 bits; the second 64 stand apart, and only when some IPv6 prefix is longer than /64)
 * and its row. A lookup finds the last start that is not above the address.
 *
 * To get there without a binary search over megabytes, a trie with variable strides narrows it
 * down. A node stands for a run of ranges and the leading bits that all their starts share; it
 * takes the next `stride` bits of the address, chosen by how many ranges it has, as index into its
 * slots (the root up to 20 bits), and each slot is a shorter run, with a node of its own if it is
 * still long. Common leading bits cost no level, so depth follows the shape of the list and not
 * the length of the addresses. A slot may start behind the range that its first addresses belong
 * to: then the answer is the range before, which is the array's neighbour.
 *
 * Where the cost is: each step is a cache miss in a table of a million. So start and row lie side
 * by side, slots are four octets, large arrays ask for huge pages, and only a row that expires is
 * looked at further.
 *
 * Rows nest, so the chain from a row to the next shorter one that covers it is one index per row.
 * Expiry and all questions about covering follow that chain.
 */

enum {
    LEAF_RANGES = 8,  /* a run so short is searched directly */
    STRIDE_MAX = 20,  /* 4 MiB of slots */
    PER_SLOT_BITS = 1 /* ranges per slot that a node aims at, as a power of two */
};

#define SLOT_NODE (1u << 31)   /* the rest is the index of a node, otherwise of a range */
#define ROW_EXPIRES (1u << 31) /* the rest is the row; not in ACCESS_NONE */

struct key {
    uint64_t hi, lo;
};

struct range {
    uint64_t hi;  /* of its start */
    uint32_t row; /* ACCESS_NONE: none */
} __attribute__((packed));

/* A node's run ends where that of its last slot does: one slot more marks the end. */
struct node {
    struct key prefix; /* the shared leading bits */
    uint32_t slots;    /* index of its first slot */
    uint32_t first;    /* range at which its run begins */
    uint8_t shared;    /* how many bits */
    uint8_t stride;
};

struct family {
    struct range *ranges;
    uint64_t *lo; /* of the starts; NULL: all zero */
    uint32_t range_count;
    struct node *nodes; /* the first is the root; none: few ranges */
    uint32_t *slots;
    uint32_t node_count, node_cap;
    uint32_t slot_count, slot_cap;
};

struct access_table {
    struct family ipv4, ipv6;
    uint32_t count;
    uint32_t *cover;     /* per row: the next shorter prefix that holds it, with ROW_EXPIRES */
    uint8_t *length;     /* per row */
    int64_t *expires_us; /* per row; NULL: none expires */
};

static inline struct key key_of(const struct net_addr *a)
{
    struct key k;

    memcpy(&k.hi, a->octets, 8);
    memcpy(&k.lo, a->octets + 8, 8);
    k.hi = __builtin_bswap64(k.hi);
    k.lo = __builtin_bswap64(k.lo);
    return k;
}

static inline bool key_less(struct key a, struct key b)
{
    return a.hi != b.hi ? a.hi < b.hi : a.lo < b.lo;
}

static inline bool key_eq(struct key a, struct key b)
{
    return a.hi == b.hi && a.lo == b.lo;
}

/* The first `n` bits. */
static inline struct key key_head(struct key k, unsigned n)
{
    if (n < 64)
        return (struct key){ n ? k.hi & ~0ull << (64 - n) : 0, 0 };
    if (n < 128)
        k.lo = n == 64 ? 0 : k.lo & ~0ull << (128 - n);
    return k;
}

/* The last key whose first `n` bits are those of `k`. */
static inline struct key key_last(struct key k, unsigned n)
{
    if (n < 64)
        return (struct key){ k.hi | (n ? ~0ull >> n : ~0ull), ~0ull };
    if (n < 128)
        k.lo |= n == 64 ? ~0ull : ~0ull >> (n - 64);
    return k;
}

static inline unsigned key_shared(struct key a, struct key b)
{
    if (a.hi != b.hi)
        return (unsigned)__builtin_clzll(a.hi ^ b.hi);
    return a.lo != b.lo ? 64u + (unsigned)__builtin_clzll(a.lo ^ b.lo) : 128u;
}

/* `n` bits from bit `from` on; they lie within one half. */
static inline uint32_t key_bits(struct key k, unsigned from, unsigned n)
{
    uint64_t half = from < 64 ? k.hi : k.lo;

    return (uint32_t)(half << (from & 63) >> (64 - n));
}

static inline struct key start_of(const struct family *f, uint32_t range)
{
    return (struct key){ f->ranges[range].hi, f->lo ? f->lo[range] : 0 };
}
