#include "base/crc32c.h"

#include "base/rng.h"
#include "check.h"

/* The portable way is tested as well, whatever this processor can do. */
uint32_t crc32c_under_test(uint32_t crc, const void *octets, size_t n);
#define crc32c crc32c_under_test
#include "base/crc32c.c"
#undef crc32c

/* Bit by bit, as the polynomial is defined. */
static uint32_t by_definition(uint32_t crc, const unsigned char *p, size_t n)
{
    crc = ~crc;
    while (n--) {
        crc ^= *p++;
        for (int i = 0; i < 8; i++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78u : 0);
    }
    return ~crc;
}

/* RFC 3720 appendix B.4 */
static void known_sums(void **state)
{
    unsigned char octets[32];

    (void)state;
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283u);
    assert_int_equal(crc32c(0, "", 0), 0);
    memset(octets, 0, sizeof octets);
    assert_int_equal(crc32c(0, octets, 32), 0x8A9136AAu);
    memset(octets, 0xFF, sizeof octets);
    assert_int_equal(crc32c(0, octets, 32), 0x62A8AB43u);
    for (unsigned i = 0; i < 32; i++)
        octets[i] = (unsigned char)i;
    assert_int_equal(crc32c(0, octets, 32), 0x46DD794Eu);
    for (unsigned i = 0; i < 32; i++)
        octets[i] = (unsigned char)(31 - i);
    assert_int_equal(crc32c(0, octets, 32), 0x113FDB5Cu);
}

static void every_length_and_alignment(void **state)
{
    enum { LONGEST = 300 };
    static unsigned char octets[LONGEST + 16];
    struct rng r;

    (void)state;
    rng_seed(&r, 3);
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (unsigned char)rng_next(&r);
    for (size_t from = 0; from < 16; from++)
        for (size_t n = 0; n <= LONGEST; n++) {
            uint32_t seed = (uint32_t)rng_next(&r);
            uint32_t want = by_definition(seed, octets + from, n);

            assert_int_equal(crc32c(seed, octets + from, n), want);
            assert_int_equal(~crc_table(~seed, octets + from, n), want);
        }
}

/* Where several streams are summed side by side. */
static void lengths_about_the_streams(void **state)
{
    static unsigned char octets[8192];
    struct rng r;

    (void)state;
    rng_seed(&r, 5);
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (unsigned char)rng_next(&r);
    for (size_t whole = 1536; whole <= 7680; whole += 1536)
        for (size_t n = whole - 9; n <= whole + 9; n++) {
            size_t from = (size_t)rng_below(&r, 16);
            uint32_t seed = (uint32_t)rng_next(&r);

            assert_int_equal(crc32c(seed, octets + from, n), by_definition(seed, octets + from, n));
        }
    memset(octets, 0, sizeof octets);
    assert_int_equal(crc32c(0, octets, sizeof octets), by_definition(0, octets, sizeof octets));
}

static void pieces_sum_to_the_whole(void **state)
{
    static unsigned char octets[5000];
    uint32_t whole;
    struct rng r;

    (void)state;
    rng_seed(&r, 4);
    for (size_t i = 0; i < sizeof octets; i++)
        octets[i] = (unsigned char)rng_next(&r);
    whole = crc32c(7, octets, sizeof octets);
    for (int round = 0; round < 100; round++) {
        uint32_t crc = 7;

        for (size_t at = 0; at < sizeof octets;) {
            size_t n = (size_t)rng_below(&r, 700);

            n = PT_MIN(n, sizeof octets - at);
            crc = crc32c(crc, octets + at, n);
            at += n;
        }
        assert_int_equal(crc, whole);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_sums),
        cmocka_unit_test(every_length_and_alignment),
        cmocka_unit_test(lengths_about_the_streams),
        cmocka_unit_test(pieces_sum_to_the_whole),
    };

    return cmocka_run_group_tests_name("base/crc32c", tests, NULL, NULL);
}
