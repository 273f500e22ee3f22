#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "relay/index.h"
#include "relay/scheduler.h"

/* What the scheduler is made of: the plan of retries, the index by ID, the heap of what is due. */

static const int64_t second = 1000000;
static const int64_t start = INT64_C(1800000000) * 1000000;

/* ---- retry ---- */

static void the_first_retry_comes_within_a_minute_and_the_ceiling_is_an_hour(void **state)
{
    struct rng rng;
    int64_t before = 0;

    (void)state;
    rng_seed(&rng, 1);
    for (unsigned i = 0; i < 1000; i++) {
        int64_t delay = retry_delay_us(&retry_policy_default, 1, &rng);

        assert_in_range(delay, 24 * second, 36 * second);
    }
    for (uint32_t attempts = 1; attempts < 200; attempts++) {
        int64_t delay = retry_delay_us(&retry_policy_default, attempts, &rng);

        assert_true(delay <= 3600 * second);
        if (attempts < 8)
            assert_true(delay > before);
        before = delay;
        if (attempts > 8)
            assert_true(delay >= 2880 * second);
    }
}

static void the_last_attempt_comes_at_the_end_of_life(void **state)
{
    const struct retry_policy *p = &retry_policy_default;

    (void)state;
    assert_int_equal(retry_at_us(p, start, start, 30 * second), start + 30 * second);
    assert_int_equal(retry_at_us(p, start, start + p->life_us - second, 3600 * second),
                     start + p->life_us);
    assert_false(retry_expired(p, start, start + p->life_us - 1));
    assert_true(retry_expired(p, start, start + p->life_us));
}

/* ---- index and heap ---- */

static void the_index_finds_and_orders_by_id(void **state)
{
    enum { N = 2000 };
    static struct relay_item items[N];
    struct relay_item *root = NULL, *item;
    struct rng rng;
    uint64_t last = 0;
    unsigned left = 0, seen = 0;

    (void)state;
    rng_seed(&rng, 3);
    for (unsigned i = 0; i < N; i++) {
        items[i].id = (i * 7919u) % N + 1;
        relay_index_insert(&root, &items[i]);
    }
    for (unsigned i = 0; i < N; i++) {
        assert_ptr_equal(relay_index_find(root, items[i].id), &items[i]);
        if (rng_below(&rng, 2)) {
            relay_index_remove(&root, &items[i]);
            assert_null(relay_index_find(root, items[i].id));
        } else {
            left++;
        }
    }
    while ((item = relay_index_after(root, last))) {
        assert_true(item->id > last);
        last = item->id;
        seen++;
    }
    assert_int_equal(seen, left);
}

static void the_heap_gives_the_earliest_first(void **state)
{
    enum { N = 3000 };
    static struct due entries[N];
    struct due_heap heap = { 0 };
    struct rng rng;
    int64_t last = INT64_MIN;
    unsigned removed = 0, seen = 0;

    (void)state;
    rng_seed(&rng, 5);
    assert_true(due_heap_reserve(&heap, N));
    for (unsigned i = 0; i < N; i++) {
        due_init(&entries[i], 0);
        entries[i].at_us = (int64_t)rng_below(&rng, 500);
        due_push(&heap, &entries[i]);
    }
    for (unsigned i = 0; i < N; i += 3, removed++)
        due_remove(&heap, &entries[i]);
    due_remove(&heap, &entries[0]);
    for (struct due *d; (d = due_first(&heap)); seen++) {
        assert_true(d->at_us >= last);
        last = d->at_us;
        due_remove(&heap, d);
        assert_false(due_waits(d));
    }
    assert_int_equal(seen, N - removed);
    due_heap_done(&heap);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_retry_comes_within_a_minute_and_the_ceiling_is_an_hour),
        cmocka_unit_test(the_last_attempt_comes_at_the_end_of_life),
        cmocka_unit_test(the_index_finds_and_orders_by_id),
        cmocka_unit_test(the_heap_gives_the_earliest_first),
    };

    return cmocka_run_group_tests_name("relay/parts", tests, NULL, NULL);
}
