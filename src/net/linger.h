#pragma once
#include <stdint.h>

#include "net/loop.h"

/*
 * net/linger: closes a socket so that its peer still reads our last words.
 *
 * Closing a socket that holds unread octets resets the connection, and the peer may lose the reply
 * it was about to read. So the sending side is shut down, what comes is read and dropped until the
 * peer closes, and the time and number of such sockets are bounded: beyond the bound they are
 * closed as they are. One per loop; the loop's thread.
 */

struct net_linger;

/* NULL when memory is short. At most `max` sockets wait, each for up to `seconds`. */
struct net_linger *net_linger_new(struct net_loop *loop, unsigned max, unsigned seconds);
void net_linger_free(struct net_linger *l); /* closes what waits */

/* Takes the socket. Nothing else may watch it. */
void net_linger_take(struct net_linger *l, int fd);
