#include "net/loop.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

/* Turns are run by hand with a time that is never reached unless something is wrong. */
enum { LONG_MS = 20000 };

/* The loop's timers go by the coarse clock: one tick is at most this long. */
static const int64_t tick_ns = 10000000;

struct fixture {
    struct net_loop *loop;
    int pair[2];
};

static int setup(void **state)
{
    static struct fixture f;

    f.loop = net_loop_new(3);
    assert_non_null(f.loop);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, f.pair), 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    close(f->pair[0]);
    close(f->pair[1]);
    net_loop_free(f->loop);
    return 0;
}

/* ---- watches ---- */

static unsigned ready_seen, ready_calls;

static void on_ready(struct net_watch *w, unsigned ready)
{
    (void)w;
    ready_seen |= ready;
    ready_calls++;
}

static void a_watch_tells_what_is_wanted_and_nothing_else(void **state)
{
    struct fixture *f = *state;
    struct net_watch w;

    ready_seen = ready_calls = 0;
    net_watch_init(&w, f->loop, f->pair[0], on_ready);
    net_loop_turn(f->loop, 0);
    assert_int_equal(ready_calls, 0);
    net_watch_want(&w, NET_WRITE);
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(ready_seen, NET_WRITE);
    net_watch_want(&w, NET_READ);
    ready_seen = ready_calls = 0;
    net_loop_turn(f->loop, 0);
    assert_int_equal(ready_calls, 0);
    assert_int_equal(write(f->pair[1], "x", 1), 1);
    /* Level-triggered: told until it is read. */
    net_loop_turn(f->loop, LONG_MS);
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(ready_seen, NET_READ);
    assert_int_equal(ready_calls, 2);
    net_watch_want(&w, NET_READ | NET_WRITE);
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(ready_seen, NET_READ | NET_WRITE);
    net_watch_want(&w, 0);
    ready_calls = 0;
    net_loop_turn(f->loop, 0);
    assert_int_equal(ready_calls, 0);
    net_watch_close(&w);
    net_watch_close(&w);
}

static struct net_watch both[2];

static void close_the_other(struct net_watch *w, unsigned ready)
{
    (void)ready;
    ready_calls++;
    net_watch_close(w == &both[0] ? &both[1] : &both[0]);
    net_watch_want(w, 0);
}

static void a_closed_watch_is_not_called_in_the_same_turn(void **state)
{
    struct fixture *f = *state;

    ready_calls = 0;
    for (int i = 0; i < 2; i++) {
        net_watch_init(&both[i], f->loop, f->pair[i], close_the_other);
        net_watch_want(&both[i], NET_WRITE);
    }
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(ready_calls, 1);
    net_watch_close(&both[0]);
    net_watch_close(&both[1]);
    /* A descriptor may be watched again at once. */
    net_watch_init(&both[0], f->loop, f->pair[0], on_ready);
    net_watch_want(&both[0], NET_WRITE);
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(ready_calls, 2);
    net_watch_close(&both[0]);
}

/* ---- timers ---- */

struct timed {
    struct net_timer timer;
    int64_t fired_at;
    unsigned calls;
};

static void on_timer(struct net_timer *t)
{
    struct timed *m = PT_CONTAINER_OF(t, struct timed, timer);

    m->fired_at = clock_mono_ns();
    m->calls++;
}

static void timers_fire_once_and_not_before_their_tick(void **state)
{
    static const int64_t after[] = { 0, 1, 999, 1000001, 3000000, 32345678 };
    struct fixture *f = *state;

    for (size_t i = 0; i < PT_ARRAY_LEN(after); i++) {
        struct timed m = { 0 };
        int64_t start = clock_mono_ns();

        net_timer_init(&m.timer, f->loop, on_timer);
        net_timer_start(&m.timer, after[i]);
        while (!m.calls)
            net_loop_turn(f->loop, LONG_MS);
        assert_true(m.fired_at - start >= after[i] - tick_ns);
        net_loop_turn(f->loop, 0);
        assert_int_equal(m.calls, 1);
        net_timer_stop(&m.timer);
    }
}

static void timers_move_and_stop(void **state)
{
    struct fixture *f = *state;
    struct timed moved = { 0 }, stopped = { 0 }, first = { 0 };
    int64_t start;

    net_timer_init(&moved.timer, f->loop, on_timer);
    net_timer_init(&stopped.timer, f->loop, on_timer);
    net_timer_init(&first.timer, f->loop, on_timer);
    net_timer_stop(&stopped.timer); /* not running: nothing */
    start = clock_mono_ns();
    net_timer_start(&moved.timer, 1000000);
    net_timer_start(&moved.timer, 50000000);
    net_timer_start(&stopped.timer, 2000000);
    net_timer_start(&first.timer, 5000000);
    net_timer_stop(&stopped.timer);
    while (!moved.calls)
        net_loop_turn(f->loop, LONG_MS);
    assert_true(moved.fired_at - start >= 50000000 - tick_ns);
    assert_int_equal(first.calls, 1);
    assert_true(first.fired_at <= moved.fired_at);
    assert_int_equal(stopped.calls, 0);
    /* A timer that fired can be started again. */
    net_timer_start(&moved.timer, -5);
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(moved.calls, 2);
}

