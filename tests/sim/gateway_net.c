#include "gateway_net.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_world.h"
#include "net/resolver.h"
#include "net/stream.h"

enum { FD_FIRST = 1000, HOOKS_MAX = 8, SMTP_PORT = 25 };
static const int64_t ms_ns = 1000000;

static void *must(void *p)
{
    pt_assert(p);
    return p;
}

/* ---- loops ---- */

struct net_loop *net_loop_new(unsigned index)
{
    struct net_loop *l = must(calloc(1, sizeof *l));

    l->index = index;
    l->last = &l->first;
    return l;
}

void net_loop_free(struct net_loop *l)
{
    pt_assert(!l->first);
    free(l);
}

/* Nothing in the simulation has a thread of its own. */
void net_loop_run(struct net_loop *l)
{
    (void)l;
    pt_assert(false);
}

void net_loop_stop(struct net_loop *l)
{
    (void)l;
    pt_assert(false);
}

unsigned net_loop_index(const struct net_loop *l)
{
    return l->index;
}

int64_t net_loop_now(const struct net_loop *l)
{
    (void)l;
    return world->net.now_ns;
}

void net_loop_post(struct net_loop *l, struct mail *mail)
{
    mail->next = NULL;
    *l->last = mail;
    l->last = &mail->next;
}

void net_loop_on_turn(struct net_loop *l, void (*hook)(void *ctx), void *ctx)
{
    pt_assert(l->hook_count < HOOKS_MAX);
    l->hooks[l->hook_count].fn = hook;
    l->hooks[l->hook_count++].ctx = ctx;
}

static void run_mail(struct net_loop *l)
{
    struct mail *mail = l->first;

    l->first = mail->next;
    if (!l->first)
        l->last = &l->first;
    mail->run(mail);
}

static void run_hooks(struct net_loop *l)
{
    l->woken = false;
    for (unsigned i = 0; i < l->hook_count; i++)
        l->hooks[i].fn(l->hooks[i].ctx);
}

/* ---- timers ---- */

struct timer_state {
    int64_t at_ns;
    bool armed;
};

static struct timer_state *state_of(struct net_timer *t)
{
    _Static_assert(sizeof(struct timer_state) <= sizeof t->event, "room for it");
    return (struct timer_state *)t->event;
}

void net_timer_init(struct net_timer *t, struct net_loop *l, void (*fn)(struct net_timer *t))
{
    t->loop = l;
    t->fn = fn;
    *state_of(t) = (struct timer_state){ .armed = false };
}

void net_timer_stop(struct net_timer *t)
{
    struct sim_net *n = &world->net;
    unsigned i = 0;

    if (!state_of(t)->armed)
        return;
    state_of(t)->armed = false;
    while (n->timers[i] != t)
        i++;
    n->timers[i] = n->timers[--n->timer_count];
}

void net_timer_start(struct net_timer *t, int64_t after_ns)
{
    struct sim_net *n = &world->net;

    net_timer_stop(t);
    pt_assert(n->timer_count < TIMERS_MAX);
    *state_of(t) = (struct timer_state){ n->now_ns + PT_MAX(after_ns, 0), true };
    n->timers[n->timer_count++] = t;
}

/* ---- packets ---- */

static void push(struct way *w, enum packet_kind kind, const char *octets, size_t n, int64_t at_ns)
{
    struct packet *p = must(malloc(sizeof *p + n));

    w->last_ns = PT_MAX(w->last_ns, at_ns);
    *p = (struct packet){ .at_ns = w->last_ns, .kind = (uint8_t)kind, .n = (uint32_t)n };
    if (n)
        memcpy(p->octets, octets, n);
    if (w->last)
        w->last->next = p;
    else
        w->first = p;
    w->last = p;
}

static struct packet *pop(struct way *w)
{
    struct packet *p = w->first;

    w->first = p->next;
    if (!w->first)
        w->last = NULL;
    return p;
}

static void clear(struct way *w)
{
    while (w->first)
        free(pop(w));
}

static int64_t latency(void)
{
    return world->net.now_ns + (int64_t)below(LATENCY_MS * 1000 + 1) * 1000;
}

/* ---- links ---- */

static struct link *link_of(int fd)
{
    struct link *l = world->net.links[fd - FD_FIRST];

    pt_assert(l);
    return l;
}

static void link_free(struct link *l)
{
    unsigned i = 0;

    while (world->net.links[i] != l)
        i++;
    world->net.links[i] = NULL;
    clear(&l->to_hop);
    clear(&l->to_client);
    buf_done(&l->received);
    free(l);
}

