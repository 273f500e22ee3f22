#pragma once
#include <jansson.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"

/*
 * http/client: a blocking client of a server on a Unix socket, for the command line and for the
 * console's threads. One thread at a time. Follows no redirects, uses no proxy, keeps its
 * connection between calls.
 */

struct http_client;

enum { HTTP_REPLY_MAX = 64 * 1024 * 1024 };

/* NULL when memory is short. `timeout_ms` is for a whole call. */
struct http_client *http_client_new(const char *socket_path, unsigned timeout_ms);
void http_client_free(struct http_client *c); /* NULL is accepted */

struct http_call {
    const char *method; /* "GET" */
    const char *target; /* "/api/v1/status"; parts from a person go through http_target_add() */
    const char *type;   /* of the body; NULL: no body */
    struct str body;
    const char *if_match; /* NULL: none */
    const char *accept;   /* media type; NULL: any */
    const char *client;   /* an address in whose name it is asked (Postern-Client); NULL: none */
    const char *const *headers; /* further lines, "Name: value"; ends with NULL; NULL: none */
    /* When set, the octets of a 200 go there as they come instead of into the reply's body;
     * false ends the call. No limit of size or time applies then. */
    bool (*sink)(void *ctx, struct str octets);
    void *sink_ctx;
};

struct http_reply {
    unsigned status;
    struct buf body; /* at most HTTP_REPLY_MAX octets */
    char etag[64];   /* "" where there is none */
    char type[96];   /* media type, without parameters */
};

/* PT_ERR_CLOSED: nobody answers on the socket. A reply of any status is PT_ERR_OK. `out` is then
 * to be done with; on failure it is left empty. */
PT_NODISCARD enum pt_err http_client_call(struct http_client *c, const struct http_call *call,
                                          struct http_reply *out, struct pt_fault *fault);
void http_reply_done(struct http_reply *r);

/* The body as JSON, or NULL. */
json_t *http_reply_json(const struct http_reply *r);

/* Appends octets to a target, percent-encoded as one path segment or query value. */
void http_target_add(struct buf *target, struct str octets);
