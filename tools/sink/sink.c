#include <errno.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "session.h"

/*
 * postern-sink: an SMTP server that takes every message and tells what it took. The next hop of
 * ./dev demo and of load tests. One thread, no disk unless asked.
 */

enum { EVENTS = 256 };

static const char usage[] =
    "usage: postern-sink [--listen HOST:PORT] [--store MAILDIR] [--tls FILE] [--quiet]\n"
    "\n"
    "Takes every message sent to it by SMTP and prints a line for each, and the totals when it is\n"
    "ended by SIGINT or SIGTERM. The first line says where it listens.\n"
    "\n"
    "  --listen HOST:PORT  where to listen (127.0.0.1:2526); port 0 picks a free one\n"
    "  --store MAILDIR     keep the messages as files there, octet for octet\n"
    "  --tls FILE          offer STARTTLS with certificate and key out of that PEM file\n"
    "  --quiet             no line per message\n";

static int fail(const char *what)
{
    fprintf(stderr, "postern-sink: %s: %s\n", what, strerrordesc_np(errno));
    return 1;
}

/* Splits "HOST:PORT" or "[HOST]:PORT" in place. */
static bool split(char *where, char **host, char **port)
{
    char *colon = strrchr(where, ':');

    if (!colon || colon == where)
        return false;
    *colon = 0;
    *host = where;
    *port = colon + 1;
    if (*where == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        *host = where + 1;
    }
    return true;
}

static int listen_on(char *where)
{
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICHOST | AI_NUMERICSERV };
    struct addrinfo *found = NULL;
    char *host, *port;
    int fd = -1, one = 1;

    if (!split(where, &host, &port) || getaddrinfo(host, port, &hints, &found) != 0) {
        errno = EINVAL;
        return -1;
    }
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(fd, found->ai_addr, found->ai_addrlen) < 0 || listen(fd, 1024) < 0) {
            int saved = errno;

            close(fd);
            errno = saved;
            fd = -1;
        }
    }
    freeaddrinfo(found);
    return fd;
}

static void say_where(int fd)
{
    struct sockaddr_storage at;
    socklen_t n = sizeof at;
    char host[64], port[8];

    if (getsockname(fd, (struct sockaddr *)&at, &n) == 0 &&
        getnameinfo((struct sockaddr *)&at, n, host, sizeof host, port, sizeof port,
                    NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        printf(at.ss_family == AF_INET6 ? "listening [%s]:%s\n" : "listening %s:%s\n", host, port);
    fflush(stdout);
}

static void watch(int epoll, int fd, uint32_t events, void *who, int operation)
{
    struct epoll_event e = { .events = events, .data.ptr = who };

    epoll_ctl(epoll, operation, fd, &e);
}

static void accept_all(int epoll, int listener, struct sink_options *options)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct session *s = session_new(fd, options);

        if (!s) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        if (session_step(s))
            watch(epoll, fd, session_wants_write(s) ? EPOLLOUT : EPOLLIN, s, EPOLL_CTL_ADD);
        else
            session_free(s);
    }
}

static void step(int epoll, struct session *s)
{
    bool wrote = session_wants_write(s);

    if (!session_step(s))
        session_free(s);
    else if (session_wants_write(s) != wrote)
        watch(epoll, s->fd, wrote ? EPOLLIN : EPOLLOUT, s, EPOLL_CTL_MOD);
}

/* Serves until a signal asks to end. */
static int serve(int listener, struct sink_options *options)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC), signals;
    struct epoll_event events[EVENTS];
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (epoll < 0 || signals < 0)
        return fail("cannot start");
    watch(epoll, listener, EPOLLIN, &listener, EPOLL_CTL_ADD);
    watch(epoll, signals, EPOLLIN, &signals, EPOLL_CTL_ADD);
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);

        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == &signals)
                return 0;
            if (events[i].data.ptr == &listener)
                accept_all(epoll, listener, options);
            else
                step(epoll, events[i].data.ptr);
        }
    }
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        { "listen", required_argument, NULL, 'l' }, { "store", required_argument, NULL, 's' },
        { "tls", required_argument, NULL, 't' },    { "quiet", no_argument, NULL, 'q' },
        { "help", no_argument, NULL, 'h' },         { NULL, 0, NULL, 0 }
    };
    char standard[] = "127.0.0.1:2526", *where = standard;
    struct sink_options options = { 0 };
    const char *certificate = NULL;
    int option, listener, result;

    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        if (option == 'l')
            where = optarg;
        else if (option == 's')
            options.store = optarg;
        else if (option == 't')
            certificate = optarg;
        else if (option == 'q')
            options.quiet = true;
        else {
            fputs(usage, option == 'h' ? stdout : stderr);
            return option == 'h' ? 0 : 2;
        }
    }
    if (optind != argc) {
        fputs(usage, stderr);
        return 2;
    }
    if (options.store && !store_prepare(options.store))
        return 1;
    if (certificate && !(options.tls = secure_open(certificate)))
        return 1;
    signal(SIGPIPE, SIG_IGN);
    listener = listen_on(where);
    if (listener < 0)
        return fail("cannot listen");
    say_where(listener);
    result = serve(listener, &options);
    SSL_CTX_free(options.tls);
    printf("%llu messages, %llu octets, %llu connections\n",
           (unsigned long long)options.totals.messages, (unsigned long long)options.totals.octets,
           (unsigned long long)options.totals.connections);
    return result;
}
