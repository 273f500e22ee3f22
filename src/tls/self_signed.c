#include "tls/self_signed.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include "net/addr.h"

/* Against clocks that differ. */
enum { BEFORE_S = 3600, DAY_S = 86400 };

static bool add_name(GENERAL_NAMES *all, const char *name)
{
    struct net_addr address;
    bool is_address = net_addr_parse(str_of(name), &address);
    GENERAL_NAME *one = is_address ? a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_IPADD, name, 0)
                                   : a2i_GENERAL_NAME(NULL, NULL, NULL, GEN_DNS, name, 0);

    if (one && sk_GENERAL_NAME_push(all, one) > 0)
        return true;
    GENERAL_NAME_free(one);
    return false;
}

static bool set_names(X509 *x, const char *const *names, size_t count)
{
    GENERAL_NAMES *all = sk_GENERAL_NAME_new_null();
    X509_NAME *subject = X509_get_subject_name(x);
    bool good = all && X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_UTF8,
                                                  (const unsigned char *)names[0], -1, -1, 0) == 1;

    for (size_t i = 0; good && i < count; i++)
        good = add_name(all, names[i]);
    good = good && X509_set_issuer_name(x, subject) == 1 &&
           X509_add1_ext_i2d(x, NID_subject_alt_name, all, 0, 0) == 1;
    GENERAL_NAMES_free(all);
    return good;
}

static bool set_extension(X509 *x, int nid, const char *value)
{
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, NULL, nid, value);
    bool good = e && X509_add_ext(x, e, -1) == 1;

    X509_EXTENSION_free(e);
    return good;
}

static bool set_serial(X509 *x)
{
    unsigned char octets[16];
    BIGNUM *number;
    bool good;

    if (RAND_bytes(octets, sizeof octets) != 1)
        return false;
    octets[0] &= 0x7f;
    number = BN_bin2bn(octets, sizeof octets, NULL);
    good = number && BN_to_ASN1_INTEGER(number, X509_get_serialNumber(x));
    BN_free(number);
    return good;
}

static bool fill(X509 *x, EVP_PKEY *key, const char *const *names, size_t count, int64_t now_us)
{
    time_t now = now_us / 1000000;

    return X509_set_version(x, X509_VERSION_3) == 1 && set_serial(x) &&
           X509_time_adj_ex(X509_getm_notBefore(x), 0, -BEFORE_S, &now) &&
           X509_time_adj_ex(X509_getm_notAfter(x), TLS_SELF_SIGNED_DAYS, 0, &now) &&
           X509_set_pubkey(x, key) == 1 && set_names(x, names, count) &&
           set_extension(x, NID_basic_constraints, "critical,CA:FALSE") &&
           set_extension(x, NID_key_usage, "critical,digitalSignature") &&
           set_extension(x, NID_ext_key_usage, "serverAuth") && X509_sign(x, key, EVP_sha256()) > 0;
}

static bool write_pem(X509 *x, EVP_PKEY *key, struct buf *out)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    char *p = NULL;
    long n;
    bool good = bio && PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL) == 1 &&
                PEM_write_bio_X509(bio, x) == 1;

    n = good ? BIO_get_mem_data(bio, &p) : 0;
    if (n > 0)
        buf_add(out, p, (size_t)n);
    BIO_free(bio);
    return n > 0 && !out->failed;
}

enum pt_err tls_self_signed(const char *const *names, size_t count, int64_t now_us, struct buf *out,
                            struct pt_fault *fault)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x = X509_new();
    bool good =
        key && x && count > 0 && fill(x, key, names, count, now_us) && write_pem(x, key, out);
    char why[160] = "out of memory";

    if (!good && ERR_peek_last_error())
        ERR_error_string_n(ERR_peek_last_error(), why, sizeof why);
    X509_free(x);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good ? PT_ERR_OK
                : pt_fault_set(fault, PT_ERR_NOMEM, "cannot make a certificate: %s", why);
}
