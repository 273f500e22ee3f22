#include "base/large.h"

#include <stdlib.h>

#include "check.h"

static void every_size_can_be_written_and_freed(void **state)
{
    static const size_t sizes[] = { 1, 4096, (2 << 20) - 1, 2 << 20, (5 << 20) + 3 };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(sizes); i++) {
        char *p = large_alloc(sizes[i]);

        assert_non_null(p);
        memset(p, 7, sizes[i]);
        free(p);
    }
}

static void an_array_keeps_what_fits(void **state)
{
    size_t n = (3 << 20) + 5;
    unsigned char *p = malloc(2 * n);

    (void)state;
    for (size_t i = 0; i < 2 * n; i++)
        p[i] = (unsigned char)(i * 7);
    p = large_fit(p, n);
    assert_non_null(p);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(p[i], (unsigned char)(i * 7));
    free(p);
    assert_null(large_fit(NULL, 10));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_size_can_be_written_and_freed),
        cmocka_unit_test(an_array_keeps_what_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
