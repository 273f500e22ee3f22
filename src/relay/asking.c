#include "relay/asking.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "relay/callout_private.h"
#include "relay/connection_private.h"

enum { IDLE_MS = 20000 };

struct relay_asking {
    struct callout_dest *dest;   /* NULL: it counts no longer */
    struct callout_entry *entry; /* asked about now */
    struct smtp_client_message m;
    struct smtp_client_rcpt rcpt;
    struct relay_conn *idle_next;
};

static void lock(struct relay_loop *rl)
{
    pthread_mutex_lock(&rl->relay->callouts->lock);
}

static void unlock(struct relay_loop *rl)
{
    pthread_mutex_unlock(&rl->relay->callouts->lock);
}

/* ---- questions ---- */

/* Asks the next one; false: none waits. */
static bool ask_next(struct relay_conn *conn)
{
    struct relay_asking *a = conn->asking;

    lock(conn->rl);
    a->entry = callout_take(a->dest);
    unlock(conn->rl);
    if (!a->entry)
        return false;
    a->rcpt = (struct smtp_client_rcpt){ .rcpt = { .address = a->entry->recipient } };
    a->m = (struct smtp_client_message){
        .mail = { .reverse_path = STR("") }, .rcpts = &a->rcpt, .rcpt_count = 1, .question = true
    };
    smtp_client_begin(conn->client, &a->m, &conn->out);
    return true;
}

static void count(struct relay_callout_stats *c, enum policy_recipient_said said)
{
    c->taken += said == POLICY_RECIPIENT_TAKEN;
    c->refused += said == POLICY_RECIPIENT_REFUSED;
    c->untold += said == POLICY_RECIPIENT_UNTOLD;
}

/* What the reply says about the recipient. One to a command that was not understood, or not allowed
 * before another, is about us. */
static enum policy_recipient_said said_of(const struct relay_asking *a)
{
    const struct smtp_client_result *r = &a->rcpt.result;

    if (a->m.mail_refused || r->outcome == SMTP_CLIENT_RETRY || r->code / 10 == 50 ||
        r->code == 530 || r->code == 0)
        return POLICY_RECIPIENT_UNTOLD;
    return r->outcome == SMTP_CLIENT_SENT ? POLICY_RECIPIENT_TAKEN : POLICY_RECIPIENT_REFUSED;
}

void relay_asking_done(struct relay_conn *conn)
{
    struct relay_asking *a = conn->asking;
    const struct smtp_client_result *r = &a->rcpt.result;
    enum policy_recipient_said said = said_of(a);
    struct relay *relay = conn->rl->relay;
    int64_t now_ns = net_loop_now(conn->rl->loop);
    bool again;

    lock(conn->rl);
    again = r->untried && now_ns - a->entry->since_ns < relay->callouts->timeout_ns;
    if (again) {
        callout_put_back(a->entry);
    } else {
        count(&relay->callouts->counts, said);
        callout_answer(relay, a->entry, said, r->code, r->text);
        /* A hop that does not take questions is not asked at once again. */
        if (a->m.mail_refused)
            callout_rest(relay, a->dest, r->text, now_ns);
    }
    unlock(conn->rl);
    a->entry = NULL;
    conn->served += r->code != 0;
}

bool relay_asking_quiet(struct relay_conn *conn)
{
    struct relay_asking *a = conn->asking;

    if (!smtp_client_can_begin(conn->client) || conn->rl->stopping) {
        relay_conn_quit(conn);
        return true;
    }
    if (ask_next(conn))
        return true;
    conn->phase = RELAY_CONN_IDLE;
    a->idle_next = a->dest->idle;
    a->dest->idle = conn;
    relay_conn_set_deadline(conn, IDLE_MS);
    return false;
}

void relay_asking_ready(struct relay_conn *conn)
{
    struct callout_dest *d = conn->asking->dest;

    lock(conn->rl);
    d->connecting--;
    d->rest_until_ns = 0;
    unlock(conn->rl);
}

void relay_asking_leave_idle(struct relay_conn *conn)
{
    struct relay_conn **p = &conn->asking->dest->idle;

    while (*p != conn)
        p = &(*p)->asking->idle_next;
    *p = conn->asking->idle_next;
    conn->phase = RELAY_CONN_TALKING;
}

int64_t relay_asking_silence_ms(const struct relay_conn *conn)
{
    return conn->rl->relay->callouts->timeout_ns / 1000000;
}

/* ---- connections ---- */

static void log_rest(const struct relay_conn *conn, const char *why)
{
    struct log_line l;

    log_begin(&l, LOG_WARN, "recipient_check_failed");
    log_cstr(&l, "destination", conn->dest->key);
    log_cstr(&l, "next_hop", conn->host);
    log_cstr(&l, "reply", why);
    log_end(&l);
}

