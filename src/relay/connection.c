#include "relay/connection.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/asking.h"
#include "relay/auth.h"
#include "relay/connection_private.h"
#include "relay/secure.h"

enum { OUT_MAX = 1 << 20, QUIT_WAIT_MS = 2000 };
static const int64_t ms = 1000000;

/* ---- lists of the loop ---- */

static void link_conn(struct relay_loop *rl, struct relay_conn *conn)
{
    conn->next = rl->conns;
    if (rl->conns)
        rl->conns->prev = conn;
    rl->conns = conn;
    rl->conn_count++;
}

static void unlink_conn(struct relay_loop *rl, struct relay_conn *conn)
{
    *(conn->prev ? &conn->prev->next : &rl->conns) = conn->next;
    if (conn->next)
        conn->next->prev = conn->prev;
    rl->conn_count--;
}

static void unlink_idle(struct relay_loop *rl, struct relay_conn *conn)
{
    *(conn->idle_prev ? &conn->idle_prev->idle_next : &rl->idle) = conn->idle_next;
    if (conn->idle_next)
        conn->idle_next->idle_prev = conn->idle_prev;
    conn->idle_next = conn->idle_prev = NULL;
}

void relay_conn_starve(struct relay_conn *conn)
{
    struct relay_conn **p = &conn->rl->starved;

    if (conn->is_starved)
        return;
    while (*p)
        p = &(*p)->starved_next;
    *p = conn;
    conn->starved_next = NULL;
    conn->is_starved = true;
}

void relay_conn_unstarve(struct relay_conn *conn)
{
    struct relay_conn **p = &conn->rl->starved;

    if (!conn->is_starved)
        return;
    while (*p != conn)
        p = &(*p)->starved_next;
    *p = conn->starved_next;
    conn->is_starved = false;
}

/* ---- time limits ---- */

/* The timer is moved only when it comes too early or would come too late: a message does not cost
 * one. */
void relay_conn_set_deadline(struct relay_conn *conn, int64_t after_ms)
{
    int64_t now = net_loop_now(conn->rl->loop);

    conn->deadline_ns = now + after_ms * ms;
    if (conn->armed_ns && conn->armed_ns <= conn->deadline_ns)
        return;
    conn->armed_ns = conn->deadline_ns;
    net_timer_start(&conn->timer, conn->deadline_ns - now);
}

static void on_timer(struct net_timer *t)
{
    struct relay_conn *conn = PT_CONTAINER_OF(t, struct relay_conn, timer);
    int64_t now = net_loop_now(conn->rl->loop);

    conn->armed_ns = 0;
    if (!conn->deadline_ns)
        return;
    if (now < conn->deadline_ns) {
        conn->armed_ns = conn->deadline_ns;
        net_timer_start(&conn->timer, conn->deadline_ns - now);
        return;
    }
    conn->deadline_ns = 0;
    switch ((enum relay_phase)conn->phase) {
    case RELAY_CONN_DIALLING:
        relay_dial_timed_out(conn);
        break;
    case RELAY_CONN_IDLE:
        relay_conn_end_idle(conn);
        break;
    case RELAY_CONN_TALKING:
    case RELAY_CONN_QUITTING:
        conn->timed_out = true;
        relay_conn_lost(conn, "the time limit was reached");
        break;
    }
}

/* ---- beginning and end ---- */

static struct relay_conn *new_conn(struct relay_loop *rl, struct relay_dest *d)
{
    struct relay_conn *conn = calloc(1, sizeof *conn);

    if (!conn)
        return NULL;
    conn->rl = rl;
    conn->dest = d;
    conn->stream.fd = -1;
    buf_init(&conn->out, OUT_MAX);
    net_timer_init(&conn->timer, rl->loop, on_timer);
    link_conn(rl, conn);
    return conn;
}

