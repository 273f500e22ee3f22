#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/msgid.h"
#include "gateway/gateway.h"
#include "gateway/live_view.h"
#include "gateway/loop.h"
#include "gateway/session.h"
#include "settings/schema.h"
#include "spool/disk.h"

/*
 * A whole gateway room on one loop, turned by the test: real sockets on loopback, a real spool in a
 * folder of its own, and a disk that can be told to fail.
 */

struct failing_disk {
    struct disk disk;
    _Atomic int fail_writes; /* errno for every write of the log; 0: none */
    _Atomic bool wait;       /* before every write */
};

struct rig {
    char directory[64];
    struct net_loop *loop;
    struct gateway *gateway;
    struct gateway_loop *gateway_loop;
    struct gateway_listener *listener;
    struct spool *spool;
    struct failing_disk disk;
    struct spool_message *committed; /* the last one */
    _Atomic unsigned committed_count;
};

static struct failing_disk *the_disk;

static int64_t failing_write(struct disk *d, int handle, const struct iovec *iov, int n,
                             uint64_t offset)
{
    (void)d;
    while (the_disk->wait)
        usleep(1000);
    return the_disk->fail_writes ? -the_disk->fail_writes
                                 : disk_real()->write(disk_real(), handle, iov, n, offset);
}

static void on_committed(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct rig *r = ctx;

    for (uint32_t i = 0; i < count; i++) {
        spool_message_unref(r->committed);
        r->committed = spool_message_ref(messages[i]);
    }
    r->committed_count += count;
}

/* `listener` NULL: none. */
static void publish_on(struct rig *r, const char *document, struct gateway_listener *listener)
{
    struct settings_host host = { .hostname = "gw.test", .confirmed = SETTINGS_CONFIRM_ALL };
    struct settings_errors errors;
    struct policy_snapshot *snapshot;
    struct settings *s = NULL;

    settings_errors_init(&errors);
    assert_int_equal(settings_parse(document, strlen(document), &host, &s, &errors), PT_ERR_OK);
    snapshot = policy_snapshot_new(s, NULL, 0);
    assert_non_null(snapshot);
    gateway_publish(r->gateway, snapshot, NULL, &listener, listener ? 1 : 0);
    policy_snapshot_unref(snapshot);
    settings_unref(s);
    settings_errors_done(&errors);
    net_loop_turn(r->loop, 0);
}

static void publish(struct rig *r, const char *document)
{
    publish_on(r, document, r->listener);
}

static int set_up_with(void **state, uint64_t memory_max)
{
    struct rig *r = calloc(1, sizeof *r);
    struct net_endpoint any = { { .family = NET_IPV4, .octets = { 127, 0, 0, 1 } }, 0 };
    struct net_listener l;

    snprintf(r->directory, sizeof r->directory, "/tmp/postern-gateway-XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    r->disk.disk = *disk_real();
    r->disk.disk.write = failing_write;
    the_disk = &r->disk;
    assert_int_equal(spool_open(&r->spool,
                                &(struct spool_config){ .directory = r->directory,
                                                        .disk = &r->disk.disk,
                                                        .segment_size = 16 << 20,
                                                        .now_us = 1800000000000000,
                                                        .committed = on_committed,
                                                        .ctx = r },
                                NULL),
                     PT_ERR_OK);
    r->loop = net_loop_new(0);
    r->gateway = gateway_new(
        &(struct gateway_config){ .spool = r->spool, .loops = 1, .memory_max = memory_max });
    r->gateway_loop = gateway_loop_new(r->gateway, r->loop);
    assert_int_equal(net_listener_open(&l, &any, NULL), PT_ERR_OK);
    r->listener = gateway_listener_new(&l);
    publish(r, "{}");
    *state = r;
    return 0;
}

static int set_up(void **state)
{
    return set_up_with(state, 64 << 20);
}

/* Enough for one transaction, and no convenience. */
static int set_up_narrow(void **state)
{
    return set_up_with(state, 24 << 10);
}

/* A message may take 64 KiB of it, and not a megabyte. */
static int set_up_tight(void **state)
{
    return set_up_with(state, 192 << 10);
}

static int tear_down(void **state)
{
    struct rig *r = *state;
    char command[128];

    spool_message_unref(r->committed);
    spool_close(r->spool);
    net_loop_turn(r->loop, 0);
    gateway_loop_free(r->gateway_loop);
    gateway_free(r->gateway);
    gateway_listener_unref(r->listener);
    net_loop_free(r->loop);
    snprintf(command, sizeof command, "rm -rf %s", r->directory);
    assert_int_equal(system(command), 0);
    free(r);
    return 0;
}

/* ---- a client ---- */

static int dial(struct rig *r)
{
    struct sockaddr_storage sa;
    socklen_t n = net_to_sockaddr(&r->listener->listener.endpoint, &sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&sa, n), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

static void say(struct rig *r, int fd, const char *octets, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, octets, n, MSG_NOSIGNAL);

        if (sent > 0) {
            octets += sent;
            n -= (size_t)sent;
        }
        net_loop_turn(r->loop, sent > 0 ? 0 : 50);
    }
}

