#include "net/entry.h"

#include "check.h"

static void entries_mean_prefixes(void **state)
{
    static const struct {
        const char *text, *prefix;
        bool normalised;
    } cases[] = {
        { "192.168.1.1", "192.168.1.1", false },
        { "192.168.2.0:255.255.255.0", "192.168.2.0/24", false },
        { "192.168.3.1:255.255.255.128", "192.168.3.0/25", true },
        { "192.168.5.32:255.255.255.192", "192.168.5.0/26", true },
        { "2001:db8:10ff::ae:44f2", "2001:db8:10ff::ae:44f2", false },
        { "2001:db8::/32", "2001:db8::/32", false },
        { "2001:DB8::1/32", "2001:db8::/32", true },
        { "10.0.0.0/8", "10.0.0.0/8", false },
        { "10.0.0.1/32", "10.0.0.1", false },
        { "10.0.0.1:255.255.255.255", "10.0.0.1", false },
        { "0.0.0.0/0", "0.0.0.0/0", false },
        { "1.2.3.4:0.0.0.0", "0.0.0.0/0", true },
        { "::/0", "::/0", false },
        { "::1/128", "::1", false },
        { "::ffff:10.1.2.3", "10.1.2.3", false },
        { "::ffff:10.1.2.3/104", "10.0.0.0/8", true },
        { "::ffff:0:0/96", "0.0.0.0/0", false },
        { "64:ff9b::198.51.100.7", "64:ff9b::c633:6407", false },
        { "64:ff9b::192.0.0.0/104", "64:ff9b::c000:0/104", false },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        char text[NET_PREFIX_SIZE];
        struct net_entry entry;
        const char *reason = NULL;

        print_message("%s\n", cases[i].text);
        assert_true(net_entry_parse(str_of(cases[i].text), &entry, &reason));
        net_prefix_format(&entry.prefix, text);
        assert_string_equal(text, cases[i].prefix);
        assert_int_equal(entry.normalised, cases[i].normalised);
    }
}

static void whatever_is_doubtful_is_refused(void **state)
{
    static const struct {
        const char *text, *reason; /* a part of it */
    } cases[] = {
        { "", "missing" },
        { " ", "not an IP address" },
        { "192.168.1.1:25", "no mask" },
        { "10.0.0.0:255.0.255.0", "not contiguous" },
        { "10.0.0.0:0.255.255.255", "not contiguous" },
        { "10.0.0.0:255.255.255.0.0", "no mask" },
        { "10.0.0.0:", "no mask" },
        { "10.0.0.0:255.0.0.0/8", "not an IPv6 address" },
        { "300.1.1.1", "0 to 255" },
        { "192.168.001.1", "leading zeros" },
        { "1.2.3", "four numbers" },
        { "1.2.3.4.5", "four numbers" },
        { "2001:db8::/129", "0 to 128" },
        { "10.0.0.0/33", "0 to 32" },
        { "10.0.0.0/", "0 to 32" },
        { "10.0.0.0/08", "0 to 32" },
        { "10.0.0.0/-1", "0 to 32" },
        { "10.0.0.0/+8", "0 to 32" },
        { "10.0.0.0/ 8", "0 to 32" },
        { "10.0.0.0/8/8", "0 to 32" },
        { "10.0.0.0/99999999999999999999", "0 to 32" },
        { "/8", "missing" },
        { "2001:db8::1:255.255.255.0", "IPv4 address only" },
        { "2001:db8::1:255.0.255.0", "IPv4 address only" },
        { "::ffff:10.0.0.0/95", "96 or longer" },
        { "fe80::1%eth0", "zone" },
        { "mail.example.com", "name" },
        { "10.0.0.1-10.0.0.9", "range" },
        { "192.168.1.1192.168.2.0:255.255.255.0", "not an IPv6 address" },
        { "[2001:db8::1]", "not an IPv6 address" },
        { "10.0.0.1 ", "not an IP address" },
        { "2001:db8:::1", "not an IPv6 address" },
        { "0x0a.0.0.1", "name" },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct net_entry entry = { .prefix.length = 77 };
        const char *reason = NULL;

        print_message("%s\n", cases[i].text);
        assert_false(net_entry_parse(str_of(cases[i].text), &entry, &reason));
        assert_int_equal(entry.prefix.length, 77);
        assert_non_null(reason);
        if (!strstr(reason, cases[i].reason))
            fail_msg("reason: %s", reason);
    }
}

static void a_nul_is_no_end(void **state)
{
    struct net_entry entry;
    const char *reason;

    (void)state;
    assert_false(net_entry_parse(STR("10.0.0.1\0x"), &entry, &reason));
    assert_false(net_entry_parse(STR("2001:db8::\0/32"), &entry, &reason));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_mean_prefixes),
        cmocka_unit_test(whatever_is_doubtful_is_refused),
        cmocka_unit_test(a_nul_is_no_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
