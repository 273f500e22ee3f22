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

/* ---- groups ---- */

static void recipients_are_grouped_by_destination(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x.example b@other.example c@y.example d@MX.example e@[192.0.2.9]");
    struct relay_item *item = relay_sched_find(&w->s, id);
    struct relay_group *g;
    unsigned groups = 0;

    for (g = item->groups; g; g = g->sibling)
        groups++;
    assert_int_equal(groups, 3);
    g = pull_one(w, default_dest(w));
    assert_int_equal(g->count, 3);
    assert_int_equal(g->indexes[0], 0);
    assert_int_equal(g->indexes[1], 2);
    assert_int_equal(g->indexes[2], 4);
    g = pull_one(w, dest(w, "192.0.2.2:25"));
    assert_int_equal(g->count, 1);
    assert_int_equal(g->indexes[0], 1);
    assert_non_null(pull_one(w, dest(w, "mx:mx.example")));
    assert_int_equal(w->s.groups[RELAY_GROUP_BUSY], 3);
}

static void a_domain_without_route_waits_for_one(void **state)
{
    struct world *w = *state;

    w->routes.routes[0].domain = "only.example";
    add(w, "a@nowhere.example");
    assert_int_equal(dest(w, "no-route:nowhere.example")->kind, RELAY_DEST_NO_ROUTE);
}

static void messages_leave_in_the_order_they_came(void **state)
{
    struct world *w = *state;
    uint64_t ids[3] = { add(w, "a@x"), add(w, "b@x"), add(w, "c@x") };
    struct relay_group *out[RELAY_PULL_MAX];

    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 0, out, 2), 2);
    assert_int_equal(out[0]->item->id, ids[0]);
    assert_int_equal(out[1]->item->id, ids[1]);
    relay_sched_put_back(&w->s, out[1]);
    relay_sched_put_back(&w->s, out[0]);
    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 0, out, 16), 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(out[i]->item->id, ids[i]);
    for (unsigned i = 0; i < 3; i++)
        settle(w, out[i], SPOOL_DELIVERED, 0);
    assert_int_equal(w->s.messages, 0);
    assert_null(w->s.index);
}

static void a_deferred_group_comes_back_when_it_is_due(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x");
    const struct spool_recipient *r = &relay_sched_find(&w->s, id)->message->recipients[0];

    settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now + 30 * second);
    assert_int_equal(r->attempts, 1);
    assert_int_equal(r->code, 450);
    assert_true(str_eq(r->reply, STR("later")));
    assert_int_equal(r->next_attempt_us, w->now + 30 * second);
    assert_int_equal(w->s.groups[RELAY_GROUP_DEFERRED], 1);
    assert_int_equal(relay_sched_next_due(&w->s), w->now + 30 * second);
    assert_false(relay_sched_due(&w->s, w->now + 29 * second, 100));
    assert_null(pull_one(w, default_dest(w)));
    relay_sched_due(&w->s, w->now + 30 * second, 100);
    assert_non_null(pull_one(w, default_dest(w)));
}

static void recipients_that_are_done_leave_their_group(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x b@x c@x");
    struct relay_group *g = pull_one(w, default_dest(w));
    struct relay_result results[3] = {
        { .state = SPOOL_DELIVERED, .code = 250 },
        { .state = SPOOL_QUEUED, .code = 451, .reply = STR("4.3.0 no") },
        { .state = SPOOL_FAILED, .code = 550, .reply = STR("5.1.1 who?") },
    };
    struct relay_again again = { .next_us = w->now };

    relay_sched_settle(&w->s, g, results, &again, w->now);
    g = pull_one(w, default_dest(w));
    assert_int_equal(g->item->id, id);
    assert_int_equal(g->count, 1);
    assert_int_equal(g->indexes[0], 1);
    assert_int_equal(g->attempts, 1);
    settle(w, g, SPOOL_DELIVERED, 0);
    assert_null(relay_sched_find(&w->s, id));
}

