/*
 * console/secure: HTTPS. The certificate of the administrator, or one made here; handshakes on a
 * thread of their own, then a stream for the server.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "console/inner.h"
#include "tls/certificate.h"
#include "tls/handshake.h"
#include "tls/self_signed.h"

enum {
    HANDSHAKES = 64,
    HANDSHAKE_MS = 10000,
    PEM_MAX = 1024 * 1024,
    RENEW_DAYS = 30,
    NAMES_MAX = 8,
};

struct arrival {
    struct tls_handshake handshake;
    struct console *console;
    struct net_endpoint peer;
    struct arrival *prev, *next;
};

struct secure {
    struct tls_certificate *certificate;
    struct tls_tickets *tickets;
    struct tls_server *server;
    struct tls_handshaker *handshaker;
    struct arrival *arrivals; /* on the loop's thread */
};

/* ---- the certificate ---- */

static enum pt_err read_file(const char *path, struct buf *out, struct pt_fault *fault)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    ssize_t n = 1;

    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot read %s", path);
    while (n > 0 && buf_reserve(out, 16 * 1024)) {
        n = read(fd, out->p + out->n, 16 * 1024);
        out->n += n > 0 ? (size_t)n : 0;
    }
    PT_IGNORE(close(fd), "only read");
    if (n < 0)
        return pt_fault_errno(fault, errno, "cannot read %s", path);
    return n ? pt_fault_set(fault, PT_ERR_TOOBIG, "%s is too large", path) : PT_ERR_OK;
}

/* PT_ERR_NOTFOUND: there is no such file. */
static enum pt_err read_certificate(const char *path, struct tls_certificate **out,
                                    struct pt_fault *fault)
{
    struct tls_findings findings;
    struct tls_upload upload;
    struct buf pem;
    enum pt_err err;

    buf_init(&pem, PEM_MAX);
    err = read_file(path, &pem, fault);
    if (!err) {
        upload = (struct tls_upload){ .certificate = buf_str(&pem), .private_key = buf_str(&pem) };
        err = tls_certificate_read(out, &upload, &findings);
        if (err)
            err = pt_fault_set(fault, err, "%s cannot be used: %s", path,
                               findings.count ? findings.items[0].text : pt_err_text(err));
    }
    tls_wipe(&pem);
    return err;
}

static bool lasts(const struct tls_certificate *c)
{
    return tls_certificate_info(c)->not_after_us > clock_wall_us() + RENEW_DAYS * 86400LL * 1000000;
}

/* Replaced as a whole: a torn one would never be read again. */
static enum pt_err write_file(const char *path, struct str pem, struct pt_fault *fault)
{
    char new_path[4400];
    int fd;
    bool good;

    snprintf(new_path, sizeof new_path, "%s.new", path);
    fd = open(new_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot write %s", new_path);
    good = write(fd, pem.p, pem.n) == (ssize_t)pem.n && fsync(fd) == 0;
    good &= close(fd) == 0;
    if (!good || rename(new_path, path) != 0)
        return pt_fault_errno(fault, errno, "cannot write %s", path);
    return PT_ERR_OK;
}

static enum pt_err make_certificate(const char *path, const struct net_endpoint *at,
                                    struct pt_fault *fault)
{
    char host[256] = "", address[NET_ADDR_SIZE];
    const char *names[NAMES_MAX];
    size_t count = 0;
    struct buf pem;
    enum pt_err err;

    if (gethostname(host, sizeof host - 1) == 0 && host[0] && strlen(host) <= 64)
        names[count++] = host;
    names[count++] = "localhost";
    net_addr_format(&at->addr, address);
    if (strcmp(address, "0.0.0.0") != 0 && strcmp(address, "::") != 0)
        names[count++] = address;
    names[count++] = "127.0.0.1";
    names[count++] = "::1";
    buf_init(&pem, PEM_MAX);
    err = tls_self_signed(names, count, clock_wall_us(), &pem, fault);
    if (!err)
        err = write_file(path, buf_str(&pem), fault);
    tls_wipe(&pem);
    return err;
}

static void tell(const char *path, const struct tls_certificate *c)
{
    log_text(LOG_INFO, "console", "%s, SHA-256 of the certificate: %s", path,
             tls_certificate_info(c)->fingerprint);
}

/* One made here is made anew a month before its end. */
static enum pt_err own_certificate(struct console *c, const struct net_endpoint *at,
                                   struct tls_certificate **out, struct pt_fault *fault)
{
    char path[4300];
    enum pt_err err;

