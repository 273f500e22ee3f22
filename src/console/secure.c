/*
 * console/secure: HTTPS. The certificate of the administrator, or one made here; handshakes on a
 * thread of their own, then a stream for the server.
 *
 * Every few seconds a worker looks whether the administrator's file is another one, or ours is to
 * be renewed; the loop then serves the new one to who comes, and live connections keep theirs. One
 * that cannot be used changes nothing but the log.
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
    LOOK_EVERY_MS = 5000,
    RENEW_EVERY_S = 3600, /* tries */
};

/* Tells whether a file is another one than before; of a file that is not there all is 0. */
struct stamp {
    uint64_t inode, size;
    int64_t mtime_ns, ctime_ns;
};

struct arrival {
    struct tls_handshake handshake;
    struct console *console;
    struct net_endpoint peer;
    struct arrival *prev, *next;
};

struct secure {
    struct console *console;
    struct net_endpoint at;
    struct tls_certificate *certificate;
    struct tls_tickets *tickets;
    struct tls_server *server;
    struct tls_handshaker *handshaker;
    struct arrival *arrivals; /* on the loop's thread */
    /* The next look; the worker's while `looking`. */
    struct net_timer timer;
    struct http_task task;
    struct mail mail;
    bool looking;
    struct stamp stamp; /* of certificate.pem as it was last looked at */
    bool own_made;      /* the one in force is ours */
    int64_t renewed_ns; /* when that was tried last */
    struct tls_certificate *new_certificate;
    struct tls_server *new_server;
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

/* Ours, made where there is none or its end is near. */
static enum pt_err self_signed(struct console *c, const struct net_endpoint *at,
                               struct tls_certificate **out, struct pt_fault *fault)
{
    char path[4300];
    enum pt_err err;

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

static void own_path(const struct console *c, char *out, size_t size)
{
    snprintf(out, size, "%s/console/certificate.pem", c->state_directory);
}

static struct stamp stamp_of(const struct console *c)
{
    struct stamp out = { 0 };
    char path[4300];
    struct stat st;

    own_path(c, path, sizeof path);
    if (stat(path, &st) == 0)
        out = (struct stamp){
            .inode = st.st_ino,
            .size = (uint64_t)st.st_size,
            .mtime_ns = st.st_mtim.tv_sec * 1000000000LL + st.st_mtim.tv_nsec,
            .ctime_ns = st.st_ctim.tv_sec * 1000000000LL + st.st_ctim.tv_nsec,
        };
    return out;
}

/* The administrator's, or ours; what serves it goes into `out_server`. */
static enum pt_err load(struct secure *s, struct tls_certificate **out,
                        struct tls_server **out_server, bool *out_own_made, struct pt_fault *fault)
{
    char path[4300];
    enum pt_err err;

    s->stamp = stamp_of(s->console);
    own_path(s->console, path, sizeof path);
    err = read_certificate(path, out, fault);
    *out_own_made = err == PT_ERR_NOTFOUND;
    if (!err)
        tell(path, *out);
    else if (err == PT_ERR_NOTFOUND)
        err = self_signed(s->console, &s->at, out, fault);
    if (!err)
        err =
            tls_server_new(out_server,
                           &(struct tls_server_config){
                               .certificates = out, .certificate_count = 1, .tickets = s->tickets },
                           fault);
    return err;
}

/* ---- another certificate while it runs ---- */

static void look_job(struct http_task *t)
{
    struct secure *s = PT_CONTAINER_OF(t, struct secure, task);
    struct stamp now = stamp_of(s->console);
    struct pt_fault fault = { 0 };
    int64_t now_ns = clock_mono_ns();
    bool own_made = s->own_made;
    bool renew = own_made && !lasts(s->certificate) &&
                 (!s->renewed_ns || now_ns - s->renewed_ns > RENEW_EVERY_S * 1000000000LL);

    if (renew)
        s->renewed_ns = now_ns;
    if (renew || memcmp(&now, &s->stamp, sizeof now) != 0) {
        if (load(s, &s->new_certificate, &s->new_server, &own_made, &fault) == PT_ERR_OK) {
            s->own_made = own_made;
        } else {
            log_text(LOG_ERROR, "console", "the former certificate is served on: %s", fault.text);
            tls_certificate_unref(s->new_certificate);
            s->new_certificate = NULL;
        }
    }
    net_loop_post(s->console->loop, &s->mail);
}

static void on_looked(struct mail *mail)
{
    struct secure *s = PT_CONTAINER_OF(mail, struct secure, mail);

    s->looking = false;
    if (s->new_server) {
        tls_server_unref(s->server);
        tls_certificate_unref(s->certificate);
        s->server = s->new_server;
        s->certificate = s->new_certificate;
        s->new_server = NULL;
        s->new_certificate = NULL;
    }
    if (s->handshaker)
        net_timer_start(&s->timer, LOOK_EVERY_MS * 1000000LL);
}

static void on_timer(struct net_timer *t)
{
    struct secure *s = PT_CONTAINER_OF(t, struct secure, timer);

    s->looking = http_work_add(s->console->work, &s->task);
    if (!s->looking)
        net_timer_start(t, LOOK_EVERY_MS * 1000000LL);
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
    s->console = c;
    s->at = *at;
    s->task.run = look_job;
    s->mail.run = on_looked;
    net_timer_init(&s->timer, c->loop, on_timer);
    s->tickets = tls_tickets_new();
    if (!s->tickets)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    err = load(s, &s->certificate, &s->server, &s->own_made, fault);
    if (!err)
        err = tls_handshaker_new(&s->handshaker, 1, HANDSHAKES, fault);
    if (!err)
        net_timer_start(&s->timer, LOOK_EVERY_MS * 1000000LL);
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
    if (!s)
        return;
    net_timer_stop(&s->timer);
    tls_handshaker_free(s->handshaker);
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
    tls_server_unref(s->new_server);
    tls_tickets_free(s->tickets);
    tls_certificate_unref(s->certificate);
    tls_certificate_unref(s->new_certificate);
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
