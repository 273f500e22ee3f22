#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/mailbox.h"

/*
 * net/loop: one event loop per thread.
 *
 * Watches and timers are embedded in their owner, initialised before use and closed before the
 * owner is freed; callbacks run on the loop's thread and nothing in them may wait. Everything here
 * belongs to the loop's thread but net_loop_post(), net_loop_stop() and net_loop_index().
 *
 * A turn is: wait, run the callbacks of what happened, run the turn hooks. What is gathered during
 * a turn (messages for the commit thread, output) is handed over in a hook, once per turn.
 * The event library stands behind this header and is named nowhere else.
 */

struct net_loop;

/* NULL when descriptors or memory are short. `index` numbers the loops of a process from 0. */
struct net_loop *net_loop_new(unsigned index);
void net_loop_free(struct net_loop *l); /* all watches and timers must be closed */

void net_loop_run(struct net_loop *l);  /* until net_loop_stop() */
void net_loop_stop(struct net_loop *l); /* any thread */
unsigned net_loop_index(const struct net_loop *l);

/* One turn, waiting up to `wait_ms` (-1: until something happens): for tests. */
void net_loop_turn(struct net_loop *l, int wait_ms);

/* Runs `mail` on the loop's thread. Any thread. */
void net_loop_post(struct net_loop *l, struct mail *mail);

/* Monotonic nanoseconds, taken once per turn. */
int64_t net_loop_now(const struct net_loop *l);

/* `hook` runs at the end of each turn, in the order added; at most 8. */
void net_loop_on_turn(struct net_loop *l, void (*hook)(void *ctx), void *ctx);

/* ---- descriptors ---- */

enum { NET_READ = 1, NET_WRITE = 2 };

struct net_watch {
    _Alignas(16) char event[128]; /* private: the event library's */
    struct net_loop *loop;
    void (*fn)(struct net_watch *w, unsigned ready);
    int fd;
    uint8_t wanted;
};

/* Level-triggered, persistent; nothing is watched until net_watch_want(). */
void net_watch_init(struct net_watch *w, struct net_loop *l, int fd,
                    void (*fn)(struct net_watch *w, unsigned ready));

/* `events` of NET_READ and NET_WRITE, or 0. Asking for what is already watched costs nothing. */
void net_watch_want(struct net_watch *w, unsigned events);

/* Calls back with NET_READ in this turn, though the descriptor may not be readable; it must be
 * watched for that. For streams that have taken octets from it already. */
void net_watch_fire(struct net_watch *w);

/* Stops watching; call before the descriptor is closed. Closing twice does nothing. */
void net_watch_close(struct net_watch *w);

/* ---- timers ---- */

struct net_timer {
    _Alignas(16) char event[128]; /* private */
    struct net_loop *loop;
    void (*fn)(struct net_timer *t);
};

void net_timer_init(struct net_timer *t, struct net_loop *l, void (*fn)(struct net_timer *t));
/* Again: moved. A few milliseconds early or late: the clock behind it is the coarse one. */
void net_timer_start(struct net_timer *t, int64_t after_ns);
void net_timer_stop(struct net_timer *t); /* also before the owner is freed */
