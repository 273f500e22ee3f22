#pragma once
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdbool.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * An authority for tests: certificates of every kind, made on the spot.
 */

enum pki_key { PKI_P256, PKI_RSA_2048, PKI_RSA_1024, PKI_ED25519 };

struct pki_wish {
    const char *cn;
    const char *names; /* as OpenSSL writes them: "DNS:mx.example.com,IP:192.0.2.1"; NULL: none */
    enum pki_key key;
    int from_days, to_days; /* from today; 0, 0: yesterday to next year */
    bool ca;
    const char *use;          /* extended key usage; NULL: not said */
    const EVP_MD *digest;     /* NULL: SHA-256 */
    const struct pki *issuer; /* NULL: signed by itself */
};

struct pki {
    EVP_PKEY *key;
    X509 *x;
};

/* Fails the test when it cannot be made. */
struct pki pki_make(const struct pki_wish *wish);
void pki_done(struct pki *p);

/* Appended as PEM. */
void pki_pem(const struct pki *p, struct buf *out);
/* PKCS#8; with a passphrase: encrypted. */
void pki_key_pem(const struct pki *p, const char *passphrase, struct buf *out);
/* PKCS#1 or SEC 1. */
void pki_key_traditional(const struct pki *p, struct buf *out);
void pki_der(const struct pki *p, struct buf *out);
void pki_key_der(const struct pki *p, struct buf *out);
