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
 * is the same row; there are at most 2 n + 1. They are kept as sorted arrays: where a range starts
 * (64 bits; another 64 only when some IPv6 prefix is longer than /64) and its row. A lookup finds
 * the last start that is not above the address.
 *
 * To get there without a binary search over megabytes, a trie with variable strides narrows it
 * down. A node stands for a run of ranges and the leading bits that all their starts share; it
 * takes the next `stride` bits of the address, chosen by how many ranges it has, as index into its
 * slots (the root up to 18 bits: for IPv4 at once about four ranges), and each slot is a shorter
 * run, with a node of its own if it is still long. Common leading bits cost no level, so depth
 * follows the shape of the list and not the length of the addresses. A slot may start behind the
 * range that its first addresses belong to: then the answer is the range before, which is the
 * array's neighbour.
 *
 * Rows nest, so the chain from a row to the next shorter one that covers it is one index per row.
 * Expiry and all questions about covering follow that chain.
 */

enum {
    LEAF_RANGES = 8,   /* a run so short is searched directly */
    STRIDE_MAX = 18,   /* 2 MiB of slots */
    PER_SLOT_BITS = 2, /* ranges per slot that a node aims at, as a power of two */
};

struct key {
    uint64_t hi, lo;
};

struct slot {
    uint32_t first; /* range at which the run begins */
    uint32_t node;  /* its node; 0: none */
};

/* A node's run ends where the run of its last slot ends: there is one slot more as a sentinel. */
struct node {
    struct key prefix; /* the shared leading bits */
    uint32_t slots;    /* index of its first slot */
    uint8_t shared;    /* how many */
    uint8_t stride;
};

struct family {
    uint64_t *hi;
    uint64_t *lo; /* NULL: all zero */
    uint32_t *row;
    uint32_t ranges;
    struct node *nodes;
    struct slot *slots;
    uint32_t node_count, node_cap;
    uint32_t slot_count, slot_cap;
};

struct access_table {
    struct family ipv4, ipv6;
    uint32_t count;
    uint32_t *cover;     /* per row: the next shorter prefix that holds it */
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
    return (struct key){ f->hi[range], f->lo ? f->lo[range] : 0 };
}
