#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "net/addr.h"

/*
 * relay/route_view: where would mail for an address go, and why?
 *
 * By the functions that deliveries go by: the routes, the DNS, what of it is this gateway, and what
 * is known of each next hop now. Nothing is connected to. Waits for the DNS: a job thread.
 */

struct relay;
struct settings;
struct net_resolver;

/* An address of a next hop. */
struct relay_route_address {
    char text[NET_ENDPOINT_SIZE]; /* "192.0.2.1:25" */
    const char *skipped;          /* why it is not tried; NULL: it is */
    int64_t failed_until_us; /* it failed lately and is tried after the others; 0: it did not */
    bool tls_failed;         /* lately, so it would be talked to in clear where that may be */
};

/* In the order in which a connection that is opened now tries them. */
struct relay_route_hop {
    const char *host;
    uint16_t port;
    bool ordered;      /* it has a place: */
    uint32_t order;    /* its `order`, or the preference of a mail exchanger */
    uint32_t weight;   /* of next hops that share; 0: it shares with none */
    bool looked_up;    /* its addresses come from the DNS or the hosts file */
    bool secure;       /* … and were validated (DNSSEC) */
    const char *error; /* why there is no address; NULL: there are */
    const struct relay_route_address *addresses;
    uint32_t address_count;
};

/* A route that is not the one. */
struct relay_route_other {
    const char *domain;
    const char *why;
};

enum relay_route_fate {
    RELAY_ROUTE_GOES,
    RELAY_ROUTE_WAITS,
    RELAY_ROUTE_RETURNED,
};

/* All is borrowed for the time of the call that shows it; 0, "" and NULL: not so. */
struct relay_route_view {
    const char *domain; /* as it is compared and looked up */
    const char *route;  /* the domain of the route that fits; NULL: none does */
    const char *via;    /* "mx", "next_hops" */
    const struct relay_route_other *others;
    uint32_t other_count;

    const char *destination;
    const char *tls;      /* what is demanded: "none", "opportunistic", "encrypt", "verify" */
    const char *tls_from; /* what says so, as a key of the settings */
    const char *ca, *user;
    char source[NET_ADDR_SIZE];
    const char *protocol; /* "smtp", "lmtp" */
    uint32_t max_concurrency, max_messages_per_minute;
    uint64_t max_message_size; /* octets: the route's, or that of all mail */

    enum relay_route_fate fate; /* of a message that came now */
    const char *text;           /* in words */
    const struct relay_route_hop *hops;
    uint32_t hop_count;
    bool asked_dns, dns_secure; /* who the mail exchangers are; and it was validated */
    uint32_t dns_ttl;           /* seconds */

    bool known; /* there is mail for it, a connection, or was lately: then */
    uint64_t ready, deferred, busy, held;
    uint32_t connections, limit;
    int64_t rests_until_us;
    const char *error; /* the last trouble */
    int64_t error_at_us;
    bool suspended;
    const char *suspended_by, *suspended_reason;
    int64_t suspended_until_us;
    uint64_t redirected; /* queued recipients of the domain that are sent elsewhere */
};

typedef void relay_route_fn(void *user, const struct relay_route_view *v);

/*
 * `address`: a mailbox or a domain. `draft`: as if these settings were in force; NULL: those that
 * are. `resolver` NULL: names are not looked up. Shows once. PT_ERR_INVALID: it is no address;
 * PT_ERR_NOMEM.
 */
PT_NODISCARD enum pt_err relay_route_test(struct relay *r, struct net_resolver *resolver,
                                          struct str address, const struct settings *draft,
                                          relay_route_fn *show, void *user);
