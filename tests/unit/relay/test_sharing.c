#include "base/buf.h"
#include "relay/balance.h"
#include "relay/pace.h"
#include "sched_world.h"

/* How the next hops of a route share its messages, and how many go in a minute. */

/* ---- shares ---- */

static const struct share_case {
    const char *name;
    uint32_t count;
    struct relay_share shares[4];
    uint32_t expect[4]; /* of 400 messages */
} share_cases[] = {
    { "alike", 2, { { 1, 1 }, { 1, 1 } }, { 200, 200 } },
    { "by weight", 3, { { 1, 2 }, { 1, 1 }, { 1, 1 } }, { 200, 100, 100 } },
    { "a small one", 2, { { 5, 19 }, { 5, 1 } }, { 380, 20 } },
    { "the lowest order has it all", 3, { { 2, 9 }, { 1, 1 }, { 1, 3 } }, { 0, 100, 300 } },
    { "in a list", 2, { { 0, 1 }, { 1, 1 } }, { 400, 0 } },
};

/* One connection after the other, each as long as it may be. */
static void hand_out(struct relay_share *shares, uint32_t count, uint32_t messages, uint32_t got[4],
                     int64_t now_us)
{
    uint8_t rank[RELAY_BALANCE_MAX];

    while (messages) {
        uint32_t room;

        relay_balance_rank(shares, count, now_us, rank);
        shares[rank[0]].connections = 1;
        while (messages && (room = relay_balance_room(shares, count, rank[0], 4, now_us))) {
            uint32_t n = PT_MIN(PT_MIN(room, messages), 3u);

            relay_balance_took(shares, count, rank[0], (int32_t)n, now_us);
            got[rank[0]] += n;
            messages -= n;
        }
        shares[rank[0]].connections = 0;
    }
}

static void next_hops_get_their_shares(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(share_cases); i++)
        for (uint64_t random = 0; random < 50; random++) {
            const struct share_case *c = &share_cases[i];
            struct relay_share shares[4];
            uint32_t got[4] = { 0 };

            print_message("%s, begun with %u\n", c->name, (unsigned)random);
            memcpy(shares, c->shares, sizeof shares);
            relay_balance_begin(shares, c->count, random);
            hand_out(shares, c->count, 400, got, 1);
            for (uint32_t k = 0; k < c->count; k++)
                assert_in_range(got[k] + 2 * RELAY_BALANCE_AHEAD, c->expect[k],
                                c->expect[k] + 4 * RELAY_BALANCE_AHEAD);
        }
}

static void chance_decides_who_is_first(void **state)
{
    unsigned first[3] = { 0 };

    (void)state;
    for (uint64_t random = 0; random < 300; random++) {
        struct relay_share shares[3] = { { 1, 10 }, { 1, 10 }, { 1, 10 } };
        uint8_t rank[RELAY_BALANCE_MAX];

        relay_balance_begin(shares, 3, random);
        relay_balance_rank(shares, 3, 1, rank);
        first[rank[0]]++;
    }
    for (unsigned i = 0; i < 3; i++)
        assert_in_range(first[i], 40, 200);
}

static void one_that_failed_has_no_share_and_makes_up_for_nothing(void **state)
{
    struct relay_share shares[2] = { { 1, 1 }, { 1, 1, .down_until_us = 100 } };
    uint8_t rank[RELAY_BALANCE_MAX];
    uint32_t got[4] = { 0 };

    (void)state;
    hand_out(shares, 2, 1000, got, 50);
    assert_int_equal(got[1], 0);
    relay_balance_rank(shares, 2, 50, rank);
    assert_int_equal(rank[0], 0);
    assert_int_equal(rank[1], 1); /* still there when nothing else is left */
    memset(got, 0, sizeof got);
    hand_out(shares, 2, 200, got, 101);
    assert_in_range(got[1], 100 - RELAY_BALANCE_AHEAD, 100 + RELAY_BALANCE_AHEAD);
}

static void a_slow_one_with_its_connections_holds_up_nobody(void **state)
{
    struct relay_share shares[2] = { { 1, 1, .connections = 2 }, { 1, 1, .connections = 1 } };

    (void)state;
    relay_balance_took(shares, 2, 0, 500, 1);
    assert_int_equal(relay_balance_room(shares, 2, 0, 4, 1), 0); /* it could have one more */
    shares[1].connections = 2;
    assert_true(relay_balance_room(shares, 2, 0, 4, 1) > 0);
    /* It is not behind for ever: so many later it is ahead. */
    shares[0].connections = 1;
    assert_true(relay_balance_room(shares, 2, 1, 4, 1) > 0);
    relay_balance_took(shares, 2, 1, 6 * RELAY_BALANCE_AHEAD, 1);
    assert_int_equal(relay_balance_room(shares, 2, 1, 4, 1), 0);
}

static void what_is_given_back_counts_no_more(void **state)
{
    struct relay_share shares[2] = { { 1, 1 }, { 1, 1 } };

    (void)state;
    relay_balance_took(shares, 2, 0, 5, 1);
    relay_balance_took(shares, 2, 0, -5, 1);
    assert_int_equal(relay_balance_room(shares, 2, 0, 4, 1), RELAY_BALANCE_AHEAD);
}

