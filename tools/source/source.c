#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "../secure.h"

/*
 * postern-source: an SMTP client that sends as many messages as it is told, and is never what one
 * waits for. The source of the bench where smtp-source is the limit.
 *
 * One thread. All messages are the same octets, made once; a write takes as much of them as the
 * socket does. Each command waits for the reply to the one before, as most clients do.
 */

enum { EVENTS = 256, BLOCK = 64 << 10, LINE = 80, IOV = 32, REPLY_SIZE = 4096, COMMAND_SIZE = 600 };

static const char usage[] =
    "usage: postern-source [--to HOST:PORT] [--messages N] [--sessions N] [--size OCTETS] "
    "[--kept]\n"
    "                      [--tls] [--from ADDRESS] [--recipient ADDRESS] [--recipients N]\n"
    "                      [--domains N]\n"
    "\n"
    "Sends messages by SMTP and ends with status 0 when each of them was answered with 250.\n"
    "\n"
    "  --to HOST:PORT       where to (127.0.0.1:2525)\n"
    "  --messages N         how many (1)\n"
    "  --sessions N         at a time (1)\n"
    "  --size OCTETS        of each message, its header included (4096)\n"
    "  --kept               a session sends one message after the other; otherwise each has its "
    "own\n"
    "  --tls                STARTTLS first, whatever certificate is shown\n"
    "  --from ADDRESS       (a@source.example)\n"
    "  --recipient ADDRESS  (b@sink.example)\n"
    "  --recipients N       of each message: 0b@…, 1b@… (1)\n"
    "  --domains N          in so many domains by turns: 0b@d0.…, 1b@d1.… (1)\n";

/* What a session waits for; the reply to it leads to the next. */
enum step { GREETING, HELLO, START_TLS, MAIL, RCPT, DATA, CONTENT, QUIT };

struct client {
    int fd;
    SSL *ssl; /* NULL: in clear */
    enum step step;
    uint64_t rcpts; /* of this message that were said */
    bool writing;   /* content is not all sent, and the socket is full */
    uint64_t sent;  /* octets of content and end marker */
    size_t in_n;
    char in[REPLY_SIZE]; /* of a reply that is not here in full */
};

static struct {
    const char *from, *recipient;
    uint64_t messages, sessions, size, recipients, domains;
    bool kept;
    SSL_CTX *tls; /* NULL: none is asked for */
    struct sockaddr_storage to;
    socklen_t to_n;

    int epoll;
    uint64_t begun, answered; /* messages */
    uint64_t open;            /* sessions */
    char head[512];
    size_t head_n;
    char block[BLOCK];
} source = { .from = "a@source.example",
             .recipient = "b@sink.example",
             .messages = 1,
             .sessions = 1,
             .recipients = 1,
             .domains = 1,
             .size = 4096 };

static const char end_marker[] = "\r\n.\r\n";

static int fail(const char *what, const char *why)
{
    fprintf(stderr, "postern-source: %s: %s\n", what, why);
    return 1;
}

/* ---- content ---- */

/* Lines of `X`; the head counts too, and the end marker brings the last line end. */
static void make_content(void)
{
    source.head_n = (size_t)snprintf(source.head, sizeof source.head,
                                     "From: <%.200s>\r\nTo: <%.200s>\r\nSubject: load\r\n\r\n",
                                     source.from, source.recipient);
    memset(source.block, 'X', sizeof source.block);
    for (size_t i = LINE - 2; i + 1 < sizeof source.block; i += LINE) {
        source.block[i] = '\r';
        source.block[i + 1] = '\n';
    }
}

/* Slices of what is left from `at` on. */
static int slices(uint64_t at, struct iovec iov[IOV])
{
    /* The body repeats a whole number of lines. */
    const size_t whole = BLOCK / LINE * LINE;
    const uint64_t body = source.size - source.head_n - 2;
    int n = 0;

    if (at < source.head_n) {
        iov[n++] = (struct iovec){ source.head + at, source.head_n - at };
        at = source.head_n;
    }
    at -= source.head_n;
    while (at < body && n < IOV - 1) {
        size_t in = (size_t)(at % whole);
        size_t part = body - at < whole - in ? (size_t)(body - at) : whole - in;

        iov[n++] = (struct iovec){ source.block + in, part };
        at += part;
    }
    if (at >= body) {
        size_t in = (size_t)(at - body);

        iov[n++] = (struct iovec){ (char *)end_marker + in, sizeof end_marker - 1 - in };
    }
    return n;
}

static uint64_t whole_size(void)
{
    return source.size - 2 + sizeof end_marker - 1;
}

/* ---- a session ---- */

