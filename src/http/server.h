#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "http/exchange.h"
#include "http/route.h"
#include "net/addr.h"
#include "net/loop.h"
#include "net/stream.h"

/*
 * http/server: a small HTTP/1.1 server on one loop.
 *
 * It reads requests with http/reader, finds their route, and writes what the handlers answer. Each
 * request has one deadline, from its first octet to the last of its response, so that neither a
 * slow sender nor a slow reader holds a connection; a streamed response gets it anew for each
 * piece. Bodies are bounded by their route. Unknown paths are 404, known ones with another method
 * 405, all as problem documents. Everything here belongs to the loop's thread.
 */

struct http_server;

struct http_server_config {
    struct net_loop *loop;
    const struct http_route *routes; /* outlives the server */
    size_t route_count;
    void *ctx; /* for handlers and hooks */
    /* The host names (without port, IPv6 in brackets) that requests may name, so that a page of
     * another site cannot reach us by a name of its own (DNS rebinding): else 421. NULL: any. */
    const char *const *hosts;
    size_t host_count;
    /* The same asked of a function, which then decides alone; NULL: `hosts` does. */
    bool (*host_allowed)(void *ctx, struct str host);
    /* Header lines of every answer, refusals included, each ended by CRLF; outlives the server.
     * NULL: none. */
    const char *common_head;
    /* Beyond it idle ones are closed, then those whose request is not there yet, then new ones are
     * refused; 0: 64. */
    unsigned max_connections;
    unsigned deadline_ms; /* of a request; 0: 60,000 */
    unsigned idle_ms;     /* between requests; 0: 15,000 */
    /* Called before the handler, after the body was read; false: it has filled the answer and the
     * handler is not called. NULL: none. Also the place for common headers. */
    bool (*before)(struct http_exchange *x);
    /* Called when the head of a request is complete: the octets of body that are taken from this
     * client, at most the route's `route_max`. NULL: those. May set x->deadline_ms. */
    size_t (*body_max)(struct http_exchange *x, size_t route_max);
    /* Takes each socket accepted over TCP, for what comes before HTTP on it, and gives it back by
     * http_server_serve_stream_take() or closes it. NULL: HTTP comes first. */
    void (*accepted)(void *ctx, int fd, const struct net_endpoint *peer);
    /* Over Unix sockets: may this peer ask at all? NULL: http_peer_is_ours(). */
    bool (*peer_allowed)(void *ctx, uint32_t uid, uint32_t gid);
};

/* NULL when memory is short. */
struct http_server *http_server_new(const struct http_server_config *config);

/*
 * Closes listeners and connections. Work under way elsewhere must be over: stop the work pool
 * first; answers that it posted are drained here.
 */
void http_server_free(struct http_server *s); /* NULL is accepted */

/* A Unix socket at `path`, with the permissions `mode`. A stale file there is replaced; a socket
 * that somebody answers on is PT_ERR_BUSY. The file is removed by http_server_free(). */
PT_NODISCARD enum pt_err http_server_listen_unix(struct http_server *s, const char *path,
                                                 unsigned mode, struct pt_fault *fault);

/* `out_port` (may be NULL) is the port bound, for port 0. */
PT_NODISCARD enum pt_err http_server_listen_tcp(struct http_server *s,
                                                const struct net_endpoint *at, uint16_t *out_port,
                                                struct pt_fault *fault);

/* A listening, non-blocking socket that somebody else has bound; it is taken. */
PT_NODISCARD enum pt_err http_server_listen_fd_take(struct http_server *s, int fd,
                                                    struct pt_fault *fault);

/* A connected, non-blocking socket, which is taken: for tests and for what is accepted elsewhere.
 */
void http_server_serve_take(struct http_server *s, int fd);

/* The same for a stream over such a socket, and who is at its other end. */
void http_server_serve_stream_take(struct http_server *s, const struct net_stream *stream,
                                   const struct net_endpoint *peer);

/* Stops listening and closes idle connections; requests under way are still answered. */
void http_server_stop(struct http_server *s);

unsigned http_server_connections(const struct http_server *s);

/* True for root and for this process's own user or group. */
bool http_peer_is_ours(uint32_t uid, uint32_t gid);