static bool ends_a_reply(const char *text)
{
    const char *line = text, *next;

    while ((next = strstr(line, "\r\n")) && next[2])
        line = next + 2;
    return next && strlen(line) > 4 && line[3] == ' ';
}

/* Turns the loop until the gateway has sent `replies` whole replies or closed; "" if it closed
 * without a word. */
static const char *hear(struct rig *r, int fd)
{
    static char text[65536];
    size_t n = 0;

    text[0] = 0;
    for (int i = 0; i < 400; i++) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);

        if (got == 0)
            return text;
        if (got > 0) {
            n += (size_t)got;
            text[n] = 0;
            if (ends_a_reply(text))
                return text;
        }
        net_loop_turn(r->loop, 25);
    }
    fail_msg("no reply; so far: %s", text);
    return text;
}

static void expect(struct rig *r, int fd, const char *start)
{
    const char *got = hear(r, fd);

    if (strncmp(got, start, strlen(start)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", start, got);
}

static void ask(struct rig *r, int fd, const char *line, const char *start)
{
    say(r, fd, line, strlen(line));
    expect(r, fd, start);
}

static int greeted(struct rig *r)
{
    int fd = dial(r);

    expect(r, fd, "220 gw.test ");
    ask(r, fd, "EHLO c.test\r\n", "250-gw.test");
    return fd;
}

static int at_data(struct rig *r)
{
    int fd = greeted(r);

    ask(r, fd, "MAIL FROM:<a@c.test>\r\n", "250 2.1.0");
    ask(r, fd, "RCPT TO:<b@example.org>\r\n", "250 2.1.5");
    ask(r, fd, "DATA\r\n", "354");
    return fd;
}

static uint64_t sessions(struct rig *r)
{
    struct gateway_stats s;

    gateway_get_stats(r->gateway, &s);
    return s.sessions;
}

/* ---- the promises ---- */

static void a_message_is_stored_before_it_is_answered(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);
    char id[MSGID_SIZE], want[64], content[512];
    struct spool_message *m;

    say(r, fd, "Subject: x\r\n\r\n..dot\r\n.\r\n", 24);
    {
        const char *reply = hear(r, fd);

        m = r->committed;
        assert_non_null(m);
        msgid_format(m->id, id);
        snprintf(want, sizeof want, "250 2.0.0 stored as %s\r\n", id);
        assert_string_equal(reply, want);
    }
    assert_int_equal(m->recipient_count, 1);
    assert_memory_equal(m->recipients[0].address.p, "b@example.org", 13);
    assert_memory_equal(m->client.p, "127.0.0.1", 9);
    assert_true(m->cached && m->size < sizeof content);
    block_chain_copy(&m->content, 0, content, m->size);
    content[m->size] = 0;
    assert_memory_equal(content, "Received: from c.test ", 22);
    assert_non_null(strstr(content, id));
    assert_string_equal(content + m->size - 20, "Subject: x\r\n\r\n.dot\r\n");
    ask(r, fd, "QUIT\r\n", "221");
    assert_string_equal(hear(r, fd), "");
    assert_int_equal(sessions(r), 0);
    close(fd);
}

static void a_disk_error_is_answered_with_451_and_nothing_is_kept(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    r->disk.fail_writes = EIO;
    ask(r, fd, "x\r\n.\r\n", "451 4.3.0");
    assert_int_equal(r->committed_count, 0);
    ask(r, fd, "NOOP\r\n", "250");
    close(fd);
}

static void a_full_disk_is_answered_with_452(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    r->disk.fail_writes = ENOSPC;
    ask(r, fd, "x\r\n.\r\n", "452 4.3.1");
    assert_int_equal(r->committed_count, 0);
    close(fd);
}

static void a_session_in_one_packet_is_answered_in_order(void **state)
{
    struct rig *r = *state;
    int fd = dial(r);
    static const char all[] = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n";
    static const char rest[] = "hi\r\n.\r\nMAIL FROM:<b@c>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n"
                               "two\r\n.\r\nQUIT\r\n";
    char got[4096];
    size_t n = 0;

    say(r, fd, all, sizeof all - 1);
    say(r, fd, rest, sizeof rest - 1);
    shutdown(fd, SHUT_WR);
    got[0] = 0;
    for (int i = 0; i < 400; i++) {
        ssize_t more = recv(fd, got + n, sizeof got - 1 - n, 0);

        if (more == 0)
            break;
        if (more > 0) {
            n += (size_t)more;
            got[n] = 0;
        }
        net_loop_turn(r->loop, 10);
    }
    assert_int_equal(r->committed_count, 2);
    assert_non_null(strstr(got, "221 2.0.0"));
    assert_memory_equal(r->committed->reverse_path.p, "b@c", 3);
    close(fd);
}

static void large_content_goes_to_a_file_whole(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);
    static char line[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
                         "01234567\r\n";
    size_t lines = (3u << 20) / (sizeof line - 1);

    for (size_t i = 0; i < lines; i++)
        say(r, fd, line, sizeof line - 1);
    ask(r, fd, ".\r\n", "250 2.0.0");
    assert_non_null(r->committed->file);
    assert_false(r->committed->cached);
    assert_true(r->committed->size > lines * (sizeof line - 1));
    close(fd);
}

static void a_client_that_vanishes_leaves_no_slot_taken(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    assert_int_equal(sessions(r), 1);
    say(r, fd, "x\r\n", 3);
    close(fd);
    for (int i = 0; i < 100 && sessions(r); i++)
        net_loop_turn(r->loop, 10);
    assert_int_equal(sessions(r), 0);
    assert_int_equal(r->committed_count, 0);
}

static void the_client_beyond_the_limit_gets_421_and_the_next_is_let_in(void **state)
{
    struct rig *r = *state;
    int first, second;

    publish(r, "{\"connections\":{\"interface\":{\"max_connections\":1}}}");
    first = greeted(r);
    second = dial(r);
    expect(r, second, "421 4.3.2");
    assert_string_equal(hear(r, second), "");
    close(second);
    ask(r, first, "QUIT\r\n", "221");
    second = greeted(r);
    close(second);
    close(first);
}

static void a_denied_client_gets_554_and_a_live_one_421(void **state)
{
    struct rig *r = *state;
    int live = at_data(r), fd;

    publish(r, "{\"connections\":{\"control\":{\"deny_list\":[\"127.0.0.1\"]}}}");
    fd = dial(r);
    expect(r, fd, "554 5.7.1");
    assert_string_equal(hear(r, fd), "");
    close(fd);
    ask(r, live, "the message under way is finished\r\n.\r\n", "250 2.0.0");
    ask(r, live, "NOOP\r\n", "421 4.7.0");
    assert_string_equal(hear(r, live), "");
    close(live);
}

static void the_100th_received_field_is_a_loop(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    for (int i = 0; i < 99; i++)
        say(r, fd, "Received: by x\r\n", 16);
    ask(r, fd, "\r\n.\r\n", "250");
    ask(r, fd, "MAIL FROM:<a@c.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n", "250");
    for (int i = 0; i < 100; i++)
        say(r, fd, "Received: by x\r\n", 16);
    say(r, fd, "\r\n.\r\n", 5);
    for (int i = 0; i < 100; i++) {
        const char *got = hear(r, fd);

        if (strstr(got, "554 5.4.6"))
            break;
        assert_int_not_equal(i, 99);
    }
    assert_int_equal(r->committed_count, 1);
    close(fd);
}

/* ---- rules that change, patience, an administrator ---- */

static const char denied[] = "{\"connections\":{\"control\":{\"deny_list\":[\"127.0.0.1\"]}}}";

static void who_is_permitted_again_goes_on(void **state)
{
    struct rig *r = *state;
    int fd = greeted(r);

    publish(r, denied);
    publish(r, denied);
    publish(r, "{}");
    ask(r, fd, "NOOP\r\n", "250");
    publish(r, denied);
    say(r, fd, "NOOP\r\n", 6);
    {
        const char *reply = hear(r, fd);

        assert_memory_equal(reply, "421 4.7.0", 9);
        assert_non_null(strstr(reply, " [ref "));
    }
    assert_string_equal(hear(r, fd), "");
    assert_int_equal(sessions(r), 0);
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
    int idle = greeted(r), in_data = at_data(r), mute = dial(r);

    expect(r, mute, "220");
    say(r, in_data, "half a li", 9);
    look(r, 290);
    assert_int_equal(sessions(r), 3);
    look(r, 301);
    assert_int_equal(sessions(r), 0);
    expect(r, idle, "421 4.4.2");
    expect(r, in_data, "421 4.4.2");
    expect(r, mute, "421 4.4.2");
    assert_string_equal(hear(r, idle), "");
    close(idle);
    close(in_data);
    close(mute);
}

static void a_changed_timeout_counts_for_live_sessions(void **state)
{
    struct rig *r = *state;
    int fd = greeted(r);

    publish(r, "{\"connections\":{\"interface\":{\"idle_timeout_minutes\":10}}}");
    look(r, 301);
    ask(r, fd, "NOOP\r\n", "250");
    publish(r, "{\"connections\":{\"interface\":{\"idle_timeout_minutes\":1}}}");
    look(r, 61);
    expect(r, fd, "421 4.4.2");
    close(fd);
}

static void the_clock_stands_still_while_the_disk_is_waited_for(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);
    struct session *s = r->gateway_loop->sessions;

    r->disk.wait = true;
    say(r, fd, "x\r\n.\r\n", 6);
    for (int i = 0; i < 100 && s->phase != SESSION_COMMITTING; i++)
        net_loop_turn(r->loop, 10);
    assert_int_equal(s->phase, SESSION_COMMITTING);
    look(r, 100000);
    assert_int_equal(sessions(r), 1);
    r->disk.wait = false;
    expect(r, fd, "250 2.0.0");
    close(fd);
}

