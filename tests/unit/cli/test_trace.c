#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "run.h"

#define T(n) "{\"time\":\"2026-11-24T08:34:3" n ".123Z\",\"level\":\"info\","

static int set_up(void **state)
{
    if (run_set_up(state) != 0)
        return -1;
    run_write("log/postern.log.2",
              T("0") "\"event\":\"received\",\"id\":\"0000000001A\",\"client\":\"192.0.2.1\","
                     "\"helo\":\"mx.example\",\"reverse_path\":\"ann@example.com\","
                     "\"recipients\":\"bob@example.org eve@example.org\",\"size\":4300}\n");
    run_write("log/postern.log.1",
              T("1") "\"event\":\"deferred\",\"id\":\"0000000001A\",\"recipient\":"
                     "\"bob@example.org\",\"next_hop\":\"relay:25\",\"code\":451,"
                     "\"reply\":\"451 4.3.0 later\\u001b[2J\"}\n" T(
                         "2") "\"event\":\"received\",\"id\":\"0000000001B\",\"reverse_path\":\"\","
                              "\"recipients\":\"ann@example.com\",\"size\":10}\n"
                              "no JSON at all, but ann@example.com and \"id\":\"0000000001A\"\n");
    run_write(
        "log/postern.log",
        T("3") "\"event\":\"rejected\",\"recipient\":\"ann@example.com\",\"client\":"
               "\"198.51.100.7\",\"code\":550,\"reply\":\"relaying denied\"}\n" T(
                   "4") "\"event\":\"delivered\",\"id\":\"0000000001A\",\"recipient\":"
                        "\"bob@example.org\",\"next_hop\":\"relay:25\",\"code\":250,\"delay_ms\":"
                        "1234,\"reply\":\"ok\"}\n" T(
                            "5") "\"event\":\"note\",\"text\":\"about joann@example.com\",\"id\":"
                                 "\"0000000001C\"}\n");
    return 0;
}

static void an_id_gives_its_events_over_all_files(void **state)
{
    const struct run *r = run_words("trace", "0000000001a", NULL);
    const char *first, *second, *third;

    assert_int_equal(r->status, 0);
    first = strstr(r->out, "received from ann@example.com to bob@example.org eve@example.org");
    second = strstr(r->out, "deferred to bob@example.org through relay:25");
    third = strstr(r->out, "delivered to bob@example.org");
    assert_true(first && second && third && first < second && second < third);
    run_has(r->out, "2026-11-24 08:34:30.123Z");
    run_has(r->out, "client 192.0.2.1, HELO mx.example, size 4.2K");
    run_has(r->out, "after 1.234 s");
    run_has(r->out, "451 4.3.0 later\\x1b[2J");
    run_has_not(r->out, "\x1b");
    run_has_not(r->out, "0000000001B");
}

static void an_address_gives_all_its_messages(void **state)
{
    const struct run *r = run_words("trace", "ANN@example.com", NULL);
    const char *a, *b, *none;

    assert_int_equal(r->status, 0);
    a = strstr(r->out, "0000000001A\n");
    b = strstr(r->out, "0000000001B\n");
    none = strstr(r->out, "no message\n");
    assert_true(a && b && none && a < b && b < none);
    run_has(r->out, "delivered to bob@example.org");
    run_has(r->out, "from <>");
    run_has(r->out, "relaying denied");
    run_has_not(r->out, "0000000001C");
}

/* Under an event's name. */
#define INDENT "\n                            "

static void a_message_is_received_before_anything_else_happens_to_it(void **state)
{
    const char *first, *second;

    run_write("log/postern.log", T("6") "\"event\":\"deferred\",\"id\":\"0000000001D\",\"reply\":"
                                        "\"first\","
                                        "\"next_attempt\":\"2026-11-24T09:45:25.883Z\"}\n" T(
                                            "6") "\"event\":\"received\",\"id\":\"0000000001D\"}"
                                                 "\n" T("5") "\"event\":\"early\",\"id\":"
                                                             "\"0000000001D\"}\n");
    first = strstr(run_words("trace", "0000000001D", NULL)->out, "received");
    second = first ? strstr(first,
                            "deferred" INDENT "next attempt 2026-11-24 09:45:25Z" INDENT "first\n")
                   : NULL;
    assert_true(first && second);
    assert_non_null(strstr(run_words("trace", "0000000001D", NULL)->out, "early\n  2026"));
}

static void json_has_the_same(void **state)
{
    const struct run *r = run_words("trace", "eve@example.org", "--json", NULL);
    json_t *v = json_loads(r->out, 0, NULL);

    assert_int_equal(r->status, 0);
    assert_int_equal(json_array_size(v), 1);
    assert_int_equal(json_array_size(json_object_get(json_array_get(v, 0), "events")), 3);
    json_decref(v);
}

static void what_is_not_there_is_said(void **state)
{
    const struct run *r = run_words("trace", "00000000009", NULL);

    assert_int_equal(r->status, 1);
    run_has(r->err, "nothing about 00000000009");
    assert_int_equal(run_words("trace", "nobody@example.com", NULL)->status, 1);
    r = run_words("trace", "neither", NULL);
    assert_int_equal(r->status, 1);
    run_has(r->err, "neither a message ID nor an address");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, run_tear_down)
    const struct CMUnitTest tests[] = {
        TEST(an_id_gives_its_events_over_all_files),
        TEST(an_address_gives_all_its_messages),
        TEST(a_message_is_received_before_anything_else_happens_to_it),
        TEST(json_has_the_same),
        TEST(what_is_not_there_is_said),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
