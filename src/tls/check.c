#include <openssl/err.h>
#include <openssl/objects.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "net/addr.h"
#include "tls/material.h"

/*
 * What clients will say about a certificate, before they do. All of it is a warning: such a
 * certificate can be served, and sometimes it is what is wanted (a test, a private authority).
 */

static void date_text(int64_t us, char out[CLOCK_RFC3339_SIZE])
{
    clock_rfc3339(us, out);
    out[10] = 0;
}

/* ---- validity ---- */

static void check_dates(const struct tls_certificate *c, int64_t now_us, struct tls_findings *f)
{
    const struct tls_certificate_info *i = &c->info;
    enum tls_field field = c->key ? TLS_FIELD_CERTIFICATE : TLS_FIELD_CA_CERTIFICATE;
    char date[CLOCK_RFC3339_SIZE];

    date_text(i->not_after_us, date);
    if (now_us >= i->not_after_us)
        tls_finding_add(f, false, field, "expired", "Have it renewed and upload the new one.",
                        "The certificate expired on %s.", date);
    else if (now_us >= i->not_after_us - TLS_EXPIRES_SOON_DAYS * TLS_DAY_US)
        tls_finding_add(f, false, field, "expires_soon", "Have it renewed and upload the new one.",
                        "The certificate expires on %s, in %lld days.", date,
                        (long long)((i->not_after_us - now_us) / TLS_DAY_US));
    if (now_us < i->not_before_us) {
        date_text(i->not_before_us, date);
        tls_finding_add(f, false, field, "not_yet_valid",
                        "Wait until then, or look whether the clock of this host is right.",
                        "The certificate is valid from %s on; until then clients refuse it.", date);
    }
}

static void check_chain_dates(const struct tls_certificate *c, int64_t now_us,
                              struct tls_findings *f)
{
    char date[CLOCK_RFC3339_SIZE];

    if (c->info.chain_not_after_us >= c->info.not_after_us)
        return;
    date_text(c->info.chain_not_after_us, date);
    if (now_us >= c->info.chain_not_after_us)
        tls_finding_add(f, false, TLS_FIELD_CA_CERTIFICATE, "issuer_expired",
                        "Upload the authority's present chain as CA certificate.",
                        "A certificate of the chain expired on %s.", date);
    else
        tls_finding_add(f, false, TLS_FIELD_CA_CERTIFICATE, "outlives_issuer",
                        "Ask the authority for its present chain, or renew before that day.",
                        "The certificate outlives its issuer, whose own expires on %s.", date);
}

/* ---- names ---- */

static void check_names(const struct tls_certificate *c, struct str hostname,
                        struct tls_findings *f)
{
    struct net_addr addr;
    char host[256], names[160] = "";
    int match;

    if (c->info.name_count == 0) {
        tls_finding_add(f, false, TLS_FIELD_CERTIFICATE, "no_names",
                        "Have it made anew with the host name among its subject alternative names.",
                        "The certificate names no host (no subject alternative name); clients that "
                        "verify refuse it.");
        return;
    }
    if (!hostname.p || hostname.n >= sizeof host)
        return;
    snprintf(host, sizeof host, "%.*s", STR_FMT(hostname));
    match =
        net_addr_parse(hostname, &addr)
            ? X509_check_ip_asc(c->leaf, host, 0)
            : X509_check_host(c->leaf, host, hostname.n, X509_CHECK_FLAG_NEVER_CHECK_SUBJECT, NULL);
    if (match == 1)
        return;
    for (uint32_t i = 0, n = 0; i < c->info.name_count && n < sizeof names - 1; i++)
        n += (uint32_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "",
                                c->info.names[i]);
    tls_finding_add(f, false, TLS_FIELD_CERTIFICATE, "name_mismatch",
                    "Have it made for that name, or set identity.hostname to a name it is for.",
                    "The certificate is for %s, and this gateway is called %s.", names, host);
}

/* ---- the chain ---- */

/* Whether the system's trust store knows the issuer of the last certificate we send. */
static bool ends_in_trust(const struct tls_certificate *c)
{
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool good = false;

    if (store && ctx && X509_STORE_set_default_paths(store) == 1 &&
        X509_STORE_CTX_init(ctx, store, c->leaf, c->chain) == 1) {
        /* Dates are told apart from this. */
        X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME);
        good = X509_verify_cert(ctx) == 1;
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(store);
    ERR_clear_error();
    return good;
}

