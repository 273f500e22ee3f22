#include <pthread.h>

#include "relay/queue_view.h"
#include "world.h"

/* What senders are told, and when: RFC 3461 5.2. */

static const int64_t hour = INT64_C(3600) * 1000000;

static struct rule busy[] = { { "RCPT TO:<b@", "450 4.2.1 mailbox busy\r\n" }, { 0 } };

static bool told(struct world *w, const char *words)
{
    return strstr(w->spool->last_bounce, words) != NULL;
}

static uint64_t submit_with(struct world *w, const char *to, uint8_t notify)
{
    struct spool_message *m = world_message(w, to, "Subject: x\r\n\r\nhello\r\n");

    for (uint32_t i = 0; i < m->recipient_count; i++)
        m->recipients[i].notify = notify;
    return world_commit(w, m);
}

/* ---- relayed ---- */

static void success_is_told_where_the_next_hop_sends_no_notices(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->extensions = "250 PIPELINING\r\n";
    world_begin(w, false);
    id = submit_with(w, "b@b.example", SMTP_NOTIFY_SUCCESS);
    UNTIL(w, w->spool->bounces == 1);
    assert_true(world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_true(fake_spool_outcome(w->spool, id, 0)->with_bounce);
    assert_true(told(w, "Action: relayed\r\nStatus: 2."));
    assert_true(told(w, "Final-Recipient: rfc822; b@b.example\r\n"));
    assert_true(told(w, "Diagnostic-Code: smtp; 250 "));
    assert_string_equal(w->spool->last_bounce_to, "sender@a.example");
    UNTIL(w, world_stats(w).messages == 0);
    assert_int_equal(w->spool->bounces, 1);
    assert_int_equal(world_stats(w).bounces, 0); /* a report, not a bounce */
}

static void success_is_passed_on_to_a_next_hop_that_offers_dsn(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->extensions = "250 DSN\r\n";
    world_begin(w, false);
    id = submit_with(w, "b@b.example", SMTP_NOTIFY_SUCCESS);
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    UNTIL(w, world_stats(w).messages == 0);
    assert_int_equal(w->spool->bounces, 0);
}

static void lmtp_is_where_mail_is_delivered(void **state)
{
    struct world *w = *state;
    struct rule full[] = { { ". full@", "552 5.2.2 mailbox full\r\n" }, { 0 } };

    w->hop->lmtp = true;
    w->hop->extensions = "250 PIPELINING\r\n";
    world_rules(w->hop, full);
    routes_add(&w->routes, "a.example"); /* notices wait: the store is not for them */
    world_begin(w, false);
    w->routes.routes[1].lmtp = true;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    submit_with(w, "b@b.example full@b.example", SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE);
    UNTIL(w, w->spool->bounces == 1);
    assert_true(told(w, "Final-Recipient: rfc822; b@b.example\r\nAction: delivered\r\nStatus: 2."));
    assert_true(told(w, "Final-Recipient: rfc822; full@b.example\r\nAction: failed\r\n"
                        "Status: 5.2.2\r\n"));
    assert_false(told(w, "relayed"));
}

static void success_is_not_told_unasked(void **state)
{
    struct world *w = *state;

    w->hop->extensions = "250 PIPELINING\r\n";
    world_begin(w, false);
    submit_with(w, "b@b.example", 0);
    submit_with(w, "b@b.example", SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY);
    submit_with(w, "b@b.example", SMTP_NOTIFY_NEVER);
    UNTIL(w, world_stats(w).delivered == 3);
    UNTIL(w, world_stats(w).messages == 0);
    assert_int_equal(w->spool->bounces, 0);
}

static void what_one_delivery_gives_to_tell_is_one_notice(void **state)
{
    struct world *w = *state;
    struct rule none[] = { { "RCPT TO:<none", "550 5.1.1 no such user\r\n" }, { 0 } };

    world_rules(w->hop, none);
    w->hop->extensions = "250 PIPELINING\r\n";
    world_begin(w, false);
    submit_with(w, "good@b.example none1@b.example none2@b.example",
                SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE);
    UNTIL(w, w->spool->bounces == 1);
    assert_true(told(w, "Final-Recipient: rfc822; good@b.example\r\nAction: relayed\r\n"));
    assert_true(told(w, "Final-Recipient: rfc822; none1@b.example\r\nAction: failed\r\n"));
    assert_true(told(w, "Final-Recipient: rfc822; none2@b.example\r\nAction: failed\r\n"));
    UNTIL(w, world_stats(w).messages == 0);
    assert_int_equal(w->spool->bounces, 1);
}

/* ---- delayed ---- */

static void a_sender_hears_of_a_delay_once(void **state)
{
    struct world *w = *state;
    uint64_t id;

    world_rules(w->hop, busy);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_false(fake_spool_outcome(w->spool, id, 0)->delay_told);
    w->now += 4 * hour;
    UNTIL(w, w->spool->bounces == 1);
    assert_true(told(w, "Action: delayed\r\nStatus: 4.2.1\r\n"));
    assert_true(told(w, "Diagnostic-Code: smtp; 450 4.2.1 mailbox busy\r\n"));
    assert_true(told(w, "Will-Retry-Until: "));
    assert_true(fake_spool_outcome(w->spool, id, 0)->delay_told);
    assert_true(world_stored(w, id, 0, SPOOL_QUEUED));
    for (int i = 0; i < 20; i++) {
        uint64_t before = world_stats(w).deferrals;

        w->now += 2 * hour;
        UNTIL(w, world_stats(w).deferrals > before);
        assert_true(fake_spool_outcome(w->spool, id, 0)->delay_told);
    }
    world_turns(w, 50);
    assert_int_equal(w->spool->bounces, 1);
    world_rules(w->hop, (struct rule[]){ { 0 } });
    w->now += 2 * hour;
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
}

/* Nothing is tried at that moment: the next attempt stays where it was planned. */
static void a_delay_is_told_between_two_attempts(void **state)
{
    struct world *w = *state;
    uint64_t id, before;

    world_rules(w->hop, busy);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).deferrals == 1);
    for (int i = 0; i < 8; i++) { /* until the wait is an hour */
        before = world_stats(w).deferrals;
        w->now += relay_sched_next_due(&w->relay->sched) - w->now;
        UNTIL(w, world_stats(w).deferrals > before);
    }
    before = world_stats(w).deferrals;
    relay_lock(w->relay);
    relay_sched_find(&w->relay->sched, id)->message->received_us = w->now - 4 * hour;
    relay_unlock(w->relay);
    UNTIL(w, w->spool->bounces == 1);
    world_turns(w, 20);
    assert_int_equal(world_stats(w).deferrals, before);
    assert_int_equal(world_stats(w).deferred, 1);
    assert_true(told(w, "The last answer was: 450 4.2.1 mailbox busy"));
    assert_null(strstr(w->spool->last_bounce, "Last-Attempt-Date"));
    w->now = relay_sched_next_due(&w->relay->sched);
    UNTIL(w, world_stats(w).deferrals > before);
    assert_int_equal(w->spool->bounces, 1);
}

