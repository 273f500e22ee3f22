#include "net/resolver.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "check.h"

/*
 * The resolver's thread against a name server that answers by the first letter of the name asked
 * for: "a" has the address 192.0.2.1, "n" does not exist, "f" is a failure, "s" is silence.
 */

enum { LIMIT_MS = 1500 };

struct fixture {
    int fd;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic unsigned asked;
    char server[32];
    struct net_loop *loop;
    struct net_resolver *resolver;
};

/* Where the question behind the header ends; 0: it is malformed. */
static size_t question_end(const uint8_t *q, size_t n)
{
    size_t at = 12;

    while (at < n && q[at])
        at += q[at] + 1u;
    return at + 5 <= n ? at + 5 : 0;
}

static size_t answer(const uint8_t *q, size_t n, uint8_t out[512])
{
    static const uint8_t address[] = { 0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1 };
    size_t end = question_end(q, n);
    uint8_t first = end ? q[13] : 's';

    if (!end || end + sizeof address > 512 || first == 's')
        return 0;
    memcpy(out, q, end);
    out[2] = 0x81;
    out[3] = first == 'n' ? 0x83 : first == 'f' ? 0x82 : 0x80;
    memset(out + 6, 0, 6);
    if (first != 'a' || q[end - 3] != 1)
        return end;
    out[7] = 1;
    memcpy(out + end, address, sizeof address);
    return end + sizeof address;
}

static void *serve(void *ctx)
{
    struct fixture *f = ctx;

    while (!atomic_load(&f->stop)) {
        struct sockaddr_storage from;
        socklen_t length = sizeof from;
        uint8_t q[512], a[512];
        ssize_t n = recvfrom(f->fd, q, sizeof q, 0, (struct sockaddr *)&from, &length);
        size_t size = n > 12 ? answer(q, (size_t)n, a) : 0;

        atomic_fetch_add(&f->asked, n > 0);
        if (size && sendto(f->fd, a, size, 0, (struct sockaddr *)&from, length) < 0)
            break;
    }
    return NULL;
}

static struct net_resolver_config config_of(const struct fixture *f, const char **room)
{
    *room = f->server;
    return (struct net_resolver_config){
        .servers = room, .server_count = 1, .trust_anchor = "none", .limit_ms = LIMIT_MS
    };
}

static int setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    struct sockaddr_in in = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct timeval tick = { .tv_usec = 20000 };
    socklen_t length = sizeof in;
    struct net_resolver_config config;
    const char *room;

    *f = (struct fixture){ .fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0) };
    assert_int_equal(bind(f->fd, (struct sockaddr *)&in, sizeof in), 0);
    assert_int_equal(getsockname(f->fd, (struct sockaddr *)&in, &length), 0);
    assert_int_equal(setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &tick, sizeof tick), 0);
    snprintf(f->server, sizeof f->server, "127.0.0.1@%u", ntohs(in.sin_port));
    assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
    f->loop = net_loop_new(1);
    assert_non_null(f->loop);
    config = config_of(f, &room);
    assert_int_equal(net_resolver_new(&f->resolver, &config, NULL), PT_ERR_OK);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    net_resolver_free(f->resolver);
    net_loop_free(f->loop);
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    close(f->fd);
    return 0;
}

static unsigned ended;

static void on_done(struct net_query *q)
{
    (void)q;
    ended++;
}

static void ask(struct fixture *f, struct net_query *q, enum net_query_kind kind, const char *name)
{
    *q = (struct net_query){ .reply_to = f->loop, .kind = kind, .done = on_done };
    snprintf(q->name, sizeof q->name, "%s", name);
    net_resolve(f->resolver, q);
}

static void wait_for(struct fixture *f, unsigned count)
{
    int64_t until = clock_mono_ns() + INT64_C(60000000000);

    while (ended < count && clock_mono_ns() < until)
        net_loop_turn(f->loop, 100);
    assert_int_equal(ended, count);
}

