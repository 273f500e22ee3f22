#include "relay/callout.h"
#include "world.h"

/* Questions about recipients: what is remembered, for how long, in how much memory. */

struct question {
    struct relay_callout q;
    struct policy_recipient answer;
    char recipient[64];
    unsigned answered;
};

static void on_answered(struct relay_callout *q)
{
    PT_CONTAINER_OF(q, struct question, q)->answered++;
}

static void begin(struct world *w, bool with_second)
{
    w->routes.settings.message_rules.recipient_check_timeout_seconds = 60;
    w->routes.settings.message_rules.recipient_check_taken_minutes = 100;
    w->routes.settings.message_rules.recipient_check_refused_minutes = 10;
    world_begin(w, with_second);
}

/* False: it waits. */
static bool ask(struct world *w, struct question *q, const char *recipient)
{
    *q = (struct question){ .answered = 0 };
    snprintf(q->recipient, sizeof q->recipient, "%s", recipient);
    q->q = (struct relay_callout){ .recipient = str_of(q->recipient),
                                   .home = w->loop,
                                   .answered = on_answered,
                                   .answer = &q->answer };
    return relay_callout_ask(w->relay, &q->q);
}

static struct policy_recipient answer_to(struct world *w, const char *recipient)
{
    struct question q;

    if (!ask(w, &q, recipient))
        UNTIL(w, q.answered);
    return q.answer;
}

static struct relay_callout_stats stats(struct world *w)
{
    struct relay_callout_stats s;

    relay_callout_get_stats(w->relay, &s);
    return s;
}

static struct rule nobody[] = { { "RCPT TO:<nobody", "550 5.1.1 who?\r\n", 0 }, { 0 } };

static void a_yes_is_remembered_for_longer_than_a_no(void **state)
{
    struct world *w = *state;

    world_rules(w->hop, nobody);
    begin(w, false);
    assert_int_equal(answer_to(w, "a@b.example").said, POLICY_RECIPIENT_TAKEN);
    assert_int_equal(answer_to(w, "nobody@b.example").said, POLICY_RECIPIENT_REFUSED);
    w->now += 9 * 60 * second;
    assert_true(answer_to(w, "a@B.EXAMPLE").remembered);
    assert_true(answer_to(w, "nobody@b.example").remembered);
    assert_string_equal(answer_to(w, "nobody@b.example").words, "5.1.1 who?");
    assert_false(answer_to(w, "A@b.example").remembered); /* another local part */
    w->now += 2 * 60 * second;
    assert_true(answer_to(w, "a@b.example").remembered);
    assert_false(answer_to(w, "nobody@b.example").remembered);
    w->now += 90 * 60 * second;
    assert_false(answer_to(w, "a@b.example").remembered);
    assert_int_equal(stats(w).asked, 5);
}

static void an_old_yes_is_better_than_no_answer_an_old_no_is_not(void **state)
{
    static struct rule away[] = { { "MAIL", "421 4.3.2 away\r\n", 0 }, { 0 } };
    struct world *w = *state;

    world_rules(w->hop, nobody);
    begin(w, false);
    assert_int_equal(answer_to(w, "a@b.example").said, POLICY_RECIPIENT_TAKEN);
    assert_int_equal(answer_to(w, "nobody@b.example").said, POLICY_RECIPIENT_REFUSED);
    w->now += 200 * 60 * second;
    world_rules(w->hop, away);
    assert_int_equal(answer_to(w, "nobody@b.example").said, POLICY_RECIPIENT_UNTOLD);
    for (int i = 0; i < 2; i++) {
        struct policy_recipient a = answer_to(w, "a@b.example");

        assert_int_equal(a.said, POLICY_RECIPIENT_TAKEN);
        assert_true(a.remembered);
    }
    assert_int_equal(answer_to(w, "new@b.example").said, POLICY_RECIPIENT_UNTOLD);
}

static void memory_is_bounded_and_the_longest_unasked_goes_first(void **state)
{
    struct world *w = *state;
    uint64_t most = 0;

    w->config.callout_octets = 8192;
    begin(w, false);
    for (unsigned i = 0; i < 200; i++) {
        char recipient[32];

        snprintf(recipient, sizeof recipient, "u%u@b.example", i);
        assert_int_equal(answer_to(w, recipient).said, POLICY_RECIPIENT_TAKEN);
        assert_true(stats(w).octets <= 8192);
        assert_int_equal(answer_to(w, "u0@b.example").remembered, true); /* asked again and again */
        most = PT_MAX(most, stats(w).entries);
    }
    assert_true(most > 10 && most < 100);
    assert_true(answer_to(w, "u199@b.example").remembered);
    assert_false(answer_to(w, "u1@b.example").remembered);
}

