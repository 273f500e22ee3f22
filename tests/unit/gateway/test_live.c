#include <pthread.h>
#include <unistd.h>

#include "base/block.h"
#include "gateway/live_view.h"
#include "gateway/loop.h"
#include "gateway/session.h"
#include "rig.h"

/* Sessions while settings change, time passes and an administrator looks on. */

static const char denied[] = "{\"connections\":{\"control\":{\"deny_list\":[\"127.0.0.1\"]}}}";

static void who_is_permitted_again_goes_on(void **state)
{
    struct rig *r = *state;
    int fd = rig_greeted(r);

    rig_publish(r, denied);
    rig_publish(r, denied);
    rig_publish(r, "{}");
    rig_ask(r, fd, "NOOP\r\n", "250");
    rig_publish(r, denied);
    rig_say(r, fd, "NOOP\r\n", 6);
    {
        const char *reply = rig_hear(r, fd);

        assert_memory_equal(reply, "421 4.7.0", 9);
        assert_non_null(strstr(reply, " [ref "));
    }
    assert_string_equal(rig_hear(r, fd), "");
    assert_int_equal(rig_sessions(r), 0);
    close(fd);
}

/* The once-a-second look at all sessions, `seconds` from now. */
static void look(struct rig *r, int64_t seconds)
{
    int64_t now = net_loop_now(r->loop) + seconds * 1000000000;

    for (struct session *s = r->gateway_loop->sessions, *next; s; s = next) {
        next = session_next(s);
        session_sweep(s, now);
    }
}

static void a_silent_client_is_let_go_between_commands_and_in_data(void **state)
{
    struct rig *r = *state;
    int idle = rig_greeted(r), in_data = rig_at_data(r), mute = rig_dial(r);

    rig_expect(r, mute, "220");
    rig_say(r, in_data, "half a li", 9);
    look(r, 290);
    assert_int_equal(rig_sessions(r), 3);
    look(r, 301);
    assert_int_equal(rig_sessions(r), 0);
    rig_expect(r, idle, "421 4.4.2");
    rig_expect(r, in_data, "421 4.4.2");
    rig_expect(r, mute, "421 4.4.2");
    assert_string_equal(rig_hear(r, idle), "");
    close(idle);
    close(in_data);
    close(mute);
}

static void a_changed_timeout_counts_for_live_sessions(void **state)
{
    struct rig *r = *state;
    int fd = rig_greeted(r);

    rig_publish(r, "{\"connections\":{\"interface\":{\"idle_timeout_minutes\":10}}}");
    look(r, 301);
    rig_ask(r, fd, "NOOP\r\n", "250");
    rig_publish(r, "{\"connections\":{\"interface\":{\"idle_timeout_minutes\":1}}}");
    look(r, 61);
    rig_expect(r, fd, "421 4.4.2");
    close(fd);
}

static void the_clock_stands_still_while_the_disk_is_waited_for(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);
    struct session *s = r->gateway_loop->sessions;

    r->disk.wait = true;
    rig_say(r, fd, "x\r\n.\r\n", 6);
    for (int i = 0; i < 100 && s->phase != SESSION_COMMITTING; i++)
        net_loop_turn(r->loop, 10);
    assert_int_equal(s->phase, SESSION_COMMITTING);
    look(r, 100000);
    assert_int_equal(rig_sessions(r), 1);
    r->disk.wait = false;
    rig_expect(r, fd, "250 2.0.0");
    close(fd);
}

static struct rig *turning; /* by a thread of its own, while the test asks */

static void *turn(void *ctx)
{
    while (!*(_Atomic bool *)ctx)
        net_loop_turn(turning->loop, 5);
    block_thread_done();
    return NULL;
}

struct turner {
    pthread_t thread;
    _Atomic bool stop;
};

static void start_turning(struct rig *r, struct turner *t)
{
    turning = r;
    t->stop = false;
    assert_int_equal(pthread_create(&t->thread, NULL, turn, &t->stop), 0);
}

static void stop_turning(struct turner *t)
{
    t->stop = true;
    pthread_join(t->thread, NULL);
}

static void live_sessions_are_listed_page_by_page(void **state)
{
    struct rig *r = *state;
    struct gateway_live_filter filter = { .after = 0 };
    struct gateway_live rows[3];
    int fds[5];
    struct turner t;
    uint32_t count;
    uint64_t total, last = 0;

    for (int i = 0; i < 5; i++)
        fds[i] = i == 2 ? rig_at_data(r) : rig_greeted(r);
    start_turning(r, &t);
    for (int page = 0; page < 2; page++) {
        assert_int_equal(gateway_live_list(r->gateway, &filter, rows, 3, &count, &total),
                         PT_ERR_OK);
        assert_int_equal(total, 5);
        assert_int_equal(count, page == 0 ? 3 : 2);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(rows[i].id > last);
            last = rows[i].id;
            assert_string_equal(rows[i].helo, "c.test");
            assert_true(rows[i].octets_in >= 13 && rows[i].octets_out > 20);
            assert_string_equal(rows[i].state, page == 0 && i == 2 ? "receiving content"
                                                                   : "waiting for a command");
        }
        filter.after = last;
    }
    filter.after = 0;
    filter.address = (struct net_prefix){ { .family = NET_IPV4, .octets = { 192, 0, 2, 1 } }, 32 };
    assert_int_equal(gateway_live_list(r->gateway, &filter, rows, 3, &count, &total), PT_ERR_OK);
    assert_int_equal(count + total, 0);
    assert_int_equal(gateway_live_show(r->gateway, last, rows), PT_ERR_OK);
    assert_int_equal(rows[0].id, last);
    assert_int_equal(gateway_live_show(r->gateway, last + 1, rows), PT_ERR_NOTFOUND);
    stop_turning(&t);
    for (int i = 0; i < 5; i++)
        close(fds[i]);
}

