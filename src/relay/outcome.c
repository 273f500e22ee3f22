#include "relay/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/bounce.h"
#include "relay/operation.h"
#include "smtp/envelope.h"

enum { RECIPIENTS_LOGGED_MAX = 4096 };

/* ---- deciding ---- */

static bool is_again(const struct relay_result *res)
{
    return res->state == SPOOL_QUEUED || res->state == SPOOL_IN_DOUBT;
}

/* Copies the results; texts of all but deliveries, which nobody asks for again. */
static bool copy_results(struct relay_op *op, const struct relay_result *results)
{
    size_t n = 0;
    char *p;

    for (uint32_t i = 0; i < op->count; i++)
        if (results[i].state != SPOOL_DELIVERED)
            n += results[i].reply.n;
    p = op->texts = n ? malloc(n) : NULL;
    if (n && !p)
        return false;
    for (uint32_t i = 0; i < op->count; i++) {
        struct relay_result *to = &op->results[i];

        *to = results[i];
        if (to->state == SPOOL_DELIVERED)
            to->reply = STR("");
        if (to->reply.n) {
            memcpy(p, to->reply.p, to->reply.n);
            to->reply.p = p;
            p += to->reply.n;
        }
    }
    return true;
}

/* Too long in the queue: what would be tried again is given up, with the last reason. */
static bool give_up_old(struct relay_op *op)
{
    static const char why[] = "4.4.7 given up, it was in the queue for too long; the last reason: ";
    size_t room = 0, used = 0;
    char *texts;

    for (uint32_t i = 0; i < op->count; i++)
        room += sizeof why + op->results[i].reply.n;
    texts = malloc(room);
    if (!texts)
        return false;
    for (uint32_t i = 0; i < op->count; i++) {
        struct relay_result *res = &op->results[i];
        size_t head = is_again(res) ? sizeof why - 1 : 0;

        memcpy(texts + used, why, head);
        if (res->reply.n)
            memcpy(texts + used + head, res->reply.p, res->reply.n);
        res->reply = (struct str){ texts + used, head + res->reply.n };
        used += res->reply.n;
        if (head)
            res->state = SPOOL_FAILED;
    }
    free(op->texts);
    op->texts = texts;
    return true;
}

static void plan_next(struct relay_op *op, const struct relay_via *via, int64_t now_us)
{
    struct relay *r = op->relay;
    const struct retry_policy *p = &r->sched.retry;
    bool tried = false, in_doubt = false;
    int64_t delay = 0;

    for (uint32_t i = 0; i < op->count; i++) {
        tried |= is_again(&op->results[i]) && !op->results[i].untried;
        in_doubt |= op->results[i].state == SPOOL_IN_DOUBT;
    }
    if (tried) {
        relay_lock(r);
        delay = retry_delay_us(p, op->group->attempts + 1, &r->sched.rng);
        relay_unlock(r);
    }
    if (in_doubt)
        delay = PT_MAX(delay, p->in_doubt_us);
    op->again = (struct relay_again){
        .next_us = retry_at_us(p, op->message->received_us, now_us, delay),
        .unreachable = via->unreachable,
        .prefer = in_doubt ? via->endpoint : 0,
    };
}

/* ---- saying it ---- */

static const char *const events[] = {
    [SPOOL_QUEUED] = "deferred",
    [SPOOL_DELIVERED] = "delivered",
    [SPOOL_FAILED] = "bounced",
    [SPOOL_IN_DOUBT] = "in_doubt",
};

static void log_recipients(struct log_line *l, const struct relay_op *op, uint8_t state)
{
    const struct spool_recipient *all = op->message->recipients;
    struct buf names;

    if (op->count == 1) {
        log_str(l, "recipients", all[op->group->indexes[0]].address);
        return;
    }
    buf_init(&names, RECIPIENTS_LOGGED_MAX);
    for (uint32_t i = 0; i < op->count; i++) {
        if (op->results[i].state != state)
            continue;
        if (names.n)
            buf_add_char(&names, ',');
        buf_add_str(&names, all[op->group->indexes[i]].address);
    }
    log_str(l, "recipients", buf_str(&names));
    buf_done(&names);
}

static void log_state(const struct relay_op *op, const struct relay_result *results, uint8_t state,
                      const struct relay_via *via, int64_t now_us)
{
    struct log_line l;
    uint32_t i = 0;
    char at[CLOCK_RFC3339_SIZE];

    while (i < op->count && op->results[i].state != state)
        i++;
    if (i == op->count)
        return;
    log_begin(&l, LOG_INFO, events[state]);
    log_id(&l, op->message->id);
    log_str(&l, "reverse_path", op->message->reverse_path);
    log_recipients(&l, op, state);
    log_cstr(&l, "next_hop", via->host);
    log_cstr(&l, "peer", via->peer);
    if (results[i].code)
        log_u64(&l, "code", results[i].code);
    log_str(&l, "reply", state == SPOOL_DELIVERED ? results[i].reply : op->results[i].reply);
    log_u64(&l, "delay_ms", (uint64_t)PT_MAX(0, (now_us - op->message->received_us) / 1000));
    if (via->host)
        log_cstr(&l, "connection", via->reused ? "reused" : "new");
    if (is_again(&op->results[i])) {
        clock_rfc3339(op->again.next_us, at);
        log_cstr(&l, "next_attempt", at);
        log_u64(&l, "attempts", op->group->attempts + !op->results[i].untried);
    }
    log_end(&l);
}