void relay_conn_open(struct relay_loop *rl, struct relay_dest *d, uint32_t prefer)
{
    struct relay *r = rl->relay;
    struct relay_conn *conn = new_conn(rl, d);

    if (!conn) {
        relay_lock(r);
        relay_sched_unreachable(&r->sched, d, rl->index, true, relay_now(r),
                                STR("4.3.0 out of memory"));
        relay_unlock(r);
        return;
    }
    conn->dial.prefer = prefer;
    relay_dial_next(conn);
}

/* Counted with one hop at a time, and with none once its destination is left. Under the lock. */
static void leave_hop(struct relay_conn *conn)
{
    if (conn->on_hop && conn->dest)
        relay_dest_on_hop(conn->dest, conn->hop, -1);
    conn->on_hop = false;
}

void relay_conn_on_hop(struct relay_conn *conn, uint8_t hop)
{
    if (!conn->dest->balanced) {
        conn->hop = hop;
        return;
    }
    relay_lock(conn->rl->relay);
    leave_hop(conn);
    relay_dest_on_hop(conn->dest, hop, 1);
    relay_unlock(conn->rl->relay);
    conn->hop = hop;
    conn->on_hop = true;
}

/* One that asks leaves its destination. */
static void leave_asking(struct relay_conn *conn, const char *why)
{
    relay_lock(conn->rl->relay);
    leave_hop(conn);
    relay_unlock(conn->rl->relay);
    relay_asking_left(conn, why);
}

bool relay_conn_open_asking(struct relay_loop *rl, struct relay_dest *d,
                            struct relay_asking *asking)
{
    struct relay_conn *conn = asking ? new_conn(rl, d) : NULL;

    if (!conn) {
        free(asking);
        return false;
    }
    relay_asking_begin(conn, asking);
    relay_dial_next(conn);
    return true;
}

static void close_socket(struct relay_conn *conn)
{
    if (conn->stream.fd >= 0) {
        net_watch_close(&conn->watch);
        net_stream_close(&conn->stream);
    }
    relay_secure_drop(conn);
    smtp_client_free(conn->client);
    conn->client = NULL;
    buf_clear(&conn->out);
    conn->sending = NULL;
    conn->slice_first = conn->slice_count = 0;
    conn->blocked = false;
    conn->deadline_ns = 0;
}

static void free_conn(struct relay_conn *conn)
{
    struct relay_loop *rl = conn->rl;

    close_socket(conn);
    net_timer_stop(&conn->timer);
    relay_conn_unstarve(conn);
    for (unsigned i = 0; i < RELAY_SLOTS; i++)
        relay_delivery_done(&conn->slots[i]);
    relay_dial_done(conn);
    relay_asking_free(conn);
    buf_done(&conn->out);
    unlink_conn(rl, conn);
    free(conn);
    if (rl->crowded && !rl->stopping)
        relay_wake_loops(rl->relay, UINT64_C(1) << rl->index);
    relay_loop_check_stopped(rl);
}

void relay_conn_drop(struct relay_conn *conn)
{
    if (conn->phase == RELAY_CONN_IDLE && !conn->asking)
        unlink_idle(conn->rl, conn);
    free_conn(conn);
}

/* In order, or because others of its destination stand: nothing in hand is charged. */
static void finish(struct relay_conn *conn, bool trouble)
{
    struct relay *r = conn->rl->relay;
    uint64_t loops = 0;

    relay_conn_put_back_all(conn);
    if (conn->asking)
        leave_asking(conn, NULL);
    if (conn->dest) {
        relay_lock(r);
        leave_hop(conn);
        if (!conn->established)
            relay_sched_connected(&r->sched, conn->dest);
        relay_sched_closed(&r->sched, conn->dest, conn->rl->index, trouble);
        loops = relay_sched_wake_for(&r->sched, conn->dest);
        relay_unlock(r);
    }
    free_conn(conn);
    relay_wake_loops(r, loops);
}

