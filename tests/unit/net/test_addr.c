#include "net/addr.h"

#include <arpa/inet.h>

#include "check.h"

static void addresses_read_and_written(void **state)
{
    static const struct {
        struct str text;
        enum net_family family;
        const char *shown; /* NULL: as it was written */
    } cases[] = {
        { STR("0.0.0.0"), NET_IPV4, NULL },
        { STR("192.0.2.1"), NET_IPV4, NULL },
        { STR("255.255.255.255"), NET_IPV4, NULL },
        { STR("::"), NET_IPV6, NULL },
        { STR("::1"), NET_IPV6, NULL },
        { STR("2001:db8::1"), NET_IPV6, NULL },
        { STR("2001:DB8:0:0:0:0:0:1"), NET_IPV6, "2001:db8::1" },
        { STR("2001:0db8::0001"), NET_IPV6, "2001:db8::1" },
        { STR("2001:db8:0:0:1:0:0:1"), NET_IPV6, "2001:db8::1:0:0:1" },
        { STR("2001:db8:0:1:1:1:1:1"), NET_IPV6, NULL }, /* one zero is not shortened */
        { STR("1:0:0:0:0:0:0:0"), NET_IPV6, "1::" },
        { STR("fe80::1"), NET_IPV6, NULL },
        { STR("::ffff:192.0.2.1"), NET_IPV4, "192.0.2.1" },
        { STR("::FFFF:c000:201"), NET_IPV4, "192.0.2.1" },
        { STR("0:0:0:0:0:ffff:1.2.3.4"), NET_IPV4, "1.2.3.4" },
        { STR("2001:db8::192.0.2.1"), NET_IPV6, "2001:db8::c000:201" },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        char text[NET_ADDR_SIZE];
        struct net_addr a, again;

        print_message("%s\n", cases[i].text.p);
        assert_true(net_addr_parse(cases[i].text, &a));
        assert_int_equal(a.family, cases[i].family);
        net_addr_format(&a, text);
        assert_string_equal(text, cases[i].shown ? cases[i].shown : cases[i].text.p);
        assert_true(net_addr_parse(str_of(text), &again));
        assert_true(net_addr_eq(&a, &again));
    }
}

static void anything_else_is_no_address(void **state)
{
    static const struct str cases[] = {
        STR(""),
        STR("1"),
        STR("1.2.3"),
        STR("1.2.3.4.5"),
        STR("1.2.3.4."),
        STR(".1.2.3.4"),
        STR("1..2.3"),
        STR("1.2.3.256"),
        STR("300.1.1.1"),
        STR("192.168.001.1"), /* octal to some */
        STR("01.2.3.4"),
        STR("1.2.3.00"),
        STR("0x7f.0.0.1"),
        STR("1.2.3.-4"),
        STR("1.2.3.+4"),
        STR(" 1.2.3.4"),
        STR("1.2.3.4 "),
        STR("1.2.3.4\n"),
        STR("1.2.3.4\0"),
        STR("1.2.3.4\0.5"),
        STR("1.2.3.4:25"),
        STR("1.2.3.4/24"),
        STR("1.2.3.4294967297"),
        STR("\xD9\xA1.2.3.4"), /* a digit, but not ASCII */
        STR(":"),
        STR(":::"),
        STR("::1::2"),
        STR("1:2:3:4:5:6:7"),
        STR("1:2:3:4:5:6:7:8:9"),
        STR("1:2:3:4:5:6:7:8::"),
        STR(":1:2:3:4:5:6:7"),
        STR("2001:db8::g"),
        STR("2001:db8::12345"),
        STR("[2001:db8::1]"),
        STR("2001:db8::1%eth0"),
        STR("fe80::1%1"),
        STR("2001:db8::1/64"),
        STR("2001:db8::/129"),
        STR("::1\0"),
        STR("::1\0::"),
        STR("::ffff:1.2.3"),
        STR("::ffff:1.2.3.256"),
        STR("::ffff:01.2.3.4"),
        STR("1.2.3.4::"),
        STR("IPv6:::1"),
        STR("localhost"),
        STR("mail.example.com"),
        STR("10.0.0.1-10.0.0.9"),
        STR("2001:db8:0000:0000:0000:0000:0000:0000:0000:0000:0000:0001"),
        STR("00000000000000000000000000000000000000000000000000000000000000001"),
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct net_addr a = { .family = 77 };

        print_message("%s\n", cases[i].p);
        assert_false(net_addr_parse(cases[i], &a));
        assert_int_equal(a.family, 77);
    }
}

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(str_of(text), &a));
    return a;
}

static void prefixes_have_their_addresses(void **state)
{
    static const struct {
        const char *prefix;
        uint8_t length;
        const char *address;
        bool inside;
    } cases[] = {
        { "0.0.0.0", 0, "255.1.2.3", true },
        { "0.0.0.0", 0, "::1", false },
        { "::", 0, "1.2.3.4", false },
        { "::", 0, "2001:db8::1", true },
        { "10.0.0.0", 8, "10.255.255.255", true },
        { "10.0.0.0", 8, "11.0.0.0", false },
        { "192.168.5.32", 26, "192.168.5.1", true }, /* host bits do not count */
        { "192.168.5.0", 26, "192.168.5.63", true },
        { "192.168.5.0", 26, "192.168.5.64", false },
        { "192.0.2.1", 32, "192.0.2.1", true },
        { "192.0.2.1", 32, "192.0.2.0", false },
        { "192.0.2.0", 31, "192.0.2.1", true },
        { "192.0.2.0", 31, "192.0.2.2", false },
        { "2001:db8::", 32, "2001:db8:ffff::1", true },
        { "2001:db8::", 32, "2001:db9::", false },
        { "2001:db8::", 127, "2001:db8::1", true },
        { "2001:db8::", 127, "2001:db8::2", false },
        { "2001:db8::1", 128, "2001:db8::1", true },
        { "2001:db8::1", 128, "2001:db8::", false },
        /* a client seen as IPv4-mapped is an IPv4 client */
        { "192.0.2.0", 24, "::ffff:192.0.2.99", true },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct net_prefix p = { addr(cases[i].prefix), cases[i].length };
        struct net_addr a = addr(cases[i].address);

        print_message("%s/%u %s\n", cases[i].prefix, cases[i].length, cases[i].address);
        net_prefix_clear(&p);
        assert_int_equal(net_prefix_has(&p, &a), cases[i].inside);
    }
}

