#include "tls/certificate.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/material.h"

void tls_finding_add(struct tls_findings *f, bool error, enum tls_field field, const char *code,
                     const char *remedy, const char *fmt, ...)
{
    struct tls_finding *item;
    va_list ap;

    f->errors += error;
    if (f->count == TLS_FINDINGS_MAX)
        return;
    item = &f->items[f->count++];
    item->error = error;
    item->field = (uint8_t)field;
    item->code = code;
    va_start(ap, fmt);
    vsnprintf(item->text, sizeof item->text, fmt, ap);
    va_end(ap);
    snprintf(item->remedy, sizeof item->remedy, "%s", remedy);
}

void tls_wipe(struct buf *b)
{
    if (b->p)
        OPENSSL_cleanse(b->p, b->cap);
    buf_done(b);
}

void tls_name_text(X509_NAME *name, char *out, size_t size)
{
    BIO *bio = BIO_new(BIO_s_mem());
    char *p;
    long n;

    out[0] = 0;
    if (bio && X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_MSB) >= 0) {
        n = BIO_get_mem_data(bio, &p);
        snprintf(out, size, "%.*s", (int)n, p);
    }
    BIO_free(bio);
    ERR_clear_error();
}

/* ---- beginning and end ---- */

struct tls_certificate *tls_certificate_ref(struct tls_certificate *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_certificate_unref(struct tls_certificate *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    X509_free(c->leaf);
    sk_X509_pop_free(c->chain, X509_free);
    sk_X509_pop_free(c->unused, X509_free);
    EVP_PKEY_free(c->key); /* OpenSSL wipes what it frees of a key */
    free(c->texts);
    free(c);
}

static struct tls_certificate *make(void)
{
    struct tls_certificate *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->refs = 1;
    c->chain = sk_X509_new_null();
    c->unused = sk_X509_new_null();
    if (c->chain && c->unused)
        return c;
    tls_certificate_unref(c);
    return NULL;
}

struct tls_certificate *tls_certificate_of(X509 *leaf, STACK_OF(X509) * chain)
{
    struct tls_certificate *c = make();
    bool good = c != NULL;

    for (int i = 0; good && i < sk_X509_num(chain); i++) {
        X509 *x = sk_X509_value(chain, i);

        if (X509_cmp(x, leaf) == 0)
            continue;
        X509_up_ref(x);
        good = sk_X509_push(c->chain, x) > 0;
        if (!good)
            X509_free(x);
    }
    if (good) {
        X509_up_ref(leaf);
        c->leaf = leaf;
        good = tls_certificate_describe(c);
    }
    if (good)
        return c;
    tls_certificate_unref(c);
    return NULL;
}

/* ---- order ---- */

/* The certificate of that key, taken out of the heap; NULL: there is none. */
static X509 *take_of_key(STACK_OF(X509) * heap, EVP_PKEY *key)
{
    for (int i = 0; i < sk_X509_num(heap); i++) {
        if (X509_check_private_key(sk_X509_value(heap, i), key) == 1)
            return sk_X509_delete(heap, i);
    }
    ERR_clear_error();
    return NULL;
}

static bool self_issued(X509 *x)
{
    return X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0;
}

/* Names alone do not make an issuer: a renewed one has the same name and another key. */
static bool issued_by(X509 *x, X509 *issuer)
{
    return X509_check_issued(issuer, x) == X509_V_OK &&
           X509_verify(x, X509_get0_pubkey(issuer)) == 1;
}

static X509 *take_issuer(STACK_OF(X509) * heap, X509 *x)
{
    for (int i = 0; i < sk_X509_num(heap); i++) {
        if (issued_by(x, sk_X509_value(heap, i)))
            return sk_X509_delete(heap, i);
    }
    return NULL;
}

static bool known(STACK_OF(X509) * stack, X509 *x)
{
    for (int i = 0; i < sk_X509_num(stack); i++) {
        if (X509_cmp(sk_X509_value(stack, i), x) == 0)
            return true;
    }
    return false;
}

/* From the leaf to the root, whatever order they came in; a root is not sent (RFC 8446 section
 * 4.4.2), its only use here is that the chain is seen to end. */
static bool order_chain(struct tls_certificate *c, STACK_OF(X509) * heap)
{
    X509 *at = c->leaf, *next;

    while (!self_issued(at) && (next = take_issuer(heap, at))) {
        if (sk_X509_push(c->chain, next) <= 0) {
            X509_free(next);
            return false;
        }
        at = next;
    }
    while ((next = sk_X509_pop(heap))) {
        if (X509_cmp(next, c->leaf) == 0 || known(c->chain, next) || known(c->unused, next))
            X509_free(next);
        else if (sk_X509_push(c->unused, next) <= 0)
            X509_free(next);
    }
    ERR_clear_error();
    return true;
}

/* ---- strength: what no client may be offered, and OpenSSL refuses to load ---- */

static void check_strength(const struct tls_certificate *c, struct tls_findings *f)
{
    int bits = EVP_PKEY_get_bits(c->key), type = EVP_PKEY_get_base_id(c->key);

    if ((type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS) && bits < 2048)
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "weak_key",
                        "Make a new key, ECDSA P-256 or RSA with 2048 bits or more, and have the "
                        "certificate made anew.",
                        "The RSA key has %d bits; fewer than 2048 are not safe.", bits);
    else if (type == EVP_PKEY_EC && bits < 224)
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "weak_key",
                        "Make a new key, ECDSA P-256 or RSA with 2048 bits or more, and have the "
                        "certificate made anew.",
                        "The elliptic curve of the key has %d bits; fewer than 224 are not safe.",
                        bits);
    else if (type != EVP_PKEY_RSA && type != EVP_PKEY_RSA_PSS && type != EVP_PKEY_EC &&
             type != EVP_PKEY_ED25519 && type != EVP_PKEY_ED448)
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "key_type",
                        "Make a new key, ECDSA P-256 or RSA with 2048 bits or more, and have the "
                        "certificate made anew.",
                        "The key is of a kind that TLS servers do not use.");
}

