#include "net/linger.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* More than this from one peer after the end is not somebody who will read our reply. */
enum { DRAIN_MAX = 64 << 20, READS_PER_TURN = 16 };

struct lingering {
    struct net_watch watch;
    struct lingering *prev, *next;
    struct net_linger *owner;
    int64_t until_ns;
    uint64_t drained;
};

struct net_linger {
    struct net_loop *loop;
    struct net_timer sweep;
    struct lingering *oldest, *newest; /* all wait equally long: the oldest ends first */
    unsigned count, max;
    int64_t wait_ns;
    char waste[16384];
};

static void end(struct lingering *g)
{
    struct net_linger *l = g->owner;
    int fd = g->watch.fd;

    net_watch_close(&g->watch);
    close(fd);
    if (g->prev)
        g->prev->next = g->next;
    else
        l->oldest = g->next;
    if (g->next)
        g->next->prev = g->prev;
    else
        l->newest = g->prev;
    l->count--;
    free(g);
}

static void on_readable(struct net_watch *w, unsigned ready)
{
    struct lingering *g = PT_CONTAINER_OF(w, struct lingering, watch);

    (void)ready;
    for (int i = 0; i < READS_PER_TURN; i++) {
        ssize_t n = recv(w->fd, g->owner->waste, sizeof g->owner->waste, 0);

        if (n < 0 && errno == EAGAIN)
            return;
        if (n > 0)
            g->drained += (uint64_t)n;
        if (n <= 0 || g->drained > DRAIN_MAX) {
            end(g);
            return;
        }
        if ((size_t)n < sizeof g->owner->waste)
            return;
    }
}

static void on_sweep(struct net_timer *t)
{
    struct net_linger *l = PT_CONTAINER_OF(t, struct net_linger, sweep);

    while (l->oldest && l->oldest->until_ns <= net_loop_now(l->loop))
        end(l->oldest);
    if (l->oldest)
        net_timer_start(&l->sweep, l->oldest->until_ns - net_loop_now(l->loop));
}

struct net_linger *net_linger_new(struct net_loop *loop, unsigned max, unsigned seconds)
{
    struct net_linger *l = calloc(1, sizeof *l);

    if (!l)
        return NULL;
    l->loop = loop;
    l->max = max;
    l->wait_ns = (int64_t)seconds * 1000000000;
    net_timer_init(&l->sweep, loop, on_sweep);
    return l;
}

void net_linger_free(struct net_linger *l)
{
    if (!l)
        return;
    while (l->oldest)
        end(l->oldest);
    net_timer_stop(&l->sweep);
    free(l);
}

void net_linger_take(struct net_linger *l, int fd)
{
    struct lingering *g;

    PT_IGNORE(shutdown(fd, SHUT_WR), "the peer may be gone already");
    g = l->count < l->max ? calloc(1, sizeof *g) : NULL;
    if (!g) {
        close(fd);
        return;
    }
    g->owner = l;
    g->until_ns = net_loop_now(l->loop) + l->wait_ns;
    g->prev = l->newest;
    if (l->newest)
        l->newest->next = g;
    else
        l->oldest = g;
    l->newest = g;
    if (l->count++ == 0)
        net_timer_start(&l->sweep, l->wait_ns);
    net_watch_init(&g->watch, l->loop, fd, on_readable);
    net_watch_want(&g->watch, NET_READ);
}
