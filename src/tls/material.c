#include "tls/material.h"

#include <openssl/crypto.h>
#include <openssl/decoder.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <stdlib.h>

/*
 * Three spellings: PEM, DER, DER in base64. Which one it is, is seen from the octets, because
 * people do not know it and file names lie.
 */

static const char pem_mark[] = "-----BEGIN ";

static bool is_pem(struct str s)
{
    return memmem(s.p, s.n, pem_mark, sizeof pem_mark - 1) != NULL;
}

static bool is_der(struct str s)
{
    return s.n > 2 && (uint8_t)s.p[0] == 0x30;
}

static bool has(struct str s, const char *what)
{
    return memmem(s.p, s.n, what, strlen(what)) != NULL;
}

/* DER from base64 with any white space, on the heap; .p NULL: it is none. */
static struct str from_base64(struct str s)
{
    EVP_ENCODE_CTX *ctx = EVP_ENCODE_CTX_new();
    uint8_t *out = malloc(s.n + 64);
    int n = 0, tail = 0;
    bool good = ctx && out;

    if (good) {
        EVP_DecodeInit(ctx);
        good = EVP_DecodeUpdate(ctx, out, &n, (const uint8_t *)s.p, (int)s.n) >= 0 &&
               EVP_DecodeFinal(ctx, out + n, &tail) >= 0 && n + tail > 2;
    }
    EVP_ENCODE_CTX_free(ctx);
    if (!good) {
        free(out);
        return STR_NULL;
    }
    return (struct str){ (char *)out, (size_t)(n + tail) };
}

/* ---- certificates ---- */

static bool push(STACK_OF(X509) * out, X509 *x)
{
    if (x && sk_X509_push(out, x) > 0)
        return true;
    X509_free(x);
    return false;
}

static void push_all(STACK_OF(X509) * out, const STACK_OF(X509) * from)
{
    for (int i = 0; i < sk_X509_num(from); i++) {
        X509 *x = sk_X509_value(from, i);

        X509_up_ref(x);
        if (!push(out, x))
            return;
    }
}

static void push_pkcs7(STACK_OF(X509) * out, const uint8_t *der, long n)
{
    PKCS7 *p7 = d2i_PKCS7(NULL, &der, n);

    if (p7 && PKCS7_type_is_signed(p7) && p7->d.sign)
        push_all(out, p7->d.sign->cert);
    PKCS7_free(p7);
}

static void read_pem(struct str s, int max, STACK_OF(X509) * out)
{
    BIO *bio = BIO_new_mem_buf(s.p, (int)s.n);
    char *name, *header;
    uint8_t *der;
    long n;

    while (bio && sk_X509_num(out) <= max && PEM_read_bio(bio, &name, &header, &der, &n)) {
        const uint8_t *at = der;

        if (!strcmp(name, PEM_STRING_X509) || !strcmp(name, PEM_STRING_X509_OLD))
            PT_IGNORE(push(out, d2i_X509(NULL, &at, n)), "a block that is none is left out");
        else if (!strcmp(name, PEM_STRING_X509_TRUSTED))
            PT_IGNORE(push(out, d2i_X509_AUX(NULL, &at, n)), "likewise");
        else if (!strcmp(name, PEM_STRING_PKCS7))
            push_pkcs7(out, der, n);
        OPENSSL_free(name);
        OPENSSL_free(header);
        OPENSSL_clear_free(der, (size_t)n);
    }
    BIO_free(bio);
}

static void read_der(struct str s, STACK_OF(X509) * out)
{
    const uint8_t *at = (const uint8_t *)s.p, *end = at + s.n;

    while (at < end) {
        X509 *x = d2i_X509(NULL, &at, end - at);

        if (!x)
            break;
        if (!push(out, x))
            return;
    }
    if (sk_X509_num(out) == 0)
        push_pkcs7(out, (const uint8_t *)s.p, (long)s.n);
}

static void say_none(struct str s, enum tls_field field, struct tls_findings *f)
{
    const char *what = tls_field_name(field);

    if (s.n == 0)
        tls_finding_add(f, true, field, "empty", "Choose the file once more.", "The %s is empty.",
                        what);
    else if (has(s, "PRIVATE KEY-----"))
        tls_finding_add(f, true, field, "not_a_certificate",
                        "Put the private key into private_key and the certificate here.",
                        "The %s holds a private key and no certificate.", what);
    else if (has(s, "CERTIFICATE REQUEST-----"))
        tls_finding_add(f, true, field, "not_a_certificate",
                        "Upload the certificate that the authority made from the request.",
                        "The %s holds a certificate request and no certificate.", what);
    else
        tls_finding_add(
            f, true, field, "unreadable",
            "Give a certificate in PEM (\"-----BEGIN CERTIFICATE-----\") or DER. A PKCS#12 "
            "file (.p12, .pfx) is taken apart by: openssl pkcs12 -in FILE -nodes",
            "The %s is no certificate that can be read.", what);
}