static void watch(struct client *c, uint32_t events, int operation)
{
    struct epoll_event e = { .events = events, .data.ptr = c };

    epoll_ctl(source.epoll, operation, c->fd, &e);
}

static bool open_client(struct client *c)
{
    int one = 1;

    *c = (struct client){ .fd = socket(source.to.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0) };
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&source.to, source.to_n) < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    source.begun++;
    source.open++;
    watch(c, EPOLLIN, EPOLL_CTL_ADD);
    return true;
}

static bool say(struct client *c, enum step step, const char *verb, const char *argument)
{
    char line[COMMAND_SIZE];
    int n = snprintf(line, sizeof line, "%s%s%s\r\n", verb, argument,
                     step == MAIL || step == RCPT ? ">" : "");

    c->step = step;
    if (n >= (int)sizeof line)
        return false;
    return (c->ssl ? secure_write(c->ssl, line, (size_t)n)
                   : send(c->fd, line, (size_t)n, MSG_NOSIGNAL)) == n;
}

static bool say_recipient(struct client *c)
{
    const char *at = strrchr(source.recipient, '@');
    unsigned long long n = c->rcpts++;
    char address[300], part[32] = "";

    if (source.recipients == 1)
        return say(c, RCPT, "RCPT TO:<", source.recipient);
    if (source.domains > 1)
        snprintf(part, sizeof part, "d%llu.", n % source.domains);
    snprintf(address, sizeof address, "%llu%.*s%s%s", n, (int)(at + 1 - source.recipient),
             source.recipient, part, at + 1);
    return say(c, RCPT, "RCPT TO:<", address);
}