static uint64_t newest(struct rig *r)
{
    return r->gateway_loop->newest->id;
}

static bool disconnect(struct rig *r, uint64_t id, bool now)
{
    struct turner t;
    bool gone;

    start_turning(r, &t);
    assert_int_equal(gateway_live_disconnect(r->gateway, id, now, &gone), PT_ERR_OK);
    stop_turning(&t);
    return gone;
}

static void an_administrator_ends_an_idle_session_at_once(void **state)
{
    struct rig *r = *state;
    int fd = rig_greeted(r), other = rig_greeted(r);

    assert_true(disconnect(r, r->gateway_loop->sessions->id, false));
    rig_expect(r, fd, "421 4.3.2");
    assert_string_equal(rig_hear(r, fd), "");
    rig_ask(r, other, "NOOP\r\n", "250");
    close(fd);
    close(other);
}

static void an_administrator_does_not_break_a_message_unless_told_to(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    assert_false(disconnect(r, newest(r), false));
    rig_publish(r, denied); /* does not change what was asked for */
    rig_publish(r, "{}");
    rig_ask(r, fd, "x\r\n.\r\n", "250 2.0.0");
    rig_ask(r, fd, "NOOP\r\n", "421 4.3.2");
    close(fd);
    fd = rig_at_data(r);
    assert_true(disconnect(r, newest(r), true));
    rig_expect(r, fd, "421 4.3.2");
    assert_string_equal(rig_hear(r, fd), "");
    assert_int_equal(r->committed_count, 1);
    assert_int_equal(rig_sessions(r), 0);
    close(fd);
}

/* ---- listeners ---- */

static void a_listener_that_retires_serves_who_has_connected(void **state)
{
    struct rig *r = *state;
    struct gateway_listener *retiring[GATEWAY_RETIRING_MAX];
    int queued = rig_dial(r);
    unsigned n = 0;

    rig_publish_on(r, "{}", NULL);
    rig_expect(r, queued, "220");
    for (int i = 0; i < 400; i++) {
        n = gateway_retiring(r->gateway, retiring);
        for (unsigned k = 0; k < n; k++)
            gateway_listener_unref(retiring[k]);
        if (n == 0 || r->listener->refs == 2)
            break;
        net_loop_turn(r->loop, 10);
    }
    assert_int_equal(n, 1); /* the test's own reference keeps it from being closed … */
    rig_publish(r, "{}");   /* … and so it can serve again */
    assert_int_equal(gateway_retiring(r->gateway, retiring), 0);
    close(rig_greeted(r));
    rig_ask(r, queued, "NOOP\r\n", "250");
    close(queued);
}

static void one_more_than_the_system_allows_gets_421(void **state)
{
    struct rig *r = *state;
    int first, second;

    r->gateway->sessions_max = 1;
    first = rig_greeted(r);
    second = rig_dial(r);
    rig_expect(r, second, "421 4.3.2");
    close(second);
    rig_publish(r, "{\"connections\":{\"interface\":{\"max_connections\":100}}}");
    second = rig_dial(r);
    rig_expect(r, second, "421 4.3.2");
    close(second);
    close(first);
}

static void lowering_the_limit_ends_no_session(void **state)
{
    struct rig *r = *state;
    int first = rig_greeted(r), second = rig_greeted(r), third;

    rig_publish(r, "{\"connections\":{\"interface\":{\"max_connections\":1}}}");
    rig_ask(r, first, "NOOP\r\n", "250");
    rig_ask(r, second, "NOOP\r\n", "250");
    third = rig_dial(r);
    rig_expect(r, third, "421 4.3.2");
    close(first);
    close(second);
    close(third);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROMISE(who_is_permitted_again_goes_on),
        PROMISE(a_silent_client_is_let_go_between_commands_and_in_data),
        PROMISE(a_changed_timeout_counts_for_live_sessions),
        PROMISE(the_clock_stands_still_while_the_disk_is_waited_for),
        PROMISE(live_sessions_are_listed_page_by_page),
        PROMISE(an_administrator_ends_an_idle_session_at_once),
        PROMISE(an_administrator_does_not_break_a_message_unless_told_to),
        PROMISE(a_listener_that_retires_serves_who_has_connected),
        PROMISE(one_more_than_the_system_allows_gets_421),
        PROMISE(lowering_the_limit_ends_no_session),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