static void a_message_deferred_a_hundred_times_does_not_grow(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x");
    struct spool_message *m = relay_sched_find(&w->s, id)->message;
    size_t after_two = 0;

    for (unsigned i = 0; i < 100; i++) {
        settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now);
        if (i == 1)
            after_two = m->arena.total;
    }
    assert_int_equal(m->arena.total, after_two);
    assert_int_equal(m->recipients[0].attempts, 100);
}

static void a_clock_that_was_set_back_keeps_no_mail_waiting(void **state)
{
    struct world *w = *state;

    add(w, "a@x");
    settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now + 3600 * second);
    w->now -= 86400 * second;
    relay_sched_due(&w->s, w->now, 100);
    assert_non_null(pull_one(w, default_dest(w)));
}

static void a_clock_that_was_set_back_hides_no_mail_behind_newer_plans(void **state)
{
    struct world *w = *state;
    uint64_t old = add(w, "a@x");

    settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now + 3600 * second);
    PT_IGNORE(relay_sched_due(&w->s, w->now, 100), "nothing is");
    w->now -= 86400 * second;
    add(w, "b@x");
    settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now + 600 * second);
    PT_IGNORE(relay_sched_due(&w->s, w->now, 100), "nothing is");
    w->now += 3600 * second;
    PT_IGNORE(relay_sched_due(&w->s, w->now, 100), "both are");
    assert_non_null(pull_one(w, default_dest(w)));
    assert_int_equal(pull_one(w, default_dest(w))->item->id, old);
}

/* What the log says of the next attempt is from another clock. */
static void a_next_attempt_in_the_year_2100_is_made_now(void **state)
{
    struct world *w = *state;
    struct spool_message *m =
        fake_spool_message(w->spool, "a@a.example", "a@x", STR("x\r\n"), w->now);

    m->recipients[0].attempts = 3;
    m->recipients[0].next_attempt_us = INT64_C(4102444800) * second;
    assert_true(relay_sched_add(&w->s, m, w->now, NULL));
    assert_int_equal(pull_one(w, default_dest(w))->item->id, m->id);
    spool_message_unref(m);
}

static void one_in_doubt_goes_to_the_same_next_hop_first(void **state)
{
    struct world *w = *state;
    struct relay_result result = { .state = SPOOL_IN_DOUBT };
    struct relay_again again = { .next_us = w->now, .prefer = 77 };
    uint64_t doubtful = add(w, "a@x"), other;
    struct relay_group *out[4];

    relay_sched_settle(&w->s, pull_one(w, default_dest(w)), &result, &again, w->now);
    other = add(w, "b@x");
    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 12, out, 4), 1);
    assert_int_equal(out[0]->item->id, other);
    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 77, out, 4), 1);
    assert_int_equal(out[0]->item->id, doubtful);
    /* But it does not wait for ever for one that is gone. */
    relay_sched_settle(&w->s, out[0], &result, &again, w->now);
    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 12, out, 4), 0);
    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 12, out, 4), 0);
    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 12, out, 4), 1);
}

/* ---- destinations ---- */

static void an_unreachable_destination_rests_and_touches_no_other(void **state)
{
    struct world *w = *state;
    struct relay_dest *d;
    int64_t until;

    add(w, "a@x");
    add(w, "b@other.example");
    d = relay_sched_open(&w->s, 0);
    assert_ptr_equal(d, default_dest(w));
    assert_true(relay_sched_unreachable(&w->s, d, 0, true, w->now, STR("4.4.1 refused")));
    assert_true(relay_dest_rests(d));
    assert_string_equal(d->error, "4.4.1 refused");
    assert_ptr_equal(relay_sched_open(&w->s, 0), dest(w, "192.0.2.2:25"));
    assert_null(relay_sched_open(&w->s, 0));

    until = d->rest.at_us;
    assert_in_range(until, w->now + 12 * second, w->now + 18 * second);
    relay_sched_due(&w->s, until, 100);
    /* One probe, then a longer rest. */
    assert_ptr_equal(relay_sched_open(&w->s, 1), d);
    add(w, "c@x");
    assert_null(relay_sched_open(&w->s, 0));
    assert_true(relay_sched_unreachable(&w->s, d, 1, true, until, STR("4.4.1 refused")));
    assert_true(d->rest.at_us - until >= 24 * second);
}