/* One write of content. */
static ssize_t put(struct client *c)
{
    struct iovec iov[IOV];
    struct msghdr m = { .msg_iov = iov, .msg_iovlen = (size_t)slices(c->sent, iov) };

    if (c->ssl)
        return secure_write(c->ssl, iov[0].iov_base, iov[0].iov_len);
    return sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Writes content as far as the socket takes it. */
static bool write_content(struct client *c)
{
    bool full = false;

    while (c->sent < whole_size() && !full) {
        ssize_t n = put(c);

        if (n < 0 && errno != EAGAIN)
            return false;
        full = n < 0;
        c->sent += n > 0 ? (uint64_t)n : 0;
    }
    if (full != c->writing)
        watch(c, full ? EPOLLIN | EPOLLOUT : EPOLLIN, EPOLL_CTL_MOD);
    c->writing = full;
    return true;
}

/* The server is ready for it: handshake, and EHLO once more. */
static bool start_tls(struct client *c)
{
    c->ssl = secure_connect(source.tls, c->fd);
    if (!c->ssl)
        return false;
    fcntl(c->fd, F_SETFL, O_NONBLOCK);
    return say(c, HELLO, "EHLO ", "source.example");
}

/* The message was answered with 250. */
static bool on_taken(struct client *c)
{
    source.answered++;
    if (!source.kept || source.begun == source.messages)
        return say(c, QUIT, "QUIT", "");
    source.begun++;
    return say(c, MAIL, "MAIL FROM:<", source.from);
}

/* Goes on after a positive reply; false: the connection failed. */
static bool next(struct client *c)
{
    switch (c->step) {
    case GREETING:
        return say(c, HELLO, "EHLO ", "source.example");
    case START_TLS:
        return start_tls(c);
    case HELLO:
        if (source.tls && !c->ssl)
            return say(c, START_TLS, "STARTTLS", "");
        return say(c, MAIL, "MAIL FROM:<", source.from);
    case MAIL:
        c->rcpts = 0;
        return say_recipient(c);
    case RCPT:
        if (c->rcpts < source.recipients)
            return say_recipient(c);
        return say(c, DATA, "DATA", "");
    case DATA:
        c->step = CONTENT;
        c->sent = 0;
        return write_content(c);
    case CONTENT:
        return on_taken(c);
    case QUIT:
        break;
    }
    return true;
}

/* The length of the reply in `in`; 0: not here in full. */
static size_t whole_reply(const struct client *c)
{
    size_t start = 0;

    for (const char *lf; (lf = memchr(c->in + start, '\n', c->in_n - start));) {
        size_t end = (size_t)(lf - c->in) + 1;

        if (end - start < 4 || c->in[start + 3] != '-')
            return end;
        start = end;
    }
    return 0;
}

enum heard { HEARD_MORE, HEARD_END, HEARD_TROUBLE };

static enum heard hear(struct client *c)
{
    char *to = c->in + c->in_n;
    size_t room = sizeof c->in - c->in_n, n;
    ssize_t got = c->ssl ? secure_read(c->ssl, to, room) : recv(c->fd, to, room, MSG_DONTWAIT);

    if (got < 0 && errno == EAGAIN)
        return HEARD_MORE;
    if (got <= 0)
        return c->step == QUIT ? HEARD_END : HEARD_TROUBLE;
    c->in_n += (size_t)got;
    n = whole_reply(c);
    if (!n)
        return c->in_n < sizeof c->in ? HEARD_MORE : HEARD_TROUBLE;
    if (c->in[0] != (c->step == DATA ? '3' : '2') ||
        (c->step == CONTENT && c->sent < whole_size())) {
        fprintf(stderr, "postern-source: %.*s\n", (int)n - 1, c->in);
        return HEARD_TROUBLE;
    }
    c->in_n = 0; /* nobody speaks twice */
    if (c->step == QUIT)
        return HEARD_END;
    return next(c) ? HEARD_MORE : HEARD_TROUBLE;
}

/* ---- all of it ---- */

static bool serve(struct client *c, uint32_t events)
{
    if (events & EPOLLOUT && !write_content(c))
        return false;
    if (!(events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
        return true;
    switch (hear(c)) {
    case HEARD_MORE:
        return true;
    case HEARD_END:
        SSL_free(c->ssl);
        close(c->fd);
        source.open--;
        return source.begun == source.messages || open_client(c);
    case HEARD_TROUBLE:
        break;
    }
    return false;
}

static int run(void)
{
    struct client *clients = calloc(source.sessions, sizeof *clients);
    struct epoll_event events[EVENTS];
    bool good = clients != NULL;

    source.epoll = epoll_create1(EPOLL_CLOEXEC);
    for (uint64_t i = 0; good && i < source.sessions && source.begun < source.messages; i++)
        good = open_client(&clients[i]);
    while (good && source.open) {
        int n = epoll_wait(source.epoll, events, EVENTS, -1);

        for (int i = 0; good && i < n; i++)
            good = serve(events[i].data.ptr, events[i].events);
    }
    free(clients);
    SSL_CTX_free(source.tls);
    if (good && source.answered == source.messages)
        return 0;
    fprintf(stderr, "postern-source: %llu of %llu messages were taken; %s\n",
            (unsigned long long)source.answered, (unsigned long long)source.messages,
            strerrordesc_np(errno));
    return 1;
}

/* "HOST:PORT", both as numbers. */
static bool set_target(char *where)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char *colon = strrchr(where, ':');

    if (!colon)
        return false;
    *colon = 0;
    if (getaddrinfo(where, colon + 1, &hints, &found) != 0)
        return false;
    memcpy(&source.to, found->ai_addr, found->ai_addrlen);
    source.to_n = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static bool set_number(const char *text, uint64_t *out)
{
    char *end;

    errno = 0;
    *out = strtoull(text, &end, 10);
    return *text >= '0' && *text <= '9' && !*end && !errno && *out > 0;
}

static bool set_option(int option, char *value)
{
    switch (option) {
    case 't':
        return set_target(value);
    case 'm':
        return set_number(value, &source.messages);
    case 's':
        return set_number(value, &source.sessions) && source.sessions <= 10000;
    case 'l':
        return set_number(value, &source.size);
    case 'k':
        return source.kept = true;
    case 'T':
        source.tls = secure_client();
        return source.tls != NULL;
    case 'f':
        source.from = value;
        return strlen(value) < 256;
    case 'r':
        source.recipient = value;
        return strlen(value) < 200 && strchr(value, '@');
    case 'n':
        return set_number(value, &source.recipients) && source.recipients <= 1000;
    case 'd':
        return set_number(value, &source.domains);
    default:
        return false;
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = { { "to", required_argument, NULL, 't' },
                                           { "messages", required_argument, NULL, 'm' },
                                           { "sessions", required_argument, NULL, 's' },
                                           { "size", required_argument, NULL, 'l' },
                                           { "kept", no_argument, NULL, 'k' },
                                           { "tls", no_argument, NULL, 'T' },
                                           { "from", required_argument, NULL, 'f' },
                                           { "recipient", required_argument, NULL, 'r' },
                                           { "recipients", required_argument, NULL, 'n' },
                                           { "domains", required_argument, NULL, 'd' },
                                           { "help", no_argument, NULL, 'h' },
                                           { NULL, 0, NULL, 0 } };
    char standard[] = "127.0.0.1:2525";
    int option;

    set_target(standard);
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'h') {
            fputs(usage, stdout);
            return 0;
        }
        if (!set_option(option, optarg)) {
            fputs(usage, stderr);
            return 2;
        }
    }
    make_content();
    if (optind != argc || source.size < source.head_n + 2)
        return fail("nothing sent", optind != argc ? "too many words" : "--size is too small");
    return run();
}
