#pragma once
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "net/addr.h"

/*
 * access/sets_inner: what tables of clients have in common. For this room only.
 *
 * A table is an array of sets, a set a handful of places under a lock of its own. The lock is held
 * for some hundred instructions and never while anything is waited for.
 */

/* Addresses are chosen by strangers: without knowing the seed nobody can aim at a set. */
static inline uint64_t sets_hash(uint64_t seed, const uint8_t octets[16], unsigned kind)
{
    uint64_t hi, lo, h;

    memcpy(&hi, octets, 8);
    memcpy(&lo, octets + 8, 8);
    h = (hi ^ seed) * UINT64_C(0x9E3779B97F4A7C15);
    h = (h ^ h >> 29 ^ lo ^ kind) * UINT64_C(0xD6E8FEB86659FD93);
    h = (h ^ h >> 32 ^ seed) * UINT64_C(0xBF58476D1CE4E5B9);
    return h ^ h >> 31;
}

static inline void sets_lock(_Atomic uint32_t *lock)
{
    while (atomic_exchange_explicit(lock, 1, memory_order_acquire))
        while (atomic_load_explicit(lock, memory_order_relaxed))
            sched_yield(); /* its holder was put off the processor */
}

static inline void sets_unlock(_Atomic uint32_t *lock)
{
    atomic_store_explicit(lock, 0, memory_order_release);
}

/* The first `length` bits of an address. */
static inline struct net_prefix sets_prefix(const struct net_addr *a, uint8_t length)
{
    struct net_prefix p = { *a, length };
    unsigned whole = length / 8;

    if (length < net_addr_bits(a)) /* lengths here are whole octets */
        memset(p.addr.octets + whole, 0, sizeof p.addr.octets - whole);
    return p;
}