/* ---- reading ---- */

static void read_server(struct tls_certificate *c, const struct tls_upload *u,
                        STACK_OF(X509) * heap, struct tls_findings *f)
{
    char subject[120];

    if (!u->certificate.p)
        tls_finding_add(f, true, TLS_FIELD_CERTIFICATE, "missing",
                        "Upload the server's certificate too.",
                        "There is a private_key and no certificate.");
    if (!u->private_key.p)
        tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "missing",
                        "Upload the private key that the certificate was made for.",
                        "There is a certificate and no private_key.");
    if (u->certificate.p)
        PT_IGNORE(tls_material_certificates(u->certificate, TLS_FIELD_CERTIFICATE, TLS_CHAIN_MAX,
                                            heap, f),
                  "counted in errors");
    if (u->private_key.p)
        c->key = tls_material_key(u->private_key, u->passphrase, f);
    if (u->certificate.p && sk_X509_num(heap) && c->key) {
        tls_name_text(X509_get_subject_name(sk_X509_value(heap, 0)), subject, sizeof subject);
        c->leaf = take_of_key(heap, c->key);
        if (!c->leaf)
            tls_finding_add(f, true, TLS_FIELD_PRIVATE_KEY, "key_mismatch",
                            "Upload the key that the certificate was made for, or have the "
                            "certificate made for this key.",
                            "The private_key does not belong to the certificate (%s).", subject);
        else
            check_strength(c, f);
    }
    if (u->ca_certificate.p)
        PT_IGNORE(tls_material_certificates(u->ca_certificate, TLS_FIELD_CA_CERTIFICATE,
                                            TLS_CHAIN_MAX, heap, f),
                  "counted in errors");
}

static void read_ca(struct tls_certificate *c, const struct tls_upload *u, STACK_OF(X509) * heap,
                    struct tls_findings *f)
{
    if (!tls_material_certificates(u->ca_certificate, TLS_FIELD_CA_CERTIFICATE, TLS_CA_MAX, heap,
                                   f))
        return;
    for (int i = 0; i < sk_X509_num(heap); i++) {
        X509 *x = sk_X509_value(heap, i);
        char subject[160];

        if (X509_check_ca(x))
            continue;
        tls_name_text(X509_get_subject_name(x), subject, sizeof subject);
        tls_finding_add(f, true, TLS_FIELD_CA_CERTIFICATE, "not_a_ca",
                        "Upload the certificate of the authority, not one that it made.",
                        "%s is not the certificate of an authority.", subject);
    }
    c->leaf = sk_X509_shift(heap);
}

enum pt_err tls_certificate_read(struct tls_certificate **out, const struct tls_upload *upload,
                                 struct tls_findings *findings)
{
    struct tls_certificate *c = make();
    STACK_OF(X509) *heap = sk_X509_new_null();
    bool ca = upload->ca_certificate.p && !upload->certificate.p && !upload->private_key.p;
    enum pt_err err = PT_ERR_NOMEM;

    memset(findings, 0, sizeof *findings);
    if (c && heap) {
        if (ca)
            read_ca(c, upload, heap, findings);
        else
            read_server(c, upload, heap, findings);
        err = findings->errors ? PT_ERR_INVALID : PT_ERR_OK;
    }
    if (err == PT_ERR_OK && ca) {
        sk_X509_free(c->chain);
        c->chain = heap;
        heap = NULL;
    } else if (err == PT_ERR_OK && !order_chain(c, heap)) {
        err = PT_ERR_NOMEM;
    }
    if (err == PT_ERR_OK && !tls_certificate_describe(c))
        err = PT_ERR_NOMEM;
    sk_X509_pop_free(heap, X509_free);
    ERR_clear_error();
    if (err != PT_ERR_OK) {
        tls_certificate_unref(c);
        return err;
    }
    *out = c;
    return PT_ERR_OK;
}

/* ---- writing ---- */

static void write_bio(BIO *bio, struct buf *out)
{
    char *p;
    long n = BIO_get_mem_data(bio, &p);

    buf_add(out, p, n > 0 ? (size_t)n : 0);
    if (n > 0)
        OPENSSL_cleanse(p, (size_t)n);
}

void tls_certificate_write(const struct tls_certificate *c, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio != NULL;

    if (good && c->key)
        good = PEM_write_bio_PKCS8PrivateKey(bio, c->key, NULL, NULL, 0, NULL, NULL) == 1;
    good = good && PEM_write_bio_X509(bio, c->leaf) == 1;
    for (int i = 0; good && i < sk_X509_num(c->chain); i++)
        good = PEM_write_bio_X509(bio, sk_X509_value(c->chain, i)) == 1;
    if (good)
        write_bio(bio, out);
    else
        out->failed = true;
    BIO_free(bio);
    ERR_clear_error();
}

const char *tls_certificate_id(const struct tls_certificate *c)
{
    return c->id;
}

bool tls_certificate_is_ca(const struct tls_certificate *c)
{
    return c->key == NULL;
}

const struct tls_certificate_info *tls_certificate_info(const struct tls_certificate *c)
{
    return &c->info;
}
