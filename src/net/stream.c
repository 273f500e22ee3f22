#include "net/stream.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

static ssize_t code_of(int sys_errno)
{
    return sys_errno == EAGAIN || sys_errno == EWOULDBLOCK ? NET_STREAM_AGAIN : NET_STREAM_ERROR;
}

static ssize_t socket_read(struct net_stream *s, void *out, size_t n)
{
    ssize_t got;

    do
        got = recv(s->fd, out, n, 0);
    while (got < 0 && errno == EINTR);
    return got < 0 ? code_of(errno) : got;
}

static ssize_t socket_writev(struct net_stream *s, const struct iovec *iov, int count)
{
    ssize_t sent;

    /* MSG_NOSIGNAL: a peer that went away is an error code, not a signal. */
    do {
        if (count == 1) {
            sent = send(s->fd, iov->iov_base, iov->iov_len, MSG_NOSIGNAL);
        } else {
            struct msghdr m = { .msg_iov = (struct iovec *)iov, .msg_iovlen = (size_t)count };

            sent = sendmsg(s->fd, &m, MSG_NOSIGNAL);
        }
    } while (sent < 0 && errno == EINTR);
    return sent < 0 ? code_of(errno) : sent;
}

static void socket_shutdown(struct net_stream *s)
{
    PT_IGNORE(shutdown(s->fd, SHUT_WR), "the peer may be gone already");
}

static void socket_close(struct net_stream *s)
{
    if (s->fd >= 0)
        PT_IGNORE(close(s->fd), "nothing left to lose");
    s->fd = -1;
}

static int socket_leave(struct net_stream *s)
{
    int fd = s->fd;

    s->fd = -1;
    return fd;
}

static const struct net_stream_ops socket_ops = {
    .read = socket_read,
    .writev = socket_writev,
    .shutdown = socket_shutdown,
    .close = socket_close,
    .leave = socket_leave,
};

void net_stream_socket(struct net_stream *s, int fd)
{
    *s = (struct net_stream){ .ops = &socket_ops, .fd = fd };
}

/* The port is chosen at connect(): one may serve for many peers then. */
static int bind_to(int fd, const struct net_addr *from)
{
    struct net_endpoint e = { .addr = *from };
    struct sockaddr_storage address;
    socklen_t length = net_to_sockaddr(&e, &address);
    int one = 1;

    PT_IGNORE(setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one),
              "fewer ports, not wrong");
    return bind(fd, (struct sockaddr *)&address, length) < 0 ? errno : 0;
}

int net_stream_connect(struct net_stream *s, const struct net_endpoint *to,
                       const struct net_addr *from)
{
    struct sockaddr_storage address;
    socklen_t length = net_to_sockaddr(to, &address);
    int one = 1, sys_errno;
    int fd = socket(address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    net_stream_socket(s, fd);
    if (fd < 0)
        return errno;
    sys_errno = from ? bind_to(fd, from) : 0;
    if (sys_errno) {
        net_stream_close(s);
        return sys_errno;
    }
    PT_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "slower, not wrong");
    if (connect(fd, (struct sockaddr *)&address, length) < 0 && errno != EINPROGRESS)
        return errno;
    return 0;
}

int net_stream_connected(const struct net_stream *s)
{
    int sys_errno = 0;
    socklen_t n = sizeof sys_errno;

    if (getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &sys_errno, &n) < 0)
        return errno;
    return sys_errno;
}
