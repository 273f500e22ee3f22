#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "relay/scheduler.h"
#include "sched_world.h"

/* ---- what must not grow with the number of destinations ---- */

enum { DOMAINS = 100000, STEPS_MAX = 2500 };

/* One queued message for each of so many domains; each with the same reference to one message. */
static void fill_domains(struct world *w)
{
    w->routes.routes[0].via = SETTINGS_VIA_MX;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    for (unsigned i = 0; i < DOMAINS; i++) {
        char to[64];

        snprintf(to, sizeof to, "a@d%u.example", i);
        add(w, to);
    }
    assert_true(w->s.dests.count >= DOMAINS);
}

/* The steps of what is done in `action`. */
#define ASSERT_STEPS(w, action)                                                                    \
    do {                                                                                           \
        uint64_t before_ = (w)->s.steps;                                                           \
        action;                                                                                    \
        assert_in_range((w)->s.steps - before_, 0, STEPS_MAX);                                     \
    } while (0)

static void no_step_goes_over_all_destinations(void **state)
{
    struct world *w = *state;
    struct relay_group *out[RELAY_PULL_MAX];
    struct relay_dest *d;
    uint64_t cursor = 0;
    bool waits;

    fill_domains(w);
    ASSERT_STEPS(w, assert_int_equal(relay_sched_wake(&w->s), 3));
    ASSERT_STEPS(w, d = relay_sched_open(&w->s, 0));
    ASSERT_STEPS(w, relay_sched_unreachable(&w->s, d, 0, true, w->now, STR("4.4.1 no")));
    ASSERT_STEPS(w, relay_sched_due(&w->s, w->now + 1, 500));
    ASSERT_STEPS(w, relay_sched_sweep(&w->s, 512));
    ASSERT_STEPS(w, relay_sched_expired(&w->s, w->now + retry_policy_default.life_us, out, 16));
    ASSERT_STEPS(w, relay_sched_reroute(&w->s, &cursor, 500, w->now));
    ASSERT_STEPS(w, relay_sched_retry(&w->s, relay_sched_after(&w->s, 0), out, 16, &waits));
    ASSERT_STEPS(w, add(w, "one@more.example"));
}

/* Hundreds of connections to destinations that have all they may have do not hide one that has
 * none. */
static void a_search_is_bounded_by_the_connections_of_the_loop(void **state)
{
    struct world *w = *state;
    unsigned opened = 0;

    fill_domains(w);
    while (opened < 1000) {
        ASSERT_STEPS(w, assert_non_null(relay_sched_open(&w->s, 0)));
        opened++;
    }
    assert_int_equal(w->s.connections, 1000);
}

static void what_waited_for_a_connection_is_released_in_steps(void **state)
{
    enum { MANY = 10000 };
    struct world *w = *state;
    struct relay_result result = { .state = SPOOL_QUEUED, .reply = STR("4.4.1 refused") };
    struct relay_again again = { .next_us = w->now + 1800 * second, .unreachable = true };
    struct relay_dest *d = default_dest(w);

    for (unsigned i = 0; i < MANY; i++)
        add(w, "a@x");
    for (unsigned i = 0; i < MANY; i++)
        relay_sched_settle(&w->s, pull_one(w, d), &result, &again, w->now);
    assert_int_equal(relay_dest_deferred(d), MANY);
    for (unsigned i = 0; i < MANY && relay_dest_deferred(d); i++)
        ASSERT_STEPS(w, relay_sched_went_well(&w->s, d, 1000));
    assert_int_equal(relay_dest_ready(d), MANY);
}

/* ---- fairness ---- */

static void one_message_is_not_kept_waiting_by_a_hundred_thousand(void **state)
{
    struct world *w = *state;
    struct relay_dest *other;

    for (unsigned i = 0; i < DOMAINS; i++)
        add(w, "a@x");
    add(w, "b@other.example");
    other = dest(w, "192.0.2.2:25");
    assert_ptr_equal(relay_sched_open(&w->s, 0), default_dest(w));
    assert_ptr_equal(relay_sched_open(&w->s, 0), other);
}

static void who_has_more_than_one_connection_makes_room(void **state)
{
    struct world *w = *state;
    struct relay_dest *d = default_dest(w);

    for (unsigned i = 0; i < 1000; i++)
        add(w, "a@x");
    assert_ptr_equal(relay_sched_open(&w->s, 0), d);
    assert_false(relay_sched_should_yield(&w->s, d, 1000)); /* nobody else waits */
    add(w, "b@other.example");
    assert_false(relay_sched_should_yield(&w->s, d, RELAY_YIELD_AFTER - 1));
    assert_true(relay_sched_should_yield(&w->s, d, RELAY_YIELD_AFTER));
    assert_ptr_equal(relay_sched_open(&w->s, 1), d);
    assert_true(relay_sched_should_yield(&w->s, d, 0)); /* it has two */
    assert_ptr_equal(relay_sched_open(&w->s, 1), dest(w, "192.0.2.2:25"));
    assert_false(relay_sched_should_yield(&w->s, d, 1000)); /* the other has its one */
}

