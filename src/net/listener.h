#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "net/addr.h"
#include "net/loop.h"

/*
 * net/listener: one listening socket per address, shared by the loops.
 *
 * A listener is the socket; an acceptor is one loop's watch on it. Several sockets of one address
 * (SO_REUSEPORT) are not used: closing one would reset the connections that wait in its queue, and
 * a port taken by another program would go unnoticed.
 */

struct net_listener {
    int fd;
    struct net_endpoint endpoint; /* with the port the system chose where 0 was asked for */
    bool listening;
};

/* Binds and listens. The fault says what stands in the way and, where it can, what to do. Any
 * thread. */
PT_NODISCARD enum pt_err net_listener_open(struct net_listener *l, const struct net_endpoint *at,
                                           struct pt_fault *fault);

/*
 * The same in two steps: after the first the address is ours and nobody can connect yet.
 *
 * `beside` are listeners of ours on the same port one of whose addresses covers the other: a
 * wildcard and one address. The system gives a client to the one that names its address. A program
 * of somebody else on an address of this port is found all the same, unless it shares its sockets
 * on purpose and runs as our user.
 */
PT_NODISCARD enum pt_err net_listener_bind(struct net_listener *l, const struct net_endpoint *at,
                                           const struct net_listener *const *beside, unsigned count,
                                           struct pt_fault *fault);
PT_NODISCARD enum pt_err net_listener_listen(struct net_listener *l,
                                             const struct net_listener *const *beside,
                                             unsigned count, struct pt_fault *fault);

/* Does one address of this port cover the other? Neither where they are the same. */
bool net_endpoint_overlaps(const struct net_endpoint *a, const struct net_endpoint *b);

/* The end of listening: no new handshake begins, those under way complete, and what has completed
 * can be accepted. A client that begins one meanwhile is answered by whoever listens there when it
 * repeats its SYN, after a second. Any thread. */
void net_listener_retire(const struct net_listener *l);
void net_listener_revive(const struct net_listener *l); /* it is wanted after all */

/* Takes a socket that somebody else bound and set to listen (a service manager). PT_ERR_INVALID: it
 * is no listening TCP socket; it is left as it is. */
PT_NODISCARD enum pt_err net_listener_adopt(struct net_listener *l, int fd, struct pt_fault *fault);

/* Closes the socket; its acceptors must be closed. */
void net_listener_close(struct net_listener *l);

/* Embedded in its owner; belongs to the loop's thread. */
struct net_acceptor {
    struct net_watch watch;
    struct net_timer resume;
    const struct net_listener *listener;
    void (*accepted)(struct net_acceptor *a, int fd, const struct net_endpoint *peer);
    /* A client is turned away because the process has no descriptor left. `fd` belongs to the
     * acceptor, which closes it afterwards. May be NULL. */
    void (*refused)(struct net_acceptor *a, int fd);
    int reserve; /* a descriptor kept for turning clients away */
};

/* Starts accepting: `accepted` gets a non-blocking socket that it then owns. */
void net_acceptor_start(struct net_acceptor *a, struct net_loop *loop,
                        const struct net_listener *l);
void net_acceptor_stop(struct net_acceptor *a);

/* Accepts all that is queued now. */
void net_acceptor_take_all(struct net_acceptor *a);