static void what_waited_for_a_connection_is_due_once_there_is_one(void **state)
{
    struct world *w = *state;
    struct relay_result result = { .state = SPOOL_QUEUED, .reply = STR("4.4.1 refused") };
    struct relay_again again = { .next_us = w->now + 1800 * second, .unreachable = true };
    struct relay_dest *d;

    add(w, "a@x");
    add(w, "b@x");
    d = relay_sched_open(&w->s, 0);
    relay_sched_unreachable(&w->s, d, 0, true, w->now, STR("no"));
    relay_sched_settle(&w->s, pull_one(w, d), &result, &again, w->now);
    relay_sched_due(&w->s, d->rest.at_us, 100);
    assert_ptr_equal(relay_sched_open(&w->s, 0), d);
    relay_sched_connected(&w->s, d);
    settle(w, pull_one(w, d), SPOOL_DELIVERED, 0);
    relay_sched_went_well(&w->s, d, 100 * 1000);
    assert_non_null(pull_one(w, d));
    assert_int_equal(d->failures, 0);
}

static void a_failure_beside_standing_connections_is_no_rest(void **state)
{
    struct world *w = *state;
    struct relay_dest *d;

    add(w, "a@x");
    add(w, "b@x");
    d = relay_sched_open(&w->s, 0);
    assert_ptr_equal(relay_sched_open(&w->s, 1), d);
    relay_sched_connected(&w->s, d);
    assert_false(relay_sched_unreachable(&w->s, d, 1, true, w->now, STR("421 too many")));
    assert_false(relay_dest_rests(d));
    assert_int_equal(d->limit, 1);
    assert_null(relay_sched_open(&w->s, 1));
}

static void concurrency_grows_with_success_up_to_its_maximum(void **state)
{
    struct world *w = *state;
    struct relay_dest *d;
    unsigned opened = 0;

    for (unsigned i = 0; i < 100; i++)
        add(w, "a@x");
    d = default_dest(w);
    while (relay_sched_open(&w->s, opened % 2))
        opened++;
    assert_int_equal(opened, RELAY_CONCURRENCY_FIRST);
    for (unsigned i = 0; i < 1000; i++)
        relay_sched_went_well(&w->s, d, 100 * 1000);
    assert_int_equal(d->limit, RELAY_CONCURRENCY_DEFAULT);
    /* Each loop gets its half. */
    while (relay_sched_open(&w->s, 0))
        opened++;
    assert_int_equal(d->per_loop[0], RELAY_CONCURRENCY_DEFAULT / 2);
    while (relay_sched_open(&w->s, 1))
        opened++;
    assert_int_equal(opened, RELAY_CONCURRENCY_DEFAULT);
    relay_sched_closed(&w->s, d, 0, true);
    assert_int_equal(d->limit, RELAY_CONCURRENCY_DEFAULT / 2);
}

