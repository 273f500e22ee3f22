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
};

/* Binds and listens. The fault says what stands in the way and, where it can, what to do. Any
 * thread. */
PT_NODISCARD enum pt_err net_listener_open(struct net_listener *l, const struct net_endpoint *at,
                                           struct pt_fault *fault);

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
    /* A client was turned away because the process has no descriptor left. `fd` belongs to the
     * acceptor, which closes it afterwards. May be NULL. */
    void (*refused)(struct net_acceptor *a, int fd);
    int reserve; /* a descriptor kept for turning clients away */
};

/* Starts accepting: `accepted` gets a non-blocking socket that it then owns. */
void net_acceptor_start(struct net_acceptor *a, struct net_loop *loop,
                        const struct net_listener *l);
void net_acceptor_stop(struct net_acceptor *a);