static void log_unreachable(const struct relay_conn *conn)
{
    struct log_line l;
    const struct relay_dest *d = conn->dest;
    char until[CLOCK_RFC3339_SIZE];

    clock_rfc3339(d->rest.at_us, until);
    log_begin(&l, LOG_WARN, "connect_failed");
    log_cstr(&l, "destination", d->key);
    log_cstr(&l, "next_hop", conn->host);
    log_cstr(&l, "reply", conn->reason);
    log_u64(&l, "failures", d->failures);
    log_cstr(&l, "next_attempt", until);
    log_end(&l);
}

/* No candidate would take anything. */
static void give_up(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;
    bool rests;

    if (conn->asking) {
        leave_asking(conn, conn->reason);
        free_conn(conn);
        return;
    }
    relay_lock(r);
    leave_hop(conn);
    rests = relay_sched_unreachable(&r->sched, conn->dest, conn->rl->index, !conn->established,
                                    relay_now(r), str_of(conn->reason));
    conn->dest->pins++; /* kept alive until the messages in hand are dealt with */
    relay_unlock(r);
    if (rests) {
        log_unreachable(conn);
        relay_conn_charge(conn);
    }
    relay_conn_put_back_all(conn);
    relay_lock(r);
    conn->dest->pins--;
    relay_unlock(r);
    free_conn(conn);
}

void relay_conn_exhausted(struct relay_conn *conn)
{
    if (!conn->reason[0])
        snprintf(conn->reason, sizeof conn->reason, "4.4.1 no next hop can be reached");
    give_up(conn);
}

void relay_conn_hopeless(struct relay_conn *conn, const char *text)
{
    if (conn->asking) {
        leave_asking(conn, text);
        free_conn(conn);
        return;
    }
    relay_conn_fail_some(conn, str_of(text));
    finish(conn, false);
}

/* ---- from one candidate to the next ---- */

void relay_conn_dialled(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;
    char hostname[sizeof r->hostname];
    struct smtp_client_config config = { .flags = r->config.client_flags |
                                                  (conn->dest->lmtp ? SMTP_CLIENT_LMTP : 0u) };

    relay_lock(r);
    memcpy(hostname, r->hostname, sizeof hostname);
    relay_unlock(r);
    config.hostname = str_of(hostname);
    if (relay_auth_prepare(conn, &config) && relay_secure_prepare(conn, &config.flags)) {
        conn->client = smtp_client_new(&config);
        if (!conn->client)
            snprintf(conn->reason, sizeof conn->reason, "4.3.0 out of memory");
    }
    if (!conn->client) {
        close_socket(conn);
        give_up(conn);
        return;
    }
    conn->phase = RELAY_CONN_TALKING;
    conn->served = 0;
    relay_conn_talk(conn);
}

static void next_candidate(struct relay_conn *conn)
{
    relay_dial_mark(conn, true);
    close_socket(conn);
    conn->phase = RELAY_CONN_DIALLING;
    relay_dial_next(conn);
}

void relay_conn_ended(struct relay_conn *conn)
{
    const struct smtp_client_result *ending = smtp_client_ending(conn->client);
    bool trouble = ending->outcome != SMTP_CLIENT_SENT;
    bool idle = conn->phase == RELAY_CONN_IDLE;
    struct iovec rest = { conn->out.p, conn->out.n };

    if (rest.iov_len && !conn->blocked && !conn->sending)
        PT_IGNORE(net_stream_writev(&conn->stream, &rest, 1) < 0, "good manners, no more");
    if (idle)
        relay_conn_leave_idle(conn);
    if (!trouble || idle || conn->aborting || conn->served || conn->phase == RELAY_CONN_QUITTING) {
        finish(conn, trouble && !idle && !conn->aborting);
        return;
    }
    if (relay_secure_falls_back(conn)) {
        close_socket(conn);
        conn->phase = RELAY_CONN_DIALLING;
        relay_dial_again(conn);
        return;
    }
    snprintf(conn->reason, sizeof conn->reason, "%.*s", (int)ending->text.n, ending->text.p);
    relay_secure_explain(conn);
    relay_auth_ended(conn);
    if (relay_dial_has_more(conn) && !conn->rl->stopping) {
        next_candidate(conn);
        return;
    }
    relay_dial_mark(conn, true);
    close_socket(conn);
    give_up(conn);
}

