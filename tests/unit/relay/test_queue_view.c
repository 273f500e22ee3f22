#include <pthread.h>

#include "relay/queue_view.h"
#include "world.h"

/* What an administrator sees and does, over a destination that defers everything. */

struct seen {
    uint64_t ids[64];
    char state[32], destination[64], reply[128];
    uint32_t attempts;
    int64_t next_attempt_us;
    bool held;
    uint32_t count, enough;
};

static bool see(void *user, const struct relay_view_message *m)
{
    struct seen *s = user;
    const struct relay_view_recipient *r = &m->recipients[0];

    s->ids[s->count++] = m->id;
    snprintf(s->state, sizeof s->state, "%s", r->state);
    snprintf(s->destination, sizeof s->destination, "%.*s", STR_FMT(r->destination));
    snprintf(s->reply, sizeof s->reply, "%.*s", STR_FMT(r->reply));
    s->attempts = r->attempts;
    s->next_attempt_us = r->next_attempt_us;
    s->held = m->held;
    return !s->enough || s->count < s->enough;
}

static struct seen list(struct world *w, struct relay_view_filter f, uint64_t *total)
{
    struct seen s = { .count = 0 };

    assert_int_equal(relay_view_list(w->relay, &f, see, &s, total), PT_ERR_OK);
    return s;
}

static struct seen show(struct world *w, uint64_t id)
{
    struct seen s = { .count = 0 };

    assert_int_equal(relay_view_show(w->relay, id, 0, 0, see, &s), PT_ERR_OK);
    assert_int_equal(s.count, 1);
    return s;
}

static uint64_t act_on(struct world *w, enum relay_view_action action, uint64_t id)
{
    uint64_t count = 0;

    w->spool->at_once = true;
    assert_int_equal(relay_view_act(w->relay, action,
                                    &(struct relay_view_selection){ .ids = &id, .id_count = 1 },
                                    &count),
                     PT_ERR_OK);
    w->spool->at_once = false;
    return count;
}

static struct rule later[] = { { "MAIL FROM:<sender", "450 4.2.0 greylisted\r\n", 0 }, { 0 } };

/* `n` messages, all deferred once. */
static void fill(struct world *w, unsigned n, uint64_t *ids)
{
    world_rules(w->hop, later);
    world_begin(w, false);
    for (unsigned i = 0; i < n; i++)
        ids[i] = world_submit(w, i % 2 ? "odd@b.example" : "even@b.example");
    UNTIL(w, world_stats(w).deferred == n);
    while (fake_spool_turn(w->spool))
        ;
}

static void a_deferred_message_tells_its_reason_and_next_attempt(void **state)
{
    struct world *w = *state;
    uint64_t id;
    struct seen s;

    fill(w, 1, &id);
    s = show(w, id);
    assert_string_equal(s.state, "deferred");
    assert_string_equal(s.reply, "4.2.0 greylisted");
    assert_int_equal(s.attempts, 1);
    assert_in_range(s.next_attempt_us, w->now + 24 * second, w->now + 36 * second);
    assert_non_null(strstr(s.destination, "127.0.0.1:"));
    assert_int_equal(relay_view_show(w->relay, id + 1, 0, 0, see, &s), PT_ERR_NOTFOUND);
}

static void pages_follow_the_cursor(void **state)
{
    struct world *w = *state;
    uint64_t ids[25], total, after = 0;
    unsigned seen = 0;

    fill(w, 25, ids);
    for (;;) {
        struct seen s = list(w, (struct relay_view_filter){ .after = after, .limit = 10 }, &total);

        assert_int_equal(total, 25);
        for (uint32_t i = 0; i < s.count; i++)
            assert_int_equal(s.ids[i], ids[seen + i]);
        seen += s.count;
        if (!s.count)
            break;
        after = s.ids[s.count - 1];
    }
    assert_int_equal(seen, 25);
}

static void filters_choose(void **state)
{
    struct world *w = *state;
    uint64_t ids[10], total;

    fill(w, 10, ids);
    assert_int_equal(
        list(w, (struct relay_view_filter){ .recipient = STR("ODD@b.example") }, &total).count, 5);
    assert_int_equal(total, 5);
    assert_int_equal(
        list(w, (struct relay_view_filter){ .sender = STR("sender@a.example") }, NULL).count, 10);
    assert_int_equal(list(w, (struct relay_view_filter){ .sender = STR("<>") }, NULL).count, 0);
    assert_int_equal(
        list(w, (struct relay_view_filter){ .destination = STR("mx:b.example") }, NULL).count, 0);
    assert_int_equal(
        list(w, (struct relay_view_filter){ .received_before_us = w->now }, NULL).count, 0);
    act_on(w, RELAY_VIEW_HOLD, ids[3]);
    assert_int_equal(list(w, (struct relay_view_filter){ .state = RELAY_VIEW_HELD }, NULL).ids[0],
                     ids[3]);
}

