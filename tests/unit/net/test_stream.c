#include "net/stream.h"

#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

struct fixture {
    struct net_stream s;
    int peer;
};

static int setup(void **state)
{
    static struct fixture f;
    int pair[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), 0);
    net_stream_socket(&f.s, pair[0]);
    f.peer = pair[1];
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    net_stream_close(&f->s);
    net_stream_close(&f->s);
    if (f->peer >= 0)
        close(f->peer);
    return 0;
}

static void reading_gives_octets_then_again_then_the_end(void **state)
{
    struct fixture *f = *state;
    char out[16];

    assert_int_equal(net_stream_read(&f->s, out, sizeof out), NET_STREAM_AGAIN);
    assert_int_equal(write(f->peer, "abc", 3), 3);
    assert_int_equal(net_stream_read(&f->s, out, 2), 2);
    assert_int_equal(net_stream_read(&f->s, out + 2, sizeof out), 1);
    assert_memory_equal(out, "abc", 3);
    assert_int_equal(net_stream_read(&f->s, out, sizeof out), NET_STREAM_AGAIN);
    shutdown(f->peer, SHUT_WR);
    assert_int_equal(net_stream_read(&f->s, out, sizeof out), 0);
}

static void pieces_arrive_as_one(void **state)
{
    struct fixture *f = *state;
    char one[] = "ab", three[] = "cde";
    struct iovec iov[3] = { { one, 2 }, { one, 0 }, { three, 3 } };
    char out[16];

    assert_int_equal(net_stream_writev(&f->s, iov, 3), 5);
    assert_int_equal(net_stream_writev(&f->s, iov, 1), 2);
    assert_int_equal(read(f->peer, out, sizeof out), 7);
    assert_memory_equal(out, "abcdeab", 7);
}

static void a_full_socket_says_again_and_loses_nothing(void **state)
{
    enum { PIECE = 30000 };
    struct fixture *f = *state;
    static char octets[PIECE], in[PIECE];
    struct iovec iov[2] = { { octets, PIECE / 2 }, { octets + PIECE / 2, PIECE / 2 } };
    size_t sent = 0, got = 0;
    ssize_t n;

    while ((n = net_stream_writev(&f->s, iov, 2)) > 0)
        sent += (size_t)n;
    assert_int_equal(n, NET_STREAM_AGAIN);
    assert_int_equal(net_stream_writev(&f->s, iov, 1), NET_STREAM_AGAIN);
    while ((n = read(f->peer, in, sizeof in)) > 0)
        got += (size_t)n;
    assert_int_equal(got, sent);
}

static void a_peer_that_went_away_is_an_error_and_no_signal(void **state)
{
    struct fixture *f = *state;
    char octets[] = "abc";
    struct iovec iov[2] = { { octets, 2 }, { octets + 2, 1 } };

    close(f->peer);
    f->peer = -1;
    assert_int_equal(net_stream_writev(&f->s, iov, 1), NET_STREAM_ERROR);
    assert_int_equal(errno, EPIPE);
    assert_int_equal(net_stream_writev(&f->s, iov, 2), NET_STREAM_ERROR);
}

static void after_a_shutdown_the_peer_sees_the_end_and_may_still_speak(void **state)
{
    struct fixture *f = *state;
    char out[4];

    net_stream_shutdown(&f->s);
    assert_int_equal(read(f->peer, out, sizeof out), 0);
    assert_int_equal(write(f->peer, "bye", 3), 3);
    assert_int_equal(net_stream_read(&f->s, out, sizeof out), 3);
    net_stream_shutdown(&f->s); /* again: nothing */
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

/* A listener on a free port of the loopback interface; where it is. */
static int listen_somewhere(struct net_endpoint *out)
{
    struct sockaddr_in here = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t n = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&here, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&here, &n), 0);
    assert_true(net_from_sockaddr((struct sockaddr *)&here, out));
    return fd;
}

static int connect_and_wait(struct net_stream *s, const struct net_endpoint *to)
{
    int sys_errno = net_stream_connect(s, to, NULL);
    struct pollfd p = { .fd = s->fd, .events = POLLOUT };

    if (sys_errno)
        return sys_errno;
    assert_true(poll(&p, 1, -1) > 0);
    return net_stream_connected(s);
}

static void connecting_ends_well_or_says_why(void **state)
{
    struct net_endpoint to;
    int listener = listen_somewhere(&to);
    struct net_stream s;

    (void)state;
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(connect_and_wait(&s, &to), 0);
    net_stream_close(&s);
    close(listener);

    listener = listen_somewhere(&to); /* bound, and nobody listens: no other can take the port */
    assert_int_equal(connect_and_wait(&s, &to), ECONNREFUSED);
    net_stream_close(&s);
    close(listener);
}

static void a_connection_comes_from_the_address_it_is_told(void **state)
{
    const struct net_addr from = { .family = NET_IPV4, .octets = { 127, 0, 0, 9 } };
    struct sockaddr_storage address;
    socklen_t n = sizeof address;
    struct net_endpoint to, seen;
    int listener = listen_somewhere(&to), accepted;
    struct net_stream s;

    (void)state;
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(net_stream_connect(&s, &to, &from), 0);
    accepted = accept(listener, (struct sockaddr *)&address, &n);
    assert_true(accepted >= 0);
    assert_true(net_from_sockaddr((struct sockaddr *)&address, &seen));
    assert_true(net_addr_eq(&seen.addr, &from));
    assert_true(seen.port != 0);
    net_stream_close(&s);
    close(accepted);
    close(listener);
}

static void an_address_of_somebody_else_gives_no_socket(void **state)
{
    const struct net_addr from = { .family = NET_IPV4, .octets = { 192, 0, 2, 1 } };
    struct net_endpoint to;
    int listener = listen_somewhere(&to);
    struct net_stream s;

    (void)state;
    assert_int_equal(net_stream_connect(&s, &to, &from), EADDRNOTAVAIL);
    assert_int_equal(s.fd, -1);
    close(listener);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STREAM_TEST(reading_gives_octets_then_again_then_the_end),
        STREAM_TEST(pieces_arrive_as_one),
        STREAM_TEST(a_full_socket_says_again_and_loses_nothing),
        STREAM_TEST(a_peer_that_went_away_is_an_error_and_no_signal),
        STREAM_TEST(after_a_shutdown_the_peer_sees_the_end_and_may_still_speak),
        cmocka_unit_test(connecting_ends_well_or_says_why),
        cmocka_unit_test(a_connection_comes_from_the_address_it_is_told),
        cmocka_unit_test(an_address_of_somebody_else_gives_no_socket),
    };

    return cmocka_run_group_tests_name("net/stream", tests, NULL, NULL);
}
