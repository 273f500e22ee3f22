#include "access/table.h"

#include <stdlib.h>

#include "base/rng.h"
#include "check.h"
#include "net/entry.h"

/* ---- a matcher that cannot be wrong ---- */

static bool lasts_longer(const struct access_row *a, const struct access_row *b)
{
    return b->expires_us && (!a->expires_us || a->expires_us > b->expires_us);
}

static bool better(const struct access_row *rows, uint32_t i, uint32_t best)
{
    if (best == ACCESS_NONE || rows[i].prefix.length != rows[best].prefix.length)
        return best == ACCESS_NONE || rows[i].prefix.length > rows[best].prefix.length;
    return lasts_longer(&rows[i], &rows[best]);
}

static uint32_t find_slowly(const struct access_row *rows, uint32_t count, const struct net_addr *a,
                            int64_t now_us)
{
    uint32_t best = ACCESS_NONE;

    for (uint32_t i = 0; i < count; i++)
        if (net_prefix_has(&rows[i].prefix, a) &&
            (rows[i].expires_us == 0 || now_us < rows[i].expires_us) && better(rows, i, best))
            best = i;
    return best;
}

static uint32_t find_cover_slowly(const struct access_row *rows, uint32_t count,
                                  const struct net_prefix *p, unsigned longest)
{
    uint32_t best = ACCESS_NONE;

    for (uint32_t i = 0; i < count; i++)
        if (rows[i].prefix.length <= longest && net_prefix_has(&rows[i].prefix, &p->addr) &&
            better(rows, i, best))
            best = i;
    return best;
}

static bool overlaps_slowly(const struct access_row *rows, uint32_t count,
                            const struct net_prefix *p)
{
    for (uint32_t i = 0; i < count; i++)
        if (net_prefix_has(&rows[i].prefix, &p->addr) || net_prefix_has(p, &rows[i].prefix.addr))
            return true;
    return false;
}

/* ---- random tables ---- */

/* Few different octets, so that prefixes nest, touch and repeat. */
static struct net_addr random_addr(struct rng *r, unsigned spread)
{
    static const uint8_t ends[] = { 0, 1, 127, 128, 254, 255 };
    bool ipv4 = rng_below(r, 2);
    struct net_addr a = { .family = ipv4 ? NET_IPV4 : NET_IPV6 };

    for (unsigned i = 0; i < net_addr_bits(&a) / 8; i++)
        a.octets[i] = rng_below(r, spread) ? ends[rng_below(r, PT_ARRAY_LEN(ends))]
                                           : (uint8_t)rng_below(r, 256);
    return a;
}

static struct net_prefix random_prefix(struct rng *r, unsigned spread)
{
    struct net_prefix p = { .addr = random_addr(r, spread) };

    p.length = (uint8_t)rng_below(r, net_addr_bits(&p.addr) + 1);
    if (rng_below(r, 4) == 0)
        p.length = (uint8_t)net_addr_bits(&p.addr);
    PT_IGNORE(net_prefix_clear(&p), "most have host bits");
    return p;
}

/* The address itself, or one beside an end of some row's prefix. */
static struct net_addr probe(struct rng *r, const struct access_row *rows, uint32_t count,
                             unsigned spread)
{
    struct net_addr a = random_addr(r, spread);
    const struct net_prefix *p;

    if (count == 0 || rng_below(r, 4) == 0)
        return a;
    p = &rows[rng_below(r, count)].prefix;
    a = p->addr;
    if (rng_below(r, 2)) /* the last address */
        for (unsigned bit = p->length; bit < net_addr_bits(&a); bit++)
            a.octets[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
    if (rng_below(r, 2)) { /* a neighbour, and sometimes a stranger */
        unsigned bit = (unsigned)rng_below(r, net_addr_bits(&a));

        a.octets[bit / 8] ^= (uint8_t)(0x80 >> bit % 8);
    }
    return a;
}

static void compare_at(const struct access_table *t, const struct access_row *rows, uint32_t count,
                       struct net_addr a, struct net_prefix p)
{
    for (int64_t now = 0; now < 4; now++)
        assert_int_equal(access_table_find(t, &a, now), find_slowly(rows, count, &a, now));
    uint32_t same = find_cover_slowly(rows, count, &p, p.length);

    if (same != ACCESS_NONE && rows[same].prefix.length != p.length)
        same = ACCESS_NONE;
    assert_int_equal(access_table_find_prefix(t, &p), same);
    assert_int_equal(access_table_find_cover(t, &p),
                     p.length ? find_cover_slowly(rows, count, &p, p.length - 1u) : ACCESS_NONE);
    assert_int_equal(access_table_overlaps(t, &p), overlaps_slowly(rows, count, &p));
}

static void agrees_with_the_naive_matcher(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 400; seed++) {
        struct rng r;
        rng_seed(&r, seed);
        unsigned spread = 1 + (unsigned)rng_below(&r, 30);
        uint32_t count = (uint32_t)rng_below(&r, seed % 10 ? 80 : 1500);
        struct access_row *rows = calloc(count + 1, sizeof *rows);

        for (uint32_t i = 0; i < count; i++)
            rows[i] = (struct access_row){ random_prefix(&r, spread),
                                           rng_below(&r, 2) ? (int64_t)rng_below(&r, 4) : 0 };
        struct access_table *t = access_table_new(rows, count);

        assert_non_null(t);
        for (int i = 0; i < 200; i++) {
            struct net_addr a = probe(&r, rows, count, spread);
            struct net_prefix p = count && rng_below(&r, 2) ? rows[rng_below(&r, count)].prefix
                                                            : random_prefix(&r, spread);

            compare_at(t, rows, count, a, p);
        }
        access_table_free(t);
        free(rows);
    }
}

