#include "tls/handshake.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS_MAX = 16 };

struct tls_handshaker {
    unsigned max, threads;
    _Atomic unsigned busy, turn;
    pthread_mutex_t lock; /* of what follows */
    uint64_t *peers;      /* who holds the places that somebody in particular holds; room for max */
    unsigned peer_count;
    struct net_loop *loops[THREADS_MAX];
    pthread_t ids[THREADS_MAX];
};

/* ---- one handshake, on its thread ---- */

static void at_home(struct mail *mail)
{
    struct tls_handshake *h = PT_CONTAINER_OF(mail, struct tls_handshake, mail);

    h->done(h);
}

static void finish(struct tls_handshake *h, enum pt_err result)
{
    h->result = result;
    net_watch_close(&h->watch);
    net_timer_stop(&h->timer);
    tls_handshaker_give(h->handshaker, h->peer);
    h->mail.run = at_home;
    net_loop_post(h->home, &h->mail);
}

static void go_on(struct tls_handshake *h)
{
    unsigned wanted = 0;
    enum pt_err err = tls_connection_handshake(h->connection, &wanted, &h->fault);

    if (err == PT_ERR_AGAIN)
        net_watch_want(&h->watch, wanted);
    else
        finish(h, err);
}

static void on_ready(struct net_watch *w, unsigned ready)
{
    PT_IGNORE(ready, "the connection knows what it waits for");
    go_on(PT_CONTAINER_OF(w, struct tls_handshake, watch));
}

static void on_timeout(struct net_timer *t)
{
    struct tls_handshake *h = PT_CONTAINER_OF(t, struct tls_handshake, timer);

    finish(h, pt_fault_set(&h->fault, PT_ERR_TIMEOUT, "TLS handshake: no end after %lld s",
                           (long long)(h->timeout_ns / 1000000000)));
}

static void begin(struct mail *mail)
{
    struct tls_handshake *h = PT_CONTAINER_OF(mail, struct tls_handshake, mail);

    net_watch_init(&h->watch, h->loop, h->fd, on_ready);
    net_timer_init(&h->timer, h->loop, on_timeout);
    net_timer_start(&h->timer, h->timeout_ns);
    go_on(h);
}

/* ---- places ---- */

uint64_t tls_handshake_peer(const struct net_addr *a)
{
    uint64_t number = 0;

    memcpy(&number, a->octets, sizeof number);
    return number ? number : 1;
}

static bool take_any(struct tls_handshaker *s)
{
    unsigned busy = atomic_load(&s->busy);

    do {
        if (busy >= s->max)
            return false;
    } while (!atomic_compare_exchange_weak(&s->busy, &busy, busy + 1));
    return true;
}

/* A walk over some hundred numbers is nothing beside the handshake that follows. */
static bool has_share(const struct tls_handshaker *s, uint64_t peer)
{
    unsigned held = 0;

    for (unsigned i = 0; i < s->peer_count; i++)
        held += s->peers[i] == peer;
    return s->peer_count < s->max / 2 || held < PT_MAX(1u, s->max / TLS_HANDSHAKER_SHARE);
}

bool tls_handshaker_take(struct tls_handshaker *s, uint64_t peer)
{
    bool taken;

    if (!peer)
        return take_any(s);
    pthread_mutex_lock(&s->lock);
    taken = has_share(s, peer) && take_any(s);
    if (taken)
        s->peers[s->peer_count++] = peer;
    pthread_mutex_unlock(&s->lock);
    return taken;
}

static void forget_peer(struct tls_handshaker *s, uint64_t peer)
{
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->peer_count; i++)
        if (s->peers[i] == peer) {
            s->peers[i] = s->peers[--s->peer_count];
            break;
        }
    pthread_mutex_unlock(&s->lock);
}

void tls_handshaker_give(struct tls_handshaker *s, uint64_t peer)
{
    if (peer)
        forget_peer(s, peer);
    atomic_fetch_sub(&s->busy, 1);
}

/* ---- begin ---- */

void tls_handshake_begin(struct tls_handshaker *s, struct tls_handshake *h)
{
    h->handshaker = s;
    h->loop = s->loops[atomic_fetch_add(&s->turn, 1) % s->threads];
    h->result = PT_ERR_OK;
    memset(&h->fault, 0, sizeof h->fault);
    h->mail.run = begin;
    net_loop_post(h->loop, &h->mail);
}

/* ---- the threads ---- */

static void destroy(struct tls_handshaker *s)
{
    pthread_mutex_destroy(&s->lock);
    free(s->peers);
    free(s);
}

static void *run(void *arg)
{
    net_loop_run(arg);
    return NULL;
}

enum pt_err tls_handshaker_new(struct tls_handshaker **out, unsigned threads, unsigned max,
                               struct pt_fault *fault)
{
    struct tls_handshaker *s = calloc(1, sizeof *s);

    if (s)
        s->peers = calloc(max, sizeof *s->peers);
    if (!s || !s->peers) {
        free(s);
        return pt_fault_set(fault, PT_ERR_NOMEM, "starting TLS: out of memory");
    }
    pthread_mutex_init(&s->lock, NULL);
    s->max = max;
    threads = PT_MAX(1u, PT_MIN(threads, (unsigned)THREADS_MAX));
    for (unsigned i = 0; i < threads; i++) {
        int err;

        s->loops[i] = net_loop_new(i);
        if (!s->loops[i])
            break;
        err = pthread_create(&s->ids[i], NULL, run, s->loops[i]);
        if (err) {
            net_loop_free(s->loops[i]);
            break;
        }
        s->threads++;
    }
    if (s->threads == 0) {
        destroy(s);
        return pt_fault_set(fault, PT_ERR_NOMEM, "starting TLS: no thread can be started");
    }
    *out = s;
    return PT_ERR_OK;
}

void tls_handshaker_free(struct tls_handshaker *s)
{
    if (!s)
        return;
    for (unsigned i = 0; i < s->threads; i++)
        net_loop_stop(s->loops[i]);
    for (unsigned i = 0; i < s->threads; i++) {
        pthread_join(s->ids[i], NULL);
        net_loop_free(s->loops[i]);
    }
    destroy(s);
}

unsigned tls_handshaker_busy(const struct tls_handshaker *s)
{
    return atomic_load(&((struct tls_handshaker *)s)->busy);
}