static void retry_sends_at_once_what_is_not_held(void **state)
{
    struct world *w = *state;
    uint64_t ids[3], count;

    fill(w, 3, ids);
    act_on(w, RELAY_VIEW_HOLD, ids[1]);
    assert_int_equal(w->spool->holds, 1);
    assert_true(show(w, ids[1]).held);
    world_rules(w->hop, NULL);
    w->spool->at_once = true;
    assert_int_equal(relay_view_act(w->relay, RELAY_VIEW_RETRY,
                                    &(struct relay_view_selection){ .all = true }, &count),
                     PT_ERR_OK);
    w->spool->at_once = false;
    assert_int_equal(count, 2);
    /* It is stored before it counts, and says nothing but the time. */
    assert_true(world_stored(w, ids[0], 0, SPOOL_QUEUED));
    assert_int_equal(fake_spool_outcome(w->spool, ids[0], 0)->code, 450);
    UNTIL(w, world_stats(w).delivered == 2);
    assert_int_equal(world_stats(w).held, 1);
    act_on(w, RELAY_VIEW_RELEASE, ids[1]);
    assert_int_equal(w->spool->releases, 1);
    act_on(w, RELAY_VIEW_RETRY, ids[1]);
    UNTIL(w, world_stats(w).delivered == 3);
}

static void a_destination_is_chosen_by_its_name(void **state)
{
    struct world *w = *state;
    uint64_t ids[4], count = 0;
    struct seen s;

    fill(w, 4, ids);
    s = show(w, ids[0]);
    w->spool->at_once = true;
    assert_int_equal(
        relay_view_act(w->relay, RELAY_VIEW_DELETE,
                       &(struct relay_view_selection){ .destination = str_of(s.destination) },
                       &count),
        PT_ERR_OK);
    w->spool->at_once = false;
    assert_int_equal(count, 4);
    assert_int_equal(w->spool->deletes, 4);
    assert_int_equal(world_stats(w).messages, 0);
    assert_int_equal(
        relay_view_act(w->relay, RELAY_VIEW_DELETE,
                       &(struct relay_view_selection){ .destination = STR("nobody:25") }, &count),
        PT_ERR_NOTFOUND);
    assert_int_equal(relay_view_act(w->relay, RELAY_VIEW_RETRY,
                                    &(struct relay_view_selection){ .ids = &ids[0], .id_count = 1 },
                                    &count),
                     PT_ERR_NOTFOUND);
}

/* An administrator waits on a thread of its own, while the loop works. */
struct admin {
    struct relay *relay;
    uint64_t id, count;
    enum pt_err err;
    _Atomic bool done;
};

static void *bounce_one(void *arg)
{
    struct admin *a = arg;

    a->err =
        relay_view_act(a->relay, RELAY_VIEW_BOUNCE,
                       &(struct relay_view_selection){ .ids = &a->id, .id_count = 1 }, &a->count);
    a->done = true;
    return NULL;
}

static void bounce_gives_up_with_a_notice(void **state)
{
    struct world *w = *state;
    struct admin admin = { .count = 0 };
    pthread_t thread;
    uint64_t id;

    fill(w, 1, &id);
    admin.relay = w->relay;
    admin.id = id;
    assert_int_equal(pthread_create(&thread, NULL, bounce_one, &admin), 0);
    UNTIL(w, admin.done);
    pthread_join(thread, NULL);
    assert_int_equal(admin.err, PT_ERR_OK);
    assert_int_equal(admin.count, 1);
    /* It was told when that was stored, the notice with it. */
    assert_int_equal(w->spool->bounces, 1);
    assert_true(world_stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(w->spool->last_bounce, "iven up by the administrator"));
    UNTIL(w, world_stats(w).delivered == 1); /* the notice */
}

static void what_cannot_be_stored_holds_and_is_stored_later(void **state)
{
    struct world *w = *state;
    uint64_t id, count;

    fill(w, 1, &id);
    w->spool->at_once = true;
    w->spool->fail = PT_ERR_NOSPACE;
    assert_int_equal(relay_view_act(w->relay, RELAY_VIEW_HOLD,
                                    &(struct relay_view_selection){ .ids = &id, .id_count = 1 },
                                    &count),
                     PT_ERR_NOSPACE);
    assert_true(show(w, id).held);
    w->spool->fail = PT_ERR_OK;
    UNTIL(w, w->spool->holds == 1);
}

struct seen_dest {
    uint32_t count;
    uint64_t deferred;
    bool rests;
    char error[128];
};

static bool see_dest(void *user, const struct relay_view_destination *d)
{
    struct seen_dest *s = user;

    s->count++;
    s->deferred = d->deferred;
    s->rests = d->rests_until_us > 0;
    snprintf(s->error, sizeof s->error, "%s", d->error);
    return true;
}

static void destinations_tell_what_holds_them_up(void **state)
{
    struct world *w = *state;
    struct seen_dest s = { 0 };
    uint64_t id;

    fake_hop_close_listener(w->hop);
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_int_equal(relay_view_destinations(w->relay, see_dest, &s), PT_ERR_OK);
    assert_int_equal(s.count, 1);
    assert_int_equal(s.deferred, 1);
    assert_true(s.rests);
    assert_non_null(strstr(s.error, "refused"));
    /* A message that came since waits for the same reason. */
    id = world_submit(w, "c@b.example");
    assert_string_equal(show(w, id).state, "deferred");
    assert_non_null(strstr(show(w, id).reply, "refused"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_deferred_message_tells_its_reason_and_next_attempt),
        WORLD_TEST(pages_follow_the_cursor),
        WORLD_TEST(filters_choose),
        WORLD_TEST(retry_sends_at_once_what_is_not_held),
        WORLD_TEST(a_destination_is_chosen_by_its_name),
        WORLD_TEST(bounce_gives_up_with_a_notice),
        WORLD_TEST(what_cannot_be_stored_holds_and_is_stored_later),
        WORLD_TEST(destinations_tell_what_holds_them_up),
    };

    return cmocka_run_group_tests_name("relay/queue_view", tests, NULL, NULL);
}
