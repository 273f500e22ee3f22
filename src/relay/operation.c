#include "relay/operation.h"

#include <stdlib.h>

#include "relay/notice.h"

/*
 * Operations are made on a loop, done on the commit thread, and go back to their loop by a list
 * that the one fills and the other empties, so that neither waits and none is allocated twice.
 */

static struct relay_op *take_free(struct relay_loop *rl)
{
    struct relay *r = rl->relay;
    struct relay_op *op = rl->free_ops;

    if (!op)
        op = atomic_exchange_explicit(&r->returned_ops[rl->index], NULL, memory_order_acquire);
    if (op)
        rl->free_ops = op->next;
    return op;
}

/* Room for `count` recipients; false: the operation is as before. */
static bool make_room(struct relay_op *op, uint32_t count)
{
    op->count = count;
    op->results = &op->one_result;
    op->outcomes = &op->one_outcome;
    if (count <= 1)
        return true;
    op->results = calloc(count, sizeof *op->results);
    op->outcomes = calloc(count, sizeof *op->outcomes);
    if (op->results && op->outcomes)
        return true;
    free(op->results);
    free(op->outcomes);
    return false;
}

struct relay_op *relay_op_new(struct relay_loop *rl, struct spool_message *m, uint32_t count)
{
    struct relay_op *op = take_free(rl);

    if (!op)
        op = malloc(sizeof *op);
    if (!op)
        return NULL;
    *op = (struct relay_op){ .relay = rl->relay, .rl = rl, .home = rl->index };
    if (!make_room(op, count)) {
        op->next = rl->free_ops;
        rl->free_ops = op;
        return NULL;
    }
    op->message = spool_message_ref(m);
    return op;
}

/* The same on any thread. */
static struct relay_op *new_op(struct relay *r, struct spool_message *m, uint32_t count)
{
    struct relay_op *op = malloc(sizeof *op);

    if (!op)
        return NULL;
    *op = (struct relay_op){ .relay = r };
    if (!make_room(op, count)) {
        free(op);
        return NULL;
    }
    op->message = spool_message_ref(m);
    return op;
}

/* ---- who waits ---- */

void relay_outcome_wait_add(struct relay_outcome_wait *w)
{
    pthread_mutex_lock(&w->lock);
    w->pending++;
    pthread_mutex_unlock(&w->lock);
}

void relay_outcome_wait_tell(struct relay_outcome_wait *w, enum pt_err result)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->pending--;
    if (!w->err)
        w->err = result;
    pthread_cond_signal(&w->stored);
    pthread_mutex_unlock(&w->lock);
}

static void tell(struct relay_op *op, enum pt_err result)
{
    struct relay_outcome_wait *w = op->wait;

    op->wait = NULL;
    relay_outcome_wait_tell(w, result);
}

static void release_parts(struct relay_op *op)
{
    spool_message_unref(op->op.bounce);
    spool_message_unref(op->message);
    if (op->results != &op->one_result)
        free(op->results);
    if (op->outcomes != &op->one_outcome)
        free(op->outcomes);
    free(op->texts);
    free(op->routes);
    op->op.bounce = op->message = NULL;
    op->texts = NULL;
    op->routes = NULL;
}

void relay_op_return(struct relay_op *op)
{
    _Atomic(struct relay_op *) *list = &op->relay->returned_ops[op->home];
    struct relay_op *head = atomic_load_explicit(list, memory_order_relaxed);

    tell(op, PT_ERR_OK); /* not stored, since there is no need any more */
    release_parts(op);
    do
        op->next = head;
    while (!atomic_compare_exchange_weak_explicit(list, &head, op, memory_order_release,
                                                  memory_order_relaxed));
}

void relay_op_add_unsaved(struct relay *r, struct relay_op *op)
{
    op->next = NULL;
    *r->unsaved_end = op;
    r->unsaved_end = &op->next;
    r->unsaved_count++;
    tell(op, PT_ERR_AGAIN);
}

void relay_op_settle(struct relay_op *op)
{
    struct relay *r = op->relay;

    relay_sched_settle(&r->sched, op->group, op->results, &op->again, relay_now(r));
    op->group = NULL;
}

/* The disk is full, say: that somebody waits is told later, what was decided counts at once. Under
 * the lock. */
static void drop_notice(struct relay_op *op)
{
    op->op.bounce = NULL;
    relay_notice_put_off(op);
    relay_op_settle(op);
}

void relay_op_stored(struct spool_op *stored)
{
    struct relay_op *op = PT_CONTAINER_OF(stored, struct relay_op, op);
    struct relay *r = op->relay;
    struct spool_message *dropped;
    bool done;

    enum pt_err result = stored->result == PT_ERR_NOTFOUND ? PT_ERR_OK : stored->result;

    if (result == PT_ERR_OK || op->once) {
        if (op->group) {
            relay_lock(r);
            relay_op_settle(op);
            relay_unlock(r);
        }
        tell(op, result);
        relay_op_return(op);
        return;
    }
    tell(op, result);
    dropped = relay_notice_can_wait(op) ? op->op.bounce : NULL;
    relay_lock(r);
    if (dropped)
        drop_notice(op);
    done = dropped && op->late;
    if (!done)
        relay_op_add_unsaved(r, op);
    relay_unlock(r);
    spool_message_unref(dropped);
    if (done)
        relay_op_return(op);
}

