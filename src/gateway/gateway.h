#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "gateway/recipients.h"
#include "net/addr.h"
#include "net/listener.h"
#include "net/loop.h"
#include "net/resolver.h"
#include "policy/policy.h"
#include "spool/spool.h"
#include "tls/handshake.h"
#include "tracking/tracking.h"

/*
 * gateway: the sessions of all clients.
 *
 * Each loop accepts from the shared listeners, reads, feeds the server machine (smtp/server.h),
 * asks policy, and hands complete messages to the spool. A `250` for a message goes out after the
 * spool has said that it is durable, never before.
 */

struct gateway;
struct gateway_loop;

struct gateway_config {
    struct spool *spool;
    unsigned loops;
    /* Sessions that the system's limits leave room for; one more is answered 421 like one beyond
     * max_connections. 0: not known. */
    uint32_t sessions_max;
    /* Octets of memory for what clients send until it is stored: envelopes, content, commands that
     * wait, replies that are not read. When it is spent, MAIL is answered 452 4.3.1. */
    uint64_t memory_max;
    struct tls_handshaker *handshaker; /* outlives the gateway; NULL: no TLS at all */
    struct tracking *tracking;         /* the same; NULL: nothing is recorded */
    /* Ends before the loops are freed; NULL: no name can be looked up. */
    struct net_resolver *resolver;
    const struct gateway_recipients *recipients; /* outlives it; NULL: no next hop can be asked */
};

struct gateway *gateway_new(const struct gateway_config *config); /* NULL: memory is short */
void gateway_free(struct gateway *g);                             /* after its loops */

/* One for each loop, made and freed while that loop does not run. NULL: memory is short. */
struct gateway_loop *gateway_loop_new(struct gateway *g, struct net_loop *loop);
void gateway_loop_free(struct gateway_loop *l);

/* A listening socket that several loops and settings revisions share; closed with its last
 * reference. */
struct gateway_listener {
    struct net_listener listener;
    atomic_bool tls; /* from the first octet (RFC 8314); set before it is published */
    _Atomic uint32_t refs;
};

/* Takes over an open listener; NULL (and it is closed) when memory is short. */
struct gateway_listener *gateway_listener_new(const struct net_listener *l);
struct gateway_listener *gateway_listener_ref(struct gateway_listener *l);
void gateway_listener_unref(struct gateway_listener *l); /* NULL is accepted */

enum { GATEWAY_LISTENERS_MAX = 16, GATEWAY_RETIRING_MAX = 64 };

/*
 * New settings, certificates and listeners for all loops: takes effect on each within a turn. `tls`
 * is what sessions begin TLS with, NULL: nothing to begin it with, and STARTTLS is not offered; a
 * session that is encrypted already keeps what it began with. A listener that was
 * there before goes on without a gap. One that is left out retires: who has connected to it by now
 * is served, nobody else can connect, and after a moment it is closed. References are taken. A
 * session whose client the new rules refuse gets 421 4.7.0 once it is between transactions. Any
 * thread but one at a time.
 */
void gateway_publish(struct gateway *g, struct policy_snapshot *snapshot, struct tls_server *tls,
                     struct gateway_listener *const *listeners, unsigned count);

/* Waits until every loop has taken over what was published last, at most `timeout_ms`: nobody who
 * connects afterwards meets what was before. False: a loop is busy and will do so later. The loops
 * must be running; any thread but theirs. */
bool gateway_wait_published(struct gateway *g, unsigned timeout_ms);

/* References to the listeners that retire now, for who would open their addresses again:
 * publishing one revives it. Returns how many, at most GATEWAY_RETIRING_MAX. */
unsigned gateway_retiring(struct gateway *g, struct gateway_listener **out);

/*
 * The end: no more accepting, idle sessions get 421, those within a message get `grace_ms`.
 * `drained` is called once, on a loop's thread, when no session is left. Any thread.
 */
void gateway_drain(struct gateway *g, unsigned grace_ms, void (*drained)(void *ctx), void *ctx);

/* The process as a whole has little memory left, or has enough again: while it is so, MAIL is
 * answered 452 4.3.1. Any thread. */
void gateway_set_memory_short(struct gateway *g, bool is_short);

struct gateway_stats {
    uint64_t sessions;          /* now */
    uint64_t sessions_max;      /* what the system allows; 0: not known */
    uint64_t connections;       /* accepted since the start */
    uint64_t refused;           /* by connection control, since the start */
    uint64_t over_limit;        /* beyond max_connections or the system's descriptors */
    uint64_t messages;          /* answered 250 since the start */
    uint64_t messages_tls;      /* those of them that came encrypted */
    uint64_t octets;            /* their content */
    uint64_t rejected_messages; /* answered otherwise at the end of data */
    uint64_t handshakes;        /* of TLS, that succeeded */
    uint64_t failed_handshakes;
    uint64_t memory_used, memory_max;
    bool memory_short;
};
void gateway_get_stats(struct gateway *g, struct gateway_stats *out); /* any thread */

/* How often the entry of a list (enum policy_list) has decided about a client that connected, over
 * all loops, and when it did last (0: never). Any thread. */
void gateway_entry_hits(struct gateway *g, uint8_t list, const struct net_prefix *entry,
                        uint64_t *out_hits, int64_t *out_last_us);