static void each_answer_has_its_result(void **state)
{
    static const struct {
        enum net_query_kind kind;
        const char *name;
        enum pt_err result;
        const char *reason;
    } cases[] = {
        { NET_QUERY_MX, "a.example", PT_ERR_OK, "" },
        { NET_QUERY_ADDRESSES, "a.example", PT_ERR_OK, "" },
        { NET_QUERY_ADDRESSES, "192.0.2.9", PT_ERR_OK, "" },
        { NET_QUERY_MX, "n.example", PT_ERR_NOTFOUND, "no such domain" },
        { NET_QUERY_MX, "empty.example", PT_ERR_NOTFOUND, "no address" },
        { NET_QUERY_MX, "f.example", PT_ERR_AGAIN, "SERVFAIL" },
        { NET_QUERY_MX, "s.example", PT_ERR_AGAIN, "did not answer within 2 seconds" },
        { NET_QUERY_MX, "a..example", PT_ERR_NOTFOUND, "cannot be a name" },
    };
    struct fixture *f = *state;
    struct net_query q[PT_ARRAY_LEN(cases)];

    ended = 0;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        ask(f, &q[i], cases[i].kind, cases[i].name);
    wait_for(f, PT_ARRAY_LEN(cases));
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        print_message("%s: %s\n", q[i].name, q[i].reason);
        assert_int_equal(q[i].result, cases[i].result);
        assert_non_null(strstr(q[i].reason, cases[i].reason));
        assert_int_equal(q[i].target_count, cases[i].result == PT_ERR_OK);
        net_query_clear(&q[i]);
    }
}

enum { MANY = 700 };

/* More than are under way at a time, a third of them never answered, while the configuration
 * changes again and again: each ends once. */
static void all_end_whatever_changes_meanwhile(void **state)
{
    struct fixture *f = *state;
    struct net_query *q = calloc(MANY, sizeof *q);

    assert_non_null(q);
    ended = 0;
    for (unsigned i = 0; i < MANY; i++) {
        char name[64];

        snprintf(name, sizeof name, "%c%u.example", "ans"[i % 3], i);
        ask(f, &q[i], NET_QUERY_MX, name);
        if (i % 35 == 0) {
            struct net_resolver_change *change;
            const char *room;
            struct net_resolver_config config = config_of(f, &room);

            assert_int_equal(net_resolver_prepare(f->resolver, &config, &change, NULL), PT_ERR_OK);
            if (i % 2)
                net_resolver_change_free(change);
            else
                net_resolver_adopt_take(f->resolver, change);
        }
    }
    wait_for(f, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        assert_int_not_equal(q[i].result, PT_ERR_CORRUPT);
        if (i % 3 == 2)
            assert_int_equal(q[i].result, PT_ERR_AGAIN);
        net_query_clear(&q[i]);
    }
    free(q);
}

static enum net_resolver_state state_of(struct fixture *f)
{
    struct net_resolver_health h;

    net_resolver_health(f->resolver, &h);
    return h.state;
}

/* Servers that answer at all are not silent, though every question fails. */
static void failing_is_told_and_ends(void **state)
{
    struct fixture *f = *state;
    struct net_query q[5];

    assert_int_equal(state_of(f), NET_RESOLVER_FINE);
    ended = 0;
    for (unsigned i = 0; i < 4; i++) {
        char name[64];

        snprintf(name, sizeof name, "f%u.example", i);
        ask(f, &q[i], NET_QUERY_MX, name);
    }
    wait_for(f, 4);
    assert_int_equal(state_of(f), NET_RESOLVER_FAILING);
    ask(f, &q[4], NET_QUERY_MX, "a.example");
    wait_for(f, 5);
    assert_int_equal(state_of(f), NET_RESOLVER_FINE);
    for (unsigned i = 0; i < 5; i++)
        net_query_clear(&q[i]);
}

static void a_bad_configuration_changes_nothing(void **state)
{
    struct fixture *f = *state;
    const char *bad = "192.0.2.1:53", *good = f->server;
    struct net_resolver_config configs[] = {
        { .servers = &bad, .server_count = 1, .trust_anchor = "none" },
        { .servers = &good, .server_count = 1, .trust_anchor = "no DS record" },
    };
    struct net_query q;

    for (size_t i = 0; i < PT_ARRAY_LEN(configs); i++) {
        struct net_resolver_change *change = NULL;
        struct pt_fault fault;

        assert_int_equal(net_resolver_prepare(f->resolver, &configs[i], &change, &fault),
                         PT_ERR_INVALID);
        assert_null(change);
    }
    ended = 0;
    ask(f, &q, NET_QUERY_MX, "a.example");
    wait_for(f, 1);
    assert_int_equal(q.result, PT_ERR_OK);
    net_query_clear(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_answer_has_its_result, setup, teardown),
        cmocka_unit_test_setup_teardown(all_end_whatever_changes_meanwhile, setup, teardown),
        cmocka_unit_test_setup_teardown(failing_is_told_and_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(a_bad_configuration_changes_nothing, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
