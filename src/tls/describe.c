#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "net/addr.h"
#include "tls/material.h"

/*
 * A certificate as text. The strings are gathered in one buffer by offset, and become pointers
 * when it has stopped growing.
 */

enum { NAMES_MAX = 256, TEXTS_MAX = 1 << 20 };

struct gather {
    struct buf texts;
    size_t names[NAMES_MAX], chain[TLS_CA_MAX];
    uint32_t name_count, chain_count;
    size_t subject, issuer, serial, fingerprint, key_type;
};

static size_t add(struct gather *g, const char *p, size_t n)
{
    size_t at = g->texts.n;

    buf_add(&g->texts, p, n);
    buf_add_char(&g->texts, 0);
    return at;
}

static size_t add_name(struct gather *g, X509_NAME *name)
{
    char text[1024];

    tls_name_text(name, text, sizeof text);
    return add(g, text, strlen(text));
}

/* ---- parts ---- */

static void add_alternative(struct gather *g, const GENERAL_NAME *name)
{
    if (g->name_count == NAMES_MAX)
        return;
    if (name->type == GEN_DNS) {
        const char *p = (const char *)ASN1_STRING_get0_data(name->d.dNSName);
        size_t n = (size_t)ASN1_STRING_length(name->d.dNSName);

        /* A NUL within has fooled many a program; such a name is for nobody. */
        if (!memchr(p, 0, n))
            g->names[g->name_count++] = add(g, p, n);
    } else if (name->type == GEN_IPADD) {
        const uint8_t *p = ASN1_STRING_get0_data(name->d.iPAddress);
        int n = ASN1_STRING_length(name->d.iPAddress);
        struct net_addr a = { .family = n == 4 ? NET_IPV4 : NET_IPV6 };
        char text[NET_ADDR_SIZE];

        if (n != 4 && n != 16)
            return;
        memcpy(a.octets, p, (size_t)n);
        net_addr_format(&a, text);
        g->names[g->name_count++] = add(g, text, strlen(text));
    }
}

static void add_alternatives(struct gather *g, X509 *x)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);

    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        add_alternative(g, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
}

static size_t add_serial(struct gather *g, X509 *x)
{
    BIGNUM *n = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x), NULL);
    char *hex = n ? BN_bn2hex(n) : NULL;
    size_t at = add(g, hex ? hex : "", hex ? strlen(hex) : 0);

    OPENSSL_free(hex);
    BN_free(n);
    return at;
}

static void to_hex(const uint8_t *octets, size_t n, char *out)
{
    for (size_t i = 0; i < n; i++)
        snprintf(out + 2 * i, 3, "%02x", octets[i]);
}

static size_t add_fingerprint(struct gather *g, X509 *x)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[2 * EVP_MAX_MD_SIZE + 1] = "";
    unsigned n = 0;

    if (X509_digest(x, EVP_sha256(), digest, &n))
        to_hex(digest, n, hex);
    return add(g, hex, strlen(hex));
}

static size_t add_key_type(struct gather *g, X509 *x)
{
    EVP_PKEY *key = X509_get0_pubkey(x);
    int type = key ? EVP_PKEY_get_base_id(key) : 0;
    char text[64], group[40] = "";

    if (type == EVP_PKEY_EC) {
        EVP_PKEY_get_group_name(key, group, sizeof group, NULL);
        snprintf(text, sizeof text, "ECDSA %s",
                 !strcmp(group, "prime256v1")  ? "P-256"
                 : !strcmp(group, "secp384r1") ? "P-384"
                 : !strcmp(group, "secp521r1") ? "P-521"
                                               : group);
    } else if (type == EVP_PKEY_RSA || type == EVP_PKEY_RSA_PSS) {
        snprintf(text, sizeof text, "RSA %d", EVP_PKEY_get_bits(key));
    } else if (type == EVP_PKEY_ED25519 || type == EVP_PKEY_ED448) {
        snprintf(text, sizeof text, "%s", type == EVP_PKEY_ED25519 ? "Ed25519" : "Ed448");
    } else {
        snprintf(text, sizeof text, "unknown");
    }
    return add(g, text, strlen(text));
}

