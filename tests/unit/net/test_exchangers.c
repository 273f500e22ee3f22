#include "net/exchangers.h"

#include <stdio.h>

#include "check.h"

struct wire {
    const char *octets;
    size_t n;
};
#define W(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

static bool read_name(struct wire w, char out[NET_NAME_SIZE])
{
    return net_name_read((const uint8_t *)w.octets, w.n, out);
}

static void names_are_read(void **state)
{
    static const struct {
        struct wire wire;
        const char *text; /* NULL: refused */
    } cases[] = {
        { W("\0"), "" },
        { W("\2mx\7example\3com\0"), "mx.example.com" },
        { W("\2MX\5_tcp-\1a\0 and more"), "MX._tcp-.a" },
        { W(""), NULL },
        { W("\2mx"), NULL },           /* no end */
        { W("\4mx"), NULL },           /* a label beyond the end */
        { W("\2mx\300\014"), NULL },   /* compressed */
        { W("\2mx\100aaaa\0"), NULL }, /* an unknown label type */
        { W("\3a.b\0"), NULL },        /* a dot inside a label */
        { W("\3a b\0"), NULL },        /* a space */
        { W("\3a\0b\0"), NULL },       /* a NUL */
        { W("\4a\r\nb\0"), NULL },     /* line ends: logs, SMTP */
        { W("\3\303\274x\0"), NULL },  /* beyond ASCII */
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        char text[NET_NAME_SIZE] = "untouched";
        bool ok = read_name(cases[i].wire, text);

        print_message("case %zu\n", i);
        assert_int_equal(ok, cases[i].text != NULL);
        assert_string_equal(text, ok ? cases[i].text : "untouched");
    }
}

/* 255 octets on the wire are 253 as text; one more is too many. */
static void the_longest_name_is_read(void **state)
{
    char octets[300], text[NET_NAME_SIZE];
    size_t n = 0;

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        size_t length = i < 3 ? 63 : 61;

        octets[n++] = (char)length;
        memset(octets + n, 'a', length);
        n += length;
    }
    octets[n++] = 0;
    assert_int_equal(n, 255);
    assert_true(read_name((struct wire){ octets, n }, text));
    assert_int_equal(strlen(text), 253);

    octets[64 * 3] = 62;
    octets[n - 1] = 'a';
    octets[n++] = 0;
    assert_false(read_name((struct wire){ octets, n }, text));
}

static void add_addresses(struct net_exchangers *e, unsigned count, enum net_family family)
{
    for (unsigned i = 0; i < e->count; i++)
        for (unsigned k = 0; k < count; k++) {
            uint8_t octets[16] = { 192, 2, (uint8_t)i, (uint8_t)k };

            net_exchanger_read_address(&e->list[i], family, octets, family == NET_IPV4 ? 4 : 16);
        }
}

static void add(struct net_exchangers *e, uint16_t priority, const char *name, struct rng *rng)
{
    net_exchangers_add(e, priority, name, rng);
}

static void the_best_exchangers_stay_and_come_first(void **state)
{
    struct net_exchangers e = { 0 };
    struct net_target targets[NET_TARGETS_MAX];
    struct rng rng;
    uint32_t n;

    (void)state;
    rng_seed(&rng, 7);
    for (unsigned i = 0; i < 300; i++) {
        char name[32];

        snprintf(name, sizeof name, "x%u.example", i);
        add(&e, (uint16_t)(500 - i), name, &rng);
    }
    add(&e, 1, "X299.EXAMPLE", &rng); /* once more, and better */
    assert_int_equal(e.count, NET_MX_MAX);
    add_addresses(&e, 20, NET_IPV4);
    n = net_exchangers_targets(&e, targets);
    assert_true(n <= NET_TARGETS_MAX);
    assert_string_equal(targets[0].host, "x299.example");
    assert_int_equal(targets[0].priority, 1);
    assert_string_equal(targets[n - 1].host, "x290.example"); /* nobody is crowded out */
}

