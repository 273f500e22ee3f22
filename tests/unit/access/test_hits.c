#include "access/hits.h"

#include <pthread.h>
#include <stdatomic.h>

#include "check.h"

static struct net_prefix host(uint32_t n)
{
    return (struct net_prefix){
        { NET_IPV4, { (uint8_t)(n >> 24), (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } }, 32
    };
}

static uint64_t hits_of(const struct access_hits *h, uint8_t list, struct net_prefix p,
                        int64_t *last)
{
    uint64_t hits = 0;

    *last = 0;
    access_hits_read(h, list, &p, &hits, last);
    return hits;
}

static void hits_are_counted_by_list_and_prefix(void **state)
{
    struct access_hits *h = access_hits_new();
    struct net_prefix a = host(0x0A000001), net = a, six = { { NET_IPV6, { 10, 0, 0, 1 } }, 32 };
    int64_t last;

    (void)state;
    net.length = 8;
    access_hits_count(h, 1, &a, 100);
    access_hits_count(h, 1, &a, 200);
    access_hits_count(h, 2, &a, 300);
    assert_int_equal(hits_of(h, 1, a, &last), 2);
    assert_int_equal(last, 200);
    assert_int_equal(hits_of(h, 2, a, &last), 1);
    assert_int_equal(last, 300);
    assert_int_equal(hits_of(h, 1, net, &last), 0);
    assert_int_equal(hits_of(h, 1, six, &last), 0);
    assert_int_equal(last, 0);
    access_hits_free(h);
}

static void counts_of_loops_add_up(void **state)
{
    struct access_hits *h[2] = { access_hits_new(), access_hits_new() };
    struct net_prefix a = host(1);
    uint64_t hits = 0;
    int64_t last = 0;

    (void)state;
    access_hits_count(h[0], 1, &a, 900);
    access_hits_count(h[1], 1, &a, 800);
    for (int i = 0; i < 2; i++)
        access_hits_read(h[i], 1, &a, &hits, &last);
    access_hits_read(NULL, 1, &a, &hits, &last);
    assert_int_equal(hits, 2);
    assert_int_equal(last, 900);
    access_hits_free(h[0]);
    access_hits_free(h[1]);
}

/* Those hit lately are kept when there are more than fit. */
static void there_is_a_bound_and_the_oldest_go(void **state)
{
    enum { MANY = 4 * ACCESS_HITS_MAX };
    struct access_hits *h = access_hits_new();
    uint32_t kept = 0, kept_late = 0;
    int64_t last;

    (void)state;
    for (uint32_t i = 0; i < MANY; i++) {
        struct net_prefix p = host(i);

        access_hits_count(h, 1, &p, 1 + i);
    }
    for (uint32_t i = 0; i < MANY; i++) {
        bool there = hits_of(h, 1, host(i), &last) == 1;

        kept += there;
        kept_late += there && i >= MANY - ACCESS_HITS_MAX / 4;
    }
    assert_true(kept <= ACCESS_HITS_MAX);
    assert_true(kept > ACCESS_HITS_MAX * 3 / 4);
    assert_true(kept_late > ACCESS_HITS_MAX / 4 * 9 / 10);
    access_hits_free(h);
}

struct sharing {
    struct access_hits *h;
    atomic_bool stop;
};

/* More prefixes than a set has places: they throw each other out all the time. */
static void *count_on(void *ctx)
{
    struct sharing *s = ctx;

    for (uint32_t i = 0; !atomic_load(&s->stop); i++) {
        struct net_prefix p = host(i % (ACCESS_HITS_MAX * 2));

        access_hits_count(s->h, 1, &p, (int64_t)i + 1);
        if (i % 16 == 0) {
            p = host(7);
            access_hits_count(s->h, 2, &p, (int64_t)i + 1);
        }
    }
    return NULL;
}

static void reading_while_another_counts_gives_no_mixture(void **state)
{
    struct sharing s = { .h = access_hits_new() };
    uint64_t before = 0;
    pthread_t thread;
    int64_t last;

    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, count_on, &s), 0);
    for (uint32_t i = 0; i < 300000; i++) {
        uint64_t busy = hits_of(s.h, 2, host(7), &last);

        assert_true(busy == 0 || busy >= before); /* it may be thrown out, never go back */
        before = busy ? busy : 0;
        /* Of the many each is counted once at a time it stays. */
        assert_true(hits_of(s.h, 1, host(i % ACCESS_HITS_MAX), &last) < 1000000);
    }
    atomic_store(&s.stop, true);
    pthread_join(thread, NULL);
    access_hits_free(s.h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hits_are_counted_by_list_and_prefix),
        cmocka_unit_test(counts_of_loops_add_up),
        cmocka_unit_test(there_is_a_bound_and_the_oldest_go),
        cmocka_unit_test(reading_while_another_counts_gives_no_mixture),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