static void a_quick_next_hop_needs_few_connections(void **state)
{
    struct world *w = *state;
    struct relay_dest *d;
    unsigned opened = 1;

    add(w, "a@x");
    d = relay_sched_open(&w->s, 0);
    relay_sched_connected(&w->s, d);
    assert_non_null(pull_one(w, d));
    relay_sched_went_well(&w->s, d, 500);
    d->limit = 20;
    for (unsigned i = 0; i < RELAY_PATIENCE_MAX; i++)
        add(w, "a@x");
    assert_null(relay_sched_open(&w->s, 0));
    assert_int_equal(relay_sched_share(&w->s, d), 1 + RELAY_PATIENCE_MAX);
    add(w, "a@x");
    assert_ptr_equal(relay_sched_open(&w->s, 1), d);
    /* Once it takes long, everybody gets one of their own. */
    for (unsigned i = 0; i < 100; i++)
        relay_sched_went_well(&w->s, d, 1000000);
    opened = 0;
    while (relay_sched_open(&w->s, opened % 2))
        opened++;
    assert_int_equal(opened, RELAY_PATIENCE_MAX);
}

static void connections_are_opened_in_turn_over_destinations(void **state)
{
    struct world *w = *state;

    add(w, "a@x");
    add(w, "b@x");
    add(w, "c@other.example");
    assert_ptr_equal(relay_sched_open(&w->s, 0), default_dest(w));
    assert_ptr_equal(relay_sched_open(&w->s, 0), dest(w, "192.0.2.2:25"));
    assert_ptr_equal(relay_sched_open(&w->s, 0), default_dest(w));
    assert_null(relay_sched_open(&w->s, 0));
}

static void loops_with_idle_connections_are_woken_first(void **state)
{
    struct world *w = *state;
    struct relay_dest *d;

    add(w, "a@x");
    d = relay_sched_open(&w->s, 1);
    relay_sched_connected(&w->s, d);
    settle(w, pull_one(w, d), SPOOL_DELIVERED, 0);
    relay_sched_idle(&w->s, d, 1, true);
    add(w, "b@x");
    assert_int_equal(relay_sched_wake_for(&w->s, d), 1u << 1);
    assert_null(relay_sched_open(&w->s, 0));
    add(w, "c@x");
    assert_true(relay_sched_wake_for(&w->s, d) & (1u << 1));
    assert_ptr_equal(relay_sched_open(&w->s, 0), d);
}

static void destinations_that_have_nothing_are_freed(void **state)
{
    struct world *w = *state;

    for (unsigned i = 0; i < 200; i++) {
        char to[64];

        snprintf(to, sizeof to, "a@d%u.example", i);
        w->routes.routes[0].via = SETTINGS_VIA_MX;
        assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
        add(w, to);
    }
    assert_true(w->s.dests.count >= 200);
    for (struct relay_item *item; (item = relay_sched_after(&w->s, 0));)
        relay_sched_delete(&w->s, item);
    for (unsigned i = 0; i < w->s.dests.bucket_count; i += 16)
        relay_sched_sweep(&w->s, 16);
    assert_int_equal(w->s.dests.count, 1); /* the one that a route names */
}

/* ---- routes of today ---- */

static void queued_mail_follows_the_routes_of_today(void **state)
{
    struct world *w = *state;
    struct routes next;
    struct relay_group *busy;
    uint64_t cursor = 0;

    add(w, "a@x");
    add(w, "b@x c@y.example");
    settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now + second);
    busy = pull_one(w, default_dest(w));

    routes_init(&next);
    routes_add_hop(&next, routes_add(&next, "*"), "198.51.100.1", 25);
    routes_add_hop(&next, routes_add(&next, "y.example"), "198.51.100.2", 25);
    assert_true(relay_sched_set_settings(&w->s, &next.settings));
    while (!relay_sched_reroute(&w->s, &cursor, 1, w->now))
        ;
    assert_int_equal(dest(w, "198.51.100.1:25")->lists[RELAY_GROUP_DEFERRED].count, 1);
    /* What was in delivery is split when it comes back. */
    settle(w, busy, SPOOL_QUEUED, w->now);
    assert_int_equal(dest(w, "198.51.100.1:25")->lists[RELAY_GROUP_READY].count, 1);
    assert_int_equal(dest(w, "198.51.100.2:25")->lists[RELAY_GROUP_READY].count, 1);
}

