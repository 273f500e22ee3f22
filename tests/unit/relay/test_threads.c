#include "check.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "fake_hop.h"
#include "relay/queue_view.h"
#include "relay/relay.h"
#include "routes.h"
#include "spool/disk.h"

/*
 * All threads at once, over the real spool: its commit thread and workers, two loops that deliver,
 * an administrator who looks and meddles, settings that change. The next hop's loop is turned by
 * the test itself. Meant for ThreadSanitizer as much as for what it asserts.
 */

enum { LOOPS = 2, GOOD = 300, DEAD = 40, ROUNDS = 60, SIZE = 3000 };

struct kept {
    struct spool_op op;
    struct spool_message *message;
};

struct world {
    struct net_loop *hop_loop, *loops[LOOPS];
    struct relay_loop *relay_loops[LOOPS];
    pthread_t threads[LOOPS], admin;
    struct fake_hop *hop;
    struct routes routes[2]; /* the same ways, but for what one destination may take */
    struct relay *relay;
    struct spool *spool;
    struct kept kept[GOOD + DEAD];
    _Atomic unsigned stored;
    _Atomic bool stopped;
    uint32_t found;
};

static void *run_loop(void *loop)
{
    net_loop_run(loop);
    block_thread_done();
    return NULL;
}

static void on_stored(struct spool_op *op)
{
    struct kept *k = PT_CONTAINER_OF(op, struct kept, op);

    pt_assert(op->result == PT_ERR_OK);
    spool_message_unref(k->message);
}

static void on_stopped(void *ctx)
{
    atomic_store(&((struct world *)ctx)->stopped, true);
}

/* ---- the administrator ---- */

static bool look(void *user, const struct relay_view_message *m)
{
    *(uint64_t *)user = m->id;
    return true;
}

static bool look_at_destination(void *user, const struct relay_view_destination *d)
{
    *(uint64_t *)user += d->ready;
    return true;
}

/* Retries, holds and releases whatever is there; deletes nothing, so that all can be counted. */
static void *meddle(void *arg)
{
    struct world *w = arg;
    struct relay_view_filter all = { .limit = 20 };
    struct relay_view_selection everything = { .all = true };

    for (unsigned i = 0; i < ROUNDS; i++) {
        uint64_t id = 0, total, count = 0, ready = 0;
        struct relay_view_selection one = { .ids = &id, .id_count = 1 };

        pt_assert(relay_view_list(w->relay, &all, look, &id, &total) == PT_ERR_OK);
        pt_assert(relay_view_destinations(w->relay, look_at_destination, &ready) == PT_ERR_OK);
        PT_IGNORE(relay_view_act(w->relay, RELAY_VIEW_HOLD, &one, &count), "it may be gone");
        PT_IGNORE(relay_view_act(w->relay, RELAY_VIEW_RELEASE, &one, &count), "it may be gone");
        pt_assert(relay_view_act(w->relay, RELAY_VIEW_RETRY, &everything, &count) == PT_ERR_OK);
        pt_assert(relay_set_settings(w->relay, &w->routes[i % 2].settings));
    }
    block_thread_done();
    return NULL;
}

/* ---- the world ---- */

static void make_routes(struct world *w)
{
    struct fake_hop *dead = fake_hop_new(w->hop_loop);

    for (unsigned i = 0; i < 2; i++) {
        struct routes *r = &w->routes[i];
        struct settings_route *any;

        routes_init(r);
        any = routes_add(r, "*");
        any->max_concurrency = 4 + i;
        routes_add_hop(r, any, "127.0.0.1", w->hop->endpoint.port);
        routes_add_hop(r, routes_add(r, "dead.example"), "127.0.0.1", dead->endpoint.port);
    }
    fake_hop_free(dead); /* its port refuses from now on */
}