    snprintf(path, sizeof path, "%s/console/certificate.pem", c->state_directory);
    err = read_certificate(path, out, fault);
    if (!err)
        tell(path, *out);
    if (err != PT_ERR_NOTFOUND)
        return err;
    /* The gateway, which makes the folder of the state, may be slower at the first start. */
    if (mkdir(c->state_directory, 0750) != 0 && errno != EEXIST)
        return pt_fault_errno(fault, errno, "cannot make %s", c->state_directory);
    snprintf(path, sizeof path, "%s/console", c->state_directory);
    if (mkdir(path, 0700) != 0 && errno != EEXIST)
        return pt_fault_errno(fault, errno, "cannot make %s", path);
    snprintf(path, sizeof path, "%s/console/self-signed.pem", c->state_directory);
    err = read_certificate(path, out, fault);
    if (!err && lasts(*out)) {
        tell(path, *out);
        return PT_ERR_OK;
    }
    if (!err)
        tls_certificate_unref(*out);
    *out = NULL;
    err = make_certificate(path, at, fault);
    if (!err)
        err = read_certificate(path, out, fault);
    if (!err)
        tell(path, *out);
    return err;
}

/* ---- beginning and end ---- */

enum pt_err secure_new(struct secure **out, struct console *c, const struct net_endpoint *at,
                       struct pt_fault *fault)
{
    struct secure *s = calloc(1, sizeof *s);
    enum pt_err err;

    if (!s)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    *out = s;
    err = own_certificate(c, at, &s->certificate, fault);
    if (err)
        return err;
    s->tickets = tls_tickets_new();
    if (!s->tickets)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    err = tls_server_new(&s->server,
                         &(struct tls_server_config){ .certificates = &s->certificate,
                                                      .certificate_count = 1,
                                                      .tickets = s->tickets },
                         fault);
    if (!err)
        err = tls_handshaker_new(&s->handshaker, 1, HANDSHAKES, fault);
    return err;
}

static void forget(struct secure *s, struct arrival *a)
{
    *(a->prev ? &a->prev->next : &s->arrivals) = a->next;
    if (a->next)
        a->next->prev = a->prev;
    free(a);
}

void secure_stop(struct secure *s)
{
    if (s)
        tls_handshaker_free(s->handshaker);
    if (s)
        s->handshaker = NULL;
}

void secure_free(struct secure *s)
{
    if (!s)
        return;
    secure_stop(s);
    while (s->arrivals) {
        struct arrival *a = s->arrivals;

        tls_connection_free(a->handshake.connection);
        PT_IGNORE(close(a->handshake.fd), "the end of the process");
        forget(s, a);
    }
    tls_server_unref(s->server);
    tls_tickets_free(s->tickets);
    tls_certificate_unref(s->certificate);
    free(s);
}

bool secure_has_name(const struct secure *s, struct str host)
{
    const struct tls_certificate_info *info = tls_certificate_info(s->certificate);

    for (uint32_t i = 0; i < info->name_count; i++)
        if (str_eq_nocase(host, str_of(info->names[i])))
            return true;
    return false;
}

/* ---- handshakes ---- */

static void on_done(struct tls_handshake *h)
{
    struct arrival *a = PT_CONTAINER_OF(h, struct arrival, handshake);
    struct console *c = a->console;
    struct net_stream stream;

    if (h->result == PT_ERR_OK) {
        tls_stream(&stream, h->connection, h->fd);
        http_server_serve_stream_take(c->server, &stream, &a->peer);
    } else {
        tls_connection_free(h->connection);
        PT_IGNORE(close(h->fd), "no TLS, no answer");
    }
    forget(c->secure, a);
}

void secure_accepted(void *ctx, int fd, const struct net_endpoint *peer)
{
    struct console *c = ctx;
    struct secure *s = c->secure;
    struct arrival *a = NULL;
    uint64_t number = tls_handshake_peer(&peer->addr);
    bool placed = s->handshaker && tls_handshaker_take(s->handshaker, number);

    tls_tickets_rotate(s->tickets, clock_mono_ns() / 1000);
    if (placed)
        a = calloc(1, sizeof *a);
    if (a)
        a->handshake.connection = tls_connection_accept(s->server, fd);
    if (!a || !a->handshake.connection) {
        free(a);
        if (placed)
            tls_handshaker_give(s->handshaker, number);
        PT_IGNORE(close(fd), "too many at once");
        return;
    }
    a->console = c;
    a->peer = *peer;
    a->handshake.fd = fd;
    a->handshake.peer = number;
    a->handshake.timeout_ns = (int64_t)HANDSHAKE_MS * 1000000;
    a->handshake.home = c->loop;
    a->handshake.done = on_done;
    a->next = s->arrivals;
    if (a->next)
        a->next->prev = a;
    s->arrivals = a;
    tls_handshake_begin(s->handshaker, &a->handshake);
}