/* ---- an administrator's hand ---- */

static void retry_makes_due_now_but_not_what_is_held(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x"), held = add(w, "b@x");
    struct relay_group *g;
    bool waits;

    for (unsigned i = 0; i < 2; i++)
        settle(w, pull_one(w, default_dest(w)), SPOOL_QUEUED, w->now + 600 * second);
    assert_true(relay_sched_hold(&w->s, relay_sched_find(&w->s, held)));
    assert_false(relay_sched_hold(&w->s, relay_sched_find(&w->s, held)));
    assert_int_equal(relay_sched_retry(&w->s, relay_sched_find(&w->s, held), &g, 1, &waits), 0);
    assert_false(waits);
    assert_int_equal(relay_sched_retry(&w->s, relay_sched_find(&w->s, id), &g, 1, &waits), 1);
    assert_true(waits);
    settle(w, g, SPOOL_QUEUED, w->now);
    assert_int_equal(pull_one(w, default_dest(w))->item->id, id);
    assert_null(pull_one(w, default_dest(w)));
    relay_sched_due(&w->s, w->now + 7200 * second, 100);
    assert_null(pull_one(w, default_dest(w)));
    w->now += 7200 * second;
    assert_true(relay_sched_release(&w->s, relay_sched_find(&w->s, held), w->now));
    assert_int_equal(pull_one(w, default_dest(w))->item->id, held);
}

static void what_is_held_in_delivery_is_held_when_it_comes_back(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x");
    struct relay_group *g = pull_one(w, default_dest(w));

    assert_true(relay_sched_hold(&w->s, relay_sched_find(&w->s, id)));
    settle(w, g, SPOOL_QUEUED, w->now);
    assert_int_equal(w->s.groups[RELAY_GROUP_HELD], 1);
    assert_null(pull_one(w, default_dest(w)));
}

static void a_deleted_message_is_gone_also_from_delivery(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "a@x b@other.example");
    struct relay_group *g = pull_one(w, default_dest(w));

    relay_sched_delete(&w->s, relay_sched_find(&w->s, id));
    assert_true(g->item->deleted);
    assert_null(pull_one(w, dest(w, "192.0.2.2:25")));
    relay_sched_put_back(&w->s, g);
    assert_null(relay_sched_find(&w->s, id));
    assert_null(pull_one(w, default_dest(w)));
}

static void the_old_are_given_up_while_their_destination_rests(void **state)
{
    struct world *w = *state;
    struct relay_group *out[4];
    struct relay_dest *d;
    uint64_t id = add(w, "a@x");

    add(w, "b@other.example");
    w->now += retry_policy_default.life_us;
    add(w, "young@x");
    assert_int_equal(relay_sched_expired(&w->s, w->now, out, 4), 0);
    d = relay_sched_open(&w->s, 0);
    relay_sched_unreachable(&w->s, d, 0, true, w->now, STR("no"));
    assert_int_equal(relay_sched_expired(&w->s, w->now, out, 4), 1);
    assert_int_equal(out[0]->item->id, id);
    assert_int_equal(out[0]->state, RELAY_GROUP_BUSY);
}

/* ---- memory ---- */

static void content_in_memory_keeps_to_its_budget(void **state)
{
    struct world *w = *state;
    struct relay_group *g;
    uint64_t third;

    w->s.cache_budget = 3 * BLOCK_SIZE - 1; /* room for two small messages */
    add(w, "a@x");
    add(w, "b@x");
    third = add(w, "c@x");
    assert_false(relay_sched_find(&w->s, third)->message->cached);
    assert_int_equal(w->s.cached, 2 * BLOCK_SIZE);
    g = pull_one(w, default_dest(w));
    assert_true(g->item->message->cached);
    settle(w, g, SPOOL_QUEUED, w->now + second);
    assert_false(g->item->message->cached);
    assert_int_equal(w->s.cached, BLOCK_SIZE);
    settle(w, pull_one(w, default_dest(w)), SPOOL_DELIVERED, 0);
    assert_int_equal(w->s.cached, 0);
}

