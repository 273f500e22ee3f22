#include "tracking/metrics.h"

#include "check.h"

static void a_family_is_help_kind_and_samples(void **state)
{
    struct buf out;

    buf_init(&out, 4096);
    metrics_counter(&out, "x_total", "How many\nof \\them.", UINT64_MAX);
    metrics_family(&out, "y_bytes", METRICS_GAUGE, "Octets.");
    metrics_sample(&out, "y_bytes", "kind", STR("a\"b\\c\nd"), 0);
    metrics_sample(&out, "y_bytes", "kind", STR("e"), 7);
    metrics_family(&out, "z_seconds_total", METRICS_COUNTER, "Time.");
    metrics_sample_us(&out, "z_seconds_total", 1000001);
    assert_string_equal(buf_cstr(&out), "# HELP x_total How many\\nof \\\\them.\n"
                                        "# TYPE x_total counter\n"
                                        "x_total 18446744073709551615\n"
                                        "# HELP y_bytes Octets.\n"
                                        "# TYPE y_bytes gauge\n"
                                        "y_bytes{kind=\"a\\\"b\\\\c\\nd\"} 0\n"
                                        "y_bytes{kind=\"e\"} 7\n"
                                        "# HELP z_seconds_total Time.\n"
                                        "# TYPE z_seconds_total counter\n"
                                        "z_seconds_total 1.000001\n");
    buf_done(&out);
}

static void what_does_not_fit_is_noticed(void **state)
{
    struct buf out;

    buf_init(&out, 20);
    metrics_gauge(&out, "y_bytes", "Octets.", 1);
    assert_true(out.failed);
    buf_done(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_family_is_help_kind_and_samples),
        cmocka_unit_test(what_does_not_fit_is_noticed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