bool tls_material_certificates(struct str octets, enum tls_field field, int max,
                               STACK_OF(X509) * out, struct tls_findings *f)
{
    int before = sk_X509_num(out);

    if (octets.n > TLS_UPLOAD_MAX) {
        tls_finding_add(f, true, field, "too_big", "Give the certificates that are needed alone.",
                        "The %s has %zu octets; at most %d are read.", tls_field_name(field),
                        octets.n, TLS_UPLOAD_MAX);
        return false;
    }
    if (is_pem(octets)) {
        read_pem(octets, before + max, out);
    } else if (is_der(octets)) {
        read_der(octets, out);
    } else {
        struct str der = from_base64(octets);

        if (der.p)
            read_der(der, out);
        free((char *)der.p);
    }
    ERR_clear_error();
    if (sk_X509_num(out) == before)
        say_none(octets, field, f);
    else if (sk_X509_num(out) - before > max)
        tls_finding_add(f, true, field, "too_many", "Give the certificates that are needed alone.",
                        "The %s holds more than %d certificates.", tls_field_name(field), max);
    return f->errors == 0;
}

/* ---- the key ---- */

struct asked {
    struct str passphrase;
    bool called;
};

static int give_passphrase(char *out, size_t size, size_t *n, const OSSL_PARAM params[], void *arg)
{
    struct asked *a = arg;

    a->called = true;
    if (!a->passphrase.p || a->passphrase.n > size)
        return 0;
    memcpy(out, a->passphrase.p, a->passphrase.n);
    *n = a->passphrase.n;
    return 1;
}

static EVP_PKEY *decode(struct str s, struct asked *a)
{
    const uint8_t *at = (const uint8_t *)s.p;
    size_t left = s.n;
    EVP_PKEY *key = NULL;
    OSSL_DECODER_CTX *ctx = OSSL_DECODER_CTX_new_for_pkey(&key, NULL, NULL, NULL,
                                                          OSSL_KEYMGMT_SELECT_KEYPAIR, NULL, NULL);

    if (!ctx || !OSSL_DECODER_CTX_set_passphrase_cb(ctx, give_passphrase, a) ||
        !OSSL_DECODER_from_data(ctx, &at, &left)) {
        EVP_PKEY_free(key);
        key = NULL;
    }
    OSSL_DECODER_CTX_free(ctx);
    ERR_clear_error();
    return key;
}

/* From the block that is the key, where it stands among others (a combined file). */
static struct str key_block(struct str s)
{
    const char *at = s.p, *end = s.p + s.n;

    while ((at = memmem(at, (size_t)(end - at), pem_mark, sizeof pem_mark - 1))) {
        const char *eol = memchr(at, '\n', (size_t)(end - at));
        struct str line = { at, (size_t)((eol ? eol : end) - at) };

        if (has(line, "PRIVATE KEY-----"))
            return (struct str){ at, (size_t)(end - at) };
        at += sizeof pem_mark - 1;
    }
    return s;
}

static void say_no_key(struct str s, const struct asked *a, struct tls_findings *f)
{
    if (a->called && !a->passphrase.p)
        tls_finding_add(f, true, TLS_FIELD_PASSPHRASE, "passphrase_needed",
                        "Give the passphrase of the private key.",
                        "The private key is encrypted and no passphrase was given.");
    else if (a->called)
        tls_finding_add(f, true, TLS_FIELD_PASSPHRASE, "wrong_passphrase",
                        "Give the passphrase with which the private key was encrypted.",
                        "The passphrase does not open the private key.");
    else if (has(s, "BEGIN CERTIFICATE-----"))
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "not_a_key",
                        "Put the certificate into certificate and the private key here.",
                        "The private_key holds a certificate and no private key.");
    else if (has(s, "PUBLIC KEY-----"))
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "not_a_key",
                        "Upload the private key; the public one is part of the certificate.",
                        "The private_key holds a public key.");
    else
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, s.n ? "unreadable" : "empty",
                        "Give the key in PEM or DER, as PKCS#8, PKCS#1 (RSA) or SEC 1 (EC).",
                        s.n ? "The private_key is no private key that can be read."
                            : "The private_key is empty.");
}

EVP_PKEY *tls_material_key(struct str octets, struct str passphrase, struct tls_findings *f)
{
    struct asked a = { .passphrase = passphrase };
    EVP_PKEY *key = NULL;

    if (octets.n > TLS_UPLOAD_MAX) {
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "too_big", "Give the private key alone.",
                        "The private_key has %zu octets; at most %d are read.", octets.n,
                        TLS_UPLOAD_MAX);
        return NULL;
    }
    if (is_pem(octets)) {
        key = decode(key_block(octets), &a);
    } else if (is_der(octets)) {
        key = decode(octets, &a);
    } else {
        struct str der = from_base64(octets);

        if (der.p) {
            key = decode(der, &a);
            OPENSSL_cleanse((char *)der.p, der.n);
        }
        free((char *)der.p);
    }
    if (!key)
        say_no_key(octets, &a, f);
    return key;
}
