#include <stdlib.h>

#include "gateway/loop.h"

/*
 * Which listeners a loop accepts from, and how a listener ends.
 *
 * Closing a listening socket resets the clients in its queue. So a listener that is not wanted any
 * more first takes no new handshakes (net_listener_retire()), and the first loop goes on accepting
 * from it for a moment, in which the handshakes that are under way complete. The moment is shorter
 * than the second after which a client repeats its SYN: that one then finds the port closed, or
 * whoever listens there now.
 *
 * The last reference closes the socket. The first loop gives up its own only when nobody but the
 * gateway's list has one besides, and under the lock, so that whoever finds a listener in that list
 * can have it in service again.
 */
enum { RETIRE_MS = 700, RETIRE_AGAIN_MS = 20 };

/* ---- one acceptor ---- */

static void start(struct gateway_loop *l, struct gateway_listener *listener, int64_t retires_ns)
{
    struct gateway_acceptor *a = calloc(1, sizeof *a);

    if (!a)
        return; /* the other loops accept */
    a->loop = l;
    a->listener = gateway_listener_ref(listener);
    a->retires_ns = retires_ns;
    a->acceptor.accepted = gateway_loop_accepted;
    a->acceptor.refused = gateway_loop_turned_away;
    a->next = l->acceptors;
    l->acceptors = a;
    net_acceptor_start(&a->acceptor, l->loop, &listener->listener);
}

/* Unlinks and frees it; *at is the next one then. */
static void stop(struct gateway_acceptor **at)
{
    struct gateway_acceptor *a = *at;

    *at = a->next;
    net_acceptor_stop(&a->acceptor);
    gateway_listener_unref(a->listener);
    free(a);
}

static struct gateway_acceptor *find(struct gateway_loop *l, const struct gateway_listener *wanted)
{
    struct gateway_acceptor *a = l->acceptors;

    while (a && a->listener != wanted)
        a = a->next;
    return a;
}

bool gateway_listener_among(struct gateway_listener *const *list, unsigned count,
                            const struct gateway_listener *l)
{
    for (unsigned i = 0; i < count; i++)
        if (list[i] == l)
            return true;
    return false;
}

/* ---- those that retire ---- */

static unsigned index_of(const struct gateway *g, const struct gateway_listener *l)
{
    unsigned i = 0;

    while (i < g->retiring_count && g->retiring[i] != l)
        i++;
    return i;
}

static void forget(struct gateway *g, unsigned i)
{
    memmove(&g->retiring[i], &g->retiring[i + 1],
            (--g->retiring_count - i) * sizeof(struct gateway_listener *));
}

void gateway_accept_retire(struct gateway *g, struct gateway_listener *l)
{
    net_listener_retire(&l->listener);
    if (g->retiring_count == GATEWAY_RETIRING_MAX) {
        gateway_listener_unref(g->retiring[0]);
        forget(g, 0);
    }
    g->retiring[g->retiring_count++] = gateway_listener_ref(l);
}

void gateway_accept_revive(struct gateway *g, struct gateway_listener *l)
{
    unsigned i = index_of(g, l);

    if (i == g->retiring_count)
        return;
    net_listener_revive(&l->listener);
    forget(g, i);
    gateway_listener_unref(l);
}

/* True: the acceptor is gone, and with it the listener. */
static bool end_retired(struct gateway_loop *l, struct gateway_acceptor **at)
{
    struct gateway_listener *listener = (*at)->listener;
    struct gateway *g = l->gateway;
    unsigned i, others;

    net_acceptor_take_all(&(*at)->acceptor);
    pthread_mutex_lock(&g->lock);
    i = index_of(g, listener);
    others = atomic_load(&listener->refs) - (i < g->retiring_count ? 2 : 1);
    if (others == 0) {
        if (i < g->retiring_count) {
            forget(g, i);
            gateway_listener_unref(listener);
        }
        stop(at);
    }
    pthread_mutex_unlock(&g->lock);
    return others == 0;
}

static void on_retire(struct net_timer *t)
{
    struct gateway_loop *l = PT_CONTAINER_OF(t, struct gateway_loop, retire);
    int64_t now = net_loop_now(l->loop), next = 0;

    for (struct gateway_acceptor **at = &l->acceptors; *at;) {
        int64_t due = (*at)->retires_ns;

        if (due && due <= now) {
            if (end_retired(l, at))
                continue;
            due = (*at)->retires_ns = now + RETIRE_AGAIN_MS * INT64_C(1000000);
        }
        if (due && (!next || due < next))
            next = due;
        at = &(*at)->next;
    }
    if (next)
        net_timer_start(t, next - now);
}

/* ---- a loop ---- */

void gateway_accept_take(struct gateway_loop *l, struct gateway_listener *const *listeners,
                         unsigned count, struct gateway_listener *const *retiring,
                         unsigned retiring_count)
{
    int64_t retires = net_loop_now(l->loop) + RETIRE_MS * INT64_C(1000000);

    if (net_loop_index(l->loop) != 0)
        retiring_count = 0;
    for (struct gateway_acceptor **at = &l->acceptors; *at;) {
        if (gateway_listener_among(listeners, count, (*at)->listener))
            (*at)->retires_ns = 0;
        else if (gateway_listener_among(retiring, retiring_count, (*at)->listener))
            (*at)->retires_ns = (*at)->retires_ns ? (*at)->retires_ns : retires;
        else if (!(*at)->retires_ns) {
            stop(at);
            continue;
        }
        at = &(*at)->next;
    }
    for (unsigned i = 0; i < count; i++)
        if (!find(l, listeners[i]))
            start(l, listeners[i], 0);
    for (unsigned i = 0; i < retiring_count; i++)
        if (!find(l, retiring[i]))
            start(l, retiring[i], retires);
    if (retiring_count)
        on_retire(&l->retire);
}

void gateway_accept_end(struct gateway_loop *l)
{
    while (l->acceptors) {
        net_acceptor_take_all(&l->acceptors->acceptor);
        stop(&l->acceptors);
    }
    net_timer_stop(&l->retire);
}

void gateway_accept_init(struct gateway_loop *l)
{
    net_timer_init(&l->retire, l->loop, on_retire);
}

void gateway_accept_done(struct gateway_loop *l)
{
    while (l->acceptors)
        stop(&l->acceptors);
    net_timer_stop(&l->retire);
}
