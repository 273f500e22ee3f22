#include "world.h"

/* ---- the good way ---- */

static void a_message_arrives_octet_for_octet(void **state)
{
    struct world *w = *state;
    uint64_t id;

    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->count, 1);
    assert_string_equal(w->hop->messages[0].from, "sender@a.example");
    assert_string_equal(w->hop->messages[0].to, "b@b.example");
    assert_string_equal(buf_cstr(&w->hop->messages[0].content),
                        "Subject: x\r\n\r\nhello\r\n.dot\r\n");
    assert_int_equal(world_stats(w).messages, 0);
    assert_int_equal(world_stats(w).delivered, 1);
}

static void connections_are_reused_and_end_after_some_seconds(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->config.idle_ms = 30;
    world_begin(w, false);
    for (unsigned i = 0; i < 5; i++) {
        id = world_submit(w, "b@b.example");
        UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    }
    assert_int_equal(w->hop->count, 5);
    assert_int_equal(w->hop->sessions, 1);
    UNTIL(w, w->hop->open == 0);
    assert_int_equal(world_stats(w).connections, 0);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->sessions, 2);
}

static void the_next_message_begins_in_the_write_of_the_last_dot(void **state)
{
    enum { MANY = 40 };
    struct world *w = *state;

    w->routes.routes[0].max_concurrency = 1;
    world_begin(w, false);
    w->routes.routes[0].max_concurrency = 1;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < MANY; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).delivered == MANY);
    assert_int_equal(w->hop->sessions, 1);
    assert_int_equal(w->hop->count, MANY);
    /* EHLO, the first MAIL, then one packet for each message. */
    assert_true(w->hop->reads <= MANY + 3);
}

static void many_messages_share_a_few_connections(void **state)
{
    enum { MANY = 400 };
    struct world *w = *state;

    w->config.tick_ms = 1000000; /* nothing may wait for the tick */
    world_begin(w, false);
    for (unsigned i = 0; i < MANY; i++) {
        char to[64];

        snprintf(to, sizeof to, "b%u@b.example", i);
        world_submit(w, to);
    }
    UNTIL(w, world_stats(w).delivered == MANY);
    for (unsigned i = 0; i < MANY; i++) {
        char to[64];

        snprintf(to, sizeof to, "b%u@b.example", i);
        assert_non_null(fake_hop_find(w->hop, to));
    }
    assert_int_equal(w->hop->count, MANY);
    assert_true(w->hop->sessions <= RELAY_CONCURRENCY_DEFAULT);
    assert_int_equal(world_stats(w).cached_octets, 0);
}

static void a_hop_without_extensions_is_served_step_by_step(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->extensions = "250 HELP\r\n";
    world_begin(w, false);
    for (unsigned i = 0; i < 3; i++)
        id = world_submit(w, "b@b.example c@b.example");
    UNTIL(w, world_stats(w).delivered == 6);
    assert_true(world_stored(w, id, 1, SPOOL_DELIVERED));
    assert_int_equal(w->hop->count, 3);
}

static void chunks_carry_content_as_it_is(void **state)
{
    enum { MANY = 20 };
    struct world *w = *state;
    struct rule refuse[] = { { "RCPT TO:<none@", "550 5.1.1 no such user\r\n", 0 }, { 0 } };

    w->hop->extensions = "250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING\r\n";
    world_rules(w->hop, refuse);
    world_begin(w, false);
    for (unsigned i = 0; i < MANY; i++)
        world_submit(w, i % 5 ? "b@b.example" : "none@b.example");
    UNTIL(w, world_stats(w).delivered >= MANY * 4 / 5 && world_stats(w).failed == MANY / 5);
    assert_true(w->hop->chunks >= MANY * 4 / 5);
    for (unsigned i = 0; i < MANY * 4 / 5; i++)
        if (w->hop->messages[i].from[0])
            assert_string_equal(buf_cstr(&w->hop->messages[i].content),
                                "Subject: x\r\n\r\nhello\r\n.dot\r\n");
}

/* ---- content that is not in memory ---- */

static char *letters(size_t n)
{
    char *p = malloc(n + 1);

    for (size_t i = 0; i < n; i++)
        p[i] = i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : i % 72 == 0 && i % 5 == 0 ? '.' : 'x';
    p[n - 2] = '\r';
    p[n - 1] = '\n';
    p[n] = 0;
    return p;
}

