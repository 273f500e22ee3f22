#pragma once
#include <openssl/ssl.h>
#include <stdbool.h>
#include <sys/types.h>

/*
 * STARTTLS of the sink and the source. With OpenSSL and nothing of the gateway's, like the rest.
 */

/* With certificate and key out of one PEM file. NULL: said on standard error. */
SSL_CTX *secure_open(const char *path);

/* For a client, which takes any certificate; NULL: no memory. */
SSL_CTX *secure_client(void);

/* Shakes hands as a client over a blocking socket; NULL: it failed. */
SSL *secure_connect(SSL_CTX *ctx, int fd);

/* As recv() and send(), over TLS; EAGAIN also while the handshake goes on. */
ssize_t secure_read(SSL *ssl, char *out, size_t n);
ssize_t secure_write(SSL *ssl, const char *octets, size_t n);
