#include "net/resolver_servers.h"

#include "check.h"

static void servers_are_read_and_written(void **state)
{
    static const struct {
        const char *text, *again; /* NULL: refused */
    } cases[] = {
        { "192.0.2.53", "192.0.2.53" },
        { "192.0.2.53@53", "192.0.2.53" },
        { "192.0.2.53@5353", "192.0.2.53@5353" },
        { "2001:db8::53", "2001:db8::53" },
        { "2001:DB8::53@65535", "2001:db8::53@65535" },
        { "::1@5353", "::1@5353" },
        { "", NULL },
        { "@53", NULL },
        { "192.0.2.53@", NULL },
        { "192.0.2.53@0", NULL },
        { "192.0.2.53@65536", NULL },
        { "192.0.2.53@53x", NULL },
        { "192.0.2.53:53", NULL },
        { "[::1]@53", NULL },
        { "dns.example", NULL },
        { "fe80::1%eth0", NULL },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct net_endpoint e;
        char text[NET_SERVER_SIZE] = "";
        bool ok = net_server_parse(str_of(cases[i].text), &e);

        print_message("\"%s\"\n", cases[i].text);
        assert_int_equal(ok, cases[i].again != NULL);
        if (ok) {
            net_server_format(&e, text);
            assert_string_equal(text, cases[i].again);
        }
    }
}

static void the_servers_of_the_system_are_read(void **state)
{
    static const struct {
        const char *text, *servers[4];
    } cases[] = {
        { "", { NULL } },
        { "search example\noptions edns0\n", { NULL } },
        { "nameserver 127.0.0.53\n", { "127.0.0.53" } },
        { "nameserver 127.0.0.53", { "127.0.0.53" } },
        { "# nameserver 192.0.2.1\n;nameserver 192.0.2.2\nnameserver\t2001:db8::1  # x\r\n"
          " nameserver 192.0.2.3 \n",
          { "2001:db8::1", "192.0.2.3" } },
        { "nameserver fe80::1%eth0\nnameserver dns.example\nnameserver\nnameservers 192.0.2.1\n"
          "nameserver 192.0.2.1@54\nnameserver 192.0.2.9\n",
          { "192.0.2.9" } },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct net_endpoint found[NET_SERVERS_MAX];
        unsigned n = net_resolv_conf_read(str_of(cases[i].text), found), k = 0;

        print_message("case %zu\n", i);
        for (; k < n; k++) {
            char text[NET_SERVER_SIZE];

            net_server_format(&found[k], text);
            assert_non_null(cases[i].servers[k]);
            assert_string_equal(text, cases[i].servers[k]);
        }
        assert_null(cases[i].servers[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(servers_are_read_and_written),
        cmocka_unit_test(the_servers_of_the_system_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
