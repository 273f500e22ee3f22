#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "check.h"
#include "spool/spool.h"
#include "spool/text.h"

/* Replies, equal ones kept once. */

static void equal_texts_are_one(void **state)
{
    char mine[] = "451 4.7.1 later";
    struct str a = text_get(STR("451 4.7.1 later")), b;

    mine[0] = '4';
    b = text_get(str_of(mine));
    assert_ptr_equal(a.p, b.p);
    mine[0] = '5';
    assert_true(str_eq(b, STR("451 4.7.1 later"))); /* and nobody else's octets */
    text_put(a);
    assert_true(str_eq(b, STR("451 4.7.1 later")));
    text_put(b);
    assert_null(text_get(STR("")).p);
    text_put(STR_NULL);
}

static void a_reply_may_take_its_own_place(void **state)
{
    struct str reply = STR_NULL;
    static char long_text[SPOOL_REPLY_MAX + 100];

    spool_reply_set(&reply, STR("one"));
    spool_reply_set(&reply, reply);
    assert_true(str_eq(reply, STR("one")));
    memset(long_text, 'x', sizeof long_text);
    spool_reply_set(&reply, (struct str){ long_text, sizeof long_text });
    assert_int_equal(reply.n, SPOOL_REPLY_MAX);
    spool_reply_set(&reply, STR_NULL);
    assert_null(reply.p);
}

enum { MANY = 3000, THREADS = 4 };

static void *take_and_give(void *arg)
{
    struct str kept[MANY];
    char text[40];

    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++) {
            snprintf(text, sizeof text, "text %d", i);
            kept[i] = text_get(str_of(text));
        }
        for (int i = 0; i < MANY; i++) {
            snprintf(text, sizeof text, "text %d", i);
            pt_assert(str_eq(kept[i], str_of(text)));
            text_put(kept[i]);
        }
    }
    return NULL;
}

static void threads_share_them(void **state)
{
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(equal_texts_are_one),
        cmocka_unit_test(a_reply_may_take_its_own_place),
        cmocka_unit_test(threads_share_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