static void large_content_is_streamed_in_pieces(void **state)
{
    enum { SIZE = 3000024 };
    struct world *w = *state;
    char *content = letters(SIZE);
    struct spool_message *m;
    uint64_t id;

    w->config.read_budget = 300000; /* one piece at a time */
    world_begin(w, false);
    m = world_message(w, "b@b.example", content);
    spool_message_uncache(m);
    id = world_commit(w, m);
    m = world_message(w, "c@b.example", content);
    spool_message_uncache(m);
    world_commit(w, m);
    UNTIL(w, world_stats(w).delivered == 2);
    assert_true(world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->messages[0].content.n, SIZE);
    assert_memory_equal(w->hop->messages[0].content.p, content, SIZE);
    assert_memory_equal(w->hop->messages[1].content.p, content, SIZE);
    free(content);
}

static void a_deferred_message_is_read_back(void **state)
{
    struct world *w = *state;
    struct rule once[] = { { "MAIL", "451 4.3.0 later\r\n", 1 }, { 0 } };
    uint64_t id;

    world_rules(w->hop, once);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_int_equal(world_stats(w).deferred, 1);
    assert_int_equal(world_stats(w).cached_octets, 0);
    assert_string_equal(fake_spool_outcome(w->spool, id, 0)->reply, "4.3.0 later");
    w->now += 40 * second;
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_string_equal(buf_cstr(&w->hop->messages[0].content),
                        "Subject: x\r\n\r\nhello\r\n.dot\r\n");
}

static void damaged_content_fails_and_is_told(void **state)
{
    struct world *w = *state;
    struct spool_message *m;
    uint64_t id, good;

    world_begin(w, false);
    w->spool->fail_read = PT_ERR_CORRUPT;
    m = world_message(w, "b@b.example", "x\r\n");
    spool_message_uncache(m);
    id = world_commit(w, m);
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(w->spool->last_bounce, "5.3.0"));
    w->spool->fail_read = PT_ERR_OK;
    good = world_submit(w, "c@b.example");
    UNTIL(w, world_stored(w, good, 0, SPOOL_DELIVERED));
}

static void content_that_cannot_be_read_now_waits(void **state)
{
    struct world *w = *state;
    struct spool_message *m;
    uint64_t id;

    world_begin(w, false);
    w->spool->fail_read = PT_ERR_IO;
    m = world_message(w, "b@b.example", "x\r\n");
    spool_message_uncache(m);
    id = world_commit(w, m);
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    w->spool->fail_read = PT_ERR_OK;
    w->now += 40 * second;
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
}

static void a_bare_line_feed_never_goes_out(void **state)
{
    struct world *w = *state;
    uint64_t id;

    world_begin(w, false);
    id = world_commit(w, world_message(w, "b@b.example", "Subject: x\r\n\r\na\nb\r\n"));
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    assert_null(fake_hop_find(w->hop, "b@b.example"));
    assert_non_null(strstr(fake_spool_outcome(w->spool, id, 0)->reply, "5.6.0"));
}

/* ---- refusals ---- */

