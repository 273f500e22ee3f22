#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "net/addr.h"

/*
 * access/counts: what each client has done in the last minute, and how many sessions it has.
 *
 * Counted for its address and for its network, an IPv4 /24 or an IPv6 /64. It knows no limit and
 * decides nothing. The clock is passed in, in microseconds from any start; where it goes back the
 * last second that was seen counts.
 *
 * A minute is the ten seconds of now and the fifty before, so that what was counted is forgotten
 * after 50 to 60 seconds. Failures are also counted over a longer span that the caller names, of
 * which the oldest sixth is forgotten at a time; another span begins anew.
 *
 * Memory is bounded and taken once; counting allocates nothing and costs the same whatever is
 * there. Any thread; each call takes the locks of two sets of eight places. When all eight are
 * taken, the client that was least active gives way, and never one with a session. So addresses
 * that come once push out each other and not those that are about to reach a limit; and all that
 * is in one IPv6 /48 shares one set, so that whoever owns such a network cannot fill the others.
 */

enum access_counted {
    ACCESS_CONNECTIONS,
    ACCESS_MESSAGES,
    ACCESS_RECIPIENTS,
    ACCESS_FAILURES,
    ACCESS_COUNTED,
};

struct access_usage {
    uint32_t sessions;                  /* now */
    uint32_t in_minute[ACCESS_COUNTED]; /* in the last minute */
    uint32_t failures;                  /* in the longer span */
};

struct access_client {
    struct access_usage address;
    struct access_usage prefix;
};

struct access_counts;

/* Clients that are kept count of, addresses and networks each. Pages that no client touched take
 * no memory. */
enum { ACCESS_COUNTS_MAX = 1 << 16 };

/* `seed` must not be known to clients. NULL when memory is short. */
struct access_counts *access_counts_new(uint64_t seed);
void access_counts_free(struct access_counts *c); /* NULL is accepted */

/* The time of a question. */
struct access_now {
    int64_t us;
    uint32_t span_minutes; /* over which failures are added up; 0: one minute */
};

/* What there is; changes nothing. */
void access_counts_read(struct access_counts *c, const struct net_addr *client,
                        struct access_now now, struct access_client *out);

/* Counts `n` of `what`; *before is what there was. */
void access_counts_add(struct access_counts *c, const struct net_addr *client,
                       enum access_counted what, uint32_t n, struct access_now now,
                       struct access_client *before);

/* Counts a connection and a session. Returns what access_counts_close() must be given when the
 * session ends: where it was counted, which is nowhere if no place could be had. */
PT_NODISCARD uint8_t access_counts_open(struct access_counts *c, const struct net_addr *client,
                                        struct access_now now, struct access_client *before);
void access_counts_close(struct access_counts *c, const struct net_addr *client, uint8_t where);

/* Forgets the failures of a client: of the address, and where access_client_of() is its network, of
 * that. */
void access_counts_forgive(struct access_counts *c, const struct net_addr *client);

/* Whom a ban or a row of what was refused stands for: the address, of IPv6 its /64. */
struct net_prefix access_client_of(const struct net_addr *client);

/* The network that is counted beside the address. */
struct net_prefix access_network_of(const struct net_addr *client);
