#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "spool/disk.h"
#include "spool_kit.h"

/*
 * Many threads at once on the real disk: submitters, readers, the commit thread, the workers. Meant
 * for ThreadSanitizer as much as for what it asserts.
 */

enum { SUBMITTERS = 6, EACH = 150, KEEP_EVERY = 10, SIZE = 3000 };

/* Waits for one thing to be done. */
struct gate {
    pthread_mutex_t lock;
    pthread_cond_t wake;
    int done;
};

struct waiting_op {
    struct spool_op op;
    struct spool_read read;
    struct gate *gate;
};

static void gate_open(struct gate *g)
{
    pthread_mutex_lock(&g->lock);
    g->done++;
    pthread_cond_signal(&g->wake);
    pthread_mutex_unlock(&g->lock);
}

static void gate_wait(struct gate *g, int count)
{
    pthread_mutex_lock(&g->lock);
    while (g->done < count)
        pthread_cond_wait(&g->wake, &g->lock);
    g->done = 0;
    pthread_mutex_unlock(&g->lock);
}

static void op_done(struct spool_op *op)
{
    gate_open(PT_CONTAINER_OF(op, struct waiting_op, op)->gate);
}

static void read_done(struct spool_read *r)
{
    gate_open(PT_CONTAINER_OF(r, struct waiting_op, read)->gate);
}

struct world {
    struct spool *spool;
    _Atomic unsigned committed;
};

static void on_committed(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct world *w = ctx;

    for (uint32_t i = 1; i < count; i++)
        pt_assert(messages[i - 1]->id < messages[i]->id);
    atomic_fetch_add(&w->committed, count);
}

static void keep(struct world *w, struct gate *g, struct spool_message *m)
{
    struct waiting_op op = { .gate = g };

    op.op = (struct spool_op){ .kind = SPOOL_OP_MESSAGE, .message = m, .done = op_done };
    spool_submit(w->spool, &op.op);
    gate_wait(g, 1);
    pt_assert(op.op.result == PT_ERR_OK);
}

static void read_back(struct world *w, struct gate *g, struct spool_message *m)
{
    struct waiting_op op = { .gate = g };
    uint64_t at = 0;

    op.read = (struct spool_read){ .message = m, .length = m->size, .done = read_done };
    spool_read(w->spool, &op.read);
    gate_wait(g, 1);
    pt_assert(op.read.result == PT_ERR_OK && op.read.content.size == m->size);
    for (struct block *b = op.read.content.first; b; b = b->next)
        for (uint32_t i = 0; i < b->used; i++)
            pt_assert(b->data[i] == kit_octet(m->id, at++));
    block_chain_done(&op.read.content);
}

/* Deferred lazily, then delivered: two operations in one submission. */
static void finish(struct world *w, struct gate *g, struct spool_message *m)
{
    struct spool_outcome later = { .state = SPOOL_QUEUED, .attempts = 1, .reply = STR("later") };
    struct spool_outcome sent = { .state = SPOOL_DELIVERED, .attempts = 2 };
    struct waiting_op a = { .gate = g }, b = { .gate = g };

    a.op = (struct spool_op){ .next = &b.op,
                              .kind = SPOOL_OP_OUTCOME,
                              .message = m,
                              .outcomes = &later,
                              .outcome_count = 1,
                              .lazy = true,
                              .done = op_done };
    b.op = a.op;
    b.op.next = NULL;
    b.op.outcomes = &sent;
    b.op.lazy = false;
    spool_submit(w->spool, &a.op);
    gate_wait(g, 2);
    pt_assert(a.op.result == PT_ERR_OK && b.op.result == PT_ERR_OK);
}

static void *submit_many(void *arg)
{
    struct world *w = arg;
    struct gate g = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };

    for (int i = 0; i < EACH; i++) {
        struct spool_message *m = kit_message(w->spool, SIZE, 1);

        keep(w, &g, m);
        if (i % 7 == 0)
            read_back(w, &g, m);
        if (i % KEEP_EVERY)
            finish(w, &g, m);
        spool_message_unref(m);
    }
    block_thread_done();
    return NULL;
}

static void *look(void *arg)
{
    struct world *w = arg;
    struct spool_stats stats;

    for (int i = 0; i < 1000; i++) {
        spool_get_stats(w->spool, &stats);
        pt_assert(stats.accepting && stats.fault.err == PT_ERR_OK);
    }
    return NULL;
}

static void what_threads_keep_is_there(void **state)
{
    pthread_t threads[SUBMITTERS + 1];
    struct kit_found *found = calloc(1, sizeof *found);
    char *directory = check_folder_new();
    struct world w = { 0 };
    struct spool_config config = {
        .directory = directory,
        .disk = disk_real(),
        .segment_size = 256 << 10,
        .now_us = 1000000,
        .committed = on_committed,
        .ctx = &w,
    };
    struct pt_fault fault;

    (void)state;
    assert_int_equal(spool_open(&w.spool, &config, &fault), PT_ERR_OK);
    for (int i = 0; i < SUBMITTERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, submit_many, &w), 0);
    assert_int_equal(pthread_create(&threads[SUBMITTERS], NULL, look, &w), 0);
    for (int i = 0; i <= SUBMITTERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&w.committed), SUBMITTERS * EACH);
    spool_close(w.spool);

    config.manual = true;
    config.committed = NULL;
    config.recovered = kit_on_recovered;
    config.damaged = kit_on_damaged;
    config.ctx = found;
    assert_int_equal(spool_open(&w.spool, &config, &fault), PT_ERR_OK);
    kit_load(w.spool);
    assert_int_equal(found->count, SUBMITTERS * EACH / KEEP_EVERY);
    assert_int_equal(found->damages, 0);
    for (uint32_t i = 0; i < found->count; i++)
        assert_int_equal(kit_check(w.spool, found->messages[i]), PT_ERR_OK);
    spool_close(w.spool);
    kit_forget(found);
    free(found);
    check_folder_remove(directory);
}

/* A lazy operation alone is not forgotten: it is due by itself. */
static void a_lazy_operation_is_done_by_itself(void **state)
{
    struct gate g = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0 };
    char *directory = check_folder_new();
    struct world w = { 0 };
    struct spool_config config = {
        .directory = directory,
        .disk = disk_real(),
        .segment_size = 256 << 10,
        .now_us = 1000000,
    };
    struct spool_message *m;
    struct waiting_op op = { .gate = &g };

    (void)state;
    assert_int_equal(spool_open(&w.spool, &config, NULL), PT_ERR_OK);
    m = kit_message(w.spool, 10, 1);
    keep(&w, &g, m);
    op.op =
        (struct spool_op){ .kind = SPOOL_OP_DELETE, .message = m, .lazy = true, .done = op_done };
    spool_submit(w.spool, &op.op);
    gate_wait(&g, 1);
    assert_int_equal(op.op.result, PT_ERR_OK);
    spool_message_unref(m);
    spool_close(w.spool);
    check_folder_remove(directory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_threads_keep_is_there),
        cmocka_unit_test(a_lazy_operation_is_done_by_itself),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