/* A destination at rest: most of what waits for it was never tried. */
static void a_delay_is_told_of_what_waits_for_a_dead_destination(void **state)
{
    struct world *w = *state;

    w->hop->endpoint.port = 1; /* nobody is there */
    world_begin(w, false);
    for (int i = 0; i < 100; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).connect_failures > 0);
    w->now += 4 * hour;
    UNTIL(w, w->spool->bounces == 100);
    assert_true(told(w, "Action: delayed\r\n"));
    assert_true(told(w, "Status: 4.4.1\r\n"));
    assert_true(told(w, "refused"));
    for (int i = 0; i < 20; i++) {
        w->now += hour;
        world_turns(w, 20);
    }
    assert_int_equal(w->spool->bounces, 100);
}

static void who_does_not_want_to_hear_of_delays_does_not(void **state)
{
    struct world *w = *state;
    struct spool_message *m;

    w->hop->endpoint.port = 1;
    world_begin(w, false);
    submit_with(w, "b@b.example", SMTP_NOTIFY_FAILURE);
    submit_with(w, "b@b.example", SMTP_NOTIFY_SUCCESS);
    submit_with(w, "b@b.example", SMTP_NOTIFY_NEVER);
    m = world_message(w, "b@b.example", "x\r\n");
    m->reverse_path = STR("");
    world_commit(w, m);
    w->now += 5 * hour;
    world_turns(w, 100);
    assert_int_equal(w->spool->bounces, 0);
    submit_with(w, "b@b.example", SMTP_NOTIFY_DELAY);
    w->now += 4 * hour;
    UNTIL(w, w->spool->bounces == 1);
}

static void a_held_message_is_not_late_before_it_is_released(void **state)
{
    struct world *w = *state;
    struct relay_item *item;
    uint64_t id;

    w->hop->endpoint.port = 1;
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).deferrals == 1);
    relay_lock(w->relay);
    item = relay_sched_find(&w->relay->sched, id);
    assert_true(relay_sched_hold(&w->relay->sched, item));
    relay_unlock(w->relay);
    w->now += 5 * hour;
    world_turns(w, 100);
    assert_int_equal(w->spool->bounces, 0);
    relay_lock(w->relay);
    assert_true(relay_sched_release(&w->relay->sched, item, w->now));
    relay_unlock(w->relay);
    UNTIL(w, w->spool->bounces == 1);
}

