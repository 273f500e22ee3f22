#include "tls/context.h"

#include <openssl/err.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tls/inner.h"

/*
 * Mozilla's "intermediate" without the DHE suites: whoever speaks them speaks ECDHE, and they let
 * a client make us calculate far more than it does itself.
 */
static const char server_ciphers[] = "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:"
                                     "ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-RSA-AES256-GCM-SHA384:"
                                     "ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305";

static const char server_suites[] =
    "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/* X25519 first: the cheapest for us, and what nearly all clients send a share for. */
static const char groups[] = "X25519:P-256:P-384";

void tls_error_text(char *out, size_t size)
{
    unsigned long e = ERR_peek_error();
    const char *reason = e ? ERR_reason_error_string(e) : NULL;

    if (reason)
        snprintf(out, size, "%s", reason);
    else if (e)
        ERR_error_string_n(e, out, size);
    else
        snprintf(out, size, "no reason given");
    ERR_clear_error();
}

static enum pt_err refuse(struct pt_fault *fault, const char *what)
{
    char reason[160];

    tls_error_text(reason, sizeof reason);
    return pt_fault_set(fault, PT_ERR_INVALID, "%s: %s", what, reason);
}

static SSL_CTX *make(const SSL_METHOD *method)
{
    SSL_CTX *ctx = SSL_CTX_new(method);

    if (!ctx || !SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
        !SSL_CTX_set1_groups_list(ctx, groups)) {
        SSL_CTX_free(ctx);
        return NULL;
    }
    /* SMTP says itself where things end: who closes without a close_notify has sent what he has
     * sent, and gets his replies. */
    SSL_CTX_set_options(ctx, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION |
                                 SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                              SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    /* One read call for a record's header and body, and what follows. */
    SSL_CTX_set_read_ahead(ctx, 1);
    return ctx;
}

/* Whom to trust: that CA alone, or whom the system trusts. */
static bool trust(SSL_CTX *ctx, const struct tls_certificate *ca, bool announce)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);

    if (!ca)
        return SSL_CTX_set_default_verify_paths(ctx) == 1;
    for (int i = -1; i < sk_X509_num(ca->chain); i++) {
        X509 *x = i < 0 ? ca->leaf : sk_X509_value(ca->chain, i);

        if (X509_STORE_add_cert(store, x) != 1 || (announce && SSL_CTX_add_client_CA(ctx, x) != 1))
            return false;
    }
    /* An intermediate that is named is trusted as such: its root need not be there. */
    return X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN) == 1;
}

/* Remembers the first complaint and goes on: whether it matters is for the caller to say. */
static int remember(int good, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct tls_connection *c = tls_connection_of(ssl);

    if (!good && c && c->verify_error == X509_V_OK)
        c->verify_error = X509_STORE_CTX_get_error(store);
    return 1;
}

/* The same, and the end of it. */
static int insist(int good, X509_STORE_CTX *store)
{
    remember(good, store);
    return good;
}

/* ---- servers ---- */

static bool add_certificate(SSL_CTX *ctx, const struct tls_certificate *c)
{
    STACK_OF(X509) *chain = sk_X509_new_null();
    bool good = chain != NULL;

    for (int i = 0; good && i < sk_X509_num(c->chain); i++) {
        X509 *x = sk_X509_value(c->chain, i);

        /* A root is not sent: who trusts it has it (RFC 8446 section 4.4.2). */
        if (X509_NAME_cmp(X509_get_subject_name(x), X509_get_issuer_name(x)))
            good = sk_X509_push(chain, x) > 0;
    }
    good = good && SSL_CTX_use_cert_and_key(ctx, c->leaf, c->key, chain, 1) == 1;
    sk_X509_free(chain);
    return good;
}

/* Sessions are not resumed under other demands on clients than they were begun with. */
static bool set_session_context(SSL_CTX *ctx, const struct tls_server_config *config)
{
    char text[SSL_MAX_SID_CTX_LENGTH + 1];
    int n = snprintf(text, sizeof text, "smtp %d %s", (int)config->client_certificates,
                     config->client_ca ? config->client_ca->id : "");

    return SSL_CTX_set_session_id_context(ctx, (const uint8_t *)text, (unsigned)n) == 1;
}