void relay_asking_left(struct relay_conn *conn, const char *why)
{
    struct relay_asking *a = conn->asking;
    struct callout_dest *d = a->dest;
    struct relay_loop *rl = conn->rl;
    bool others_wait;

    if (!d)
        return;
    if (why)
        log_rest(conn, why);
    lock(rl);
    d->connections--;
    d->connecting -= !conn->established;
    if (why)
        callout_rest(rl->relay, d, str_of(why), net_loop_now(rl->loop));
    others_wait = d->queued > 0;
    unlock(rl);
    rl->asking_count--;
    a->dest = NULL;
    conn->dest = NULL;
    if (others_wait)
        relay_wake_loops(rl->relay, UINT64_C(1) << rl->index);
}

void relay_asking_free(struct relay_conn *conn)
{
    free(conn->asking);
    conn->asking = NULL;
}

static bool open_one(struct relay_loop *rl, struct callout_dest *d)
{
    bool wanted;

    lock(rl);
    wanted = d->queued > d->connecting && d->connections < CALLOUT_CONNECTIONS_MAX &&
             rl->asking_count < CALLOUT_LOOP_CONNECTIONS_MAX;
    if (wanted) {
        d->connections++;
        d->connecting++;
    }
    unlock(rl);
    if (!wanted)
        return false;
    rl->asking_count++;
    if (relay_conn_open_asking(rl, d->d, calloc(1, sizeof(struct relay_asking))))
        return true;
    lock(rl);
    d->connections--;
    d->connecting--;
    callout_rest(rl->relay, d, STR("out of memory"), net_loop_now(rl->loop));
    unlock(rl);
    rl->asking_count--;
    return false;
}

void relay_asking_begin(struct relay_conn *conn, struct relay_asking *asking)
{
    conn->asking = asking;
    asking->dest = conn->dest->callouts;
}

/* ---- a loop's share ---- */

static struct callout_dest *first_of(struct relay_loop *rl)
{
    struct callout_dest *d;

    lock(rl);
    d = rl->relay->callouts->of_loop[rl->index];
    unlock(rl);
    return d;
}

static bool has_queued(struct relay_loop *rl, struct callout_dest *d)
{
    bool has;

    lock(rl);
    has = d->queued > 0;
    unlock(rl);
    return has;
}

/* New ones come to the front of the list, and only this loop takes any out. */
void relay_asking_pump(struct relay_loop *rl)
{
    for (struct callout_dest *d = first_of(rl); d; d = d->next) {
        while (d->idle && has_queued(rl, d)) {
            struct relay_conn *conn = d->idle;

            relay_asking_leave_idle(conn);
            conn->progress = true;
            relay_conn_run(conn, STR_NULL);
        }
        while (open_one(rl, d))
            continue;
    }
}

/* Those who have waited for too long are told so. */
static void expire(struct relay_loop *rl, struct callout_dest *d, int64_t now_ns)
{
    const int64_t limit = rl->relay->callouts->timeout_ns;

    while (d->first && now_ns - d->first->since_ns >= limit)
        callout_answer(rl->relay, callout_take(d), POLICY_RECIPIENT_UNTOLD, 0,
                       STR("the next hop did not come to it in time"));
}

static void expire_asked(struct relay_loop *rl, int64_t now_ns)
{
    for (struct relay_conn *conn = rl->conns; conn; conn = conn->next) {
        struct relay_asking *a = conn->asking;

        if (!a || !a->entry || now_ns - a->entry->since_ns < rl->relay->callouts->timeout_ns)
            continue;
        callout_rest(rl->relay, a->dest, STR("the next hop did not answer in time"), now_ns);
        callout_release(rl->relay, a->entry, STR("the next hop did not answer in time"));
    }
}

void relay_asking_tick(struct relay_loop *rl)
{
    int64_t now_ns = net_loop_now(rl->loop);
    struct callout_dest *d, *next;

    if (!first_of(rl))
        return;
    lock(rl);
    expire_asked(rl, now_ns);
    for (d = rl->relay->callouts->of_loop[rl->index]; d; d = next) {
        next = d->next;
        expire(rl, d, now_ns);
        PT_IGNORE(callout_free_if_unused(rl->relay, d, now_ns), "it may be in use");
    }
    unlock(rl);
}

void relay_asking_stop(struct relay_loop *rl)
{
    lock(rl);
    for (struct callout_dest *d = rl->relay->callouts->of_loop[rl->index]; d; d = d->next)
        callout_rest(rl->relay, d, STR("the gateway stops"), net_loop_now(rl->loop));
    unlock(rl);
}
