#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * net/addr: IP addresses and prefixes as values.
 *
 * Pure: no I/O, no names, no memory. An IPv4-mapped IPv6 address (::ffff:a.b.c.d) becomes the IPv4
 * address wherever one is made here, so that nobody else has to think of it.
 */

enum net_family { NET_NONE = 0, NET_IPV4 = 4, NET_IPV6 = 6 };

struct net_addr {
    uint8_t family;     /* enum net_family */
    uint8_t octets[16]; /* network order; IPv4 uses the first four, the rest is zero */
};

struct net_endpoint {
    struct net_addr addr;
    uint16_t port;
};

/* `length` leading bits count; the others are zero once net_prefix_clear() was called. */
struct net_prefix {
    struct net_addr addr;
    uint8_t length; /* 0–32 or 0–128 */
};

/* Strict text forms: four decimal octets without leading zeros (RFC 6943 3.1.1), or RFC 4291
 * section 2.2; no zone, no brackets, no space. False leaves *out untouched. */
PT_NODISCARD bool net_addr_parse(struct str text, struct net_addr *out);

/* RFC 5952 form. `out` has room for NET_ADDR_SIZE. */
#define NET_ADDR_SIZE 46
void net_addr_format(const struct net_addr *a, char out[NET_ADDR_SIZE]);

/* "192.0.2.1:25" or "[2001:db8::1]:25". */
#define NET_ENDPOINT_SIZE 56
void net_endpoint_format(const struct net_endpoint *e, char out[NET_ENDPOINT_SIZE]);

bool net_addr_eq(const struct net_addr *a, const struct net_addr *b);
bool net_addr_is_loopback(const struct net_addr *a);   /* 127.0.0.0/8, ::1 */
bool net_addr_is_link_local(const struct net_addr *a); /* fe80::/10; IPv4 needs no zone */
bool net_addr_is_multicast(const struct net_addr *a);
unsigned net_addr_bits(const struct net_addr *a); /* 32 or 128 */

/* Clears the bits beyond the length; true if any was set. */
bool net_prefix_clear(struct net_prefix *p);
bool net_prefix_has(const struct net_prefix *p, const struct net_addr *a);

/* "192.0.2.0/24"; without the length where it is the whole address. */
#define NET_PREFIX_SIZE 52
void net_prefix_format(const struct net_prefix *p, char out[NET_PREFIX_SIZE]);

/* Conversions for system calls. net_to_sockaddr() returns the length to pass on. */
socklen_t net_to_sockaddr(const struct net_endpoint *e, struct sockaddr_storage *out);
PT_NODISCARD bool net_from_sockaddr(const struct sockaddr *sa, struct net_endpoint *out);
