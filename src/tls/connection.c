#include "tls/connection.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/addr.h"
#include "net/loop.h"
#include "tls/inner.h"

struct tls_connection *tls_connection_of(const SSL *ssl)
{
    return SSL_get_app_data(ssl);
}

static struct tls_connection *make(SSL_CTX *ctx, int fd)
{
    struct tls_connection *c = calloc(1, sizeof *c);

    if (!c)
        return NULL;
    c->verify_error = X509_V_OK;
    c->ssl = SSL_new(ctx);
    if (!c->ssl || SSL_set_fd(c->ssl, fd) != 1) {
        SSL_free(c->ssl);
        free(c);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_app_data(c->ssl, c);
    return c;
}

struct tls_connection *tls_connection_accept(struct tls_server *server, int fd)
{
    struct tls_connection *c = make(server->ctx, fd);

    if (!c)
        return NULL;
    c->server = tls_server_ref(server);
    SSL_set_accept_state(c->ssl);
    return c;
}

/* ---- as a client ---- */

static bool set_name(struct tls_connection *c, struct str name)
{
    char text[256];
    struct net_addr a;

    if (name.n == 0)
        return true;
    if (name.n >= sizeof text)
        return false;
    memcpy(text, name.p, name.n);
    text[name.n] = 0;
    if (net_addr_parse(name, &a))
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), text) == 1;
    SSL_set_hostflags(c->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(c->ssl, text) == 1 && SSL_set1_host(c->ssl, text) == 1;
}

static void resume(struct tls_connection *c)
{
    SSL_SESSION *session = tls_resume_find(c->client->resume, c->peer);

    if (!session)
        return;
    if (SSL_set_session(c->ssl, session) != 1)
        ERR_clear_error();
    SSL_SESSION_free(session);
}

struct tls_connection *tls_connection_connect(struct tls_client *client, int fd, struct str name,
                                              struct str peer)
{
    struct tls_connection *c = make(client->ctx, fd);

    if (!c)
        return NULL;
    c->client = tls_client_ref(client);
    c->peer = str_dup(peer);
    if (!c->peer || !set_name(c, name)) {
        tls_connection_free(c);
        ERR_clear_error();
        return NULL;
    }
    SSL_set_connect_state(c->ssl);
    resume(c);
    return c;
}

void tls_connection_free(struct tls_connection *c)
{
    if (!c)
        return;
    SSL_free(c->ssl);
    tls_server_unref(c->server);
    tls_client_unref(c->client);
    free(c->peer);
    free(c);
}

/* ---- the handshake ---- */

