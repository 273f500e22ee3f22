#include "world.h"

/* ---- next hops that fail ---- */

static void a_refused_connection_defers_and_rests(void **state)
{
    struct world *w = *state;
    uint64_t id, later;

    fake_hop_close_listener(w->hop);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_non_null(strstr(fake_spool_outcome(w->spool, id, 0)->reply, "Connection refused"));
    assert_int_equal(world_stats(w).connect_failures, 1);
    later = world_submit(w, "c@b.example");
    world_turns(w, 20);
    assert_int_equal(world_stats(w).connect_failures, 1);
    assert_null(fake_spool_outcome(w->spool, later, 0));
}

static void the_second_hop_is_taken_when_the_first_refuses(void **state)
{
    struct world *w = *state;
    uint64_t id;

    fake_hop_close_listener(w->hop);
    world_begin(w, true);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->second->count, 1);
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_QUEUED), 0);
}

/* 421, a closed or reset connection, silence or nonsense at any step before the end of data: the
 * second hop gets the message, once. */
static void the_second_hop_is_taken_whatever_the_first_does(void **state)
{
    static const char *const steps[] = { "greeting", "EHLO", "MAIL", "RCPT", "DATA" };
    const char *const acts[] = { "421 4.3.2 closing\r\n", HOP_CLOSE, HOP_RESET, HOP_SILENT,
                                 "250-endless\r\n999 nonsense\r\n" };
    struct world *w = *state;
    unsigned n = 0;

    w->config.silence_ms = 40;
    w->config.idle_ms = 1;
    world_begin(w, true);
    for (size_t s = 0; s < PT_ARRAY_LEN(steps); s++) {
        for (size_t a = 0; a < PT_ARRAY_LEN(acts); a++) {
            struct rule r[] = { { steps[s], acts[a] }, { 0 } };
            uint64_t id;

            print_message("%s: %s\n", steps[s], acts[a]);
            world_rules(w->hop, r);
            w->now += 3600 * second; /* the first hop is no longer avoided */
            id = world_submit(w, "b@b.example");
            UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
            UNTIL(w, w->second->open == 0 && world_stats(w).connections == 0);
            assert_int_equal(w->second->count, ++n);
            assert_int_equal(w->hop->count, 0);
        }
    }
}

static void one_hop_that_fails_at_any_step_defers(void **state)
{
    static const char *const steps[] = { "greeting", "EHLO", "MAIL", "RCPT", "DATA" };
    const char *const acts[] = { "421 4.3.2 closing\r\n", HOP_CLOSE, HOP_RESET, HOP_SILENT };
    struct world *w = *state;

    w->config.silence_ms = 40;
    w->config.idle_ms = 1;
    world_begin(w, false);
    for (size_t s = 0; s < PT_ARRAY_LEN(steps); s++) {
        for (size_t a = 0; a < PT_ARRAY_LEN(acts); a++) {
            struct rule r[] = { { steps[s], acts[a] }, { 0 } };
            uint64_t id;

            print_message("%s: %s\n", steps[s], acts[a]);
            world_rules(w->hop, r);
            id = world_submit(w, "b@b.example");
            UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
            assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_QUEUED), 1);
            world_rules(w->hop, NULL);
            w->now += 7200 * second;
            UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
            UNTIL(w, world_stats(w).connections == 0);
            assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
        }
    }
    assert_int_equal(w->hop->count, PT_ARRAY_LEN(steps) * PT_ARRAY_LEN(acts));
}

static void lost_after_the_final_dot_is_in_doubt(void **state)
{
    const char *const acts[] = { HOP_CLOSE, HOP_RESET, HOP_SILENT };
    struct world *w = *state;

    w->config.silence_ms = 40;
    world_begin(w, false);
    for (size_t a = 0; a < PT_ARRAY_LEN(acts); a++) {
        struct rule r[] = { { ".", acts[a], 1 }, { 0 } };
        uint64_t id;

        world_rules(w->hop, r);
        id = world_submit(w, "b@b.example");
        UNTIL(w, world_stored(w, id, 0, SPOOL_IN_DOUBT));
        w->now += 290 * second;
        world_turns(w, 20);
        assert_true(world_stored(w, id, 0, SPOOL_IN_DOUBT));
        w->now += 20 * second;
        UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    }
}

static void only_the_message_behind_the_dot_is_in_doubt(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { ".", HOP_CLOSE, 1 }, { 0 } };
    struct spool_message *batch[3];
    uint64_t ids[3];
    unsigned doubts = 0;

    world_rules(w->hop, r);
    world_begin(w, false);
    w->routes.routes[0].max_concurrency = 1;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < 3; i++) {
        batch[i] = world_message(w, "b@b.example", "x\r\n");
        ids[i] = batch[i]->id;
    }
    relay_committed(w->relay, batch, 3);
    for (unsigned i = 0; i < 3; i++)
        spool_message_unref(batch[i]);
    UNTIL(w, world_stored(w, ids[0], 0, SPOOL_IN_DOUBT));
    w->now += 400 * second;
    UNTIL(w, world_stored(w, ids[0], 0, SPOOL_DELIVERED) &&
                 world_stored(w, ids[1], 0, SPOOL_DELIVERED) &&
                 world_stored(w, ids[2], 0, SPOOL_DELIVERED));
    for (unsigned i = 0; i < 3; i++)
        doubts += fake_spool_count(w->spool, ids[i], 0, SPOOL_IN_DOUBT);
    assert_int_equal(doubts, 1);
}