static struct rig *turning; /* by a thread of its own, while the test asks */

static void *turn(void *ctx)
{
    while (!*(_Atomic bool *)ctx)
        net_loop_turn(turning->loop, 5);
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
        fds[i] = i == 2 ? at_data(r) : greeted(r);
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
    int fd = greeted(r), other = greeted(r);

    assert_true(disconnect(r, r->gateway_loop->sessions->id, false));
    expect(r, fd, "421 4.3.2");
    assert_string_equal(hear(r, fd), "");
    ask(r, other, "NOOP\r\n", "250");
    close(fd);
    close(other);
}

static void an_administrator_does_not_break_a_message_unless_told_to(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    assert_false(disconnect(r, newest(r), false));
    publish(r, denied); /* does not change what was asked for */
    publish(r, "{}");
    ask(r, fd, "x\r\n.\r\n", "250 2.0.0");
    ask(r, fd, "NOOP\r\n", "421 4.3.2");
    close(fd);
    fd = at_data(r);
    assert_true(disconnect(r, newest(r), true));
    expect(r, fd, "421 4.3.2");
    assert_string_equal(hear(r, fd), "");
    assert_int_equal(r->committed_count, 1);
    assert_int_equal(sessions(r), 0);
    close(fd);
}

/* ---- listeners ---- */

