#include "base/budget.h"

#include <pthread.h>

#include "check.h"

static void what_is_taken_is_counted_and_has_an_end(void **state)
{
    struct budget b = { .max = 100 };

    (void)state;
    assert_true(budget_take(&b, 60));
    assert_false(budget_take(&b, 41));
    assert_false(budget_take(&b, UINT64_MAX));
    assert_true(budget_take(&b, 40));
    assert_int_equal(budget_used(&b), 100);
    budget_give(&b, 50);
    assert_false(budget_take_below(&b, 20, 60));
    assert_true(budget_take_below(&b, 10, 60));
    budget_give(&b, 60);
    assert_int_equal(budget_used(&b), 0);
}

static void what_is_forced_may_go_beyond(void **state)
{
    struct budget b = { .max = 100 };

    (void)state;
    budget_force(&b, 150);
    assert_int_equal(budget_used(&b), 150);
    assert_false(budget_take(&b, 1));
    assert_false(budget_take_below(&b, 1, 120));
    budget_give(&b, 60);
    assert_true(budget_take(&b, 10));
}

static void *take_and_give(void *arg)
{
    struct budget *b = arg;

    for (int i = 0; i < 100000; i++)
        if (budget_take(b, 3)) {
            assert_true(budget_used(b) <= b->max);
            budget_give(b, 3);
        }
    return NULL;
}

static void threads_never_get_more_than_there_is(void **state)
{
    struct budget b = { .max = 7 };
    pthread_t threads[3];

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, &b), 0);
    for (size_t i = 0; i < PT_ARRAY_LEN(threads); i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(budget_used(&b), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_is_counted_and_has_an_end),
        cmocka_unit_test(what_is_forced_may_go_beyond),
        cmocka_unit_test(threads_never_get_more_than_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
