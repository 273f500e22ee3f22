#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/msgid.h"
#include "gateway/gateway.h"

/* ---- the promises ---- */

static void a_message_is_stored_before_it_is_answered(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);
    char id[MSGID_SIZE], want[64], content[512];
    struct spool_message *m;

    rig_say(r, fd, "Subject: x\r\n\r\n..dot\r\n.\r\n", 24);
    {
        const char *reply = rig_hear(r, fd);

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
    rig_ask(r, fd, "QUIT\r\n", "221");
    assert_string_equal(rig_hear(r, fd), "");
    assert_int_equal(rig_sessions(r), 0);
    close(fd);
}

static void a_disk_error_is_answered_with_451_and_nothing_is_kept(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    r->disk.fail_writes = EIO;
    rig_ask(r, fd, "x\r\n.\r\n", "451 4.3.0");
    assert_int_equal(r->committed_count, 0);
    rig_ask(r, fd, "NOOP\r\n", "250");
    close(fd);
}

static void a_full_disk_is_answered_with_452(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    r->disk.fail_writes = ENOSPC;
    rig_ask(r, fd, "x\r\n.\r\n", "452 4.3.1");
    assert_int_equal(r->committed_count, 0);
    close(fd);
}

static void a_session_in_one_packet_is_answered_in_order(void **state)
{
    struct rig *r = *state;
    int fd = rig_dial(r);
    static const char all[] = "EHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n";
    static const char rest[] = "hi\r\n.\r\nMAIL FROM:<b@c>\r\nRCPT TO:<a@x.test>\r\nDATA\r\n"
                               "two\r\n.\r\nQUIT\r\n";
    char got[4096];
    size_t n = 0;

    rig_say(r, fd, all, sizeof all - 1);
    rig_say(r, fd, rest, sizeof rest - 1);
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
    int fd = rig_at_data(r);
    static char line[] = "0123456789012345678901234567890123456789012345678901234567890123456789"
                         "01234567\r\n";
    size_t lines = (3u << 20) / (sizeof line - 1);

    for (size_t i = 0; i < lines; i++)
        rig_say(r, fd, line, sizeof line - 1);
    rig_ask(r, fd, ".\r\n", "250 2.0.0");
    assert_non_null(r->committed->file);
    assert_false(r->committed->cached);
    assert_true(r->committed->size > lines * (sizeof line - 1));
    close(fd);
}

static void a_client_that_vanishes_leaves_no_slot_taken(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    assert_int_equal(rig_sessions(r), 1);
    rig_say(r, fd, "x\r\n", 3);
    close(fd);
    for (int i = 0; i < 100 && rig_sessions(r); i++)
        net_loop_turn(r->loop, 10);
    assert_int_equal(rig_sessions(r), 0);
    assert_int_equal(r->committed_count, 0);
}

static void the_client_beyond_the_limit_gets_421_and_the_next_is_let_in(void **state)
{
    struct rig *r = *state;
    int first, second;

    rig_publish(r, "{\"connections\":{\"interface\":{\"max_connections\":1}}}");
    first = rig_greeted(r);
    second = rig_dial(r);
    rig_expect(r, second, "421 4.3.2");
    assert_string_equal(rig_hear(r, second), "");
    close(second);
    rig_ask(r, first, "QUIT\r\n", "221");
    second = rig_greeted(r);
    close(second);
    close(first);
}

static void a_denied_client_gets_554_and_a_live_one_421(void **state)
{
    struct rig *r = *state;
    int live = rig_at_data(r), fd;

    rig_publish(r, "{\"connections\":{\"control\":{\"deny_list\":[\"127.0.0.1\"]}}}");
    fd = rig_dial(r);
    rig_expect(r, fd, "554 5.7.1");
    assert_string_equal(rig_hear(r, fd), "");
    close(fd);
    rig_ask(r, live, "the message under way is finished\r\n.\r\n", "250 2.0.0");
    rig_ask(r, live, "NOOP\r\n", "421 4.7.0");
    assert_string_equal(rig_hear(r, live), "");
    close(live);
}

static void the_100th_received_field_is_a_loop(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    for (int i = 0; i < 99; i++)
        rig_say(r, fd, "Received: by x\r\n", 16);
    rig_ask(r, fd, "\r\n.\r\n", "250");
    rig_ask(r, fd, "MAIL FROM:<a@c.test>\r\nRCPT TO:<b@x.test>\r\nDATA\r\n", "250");
    for (int i = 0; i < 100; i++)
        rig_say(r, fd, "Received: by x\r\n", 16);
    rig_say(r, fd, "\r\n.\r\n", 5);
    for (int i = 0; i < 100; i++) {
        const char *got = rig_hear(r, fd);

        if (strstr(got, "554 5.4.6"))
            break;
        assert_int_not_equal(i, 99);
    }
    assert_int_equal(r->committed_count, 1);
    close(fd);
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
    int idle = rig_greeted(r), busy = rig_at_data(r);

    drained = false;
    gateway_drain(r->gateway, 60000, on_drained, NULL);
    net_loop_turn(r->loop, 0);
    rig_expect(r, idle, "421 4.3.2");
    assert_false(drained);
    rig_ask(r, busy, "x\r\n.\r\n", "250");
    rig_ask(r, busy, "NOOP\r\n", "421 4.3.2");
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
        rig_say(r, fd, block, n);
    }
    rig_say(r, fd, ".\r\n", 3);
}

