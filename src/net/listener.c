#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,       /* the system cuts it to net.core.somaxconn */
    ACCEPTS_PER_TURN = 8, /* so that a burst of connects does not starve the sessions */
    RESUME_AFTER_MS = 100,
};

static enum pt_err bind_fault(struct pt_fault *fault, int sys_errno, const char *where,
                              uint16_t port)
{
    switch (sys_errno) {
    case EADDRINUSE:
        return pt_fault_set(fault, PT_ERR_BUSY,
                            "%s is taken by another program: stop it (\"ss -ltnp\" names it) or "
                            "choose another port",
                            where);
    case EADDRNOTAVAIL:
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "%s: the address is not on this host", where);
    case EACCES:
        return pt_fault_set(fault, PT_ERR_DENIED,
                            "%s: ports below 1024 need root or CAP_NET_BIND_SERVICE (port %u)",
                            where, (unsigned)port);
    default:
        return pt_fault_errno(fault, sys_errno, "cannot listen on %s", where);
    }
}

enum pt_err net_listener_open(struct net_listener *l, const struct net_endpoint *at,
                              struct pt_fault *fault)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = net_to_sockaddr(at, &sa);
    char where[NET_ENDPOINT_SIZE];
    int on = 1;
    int fd = socket(sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    net_endpoint_format(at, where);
    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot listen on %s", where);
    PT_IGNORE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "binding tells");
    if (sa.ss_family == AF_INET6)
        PT_IGNORE(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), "binding tells");
    if (bind(fd, (struct sockaddr *)&sa, sa_len) < 0 || listen(fd, BACKLOG) < 0) {
        enum pt_err err = bind_fault(fault, errno, where, at->port);

        close(fd);
        return err;
    }
    l->fd = fd;
    l->endpoint = *at;
    sa_len = sizeof sa;
    if (getsockname(fd, (struct sockaddr *)&sa, &sa_len) == 0)
        PT_IGNORE(!net_from_sockaddr((struct sockaddr *)&sa, &l->endpoint), "it is as asked");
    return PT_ERR_OK;
}

enum pt_err net_listener_adopt(struct net_listener *l, int fd, struct pt_fault *fault)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = sizeof sa, n = sizeof(int);
    struct net_endpoint at;
    int listening = 0, flags = fcntl(fd, F_GETFL);

    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &n) < 0 || !listening ||
        getsockname(fd, (struct sockaddr *)&sa, &sa_len) < 0 ||
        !net_from_sockaddr((struct sockaddr *)&sa, &at))
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "descriptor %d from the service manager is no listening TCP socket",
                            fd);
    /* Shared by the loops: an accept that finds nothing must not wait. */
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return pt_fault_errno(fault, errno, "descriptor %d from the service manager", fd);
    *l = (struct net_listener){ fd, at };
    return PT_ERR_OK;
}

void net_listener_close(struct net_listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

/* Without a descriptor to spare the queue would stay readable and the loop spin: give up the
 * reserve, take one client to tell it, and wait a little. */
static void out_of_descriptors(struct net_acceptor *a)
{
    int fd;

    if (a->reserve >= 0)
        close(a->reserve);
    fd = accept4(a->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (a->refused)
            a->refused(a, fd);
        close(fd);
    }
    a->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    net_watch_want(&a->watch, 0);
    net_timer_start(&a->resume, RESUME_AFTER_MS * INT64_C(1000000));
}

static void on_readable(struct net_watch *w, unsigned ready)
{
    struct net_acceptor *a = PT_CONTAINER_OF(w, struct net_acceptor, watch);

    (void)ready;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa;
        socklen_t sa_len = sizeof sa;
        struct net_endpoint peer;
        int fd = accept4(w->fd, (struct sockaddr *)&sa, &sa_len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
                out_of_descriptors(a);
            /* Anything else concerns one connection that died in the queue. */
            return;
        }
        if (net_from_sockaddr((struct sockaddr *)&sa, &peer))
            a->accepted(a, fd, &peer);
        else
            close(fd);
        if (w->fd < 0)
            return; /* stopped by the callback */
    }
}

static void on_resume(struct net_timer *t)
{
    struct net_acceptor *a = PT_CONTAINER_OF(t, struct net_acceptor, resume);

    net_watch_want(&a->watch, NET_READ);
}

void net_acceptor_start(struct net_acceptor *a, struct net_loop *loop, const struct net_listener *l)
{
    a->listener = l;
    a->reserve = open("/dev/null", O_RDONLY | O_CLOEXEC);
    net_timer_init(&a->resume, loop, on_resume);
    net_watch_init(&a->watch, loop, l->fd, on_readable);
    net_watch_want(&a->watch, NET_READ);
}

void net_acceptor_stop(struct net_acceptor *a)
{
    net_watch_close(&a->watch);
    net_timer_stop(&a->resume);
    if (a->reserve >= 0)
        close(a->reserve);
    a->reserve = -1;
}