static void a_listener_that_retires_serves_who_has_connected(void **state)
{
    struct rig *r = *state;
    struct gateway_listener *retiring[GATEWAY_RETIRING_MAX];
    int queued = dial(r);
    unsigned n = 0;

    publish_on(r, "{}", NULL);
    expect(r, queued, "220");
    for (int i = 0; i < 400; i++) {
        n = gateway_retiring(r->gateway, retiring);
        for (unsigned k = 0; k < n; k++)
            gateway_listener_unref(retiring[k]);
        if (n == 0 || r->listener->refs == 2)
            break;
        net_loop_turn(r->loop, 10);
    }
    assert_int_equal(n, 1); /* the test's own reference keeps it from being closed … */
    publish(r, "{}");       /* … and so it can serve again */
    assert_int_equal(gateway_retiring(r->gateway, retiring), 0);
    close(greeted(r));
    ask(r, queued, "NOOP\r\n", "250");
    close(queued);
}

static void one_more_than_the_system_allows_gets_421(void **state)
{
    struct rig *r = *state;
    int first, second;

    r->gateway->sessions_max = 1;
    first = greeted(r);
    second = dial(r);
    expect(r, second, "421 4.3.2");
    close(second);
    publish(r, "{\"connections\":{\"interface\":{\"max_connections\":100}}}");
    second = dial(r);
    expect(r, second, "421 4.3.2");
    close(second);
    close(first);
}

