#include "relay/outcome.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "relay/notice.h"
#include "relay/operation.h"
#include "smtp/envelope.h"

enum { RECIPIENTS_LOGGED_MAX = 4096 };

/* ---- deciding ---- */

static bool is_again(const struct relay_result *res)
{
    return res->state == SPOOL_QUEUED || res->state == SPOOL_IN_DOUBT;
}

/* Of a delivery nobody asks for the text again, unless it is to be told. */
static bool keeps_text(const struct relay_op *op, const struct relay_result *results, uint32_t i)
{
    return results[i].state != SPOOL_DELIVERED ||
           op->message->recipients[op->group->indexes[i]].notify & SMTP_NOTIFY_SUCCESS;
}

static bool copy_results(struct relay_op *op, const struct relay_result *results)
{
    size_t n = 0;
    char *p;

    for (uint32_t i = 0; i < op->count; i++)
        if (keeps_text(op, results, i))
            n += results[i].reply.n;
    p = op->texts = n ? malloc(n) : NULL;
    if (n && !p)
        return false;
    for (uint32_t i = 0; i < op->count; i++) {
        struct relay_result *to = &op->results[i];

        *to = results[i];
        if (!keeps_text(op, results, i))
            to->reply = STR("");
        if (to->reply.n) {
            memcpy(p, to->reply.p, to->reply.n);
            to->reply.p = p;
            p += to->reply.n;
        }
    }
    return true;
}

/* What would be tried again is given up: op->why, and the last reason. */
static bool give_up(struct relay_op *op)
{
    static const char last[] = RELAY_LAST_REASON;
    size_t head = strlen(op->why), room = 0;
    struct buf texts;

    for (uint32_t i = 0; i < op->count; i++)
        room += head + sizeof last + op->results[i].reply.n;
    buf_init(&texts, room);
    if (!buf_reserve(&texts, room))
        return false;
    for (uint32_t i = 0; i < op->count; i++) {
        struct relay_result *res = &op->results[i];
        size_t start = texts.n;

        if (is_again(res)) {
            res->state = SPOOL_FAILED;
            res->given_up = true;
            buf_add(&texts, op->why, head);
            if (res->reply.n)
                buf_add(&texts, last, sizeof last - 1);
        }
        buf_add_str(&texts, res->reply);
        res->reply = (struct str){ texts.p + start, texts.n - start };
    }
    free(op->texts);
    op->texts = texts.p;
    return true;
}

/* Those whom the sender hears of with this outcome, as waiting (RFC 3461 5.2.5). */
static void choose_late(struct relay_op *op, int64_t now_us)
{
    const struct spool_message *m = op->message;

    if (!m->reverse_path.n || relay_message_flags(m) & SPOOL_HELD ||
        !retry_is_late(&op->rl->retry, m->received_us, now_us))
        return;
    for (uint32_t i = 0; i < op->count; i++)
        op->results[i].delay_told = is_again(&op->results[i]) &&
                                    relay_wants_delay_notice(&m->recipients[op->group->indexes[i]]);
}

static void plan_next(struct relay_op *op, const struct relay_via *via, int64_t now_us)
{
    struct relay *r = op->relay;
    const struct retry_policy *p = &op->rl->retry;
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

static void log_tls(struct log_line *l, const struct relay_via *via)
{
    if (via->secured) {
        log_cstr(l, "tls", via->tls.version);
        log_cstr(l, "cipher", via->tls.cipher);
        log_cstr(l, "tls_peer", via->tls.subject);
        log_cstr(l, "tls_verified", via->tls.verified ? "yes" : via->tls.unverified);
    } else if (via->clear) {
        log_cstr(l, "tls", "no");
        log_cstr(l, "tls_reason", via->clear);
    }
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
    log_tls(&l, via);
    if (is_again(&op->results[i])) {
        clock_rfc3339(op->again.next_us, at);
        log_cstr(&l, "next_attempt", at);
        log_u64(&l, "attempts", op->group->attempts + !op->results[i].untried);
    }
    log_end(&l);
}

static void count_results(struct relay_op *op, const struct relay_via *via)
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
    if (via->secured && n[SPOOL_DELIVERED])
        relay_count(&c->delivered_tls, n[SPOOL_DELIVERED]);
}

/* ---- both halves ---- */

/* Without memory the outcome counts in this run; after the next start the message is tried again.
 */
static void settle_unsaved(struct relay_loop *rl, struct relay_group *g,
                           const struct relay_result *results)
{
    struct relay *r = rl->relay;
    int64_t now_us = relay_now(r);
    uint64_t id = g->item->id;
    struct relay_again again = { .next_us = now_us + rl->retry.first_us };
    struct log_line l;

    relay_lock(r);
    relay_sched_settle(&r->sched, g, results, &again, now_us);
    relay_unlock(r);
    log_begin(&l, LOG_ERROR, "outcome_lost");
    log_id(&l, id);
    log_cstr(&l, "text", "out of memory; after a restart this message may be delivered again");
    log_end(&l);
}

