#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*
 * tls/certificate_view: certificates as values, for those who take uploads and show what there is.
 */

enum tls_field {
    TLS_FIELD_CERTIFICATE,
    TLS_FIELD_PRIVATE_KEY,
    TLS_FIELD_CA_CERTIFICATE,
    TLS_FIELD_PASSPHRASE,
};

/* As in the API: "certificate", "private_key", … */
static inline const char *tls_field_name(enum tls_field field)
{
    static const char *const names[] = { "certificate", "private_key", "ca_certificate",
                                         "passphrase" };

    return names[field];
}

/* What was found: an error means that it cannot be used at all, a warning that somebody will have
 * trouble with it. */
struct tls_finding {
    bool error;
    uint8_t field;    /* enum tls_field: where to mend it */
    const char *code; /* stable, for programs: "key_mismatch" */
    char text[280];   /* what is wrong */
    char remedy[240]; /* what to do */
};

enum { TLS_FINDINGS_MAX = 24 };

struct tls_findings {
    struct tls_finding items[TLS_FINDINGS_MAX];
    uint32_t count;
    uint32_t errors;
};

/* Octets as they came: PEM (several blocks, text around them), DER, or DER in base64. Borrowed. A
 * member that was not given has .p NULL. */
struct tls_upload {
    struct str certificate;    /* leaf, or leaf and chain in any order */
    struct str private_key;    /* PKCS#1, PKCS#8 or SEC 1 */
    struct str ca_certificate; /* completes the chain; alone: a CA to verify others by */
    struct str passphrase;     /* of an encrypted private key */
};

/* From here on it is said that a certificate expires. */
enum { TLS_EXPIRES_SOON_DAYS = 30 };
#define TLS_DAY_US (INT64_C(86400) * 1000000)

enum { TLS_UPLOAD_MAX = 1 << 20, TLS_CHAIN_MAX = 16, TLS_CA_MAX = 512 };

/* 16 hexadecimal digits, made from the content: the same upload has the same ID. */
enum { TLS_ID_SIZE = 17 };
static inline bool tls_id_valid(struct str id)
{
    for (size_t i = 0; i < id.n; i++)
        if (!((id.p[i] >= '0' && id.p[i] <= '9') || (id.p[i] >= 'a' && id.p[i] <= 'f')))
            return false;
    return id.n == TLS_ID_SIZE - 1;
}

/* Text for people and programs; owned by the certificate. */
struct tls_certificate_info {
    const char *subject; /* RFC 2253, most specific first */
    const char *issuer;
    const char *serial;       /* hexadecimal */
    const char *fingerprint;  /* SHA-256 of the leaf, 64 hexadecimal digits */
    const char *key_type;     /* "RSA 2048", "ECDSA P-256", "Ed25519" */
    const char *const *names; /* DNS names and addresses it is for */
    uint32_t name_count;
    const char *const *chain; /* subjects of what is sent after the leaf; of a CA: the others */
    uint32_t chain_count;
    int64_t not_before_us, not_after_us;
    int64_t chain_not_after_us; /* when the first of all that are sent expires */
    bool self_signed;
};