static void count_results(struct relay_op *op)
{
    struct relay_counters *c = &op->relay->counters;
    _Atomic uint64_t *of[] = {
        [SPOOL_QUEUED] = &c->deferrals,
        [SPOOL_DELIVERED] = &c->delivered,
        [SPOOL_FAILED] = &c->failed,
        [SPOOL_IN_DOUBT] = &c->in_doubt,
    };
    uint64_t n[PT_ARRAY_LEN(of)] = { 0 };

    for (uint32_t i = 0; i < op->count; i++)
        n[op->results[i].state]++;
    for (unsigned s = 0; s < PT_ARRAY_LEN(of); s++)
        if (n[s])
            relay_count(of[s], n[s]);
}

/* ---- both halves ---- */

/* Without memory the outcome counts in this run; after the next start the message is tried again.
 */
static void settle_unsaved(struct relay *r, struct relay_group *g,
                           const struct relay_result *results)
{
    int64_t now_us = relay_now(r);
    uint64_t id = g->item->id;
    struct relay_again again = { .next_us = now_us + r->sched.retry.first_us };
    struct log_line l;

    relay_lock(r);
    relay_sched_settle(&r->sched, g, results, &again, now_us);
    relay_unlock(r);
    log_begin(&l, LOG_ERROR, "outcome_lost");
    log_id(&l, id);
    log_cstr(&l, "text", "out of memory; after a restart this message may be delivered again");
    log_end(&l);
}

void relay_outcome(struct relay_loop *rl, struct relay_group *g, const struct relay_result *results,
                   const struct relay_via *via)
{
    struct spool_message *m = g->item->message;
    struct relay_op *op = relay_op_new(rl, m, g->count);
    int64_t now_us = relay_now(rl->relay);
    bool old = retry_expired(&rl->relay->sched.retry, m->received_us, now_us);

    if (op)
        op->group = g;
    if (!op || !copy_results(op, results) || (old && !give_up_old(op))) {
        settle_unsaved(rl->relay, g, results);
        relay_outcome_wait_tell(via->wait, PT_ERR_NOMEM);
        if (op)
            relay_op_return(op);
        return;
    }
    op->wait = via->wait;
    plan_next(op, via, now_us);
    for (uint8_t state = SPOOL_QUEUED; state <= SPOOL_IN_DOUBT; state++)
        log_state(op, results, state, via, now_us);
    count_results(op);
    if (!relay_bounce_is_due(op)) {
        relay_outcome_commit(op, NULL);
        return;
    }
    snprintf(op->host, sizeof op->host, "%s", via->host ? via->host : "");
    relay_bounce_make(op);
}

void relay_outcome_all(struct relay_loop *rl, struct relay_group *g,
                       const struct relay_result *result, const struct relay_via *via)
{
    struct relay_result one = *result;
    struct relay_result *results = g->count == 1 ? &one : calloc(g->count, sizeof *results);

    if (!results) {
        relay_lock(rl->relay);
        relay_sched_put_back(&rl->relay->sched, g);
        relay_unlock(rl->relay);
        relay_outcome_wait_tell(via->wait, PT_ERR_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < g->count; i++)
        results[i] = *result;
    relay_outcome(rl, g, results, via);
    if (results != &one)
        free(results);
}

static void fill_outcomes(struct relay_op *op)
{
    const struct relay_group *g = op->group;

    op->op = (struct spool_op){
        .kind = SPOOL_OP_OUTCOME,
        .message = op->message,
        .outcomes = op->outcomes,
        .outcome_count = op->count,
        .lazy = true,
        .done = relay_op_stored,
    };
    for (uint32_t i = 0; i < op->count; i++) {
        const struct relay_result *res = &op->results[i];

        op->outcomes[i] = (struct spool_outcome){
            .recipient = g->indexes[i],
            .state = res->state,
            .code = res->code,
            .attempts = op->message->recipients[g->indexes[i]].attempts + !res->untried,
            .next_attempt_us = is_again(res) ? op->again.next_us : 0,
            .reply = res->reply,
        };
        if (res->state == SPOOL_IN_DOUBT)
            op->op.lazy = false; /* a crash now must not send it again at once */
    }
}

void relay_outcome_commit(struct relay_op *op, struct spool_message *bounce)
{
    struct relay *r = op->relay;
    struct relay_loop *rl = op->rl;
    bool deleted;

    fill_outcomes(op);
    op->op.bounce = bounce;
    if (bounce)
        op->op.lazy = false;
    relay_lock(r);
    deleted = atomic_load_explicit(&op->group->item->deleted, memory_order_relaxed);
    /* With a notice the message stays until the notice is queued: somebody who looks sees one of
     * them at any moment. */
    if (deleted || !bounce)
        relay_op_settle(op);
    if (!deleted && r->unsaved)
        relay_op_add_unsaved(r, op); /* behind the others: the order stays */
    else if (!deleted) {
        *rl->ops_end = &op->op;
        rl->ops_end = &op->op.next;
    }
    relay_unlock(r);
    if (deleted)
        relay_op_return(op);
}
