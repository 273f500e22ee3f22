#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "net/resolver.h"

/*
 * net/exchangers: the hosts that take mail for a name, as the answers of the DNS give them.
 *
 * Pure: octets in, hosts out; no socket, no thread. What a stranger's name server wrote is read
 * here: whatever is malformed, or means no host that could be connected to, is left out.
 */

enum { NET_FAMILY_MAX = 8 }; /* addresses of one family of a host that count */

struct net_exchanger {
    uint16_t priority;
    uint64_t order; /* at random, for hosts of one priority */
    char name[NET_NAME_SIZE];
    struct net_addr addrs[2 * NET_FAMILY_MAX];
    unsigned addr_count;
};

struct net_exchangers {
    unsigned count;
    struct net_exchanger list[NET_MX_MAX];
};

/* A name in wire format (RFC 1035 3.1), neither compressed nor longer than `n`, as text without a
 * final dot; the root is "". False: it is malformed, or holds what no host name does (anything but
 * letters, digits, "-" and "_"). */
PT_NODISCARD bool net_name_read(const uint8_t *octets, size_t n, char out[NET_NAME_SIZE]);

/* Adds a host. When the list is full the best ones stay; of one priority, at random. */
void net_exchangers_add(struct net_exchangers *e, uint16_t priority, const char *name,
                        struct rng *rng);

/* Adds what the data of an MX record (RFC 1035 3.3.9) names; *null_mx is set where that is nothing
 * (RFC 7505) and untouched otherwise. */
void net_exchangers_read_mx(struct net_exchangers *e, const uint8_t *rdata, size_t n,
                            struct rng *rng, bool *null_mx);

/* Adds the address in the data of an A or AAAA record, unless it is none of a single host. */
void net_exchanger_read_address(struct net_exchanger *host, enum net_family family,
                                const uint8_t *rdata, size_t n);

/* The addresses to try, best first, into `out`; returns how many. The hosts are sorted by it; those
 * of one priority are in the order of chance, the families of a host take turns, IPv6 first (RFC
 * 8305 section 4). No host takes so much of the room that the others have none. */
uint32_t net_exchangers_targets(struct net_exchangers *e, struct net_target out[NET_TARGETS_MAX]);
