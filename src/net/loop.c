#include "net/loop.h"

#include <event2/event.h>
#include <event2/event_struct.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock.h"

enum { HOOKS_MAX = 8 };

_Static_assert(sizeof(struct event) <= sizeof((struct net_watch *)0)->event, "room for an event");

struct net_loop {
    struct event_base *base;
    struct mailbox mailbox;
    struct event mailbox_event;
    struct event turn_limit; /* ends a turn that was given a time */
    int64_t now;
    unsigned index;
    _Atomic bool stop;
    unsigned hook_count;
    struct {
        void (*fn)(void *ctx);
        void *ctx;
    } hooks[HOOKS_MAX];
};

static void on_mail(evutil_socket_t fd, short what, void *ctx)
{
    struct net_loop *l = ctx;

    (void)fd;
    (void)what;
    mailbox_drain(&l->mailbox);
}

/* Being run is its work: the loop returns after what ran. */
static void on_turn_limit(evutil_socket_t fd, short what, void *ctx)
{
    (void)fd;
    (void)what;
    (void)ctx;
}

struct net_loop *net_loop_new(unsigned index)
{
    struct net_loop *l = calloc(1, sizeof *l);
    struct event_config *config = event_config_new();

    if (!l || !config)
        goto fail;
    /* One thread per base and no signals: no locks. No change list: it would take a descriptor off
     * the kernel's list after it was closed, when another loop may have its number. */
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK);
    event_config_set_flag(config, EVENT_BASE_FLAG_NO_CACHE_TIME);
    l->base = event_base_new_with_config(config);
    l->mailbox.fd = -1;
    if (!l->base || !mailbox_init(&l->mailbox))
        goto fail;
    event_config_free(config);
    l->index = index;
    event_assign(&l->mailbox_event, l->base, mailbox_fd(&l->mailbox), EV_READ | EV_PERSIST, on_mail,
                 l);
    event_add(&l->mailbox_event, NULL);
    evtimer_assign(&l->turn_limit, l->base, on_turn_limit, NULL);
    return l;
fail:
    if (config)
        event_config_free(config);
    if (l && l->base)
        event_base_free(l->base);
    free(l);
    return NULL;
}

void net_loop_free(struct net_loop *l)
{
    if (!l)
        return;
    event_del(&l->mailbox_event);
    mailbox_done(&l->mailbox);
    event_base_free(l->base);
    free(l);
}

void net_loop_turn(struct net_loop *l, int wait_ms)
{
    if (wait_ms > 0) {
        struct timeval tv = { wait_ms / 1000, wait_ms % 1000 * 1000 };

        evtimer_add(&l->turn_limit, &tv);
    }
    l->now = 0;
    event_base_loop(l->base, wait_ms ? EVLOOP_ONCE : EVLOOP_ONCE | EVLOOP_NONBLOCK);
    if (wait_ms > 0)
        evtimer_del(&l->turn_limit);
    for (unsigned i = 0; i < l->hook_count; i++)
        l->hooks[i].fn(l->hooks[i].ctx);
    l->now = 0;
}

void net_loop_run(struct net_loop *l)
{
    while (!atomic_load_explicit(&l->stop, memory_order_acquire))
        net_loop_turn(l, -1);
}

void net_loop_stop(struct net_loop *l)
{
    atomic_store_explicit(&l->stop, true, memory_order_release);
    mailbox_wake(&l->mailbox);
}

unsigned net_loop_index(const struct net_loop *l)
{
    return l->index;
}

void net_loop_post(struct net_loop *l, struct mail *mail)
{
    mailbox_post(&l->mailbox, mail);
}

int64_t net_loop_now(const struct net_loop *l)
{
    /* The first reader in a turn takes the time for all. */
    if (l->now == 0)
        ((struct net_loop *)l)->now = clock_mono_ns();
    return l->now;
}

void net_loop_on_turn(struct net_loop *l, void (*hook)(void *ctx), void *ctx)
{
    pt_assert(l->hook_count < HOOKS_MAX);
    l->hooks[l->hook_count].fn = hook;
    l->hooks[l->hook_count++].ctx = ctx;
}

/* ---- descriptors ---- */

static void on_ready(evutil_socket_t fd, short what, void *ctx)
{
    struct net_watch *w = ctx;

    (void)fd;
    w->fn(w, (what & EV_READ ? NET_READ : 0u) | (what & EV_WRITE ? NET_WRITE : 0u));
}

void net_watch_init(struct net_watch *w, struct net_loop *l, int fd,
                    void (*fn)(struct net_watch *w, unsigned ready))
{
    w->loop = l;
    w->fd = fd;
    w->fn = fn;
    w->wanted = 0;
}

void net_watch_want(struct net_watch *w, unsigned events)
{
    struct event *ev = (struct event *)w->event;

    if (events == w->wanted)
        return;
    if (w->wanted)
        event_del(ev);
    w->wanted = (uint8_t)events;
    if (!events)
        return;
    event_assign(ev, w->loop->base, w->fd,
                 (short)((events & NET_READ ? EV_READ : 0) | (events & NET_WRITE ? EV_WRITE : 0) |
                         EV_PERSIST),
                 on_ready, w);
    event_add(ev, NULL);
}

void net_watch_fire(struct net_watch *w)
{
    pt_assert(w->wanted & NET_READ);
    event_active((struct event *)w->event, EV_READ, 0);
}

void net_watch_close(struct net_watch *w)
{
    net_watch_want(w, 0);
    w->fd = -1;
}

/* ---- timers ---- */

static void on_timer(evutil_socket_t fd, short what, void *ctx)
{
    struct net_timer *t = ctx;

    (void)fd;
    (void)what;
    t->fn(t);
}

void net_timer_init(struct net_timer *t, struct net_loop *l, void (*fn)(struct net_timer *t))
{
    t->loop = l;
    t->fn = fn;
    evtimer_assign((struct event *)t->event, l->base, on_timer, t);
}

void net_timer_start(struct net_timer *t, int64_t after_ns)
{
    int64_t us = after_ns > 0 ? after_ns / 1000 : 0;
    struct timeval tv = { us / 1000000, us % 1000000 };

    evtimer_add((struct event *)t->event, &tv);
}

void net_timer_stop(struct net_timer *t)
{
    evtimer_del((struct event *)t->event);
}