/* ---- idle ---- */

void relay_conn_go_idle(struct relay_conn *conn)
{
    struct relay_loop *rl = conn->rl;
    struct relay *r = rl->relay;

    conn->phase = RELAY_CONN_IDLE;
    conn->idle_next = rl->idle;
    if (rl->idle)
        rl->idle->idle_prev = conn;
    rl->idle = conn;
    relay_conn_set_deadline(conn, r->config.idle_ms);
    relay_lock(r);
    relay_sched_idle(&r->sched, conn->dest, rl->index, true);
    relay_unlock(r);
}

void relay_conn_leave_idle(struct relay_conn *conn)
{
    struct relay_loop *rl = conn->rl;

    if (conn->asking) {
        relay_asking_leave_idle(conn);
        return;
    }
    conn->phase = RELAY_CONN_TALKING;
    unlink_idle(rl, conn);
    relay_lock(rl->relay);
    relay_sched_idle(&rl->relay->sched, conn->dest, rl->index, false);
    relay_unlock(rl->relay);
}

void relay_conn_end_idle(struct relay_conn *conn)
{
    relay_conn_leave_idle(conn);
    relay_conn_quit(conn);
    relay_conn_run(conn, STR_NULL);
}

bool relay_conn_pump(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;

    int64_t now_us = conn->dest->balanced ? relay_now(r) : 0;
    bool others_turn = false;

    relay_lock(r);
    conn->pulled_first = conn->pulled_count = 0;
    if (relay_dest_takeable(conn->dest)) {
        conn->pulled_count = relay_conn_pull(conn, now_us);
        others_turn = !conn->pulled_count && !relay_dest_room(conn->dest, conn->hop, now_us);
    }
    relay_unlock(r);
    if (others_turn) {
        relay_conn_end_idle(conn);
        return false;
    }
    if (!conn->pulled_count)
        return false;
    relay_conn_leave_idle(conn);
    conn->progress = true;
    relay_conn_run(conn, STR_NULL);
    return true;
}

void relay_conn_quit(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;
    uint64_t loops;

    if (conn->asking) {
        leave_asking(conn, NULL);
    } else {
        relay_conn_put_back_all(conn);
        relay_lock(r);
        leave_hop(conn);
        relay_sched_closed(&r->sched, conn->dest, conn->rl->index, false);
        loops = relay_sched_wake_for(&r->sched, conn->dest); /* another may take its place */
        relay_unlock(r);
        relay_wake_loops(r, loops);
    }
    conn->dest = NULL;
    conn->phase = RELAY_CONN_QUITTING;
    smtp_client_quit(conn->client, &conn->out);
    relay_conn_set_deadline(conn, QUIT_WAIT_MS);
}

/* ---- the gateway stops ---- */

static void abort_dial(struct relay_conn *conn)
{
    close_socket(conn);
    finish(conn, false);
}

void relay_conn_stop(struct relay_conn *conn, bool force)
{
    enum smtp_client_state state;

    if (conn->phase == RELAY_CONN_DIALLING) {
        abort_dial(conn);
        return;
    }
    if (conn->phase == RELAY_CONN_IDLE) {
        relay_conn_end_idle(conn);
        return;
    }
    if (conn->secure) {
        conn->aborting = true;
        relay_secure_hurry(conn);
        return;
    }
    state = smtp_client_state(conn->client);
    if (conn->aborting ||
        (!force && (state == SMTP_CLIENT_STATE_DOT || conn->phase == RELAY_CONN_QUITTING)))
        return;
    if (state == SMTP_CLIENT_STATE_READY && !conn->upcoming && !force) {
        relay_conn_quit(conn);
        relay_conn_run(conn, STR_NULL);
        return;
    }
    conn->aborting = true;
    relay_conn_lost(conn, "the gateway stops");
}
