#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "net/stream.h"
#include "tls/context.h"

/*
 * tls/connection: TLS over one descriptor.
 *
 * First the handshake (tls/handshake.h does it off the loops), then a stream like any other. One
 * thread at a time. An idle connection holds no buffers.
 */

struct tls_connection;

/* Takes a reference to the context; the descriptor stays the caller's. NULL when memory is short.
 */
struct tls_connection *tls_connection_accept(struct tls_server *server, int fd);

/*
 * `name` goes into SNI and is what the certificate must be for (with `verify`); an address goes
 * into no SNI. `peer` tells next hops apart whose sessions may be resumed for one another: name,
 * address and port.
 */
struct tls_connection *tls_connection_connect(struct tls_client *client, int fd, struct str name,
                                              struct str peer);

/* Without a word to the peer where the handshake is not over. NULL is accepted. */
void tls_connection_free(struct tls_connection *c);

/* One step of the handshake: PT_ERR_OK it is over, PT_ERR_AGAIN with `*out_wanted` of NET_READ and
 * NET_WRITE, otherwise it failed and the fault says why in words for an administrator. */
PT_NODISCARD enum pt_err tls_connection_handshake(struct tls_connection *c, unsigned *out_wanted,
                                                  struct pt_fault *fault);

/* A stream over the connection, which then owns both the connection and the descriptor. */
void tls_stream(struct net_stream *out, struct tls_connection *c, int fd);

/* What was agreed; the texts are valid as long as the connection. */
struct tls_info {
    const char *version; /* as in RFC 8314 "tls" clauses: "TLSv1.3" */
    const char *cipher;  /* "TLS_AES_256_GCM_SHA384" */
    unsigned bits;
    bool resumed;
    bool verified;          /* the peer's certificate: chain, and name where one was given */
    const char *subject;    /* of the peer's certificate; "": it showed none */
    const char *unverified; /* why not; "": nothing to mind */
};
void tls_connection_info(const struct tls_connection *c, struct tls_info *out);

/* The certificate that the peer showed, with its chain, as a value; a reference for the caller.
 * NULL: it showed none (as in a resumed session of TLS 1.2), or memory is short. */
struct tls_certificate *tls_connection_peer(const struct tls_connection *c);

/* tls_connection_info() for a stream made by tls_stream(); false: it is another one. */
bool tls_stream_info(const struct net_stream *s, struct tls_info *out);