/* However many destinations are dead, the others keep half of a loop's connections and seven of
 * eight turns. */
static void the_dead_leave_room_for_the_living(void **state)
{
    struct world *w = *state;
    unsigned probes = 0, well = 0;

    fill_domains(w);
    for (struct relay_dest *d; (d = relay_sched_open(&w->s, 0));)
        relay_sched_unreachable(&w->s, d, 0, true, w->now, STR("4.4.1 no"));
    w->now += 100 * second;
    while (relay_sched_due(&w->s, w->now, 1000))
        ;
    assert_true(w->s.dests.active[RELAY_ACTIVE_PROBING].count >= DOMAINS);
    for (unsigned i = 0; i < 700; i++) {
        char to[64];

        snprintf(to, sizeof to, "a@living%u.example", i);
        add(w, to);
    }
    for (unsigned i = 0; i < 800; i++) {
        struct relay_dest *d = relay_sched_open(&w->s, 0);

        probes += d->probing;
        well += !d->probing;
    }
    assert_int_equal(well, 700);
    assert_int_equal(probes, 100);
    for (struct relay_dest *d; (d = relay_sched_open(&w->s, 0)); probes++)
        assert_true(d->probing);
    assert_int_equal(probes, RELAY_PROBES_MAX);
    assert_int_equal(w->s.probes[0], RELAY_PROBES_MAX);
}

static uint64_t add_big(struct world *w, const char *to)
{
    struct spool_message *m = fake_spool_message(w->spool, "a@a.example", to, STR("x\r\n"), w->now);
    uint64_t id = m->id;

    m->size = RELAY_BIG + 1;
    assert_true(relay_sched_add(&w->s, m, w->now, NULL));
    spool_message_unref(m);
    return id;
}

static void big_messages_leave_half_of_the_connections(void **state)
{
    struct world *w = *state;
    struct relay_group *out[RELAY_PULL_MAX], *big[2];
    struct relay_dest *d = default_dest(w);

    for (unsigned i = 0; i < 5; i++)
        add_big(w, "a@x");
    assert_int_equal(relay_dest_takeable(d), 2); /* of four connections */
    assert_non_null(relay_sched_open(&w->s, 0));
    assert_non_null(relay_sched_open(&w->s, 1));
    assert_null(relay_sched_open(&w->s, 0)); /* more could do nothing */
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(relay_sched_pull(&w->s, d, 0, &big[i], 1), 1);
    assert_int_equal(relay_sched_pull(&w->s, d, 0, out, RELAY_PULL_MAX), 0);
    for (unsigned i = 0; i < 300; i++)
        add(w, "b@x");
    /* The others go on, on connections of their own, and no big one sits among them. */
    assert_non_null(relay_sched_open(&w->s, 0));
    for (unsigned i = 0; i < 300;) {
        uint32_t n = relay_sched_pull(&w->s, d, 0, out, RELAY_PULL_MAX);

        assert_true(n > 0);
        for (uint32_t k = 0; k < n; k++) {
            assert_false(out[k]->big);
            settle(w, out[k], SPOOL_DELIVERED, 0);
        }
        i += n;
    }
    settle(w, big[0], SPOOL_DELIVERED, 0);
    assert_int_equal(relay_sched_pull(&w->s, d, 0, out, RELAY_PULL_MAX), 1);
    assert_true(out[0]->big);
}

/* With a single connection: a big one, then a hundred others, whatever came first. */
static void big_and_small_take_turns_on_one_connection(void **state)
{
    struct world *w = *state;
    struct relay_dest *d = default_dest(w);
    unsigned since = RELAY_SMALL_RUN, seen = 0;

    d->limit = d->max_concurrency = 1;
    for (unsigned i = 0; i < 5; i++)
        add_big(w, "a@x");
    for (unsigned i = 0; i < 300; i++)
        add(w, "b@x");
    for (struct relay_group *g; (g = pull_one(w, d));) {
        if (g->big) {
            assert_true(since >= RELAY_SMALL_RUN || seen >= 3);
            since = 0;
            seen++;
        } else {
            since++;
            assert_in_range(seen, 1, 3);
        }
        settle(w, g, SPOOL_DELIVERED, 0);
    }
    assert_int_equal(seen, 5);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(no_step_goes_over_all_destinations),
        T(a_search_is_bounded_by_the_connections_of_the_loop),
        T(what_waited_for_a_connection_is_released_in_steps),
        T(one_message_is_not_kept_waiting_by_a_hundred_thousand),
        T(who_has_more_than_one_connection_makes_room),
        T(the_dead_leave_room_for_the_living),
        T(big_messages_leave_half_of_the_connections),
        T(big_and_small_take_turns_on_one_connection),
    };

    return cmocka_run_group_tests_name("relay/fairness", tests, NULL, NULL);
}