static void check_chain(const struct tls_certificate *c, struct tls_findings *f)
{
    X509 *last =
        sk_X509_num(c->chain) ? sk_X509_value(c->chain, sk_X509_num(c->chain) - 1) : c->leaf;
    char issuer[160], text[160];

    tls_name_text(X509_get_issuer_name(last), issuer, sizeof issuer);
    if (c->info.self_signed)
        tls_finding_add(f, false, TLS_FIELD_CERTIFICATE, "self_signed",
                        "Good for trying; for mail from strangers use one from an authority that "
                        "they know.",
                        "The certificate is signed by itself; clients that verify refuse it.");
    else if (!ends_in_trust(c) &&
             X509_NAME_cmp(X509_get_subject_name(last), X509_get_issuer_name(last)) != 0)
        tls_finding_add(f, false, TLS_FIELD_CA_CERTIFICATE, "chain_incomplete",
                        "Upload the authority's intermediate certificates as CA certificate.",
                        "The chain is not complete: the certificate of %s is missing.", issuer);
    else if (!ends_in_trust(c))
        tls_finding_add(f, false, TLS_FIELD_CA_CERTIFICATE, "private_authority",
                        "Nothing, if your clients have been given its certificate.",
                        "The chain ends at %s, which this system does not know; so may clients.",
                        issuer);
    for (int i = 0; i < sk_X509_num(c->unused); i++) {
        tls_name_text(X509_get_subject_name(sk_X509_value(c->unused, i)), text, sizeof text);
        tls_finding_add(f, false, TLS_FIELD_CA_CERTIFICATE, "not_in_chain",
                        "Nothing; or upload the one that signed your certificate.",
                        "%s has not signed anything here; it was left out.", text);
    }
}

/* ---- use and strength ---- */

static void check_use(const struct tls_certificate *c, struct tls_findings *f)
{
    uint32_t use = X509_get_extended_key_usage(c->leaf), key_use = X509_get_key_usage(c->leaf);

    if (use != UINT32_MAX && !(use & (XKU_SSL_SERVER | XKU_ANYEKU)))
        tls_finding_add(f, false, TLS_FIELD_CERTIFICATE, "not_for_servers",
                        "Have it made anew for TLS servers (serverAuth).",
                        "The certificate is not meant for servers; clients that verify refuse it.");
    if (key_use != UINT32_MAX && !(key_use & KU_DIGITAL_SIGNATURE))
        tls_finding_add(f, false, TLS_FIELD_CERTIFICATE, "no_signatures",
                        "Have it made anew with the key usage digitalSignature.",
                        "The certificate's key may not sign, which TLS 1.3 needs.");
    if (X509_check_ca(c->leaf) == 1 && !c->info.self_signed)
        tls_finding_add(f, false, TLS_FIELD_CERTIFICATE, "is_an_authority",
                        "Use a certificate that the authority has made for this host.",
                        "The certificate is that of an authority, not of a host.");
    if (EVP_PKEY_get_base_id(c->key) == EVP_PKEY_ED25519 ||
        EVP_PKEY_get_base_id(c->key) == EVP_PKEY_ED448)
        tls_finding_add(f, false, TLS_FIELD_PRIVATE_KEY, "rare_key",
                        "Have a certificate with an ECDSA P-256 or RSA key besides it.",
                        "Many mail servers cannot use a key of the kind %s yet.", c->info.key_type);
}

static void check_signature(X509 *x, struct tls_findings *f, enum tls_field field)
{
    char text[160];
    int digest = NID_undef;

    if (X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)) == 0 ||
        !OBJ_find_sigid_algs(X509_get_signature_nid(x), &digest, NULL))
        return;
    if (digest != NID_sha1 && digest != NID_md5 && digest != NID_md4)
        return;
    tls_name_text(X509_get_subject_name(x), text, sizeof text);
    tls_finding_add(f, false, field, "weak_signature", "Have it made anew, signed with SHA-256.",
                    "%s is signed with %s, which is not safe; clients that verify refuse it.", text,
                    OBJ_nid2sn(digest));
}

void tls_certificate_check(const struct tls_certificate *c, struct str hostname, int64_t now_us,
                           struct tls_findings *f)
{
    check_dates(c, now_us, f);
    check_signature(c->leaf, f, c->key ? TLS_FIELD_CERTIFICATE : TLS_FIELD_CA_CERTIFICATE);
    if (c->key) {
        check_chain_dates(c, now_us, f);
        check_names(c, hostname, f);
        check_chain(c, f);
        check_use(c, f);
    }
    for (int i = 0; i < sk_X509_num(c->chain); i++)
        check_signature(sk_X509_value(c->chain, i), f, TLS_FIELD_CA_CERTIFICATE);
    ERR_clear_error();
}