static void a_start_neither_repeats_nor_forgets_a_delay(void **state)
{
    struct world *w = *state;
    struct spool_message *m;

    w->hop->endpoint.port = 1;
    world_begin(w, false);
    for (int told_before = 0; told_before < 2; told_before++) {
        m = world_message(w, "b@b.example", "x\r\n");
        m->received_us -= 5 * hour;
        m->recipients[0].delay_told = told_before;
        relay_recovered(w->relay, &m, 1);
        spool_message_unref(m);
    }
    UNTIL(w, w->spool->bounces == 1);
    world_turns(w, 100);
    assert_int_equal(w->spool->bounces, 1);
}

static void the_settings_say_when_and_whether(void **state)
{
    struct world *w = *state;

    w->hop->endpoint.port = 1;
    w->routes.settings.retry.no_delay_notices = true;
    world_begin(w, false);
    world_submit(w, "b@b.example");
    w->now += 10 * hour;
    world_turns(w, 100);
    assert_int_equal(w->spool->bounces, 0);
    w->routes.settings.retry.no_delay_notices = false;
    w->routes.settings.retry.delay_notice_after_minutes = 11 * 60;
    w->routes.settings.retry.give_up_after_hours = 13;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    world_turns(w, 100);
    assert_int_equal(w->spool->bounces, 0);
    w->now += hour;
    UNTIL(w, w->spool->bounces == 1);
    assert_true(told(w, "Action: delayed\r\n"));
    w->now += 2 * hour;
    UNTIL(w, w->spool->bounces == 2);
    assert_true(told(w, "Action: failed\r\nStatus: 4.4.7\r\n"));
}

/* A delay notice that the disk has no room for keeps no delivery back. */
static void a_notice_of_delay_that_cannot_be_kept_comes_later(void **state)
{
    struct world *w = *state;
    uint64_t id;

    world_rules(w->hop, busy);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    w->spool->fail = PT_ERR_NOSPACE;
    w->now += 4 * hour;
    UNTIL(w, world_stats(w).deferrals == 2);
    world_turns(w, 50);
    assert_int_equal(world_stats(w).busy, 0);
    assert_int_equal(w->spool->bounces, 0);
    w->spool->fail = PT_ERR_OK;
    UNTIL(w, world_stats(w).unsaved == 0);
    assert_int_equal(w->spool->bounces, 0);
    w->now += 61 * second;
    UNTIL(w, w->spool->bounces == 1);
    assert_true(fake_spool_outcome(w->spool, id, 0)->delay_told);
}

/* ---- several destinations ---- */

static void begin_with_two_dead_ways(struct world *w)
{
    w->hop->endpoint.port = 1;
    routes_add_hop(&w->routes, routes_add(&w->routes, "c.example"), "127.0.0.1", 2);
    world_begin(w, false);
}

static void a_message_is_told_of_once_however_many_ways_it_has(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin_with_two_dead_ways(w);
    id = world_submit(w, "b@b.example c@c.example d@b.example");
    UNTIL(w, world_stats(w).deferrals == 3);
    w->now += 4 * hour;
    UNTIL(w, w->spool->bounces == 1);
    world_turns(w, 50);
    assert_int_equal(w->spool->bounces, 1);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(fake_spool_outcome(w->spool, id, i)->delay_told);
    assert_int_equal(world_stats(w).ready + world_stats(w).deferred, 3); /* and the notice */
}

static void waiting_ways_are_gathered_and_go_back(void **state)
{
    struct world *w = *state;
    struct relay_group *g[4];
    const struct relay_dest *dest;
    uint32_t recipients[2] = { 0, 0 };
    uint64_t id;

    begin_with_two_dead_ways(w);
    id = world_submit(w, "b@b.example c@c.example d@b.example");
    UNTIL(w, world_stats(w).deferrals == 3);
    relay_lock(w->relay);
    assert_int_equal(
        relay_sched_take(&w->relay->sched, relay_sched_find(&w->relay->sched, id), g, 4), 1);
    assert_int_equal(g[0]->count, 3);
    dest = g[0]->dest;
    relay_sched_put_back(&w->relay->sched, g[0]);
    for (struct relay_group *x = relay_sched_find(&w->relay->sched, id)->groups; x; x = x->sibling)
        recipients[x->dest == dest] += x->count;
    relay_unlock(w->relay);
    assert_true(recipients[0] == 1 || recipients[0] == 2); /* c@c.example, or the others */
    assert_int_equal(recipients[0] + recipients[1], 3);
    assert_int_equal(world_stats(w).ready + world_stats(w).deferred, 2);
}

