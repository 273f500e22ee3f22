#include "net/listener.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

static struct net_endpoint at(uint8_t last, uint16_t port)
{
    struct net_endpoint e = { { .family = NET_IPV4 }, port };

    if (last) {
        e.addr.octets[0] = 127;
        e.addr.octets[3] = last;
    }
    return e;
}

/* Connects without waiting; the kernel answers on loopback at once. */
static int dial(const struct net_endpoint *to)
{
    struct sockaddr_storage sa;
    socklen_t n = net_to_sockaddr(to, &sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    if (connect(fd, (struct sockaddr *)&sa, n) == 0)
        return fd;
    close(fd);
    return -1;
}

static void open_at(struct net_listener *l, uint8_t last, uint16_t port)
{
    struct net_endpoint e = at(last, port);

    assert_int_equal(net_listener_open(l, &e, NULL), PT_ERR_OK);
}

static bool accepts(const struct net_listener *l)
{
    int fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

/* A listener beside another; both are open afterwards. */
static void open_beside(struct net_listener *l, const struct net_endpoint *e,
                        const struct net_listener *other)
{
    assert_int_equal(net_listener_bind(l, e, &other, 1, NULL), PT_ERR_OK);
    assert_int_equal(net_listener_listen(l, &other, 1, NULL), PT_ERR_OK);
}

static void a_taken_port_and_a_strange_address_are_said(void **state)
{
    struct net_endpoint strange = { { .family = NET_IPV4, .octets = { 198, 51, 100, 77 } }, 0 };
    struct net_listener first, second = { .fd = -1 };
    struct pt_fault fault;

    open_at(&first, 1, 0);
    assert_int_equal(net_listener_open(&second, &first.endpoint, &fault), PT_ERR_BUSY);
    assert_non_null(strstr(fault.text, "taken by another program"));
    assert_int_equal(net_listener_open(&second, &strange, &fault), PT_ERR_NOTFOUND);
    assert_non_null(strstr(fault.text, "198.51.100.77 is not an address of this host"));
    net_listener_close(&first);
}

static void all_and_one_address_follow_each_other_on_a_port(void **state)
{
    struct net_listener one, all, foreign;
    struct net_endpoint wide, narrow;
    struct pt_fault fault;
    int fd;

    open_at(&one, 1, 0);
    wide = at(0, one.endpoint.port);
    narrow = at(2, one.endpoint.port);
    assert_true(net_endpoint_overlaps(&one.endpoint, &wide));
    assert_false(net_endpoint_overlaps(&one.endpoint, &narrow));
    assert_false(net_endpoint_overlaps(&wide, &wide));
    assert_int_equal(net_listener_open(&all, &wide, &fault), PT_ERR_BUSY);
    open_beside(&all, &wide, &one);
    fd = dial(&one.endpoint); /* the one that names the address gets it */
    assert_true(fd >= 0 && accepts(&one) && !accepts(&all));
    close(fd);
    fd = dial(&narrow);
    assert_true(fd >= 0 && accepts(&all) && !accepts(&one));
    close(fd);
    /* Sharing was for that moment only: the port is taken for whoever comes now. */
    assert_int_equal(net_listener_open(&foreign, &narrow, &fault), PT_ERR_BUSY);
    net_listener_close(&one);
    fd = dial(&one.endpoint);
    assert_true(fd >= 0 && accepts(&all));
    close(fd);
    net_listener_close(&all);
}

static void somebody_elses_socket_is_found_beside_ours(void **state)
{
    struct net_listener ours, foreign, all;
    const struct net_listener *beside[] = { &ours };
    struct net_endpoint wide;

    open_at(&ours, 1, 0);
    open_at(&foreign, 2, ours.endpoint.port);
    wide = at(0, ours.endpoint.port);
    assert_int_equal(net_listener_bind(&all, &wide, beside, 1, NULL), PT_ERR_BUSY);
    net_listener_close(&ours);
    net_listener_close(&foreign);
}

static void nobody_can_connect_to_what_is_only_bound(void **state)
{
    struct net_endpoint e = at(1, 0);
    struct net_listener l;
    int fd;

    assert_int_equal(net_listener_bind(&l, &e, NULL, 0, NULL), PT_ERR_OK);
    assert_int_equal(dial(&l.endpoint), -1);
    assert_int_equal(net_listener_listen(&l, NULL, 0, NULL), PT_ERR_OK);
    fd = dial(&l.endpoint);
    assert_true(fd >= 0);
    close(fd);
    net_listener_close(&l);
}

static void one_that_retires_serves_its_queue_and_takes_nobody_new(void **state)
{
    struct net_listener l;
    struct sockaddr_storage sa;
    socklen_t n;
    int queued, late;

    open_at(&l, 1, 0);
    n = net_to_sockaddr(&l.endpoint, &sa);
    queued = dial(&l.endpoint);
    net_listener_retire(&l);
    late = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(late, (struct sockaddr *)&sa, n), -1);
    assert_int_equal(errno, EINPROGRESS);
    assert_true(accepts(&l));
    assert_false(accepts(&l));
    net_listener_revive(&l);
    close(late);
    late = dial(&l.endpoint);
    assert_true(late >= 0 && accepts(&l));
    close(late);
    close(queued);
    net_listener_close(&l);
}

/* ---- without descriptors ---- */

struct fixture {
    struct net_acceptor acceptor;
    int taken[64], count;
    int refused;
};

static void take(struct net_acceptor *a, int fd, const struct net_endpoint *peer)
{
    struct fixture *f = PT_CONTAINER_OF(a, struct fixture, acceptor);

    (void)peer;
    f->taken[f->count++] = fd;
}

static void refuse(struct net_acceptor *a, int fd)
{
    struct fixture *f = PT_CONTAINER_OF(a, struct fixture, acceptor);

    f->refused++;
    assert_int_equal(send(fd, "421", 3, MSG_NOSIGNAL), 3);
}

/* Takes every descriptor below the limit; returns how many. */
static int fill(int *fds, int max)
{
    int n = 0;

    while (n < max && (fds[n] = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
        n++;
    return n;
}

static void without_descriptors_clients_are_told(void **state)
{
    struct fixture f = { .acceptor = { .accepted = take, .refused = refuse } };
    struct net_loop *loop = net_loop_new(0);
    struct rlimit old, low;
    int clients[4], waste[256], n;
    struct net_listener l;
    char text[8];

    open_at(&l, 1, 0);
    net_acceptor_start(&f.acceptor, loop, &l);
    for (size_t i = 0; i < PT_ARRAY_LEN(clients); i++)
        clients[i] = dial(&l.endpoint);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    low = (struct rlimit){ 128, old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    n = fill(waste, (int)PT_ARRAY_LEN(waste));
    net_loop_turn(loop, 1000);
    assert_int_equal(f.count, 0);
    assert_int_equal(f.refused, PT_ARRAY_LEN(clients));
    for (size_t i = 0; i < PT_ARRAY_LEN(clients); i++) {
        assert_int_equal(recv(clients[i], text, sizeof text, 0), 3);
        close(clients[i]);
    }
    while (n > 0)
        close(waste[--n]);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    clients[0] = dial(&l.endpoint); /* and served again as soon as there are some */
    for (int i = 0; i < 100 && f.count == 0; i++)
        net_loop_turn(loop, 20);
    assert_int_equal(f.count, 1);
    close(f.taken[0]);
    close(clients[0]);
    net_acceptor_stop(&f.acceptor);
    net_listener_close(&l);
    net_loop_free(loop);
}

static void take_all_empties_the_queue(void **state)
{
    struct fixture f = { .acceptor = { .accepted = take, .refused = refuse } };
    struct net_loop *loop = net_loop_new(0);
    struct net_listener l;
    int clients[20];

    open_at(&l, 1, 0);
    net_acceptor_start(&f.acceptor, loop, &l);
    for (size_t i = 0; i < PT_ARRAY_LEN(clients); i++)
        clients[i] = dial(&l.endpoint);
    net_acceptor_take_all(&f.acceptor);
    assert_int_equal(f.count, PT_ARRAY_LEN(clients));
    for (size_t i = 0; i < PT_ARRAY_LEN(clients); i++) {
        close(f.taken[i]);
        close(clients[i]);
    }
    net_acceptor_stop(&f.acceptor);
    net_listener_close(&l);
    net_loop_free(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_taken_port_and_a_strange_address_are_said),
        cmocka_unit_test(all_and_one_address_follow_each_other_on_a_port),
        cmocka_unit_test(somebody_elses_socket_is_found_beside_ours),
        cmocka_unit_test(nobody_can_connect_to_what_is_only_bound),
        cmocka_unit_test(one_that_retires_serves_its_queue_and_takes_nobody_new),
        cmocka_unit_test(without_descriptors_clients_are_told),
        cmocka_unit_test(take_all_empties_the_queue),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