/* The subject; where it is empty, as many authorities leave it now, the first name of a host. */
static void name_peer(X509 *x, char *out, size_t size)
{
    GENERAL_NAMES *names = NULL;

    tls_name_text(X509_get_subject_name(x), out, size);
    if (!out[0])
        names = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; !out[0] && i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

        if (name->type == GEN_DNS)
            snprintf(out, size, "DNS:%.*s", ASN1_STRING_length(name->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(name->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    if (!out[0])
        snprintf(out, size, "without a name");
}

static void note_peer(struct tls_connection *c)
{
    X509 *x = SSL_get0_peer_certificate(c->ssl);

    c->shown = x != NULL;
    if (x)
        name_peer(x, c->subject, sizeof c->subject);
    /* A resumed session brings the result of the first handshake. */
    if (c->verify_error == X509_V_OK)
        c->verify_error = SSL_get_verify_result(c->ssl);
    if (!x)
        snprintf(c->verified, sizeof c->verified, "no certificate was shown");
    else if (c->verify_error != X509_V_OK)
        snprintf(c->verified, sizeof c->verified, "%s",
                 X509_verify_cert_error_string(c->verify_error));
}

static enum pt_err failed(struct tls_connection *c, int error, int sys_errno,
                          struct pt_fault *fault)
{
    char reason[160];

    if (c->peer)
        tls_resume_forget(c->client->resume, c->peer);
    if (c->verify_error != X509_V_OK && (c->client ? c->client->verify : true) &&
        error == SSL_ERROR_SSL) {
        ERR_clear_error();
        return pt_fault_set(fault, PT_ERR_DENIED, "the certificate does not verify: %s",
                            X509_verify_cert_error_string(c->verify_error));
    }
    if (error == SSL_ERROR_ZERO_RETURN || (error == SSL_ERROR_SYSCALL && ERR_peek_error() == 0)) {
        ERR_clear_error();
        if (sys_errno)
            return pt_fault_errno(fault, sys_errno, "TLS handshake");
        return pt_fault_set(fault, PT_ERR_CLOSED,
                            "the peer closed the connection within the "
                            "TLS handshake");
    }
    tls_error_text(reason, sizeof reason);
    return pt_fault_set(fault, PT_ERR_INVALID, "TLS handshake failed: %s", reason);
}

enum pt_err tls_connection_handshake(struct tls_connection *c, unsigned *out_wanted,
                                     struct pt_fault *fault)
{
    int n, error, sys_errno;

    ERR_clear_error();
    errno = 0;
    n = SSL_do_handshake(c->ssl);
    sys_errno = errno;
    if (n == 1) {
        snprintf(c->version, sizeof c->version, "%s", SSL_get_version(c->ssl));
        snprintf(c->cipher, sizeof c->cipher, "%s", SSL_get_cipher_name(c->ssl));
        note_peer(c);
        return PT_ERR_OK;
    }
    error = SSL_get_error(c->ssl, n);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE) {
        *out_wanted = error == SSL_ERROR_WANT_READ ? NET_READ : NET_WRITE;
        return PT_ERR_AGAIN;
    }
    return failed(c, error, sys_errno, fault);
}

void tls_connection_info(const struct tls_connection *c, struct tls_info *out)
{
    *out = (struct tls_info){
        .version = c->version,
        .cipher = c->cipher,
        .bits = (unsigned)SSL_get_cipher_bits(c->ssl, NULL),
        .resumed = SSL_session_reused(c->ssl) == 1,
        .verified = c->shown && c->verify_error == X509_V_OK,
        .subject = c->subject,
        .unverified = c->verified,
    };
}

struct tls_certificate *tls_connection_peer(const struct tls_connection *c)
{
    X509 *x = SSL_get0_peer_certificate(c->ssl);

    return x ? tls_certificate_of(x, SSL_get_peer_cert_chain(c->ssl)) : NULL;
}

/* ---- the stream ---- */

static ssize_t outcome(struct tls_connection *c, int n)
{
    int sys_errno = errno, error = SSL_get_error(c->ssl, n);

    switch (error) {
    case SSL_ERROR_WANT_READ:
    case SSL_ERROR_WANT_WRITE:
        return NET_STREAM_AGAIN;
    case SSL_ERROR_ZERO_RETURN:
        return 0;
    default:
        ERR_clear_error();
        errno = sys_errno ? sys_errno : EPROTO;
        return NET_STREAM_ERROR;
    }
}

static ssize_t stream_read(struct net_stream *s, void *out, size_t n)
{
    struct tls_connection *c = s->state;
    int got;

    ERR_clear_error();
    errno = 0;
    got = SSL_read(c->ssl, out, (int)(n < INT32_MAX ? n : INT32_MAX));
    /* Half a record in OpenSSL's buffer is nothing to come back for. */
    c->dry = got <= 0;
    return got > 0 ? got : outcome(c, got);
}

/* Small pieces go into one record: a reply and a header are no records of their own. */
enum { GATHER = 16 << 10 };

static ssize_t stream_writev(struct net_stream *s, const struct iovec *iov, int count)
{
    struct tls_connection *c = s->state;
    char gathered[GATHER];
    const char *from = gathered;
    size_t n = 0;
    int put;

    for (int i = 0; i < count && n < GATHER; i++) {
        size_t part = iov[i].iov_len;

        if (n == 0 && (part >= GATHER || i == count - 1)) {
            from = iov[i].iov_base;
            n = part;
            break;
        }
        part = part < GATHER - n ? part : GATHER - n;
        memcpy(gathered + n, iov[i].iov_base, part);
        n += part;
    }
    if (n == 0)
        return 0;
    ERR_clear_error();
    errno = 0;
    put = SSL_write(c->ssl, from, (int)(n < INT32_MAX ? n : INT32_MAX));
    if (put > 0)
        return put;
    put = (int)outcome(c, put);
    return put == 0 ? NET_STREAM_ERROR : put;
}

static bool stream_pending(struct net_stream *s)
{
    struct tls_connection *c = s->state;

    return !c->dry && SSL_has_pending(c->ssl) == 1;
}

static void stream_shutdown(struct net_stream *s)
{
    struct tls_connection *c = s->state;

    ERR_clear_error();
    PT_IGNORE(SSL_shutdown(c->ssl), "the connection ends either way");
    ERR_clear_error();
    shutdown(s->fd, SHUT_WR);
}

static int stream_leave(struct net_stream *s)
{
    struct tls_connection *c = s->state;
    int fd = s->fd;

    ERR_clear_error();
    if (SSL_is_init_finished(c->ssl))
        PT_IGNORE(SSL_shutdown(c->ssl), "the connection ends either way");
    ERR_clear_error();
    tls_connection_free(c);
    s->state = NULL;
    s->fd = -1;
    return fd;
}

static void stream_close(struct net_stream *s)
{
    close(stream_leave(s));
}

static const struct net_stream_ops tls_ops = {
    .read = stream_read,
    .writev = stream_writev,
    .pending = stream_pending,
    .shutdown = stream_shutdown,
    .close = stream_close,
    .leave = stream_leave,
};

void tls_stream(struct net_stream *out, struct tls_connection *c, int fd)
{
    *out = (struct net_stream){ .ops = &tls_ops, .state = c, .fd = fd };
}

bool tls_stream_info(const struct net_stream *s, struct tls_info *out)
{
    if (s->ops != &tls_ops)
        return false;
    tls_connection_info(s->state, out);
    return true;
}