static void a_turn_ends_when_its_time_is_over(void **state)
{
    struct fixture *f = *state;
    struct timed m = { 0 };
    int64_t start = clock_mono_ns();

    net_loop_turn(f->loop, 30);
    assert_true(clock_mono_ns() - start >= 30000000 - tick_ns);
    /* A turn that ended before its time leaves nothing behind for the next. */
    net_timer_init(&m.timer, f->loop, on_timer);
    net_timer_start(&m.timer, 0);
    net_loop_turn(f->loop, 30);
    assert_int_equal(m.calls, 1);
    start = clock_mono_ns();
    net_timer_start(&m.timer, 60000000);
    net_loop_turn(f->loop, LONG_MS);
    assert_int_equal(m.calls, 2);
    assert_true(clock_mono_ns() - start >= 60000000 - tick_ns);
    net_timer_stop(&m.timer);
}

/* ---- time, hooks, mail ---- */

static char order[64];

static void add_to_order(const char *what)
{
    size_t used = strlen(order);

    assert_true(used + strlen(what) < sizeof order);
    memcpy(order + used, what, strlen(what) + 1);
}

static void hook(void *ctx)
{
    add_to_order(ctx);
}

static void on_mail(struct mail *mail)
{
    (void)mail;
    add_to_order("m");
}

static void hooks_run_after_the_work_of_a_turn(void **state)
{
    struct fixture *f = *state;
    struct mail mails[2] = { { .run = on_mail }, { .run = on_mail } };
    static char a[] = "a", b[] = "b";

    order[0] = 0;
    assert_int_equal(net_loop_index(f->loop), 3);
    net_loop_on_turn(f->loop, hook, a);
    net_loop_on_turn(f->loop, hook, b);
    net_loop_turn(f->loop, 0);
    assert_string_equal(order, "ab");
    net_loop_post(f->loop, &mails[0]);
    net_loop_post(f->loop, &mails[1]);
    net_loop_turn(f->loop, LONG_MS);
    assert_string_equal(order, "abmmab");
}

static int64_t now_in_turn[2];

static void take_time(struct net_timer *t)
{
    now_in_turn[0] = net_loop_now(t->loop);
    /* Time goes on, the turn's does not. */
    while (clock_mono_ns() <= now_in_turn[0])
        ;
    now_in_turn[1] = net_loop_now(t->loop);
}

static void a_turn_has_one_time_and_it_is_not_that_of_the_wait_before(void **state)
{
    struct fixture *f = *state;
    struct net_timer t;
    int64_t before = net_loop_now(f->loop);

    net_timer_init(&t, f->loop, take_time);
    net_timer_start(&t, 30000000);
    net_loop_turn(f->loop, LONG_MS);
    assert_true(now_in_turn[0] - before >= 30000000 - tick_ns);
    assert_true(now_in_turn[0] == now_in_turn[1]);
    assert_true(net_loop_now(f->loop) >= now_in_turn[1]);
}

struct counted {
    struct mail mail;
    struct net_loop *loop;
    unsigned left;
};

static void count_down(struct mail *mail)
{
    struct counted *c = PT_CONTAINER_OF(mail, struct counted, mail);

    if (--c->left)
        net_loop_post(c->loop, mail);
    else
        net_loop_stop(c->loop);
}

static void *run_loop(void *loop)
{
    net_loop_run(loop);
    return NULL;
}

static void a_loop_runs_mail_of_other_threads_until_it_is_stopped(void **state)
{
    struct fixture *f = *state;
    struct counted c = { { .run = count_down }, f->loop, 1000 };
    struct net_loop *idle = net_loop_new(0);
    pthread_t threads[2];

    assert_int_equal(pthread_create(&threads[0], NULL, run_loop, f->loop), 0);
    assert_int_equal(pthread_create(&threads[1], NULL, run_loop, idle), 0);
    net_loop_post(f->loop, &c.mail);
    pthread_join(threads[0], NULL);
    assert_int_equal(c.left, 0);
    net_loop_stop(idle);
    pthread_join(threads[1], NULL);
    net_loop_free(idle);
}

#define LOOP_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOOP_TEST(a_watch_tells_what_is_wanted_and_nothing_else),
        LOOP_TEST(a_closed_watch_is_not_called_in_the_same_turn),
        LOOP_TEST(timers_fire_once_and_not_before_their_tick),
        LOOP_TEST(timers_move_and_stop),
        LOOP_TEST(a_turn_ends_when_its_time_is_over),
        LOOP_TEST(hooks_run_after_the_work_of_a_turn),
        LOOP_TEST(a_turn_has_one_time_and_it_is_not_that_of_the_wait_before),
        LOOP_TEST(a_loop_runs_mail_of_other_threads_until_it_is_stopped),
    };

    return cmocka_run_group_tests_name("net/loop", tests, NULL, NULL);
}
