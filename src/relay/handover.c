#include <string.h>

#include "relay/connection_private.h"
#include "relay/secure.h"

/* Which messages a connection takes, and how it gives them back. */

/* ---- taking ---- */

uint32_t relay_conn_pull(struct relay_conn *conn, int64_t now_us)
{
    struct relay_sched *s = &conn->rl->relay->sched;
    uint32_t room = relay_dest_room(conn->dest, conn->hop, now_us);
    uint32_t n = relay_sched_pull(s, conn->dest, conn->endpoint, conn->pulled,
                                  PT_MIN(room, relay_sched_share(s, conn->dest)));

    relay_dest_took(conn->dest, conn->hop, (int32_t)n, now_us);
    return n;
}

static void pull(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;
    struct relay_sched *s = &r->sched;
    int64_t now_us = conn->dest->balanced ? relay_now(r) : 0;

    conn->pulled_first = 0;
    relay_lock(r);
    conn->yields =
        (conn->rl->crowded && relay_sched_should_yield(s, conn->dest, conn->served)) ||
        (relay_dest_takeable(conn->dest) && !relay_dest_room(conn->dest, conn->hop, now_us));
    if (!conn->yields)
        conn->pulled_count = relay_conn_pull(conn, now_us);
    relay_unlock(r);
}

static struct relay_group *take(struct relay_conn *conn)
{
    if (conn->pulled_count && atomic_load_explicit(&conn->dest->suspended, memory_order_relaxed))
        relay_conn_put_back_all(conn);
    if (!conn->pulled_count && !conn->rl->stopping)
        pull(conn);
    if (!conn->pulled_count)
        return NULL;
    conn->pulled_count--;
    return conn->pulled[conn->pulled_first++];
}

static void put_back(struct relay_conn *conn, struct relay_group *g)
{
    struct relay *r = conn->rl->relay;

    relay_lock(r);
    relay_sched_put_back(&r->sched, g);
    if (conn->dest && conn->dest->balanced)
        relay_dest_took(conn->dest, conn->hop, -1, relay_now(r));
    relay_unlock(r);
}

static struct relay_via via_of(struct relay_conn *conn)
{
    struct relay_via via = {
        .final = conn->dest && conn->dest->lmtp,
        .tells = conn->client && smtp_client_peer(conn->client)->dsn,
        .host = conn->host,
        .peer = conn->host ? conn->peer : NULL,
        .endpoint = conn->endpoint,
    };

    relay_secure_tell(conn, &via);
    return via;
}

/* Content that cannot be had: the message waits, or, when it is damaged, is lost. */
static void end_broken(struct relay_conn *conn)
{
    struct relay_delivery *d = conn->upcoming;
    struct relay_group *g = d->group;
    bool damaged = d->error == PT_ERR_CORRUPT || d->error == PT_ERR_NOTFOUND;
    struct relay_via via = { 0 };
    struct relay_result result = {
        .state = damaged ? SPOOL_FAILED : SPOOL_QUEUED,
        .reply = damaged ? STR("5.3.0 the stored message is damaged and cannot be sent")
                         : STR("4.3.0 the stored message cannot be read now"),
    };

    conn->upcoming = NULL;
    relay_delivery_done(d);
    relay_outcome_all(conn->rl, g, &result, &via);
}

static struct relay_delivery *free_slot(struct relay_conn *conn)
{
    for (unsigned i = 0; i < RELAY_SLOTS; i++)
        if (conn->slots[i].state == RELAY_DELIVERY_FREE)
            return &conn->slots[i];
    return NULL;
}

bool relay_conn_prepare(struct relay_conn *conn)
{
    for (;;) {
        if (!conn->upcoming) {
            struct relay_delivery *slot = free_slot(conn);
            struct relay_group *g = slot ? take(conn) : NULL;

            if (!g)
                return false;
            if (atomic_load_explicit(&g->item->deleted, memory_order_relaxed)) {
                put_back(conn, g);
                continue;
            }
            if (!relay_delivery_init(slot, conn, g)) {
                put_back(conn, g);
                return false;
            }
            conn->upcoming = slot;
        }
        if (conn->upcoming->state != RELAY_DELIVERY_BROKEN)
            return conn->upcoming->state == RELAY_DELIVERY_READY;
        end_broken(conn);
    }
}

/* ---- giving back ---- */

static void keep_for_next_candidate(struct relay_conn *conn, struct relay_group *g)
{
    struct relay_group *rest[PT_ARRAY_LEN(conn->pulled)];
    uint32_t n = conn->pulled_count;

    memcpy(rest, conn->pulled + conn->pulled_first, n * sizeof(struct relay_group *));
    conn->pulled[0] = g;
    memcpy(conn->pulled + 1, rest, n * sizeof(struct relay_group *));
    conn->pulled_first = 0;
    conn->pulled_count = n + 1;
}