static void mail_that_cannot_get_its_least_waits(void **state)
{
    struct rig *r = *state;
    int first = rig_at_data(r), second = rig_greeted(r);

    rig_ask(r, second, "MAIL FROM:<a@c.test>\r\n", "452 4.3.1 not enough memory");
    rig_ask(r, first, "x\r\n.\r\n", "250");
    rig_ask(r, second, "MAIL FROM:<a@c.test>\r\n", "250");
    close(first);
    close(second);
    gives_all_back(r);
}

static void a_small_message_needs_no_file_even_then(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    say_lines(r, fd, 4000);
    rig_expect(r, fd, "250");
    assert_null(r->committed->file);
    assert_true(r->committed->cached);
    close(fd);
    gives_all_back(r);
}

static void one_that_gets_no_more_memory_goes_on_through_its_file(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r);

    say_lines(r, fd, 800000);
    rig_expect(r, fd, "250");
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
    int fd = rig_greeted(r), n;

    n = snprintf(all, 100, "MAIL FROM:<>\r\nRCPT TO:<b@example.org>\r\nBDAT %d\r\n", OCTETS);
    memset(all + n, 'x', OCTETS);
    rig_say(r, fd, all, (size_t)n + OCTETS);
    rig_ask(r, fd, "BDAT 2 LAST\r\n\r\n", "250");
    for (int i = 0; i < 400 && !r->committed_count; i++)
        net_loop_turn(r->loop, 10);
    assert_non_null(r->committed);
    assert_true(r->committed->size > OCTETS && r->committed->size < OCTETS + 400);
    close(fd);
    gives_all_back(r);
}

static void when_memory_is_tight_64_kib_are_enough_for_a_file(void **state)
{
    struct rig *r = *state;
    int other = rig_at_data(r), fd = rig_at_data(r);

    say_lines(r, fd, 120000);
    rig_expect(r, fd, "250");
    assert_non_null(r->committed->file);
    rig_ask(r, other, "x\r\n.\r\n", "250");
    assert_null(r->committed->file);
    close(fd);
    close(other);
    gives_all_back(r);
}

static void recipients_take_memory_too(void **state)
{
    struct rig *r = *state;
    int fd = rig_greeted(r);
    const char *reply = "250";

    rig_ask(r, fd, "MAIL FROM:<a@c.test>\r\n", "250");
    for (int i = 0; i < 1000 && strncmp(reply, "250", 3) == 0; i++) {
        char line[300];

        snprintf(line, sizeof line, "RCPT TO:<%060d@%060d.test>\r\n", i, i);
        rig_say(r, fd, line, strlen(line));
        reply = rig_hear(r, fd);
    }
    assert_memory_equal(reply, "452 4.3.1", 9);
    rig_ask(r, fd, "DATA\r\n", "354");
    rig_ask(r, fd, "x\r\n.\r\n", "250");
    assert_true(r->committed->recipient_count > 10 && r->committed->recipient_count < 1000);
    close(fd);
    gives_all_back(r);
}

static void a_process_with_little_memory_takes_nothing_new(void **state)
{
    struct rig *r = *state;
    int fd = rig_at_data(r), other = rig_greeted(r);

    gateway_set_memory_short(r->gateway, true);
    rig_ask(r, other, "MAIL FROM:<a@c.test>\r\n", "452 4.3.1");
    rig_ask(r, fd, "x\r\n.\r\n", "250");
    gateway_set_memory_short(r->gateway, false);
    rig_ask(r, other, "MAIL FROM:<a@c.test>\r\n", "250");
    close(fd);
    close(other);
    gives_all_back(r);
}

static void who_reads_no_replies_gets_no_memory_of_others(void **state)
{
    struct rig *r = *state;
    int fd = rig_greeted(r), other = rig_at_data(r), small = 4096; /* the other has all there is */
    static char noops[6 * 10000];

    for (size_t i = 0; i < sizeof noops; i += 6)
        memcpy(noops + i, "NOOP\r\n", 6);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small), 0);
    for (int i = 0; i < 2000 && rig_sessions(r) == 2; i++) {
        PT_IGNORE(send(fd, noops, sizeof noops, MSG_NOSIGNAL) < 0, "it is full, or closed");
        net_loop_turn(r->loop, 10);
        assert_true(memory_used(r) <= 24 << 10);
    }
    assert_int_equal(rig_sessions(r), 1);
    rig_ask(r, other, "x\r\n.\r\n", "250");
    close(fd);
    close(other);
    gives_all_back(r);
}

#define NARROW(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up_narrow, rig_tear_down)
#define TIGHT(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up_tight, rig_tear_down)
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
