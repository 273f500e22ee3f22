#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BACKLOG = 4096,       /* the system cuts it to net.core.somaxconn */
    ACCEPTS_PER_TURN = 8, /* so that a burst of connects does not starve the sessions */
    RESUME_AFTER_MS = 20,
};

static enum pt_err bind_fault(struct pt_fault *fault, int sys_errno, const struct net_endpoint *at)
{
    char where[NET_ENDPOINT_SIZE], address[NET_ADDR_SIZE];

    net_endpoint_format(at, where);
    net_addr_format(&at->addr, address);
    switch (sys_errno) {
    case EADDRINUSE:
        return pt_fault_set(fault, PT_ERR_BUSY,
                            "%s is taken by another program: stop it (\"ss -ltnp\" names it) or "
                            "choose another port",
                            where);
    case EADDRNOTAVAIL:
        return pt_fault_set(fault, PT_ERR_NOTFOUND,
                            "%s is not an address of this host: choose one that it has (\"ip "
                            "address\" shows them), or \"all\"",
                            address);
    case EACCES:
        return pt_fault_set(fault, PT_ERR_DENIED,
                            "%s: ports below 1024 need root or CAP_NET_BIND_SERVICE (port %u)",
                            where, (unsigned)at->port);
    default:
        return pt_fault_errno(fault, sys_errno, "cannot listen on %s", where);
    }
}

static bool is_any(const struct net_addr *a)
{
    static const uint8_t none[sizeof a->octets];

    return memcmp(a->octets, none, sizeof none) == 0;
}

bool net_endpoint_overlaps(const struct net_endpoint *a, const struct net_endpoint *b)
{
    return a->port == b->port && a->addr.family == b->addr.family &&
           is_any(&a->addr) != is_any(&b->addr);
}

/* The flag counts only while somebody binds, so the others have it for that moment alone: a program
 * that comes later finds the port taken. */
static void share(int fd, const struct net_listener *const *beside, unsigned count, int on)
{
    if (count == 0)
        return;
    PT_IGNORE(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on), "binding tells");
    for (unsigned i = 0; i < count; i++)
        PT_IGNORE(setsockopt(beside[i]->fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on),
                  "binding tells");
}

/* A socket with the address; false leaves errno. */
static bool bind_to(int fd, const struct net_endpoint *at)
{
    struct sockaddr_storage sa;
    socklen_t sa_len = net_to_sockaddr(at, &sa);
    int on = 1;

    PT_IGNORE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "binding tells");
    if (sa.ss_family == AF_INET6)
        PT_IGNORE(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on), "binding tells");
    return bind(fd, (struct sockaddr *)&sa, sa_len) == 0;
}

enum pt_err net_listener_bind(struct net_listener *l, const struct net_endpoint *at,
                              const struct net_listener *const *beside, unsigned count,
                              struct pt_fault *fault)
{
    int family = at->addr.family == NET_IPV4 ? AF_INET : AF_INET6, error;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_storage sa;
    socklen_t sa_len = sizeof sa;
    bool done;

    if (fd < 0)
        return bind_fault(fault, errno, at);
    share(fd, beside, count, 1);
    done = bind_to(fd, at);
    error = errno;
    share(fd, beside, count, 0);
    if (!done) {
        close(fd);
        return bind_fault(fault, error, at);
    }
    *l = (struct net_listener){ .fd = fd, .endpoint = *at };
    if (getsockname(fd, (struct sockaddr *)&sa, &sa_len) == 0)
        PT_IGNORE(!net_from_sockaddr((struct sockaddr *)&sa, &l->endpoint), "it is as asked");
    return PT_ERR_OK;
}

enum pt_err net_listener_listen(struct net_listener *l, const struct net_listener *const *beside,
                                unsigned count, struct pt_fault *fault)
{
    int error;

    /* The system looks again whether the address is free. */
    share(l->fd, beside, count, 1);
    l->listening = listen(l->fd, BACKLOG) == 0;
    error = errno;
    share(l->fd, beside, count, 0);
    return l->listening ? PT_ERR_OK : bind_fault(fault, error, &l->endpoint);
}