/* ---- examples ---- */

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(str_of(text), &a));
    return a;
}

static struct net_prefix prefix(const char *text)
{
    struct net_entry e;
    const char *why;

    assert_true(net_entry_parse(str_of(text), &e, &why));
    return e.prefix;
}

static uint32_t find(const struct access_table *t, const char *text, int64_t now)
{
    struct net_addr a = addr(text);

    return access_table_find(t, &a, now);
}

static void the_longest_match_that_lives_is_named(void **state)
{
    const struct access_row rows[] = {
        { prefix("10.0.0.0/8"), 0 },    { prefix("10.1.0.0/16"), 100 },
        { prefix("10.1.2.3"), 50 },     { prefix("0.0.0.0/0"), 0 },
        { prefix("10.1.0.0/16"), 200 }, { prefix("2001:db8::/32"), 0 },
        { prefix("2001:db8::1"), 0 },   { prefix("10.1.2.3"), 50 },
    };
    struct access_table *t = access_table_new(rows, PT_ARRAY_LEN(rows));

    (void)state;
    assert_int_equal(find(t, "10.1.2.3", 49), 2);
    assert_int_equal(find(t, "10.1.2.3", 50), 4);
    assert_int_equal(find(t, "10.1.2.3", 199), 4);
    assert_int_equal(find(t, "10.1.2.3", 200), 0);
    assert_int_equal(find(t, "10.255.255.255", 0), 0);
    assert_int_equal(find(t, "11.0.0.0", 0), 3);
    assert_int_equal(find(t, "9.255.255.255", 0), 3);
    assert_int_equal(find(t, "255.255.255.255", 0), 3);
    assert_int_equal(find(t, "2001:db8::1", 0), 6);
    assert_int_equal(find(t, "2001:db8::2", 0), 5);
    assert_int_equal(find(t, "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", 0), ACCESS_NONE);
    assert_int_equal(find(t, "::ffff:10.1.2.3", 49), 2); /* is IPv4 */
    access_table_free(t);
}

static void an_empty_table_has_nothing(void **state)
{
    struct access_table *t = access_table_new(NULL, 0);
    struct net_prefix p = prefix("0.0.0.0/0");
    struct net_addr none = { 0 };

    (void)state;
    assert_int_equal(find(t, "10.0.0.1", 0), ACCESS_NONE);
    assert_int_equal(find(t, "::1", 0), ACCESS_NONE);
    assert_int_equal(access_table_find(t, &none, 0), ACCESS_NONE);
    assert_int_equal(access_table_find_prefix(t, &p), ACCESS_NONE);
    assert_false(access_table_overlaps(t, &p));
    access_table_free(t);
    access_table_free(NULL);
}

static void every_address_there_is(void **state)
{
    const struct access_row rows[] = { { prefix("::/0"), 0 }, { prefix("0.0.0.0/0"), 0 } };
    struct access_table *t = access_table_new(rows, 2);

    (void)state;
    assert_int_equal(find(t, "::", 0), 0);
    assert_int_equal(find(t, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 0), 0);
    assert_int_equal(find(t, "0.0.0.0", 0), 1);
    assert_int_equal(find(t, "255.255.255.255", 0), 1);
    access_table_free(t);
}

/* 100,000 of each kind: the memory stays in bounds whatever the kind is. */
static void memory_stays_in_bounds(void **state)
{
    enum { COUNT = 100000 };
    struct access_row *rows = calloc(COUNT, sizeof *rows);

    (void)state;
    assert_non_null(rows);
    for (int kind = 0; kind < 4; kind++) {
        struct rng r;

        rng_seed(&r, (uint64_t)kind);
        for (uint32_t i = 0; i < COUNT; i++) {
            uint64_t x = kind == 3 ? i : rng_next(&r);

            rows[i] = (struct access_row){
                .prefix = { .addr.family = kind == 0 ? NET_IPV4 : NET_IPV6,
                            .length = kind == 0   ? 32
                                      : kind == 1 ? 64
                                                  : 128 },
                .expires_us = 1 << 20,
            };
            if (kind == 3) { /* neighbours */
                rows[i].prefix.addr.octets[0] = 0x20;
                x = __builtin_bswap64(x * 2);
                memcpy(rows[i].prefix.addr.octets + 8, &x, 8);
                continue;
            }
            memcpy(rows[i].prefix.addr.octets, &x, kind == 0 ? 4 : 8);
            x = rng_next(&r);
            if (kind == 2)
                memcpy(rows[i].prefix.addr.octets + 8, &x, 8);
        }
        struct access_table *t = access_table_new(rows, COUNT);

        assert_non_null(t);
        print_message("kind %d: %zu octets a row\n", kind, access_table_memory(t) / COUNT);
        assert_true(access_table_memory(t) <= (size_t)COUNT * 64);
        for (uint32_t i = 0; i < COUNT; i += 97)
            assert_int_equal(access_table_find(t, &rows[i].prefix.addr, 0), i);
        access_table_free(t);
    }
    free(rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(agrees_with_the_naive_matcher),
        cmocka_unit_test(the_longest_match_that_lives_is_named),
        cmocka_unit_test(an_empty_table_has_nothing),
        cmocka_unit_test(every_address_there_is),
        cmocka_unit_test(memory_stays_in_bounds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