/* An administrator waits on a thread of its own, while the loop works. */
struct admin {
    struct relay *relay;
    uint64_t count;
    _Atomic bool done;
};

static void *bounce_all(void *arg)
{
    struct admin *a = arg;
    struct relay_view_selection all = { .all = true };

    assert_int_equal(relay_view_act(a->relay, RELAY_VIEW_BOUNCE, &all, &a->count), PT_ERR_OK);
    a->done = true;
    return NULL;
}

static void an_administrator_gives_up_all_ways_in_one_notice(void **state)
{
    struct world *w = *state;
    struct admin admin = { .count = 0 };
    pthread_t thread;

    begin_with_two_dead_ways(w);
    world_submit(w, "b@b.example c@c.example d@b.example");
    UNTIL(w, world_stats(w).deferrals == 3);
    admin.relay = w->relay;
    assert_int_equal(pthread_create(&thread, NULL, bounce_all, &admin), 0);
    UNTIL(w, admin.done);
    pthread_join(thread, NULL);
    assert_int_equal(admin.count, 1);
    assert_int_equal(w->spool->bounces, 1);
    assert_true(told(w, "Final-Recipient: rfc822; c@c.example\r\nAction: failed\r\n"
                        "Status: 5.0.0\r\nDiagnostic-Code: X-Postern;"));
    assert_true(told(w, "Final-Recipient: rfc822; d@b.example\r\n"));
    assert_true(told(w, "    Given up by the administrator of this mail system. The last reason:"));
    assert_true(told(w, "refused")); /* the last reason */
    UNTIL(w, world_stats(w).messages == 1);
    assert_int_equal(w->spool->bounces, 1);
}

static void what_expires_while_its_ways_are_dead_is_told_once(void **state)
{
    struct world *w = *state;

    w->routes.settings.retry.no_delay_notices = true;
    begin_with_two_dead_ways(w);
    world_submit(w, "b@b.example c@c.example");
    UNTIL(w, world_stats(w).deferrals == 2);
    w->now += 119 * hour;
    world_turns(w, 100);
    assert_int_equal(w->spool->bounces, 0);
    w->now += 2 * hour;
    UNTIL(w, world_stats(w).failed == 2);
    UNTIL(w, w->spool->bounces >= 1);
    assert_true(told(w, "Status: 4.4.7\r\n"));
    assert_true(told(w, "    Tried for as long as mail is kept here, without success. The last"));
}

/* ---- what cannot be read ---- */

static void a_message_that_has_rotted_is_told_of_all_the_same(void **state)
{
    struct world *w = *state;
    struct spool_message *m;

    world_begin(w, false);
    w->spool->fail_read = PT_ERR_CORRUPT;
    m = world_message(w, "b@b.example", "Subject: secret\r\n\r\nx\r\n");
    spool_message_uncache(m);
    world_commit(w, m);
    UNTIL(w, w->spool->bounces == 1);
    assert_true(told(w, "nothing of it is returned"));
    assert_true(told(w, "Action: failed\r\nStatus: 5.3.0\r\n"));
    assert_false(told(w, "secret"));
    assert_false(told(w, "rfc822-headers"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(success_is_told_where_the_next_hop_sends_no_notices),
        WORLD_TEST(success_is_passed_on_to_a_next_hop_that_offers_dsn),
        WORLD_TEST(lmtp_is_where_mail_is_delivered),
        WORLD_TEST(success_is_not_told_unasked),
        WORLD_TEST(what_one_delivery_gives_to_tell_is_one_notice),
        WORLD_TEST(a_sender_hears_of_a_delay_once),
        WORLD_TEST(a_delay_is_told_between_two_attempts),
        WORLD_TEST(a_delay_is_told_of_what_waits_for_a_dead_destination),
        WORLD_TEST(who_does_not_want_to_hear_of_delays_does_not),
        WORLD_TEST(a_held_message_is_not_late_before_it_is_released),
        WORLD_TEST(a_start_neither_repeats_nor_forgets_a_delay),
        WORLD_TEST(the_settings_say_when_and_whether),
        WORLD_TEST(a_notice_of_delay_that_cannot_be_kept_comes_later),
        WORLD_TEST(a_message_is_told_of_once_however_many_ways_it_has),
        WORLD_TEST(waiting_ways_are_gathered_and_go_back),
        WORLD_TEST(an_administrator_gives_up_all_ways_in_one_notice),
        WORLD_TEST(what_expires_while_its_ways_are_dead_is_told_once),
        WORLD_TEST(a_message_that_has_rotted_is_told_of_all_the_same),
    };

    return cmocka_run_group_tests_name("relay/notices", tests, NULL, NULL);
}