static void start(struct world *w, const char *directory)
{
    struct spool_config config = {
        .directory = directory,
        .disk = disk_real(),
        .segment_size = 4 << 20,
        .now_us = 1000000,
        .committed = relay_committed,
        .recovered = relay_recovered,
    };
    struct pt_fault fault;

    w->hop_loop = net_loop_new(7);
    w->hop = fake_hop_new(w->hop_loop);
    make_routes(w);
    w->relay = relay_new(&(struct relay_config){ .loops = LOOPS,
                                                 .settings = &w->routes[0].settings,
                                                 .cache_budget = 100 * SIZE,
                                                 .tick_ms = 5,
                                                 .seed = 3 });
    assert_non_null(w->relay);
    config.ctx = w->relay;
    assert_int_equal(spool_open(&w->spool, &config, &fault), PT_ERR_OK);
    relay_set_spool(w->relay, w->spool);
    for (unsigned i = 0; i < LOOPS; i++) {
        w->loops[i] = net_loop_new(i);
        w->relay_loops[i] = relay_loop_new(w->relay, w->loops[i]);
        assert_non_null(w->relay_loops[i]);
        assert_int_equal(pthread_create(&w->threads[i], NULL, run_loop, w->loops[i]), 0);
    }
}

static void end(struct world *w)
{
    for (unsigned i = 0; i < LOOPS; i++) {
        net_loop_stop(w->loops[i]);
        pthread_join(w->threads[i], NULL);
    }
    spool_close(w->spool);
    relay_set_spool(w->relay, NULL);
    for (unsigned i = 0; i < LOOPS; i++) {
        relay_loop_free(w->relay_loops[i]);
        net_loop_free(w->loops[i]);
    }
    relay_free(w->relay);
    fake_hop_free(w->hop);
    net_loop_free(w->hop_loop);
}

static void submit(struct world *w, struct kept *k, const char *to)
{
    struct spool_message *m = spool_message_new();
    char text[SIZE];

    assert_non_null(m);
    memset(text, 'x', sizeof text);
    memcpy(text + SIZE - 2, "\r\n", 2);
    m->id = spool_new_id(w->spool);
    m->received_us = 1000000;
    m->reverse_path = STR("");
    m->recipients = arena_zalloc(&m->arena, sizeof *m->recipients);
    assert_non_null(m->recipients);
    m->recipients[0].address = arena_str(&m->arena, str_of(to));
    m->recipient_count = 1;
    assert_true(block_chain_add(&m->content, (struct str){ text, SIZE }));
    m->size = SIZE;
    m->cached = true;
    m->received_us = INT64_C(4000000000) * 1000000; /* never too old */
    k->message = m;
    k->op = (struct spool_op){ .kind = SPOOL_OP_MESSAGE, .message = m, .done = on_stored };
    spool_submit(w->spool, &k->op);
}

static struct relay_stats stats(struct world *w)
{
    struct relay_stats s;

    relay_get_stats(w->relay, &s);
    return s;
}

static void count_found(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct world *w = ctx;

    for (uint32_t i = 0; i < count; i++)
        pt_assert(str_eq(messages[i]->recipients[0].address, STR("b@dead.example")));
    w->found += count;
}

static void threads_deliver_everything_once(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    char *directory = check_folder_new();
    struct spool_config again = {
        .directory = directory,
        .disk = disk_real(),
        .segment_size = 4 << 20,
        .now_us = 1000000,
        .manual = true,
        .recovered = count_found,
        .ctx = w,
    };

    (void)state;
    log_set_level(LOG_ERROR + 1);
    start(w, directory);
    assert_int_equal(pthread_create(&w->admin, NULL, meddle, w), 0);
    for (unsigned i = 0; i < GOOD + DEAD; i++)
        submit(w, &w->kept[i], i < GOOD ? "b@b.example" : "b@dead.example");
    while (stats(w).delivered < GOOD)
        net_loop_turn(w->hop_loop, 5);
    pthread_join(w->admin, NULL);
    while (stats(w).messages > DEAD)
        net_loop_turn(w->hop_loop, 5);
    relay_stop(w->relay, on_stopped, w);
    while (!atomic_load(&w->stopped))
        net_loop_turn(w->hop_loop, 5);
    assert_int_equal(w->hop->count, GOOD);
    assert_int_equal(stats(w).messages, DEAD);
    assert_int_equal(stats(w).connections, 0);
    end(w);

    /* What the spool has kept is what was not delivered. */
    assert_int_equal(spool_open(&w->spool, &again, NULL), PT_ERR_OK);
    while (spool_turn(w->spool, 0)) {
    }
    assert_int_equal(w->found, DEAD);
    spool_close(w->spool);
    check_folder_remove(directory);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(threads_deliver_everything_once),
    };

    return cmocka_run_group_tests_name("relay/threads", tests, NULL, NULL);
}