static void clearing_keeps_the_leading_bits(void **state)
{
    struct net_prefix p;

    (void)state;
    for (unsigned length = 0; length <= 128; length++) {
        p = (struct net_prefix){ addr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), (uint8_t)length };
        assert_int_equal(net_prefix_clear(&p), length < 128);
        assert_false(net_prefix_clear(&p));
        for (unsigned bit = 0; bit < 128; bit++)
            assert_int_equal(p.addr.octets[bit / 8] >> (7 - bit % 8) & 1, bit < length);
    }
    for (unsigned length = 0; length <= 32; length++) {
        p = (struct net_prefix){ addr("255.255.255.255"), (uint8_t)length };
        assert_int_equal(net_prefix_clear(&p), length < 32);
        for (unsigned bit = 0; bit < 32; bit++)
            assert_int_equal(p.addr.octets[bit / 8] >> (7 - bit % 8) & 1, bit < length);
    }
}

static void prefixes_and_endpoints_are_shown(void **state)
{
    struct net_prefix p = { addr("192.0.2.0"), 24 };
    struct net_endpoint e = { addr("192.0.2.1"), 25 };
    char prefix[NET_PREFIX_SIZE], endpoint[NET_ENDPOINT_SIZE];

    (void)state;
    net_prefix_format(&p, prefix);
    assert_string_equal(prefix, "192.0.2.0/24");
    p.length = 32;
    net_prefix_format(&p, prefix);
    assert_string_equal(prefix, "192.0.2.0");
    p = (struct net_prefix){ addr("2001:db8::"), 32 };
    net_prefix_format(&p, prefix);
    assert_string_equal(prefix, "2001:db8::/32");
    p = (struct net_prefix){ addr("1111:2222:3333:4444:5555:6666:7777:8888"), 127 };
    net_prefix_format(&p, prefix);
    assert_string_equal(prefix, "1111:2222:3333:4444:5555:6666:7777:8888/127");
    net_endpoint_format(&e, endpoint);
    assert_string_equal(endpoint, "192.0.2.1:25");
    e = (struct net_endpoint){ addr("1111:2222:3333:4444:5555:6666:7777:8888"), 65535 };
    net_endpoint_format(&e, endpoint);
    assert_string_equal(endpoint, "[1111:2222:3333:4444:5555:6666:7777:8888]:65535");
}

static void loopback_is_told(void **state)
{
    static const char *const yes[] = { "127.0.0.1", "127.255.0.3", "::1", "::ffff:127.0.0.1" };
    static const char *const no[] = { "128.0.0.1", "126.255.255.255", "::", "::2", "::127.0.0.1" };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(yes); i++)
        assert_true(net_addr_is_loopback(&(struct net_addr[]){ addr(yes[i]) }[0]));
    for (size_t i = 0; i < PT_ARRAY_LEN(no); i++)
        assert_false(net_addr_is_loopback(&(struct net_addr[]){ addr(no[i]) }[0]));
}

static void system_addresses_convert_both_ways(void **state)
{
    static const char *const cases[] = { "192.0.2.1", "2001:db8::1", "::1", "0.0.0.0" };
    struct sockaddr_storage sa;
    struct sockaddr_in6 *mapped = (struct sockaddr_in6 *)&sa;
    struct net_endpoint e, back;

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        e = (struct net_endpoint){ addr(cases[i]), (uint16_t)(2525 + i) };
        assert_true(net_to_sockaddr(&e, &sa) <= sizeof sa);
        assert_true(net_from_sockaddr((struct sockaddr *)&sa, &back));
        assert_true(net_addr_eq(&e.addr, &back.addr));
        assert_int_equal(back.port, e.port);
    }
    /* What a listener on "::" reports of an IPv4 client. */
    memset(&sa, 0, sizeof sa);
    mapped->sin6_family = AF_INET6;
    mapped->sin6_port = htons(4000);
    assert_int_equal(inet_pton(AF_INET6, "::ffff:198.51.100.7", &mapped->sin6_addr), 1);
    assert_true(net_from_sockaddr((struct sockaddr *)&sa, &back));
    assert_int_equal(back.addr.family, NET_IPV4);
    e.addr = addr("198.51.100.7");
    assert_true(net_addr_eq(&e.addr, &back.addr));
    sa.ss_family = AF_UNIX;
    assert_false(net_from_sockaddr((struct sockaddr *)&sa, &back));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(addresses_read_and_written),
        cmocka_unit_test(anything_else_is_no_address),
        cmocka_unit_test(prefixes_have_their_addresses),
        cmocka_unit_test(clearing_keeps_the_leading_bits),
        cmocka_unit_test(prefixes_and_endpoints_are_shown),
        cmocka_unit_test(loopback_is_told),
        cmocka_unit_test(system_addresses_convert_both_ways),
    };

    return cmocka_run_group_tests_name("net/addr", tests, NULL, NULL);
}