static void lowering_the_limit_ends_no_session(void **state)
{
    struct rig *r = *state;
    int first = greeted(r), second = greeted(r), third;

    publish(r, "{\"connections\":{\"interface\":{\"max_connections\":1}}}");
    ask(r, first, "NOOP\r\n", "250");
    ask(r, second, "NOOP\r\n", "250");
    third = dial(r);
    expect(r, third, "421 4.3.2");
    close(first);
    close(second);
    close(third);
}

static _Atomic bool drained;

static void on_drained(void *ctx)
{
    (void)ctx;
    drained = true;
}

static void draining_ends_idle_sessions_and_lets_messages_finish(void **state)
{
    struct rig *r = *state;
    int idle = greeted(r), busy = at_data(r);

    drained = false;
    gateway_drain(r->gateway, 60000, on_drained, NULL);
    net_loop_turn(r->loop, 0);
    expect(r, idle, "421 4.3.2");
    assert_false(drained);
    ask(r, busy, "x\r\n.\r\n", "250");
    ask(r, busy, "NOOP\r\n", "421 4.3.2");
    for (int i = 0; i < 100 && !drained; i++)
        net_loop_turn(r->loop, 10);
    assert_true(drained);
    close(idle);
    close(busy);
}

/* ---- memory ---- */

static uint64_t memory_used(struct rig *r)
{
    struct gateway_stats s;

    gateway_get_stats(r->gateway, &s);
    return s.memory_used;
}

static void gives_all_back(struct rig *r)
{
    for (int i = 0; i < 400 && memory_used(r); i++)
        net_loop_turn(r->loop, 10);
    assert_int_equal(memory_used(r), 0);
}

/* Lines of 80 octets, the last of which ends the message. */
static void say_lines(struct rig *r, int fd, size_t octets)
{
    static const char line[] =
        "01234567890123456789012345678901234567890123456789012345678901234567"
        "8901234567\r\n";
    static char block[80 * 100];

    for (size_t i = 0; i < 100; i++)
        memcpy(block + i * 80, line, 80);
    for (size_t n; octets; octets -= n) {
        n = octets < sizeof block ? octets : sizeof block;
        say(r, fd, block, n);
    }
    say(r, fd, ".\r\n", 3);
}

static void mail_that_cannot_get_its_least_waits(void **state)
{
    struct rig *r = *state;
    int first = at_data(r), second = greeted(r);

    ask(r, second, "MAIL FROM:<a@c.test>\r\n", "452 4.3.1 not enough memory");
    ask(r, first, "x\r\n.\r\n", "250");
    ask(r, second, "MAIL FROM:<a@c.test>\r\n", "250");
    close(first);
    close(second);
    gives_all_back(r);
}

static void a_small_message_needs_no_file_even_then(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    say_lines(r, fd, 4000);
    expect(r, fd, "250");
    assert_null(r->committed->file);
    assert_true(r->committed->cached);
    close(fd);
    gives_all_back(r);
}

static void one_that_gets_no_more_memory_goes_on_through_its_file(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r);

    say_lines(r, fd, 800000);
    expect(r, fd, "250");
    assert_non_null(r->committed->file);
    assert_true(r->committed->size > 800000 && r->committed->size < 800400);
    assert_true(memory_used(r) <= 24 << 10);
    close(fd);
    gives_all_back(r);
}

static void so_does_a_chunk_that_came_with_its_command(void **state)
{
    enum { OCTETS = 60000 };
    struct rig *r = *state;
    static char all[OCTETS + 100];
    int fd = greeted(r), n;

    n = snprintf(all, 100, "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nBDAT %d\r\n", OCTETS);
    memset(all + n, 'x', OCTETS);
    say(r, fd, all, (size_t)n + OCTETS);
    ask(r, fd, "BDAT 2 LAST\r\n\r\n", "250");
    for (int i = 0; i < 400 && !r->committed; i++)
        net_loop_turn(r->loop, 10);
    assert_non_null(r->committed);
    assert_true(r->committed->size > OCTETS && r->committed->size < OCTETS + 400);
    close(fd);
    gives_all_back(r);
}