static void a_hop_that_ends_after_each_message_delivers_all(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { "MAIL FROM:<again", HOP_CLOSE }, { 0 } };

    world_rules(w->hop, r);
    w->hop->extensions = "250-PIPELINING\r\n250 LIMITS MAILMAX=1\r\n";
    w->config.tick_ms = 1000000; /* nothing may wait for the tick */
    world_begin(w, false);
    for (unsigned i = 0; i < 30; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).delivered == 30);
    assert_int_equal(w->hop->count, 30);
    assert_int_equal(w->hop->sessions, 30);
    assert_int_equal(world_stats(w).deferrals, 0);
}

static void a_dead_destination_touches_no_other(void **state)
{
    struct world *w = *state;
    uint64_t id;

    fake_hop_close_listener(w->second);
    world_begin(w, false);
    routes_add_hop(&w->routes, routes_add(&w->routes, "dead.example"), "127.0.0.1",
                   w->second->endpoint.port);
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < 100; i++)
        world_submit(w, "b@dead.example");
    for (unsigned i = 0; i < 100; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).delivered == 100);
    assert_true(world_stats(w).connect_failures >= 1);
    assert_int_equal(world_stats(w).messages, 100);
    /* Both recipients of one message, each by its own way. */
    id = world_submit(w, "b@b.example b@dead.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(world_stats(w).messages, 101);
}

static void a_destination_that_comes_back_gets_all_that_waited(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { "greeting", "421 4.3.2 not now\r\n" }, { 0 } };

    world_rules(w->hop, r);
    world_begin(w, false);
    for (unsigned i = 0; i < 60; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).deferrals >= 1);
    for (unsigned i = 0; i < 3; i++) {
        w->now += 200 * second;
        world_turns(w, 20);
    }
    world_rules(w->hop, NULL);
    w->now += 700 * second;
    UNTIL(w, world_stats(w).delivered == 60);
    assert_int_equal(w->hop->count, 60);
    assert_int_equal(world_stats(w).messages, 0);
}

/* ---- fairness, as a next hop sees it ---- */

/* The big ones get no answer; all others arrive all the same. */
static void big_messages_hold_back_no_others(void **state)
{
    static struct rule rules[] = { { "MAIL FROM:<big@", HOP_SILENT, 0 }, { 0 } };
    enum { BIG = 6, SMALL = 200 };
    struct world *w = *state;
    char *content = malloc(RELAY_BIG + 3);

    memset(content, 'x', RELAY_BIG);
    for (unsigned i = 78; i < RELAY_BIG; i += 80)
        memcpy(content + i, "\r\n", 2);
    memcpy(content + RELAY_BIG - 1, "\r\n\0", 4);
    world_rules(w->hop, rules);
    world_begin(w, false);
    for (unsigned i = 0; i < BIG; i++) {
        struct spool_message *m =
            fake_spool_message(w->spool, "big@a.example", "b@b.example", str_of(content), w->now);

        world_commit(w, m);
    }
    free(content);
    for (unsigned i = 0; i < SMALL; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).delivered == SMALL);
    assert_int_equal(w->hop->count, SMALL);
    assert_in_range(world_stats(w).busy, 1, BIG);
}

/* One connection is all that the loop may have: the destination with hundreds of messages gives it
 * up for the one with a single message, and gets it back. */
static void a_connection_is_given_up_for_another_destination(void **state)
{
    enum { MANY = 300 };
    struct world *w = *state;

    w->config.connections_max = 1;
    routes_add_hop(&w->routes, routes_add(&w->routes, "other.example"), "127.0.0.1",
                   w->second->endpoint.port);
    world_begin(w, false);
    for (unsigned i = 0; i < MANY; i++)
        world_submit(w, "a@b.example");
    world_submit(w, "a@other.example");
    UNTIL(w, w->second->count == 1);
    assert_in_range(w->hop->count, 1, RELAY_YIELD_AFTER + RELAY_PULL_MAX);
    UNTIL(w, w->hop->count == MANY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_refused_connection_defers_and_rests),
        WORLD_TEST(the_second_hop_is_taken_when_the_first_refuses),
        WORLD_TEST(the_second_hop_is_taken_whatever_the_first_does),
        WORLD_TEST(one_hop_that_fails_at_any_step_defers),
        WORLD_TEST(lost_after_the_final_dot_is_in_doubt),
        WORLD_TEST(only_the_message_behind_the_dot_is_in_doubt),
        WORLD_TEST(a_hop_that_ends_after_each_message_delivers_all),
        WORLD_TEST(a_dead_destination_touches_no_other),
        WORLD_TEST(a_destination_that_comes_back_gets_all_that_waited),
        WORLD_TEST(big_messages_hold_back_no_others),
        WORLD_TEST(a_connection_is_given_up_for_another_destination),
    };

    return cmocka_run_group_tests_name("relay/hops", tests, NULL, NULL);
}
