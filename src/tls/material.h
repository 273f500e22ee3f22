#pragma once
#include <openssl/evp.h>
#include <openssl/x509.h>

#include "tls/certificate.h"

/*
 * tls/material: octets of strangers become certificates and keys. Within the room only.
 */

struct tls_certificate {
    _Atomic uint32_t refs;
    X509 *leaf;              /* of a CA: its first certificate */
    STACK_OF(X509) * chain;  /* from the leaf's issuer up; of a CA: the others */
    STACK_OF(X509) * unused; /* what came along and is not part of the chain */
    EVP_PKEY *key;           /* NULL: a CA */
    char id[TLS_ID_SIZE];
    struct tls_certificate_info info;
    char *texts; /* holds the strings of `info` */
};

/* All certificates in the octets, appended to `out`. False: none, or not readable; a finding says
 * so. */
PT_NODISCARD bool tls_material_certificates(struct str octets, enum tls_field field, int max,
                                            STACK_OF(X509) * out, struct tls_findings *f);

/* The private key in the octets, or NULL with a finding. */
EVP_PKEY *tls_material_key(struct str octets, struct str passphrase, struct tls_findings *f);

/* A certificate without a key: the leaf and what comes behind it. NULL: memory is short. */
struct tls_certificate *tls_certificate_of(X509 *leaf, STACK_OF(X509) * chain);

/* Fills `info` and `id`. False: memory is short. */
PT_NODISCARD bool tls_certificate_describe(struct tls_certificate *c);

/* The subject as people read it, cut to `size`. */
void tls_name_text(X509_NAME *name, char *out, size_t size);