static void a_hundred_thousand_groups_are_handled_one_by_one(void **state)
{
    enum { MANY = 100000 };
    struct world *w = *state;
    struct relay_dest *d = default_dest(w);
    struct relay_group *out[RELAY_PULL_MAX];
    struct spool_message *m = fake_spool_message(w->spool, "a@a", "a@x", STR("x"), w->now);
    uint32_t pulled = 0, n;

    for (unsigned i = 0; i < MANY; i++) {
        m->id = 5000 + i;
        assert_true(relay_sched_add(&w->s, m, w->now, NULL));
    }
    for (unsigned i = 0; i < MANY; i++)
        settle(w, pull_one(w, d), SPOOL_QUEUED, w->now + 30 * second + (i * 7919) % MANY);
    assert_int_equal(w->s.groups[RELAY_GROUP_DEFERRED], MANY);
    while (relay_sched_due(&w->s, w->now + 31 * second, 1000))
        ;
    m->recipients[0].next_attempt_us = 0;
    while ((n = relay_sched_pull(&w->s, d, 0, out, RELAY_PULL_MAX)) > 0) {
        for (uint32_t i = 0; i < n; i++)
            settle(w, out[i], SPOOL_DELIVERED, 0);
        pulled += n;
    }
    assert_int_equal(pulled, MANY);
    assert_int_equal(w->s.messages, 0);
    spool_message_unref(m);
}

static void a_message_to_thousands_of_domains_takes_one_pass(void **state)
{
    enum { MANY = 20000 };
    struct world *w = *state;
    struct buf to;

    w->routes.routes[0].via = SETTINGS_VIA_MX;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    buf_init(&to, 1 << 20);
    for (unsigned i = 0; i < MANY; i++)
        buf_addf(&to, "%sa@d%u", i ? " " : "", i % (MANY / 2));
    w->spool->next_id = 7;
    add(w, buf_cstr(&to));
    assert_int_equal(w->s.groups[RELAY_GROUP_READY], MANY / 2);
    buf_done(&to);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(recipients_are_grouped_by_destination),
        T(a_domain_without_route_waits_for_one),
        T(messages_leave_in_the_order_they_came),
        T(a_deferred_group_comes_back_when_it_is_due),
        T(recipients_that_are_done_leave_their_group),
        T(a_message_deferred_a_hundred_times_does_not_grow),
        T(a_clock_that_was_set_back_keeps_no_mail_waiting),
        T(a_clock_that_was_set_back_hides_no_mail_behind_newer_plans),
        T(a_next_attempt_in_the_year_2100_is_made_now),
        T(one_in_doubt_goes_to_the_same_next_hop_first),
        T(an_unreachable_destination_rests_and_touches_no_other),
        T(what_waited_for_a_connection_is_due_once_there_is_one),
        T(a_failure_beside_standing_connections_is_no_rest),
        T(concurrency_grows_with_success_up_to_its_maximum),
        T(a_quick_next_hop_needs_few_connections),
        T(connections_are_opened_in_turn_over_destinations),
        T(loops_with_idle_connections_are_woken_first),
        T(destinations_that_have_nothing_are_freed),
        T(queued_mail_follows_the_routes_of_today),
        T(retry_makes_due_now_but_not_what_is_held),
        T(what_is_held_in_delivery_is_held_when_it_comes_back),
        T(a_deleted_message_is_gone_also_from_delivery),
        T(the_old_are_given_up_while_their_destination_rests),
        T(content_in_memory_keeps_to_its_budget),
        T(a_hundred_thousand_groups_are_handled_one_by_one),
        T(a_message_to_thousands_of_domains_takes_one_pass),
    };

    return cmocka_run_group_tests_name("relay/scheduler", tests, NULL, NULL);
}
