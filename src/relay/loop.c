#include <stdlib.h>

#include "base/log.h"
#include "relay/callout_private.h"
#include "relay/connection.h"
#include "relay/outcome.h"
#include "relay/relay_private.h"
#include "relay/suspend.h"

/*
 * A loop's share of the relay: it is woken when there may be something to do, gives idle
 * connections work and opens new ones. Loop 0 also keeps the time for all.
 */

enum {
    DUE_STEP = 500,
    EXPIRED_STEP = 32,
    LATE_STEP = 64,
    SWEEP_STEP = 512,
    SAVE_EVERY = 5,
    MAKE_ROOM_STEP = 64
};

/* ---- work ---- */

static void pump_idle(struct relay_loop *rl)
{
    struct relay_conn *conn;

    if (!rl->idle)
        return;
    relay_lock(rl->relay);
    for (conn = rl->idle; conn; conn = conn->idle_next)
        conn->has_work = relay_dest_takeable(conn->dest) > 0;
    relay_unlock(rl->relay);
    conn = rl->idle;
    while (conn) {
        struct relay_conn *next = conn->idle_next;

        /* Running one connection can end it, but no other. */
        if (conn->has_work)
            PT_IGNORE(relay_conn_pump(conn), "an idle one may stay so");
        conn = next;
    }
}

static bool open_one(struct relay_loop *rl)
{
    struct relay *r = rl->relay;
    struct relay_dest *d;
    uint32_t prefer = 0;

    relay_lock(r);
    d = relay_sched_open(&r->sched, rl->index);
    if (d && d->lists[RELAY_GROUP_READY].first)
        prefer = d->lists[RELAY_GROUP_READY].first->prefer;
    else if (d)
        prefer = d->ready_big.first->prefer;
    relay_unlock(r);
    if (d)
        relay_conn_open(rl, d, prefer);
    return d != NULL;
}

static void stop_all(struct relay_loop *rl, bool force)
{
    struct relay_conn *conn = rl->conns;

    while (conn) {
        struct relay_conn *next = conn->next;

        relay_conn_stop(conn, force);
        conn = next;
    }
}

static void begin_stop(struct relay_loop *rl)
{
    rl->stopping = true;
    relay_asking_stop(rl);
    rl->stop_by_ns = net_loop_now(rl->loop) + (int64_t)rl->relay->config.stop_ms * INT64_C(1000000);
    stop_all(rl, false);
    relay_loop_check_stopped(rl);
}

/* No room for another connection: who wants one gets the place of one that is idle, or of one that
 * has had its share (see take() in handover.c). */
static void make_room(struct relay_loop *rl)
{
    struct relay *r = rl->relay;

    rl->crowded = false;
    if (rl->conn_count < r->config.connections_max)
        return;
    relay_lock(r);
    rl->crowded = relay_sched_wants(&r->sched);
    relay_unlock(r);
    for (unsigned n = 0; rl->crowded && rl->idle && n < MAKE_ROOM_STEP; n++)
        relay_conn_end_idle(rl->idle);
}

static void pump(struct relay_loop *rl)
{
    if (rl->stopping)
        return;
    if (atomic_load_explicit(&rl->relay->stopping, memory_order_acquire)) {
        begin_stop(rl);
        return;
    }
    relay_asking_pump(rl);
    pump_idle(rl);
    while (rl->conn_count < rl->relay->config.connections_max && open_one(rl))
        ;
    make_room(rl);
}

static void on_wake(struct mail *mail)
{
    struct relay_loop *rl = PT_CONTAINER_OF(mail, struct relay_loop, wake);

    atomic_store_explicit(&rl->wake_posted, false, memory_order_release);
    pump(rl);
}

/* ---- time ---- */

static void move_due(struct relay *r)
{
    uint64_t loops;
    bool more = true;

    while (more) {
        relay_lock(r);
        more = relay_sched_due(&r->sched, relay_now(r), DUE_STEP);
        relay_unlock(r);
    }
    relay_lock(r);
    loops = relay_sched_wake(&r->sched);
    relay_unlock(r);
    relay_wake_loops(r, loops);
}

