#include "net/linger.h"

#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

enum { LONG_MS = 20000 };

struct fixture {
    struct net_loop *loop;
    int ours, theirs; /* a TCP connection: a Unix socket knows no reset */
};

static int setup(void **state)
{
    static struct fixture f;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr = { htonl(INADDR_LOOPBACK) } };
    socklen_t n = sizeof at;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    f.loop = net_loop_new(0);
    f.theirs = socket(AF_INET, SOCK_STREAM, 0);
    assert_non_null(f.loop);
    assert_int_equal(bind(listener, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&at, &n), 0);
    assert_int_equal(connect(f.theirs, (struct sockaddr *)&at, sizeof at), 0);
    f.ours = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    assert_true(f.ours >= 0);
    close(listener);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    if (f->theirs >= 0)
        close(f->theirs);
    net_loop_free(f->loop);
    return 0;
}

static bool is_open(int fd)
{
    char octet;

    return recv(fd, &octet, 1, MSG_PEEK | MSG_DONTWAIT) >= 0 || errno != EBADF;
}

static void the_peer_reads_our_last_words_though_it_was_still_sending(void **state)
{
    struct fixture *f = *state;
    struct net_linger *l = net_linger_new(f->loop, 10, 30);
    static char much[300000];
    char reply[32];
    ssize_t n;

    assert_non_null(l);
    /* Unread octets in our socket: a plain close would be a reset that overtakes the reply. */
    assert_int_equal(send(f->theirs, much, 1000, 0), 1000);
    assert_int_equal(send(f->ours, "421 bye\r\n", 9, 0), 9);
    net_linger_take(l, f->ours);
    for (size_t sent = 0; sent < sizeof much; sent += (size_t)n) {
        n = send(f->theirs, much + sent, sizeof much - sent, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            assert_int_equal(errno, EAGAIN);
            net_loop_turn(f->loop, LONG_MS);
            n = 0;
        }
    }
    assert_int_equal(recv(f->theirs, reply, sizeof reply, MSG_WAITALL), 9);
    assert_memory_equal(reply, "421 bye\r\n", 9);
    close(f->theirs);
    f->theirs = -1;
    while (is_open(f->ours))
        net_loop_turn(f->loop, LONG_MS);
    net_linger_free(l);
}

static void nobody_is_waited_for_longer_than_said(void **state)
{
    struct fixture *f = *state;
    struct net_linger *l = net_linger_new(f->loop, 10, 1);
    int64_t start = clock_mono_ns();

    net_linger_take(l, f->ours);
    while (is_open(f->ours))
        net_loop_turn(f->loop, LONG_MS);
    assert_true(clock_mono_ns() - start > 900000000);
    assert_true(clock_mono_ns() - start < 15000000000);
    net_linger_free(l);
}

static void beyond_the_bound_it_is_closed_at_once(void **state)
{
    struct fixture *f = *state;
    struct net_linger *l = net_linger_new(f->loop, 1, 30);
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    net_linger_take(l, pair[0]);
    net_linger_take(l, f->ours);
    assert_true(is_open(pair[0]));
    assert_false(is_open(f->ours));
    net_linger_free(l);
    assert_false(is_open(pair[0]));
    close(pair[1]);
}

#define LINGER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LINGER_TEST(the_peer_reads_our_last_words_though_it_was_still_sending),
        LINGER_TEST(nobody_is_waited_for_longer_than_said),
        LINGER_TEST(beyond_the_bound_it_is_closed_at_once),
    };

    return cmocka_run_group_tests_name("net/linger", tests, NULL, NULL);
}