static void each_recipient_ends_for_itself(void **state)
{
    struct world *w = *state;
    struct rule some[] = {
        { "RCPT TO:<busy@", "450 4.2.1 busy\r\n", 1 },
        { "RCPT TO:<none@", "550 5.1.1 no such user\r\n" },
        { 0 },
    };
    uint64_t id;

    world_rules(w->hop, some);
    world_begin(w, false);
    id = world_submit(w, "good@b.example busy@b.example none@b.example");
    UNTIL(w, w->spool->bounces == 1);
    assert_true(world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_true(world_stored(w, id, 1, SPOOL_QUEUED));
    assert_true(world_stored(w, id, 2, SPOOL_FAILED));
    assert_string_equal(w->spool->last_bounce_to, "sender@a.example");
    assert_non_null(strstr(w->spool->last_bounce, "none@b.example"));
    assert_null(strstr(w->spool->last_bounce, "busy@b.example"));
    assert_non_null(strstr(w->spool->last_bounce, "5.1.1"));
    w->now += 40 * second;
    UNTIL(w, world_stored(w, id, 1, SPOOL_DELIVERED));
    /* The bounce itself was delivered to the sender. */
    UNTIL(w, fake_hop_find(w->hop, "sender@a.example") != NULL);
    assert_string_equal(fake_hop_find(w->hop, "sender@a.example")->from, "");
    assert_string_equal(fake_hop_find(w->hop, "busy@b.example")->to, "busy@b.example");
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
}

static void with_lmtp_each_recipient_has_an_answer_behind_the_dot(void **state)
{
    struct world *w = *state;
    struct rule some[] = {
        { "RCPT TO:<none@", "550 5.1.1 no such user\r\n" },
        { ". full@", "452 4.2.2 mailbox full\r\n", 1 },
        { ". never@", "554 5.7.1 not this\r\n" },
        { 0 },
    };
    uint64_t id;

    w->hop->lmtp = true;
    world_rules(w->hop, some);
    world_begin(w, false);
    w->routes.routes[0].lmtp = true;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    id = world_submit(w, "good@b.example none@b.example full@b.example never@b.example");
    UNTIL(w, w->spool->bounces == 1);
    assert_true(world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_true(world_stored(w, id, 1, SPOOL_FAILED));
    assert_true(world_stored(w, id, 2, SPOOL_QUEUED));
    assert_true(world_stored(w, id, 3, SPOOL_FAILED));
    assert_string_equal(fake_spool_outcome(w->spool, id, 2)->reply, "4.2.2 mailbox full");
    assert_non_null(strstr(w->spool->last_bounce, "none@b.example"));
    assert_non_null(strstr(w->spool->last_bounce, "never@b.example"));
    assert_null(strstr(w->spool->last_bounce, "full@b.example"));
    w->now += 40 * second;
    UNTIL(w, world_stored(w, id, 2, SPOOL_DELIVERED));
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
}

static void with_lmtp_only_those_without_an_answer_are_in_doubt(void **state)
{
    struct world *w = *state;
    struct rule lost[] = { { ". b@", HOP_CLOSE, 1 }, { 0 } };
    uint64_t id;

    w->hop->lmtp = true;
    world_rules(w->hop, lost);
    world_begin(w, false);
    w->routes.routes[0].lmtp = true;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    id = world_submit(w, "a@b.example b@b.example c@b.example");
    UNTIL(w, world_stored(w, id, 2, SPOOL_IN_DOUBT));
    assert_true(world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_true(world_stored(w, id, 1, SPOOL_IN_DOUBT));
    w->now += 400 * second;
    UNTIL(w, world_stored(w, id, 1, SPOOL_DELIVERED) && world_stored(w, id, 2, SPOOL_DELIVERED));
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
}

static void no_bounce_for_the_null_sender_or_never(void **state)
{
    struct world *w = *state;
    struct rule none[] = { { "RCPT", "550 5.1.1 no such user\r\n" }, { 0 } };
    struct spool_message *m;
    uint64_t id;

    world_rules(w->hop, none);
    world_begin(w, false);
    m = world_message(w, "b@b.example", "x\r\n");
    m->reverse_path = STR("");
    id = world_commit(w, m);
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    m = world_message(w, "b@b.example", "x\r\n");
    m->recipients[0].notify = SMTP_NOTIFY_NEVER;
    id = world_commit(w, m);
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    assert_int_equal(w->spool->bounces, 0);
    assert_int_equal(world_stats(w).messages, 0);
}

static void a_bounce_of_what_was_read_back_returns_it(void **state)
{
    struct world *w = *state;
    struct rule none[] = { { "RCPT TO:<b@", "550 5.1.1 no such user\r\n" }, { 0 } };
    struct spool_message *m;

    world_rules(w->hop, none);
    world_begin(w, false);
    m = world_message(w, "b@b.example", "Subject: remember me\r\n\r\nx\r\n");
    spool_message_uncache(m);
    world_commit(w, m);
    UNTIL(w, w->spool->bounces == 1);
    assert_non_null(strstr(w->spool->last_bounce, "Subject: remember me"));
}

static void eight_bits_are_not_sent_to_a_hop_without_8bitmime(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->extensions = "250 PIPELINING\r\n";
    world_begin(w, false);
    id = world_commit(w, world_message(w, "b@b.example", "Subject: x\r\n\r\n\xC3\xA4\r\n"));
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(fake_spool_outcome(w->spool, id, 0)->reply, "5.6.3"));
    assert_null(fake_hop_find(w->hop, "b@b.example"));
    /* The notice takes the same way, so it is plain. */
    UNTIL(w, fake_hop_find(w->hop, "sender@a.example"));
    assert_false(str_has_8bit(buf_str(&fake_hop_find(w->hop, "sender@a.example")->content)));
}

static void a_message_is_queued_until_its_notice_is(void **state)
{
    struct world *w = *state;
    struct rule none[] = { { "RCPT TO:<b@", "550 5.1.1 no such user\r\n", 0 }, { 0 } };
    uint64_t id;

    world_rules(w->hop, none);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    while (!w->spool->first) /* the outcome waits for the commit thread */
        net_loop_turn(w->loop, 2);
    assert_int_equal(world_stats(w).messages, 1);
    fake_spool_turn(w->spool);
    assert_true(world_stored(w, id, 0, SPOOL_FAILED));
    assert_int_equal(world_stats(w).messages, 1);
    UNTIL(w, world_stats(w).messages == 0);
}

static void what_is_too_old_is_given_up_with_the_last_reason(void **state)
{
    struct world *w = *state;
    struct rule never[] = { { "RCPT TO:<b@", "450 4.2.1 mailbox busy\r\n" }, { 0 } };
    uint64_t id;

    world_rules(w->hop, never);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    w->now += 6 * 86400 * second;
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    UNTIL(w, w->spool->bounces == 1);
    assert_non_null(strstr(w->spool->last_bounce, "4.4.7"));
    assert_non_null(strstr(w->spool->last_bounce, "mailbox busy"));
}

/* ---- the spool fails ---- */

static void an_outcome_that_cannot_be_stored_is_stored_later(void **state)
{
    struct world *w = *state;
    uint64_t id;

    world_begin(w, false);
    w->spool->fail = PT_ERR_NOSPACE;
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).unsaved == 1);
    assert_int_equal(world_stats(w).messages, 0);
    UNTIL(w, w->rl->ticks > 20);
    w->spool->fail = PT_ERR_OK;
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(world_stats(w).unsaved, 0);
    assert_int_equal(w->hop->count, 1);
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
}

