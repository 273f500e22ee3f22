#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "tls/certificate.h"

/*
 * tls/context: what a TLS server or client is made of: certificates, demands, keys of tickets.
 *
 * Immutable once made, reference-counted, used by any thread; a connection keeps the context it
 * began with, so a new certificate touches no open session. TLS 1.2 and 1.3, forward secrecy and
 * authenticated ciphers only, the server's preference counts (Mozilla's "intermediate").
 */

/* ---- tickets ---- */

/* Keys under which sessions are handed to clients (RFC 5077, RFC 8446 section 4.6.1). Shared by
 * all server contexts of the process, so that a new certificate ends no resumption. */
struct tls_tickets;

struct tls_tickets *tls_tickets_new(void); /* NULL: no memory, or no randomness */
void tls_tickets_free(struct tls_tickets *t);

/* A ticket can be used for TLS_TICKET_SECONDS; the key that makes them is a new one each half of
 * that. Called about once a minute; `now_us` is monotonic time. Any thread. */
enum { TLS_TICKET_SECONDS = 7200 };
void tls_tickets_rotate(struct tls_tickets *t, int64_t now_us);

/* ---- servers ---- */

struct tls_server;

enum tls_client_certificates {
    TLS_CLIENT_CERTIFICATES_OFF,
    TLS_CLIENT_CERTIFICATES_REQUEST, /* one that does not verify is as good as none */
    TLS_CLIENT_CERTIFICATES_REQUIRE, /* without one that verifies there is no session */
};

enum { TLS_SERVER_CERTIFICATES_MAX = 8 };

struct tls_server_config {
    /* One per key type; of two with the same type the last counts. */
    struct tls_certificate *const *certificates;
    uint32_t certificate_count;
    enum tls_client_certificates client_certificates;
    const struct tls_certificate *client_ca; /* NULL: the system's trust store */
    struct tls_tickets *tickets;             /* outlives the context; NULL: no tickets */
};

/* Takes what it needs of the configuration. PT_ERR_INVALID: OpenSSL does not take it, the fault
 * says why. Not on an event loop. */
PT_NODISCARD enum pt_err tls_server_new(struct tls_server **out,
                                        const struct tls_server_config *config,
                                        struct pt_fault *fault);
struct tls_server *tls_server_ref(struct tls_server *s);
void tls_server_unref(struct tls_server *s); /* NULL is accepted */

/* What it was made of; valid as long as the context. */
struct tls_certificate *const *tls_server_certificates(const struct tls_server *s,
                                                       uint32_t *out_count);
const struct tls_certificate *tls_server_client_ca(const struct tls_server *s); /* NULL: none */

/* ---- clients ---- */

struct tls_client;

struct tls_client_config {
    const struct tls_certificate *ca; /* NULL: the system's store, or SSL_CERT_FILE's */
    /* The handshake fails unless the chain and the name verify. Otherwise the result is only
     * told. */
    bool verify;
    /* Signature algorithms that are offered, as OpenSSL writes them, to see which certificate a
     * server has for them; NULL: all usual ones. */
    const char *signatures;
};

PT_NODISCARD enum pt_err tls_client_new(struct tls_client **out,
                                        const struct tls_client_config *config,
                                        struct pt_fault *fault);
struct tls_client *tls_client_ref(struct tls_client *c);
void tls_client_unref(struct tls_client *c); /* NULL is accepted */
