#include "net/probe.h"

#include <sys/socket.h>
#include <unistd.h>

enum { TRIES = 4, TRY_MS = 1000, HEADER_SIZE = 12 };

bool net_probe_is_answer(const uint8_t *octets, size_t n, uint16_t id)
{
    return n >= HEADER_SIZE && (octets[0] << 8 | octets[1]) == id && (octets[2] & 0x80);
}

static void close_one(struct net_probe_server *s)
{
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void open_one(struct net_probe_server *s)
{
    struct sockaddr_storage to;
    socklen_t n = net_to_sockaddr(&s->endpoint, &to);

    s->fd = socket(to.ss_family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (s->fd >= 0 && connect(s->fd, (const struct sockaddr *)&to, n) != 0)
        close_one(s);
}

void net_probe_begin(struct net_probe *p, const struct net_endpoint *servers, unsigned count,
                     struct rng *rng, int64_t now_ns)
{
    net_probe_stop(p);
    p->count = PT_MIN(count, (unsigned)NET_SERVERS_MAX);
    for (unsigned i = 0; i < p->count; i++) {
        p->servers[i] =
            (struct net_probe_server){ .endpoint = servers[i], .id = (uint16_t)rng_next(rng) };
        open_one(&p->servers[i]);
    }
    p->sent = 0;
    p->next_ns = now_ns;
}

/* Which name servers serve the root: each resolver knows, and whoever does not will say so. */
static void send_one(struct net_probe_server *s)
{
    const uint8_t question[] = { (uint8_t)(s->id >> 8),
                                 (uint8_t)s->id,
                                 1, /* recursion desired */
                                 0,
                                 0,
                                 1, /* one question */
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0,
                                 0, /* the root */
                                 0,
                                 2, /* NS */
                                 0,
                                 1 };

    if (s->fd >= 0 && !s->answered)
        PT_IGNORE(send(s->fd, question, sizeof question, MSG_NOSIGNAL) < 0, "it is sent again");
}

static void read_one(struct net_probe_server *s)
{
    uint8_t octets[512];
    ssize_t n;

    while (s->fd >= 0 && !s->answered && (n = recv(s->fd, octets, sizeof octets, 0)) >= 0)
        s->answered = net_probe_is_answer(octets, (size_t)n, s->id);
}

unsigned net_probe_poll(const struct net_probe *p, struct pollfd *fds)
{
    unsigned n = 0;

    for (unsigned i = 0; i < p->count; i++)
        if (p->servers[i].fd >= 0 && !p->servers[i].answered)
            fds[n++] = (struct pollfd){ p->servers[i].fd, POLLIN, 0 };
    return n;
}

bool net_probe_step(struct net_probe *p, int64_t now_ns)
{
    bool all = true;

    if (p->next_ns == INT64_MAX)
        return false;
    for (unsigned i = 0; i < p->count; i++) {
        read_one(&p->servers[i]);
        all = all && p->servers[i].answered;
    }
    if (!all && now_ns < p->next_ns)
        return false;
    if (all || p->sent == TRIES) {
        net_probe_stop(p);
        return true;
    }
    for (unsigned i = 0; i < p->count; i++)
        send_one(&p->servers[i]);
    p->sent++;
    p->next_ns = now_ns + TRY_MS * INT64_C(1000000);
    return false;
}

void net_probe_stop(struct net_probe *p)
{
    for (unsigned i = 0; i < p->count; i++)
        close_one(&p->servers[i]);
    p->next_ns = INT64_MAX;
}