/* ---- the end ---- */

static void stopping_gives_back_what_is_not_past_its_dot(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { "DATA", HOP_SILENT }, { 0 } };
    uint64_t id;

    world_rules(w->hop, r);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, w->hop->reads >= 2);
    relay_stop(w->relay, world_on_stopped, w);
    UNTIL(w, w->stopped);
    assert_null(fake_spool_outcome(w->spool, id, 0));
    assert_int_equal(world_stats(w).ready, 1);
}

static void stopping_waits_for_the_reply_to_the_dot(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { ".", HOP_SILENT }, { 0 } };
    uint64_t id;

    world_rules(w->hop, r);
    w->config.stop_ms = 50;
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, w->hop->list && w->hop->reads >= 3);
    for (unsigned i = 0; i < 5; i++)
        net_loop_turn(w->loop, 1);
    relay_stop(w->relay, world_on_stopped, w);
    net_loop_turn(w->loop, 1);
    assert_false(w->stopped);
    UNTIL(w, w->stopped);
    fake_spool_turn(w->spool);
    assert_true(world_stored(w, id, 0, SPOOL_IN_DOUBT));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_message_arrives_octet_for_octet),
        WORLD_TEST(connections_are_reused_and_end_after_some_seconds),
        WORLD_TEST(the_next_message_begins_in_the_write_of_the_last_dot),
        WORLD_TEST(many_messages_share_a_few_connections),
        WORLD_TEST(a_hop_without_extensions_is_served_step_by_step),
        WORLD_TEST(chunks_carry_content_as_it_is),
        WORLD_TEST(large_content_is_streamed_in_pieces),
        WORLD_TEST(a_deferred_message_is_read_back),
        WORLD_TEST(damaged_content_fails_and_is_told),
        WORLD_TEST(content_that_cannot_be_read_now_waits),
        WORLD_TEST(a_bare_line_feed_never_goes_out),
        WORLD_TEST(each_recipient_ends_for_itself),
        WORLD_TEST(with_lmtp_each_recipient_has_an_answer_behind_the_dot),
        WORLD_TEST(with_lmtp_only_those_without_an_answer_are_in_doubt),
        WORLD_TEST(no_bounce_for_the_null_sender_or_never),
        WORLD_TEST(a_bounce_of_what_was_read_back_returns_it),
        WORLD_TEST(eight_bits_are_not_sent_to_a_hop_without_8bitmime),
        WORLD_TEST(a_message_is_queued_until_its_notice_is),
        WORLD_TEST(what_is_too_old_is_given_up_with_the_last_reason),
        WORLD_TEST(an_outcome_that_cannot_be_stored_is_stored_later),
        WORLD_TEST(stopping_gives_back_what_is_not_past_its_dot),
        WORLD_TEST(stopping_waits_for_the_reply_to_the_dot),
    };

    return cmocka_run_group_tests_name("relay/delivery", tests, NULL, NULL);
}
