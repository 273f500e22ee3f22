#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "net/addr.h"
#include "net/loop.h"
#include "tls/connection.h"

/*
 * tls/handshake: handshakes, away from the loops that carry mail.
 *
 * A handshake costs as much processor time as several messages, and with a large RSA key far more.
 * Threads of their own do them from the first octet to the last, each with a loop; a session hands
 * its descriptor over and gets it back with the result. So a flood of handshakes delays other
 * handshakes and nothing else.
 */

struct tls_handshaker;

/* `max` handshakes at once over all `threads`. PT_ERR_NOMEM, or what the system lacks. */
PT_NODISCARD enum pt_err tls_handshaker_new(struct tls_handshaker **out, unsigned threads,
                                            unsigned max, struct pt_fault *fault);

/* Ends the threads. Handshakes under way stay as they are, undone; their owners free them
 * afterwards. NULL is accepted. */
void tls_handshaker_free(struct tls_handshaker *s);

/* A place for one handshake; false: too many are under way, or too many of `peer`, any number that
 * stands for who is at the other end: once half of all places are taken nobody gets more than
 * TLS_HANDSHAKER_SHARE of them. 0: nobody in particular, and no share. Any thread. */
PT_NODISCARD bool tls_handshaker_take(struct tls_handshaker *s, uint64_t peer);
/* Gives back one that was not used, taken for the same peer. */
void tls_handshaker_give(struct tls_handshaker *s, uint64_t peer);
#define TLS_HANDSHAKER_SHARE 8u /* an eighth */

/* The number for an address; of IPv6 its /64 counts. Never 0. */
uint64_t tls_handshake_peer(const struct net_addr *a);

/* How many are under way. Any thread. */
unsigned tls_handshaker_busy(const struct tls_handshaker *s);

/* One handshake; embedded in its owner, given up until `done` is called. */
struct tls_handshake {
    struct tls_connection *connection; /* the owner's again when it is done, also if it failed */
    int fd;                            /* watched by nobody else meanwhile */
    uint64_t peer;                     /* for whom the place was taken */
    int64_t timeout_ns;                /* for the whole of it */
    struct net_loop *home;             /* `done` is called on its thread, always */
    void (*done)(struct tls_handshake *h);

    enum pt_err result; /* PT_ERR_OK; PT_ERR_TIMEOUT; else as tls_connection_handshake() */
    struct pt_fault fault;

    struct tls_handshaker *handshaker; /* private from here on */
    struct net_loop *loop;
    struct net_watch watch;
    struct net_timer timer;
    struct mail mail;
};

/*
 * Begins one in a place that was taken, which is given back when it is done; any thread. To end one
 * early shutdown() the descriptor; it is then done soon.
 */
void tls_handshake_begin(struct tls_handshaker *s, struct tls_handshake *h);
