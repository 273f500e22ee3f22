#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "gateway/patience.h"

/* Minutes pass here in no time: patience is told what the time is. */

static const int64_t second = 1000000000, idle = 300 * INT64_C(1000000000);

static void silence_ends_it_between_commands_and_in_content(void **state)
{
    static const enum patience_of all[] = { PATIENCE_NOTHING, PATIENCE_LINE, PATIENCE_BULK };
    struct patience p;

    for (size_t i = 0; i < PT_ARRAY_LEN(all); i++) {
        patience_init(&p, 1000 * second);
        patience_moved(&p, 10, all[i], false, 1001 * second);
        assert_int_equal(patience_check(&p, idle, 1301 * second - 1), PATIENCE_LEFT);
        assert_int_equal(patience_check(&p, idle, 1301 * second), PATIENCE_SILENT);
    }
}

static void a_change_of_the_timeout_counts_at_once(void **state)
{
    struct patience p;

    patience_init(&p, 0);
    assert_int_equal(patience_check(&p, idle, 200 * second), PATIENCE_LEFT);
    assert_int_equal(patience_check(&p, 60 * second, 200 * second), PATIENCE_SILENT);
    assert_int_equal(patience_check(&p, 1000 * second, 400 * second), PATIENCE_LEFT);
}

/* Sends `octets` every `every` seconds; returns after how many seconds it is cut, or `until`. */
static int64_t cut_after(enum patience_of of, unsigned octets, int64_t every, bool completes,
                         int64_t until)
{
    struct patience p;
    int64_t now = 0;

    patience_init(&p, 0);
    for (; now < until; now++) {
        if (now % every == 0)
            patience_moved(&p, octets, of, completes, now * second);
        if (patience_check(&p, idle, now * second) != PATIENCE_LEFT)
            return now;
    }
    return now;
}

static void who_makes_progress_is_not_cut(void **state)
{
    static const int64_t day = 86400;

    /* A command every four minutes. */
    assert_int_equal(cut_after(PATIENCE_NOTHING, 6, 240, true, day), day);
    /* 10 kbit/s, a line at a time. */
    assert_int_equal(cut_after(PATIENCE_BULK, 1250, 1, false, day), day);
    /* 50 octets a second: slow, but a message of 100 kB gets through. */
    assert_true(cut_after(PATIENCE_BULK, 50, 1, false, day) > 2000);
    /* A line that comes piecemeal by hand. */
    assert_int_equal(cut_after(PATIENCE_LINE, 1, 100, false, 599), 599);
}

static void an_octet_now_and_then_is_not_enough(void **state)
{
    static const int64_t day = 86400;

    assert_int_equal(cut_after(PATIENCE_LINE, 1, 60, false, day), 600);
    assert_int_equal(cut_after(PATIENCE_BULK, 1, 60, false, day), 600);
    assert_int_equal(cut_after(PATIENCE_BULK, 1, 5, false, day), 600);
    /* Above the least in each span, and still no end in sight: an hour, and what its octets earn.
     */
    assert_in_range(cut_after(PATIENCE_BULK, 1, 1, false, day), 3600, 3610);
    assert_in_range(cut_after(PATIENCE_BULK, 500, 1, false, 3 * day), 7190, 7210);
}

static void a_new_line_begins_anew(void **state)
{
    struct patience p;

    patience_init(&p, 0);
    for (int64_t now = 0; now < 6000; now += 100) {
        patience_moved(&p, 1, PATIENCE_LINE, now % 500 == 0, now * second);
        assert_int_equal(patience_check(&p, idle, now * second), PATIENCE_LEFT);
    }
}

static void our_own_waiting_does_not_count(void **state)
{
    struct patience p;

    patience_init(&p, 0);
    patience_moved(&p, 1, PATIENCE_BULK, false, 0);
    patience_pause(&p, 10 * second);
    patience_pause(&p, 500 * second); /* twice is once */
    assert_int_equal(patience_check(&p, idle, 100000 * second), PATIENCE_LEFT);
    patience_resume(&p, 100010 * second);
    assert_int_equal(patience_check(&p, idle, (100000 + 299) * second), PATIENCE_LEFT);
    assert_int_equal(patience_check(&p, idle, (100000 + 300) * second), PATIENCE_SILENT);
    patience_init(&p, 0);
    for (int64_t now = 0; now < 100000; now += 100) { /* the disk takes 99 of each 100 seconds */
        patience_moved(&p, 200, PATIENCE_BULK, false, now * second);
        patience_pause(&p, (now + 1) * second);
        patience_resume(&p, (now + 100) * second);
        assert_int_equal(patience_check(&p, idle, (now + 100) * second), PATIENCE_LEFT);
    }
}

static void what_comes_while_we_are_waited_for_is_not_later_than_now(void **state)
{
    struct patience p;

    patience_init(&p, second);
    patience_pause(&p, second);
    patience_moved(&p, 1, PATIENCE_LINE, false, 1000 * second);
    patience_resume(&p, 2000 * second);
    assert_int_equal(patience_check(&p, idle, 2299 * second), PATIENCE_LEFT);
    assert_int_equal(patience_check(&p, idle, 2300 * second), PATIENCE_SILENT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(silence_ends_it_between_commands_and_in_content),
        cmocka_unit_test(a_change_of_the_timeout_counts_at_once),
        cmocka_unit_test(who_makes_progress_is_not_cut),
        cmocka_unit_test(an_octet_now_and_then_is_not_enough),
        cmocka_unit_test(a_new_line_begins_anew),
        cmocka_unit_test(our_own_waiting_does_not_count),
        cmocka_unit_test(what_comes_while_we_are_waited_for_is_not_later_than_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
