#pragma once
#include <openssl/ssl.h>
#include <pthread.h>

#include "tls/connection.h"
#include "tls/context.h"
#include "tls/material.h"

/* What context.c, tickets.c, resume.c and connection.c share. Within the room only. */

struct tls_server {
    _Atomic uint32_t refs;
    SSL_CTX *ctx;
    uint8_t client_certificates; /* enum tls_client_certificates */
    struct tls_certificate *certificates[TLS_SERVER_CERTIFICATES_MAX], *client_ca;
    uint32_t certificate_count;
};

/* Sessions to be resumed, the latest of each next hop (see resume.c). */
enum { TLS_RESUME_MAX = 1024 };
struct tls_resume;

struct tls_client {
    _Atomic uint32_t refs;
    SSL_CTX *ctx;
    struct tls_resume *resume;
    bool verify;
};

struct tls_connection {
    SSL *ssl;
    struct tls_server *server; /* one of the two */
    struct tls_client *client;
    bool dry;   /* the last read found nothing */
    bool shown; /* the peer has a certificate */
    char *peer; /* of a client: under which name its sessions are kept */
    /* The first thing the verification minded; X509_V_OK: nothing. */
    long verify_error;
    char version[12], cipher[64], subject[160], verified[120];
};

/* Lets the context make and take tickets. */
PT_NODISCARD bool tls_tickets_use(struct tls_tickets *t, SSL_CTX *ctx);

/* The connection that an SSL belongs to. */
struct tls_connection *tls_connection_of(const SSL *ssl);

struct tls_resume *tls_resume_new(void);
void tls_resume_free(struct tls_resume *r);

/* Remembers the session, taking the reference; gives back a reference to the latest, or NULL. */
void tls_resume_keep(struct tls_resume *r, const char *peer, SSL_SESSION *session);
SSL_SESSION *tls_resume_find(struct tls_resume *r, const char *peer);
void tls_resume_forget(struct tls_resume *r, const char *peer);

/* The reason on top of OpenSSL's queue for a person; empties the queue. */
void tls_error_text(char *out, size_t size);
