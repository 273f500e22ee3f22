#include "pki.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include "check.h"

static EVP_PKEY *make_key(enum pki_key kind)
{
    switch (kind) {
    case PKI_RSA_2048:
        return EVP_RSA_gen(2048);
    case PKI_RSA_1024:
        return EVP_RSA_gen(1024);
    case PKI_ED25519:
        return EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
    default:
        return EVP_EC_gen("P-256");
    }
}

static void add(X509 *x, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509_EXTENSION *e;

    X509V3_set_ctx(&ctx, issuer, x, NULL, NULL, 0);
    e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    assert_non_null(e);
    assert_int_equal(X509_add_ext(x, e, -1), 1);
    X509_EXTENSION_free(e);
}

static void describe(X509 *x, const struct pki_wish *w, X509 *issuer)
{
    static long serial = 1000;
    X509_NAME *name = X509_get_subject_name(x);
    bool dated = w->from_days || w->to_days;

    X509_set_version(x, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), 86400L * (dated ? w->from_days : -1));
    X509_gmtime_adj(X509_getm_notAfter(x), 86400L * (dated ? w->to_days : 365));
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const uint8_t *)w->cn, -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(issuer));
    add(x, issuer, NID_basic_constraints, w->ca ? "critical,CA:TRUE" : "CA:FALSE");
    add(x, issuer, NID_key_usage,
        w->ca ? "critical,keyCertSign,cRLSign" : "critical,digitalSignature,keyEncipherment");
    if (w->names)
        add(x, issuer, NID_subject_alt_name, w->names);
    if (w->use)
        add(x, issuer, NID_ext_key_usage, w->use);
}

struct pki pki_make(const struct pki_wish *w)
{
    struct pki p = { make_key(w->key), X509_new() };
    const struct pki *by = w->issuer ? w->issuer : &p;
    const EVP_MD *digest = w->digest ? w->digest : EVP_sha256();

    assert_non_null(p.key);
    assert_int_equal(X509_set_pubkey(p.x, p.key), 1);
    describe(p.x, w, by->x);
    if (EVP_PKEY_get_base_id(by->key) == EVP_PKEY_ED25519)
        digest = NULL;
    assert_true(X509_sign(p.x, by->key, digest) > 0);
    return p;
}

void pki_done(struct pki *p)
{
    EVP_PKEY_free(p->key);
    X509_free(p->x);
}

static void take(BIO *bio, struct buf *out)
{
    char *at;
    long n = BIO_get_mem_data(bio, &at);

    buf_add(out, at, (size_t)n);
    BIO_free(bio);
}

void pki_pem(const struct pki *p, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_X509(bio, p->x), 1);
    take(bio, out);
}

void pki_key_pem(const struct pki *p, const char *passphrase, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PKCS8PrivateKey(bio, p->key,
                                                   passphrase ? EVP_aes_256_cbc() : NULL, NULL, 0,
                                                   NULL, (void *)passphrase),
                     1);
    take(bio, out);
}

void pki_key_traditional(const struct pki *p, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(PEM_write_bio_PrivateKey_traditional(bio, p->key, NULL, NULL, 0, NULL, NULL),
                     1);
    take(bio, out);
}

void pki_der(const struct pki *p, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(i2d_X509_bio(bio, p->x), 1);
    take(bio, out);
}

void pki_key_der(const struct pki *p, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_mem());

    assert_int_equal(i2d_PrivateKey_bio(bio, p->key), 1);
    take(bio, out);
}