/* ---- names ---- */

static void shares_are_part_of_the_name(void **state)
{
    struct world *w = *state;
    struct settings_route *r = &w->routes.routes[1];
    struct buf key;

    routes_add_hop(&w->routes, r, "192.0.2.3", 25);
    r->ordered = true;
    r->next_hops[0].order = r->next_hops[1].order = 10;
    r->next_hops[0].weight = 3;
    r->next_hops[1].weight = 1;
    buf_init(&key, 1000);
    assert_true(relay_dest_key(r, STR("other.example"), &key));
    assert_string_equal(buf_cstr(&key), "192.0.2.2:25,192.0.2.3:25/order=10,10/weight=3,1");
    buf_done(&key);
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    assert_true(dest(w, "192.0.2.2:25,192.0.2.3:25/order=10,10/weight=3,1")->balanced);
    assert_false(default_dest(w)->balanced);
}

/* ---- so many a minute ---- */

static uint32_t pull_all(struct world *w, struct relay_dest *d)
{
    struct relay_group *out[RELAY_PULL_MAX];
    uint32_t n, total = 0;

    while ((n = relay_sched_pull(&w->s, d, 0, out, RELAY_PULL_MAX))) {
        static const struct relay_result sent = { .state = SPOOL_DELIVERED, .code = 250 };
        static const struct relay_again never = { .next_us = 0 };

        for (uint32_t i = 0; i < n; i++)
            relay_sched_settle(&w->s, out[i], &sent, &never, w->now);
        total += n;
    }
    return total;
}

static void a_pace_is_kept(void **state)
{
    struct world *w = *state;
    static const uint32_t rates[] = { 1, 7, 30, 60, 90, 600, 5000 };

    for (size_t i = 0; i < PT_ARRAY_LEN(rates); i++) {
        struct relay_dest *d;
        uint32_t sent = 0, minutes = 4;

        w->routes.routes[0].max_messages_per_minute = rates[i];
        assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
        d = default_dest(w);
        for (uint32_t k = 0; k < rates[i] * (minutes + 1) + 200; k++)
            add(w, "b@a.example");
        for (uint32_t s = 0; s < 60 * minutes; s++) {
            uint32_t now = pull_all(w, d);

            assert_in_range(now, 0, rates[i] / 60 + 2); /* evenly */
            assert_false(d->active && !relay_dest_takeable(d));
            sent += now;
            w->now += second;
            PT_IGNORE(relay_sched_due(&w->s, w->now, 1000), "all of it");
        }
        print_message("%u a minute: %u in %u\n", rates[i], sent, minutes);
        assert_in_range(sent, rates[i] * minutes - rates[i] / 60 - 2,
                        rates[i] * minutes + rates[i] / 60 + 2);
        w->routes.routes[0].max_messages_per_minute = 0;
        assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
        assert_true(pull_all(w, d) > 0); /* no limit any more: at once */
        assert_int_equal(relay_dest_ready(d), 0);
    }
}

static void what_was_not_sent_is_no_part_of_the_pace(void **state)
{
    struct world *w = *state;
    struct relay_group *out[RELAY_PULL_MAX];
    struct relay_dest *d = default_dest(w);

    w->routes.routes[0].max_messages_per_minute = 1;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    add(w, "b@a.example");
    add(w, "c@a.example");
    assert_int_equal(relay_sched_pull(&w->s, d, 0, out, 16), 1);
    relay_sched_put_back(&w->s, out[0]);
    assert_int_equal(relay_sched_pull(&w->s, d, 0, out, 16), 1);
    assert_int_equal(relay_sched_pull(&w->s, d, 0, out + 1, 15), 0);
    relay_sched_put_back(&w->s, out[0]);
}

static void of_two_routes_to_one_next_hop_the_stricter_counts(void **state)
{
    struct world *w = *state;
    struct settings_route *more = routes_add(&w->routes, "more.example");

    routes_add_hop(&w->routes, more, "192.0.2.1", 25);
    w->routes.routes[0].max_messages_per_minute = 50;
    w->routes.routes[0].max_concurrency = 9;
    more->max_messages_per_minute = 70;
    more->max_concurrency = 3;
    for (unsigned turn = 0; turn < 3; turn++) {
        assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
        assert_int_equal(default_dest(w)->pace.per_minute, 50);
        assert_int_equal(default_dest(w)->max_concurrency, 3);
    }
    w->routes.routes[0].max_messages_per_minute = 0;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    assert_int_equal(default_dest(w)->pace.per_minute, 70);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(next_hops_get_their_shares),
        cmocka_unit_test(chance_decides_who_is_first),
        cmocka_unit_test(one_that_failed_has_no_share_and_makes_up_for_nothing),
        cmocka_unit_test(a_slow_one_with_its_connections_holds_up_nobody),
        cmocka_unit_test(what_is_given_back_counts_no_more),
        TEST(shares_are_part_of_the_name),
        TEST(a_pace_is_kept),
        TEST(what_was_not_sent_is_no_part_of_the_pace),
        TEST(of_two_routes_to_one_next_hop_the_stricter_counts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