static enum pt_err set_up_server(SSL_CTX *ctx, const struct tls_server_config *config,
                                 struct pt_fault *fault)
{
    SSL_CTX_set_options(ctx, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    if (!SSL_CTX_set_cipher_list(ctx, server_ciphers) ||
        !SSL_CTX_set_ciphersuites(ctx, server_suites) || !set_session_context(ctx, config))
        return refuse(fault, "TLS cannot be set up");
    for (uint32_t i = 0; i < config->certificate_count; i++) {
        if (!add_certificate(ctx, config->certificates[i])) {
            char what[80];

            snprintf(what, sizeof what, "certificate %s cannot be used",
                     config->certificates[i]->id);
            return refuse(fault, what);
        }
    }
    if (config->tickets ? !tls_tickets_use(config->tickets, ctx) : !SSL_CTX_set_num_tickets(ctx, 0))
        return refuse(fault, "TLS tickets cannot be set up");
    if (!config->tickets)
        SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
    if (config->client_certificates == TLS_CLIENT_CERTIFICATES_OFF)
        return PT_ERR_OK;
    if (!trust(ctx, config->client_ca, true))
        return refuse(fault, "the CA of client certificates cannot be used");
    if (config->client_certificates == TLS_CLIENT_CERTIFICATES_REQUIRE)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, insist);
    else
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, remember);
    return PT_ERR_OK;
}

static void keep(struct tls_server *s, const struct tls_server_config *config)
{
    for (uint32_t i = 0; i < config->certificate_count; i++)
        s->certificates[s->certificate_count++] = tls_certificate_ref(config->certificates[i]);
    if (config->client_ca)
        s->client_ca = tls_certificate_ref((struct tls_certificate *)config->client_ca);
}

enum pt_err tls_server_new(struct tls_server **out, const struct tls_server_config *config,
                           struct pt_fault *fault)
{
    struct tls_server *s = calloc(1, sizeof *s);
    enum pt_err err;

    ERR_clear_error();
    if (s)
        s->ctx = make(TLS_server_method());
    if (!s || !s->ctx) {
        free(s);
        return pt_fault_set(fault, PT_ERR_NOMEM, "setting up TLS: out of memory");
    }
    s->refs = 1;
    s->client_certificates = (uint8_t)config->client_certificates;
    keep(s, config);
    err = set_up_server(s->ctx, config, fault);
    if (err != PT_ERR_OK) {
        tls_server_unref(s);
        return err;
    }
    *out = s;
    return PT_ERR_OK;
}

struct tls_server *tls_server_ref(struct tls_server *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void tls_server_unref(struct tls_server *s)
{
    if (!s || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(s->ctx);
    for (uint32_t i = 0; i < s->certificate_count; i++)
        tls_certificate_unref(s->certificates[i]);
    tls_certificate_unref(s->client_ca);
    free(s);
}

struct tls_certificate *const *tls_server_certificates(const struct tls_server *s,
                                                       uint32_t *out_count)
{
    *out_count = s->certificate_count;
    return s->certificates;
}

const struct tls_certificate *tls_server_client_ca(const struct tls_server *s)
{
    return s->client_ca;
}

/* ---- clients ---- */

/* A session that may be resumed has come; true: we took the reference. */
static int on_session(SSL *ssl, SSL_SESSION *session)
{
    struct tls_connection *c = tls_connection_of(ssl);

    if (!c || !c->client || !c->peer || !SSL_SESSION_is_resumable(session))
        return 0;
    tls_resume_keep(c->client->resume, c->peer, session);
    return 1;
}

enum pt_err tls_client_new(struct tls_client **out, const struct tls_client_config *config,
                           struct pt_fault *fault)
{
    struct tls_client *c = calloc(1, sizeof *c);

    ERR_clear_error();
    if (c) {
        c->refs = 1;
        c->verify = config->verify;
        c->ctx = make(TLS_client_method());
        c->resume = tls_resume_new();
    }
    if (!c || !c->ctx || !c->resume) {
        tls_client_unref(c);
        return pt_fault_set(fault, PT_ERR_NOMEM, "setting up TLS: out of memory");
    }
    SSL_CTX_set_session_cache_mode(c->ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(c->ctx, on_session);
    SSL_CTX_set_verify(c->ctx, SSL_VERIFY_PEER, config->verify ? insist : remember);
    /* Where the alternative is to send in clear, an old key is better than none. */
    if ((!config->verify && !SSL_CTX_set_cipher_list(c->ctx, "DEFAULT@SECLEVEL=1")) ||
        (config->signatures && !SSL_CTX_set1_sigalgs_list(c->ctx, config->signatures))) {
        tls_client_unref(c);
        return refuse(fault, "TLS cannot be set up");
    }
    if (!trust(c->ctx, config->ca, false)) {
        tls_client_unref(c);
        return refuse(fault, "the trusted CAs cannot be read");
    }
    *out = c;
    return PT_ERR_OK;
}

struct tls_client *tls_client_ref(struct tls_client *c)
{
    atomic_fetch_add_explicit(&c->refs, 1, memory_order_relaxed);
    return c;
}

void tls_client_unref(struct tls_client *c)
{
    if (!c || atomic_fetch_sub_explicit(&c->refs, 1, memory_order_acq_rel) != 1)
        return;
    SSL_CTX_free(c->ctx);
    tls_resume_free(c->resume);
    free(c);
}