static struct relay_result result_of(const struct smtp_client_result *from)
{
    struct relay_result to = { .code = from->code, .untried = from->untried, .reply = from->text };

    switch ((enum smtp_client_outcome)from->outcome) {
    case SMTP_CLIENT_SENT:
        to.state = SPOOL_DELIVERED;
        break;
    case SMTP_CLIENT_FAILED:
        to.state = SPOOL_FAILED;
        break;
    case SMTP_CLIENT_PENDING:
    case SMTP_CLIENT_RETRY:
        to.state = from->in_doubt ? SPOOL_IN_DOUBT : SPOOL_QUEUED;
        break;
    }
    return to;
}

/* Nothing was learnt, or only that this next hop is no good: the message is as before. */
static bool is_unheard(const struct relay_conn *conn, const struct relay_delivery *d)
{
    bool ended = smtp_client_state(conn->client) == SMTP_CLIENT_STATE_CLOSED;
    bool elsewhere = conn->aborting || (!conn->served && relay_dial_has_more(conn));

    for (uint32_t i = 0; i < d->m.rcpt_count; i++) {
        const struct smtp_client_result *r = &d->m.rcpts[i].result;

        if (r->outcome != SMTP_CLIENT_RETRY || r->in_doubt)
            return false;
        if (!r->untried && !(ended && elsewhere))
            return false;
    }
    return true;
}

static void note_well(struct relay_conn *conn, const struct relay_delivery *d)
{
    struct relay *r = conn->rl->relay;
    int64_t now = net_loop_now(conn->rl->loop);
    int64_t us = (now - PT_MAX(conn->free_ns, d->begun_ns)) / 1000;
    uint64_t loops = 0;

    conn->free_ns = now;
    relay_lock(r);
    if (conn->dest->failures)
        relay_dest_mark_good(conn->dest, conn->endpoint);
    if (relay_sched_went_well(&r->sched, conn->dest, (uint32_t)PT_MIN(us, INT64_C(1) << 30)))
        loops = relay_sched_wake_for(&r->sched, conn->dest);
    relay_unlock(r);
    conn->served++;
    relay_wake_loops(r, loops);
}

void relay_conn_take_results(struct relay_conn *conn, struct relay_delivery *d)
{
    struct relay_via via = via_of(conn);

    if (conn->sending == d) {
        conn->sending = NULL;
        conn->slice_count = conn->slice_first = 0;
    }
    if (is_unheard(conn, d)) {
        struct relay_group *g = d->group;

        relay_delivery_done(d);
        if (conn->aborting || conn->pulled_count >= RELAY_PULL_MAX)
            put_back(conn, g);
        else
            keep_for_next_candidate(conn, g);
        return;
    }
    for (uint32_t i = 0; i < d->m.rcpt_count; i++)
        d->results[i] = result_of(&d->m.rcpts[i].result);
    if (smtp_client_state(conn->client) != SMTP_CLIENT_STATE_CLOSED)
        note_well(conn, d);
    via.reused = d->reused;
    relay_outcome(conn->rl, d->group, d->results, &via);
    relay_delivery_done(d);
}

void relay_conn_put_back_all(struct relay_conn *conn)
{
    if (conn->upcoming) {
        struct relay_group *g = conn->upcoming->group;

        relay_delivery_done(conn->upcoming);
        conn->upcoming = NULL;
        put_back(conn, g);
    }
    /* To the head of the queue, so the last first. */
    while (conn->pulled_count) {
        conn->pulled_count--;
        put_back(conn, conn->pulled[conn->pulled_first + conn->pulled_count]);
    }
}

static void settle_some(struct relay_conn *conn, const struct relay_result *result,
                        const struct relay_via *via)
{
    if (conn->upcoming) {
        struct relay_group *g = conn->upcoming->group;

        relay_delivery_done(conn->upcoming);
        conn->upcoming = NULL;
        relay_outcome_all(conn->rl, g, result, via);
    } else if (!conn->pulled_count) {
        struct relay *r = conn->rl->relay;

        conn->pulled_first = 0;
        relay_lock(r);
        conn->pulled_count =
            relay_sched_pull(&r->sched, conn->dest, 0, conn->pulled, RELAY_PULL_MAX);
        relay_unlock(r);
    }
    while (conn->pulled_count) {
        conn->pulled_count--;
        relay_outcome_all(conn->rl, conn->pulled[conn->pulled_first++], result, via);
    }
}

void relay_conn_charge(struct relay_conn *conn)
{
    struct relay_via via = via_of(conn);
    struct relay_result result = { .state = SPOOL_QUEUED, .reply = str_of(conn->reason) };

    via.unreachable = true;
    settle_some(conn, &result, &via);
}

void relay_conn_fail_some(struct relay_conn *conn, struct str text)
{
    struct relay_via via = { 0 };
    struct relay_result result = { .state = SPOOL_FAILED, .reply = text };

    settle_some(conn, &result, &via);
}