bool link_exists(const struct link *l)
{
    for (unsigned i = 0; i < LINKS_MAX; i++)
        if (world->net.links[i] == l)
            return true;
    return false;
}

void link_send(struct link *l, const char *octets, size_t n, int64_t at_ns)
{
    while (n && !l->client_closed && !l->broken) {
        size_t part = one_in(4) ? 1 + below(n) : n;

        push(&l->to_client, PACKET_OCTETS, octets, part, PT_MAX(latency(), at_ns));
        octets += part;
        n -= part;
    }
}

void link_end(struct link *l, enum packet_kind kind, int64_t at_ns)
{
    push(&l->to_client, kind, NULL, 0, PT_MAX(latency(), at_ns));
}

void link_break(struct link *l)
{
    clear(&l->to_hop);
    clear(&l->to_client);
    hop_forget(l);
    l->in_flight = 0;
    if (l->client_closed) {
        link_free(l);
        return;
    }
    buf_clear(&l->received);
    l->broken = ECONNRESET;
}

/* ---- streams ---- */

static ssize_t link_read(struct net_stream *s, void *out, size_t n)
{
    struct link *l = link_of(s->fd);
    size_t part;

    if (world_is_dead())
        return NET_STREAM_AGAIN;
    if (l->received.n) {
        part = PT_MIN(n, l->received.n);
        if (one_in(4))
            part = 1 + below(part);
        memcpy(out, l->received.p, part);
        buf_drop(&l->received, part);
        l->read += part;
        hop_was_read(l);
        return (ssize_t)part;
    }
    if (l->broken) {
        errno = l->broken;
        return NET_STREAM_ERROR;
    }
    return l->ended ? 0 : NET_STREAM_AGAIN;
}

static ssize_t link_writev(struct net_stream *s, const struct iovec *iov, int count)
{
    struct link *l = link_of(s->fd);
    size_t room = WINDOW - l->in_flight, taken = 0;
    struct buf b;

    if (world_is_dead())
        return NET_STREAM_AGAIN;
    if (l->broken) {
        errno = EPIPE;
        return NET_STREAM_ERROR;
    }
    if (room && one_in(5))
        room = 1 + below(room);
    buf_init(&b, WINDOW);
    for (int i = 0; i < count && taken < room; i++) {
        size_t part = PT_MIN(iov[i].iov_len, room - taken);

        buf_add(&b, iov[i].iov_base, part);
        taken += part;
    }
    if (taken)
        push(&l->to_hop, PACKET_OCTETS, b.p, taken, latency());
    buf_done(&b);
    l->in_flight += (uint32_t)taken;
    return taken ? (ssize_t)taken : NET_STREAM_AGAIN;
}

static void link_shutdown(struct net_stream *s)
{
    push(&link_of(s->fd)->to_hop, PACKET_END, NULL, 0, latency());
}

static void link_close(struct net_stream *s)
{
    struct link *l;

    if (s->fd < 0)
        return;
    l = link_of(s->fd);
    s->fd = -1;
    l->client_closed = true;
    l->closed_us = world_is_dead() ? 0 : mono_us();
    l->watch = NULL;
    hop_client_gone(l);
    clear(&l->to_client);
    /* A machine that loses power takes what was on its way with it, now and then. */
    if (world_is_dead() && one_in(3))
        clear(&l->to_hop);
    if (!l->talk || l->stalled) {
        hop_forget(l);
        link_free(l);
    } else {
        push(&l->to_hop, PACKET_END, NULL, 0, latency());
    }
}

static const struct net_stream_ops link_ops = {
    .read = link_read,
    .writev = link_writev,
    .shutdown = link_shutdown,
    .close = link_close,
};

static int new_link(unsigned hop)
{
    for (int i = 0; i < LINKS_MAX; i++) {
        struct link *l;

        if (world->net.links[i])
            continue;
        l = world->net.links[i] = must(calloc(1, sizeof *l));
        buf_init(&l->received, 1 << 20);
        l->hop = hop;
        l->connecting = true;
        l->decided_ns = latency();
        return FD_FIRST + i;
    }
    return -1;
}

