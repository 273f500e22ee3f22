#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "http/reply.h"
#include "net/loop.h"

/*
 * http/upstream: one request to a server on a Unix socket, from a loop, both bodies in pieces.
 *
 * Nothing waits and little is held: at most HTTP_UPSTREAM_HOLD octets of the request's body, and of
 * the answer what the caller reads. Who does not read is not sent to. Everything belongs to the
 * loop's thread; there is no deadline here: closing is the caller's.
 */

struct http_upstream;

enum { HTTP_UPSTREAM_HOLD = 64 * 1024 };

struct http_upstream_request {
    const char *method;
    const char *target;         /* clean; parts from a peer went through http_target_add() */
    const char *const *headers; /* "Name: value", clean; ends with NULL */
    bool has_body;
    bool has_length; /* else it goes in chunks */
    uint64_t length;
};

/*
 * Connects and begins to send; nothing of `r` is kept. `ready` is called whenever there may be
 * something new to see in the functions below; it may close the upstream. PT_ERR_CLOSED: nobody
 * listens there, or takes no more; PT_ERR_NOMEM, PT_ERR_TOOBIG.
 */
PT_NODISCARD enum pt_err http_upstream_open(struct http_upstream **out, struct net_loop *loop,
                                            const char *socket_path,
                                            const struct http_upstream_request *r,
                                            void (*ready)(void *ctx), void *ctx,
                                            struct pt_fault *fault);
void http_upstream_close(struct http_upstream *u); /* NULL is accepted */

/* True if a piece may be written: http_upstream_write() holds it, whatever its size. */
bool http_upstream_has_room(const struct http_upstream *u);
/* Copied. After an error of the connection it is dropped: the server may have answered already. */
void http_upstream_write(struct http_upstream *u, struct str piece);
/* That was the whole body. */
void http_upstream_write_end(struct http_upstream *u);

/* The head of the answer; NULL: it has not come yet. */
const struct http_reply_head *http_upstream_head(const struct http_upstream *u);

/* Appends up to `max` octets of the answer's body, and gives their number; 0: none are here now,
 * `ready` tells when there may be; or never, see below. Behind the head only. */
size_t http_upstream_read(struct http_upstream *u, struct buf *out, size_t max);

/* The answer is complete, and read. */
bool http_upstream_is_over(const struct http_upstream *u);

/* Why there will be no (more of the) answer; PT_ERR_OK: there may be. */
enum pt_err http_upstream_error(const struct http_upstream *u);
