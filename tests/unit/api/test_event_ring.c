#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "api/event_ring.h"
#include "base/rng.h"

enum { MESSAGES = 1 << EVENT_MESSAGE, SETTINGS = 1 << EVENT_SETTINGS };

static void add(struct event_ring *r, enum event_type type, unsigned n)
{
    char text[32];

    snprintf(text, sizeof text, "event %u", n);
    event_ring_add(r, type, str_of(text));
}

static bool reads(const struct event_ring *r, struct event_cursor *c, unsigned mask, unsigned n)
{
    struct event ev;
    char text[64] = "", wanted[32];

    if (!event_ring_read(r, c, mask, &ev))
        return false;
    memcpy(text, ev.text[0].p, ev.text[0].n);
    if (ev.text[1].n)
        memcpy(text + ev.text[0].n, ev.text[1].p, ev.text[1].n);
    snprintf(wanted, sizeof wanted, "event %u", n);
    assert_string_equal(text, wanted);
    return true;
}

static void readers_see_what_comes_after_them(void **state)
{
    struct event_ring *r = event_ring_new(1000, 10);
    struct event_cursor early, late;
    struct event ev;

    event_cursor_now(r, &early);
    add(r, EVENT_MESSAGE, 1);
    add(r, EVENT_SETTINGS, 2);
    event_cursor_now(r, &late);
    add(r, EVENT_MESSAGE, 3);
    assert_true(reads(r, &early, MESSAGES, 1));
    assert_true(reads(r, &early, MESSAGES, 3));
    assert_false(event_ring_read(r, &early, MESSAGES, &ev));
    assert_true(reads(r, &late, EVENT_ALL, 3));
    assert_int_equal(event_ring_missed(r, &early, EVENT_ALL), 0);
    event_ring_free(r);
}

static void who_is_too_slow_is_told_how_much_of_his_has_gone(void **state)
{
    struct event_ring *r = event_ring_new(1000, 10);
    struct event_cursor c, other;

    event_cursor_now(r, &c);
    event_cursor_now(r, &other);
    for (unsigned n = 0; n < 25; n++)
        add(r, n % 5 ? EVENT_MESSAGE : EVENT_SETTINGS, n);
    /* Kept are 15 to 24; of the 15 that have gone 3 were settings. */
    assert_int_equal(event_ring_missed(r, &c, SETTINGS), 3);
    assert_int_equal(event_ring_missed(r, &c, SETTINGS), 0);
    assert_true(reads(r, &c, SETTINGS, 15));
    assert_true(reads(r, &c, SETTINGS, 20));
    assert_int_equal(event_ring_missed(r, &other, EVENT_ALL), 15);
    event_ring_free(r);
}

static void one_that_comes_back_goes_on_where_it_was(void **state)
{
    struct event_ring *r = event_ring_new(1000, 10);
    struct event_cursor c;

    assert_false(event_cursor_behind(r, 1, &c));
    for (unsigned n = 1; n <= 25; n++)
        add(r, EVENT_MESSAGE, n);
    assert_true(event_cursor_behind(r, 20, &c));
    assert_int_equal(event_ring_missed(r, &c, EVENT_ALL), 0);
    assert_true(reads(r, &c, EVENT_ALL, 21));
    /* 11 to 15 have gone: nobody knows any more of which type they were. */
    assert_true(event_cursor_behind(r, 10, &c));
    assert_int_equal(event_ring_missed(r, &c, SETTINGS), 5);
    assert_true(event_cursor_behind(r, 10, &c));
    for (unsigned n = 26; n <= 30; n++)
        add(r, EVENT_MESSAGE, n);
    assert_int_equal(event_ring_missed(r, &c, MESSAGES), 10);
    assert_true(reads(r, &c, EVENT_ALL, 21));
    assert_false(event_cursor_behind(r, 31, &c));
    event_ring_free(r);
}

/* Against a model that keeps everything: nothing is lost unsaid, nothing comes twice. */
static void every_event_is_read_or_missed(void **state)
{
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct event_ring *r = event_ring_new(300, 7);
        struct event_cursor c;
        struct event ev;
        unsigned added = 0, read = 0;
        uint64_t missed = 0;
        struct rng rng;
        char text[150];

        rng_seed(&rng, seed);
        event_cursor_now(r, &c);
        for (int step = 0; step < 500; step++) {
            if (rng_below(&rng, 3)) {
                size_t n = rng_below(&rng, sizeof text);

                memset(text, 'a' + (int)(n % 26), n);
                event_ring_add(r, EVENT_MESSAGE, (struct str){ text, n });
                added++;
                continue;
            }
            missed += event_ring_missed(r, &c, MESSAGES);
            while (rng_below(&rng, 4) && event_ring_read(r, &c, MESSAGES, &ev)) {
                size_t n = ev.text[0].n + ev.text[1].n;

                read++;
                assert_int_equal(ev.number, read + missed);
                for (size_t i = 0; i < n; i++)
                    assert_int_equal(i < ev.text[0].n ? ev.text[0].p[i]
                                                      : ev.text[1].p[i - ev.text[0].n],
                                     'a' + (int)(n % 26));
            }
        }
        missed += event_ring_missed(r, &c, MESSAGES);
        while (event_ring_read(r, &c, MESSAGES, &ev))
            read++;
        assert_int_equal(read + missed, added);
        event_ring_free(r);
    }
}

static void types_are_named(void **state)
{
    unsigned mask = 0;

    assert_true(event_types_parse(STR("message"), &mask));
    assert_int_equal(mask, MESSAGES);
    assert_true(event_types_parse(STR("settings,message"), &mask));
    assert_int_equal(mask, MESSAGES | SETTINGS);
    assert_true(
        event_types_parse(STR("settings,pending,status,connections,queue,message,refusal"), &mask));
    assert_int_equal(mask, EVENT_ALL);
    assert_false(event_types_parse(STR(""), &mask));
    assert_false(event_types_parse(STR("message,"), &mask));
    assert_false(event_types_parse(STR("messages"), &mask));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(readers_see_what_comes_after_them),
        cmocka_unit_test(who_is_too_slow_is_told_how_much_of_his_has_gone),
        cmocka_unit_test(one_that_comes_back_goes_on_where_it_was),
        cmocka_unit_test(every_event_is_read_or_missed),
        cmocka_unit_test(types_are_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