void relay_outcome_submit_unsaved(struct relay *r)
{
    struct spool_op *first = NULL, **end = &first;
    struct relay_op *op;

    if (!r->spool)
        return;
    relay_lock(r);
    op = r->unsaved;
    r->unsaved = NULL;
    r->unsaved_end = &r->unsaved;
    r->unsaved_count = 0;
    relay_unlock(r);
    for (; op; op = op->next) {
        op->op.next = NULL;
        *end = &op->op;
        end = &op->op.next;
    }
    if (first)
        spool_submit(r->spool, first);
}

/* The spool is closed already: what comes now is lost with this run, as a crash would lose it. */
static void keep_unsaved(struct relay *r, struct spool_op *first)
{
    while (first) {
        struct spool_op *next = first->next;

        relay_lock(r);
        relay_op_add_unsaved(r, PT_CONTAINER_OF(first, struct relay_op, op));
        relay_unlock(r);
        first = next;
    }
}

void relay_outcome_submit(void *relay_loop)
{
    struct relay_loop *rl = relay_loop;
    struct spool_op *first = rl->ops;

    if (!first)
        return;
    rl->ops = NULL;
    rl->ops_end = &rl->ops;
    if (rl->relay->spool)
        spool_submit(rl->relay->spool, first);
    else
        keep_unsaved(rl->relay, first);
}

void relay_outcome_wait_init(struct relay_outcome_wait *w)
{
    *w = (struct relay_outcome_wait){ .err = PT_ERR_OK };
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->stored, NULL);
}

void relay_outcome_wait(struct relay_outcome_wait *w, uint32_t at_most)
{
    pthread_mutex_lock(&w->lock);
    while (w->pending > at_most)
        pthread_cond_wait(&w->stored, &w->lock);
    pthread_mutex_unlock(&w->lock);
}

enum pt_err relay_outcome_wait_done(struct relay_outcome_wait *w)
{
    pthread_cond_destroy(&w->stored);
    pthread_mutex_destroy(&w->lock);
    return w->err;
}

bool relay_outcome_submit_kind(struct relay *r, struct spool_message *m, enum spool_op_kind kind,
                               struct relay_outcome_wait *wait)
{
    struct relay_op *op = new_op(r, m, 1);

    if (!op)
        return false;
    op->wait = wait;
    op->op = (struct spool_op){ .kind = kind, .message = m, .done = relay_op_stored };
    relay_outcome_wait_add(wait);
    spool_submit(r->spool, &op->op);
    return true;
}

bool relay_outcome_submit_routes(struct relay *r, struct spool_message *m,
                                 const uint32_t *recipients, uint32_t count, struct str next_hop,
                                 struct relay_outcome_wait *wait)
{
    struct relay_op *op = new_op(r, m, 1);

    if (!op)
        return false;
    op->routes = calloc(count, sizeof *op->routes);
    op->texts = str_dup(next_hop);
    if (!op->routes || !op->texts) {
        release_parts(op);
        free(op);
        return false;
    }
    for (uint32_t i = 0; i < count; i++)
        op->routes[i] = (struct spool_route){ recipients[i], { op->texts, next_hop.n } };
    op->wait = wait;
    op->op = (struct spool_op){ .kind = SPOOL_OP_ROUTE,
                                .message = m,
                                .routes = op->routes,
                                .route_count = count,
                                .done = relay_op_stored };
    relay_outcome_wait_add(wait);
    spool_submit(r->spool, &op->op);
    return true;
}

/* As the message has it; only the time changes. */
static void fill_due_now(struct relay_op *op, int64_t now_us)
{
    const struct relay_group *g = op->group;

    for (uint32_t i = 0; i < op->count; i++) {
        const struct spool_recipient *r = &op->message->recipients[g->indexes[i]];

        op->results[i] = (struct relay_result){
            .state = r->state, .code = r->code, .untried = true, .reply = r->reply
        };
        op->outcomes[i] = (struct spool_outcome){
            .recipient = g->indexes[i],
            .state = r->state,
            .code = r->code,
            .attempts = r->attempts,
            .next_attempt_us = now_us,
            .reply = r->reply,
            .delay_told = r->delay_told,
        };
    }
    op->again = (struct relay_again){ .next_us = now_us, .prefer = g->prefer };
    op->op = (struct spool_op){
        .kind = SPOOL_OP_OUTCOME,
        .message = op->message,
        .outcomes = op->outcomes,
        .outcome_count = op->count,
        .done = relay_op_stored,
    };
}

bool relay_outcome_due_now(struct relay *r, struct relay_group *g, struct relay_outcome_wait *wait)
{
    struct relay_op *op = new_op(r, g->item->message, g->count);

    if (!op)
        return false;
    op->group = g;
    op->wait = wait;
    op->once = true;
    fill_due_now(op, relay_now(r));
    relay_outcome_wait_add(wait);
    spool_submit(r->spool, &op->op);
    return true;
}

void relay_outcome_free_all(struct relay *r)
{
    while (r->unsaved) {
        struct relay_op *op = r->unsaved;

        r->unsaved = op->next;
        release_parts(op);
        free(op);
    }
    for (unsigned i = 0; i < RELAY_LOOPS_MAX; i++) {
        struct relay_op *op = atomic_exchange(&r->returned_ops[i], NULL);

        while (op) {
            struct relay_op *next = op->next;

            free(op);
            op = next;
        }
    }
}
