#include "daemon/served.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "net/loop.h"
#include "tls/connection.h"

enum { PATIENCE_MS = 5000, LINES_MAX = 16384 };

/* A client of a few lines, in blocking steps with one deadline for all. */
struct look {
    int fd;
    int64_t until_ns;
    char in[LINES_MAX];
    size_t n;
};

static bool parse(const char *text, struct net_endpoint *out)
{
    const char *colon = strrchr(text, ':');
    char host[NET_ADDR_SIZE];
    bool brackets = text[0] == '[';
    uint64_t port;
    size_t n;

    if (!colon || !str_to_u64(str_of(colon + 1), &port) || port > UINT16_MAX)
        return false;
    n = (size_t)(colon - text) - (brackets ? 2 : 0);
    if (n >= sizeof host)
        return false;
    memcpy(host, text + brackets, n);
    host[n] = 0;
    out->port = (uint16_t)port;
    if (strcmp(host, "0.0.0.0") == 0)
        return net_addr_parse(STR("127.0.0.1"), &out->addr);
    return net_addr_parse(strcmp(host, "::") == 0 ? STR("::1") : str_of(host), &out->addr);
}

static bool wait_for(struct look *l, short events)
{
    int64_t left = (l->until_ns - clock_mono_ns()) / 1000000;
    struct pollfd p = { l->fd, events, 0 };

    if (left > 0 && poll(&p, 1, (int)left) == 1)
        return true;
    errno = ETIMEDOUT;
    return false;
}

static bool dial(struct look *l, const struct net_endpoint *to)
{
    struct sockaddr_storage sa;
    socklen_t n = net_to_sockaddr(to, &sa), size = sizeof(int);
    int err = 0;

    l->fd = socket(sa.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        return false;
    if (connect(l->fd, (struct sockaddr *)&sa, n) == 0)
        return true;
    if (errno != EINPROGRESS || !wait_for(l, POLLOUT))
        return false;
    getsockopt(l->fd, SOL_SOCKET, SO_ERROR, &err, &size);
    errno = err;
    return err == 0;
}

static bool is_whole(const struct look *l)
{
    const char *line = l->in, *end = l->in + l->n;

    while (line < end) {
        const char *eol = memchr(line, '\n', (size_t)(end - line));

        if (!eol)
            return false;
        if (eol - line < 4 || line[3] != '-')
            return true;
        line = eol + 1;
    }
    return false;
}

/* Says a line (NULL: nothing) and reads the reply; its code, or 0. */
static int ask(struct look *l, const char *line)
{
    uint64_t code;

    if (line && send(l->fd, line, strlen(line), MSG_NOSIGNAL) != (ssize_t)strlen(line))
        return 0;
    l->n = 0;
    while (!is_whole(l)) {
        ssize_t got;

        if (l->n == sizeof l->in - 1 || !wait_for(l, POLLIN))
            return 0;
        got = recv(l->fd, l->in + l->n, sizeof l->in - 1 - l->n, 0);
        if (got <= 0) {
            errno = got == 0 ? ECONNRESET : errno;
            return 0;
        }
        l->n += (size_t)got;
    }
    l->in[l->n] = 0;
    return str_to_u64((struct str){ l->in, 3 }, &code) ? (int)code : 0;
}

static void fail(struct api_served *out, const struct look *l, const char *what, int code)
{
    struct pt_fault fault;

    if (code) {
        snprintf(out->error, sizeof out->error, "%s: %.*s", what, (int)strcspn(l->in, "\r\n"),
                 l->in);
    } else {
        pt_fault_errno(&fault, errno, "%s", what);
        snprintf(out->error, sizeof out->error, "%s", fault.text);
    }
}

static void shake_hands(struct look *l, struct api_served *out, const char *signatures,
                        struct tls_certificate **out_seen, struct served_texts *texts)
{
    struct tls_client *client = NULL;
    struct tls_connection *c = NULL;
    struct pt_fault fault = { 0 };
    struct tls_info info;
    unsigned wanted;
    enum pt_err err =
        tls_client_new(&client, &(struct tls_client_config){ .signatures = signatures }, &fault);

    if (err == PT_ERR_OK)
        c = tls_connection_connect(client, l->fd, STR_NULL, STR("self"));
    if (err == PT_ERR_OK && !c)
        err = pt_fault_set(&fault, PT_ERR_NOMEM, "out of memory");
    while (c && (err = tls_connection_handshake(c, &wanted, &fault)) == PT_ERR_AGAIN)
        if (!wait_for(l, wanted & NET_READ ? POLLIN : POLLOUT)) {
            err = pt_fault_set(&fault, PT_ERR_TIMEOUT, "the TLS handshake does not end");
            break;
        }
    if (err == PT_ERR_OK) {
        tls_connection_info(c, &info);
        snprintf(texts->version, sizeof texts->version, "%s", info.version);
        snprintf(texts->cipher, sizeof texts->cipher, "%s", info.cipher);
        *out_seen = tls_connection_peer(c);
    } else {
        snprintf(out->error, sizeof out->error, "%s", fault.text);
    }
    tls_connection_free(c);
    tls_client_unref(client);
}

/* Up to the point where TLS begins. False: it does not come to that. */
static bool say_hello(struct look *l, struct api_served *out)
{
    int code = ask(l, NULL);

    if (code != 220) {
        /* Connection control has no exception for ourselves. */
        out->unknown = code == 421 || code == 554;
        fail(out, l, "the listener does not greet", code);
        return false;
    }
    if ((code = ask(l, "EHLO localhost\r\n")) != 250) {
        fail(out, l, "EHLO was refused", code);
        return false;
    }
    out->starttls = strstr(l->in, "STARTTLS") != NULL;
    if (!out->starttls) {
        PT_IGNORE(ask(l, "QUIT\r\n"), "a client that says goodbye");
        return false;
    }
    if ((code = ask(l, "STARTTLS\r\n")) != 220) {
        out->unknown = code == 454; /* too many handshakes now */
        fail(out, l, "STARTTLS was refused", code);
    }
    return code == 220;
}

void served_look(struct api_served *out, const char *signatures, struct tls_certificate **out_seen,
                 struct served_texts *texts)
{
    struct look *l = calloc(1, sizeof *l);
    struct net_endpoint to;

    *out_seen = NULL;
    *texts = (struct served_texts){ .version = "" };
    out->version = texts->version;
    out->cipher = texts->cipher;
    if (!l || !parse(out->address, &to)) {
        snprintf(out->error, sizeof out->error, "%s", l ? "not listening" : "out of memory");
        free(l);
        return;
    }
    l->until_ns = clock_mono_ns() + PATIENCE_MS * INT64_C(1000000);
    if (!dial(l, &to))
        fail(out, l, "the listener cannot be reached", 0);
    else if (out->implicit || say_hello(l, out))
        shake_hands(l, out, signatures, out_seen, texts);
    if (l->fd >= 0)
        close(l->fd);
    free(l);
}
