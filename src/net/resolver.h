#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mailbox.h"
#include "net/addr.h"
#include "net/loop.h"

/*
 * net/resolver: where does mail for a name go?
 *
 * One thread asks the DNS through libunbound, with one cache for all loops. Answers are validated
 * (DNSSEC) as far as the trust anchor allows; what fails validation is PT_ERR_CORRUPT with its
 * reason, never an address. Names in the hosts file and address literals are answered too.
 */

struct net_resolver;

struct net_resolver_config {
    const char *const *servers; /* "IP" or "IP@PORT"; none: those of the system, whose change is
                                 * noticed; where it names none, the DNS is asked from its root */
    uint32_t server_count;
    const char *trust_anchor; /* a DS record; NULL: the root's; "none": no validation */
    uint32_t limit_ms;        /* a query ends by then with what is known; 0: 20 seconds */
};

enum {
    NET_NAME_SIZE = 256,  /* a name as text, with its final NUL */
    NET_MX_MAX = 10,      /* mail exchangers of a domain that count (RFC 5321 5.1 allows a limit) */
    NET_TARGETS_MAX = 32, /* addresses to try, in all */
};

enum net_query_kind {
    NET_QUERY_ADDRESSES, /* A and AAAA of a host */
    NET_QUERY_MX,        /* the mail exchangers of a domain (RFC 5321 5.1) with their addresses */
    NET_QUERY_MAIL,      /* has a domain any? As NET_QUERY_MX, but where there are MX records they
                            are the answer, without a target */
};

/* One address to try. `host` is the exchanger's name, or the host asked for. */
struct net_target {
    uint16_t priority; /* of the exchanger; 0 with NET_QUERY_ADDRESSES */
    struct net_addr addr;
    char host[NET_NAME_SIZE];
};

/*
 * Embedded in its owner, given up until `done` runs on the loop `reply_to`. There is no
 * cancelling: the owner lives until then.
 */
struct net_query {
    struct mail mail; /* private */
    struct net_loop *reply_to;
    enum net_query_kind kind;
    char name[NET_NAME_SIZE]; /* host or domain, A-labels, without a final dot */
    void (*done)(struct net_query *q);

    /* The answer. `targets` are sorted: best priority first, at random within one, the addresses of
     * a host together, IPv6 and IPv4 by turns. Free with net_query_clear(). */
    enum pt_err result; /* OK; NOTFOUND: no such name, or no address; AGAIN: try later, nobody
                         * answered or a server failed; CORRUPT: what came failed validation */
    bool null_mx;       /* RFC 7505: the domain takes no mail; result is NOTFOUND */
    bool secure;        /* every answer was validated */
    uint32_t ttl;       /* seconds, the smallest of all answers */
    struct net_target *targets;
    uint32_t target_count;
    char reason[400]; /* for a person; empty when result is OK */

    struct net_query *next; /* private, like all that follows */
    struct net_resolver *resolver;
    int64_t asked_ns;
};

PT_NODISCARD enum pt_err net_resolver_new(struct net_resolver **out,
                                          const struct net_resolver_config *config,
                                          struct pt_fault *fault);

/* Ends the thread: what is under way then, and whatever is asked from now on, is never answered, so
 * that the loops can be freed. Once. */
void net_resolver_stop(struct net_resolver *r); /* NULL is accepted */

/* Stops it, if it was not. No query may be under way then. */
void net_resolver_free(struct net_resolver *r);

/* A changed configuration that is ready to be adopted. */
struct net_resolver_change;

/* Makes ready what `config` says; nothing changes yet, and a bad value changes nothing. Any thread;
 * reads files of the system, so not from a loop. */
PT_NODISCARD enum pt_err net_resolver_prepare(struct net_resolver *r,
                                              const struct net_resolver_config *config,
                                              struct net_resolver_change **out,
                                              struct pt_fault *fault);

/* New questions go by it, with an empty cache; those under way finish as they began. It is taken.
 * Any thread. */
void net_resolver_adopt_take(struct net_resolver *r, struct net_resolver_change *change);

void net_resolver_change_free(struct net_resolver_change *change); /* NULL is accepted */

enum net_resolver_state {
    NET_RESOLVER_FINE,    /* as far as anybody asked */
    NET_RESOLVER_FAILING, /* servers answer, but the last queries all failed */
    NET_RESOLVER_SILENT,  /* no server answers; they are asked again until one does */
};

struct net_resolver_health {
    enum net_resolver_state state;
    uint32_t failures; /* queries that failed since the last that did not */
    bool bogus;        /* the last one for its signatures */
    char reason[400];  /* of the last one */
    char servers[300]; /* that are silent */
};

/* How it does. Any thread. */
void net_resolver_health(struct net_resolver *r, struct net_resolver_health *out);

/* Asks. Any thread. Some hundred queries are under way at a time, the others wait their turn; the
 * time limit counts from here. */
void net_resolve(struct net_resolver *r, struct net_query *q);

/* Frees the answer. */
void net_query_clear(struct net_query *q);