static void when_memory_is_tight_64_kib_are_enough_for_a_file(void **state)
{
    struct rig *r = *state;
    int other = at_data(r), fd = at_data(r);

    say_lines(r, fd, 120000);
    expect(r, fd, "250");
    assert_non_null(r->committed->file);
    ask(r, other, "x\r\n.\r\n", "250");
    assert_null(r->committed->file);
    close(fd);
    close(other);
    gives_all_back(r);
}

static void recipients_take_memory_too(void **state)
{
    struct rig *r = *state;
    int fd = greeted(r);
    const char *reply = "250";

    ask(r, fd, "MAIL FROM:<a@c.test>\r\n", "250");
    for (int i = 0; i < 1000 && strncmp(reply, "250", 3) == 0; i++) {
        char line[300];

        snprintf(line, sizeof line, "RCPT TO:<%060d@%060d.test>\r\n", i, i);
        say(r, fd, line, strlen(line));
        reply = hear(r, fd);
    }
    assert_memory_equal(reply, "452 4.3.1", 9);
    ask(r, fd, "DATA\r\n", "354");
    ask(r, fd, "x\r\n.\r\n", "250");
    assert_true(r->committed->recipient_count > 10 && r->committed->recipient_count < 1000);
    close(fd);
    gives_all_back(r);
}

static void a_process_with_little_memory_takes_nothing_new(void **state)
{
    struct rig *r = *state;
    int fd = at_data(r), other = greeted(r);

    gateway_set_memory_short(r->gateway, true);
    ask(r, other, "MAIL FROM:<a@c.test>\r\n", "452 4.3.1");
    ask(r, fd, "x\r\n.\r\n", "250");
    gateway_set_memory_short(r->gateway, false);
    ask(r, other, "MAIL FROM:<a@c.test>\r\n", "250");
    close(fd);
    close(other);
    gives_all_back(r);
}

static void who_reads_no_replies_gets_no_memory_of_others(void **state)
{
    struct rig *r = *state;
    int fd = greeted(r), other = at_data(r), small = 4096; /* the other has all there is */
    static char noops[6 * 10000];

    for (size_t i = 0; i < sizeof noops; i += 6)
        memcpy(noops + i, "NOOP\r\n", 6);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (int i = 0; i < 2000 && sessions(r) == 2; i++) {
        PT_IGNORE(send(fd, noops, sizeof noops, MSG_NOSIGNAL) < 0, "it is full, or closed");
        net_loop_turn(r->loop, 10);
        assert_true(memory_used(r) <= 24 << 10);
    }
    assert_int_equal(sessions(r), 1);
    ask(r, other, "x\r\n.\r\n", "250");
    close(fd);
    close(other);
    gives_all_back(r);
}

#define NARROW(fn) cmocka_unit_test_setup_teardown(fn, set_up_narrow, tear_down)
#define TIGHT(fn) cmocka_unit_test_setup_teardown(fn, set_up_tight, tear_down)
#define PROMISE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROMISE(a_message_is_stored_before_it_is_answered),
        PROMISE(a_disk_error_is_answered_with_451_and_nothing_is_kept),
        PROMISE(a_full_disk_is_answered_with_452),
        PROMISE(a_session_in_one_packet_is_answered_in_order),
        PROMISE(large_content_goes_to_a_file_whole),
        PROMISE(a_client_that_vanishes_leaves_no_slot_taken),
        PROMISE(the_client_beyond_the_limit_gets_421_and_the_next_is_let_in),
        PROMISE(a_denied_client_gets_554_and_a_live_one_421),
        PROMISE(the_100th_received_field_is_a_loop),
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
        PROMISE(draining_ends_idle_sessions_and_lets_messages_finish),
        NARROW(mail_that_cannot_get_its_least_waits),
        NARROW(a_small_message_needs_no_file_even_then),
        NARROW(one_that_gets_no_more_memory_goes_on_through_its_file),
        NARROW(so_does_a_chunk_that_came_with_its_command),
        TIGHT(when_memory_is_tight_64_kib_are_enough_for_a_file),
        TIGHT(recipients_take_memory_too),
        PROMISE(a_process_with_little_memory_takes_nothing_new),
        NARROW(who_reads_no_replies_gets_no_memory_of_others),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
