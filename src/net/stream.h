#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "base/defs.h"
#include "net/addr.h"

/*
 * net/stream: octets both ways, whatever carries them.
 *
 * A session or a delivery talks to a stream; below it is a socket, later TLS over one. Nothing
 * waits: a call that would answers NET_STREAM_AGAIN and names what the descriptor must become
 * first. One thread at a time.
 */

struct net_stream;

enum { NET_STREAM_AGAIN = -1, NET_STREAM_ERROR = -2 };

struct net_stream_ops {
    /* Octets read, 0 at the end of the stream, or one of the codes above (errno is set on error).
     */
    ssize_t (*read)(struct net_stream *s, void *out, size_t n);
    /* Octets taken, or one of the codes above. May take fewer than offered. */
    ssize_t (*writev)(struct net_stream *s, const struct iovec *iov, int count);
    /* True if octets have been taken from the descriptor already and wait to be read: nobody will
     * be told that it is readable. NULL: never. */
    bool (*pending)(struct net_stream *s);
    /* Tells the peer that no more will be written. */
    void (*shutdown)(struct net_stream *s);
    void (*close)(struct net_stream *s);
    /* Ends what lies above the descriptor, with a last word to the peer where there is one, and
     * gives the descriptor back. The stream is over. */
    int (*leave)(struct net_stream *s);
};

/* Embedded in its owner. */
struct net_stream {
    const struct net_stream_ops *ops;
    void *state; /* of those who implement it */
    int fd;
};

/* A stream over a connected, non-blocking socket, which it then owns. */
void net_stream_socket(struct net_stream *s, int fd);

/* Begins to connect a new socket, which the stream then owns, to a peer. `from`: the address of
 * this host to connect from, of the same family, any port; NULL: the system's choice. 0: under way,
 * and decided once the descriptor takes octets; then net_stream_connected() says how. Otherwise the
 * errno of a failure at once; fd is -1 if not even a socket with that address could be had, which
 * says nothing about the peer. */
PT_NODISCARD int net_stream_connect(struct net_stream *s, const struct net_endpoint *to,
                                    const struct net_addr *from);

/* 0, or the errno that the connect ended with. */
PT_NODISCARD int net_stream_connected(const struct net_stream *s);

static inline ssize_t net_stream_read(struct net_stream *s, void *out, size_t n)
{
    return s->ops->read(s, out, n);
}

static inline ssize_t net_stream_writev(struct net_stream *s, const struct iovec *iov, int count)
{
    return s->ops->writev(s, iov, count);
}

static inline bool net_stream_pending(struct net_stream *s)
{
    return s->ops->pending && s->ops->pending(s);
}

static inline void net_stream_shutdown(struct net_stream *s)
{
    s->ops->shutdown(s);
}

static inline int net_stream_leave(struct net_stream *s)
{
    return s->ops->leave(s);
}

static inline void net_stream_close(struct net_stream *s)
{
    s->ops->close(s);
}
