#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "spool/internal.h"

/*
 * The commit thread: takes all that waits, makes it durable, tells. No timer: while one batch is
 * synced the next one gathers.
 *
 * Submitters push on a stack without a lock and wake the thread only when it has said that it
 * sleeps. It says so before it looks at the stack a last time, they push before they look whether
 * it sleeps; so one of the two sees the other.
 */

enum { AWAKE, ASLEEP_TIMED, ASLEEP };

static void wake(struct spool *s, bool lazy)
{
    uint32_t state = atomic_load(&s->sleep);

    /* Who sleeps with a time-out looks at lazy operations in time. */
    if (state == AWAKE || (lazy && state == ASLEEP_TIMED))
        return;
    if (atomic_exchange(&s->sleep, AWAKE) != AWAKE)
        syscall(SYS_futex, &s->sleep, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

void commit_wake(struct spool *s)
{
    wake(s, false);
}

void spool_submit(struct spool *s, struct spool_op *first)
{
    struct spool_op *reversed = NULL, *last = first, *head;
    bool lazy = true;

    if (!first)
        return;
    while (first) {
        struct spool_op *next = first->next;

        lazy = lazy && first->lazy;
        first->next = reversed;
        reversed = first;
        first = next;
    }
    head = atomic_load_explicit(&s->submitted, memory_order_relaxed);
    do {
        last->next = head;
    } while (!atomic_compare_exchange_weak(&s->submitted, &head, reversed));
    wake(s, lazy);
}

static bool anything_new(struct spool *s)
{
    return atomic_load(&s->submitted) || atomic_load(&s->returned) ||
           (s->load && atomic_load(&s->load->returned));
}

/* With `stop`: what has to be waited for. */
static bool anything_waits(struct spool *s)
{
    return anything_new(s) || s->waiting || s->working || s->copying;
}

static void collect(struct spool *s)
{
    struct spool_op *op = atomic_exchange(&s->submitted, NULL);
    struct spool_op *oldest = NULL, *newest = op;

    while (op) {
        struct spool_op *next = op->next;

        if (!op->lazy)
            s->urgent++;
        else if (s->lazy_due_us == INT64_MAX)
            s->lazy_due_us = s->now_us + LAZY_US;
        op->next = oldest;
        oldest = op;
        op = next;
    }
    if (!oldest)
        return;
    if (s->waiting_last)
        s->waiting_last->next = oldest;
    else
        s->waiting = oldest;
    s->waiting_last = newest;
}

static struct spool_op *take_waiting(struct spool *s)
{
    struct spool_op *op = s->waiting;

    s->waiting = op->next;
    if (!s->waiting)
        s->waiting_last = NULL;
    if (!op->lazy)
        s->urgent--;
    return op;
}

static void put_back(struct spool *s, struct spool_op *op)
{
    op->next = s->waiting;
    s->waiting = op;
    if (!s->waiting_last)
        s->waiting_last = op;
    if (!op->lazy)
        s->urgent++;
}

static bool due(struct spool *s)
{
    return s->waiting && (s->urgent || s->now_us >= s->lazy_due_us || atomic_load(&s->stop));
}

/* ---- what cannot be written ---- */

void commit_fault(struct spool *s, int sys_errno, const char *what)
{
    pthread_mutex_lock(&s->lock);
    pt_fault_errno(&s->stats.fault, sys_errno, "spool %s: %s", s->config.directory, what);
    pthread_mutex_unlock(&s->lock);
}

static void finish(struct spool_op *op, enum pt_err err)
{
    op->result = err;
    op->done(op);
}

static bool brings_message(const struct spool_op *op)
{
    return op->kind == SPOOL_OP_MESSAGE;
}

/* Why an operation is refused without being tried; OK: it is not. */
static enum pt_err refusal(struct spool *s, const struct spool_op *op)
{
    if (s->config.read_only)
        return PT_ERR_DENIED;
    if (!s->open)
        return s->no_space ? PT_ERR_NOSPACE : PT_ERR_IO;
    if (brings_message(op) && s->no_space && s->spares.count == 0)
        return PT_ERR_NOSPACE;
    return PT_ERR_OK;
}

/* The open segment cannot take `op`. True: there is another one now; else op is answered. */
static bool next_segment(struct spool *s, struct spool_op *op)
{
    /* The last spare is for what frees space. */
    if (brings_message(op) && s->no_space && s->spares.count < SPARES_WANTED)
        return false;
    return space_open_next(s, s->batch.least);
}

/* ---- one batch ---- */

static void fill(struct spool *s)
{
    bool begun = false;

    while (s->waiting) {
        struct spool_op *op = take_waiting(s);
        enum pt_err err = refusal(s, op);
        enum batch_added added;

        if (err) {
            finish(op, err);
            continue;
        }
        if (!begun)
            batch_begin(s);
        begun = true;
        added = batch_add(s, op);
        if (added == BATCH_REFUSED) {
            op->done(op);
        } else if (added != BATCH_ADDED && s->batch.frames) {
            put_back(s, op);
            break;
        } else if (added != BATCH_ADDED) {
            begun = false;
            if (next_segment(s, op))
                put_back(s, op);
            else
                finish(op, s->no_space ? PT_ERR_NOSPACE : PT_ERR_IO);
        }
    }
    if (!s->waiting)
        s->lazy_due_us = INT64_MAX;
}

static int by_id(const void *a, const void *b)
{
    const struct spool_message *x = *(struct spool_message *const *)a;
    const struct spool_message *y = *(struct spool_message *const *)b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static void tell_committed(struct spool *s)
{
    struct spool_batch *b = &s->batch;
    bool sorted = true;

    for (uint32_t i = 1; i < b->message_count && sorted; i++)
        sorted = b->messages[i - 1]->id < b->messages[i]->id;
    if (!sorted)
        qsort(b->messages, b->message_count, sizeof b->messages[0], by_id);
    if (b->message_count && s->config.committed)
        s->config.committed(s->config.ctx, b->messages, b->message_count);
}

static void tell_done(struct spool_op *op)
{
    while (op) {
        struct spool_op *next = op->next; /* done() gives it away */

        op->done(op);
        op = next;
    }
}

static void count(struct spool *s)
{
    struct spool_batch *b = &s->batch;

    s->stats.batches++;
    s->stats.syncs++;
    s->stats.operations += b->ops;
    s->stats.octets_written += b->at - b->start;
}

/* The disk has refused: the old segment ends before this batch, and a new one says so durably,
 * before anyone is told. */
static void fail_batch(struct spool *s)
{
    pthread_mutex_lock(&s->lock);
    batch_undo(s);
    pthread_mutex_unlock(&s->lock);
    commit_fault(s, -s->batch.error, "writing");
    s->no_space = s->no_space || s->batch.error == -ENOSPC;
    PT_IGNORE(!space_open_next(s, 0), "then nothing is accepted until it can be mended");
    tell_done(s->batch.first);
}

static void commit(struct spool *s)
{
    int r = batch_write(s);

    if (r) {
        fail_batch(s);
        return;
    }
    pthread_mutex_lock(&s->lock);
    batch_apply(s);
    count(s);
    pthread_mutex_unlock(&s->lock);
    tell_committed(s);
    tell_done(s->batch.first);
}

bool commit_turn(struct spool *s)
{
    bool did = atomic_load(&s->returned) || s->now_us >= s->retry_us;

    space_collect(s);
    did |= load_turn(s);
    collect(s);
    if (due(s)) {
        did = true;
        s->batch.frames = 0;
        fill(s);
        if (s->batch.frames)
            commit(s);
    }
    if (did)
        space_manage(s);
    return did;
}

/* ---- the thread ---- */

static void sleep_until_woken(struct spool *s)
{
    int64_t until = PT_MIN(s->waiting ? s->lazy_due_us : INT64_MAX, s->retry_us);
    struct timespec timeout, *limit = NULL;
    uint32_t state = ASLEEP;

    if (until != INT64_MAX) {
        int64_t us = PT_MAX(until - s->now_us, 0);

        timeout.tv_sec = us / 1000000;
        timeout.tv_nsec = us % 1000000 * 1000;
        limit = &timeout;
        state = s->waiting ? ASLEEP_TIMED : ASLEEP;
    }
    atomic_store(&s->sleep, state);
    /* With `stop` only a worker is waited for, and it wakes us. */
    if (!anything_new(s) && (!atomic_load(&s->stop) || s->working || s->copying))
        syscall(SYS_futex, &s->sleep, FUTEX_WAIT_PRIVATE, state, limit, NULL, 0);
    atomic_store(&s->sleep, AWAKE);
}

void commit_wait_returned(struct spool *s)
{
    while (!atomic_load(&s->returned)) {
        atomic_store(&s->sleep, ASLEEP);
        if (!atomic_load(&s->returned))
            syscall(SYS_futex, &s->sleep, FUTEX_WAIT_PRIVATE, ASLEEP, NULL, NULL, 0);
        atomic_store(&s->sleep, AWAKE);
    }
}

void *commit_run(void *spool)
{
    struct spool *s = spool;

    prctl(PR_SET_NAME, "commit");
    for (;;) {
        s->now_us = clock_mono_ns() / 1000;
        if (commit_turn(s))
            continue;
        if (atomic_load(&s->stop) && !anything_waits(s))
            break;
        sleep_until_woken(s);
    }
    block_thread_done();
    return NULL;
}