static void many_who_ask_the_same_are_one_question(void **state)
{
    static struct question q[50];
    struct world *w = *state;

    begin(w, false);
    for (size_t i = 0; i < PT_ARRAY_LEN(q); i++)
        assert_false(ask(w, &q[i], "a@b.example"));
    for (size_t i = 0; i < PT_ARRAY_LEN(q); i++)
        UNTIL(w, q[i].answered);
    world_turns(w, 5);
    for (size_t i = 0; i < PT_ARRAY_LEN(q); i++) {
        assert_int_equal(q[i].answered, 1);
        assert_int_equal(q[i].answer.said, POLICY_RECIPIENT_TAKEN);
    }
    assert_int_equal(stats(w).asked, 1);
    assert_int_equal(stats(w).waiting, 0);
}

static void questions_of_one_next_hop_have_a_limit(void **state)
{
    static struct rule silent[] = { { "RCPT", HOP_SILENT, 0 }, { 0 } };
    static struct question q[1100];
    struct world *w = *state;
    unsigned waiting = 0;

    world_rules(w->hop, silent);
    begin(w, false);
    for (size_t i = 0; i < PT_ARRAY_LEN(q); i++) {
        char recipient[32];

        snprintf(recipient, sizeof recipient, "u%zu@b.example", i);
        waiting += !ask(w, &q[i], recipient);
    }
    assert_int_equal(waiting, 1000);
    assert_int_equal(stats(w).waiting, 1000);
    assert_int_equal(q[1099].answer.said, POLICY_RECIPIENT_UNTOLD);
    UNTIL(w, w->hop->open == 4);
    world_turns(w, 20);
    assert_int_equal(w->hop->sessions, 4);
    /* Whoever waits when it ends is told. */
    relay_stop(w->relay, world_on_stopped, w);
    UNTIL(w, w->stopped);
    for (unsigned i = 0; i < 1000; i++)
        UNTIL(w, q[i].answered);
}

static void a_question_that_a_closed_connection_took_along_is_asked_again(void **state)
{
    struct world *w = *state;
    struct rule closes[] = { { "MAIL", HOP_CLOSE, 1 }, { 0 } };

    begin(w, false);
    assert_int_equal(answer_to(w, "a@b.example").said, POLICY_RECIPIENT_TAKEN);
    world_rules(w->hop, closes); /* as if it had closed just before */
    assert_int_equal(answer_to(w, "b@b.example").said, POLICY_RECIPIENT_TAKEN);
    assert_int_equal(w->hop->sessions, 2);
}

static void the_second_hop_is_asked_when_the_first_is_away(void **state)
{
    struct world *w = *state;

    fake_hop_close_listener(w->hop);
    world_rules(w->second, nobody);
    begin(w, true);
    assert_int_equal(answer_to(w, "nobody@b.example").said, POLICY_RECIPIENT_REFUSED);
    assert_int_equal(answer_to(w, "a@b.example").said, POLICY_RECIPIENT_TAKEN);
}

static void mail_and_questions_do_not_mix(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin(w, false);
    assert_int_equal(answer_to(w, "a@b.example").said, POLICY_RECIPIENT_TAKEN);
    id = world_submit(w, "a@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->count, 1);
    assert_int_equal(w->hop->sessions, 2);
    assert_int_equal(world_stats(w).connections, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_yes_is_remembered_for_longer_than_a_no),
        WORLD_TEST(an_old_yes_is_better_than_no_answer_an_old_no_is_not),
        WORLD_TEST(memory_is_bounded_and_the_longest_unasked_goes_first),
        WORLD_TEST(many_who_ask_the_same_are_one_question),
        WORLD_TEST(questions_of_one_next_hop_have_a_limit),
        WORLD_TEST(a_question_that_a_closed_connection_took_along_is_asked_again),
        WORLD_TEST(the_second_hop_is_asked_when_the_first_is_away),
        WORLD_TEST(mail_and_questions_do_not_mix),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