/* `why` NULL: nobody is given up but by age. */
static void conclude(struct relay_loop *rl, struct relay_group *g,
                     const struct relay_result *results, const struct relay_via *via,
                     const char *why)
{
    struct spool_message *m = g->item->message;
    struct relay_op *op = relay_op_new(rl, m, g->count);
    int64_t now_us = relay_now(rl->relay);

    if (!why && retry_expired(&rl->retry, m->received_us, now_us))
        why = RELAY_TOO_OLD;
    if (op) {
        op->group = g;
        op->why = why;
        op->final = via->final;
        op->tells = via->tells;
    }
    if (!op || !copy_results(op, results) || (why && !give_up(op))) {
        settle_unsaved(rl, g, results);
        relay_outcome_wait_tell(via->wait, PT_ERR_NOMEM);
        if (op)
            relay_op_return(op);
        return;
    }
    op->wait = via->wait;
    plan_next(op, via, now_us);
    choose_late(op, now_us);
    for (uint8_t state = SPOOL_QUEUED; state <= SPOOL_IN_DOUBT; state++)
        log_state(op, results, state, via, now_us);
    count_results(op, via);
    if (!relay_notice_is_due(op)) {
        relay_outcome_commit(op, NULL);
        return;
    }
    snprintf(op->host, sizeof op->host, "%s", via->host ? via->host : "");
    relay_notice_make(op);
}

void relay_outcome(struct relay_loop *rl, struct relay_group *g, const struct relay_result *results,
                   const struct relay_via *via)
{
    conclude(rl, g, results, via, NULL);
}

static void put_back(struct relay_loop *rl, struct relay_group *g)
{
    relay_lock(rl->relay);
    relay_sched_put_back(&rl->relay->sched, g);
    relay_unlock(rl->relay);
}

void relay_outcome_all(struct relay_loop *rl, struct relay_group *g,
                       const struct relay_result *result, const struct relay_via *via)
{
    struct relay_result one = *result;
    struct relay_result *results = g->count == 1 ? &one : calloc(g->count, sizeof *results);

    if (!results) {
        put_back(rl, g);
        relay_outcome_wait_tell(via->wait, PT_ERR_NOMEM);
        return;
    }
    for (uint32_t i = 0; i < g->count; i++)
        results[i] = *result;
    relay_outcome(rl, g, results, via);
    if (results != &one)
        free(results);
}

/* ---- without a delivery ---- */

/* Nothing happened: what was heard last, and when it is tried next, stay. */
static struct relay_result *as_it_was(const struct relay_group *g)
{
    struct relay_result *results = calloc(g->count, sizeof *results);

    for (uint32_t i = 0; results && i < g->count; i++) {
        const struct spool_recipient *r = &g->item->message->recipients[g->indexes[i]];

        results[i] = (struct relay_result){
            .state = r->state,
            .code = r->code,
            .untried = true,
            .keeps_time = true,
            .reply = r->reply,
        };
    }
    return results;
}

void relay_outcome_given_up(struct relay_loop *rl, struct relay_group *g, const char *why,
                            struct relay_outcome_wait *wait)
{
    struct relay_result *results = as_it_was(g);
    const struct relay_via via = { .unreachable = true, .wait = wait };

    if (results) {
        conclude(rl, g, results, &via, why);
    } else {
        put_back(rl, g);
        relay_outcome_wait_tell(wait, PT_ERR_NOMEM);
    }
    free(results);
}

void relay_outcome_late(struct relay_loop *rl, struct relay_group *g)
{
    struct relay_result *results = as_it_was(g);
    struct relay_op *op = results ? relay_op_new(rl, g->item->message, g->count) : NULL;

    if (op)
        op->group = g;
    if (op && copy_results(op, results)) {
        op->late = true;
        op->again = (struct relay_again){ .unreachable = g->unreachable, .prefer = g->prefer };
        choose_late(op, relay_now(rl->relay));
    } else {
        put_back(rl, g);
        if (op)
            relay_op_return(op);
        op = NULL;
    }
    free(results);
    if (op && relay_notice_is_due(op))
        relay_notice_make(op);
    else if (op)
        relay_outcome_commit(op, NULL);
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
        const struct spool_recipient *r = &op->message->recipients[g->indexes[i]];
        int64_t next_us = res->keeps_time ? r->next_attempt_us : op->again.next_us;

        op->outcomes[i] = (struct spool_outcome){
            .recipient = g->indexes[i],
            .state = res->state,
            .code = res->code,
            .attempts = r->attempts + !res->untried,
            .next_attempt_us = is_again(res) ? next_us : 0,
            .reply = res->reply,
            .delay_told = r->delay_told || res->delay_told,
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