int net_stream_connect(struct net_stream *s, const struct net_endpoint *to,
                       const struct net_addr *from)
{
    unsigned hop = (unsigned)to->addr.octets[3] - 1;
    const struct sim_hop *h = &world->hops[hop % HOPS];
    struct link *l;

    pt_assert(hop < HOPS && to->port == SMTP_PORT);
    s->ops = &link_ops;
    s->fd = world_is_dead() || (!world->calm && !h->saint && one_in(200)) ? -1 : new_link(hop);
    if (s->fd < 0)
        return EMFILE;
    l = link_of(s->fd);
    if (h->unreachable) {
        l->connect_errno = l->broken = EHOSTUNREACH;
        return EHOSTUNREACH;
    }
    if (h->down)
        l->connect_errno = l->broken = ECONNREFUSED;
    if (h->black_hole)
        l->decided_ns = INT64_MAX;
    return 0;
}

int net_stream_connected(const struct net_stream *s)
{
    return link_of(s->fd)->connect_errno;
}

/* ---- watches ---- */

void net_watch_init(struct net_watch *w, struct net_loop *l, int fd,
                    void (*fn)(struct net_watch *w, unsigned ready))
{
    w->loop = l;
    w->fd = fd;
    w->fn = fn;
    w->wanted = 0;
    link_of(fd)->watch = w;
}

void net_watch_want(struct net_watch *w, unsigned events)
{
    w->wanted = (uint8_t)events;
}

/* Nothing lies above a link that could keep octets back. */
void net_watch_fire(struct net_watch *w)
{
    (void)w;
    pt_assert(false);
}

void net_watch_close(struct net_watch *w)
{
    if (w->fd >= 0 && link_of(w->fd)->watch == w)
        link_of(w->fd)->watch = NULL;
    w->wanted = 0;
    w->fd = -1;
}

static unsigned readiness(const struct link *l)
{
    unsigned ready = 0;

    if (!l->watch || !l->watch->wanted || l->connecting)
        return 0;
    if (l->received.n || l->ended || l->broken)
        ready |= NET_READ;
    if (l->in_flight < WINDOW || l->broken)
        ready |= NET_WRITE;
    return ready & l->watch->wanted;
}

/* ---- the DNS ---- */

void net_resolve(struct net_resolver *r, struct net_query *q)
{
    struct sim_net *n = &world->net;

    (void)r;
    pt_assert(n->question_count < QUESTIONS_MAX);
    n->questions[n->question_count++] =
        (struct question){ n->now_ns + (int64_t)below(1500) * ms_ns, q };
}

void net_query_clear(struct net_query *q)
{
    free(q->targets);
    q->targets = NULL;
    q->target_count = 0;
}

static void add_target(struct net_query *q, unsigned hop)
{
    struct net_target *t = &q->targets[q->target_count++];

    *t = (struct net_target){ .addr = { .family = NET_IPV4, .octets = { 10, 0, 0 } } };
    t->addr.octets[3] = (uint8_t)(hop + 1);
    snprintf(t->host, sizeof t->host, "hop%u.example", hop);
}

/* "hop3.example" has one address; the exchangers of "d2.example" are hops 2 and 3. */
static void answer(struct mail *mail)
{
    struct net_query *q = PT_CONTAINER_OF(mail, struct net_query, mail);
    unsigned number = 0;

    if (world->net.dns_fails || (!world->calm && one_in(30))) {
        q->result = PT_ERR_AGAIN;
        snprintf(q->reason, sizeof q->reason, "no name server answers");
    } else {
        q->result = PT_ERR_OK;
        q->targets = must(calloc(2, sizeof *q->targets));
        if (sscanf(q->name, "hop%u", &number) == 1) {
            add_target(q, number % HOPS);
        } else {
            pt_assert(sscanf(q->name, "d%u", &number) == 1);
            add_target(q, number % HOPS);
            add_target(q, (number + 1) % HOPS);
        }
    }
    q->done(q);
}

static void answer_at(unsigned i)
{
    struct sim_net *n = &world->net;
    struct net_query *q = n->questions[i].query;

    n->questions[i] = n->questions[--n->question_count];
    q->mail.run = answer;
    net_loop_post(q->reply_to, &q->mail);
}

/* ---- what happens ---- */

bool sim_net_run_one(void)
{
    struct link *ready[LINKS_MAX];
    unsigned n = 0, busy = 0, which;

    for (unsigned i = 0; i < LINKS_MAX; i++)
        if (world->net.links[i] && readiness(world->net.links[i]))
            ready[n++] = world->net.links[i];
    for (unsigned i = 0; i < LOOPS; i++)
        busy += world->loops[i] && world->loops[i]->first;
    if (!n && !busy) {
        for (unsigned i = 0; i < LOOPS; i++)
            if (world->loops[i] && world->loops[i]->woken) {
                run_hooks(world->loops[i]);
                return true;
            }
        return false;
    }
    which = (unsigned)below(n + busy);
    if (which < n) {
        struct net_watch *w = ready[which]->watch;
        struct net_loop *l = w->loop;

        world_note(1000 + which);
        l->woken = true;
        w->fn(w, readiness(ready[which]));
        if (one_in(2))
            run_hooks(l);
        return true;
    }
    which -= n;
    for (unsigned i = 0; i < LOOPS; i++)
        if (world->loops[i] && world->loops[i]->first && which-- == 0) {
            world_note(2000 + i);
            world->loops[i]->woken = true;
            run_mail(world->loops[i]);
            if (one_in(2))
                run_hooks(world->loops[i]);
            return true;
        }
    return true;
}