static int64_t to_us(const ASN1_TIME *t)
{
    struct tm tm;

    if (!t || ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    return (int64_t)timegm(&tm) * 1000000;
}

/* ---- the ID ---- */

/* From everything that is sent: a renewed certificate, and one with another chain, is another. */
static bool make_id(struct tls_certificate *c)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned n = 0;
    bool good = ctx && EVP_DigestInit_ex(ctx, EVP_sha256(), NULL) == 1;

    for (int i = -1; good && i < sk_X509_num(c->chain); i++) {
        uint8_t *der = NULL;
        int size = i2d_X509(i < 0 ? c->leaf : sk_X509_value(c->chain, i), &der);

        good = size > 0 && EVP_DigestUpdate(ctx, der, (size_t)size) == 1;
        OPENSSL_free(der);
    }
    if (good)
        good = EVP_DigestUpdate(ctx, c->key ? "key" : "ca", c->key ? 3 : 2) == 1 &&
               EVP_DigestFinal_ex(ctx, digest, &n) == 1 && n >= (TLS_ID_SIZE - 1) / 2;
    if (good)
        to_hex(digest, (TLS_ID_SIZE - 1) / 2, c->id);
    EVP_MD_CTX_free(ctx);
    return good;
}

/* ---- all of it ---- */

static void gather(struct gather *g, const struct tls_certificate *c)
{
    g->subject = add_name(g, X509_get_subject_name(c->leaf));
    g->issuer = add_name(g, X509_get_issuer_name(c->leaf));
    g->serial = add_serial(g, c->leaf);
    g->fingerprint = add_fingerprint(g, c->leaf);
    g->key_type = add_key_type(g, c->leaf);
    add_alternatives(g, c->leaf);
    for (int i = 0; i < sk_X509_num(c->chain) && i < TLS_CA_MAX; i++)
        g->chain[g->chain_count++] = add_name(g, X509_get_subject_name(sk_X509_value(c->chain, i)));
}

/* The texts and behind them the two arrays of pointers, in one allocation. */
static bool settle(struct tls_certificate *c, const struct gather *g)
{
    size_t texts = (g->texts.n + 15) & ~(size_t)15;
    size_t pointers = (g->name_count + g->chain_count) * sizeof(char *);
    const char **at;

    c->texts = malloc(texts + pointers + 1);
    if (!c->texts)
        return false;
    memcpy(c->texts, g->texts.p, g->texts.n);
    at = (const char **)(void *)(c->texts + texts);
    c->info.names = at;
    for (uint32_t i = 0; i < g->name_count; i++)
        *at++ = c->texts + g->names[i];
    c->info.chain = at;
    for (uint32_t i = 0; i < g->chain_count; i++)
        *at++ = c->texts + g->chain[i];
    c->info.subject = c->texts + g->subject;
    c->info.issuer = c->texts + g->issuer;
    c->info.serial = c->texts + g->serial;
    c->info.fingerprint = c->texts + g->fingerprint;
    c->info.key_type = c->texts + g->key_type;
    c->info.name_count = g->name_count;
    c->info.chain_count = g->chain_count;
    return true;
}

static void dates(struct tls_certificate *c)
{
    c->info.not_before_us = to_us(X509_get0_notBefore(c->leaf));
    c->info.not_after_us = to_us(X509_get0_notAfter(c->leaf));
    c->info.chain_not_after_us = c->info.not_after_us;
    for (int i = 0; i < sk_X509_num(c->chain); i++) {
        X509 *x = sk_X509_value(c->chain, i);
        int64_t us = to_us(X509_get0_notAfter(x));

        /* A server's root is not sent, so that its end matters to those alone who trust it. */
        if (c->key && X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0)
            continue;
        if (us < c->info.chain_not_after_us)
            c->info.chain_not_after_us = us;
    }
}

bool tls_certificate_describe(struct tls_certificate *c)
{
    struct gather *g = calloc(1, sizeof *g);
    bool good = false;

    if (!g)
        return false;
    buf_init(&g->texts, TEXTS_MAX);
    gather(g, c);
    if (!g->texts.failed)
        good = settle(c, g) && make_id(c);
    buf_done(&g->texts);
    free(g);
    dates(c);
    c->info.self_signed =
        X509_NAME_cmp(X509_get_subject_name(c->leaf), X509_get_issuer_name(c->leaf)) == 0;
    ERR_clear_error();
    return good;
}