static void chance_decides_within_a_priority(void **state)
{
    unsigned first[40] = { 0 }, seen = 0;
    struct rng rng;

    (void)state;
    rng_seed(&rng, 3);
    for (unsigned round = 0; round < 400; round++) {
        struct net_exchangers e = { 0 };
        struct net_target targets[NET_TARGETS_MAX];
        unsigned number;

        for (unsigned i = 0; i < PT_ARRAY_LEN(first); i++) {
            char name[32];

            snprintf(name, sizeof name, "x%u.example", i);
            add(&e, 10, name, &rng);
        }
        add_addresses(&e, 1, NET_IPV4);
        assert_int_equal(net_exchangers_targets(&e, targets), NET_MX_MAX);
        assert_int_equal(sscanf(targets[0].host, "x%u", &number), 1);
        first[number]++;
    }
    for (unsigned i = 0; i < PT_ARRAY_LEN(first); i++)
        seen += first[i] > 0;
    assert_true(seen > PT_ARRAY_LEN(first) * 9 / 10);
}

static void families_take_turns(void **state)
{
    struct net_exchangers e = { 0 };
    struct net_target targets[NET_TARGETS_MAX];
    struct rng rng;

    (void)state;
    rng_seed(&rng, 3);
    add(&e, 10, "mx.example", &rng);
    add_addresses(&e, 300, NET_IPV4);
    add_addresses(&e, 2, NET_IPV6);
    assert_int_equal(net_exchangers_targets(&e, targets), NET_FAMILY_MAX + 2);
    assert_int_equal(targets[0].addr.family, NET_IPV6);
    assert_int_equal(targets[1].addr.family, NET_IPV4);
    assert_int_equal(targets[2].addr.family, NET_IPV6);
    assert_int_equal(targets[3].addr.family, NET_IPV4);
    assert_int_equal(targets[4].addr.family, NET_IPV4);
}

static void only_addresses_of_one_host_count(void **state)
{
    static const struct {
        enum net_family family;
        struct wire wire;
        const char *text; /* NULL: left out */
    } cases[] = {
        { NET_IPV4, W("\300\0\2\1"), "192.0.2.1" },
        { NET_IPV4, W("\0\0\0\0"), NULL },
        { NET_IPV4, W("\377\377\377\377"), NULL },
        { NET_IPV4, W("\340\0\0\1"), NULL },
        { NET_IPV4, W("\300\0\2"), NULL },
        { NET_IPV4, W("\300\0\2\1\1"), NULL },
        { NET_IPV6, W("\040\1\015\270\0\0\0\0\0\0\0\0\0\0\0\1"), "2001:db8::1" },
        { NET_IPV6, W("\0\0\0\0\0\0\0\0\0\0\377\377\300\0\2\1"), "192.0.2.1" },
        { NET_IPV6, W("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), NULL },
        { NET_IPV6, W("\0\0\0\0\0\0\0\0\0\0\377\377\0\0\0\0"), NULL },
        { NET_IPV6, W("\377\2\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), NULL },
        { NET_IPV6, W("\376\200\0\0\0\0\0\0\0\0\0\0\0\0\0\1"), NULL },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct net_exchanger host = { 0 };
        char text[NET_ADDR_SIZE] = "";

        print_message("case %zu\n", i);
        net_exchanger_read_address(&host, cases[i].family, (const uint8_t *)cases[i].wire.octets,
                                   cases[i].wire.n);
        assert_int_equal(host.addr_count, cases[i].text != NULL);
        if (host.addr_count)
            net_addr_format(&host.addrs[0], text);
        assert_string_equal(text, cases[i].text ? cases[i].text : "");
    }
}

static void null_mx_is_told_from_a_malformed_one(void **state)
{
    struct net_exchangers e = { 0 };
    struct rng rng;
    bool null_mx = false;

    (void)state;
    rng_seed(&rng, 1);
    net_exchangers_read_mx(&e, (const uint8_t *)"\0\0", 2, &rng, &null_mx);
    net_exchangers_read_mx(&e, (const uint8_t *)"\0\12\2mx", 5, &rng, &null_mx);
    assert_false(null_mx);
    net_exchangers_read_mx(&e, (const uint8_t *)"\0\0\0", 3, &rng, &null_mx);
    assert_true(null_mx);
    assert_int_equal(e.count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_read),
        cmocka_unit_test(the_longest_name_is_read),
        cmocka_unit_test(the_best_exchangers_stay_and_come_first),
        cmocka_unit_test(chance_decides_within_a_priority),
        cmocka_unit_test(families_take_turns),
        cmocka_unit_test(only_addresses_of_one_host_count),
        cmocka_unit_test(null_mx_is_told_from_a_malformed_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