int64_t sim_net_next(void)
{
    const struct sim_net *n = &world->net;
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < n->timer_count; i++)
        next = PT_MIN(next, state_of(n->timers[i])->at_ns);
    for (unsigned i = 0; i < n->question_count; i++)
        next = PT_MIN(next, n->questions[i].at_ns);
    for (unsigned i = 0; i < LINKS_MAX; i++) {
        const struct link *l = n->links[i];

        if (!l)
            continue;
        if (l->connecting)
            next = PT_MIN(next, l->decided_ns);
        if (l->to_hop.first && !l->stalled)
            next = PT_MIN(next, l->to_hop.first->at_ns);
        if (l->to_client.first)
            next = PT_MIN(next, l->to_client.first->at_ns);
    }
    return next;
}

static void arrive_at_client(struct link *l, struct packet *p)
{
    if (l->client_closed || l->broken)
        return;
    if (p->kind == PACKET_OCTETS) {
        buf_add(&l->received, p->octets, p->n);
        pt_assert(!l->received.failed);
    } else if (p->kind == PACKET_END) {
        l->ended = true;
    } else {
        buf_clear(&l->received);
        l->broken = ECONNRESET;
    }
}

/* False: the link is gone. */
static bool arrive_at_hop(struct link *l, struct packet *p)
{
    if (p->kind == PACKET_OCTETS) {
        l->in_flight -= PT_MIN(l->in_flight, p->n);
        if (l->talk)
            hop_take(l, p->octets, p->n);
        if (!link_exists(l))
            return false;
    }
    if (p->kind == PACKET_END || (l->client_closed && !l->talk)) {
        hop_forget(l);
        if (!l->client_closed)
            return true;
        link_free(l);
        return false;
    }
    return true;
}

static void advance_link(struct link *l)
{
    int64_t now = world->net.now_ns;

    if (l->connecting && l->decided_ns <= now) {
        l->connecting = false;
        if (!l->connect_errno)
            hop_greet(l);
    }
    while (l->to_client.first && l->to_client.first->at_ns <= now) {
        struct packet *p = pop(&l->to_client);

        arrive_at_client(l, p);
        free(p);
    }
    while (l->to_hop.first && l->to_hop.first->at_ns <= now && !l->stalled) {
        struct packet *p = pop(&l->to_hop);
        bool there = arrive_at_hop(l, p);

        free(p);
        if (!there)
            return;
    }
}

void sim_net_advance(int64_t at_ns)
{
    struct sim_net *n = &world->net;

    n->now_ns = PT_MAX(n->now_ns, at_ns);
    world_note((uint64_t)n->now_ns);
    for (unsigned i = 0; i < LINKS_MAX; i++)
        if (n->links[i])
            advance_link(n->links[i]);
    for (unsigned i = n->question_count; i-- > 0;)
        if (n->questions[i].at_ns <= n->now_ns)
            answer_at(i);
    for (unsigned i = n->timer_count; i-- > 0;) {
        struct net_timer *t = i < n->timer_count ? n->timers[i] : NULL;

        if (!t || state_of(t)->at_ns > n->now_ns)
            continue;
        net_timer_stop(t);
        t->loop->woken = true;
        t->fn(t);
    }
}

void sim_net_flush(void)
{
    bool more = true;

    while (more) {
        more = false;
        while (world->net.question_count)
            answer_at(world->net.question_count - 1);
        for (unsigned i = 0; i < LOOPS; i++)
            while (world->loops[i] && world->loops[i]->first) {
                run_mail(world->loops[i]);
                more = true;
            }
    }
}

unsigned sim_net_links(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < LINKS_MAX; i++)
        n += world->net.links[i] != NULL;
    return n;
}

void sim_net_done(void)
{
    for (unsigned i = 0; i < LINKS_MAX; i++)
        if (world->net.links[i]) {
            hop_forget(world->net.links[i]);
            link_free(world->net.links[i]);
        }
}