static void give_up_expired(struct relay_loop *rl)
{
    struct relay *r = rl->relay;
    struct relay_group *groups[EXPIRED_STEP];
    uint32_t n;

    relay_lock(r);
    n = relay_sched_expired(&r->sched, relay_now(r), groups, EXPIRED_STEP);
    relay_unlock(r);
    for (uint32_t i = 0; i < n; i++)
        relay_outcome_given_up(rl, groups[i], RELAY_TOO_OLD, NULL);
}

static void tell_late(struct relay_loop *rl)
{
    struct relay *r = rl->relay;
    struct relay_group *groups[LATE_STEP];
    int64_t now_us = relay_now(r);
    uint32_t n = 0;

    relay_lock(r);
    if (now_us >= r->notices_from_us)
        n = relay_sched_late(&r->sched, now_us, groups, LATE_STEP);
    relay_unlock(r);
    for (uint32_t i = 0; i < n; i++)
        relay_outcome_late(rl, groups[i]);
}

static void end_suspensions(struct relay *r)
{
    char name[RELAY_SUSPENSION_NAME];
    struct log_line l;
    bool over = true;

    while (over) {
        relay_lock(r);
        over = relay_sched_suspension_over(&r->sched, relay_now(r), name);
        relay_unlock(r);
        if (!over)
            return;
        log_begin(&l, LOG_INFO, "resumed");
        log_cstr(&l, "destination", name);
        log_cstr(&l, "by", "its time is over");
        log_end(&l);
    }
}

static void keep_time(struct relay_loop *rl)
{
    struct relay *r = rl->relay;

    end_suspensions(r);
    move_due(r);
    give_up_expired(rl);
    tell_late(rl);
    if (rl->ticks % SAVE_EVERY == 0)
        relay_outcome_submit_unsaved(r);
    relay_lock(r);
    relay_sched_sweep(&r->sched, SWEEP_STEP);
    relay_unlock(r);
}

static void on_tick(struct net_timer *t)
{
    struct relay_loop *rl = PT_CONTAINER_OF(t, struct relay_loop, tick);

    rl->ticks++;
    net_timer_start(&rl->tick, (int64_t)rl->relay->config.tick_ms * INT64_C(1000000));
    if (rl->stopping) {
        if (net_loop_now(rl->loop) >= rl->stop_by_ns)
            stop_all(rl, true);
        return;
    }
    relay_lock(rl->relay);
    rl->retry = rl->relay->sched.retry;
    relay_unlock(rl->relay);
    if (rl->index == 0)
        keep_time(rl);
    relay_asking_tick(rl);
    if (rl->starved)
        relay_delivery_feed_starved(rl);
    pump(rl);
}

/* ---- beginning and end ---- */

struct relay_loop *relay_loop_new(struct relay *r, struct net_loop *loop)
{
    struct relay_loop *rl = calloc(1, sizeof *rl);

    if (!rl)
        return NULL;
    rl->relay = r;
    rl->loop = loop;
    rl->index = net_loop_index(loop);
    pt_assert(rl->index < r->config.loops);
    rl->wake.run = on_wake;
    rl->ops_end = &rl->ops;
    net_loop_on_turn(loop, relay_outcome_submit, rl);
    net_timer_init(&rl->tick, loop, on_tick);
    net_timer_start(&rl->tick, 0);
    relay_lock(r);
    rl->retry = r->sched.retry;
    r->loops[rl->index] = rl;
    relay_unlock(r);
    return rl;
}

void relay_loop_free(struct relay_loop *rl)
{
    struct relay *r;

    if (!rl)
        return;
    r = rl->relay;
    relay_lock(r);
    r->loops[rl->index] = NULL;
    relay_unlock(r);
    rl->stopped = true; /* says nothing any more */
    while (rl->conns)
        relay_conn_drop(rl->conns);
    relay_outcome_submit(rl);
    net_timer_stop(&rl->tick);
    while (rl->free_ops) {
        struct relay_op *op = rl->free_ops;

        rl->free_ops = op->next;
        free(op);
    }
    free(rl);
}

void relay_loop_check_stopped(struct relay_loop *rl)
{
    struct relay *r = rl->relay;

    if (!rl->stopping || rl->stopped || rl->conns || rl->jobs)
        return;
    rl->stopped = true;
    relay_outcome_submit(rl);
    if (atomic_fetch_sub(&r->busy_loops, 1) == 1)
        r->stopped(r->stopped_ctx);
}