enum pt_err net_listener_open(struct net_listener *l, const struct net_endpoint *at,
                              struct pt_fault *fault)
{
    enum pt_err err = net_listener_bind(l, at, NULL, 0, fault);

    if (err == PT_ERR_OK)
        err = net_listener_listen(l, NULL, 0, fault);
    else
        l->fd = -1;
    if (err != PT_ERR_OK)
        net_listener_close(l);
    return err;
}

/* Closing a listening socket resets what is in its queue, and what completes between the last
 * accept and the close. So the kernel first drops every segment with SYN and without ACK. */
void net_listener_retire(const struct net_listener *l)
{
    enum { FLAGS_AT = 13, SYN = 0x02, ACK = 0x10 };
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_AT),
        BPF_STMT(BPF_ALU | BPF_AND | BPF_K, SYN | ACK),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog filter = { PT_ARRAY_LEN(program), program };

    PT_IGNORE(setsockopt(l->fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof filter),
              "then a client may come in the last moment and be reset");
}

void net_listener_revive(const struct net_listener *l)
{
    int none = 0;

    PT_IGNORE(setsockopt(l->fd, SOL_SOCKET, SO_DETACH_FILTER, &none, sizeof none),
              "there may be none");
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
    *l = (struct net_listener){ fd, at, true };
    return PT_ERR_OK;
}

void net_listener_close(struct net_listener *l)
{
    if (l->fd >= 0)
        close(l->fd);
    l->fd = -1;
}

static int new_reserve(void)
{
    return open("/dev/null", O_RDONLY | O_CLOEXEC);
}

/* Gives up the reserve for one client, to tell it. False: nobody waits, or it is gone. */
static bool turn_away_one(struct net_acceptor *a)
{
    int fd;

    if (a->reserve < 0)
        return false;
    close(a->reserve);
    fd = accept4(a->watch.fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
        if (a->refused)
            a->refused(a, fd);
        close(fd);
    }
    a->reserve = new_reserve();
    return fd >= 0;
}

/* Without a descriptor to spare the queue would stay readable and the loop spin: after telling some
 * clients, wait a little. */
static void out_of_descriptors(struct net_acceptor *a)
{
    int n = 0;

    while (n < ACCEPTS_PER_TURN && turn_away_one(a))
        n++;
    net_watch_want(&a->watch, 0);
    net_timer_start(&a->resume, RESUME_AFTER_MS * INT64_C(1000000));
}

static bool short_of_something(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* Accepts up to `max`; errno says why it ended before. */
static bool take(struct net_acceptor *a, int max)
{
    struct net_watch *w = &a->watch;

    for (int i = 0; i < max; i++) {
        struct sockaddr_storage sa;
        socklen_t sa_len = sizeof sa;
        struct net_endpoint peer;
        int fd = accept4(w->fd, (struct sockaddr *)&sa, &sa_len, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd < 0)
            return false;
        if (net_from_sockaddr((struct sockaddr *)&sa, &peer))
            a->accepted(a, fd, &peer);
        else
            close(fd);
        if (w->fd < 0)
            return true; /* stopped by the callback */
    }
    return true;
}

static void on_readable(struct net_watch *w, unsigned ready)
{
    struct net_acceptor *a = PT_CONTAINER_OF(w, struct net_acceptor, watch);

    (void)ready;
    /* An error that is no shortage concerns one connection that died in the queue. */
    if (!take(a, ACCEPTS_PER_TURN) && short_of_something(errno))
        out_of_descriptors(a);
}

void net_acceptor_take_all(struct net_acceptor *a)
{
    int taken = 0;

    while (taken++ < BACKLOG && (take(a, 1) || errno == ECONNABORTED))
        ;
    if (!short_of_something(errno))
        return;
    while (taken++ < BACKLOG && turn_away_one(a))
        ;
}

static void on_resume(struct net_timer *t)
{
    struct net_acceptor *a = PT_CONTAINER_OF(t, struct net_acceptor, resume);

    if (a->reserve < 0)
        a->reserve = new_reserve();
    net_watch_want(&a->watch, NET_READ);
}

void net_acceptor_start(struct net_acceptor *a, struct net_loop *loop, const struct net_listener *l)
{
    a->listener = l;
    a->reserve = new_reserve();
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
