#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "smtp/address.h"

#define S(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }
#define X10(c) c c c c c c c c c c
#define X60(c) X10(c) X10(c) X10(c) X10(c) X10(c) X10(c)
#define LABEL63 X60("d") "ddd"

static const struct good {
    struct str text, local, domain, canonical;
    int kind;
} goods[] = {
    { S("a@b"), S("a"), S("b"), S("a@b"), SMTP_DOMAIN_NAME },
    { S("A.b-c+d@Ex.COM"), S("A.b-c+d"), S("Ex.COM"), S("A.b-c+d@ex.com"), SMTP_DOMAIN_NAME },
    { S("!#$%&'*+-/=?^_`{|}~@b"), S("!#$%&'*+-/=?^_`{|}~"), S("b"), S("!#$%&'*+-/=?^_`{|}~@b"),
      SMTP_DOMAIN_NAME },
    { S("\"a b\"@b"), S("\"a b\""), S("b"), S("\"a b\"@b"), SMTP_DOMAIN_NAME },
    { S("\"ab\"@b"), S("\"ab\""), S("b"), S("ab@b"), SMTP_DOMAIN_NAME },
    { S("\"a\\b\"@b"), S("\"a\\b\""), S("b"), S("ab@b"), SMTP_DOMAIN_NAME },
    { S("\"a\\\"\\\\\"@b"), S("\"a\\\"\\\\\""), S("b"), S("\"a\\\"\\\\\"@b"), SMTP_DOMAIN_NAME },
    { S("\"a@b\"@c"), S("\"a@b\""), S("c"), S("\"a@b\"@c"), SMTP_DOMAIN_NAME },
    { S("\"<>,:;\"@c"), S("\"<>,:;\""), S("c"), S("\"<>,:;\"@c"), SMTP_DOMAIN_NAME },
    { S("\"\"@c"), S("\"\""), S("c"), S("\"\"@c"), SMTP_DOMAIN_NAME },
    { S("\".a\"@c"), S("\".a\""), S("c"), S("\".a\"@c"), SMTP_DOMAIN_NAME },
    { S("a@1.2.3.4"), S("a"), S("1.2.3.4"), S("a@1.2.3.4"), SMTP_DOMAIN_NAME },
    { S("a@x_y.b"), S("a"), S("x_y.b"), S("a@x_y.b"), SMTP_DOMAIN_NAME },
    { S("a@b--c"), S("a"), S("b--c"), S("a@b--c"), SMTP_DOMAIN_NAME },
    { S("a@[192.0.2.1]"), S("a"), S("[192.0.2.1]"), S("a@[192.0.2.1]"), SMTP_DOMAIN_IPV4 },
    { S("a@[IPv6:2001:DB8::1]"), S("a"), S("[IPv6:2001:DB8::1]"), S("a@[ipv6:2001:db8::1]"),
      SMTP_DOMAIN_IPV6 },
    { S("a@[ipv6:::ffff:192.0.2.1]"), S("a"), S("[ipv6:::ffff:192.0.2.1]"),
      S("a@[ipv6:::ffff:192.0.2.1]"), SMTP_DOMAIN_IPV6 },
    { S("a@[x-y:@!>z]"), S("a"), S("[x-y:@!>z]"), S("a@[x-y:@!>z]"), SMTP_DOMAIN_GENERAL },
    { S("\xC3\xA4@\xE4\xBE\x8B.x"), S("\xC3\xA4"), S("\xE4\xBE\x8B.x"),
      S("\xC3\xA4@\xE4\xBE\x8B.x"), SMTP_DOMAIN_NAME },
    { S("\"\xF0\x9F\x90\x99 b\"@c"), S("\"\xF0\x9F\x90\x99 b\""), S("c"),
      S("\"\xF0\x9F\x90\x99 b\"@c"), SMTP_DOMAIN_NAME },
    { S(X60("l") "llll@b"), S(X60("l") "llll"), S("b"), S(X60("l") "llll@b"), SMTP_DOMAIN_NAME },
    { S("a@" LABEL63), S("a"), S(LABEL63), S("a@" LABEL63), SMTP_DOMAIN_NAME },
};

static const struct str bads[] = {
    S(""),
    S("a"),
    S("@b"),
    S("a@"),
    S("a@b@c"),
    S(" a@b"),
    S("a@b "),
    S("a b@c"),
    S("<a@b>"),
    S(".a@b"),
    S("a.@b"),
    S("a..b@c"),
    S("a@.b"),
    S("a@b."),
    S("a@b..c"),
    S("a@-b"),
    S("a@b-"),
    S("a@b.-c.d"),
    S("a@b c"),
    S("a,b@c"),
    S("a;b@c"),
    S("a:b@c"),
    S("a\\b@c"),
    S("(a)@c"),
    S("\"a@b"),
    S("a\"@b"),
    S("\"a\"b@c"),
    S("\"a\\\"@c"),
    S("\"a\"\"b\"@c"),
    S("b.\"a\"@c"),
    S("\"a\rb\"@c"),
    S("\"a\nb\"@c"),
    S("\"a\0b\"@c"),
    S("\"a\x7F\"@c"),
    S("\"a\tb\"@c"),
    S("\"a\\\r\"@c"),
    S("\"a\\\x7F\"@c"),
    S("\"a\\\xC3\xA4\"@c"),
    S("a\0b@c"),
    S("a\x7F@c"),
    S("a@b\0"),
    S("a@b\x7F"),
    S("a@b\r"),
    S("a@b\n"),
    S("a@[192.0.2.256]"),
    S("a@[192.0.2]"),
    S("a@[192.0.2.01]"),
    S("a@[1.2.3.4"),
    S("a@1.2.3.4]"),
    S("a@[]"),
    S("a@[ 1.2.3.4]"),
    S("a@[IPv6:]"),
    S("a@[IPv6:1.2.3.4]"),
    S("a@[IPv6:1::2::3]"),
    S("a@[IPv6:fe80::1%1]"),
    S("a@[::1]"),
    S("a@[x:]"),
    S("a@[:x]"),
    S("a@[x-:y]"),
    S("a@[x y:z]"),
    S("a@[x:[]"),
    S("a@[x:\\]"),
    S("a@[x:y]z"),
    S("a@[x:y].z"),
    S("\xC3@b"),
    S("\xC3\x28@b"),
    S("\xC0\xAF@b"),
    S("\xED\xA0\x80@b"),
    S("\xF5\x80\x80\x80@b"),
    S("\xC2\x85@b"),
    S("a@\xC2\x9B.b"),
    S("a@\xFF"),
    S("\"\xC3\"@b"),
    S(X60("l") "lllll@b"),
    S("a@" LABEL63 "d"),
    S("a@" LABEL63 "d.com"),
    S("a@" LABEL63 "." LABEL63 "." LABEL63 "." LABEL63 ".d"),
};

static void every_production_is_taken(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(goods); i++) {
        const struct good *g = &goods[i];
        struct smtp_address a, again;
        struct str local, domain;
        struct buf out;

        print_message("%.*s\n", STR_FMT(g->text));
        assert_true(smtp_address_parse(g->text, &a));
        assert_true(str_eq(a.local, g->local));
        assert_true(str_eq(a.domain, g->domain));
        assert_true(str_eq(a.text, g->text));
        assert_int_equal(a.kind, g->kind);
        assert_int_equal(a.utf8, str_has_8bit(g->text));
        assert_int_equal(a.quoted, g->text.p[0] == '"');
        smtp_address_split(g->text, &local, &domain);
        assert_true(str_eq(local, g->local) && str_eq(domain, g->domain));
        buf_init(&out, 1024);
        smtp_address_format(&a, &out);
        assert_true(str_eq(buf_str(&out), g->canonical));
        assert_true(smtp_address_parse(buf_str(&out), &again));
        assert_true(smtp_address_eq(g->text, buf_str(&out)));
        buf_done(&out);
    }
}

static void nothing_else_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(bads); i++) {
        struct smtp_address a = { .kind = 77 };
        char *copy = malloc(bads[i].n + 1);

        print_message("%zu: %.*s\n", i, STR_FMT(bads[i]));
        memcpy(copy, bads[i].p, bads[i].n + 1);
        assert_false(smtp_address_parse((struct str){ copy, bads[i].n }, &a));
        assert_int_equal(a.kind, 77);
        free(copy);
    }
}

static void literals_have_their_address(void **state)
{
    struct smtp_address a;
    char text[NET_ADDR_SIZE];

    (void)state;
    assert_true(smtp_address_parse(STR("a@[192.0.2.1]"), &a));
    net_addr_format(&a.ip, text);
    assert_string_equal(text, "192.0.2.1");
    assert_true(smtp_address_parse(STR("a@[IPv6:2001:db8:0::1]"), &a));
    net_addr_format(&a.ip, text);
    assert_string_equal(text, "2001:db8::1");
    assert_true(smtp_domain_parse(STR("[IPv6:::1]"), &a));
    assert_int_equal(a.kind, SMTP_DOMAIN_IPV6);
    assert_true(smtp_domain_parse(STR("example.com"), &a));
    assert_false(smtp_domain_parse(STR("example.com "), &a));
    assert_false(smtp_domain_parse(STR(""), &a));
}

struct path_case {
    struct str text;
    unsigned flags;
    size_t n;
    struct str address;
};

static void paths_have_brackets_and_routes(void **state)
{
    static const struct path_case cases[] = {
        { S("<a@b>"), 0, 5, S("a@b") },
        { S("<a@b> SIZE=1"), 0, 5, S("a@b") },
        { S("<>"), SMTP_PATH_NULL, 2, S("") },
        { S("<>"), 0, 0, S("") },
        { S("<postmaster>"), SMTP_PATH_POSTMASTER, 12, S("postmaster") },
        { S("<POSTMASTER>"), SMTP_PATH_POSTMASTER, 12, S("POSTMASTER") },
        { S("<postmaster>"), SMTP_PATH_NULL, 0, S("") },
        { S("<root>"), SMTP_PATH_POSTMASTER, 0, S("") },
        { S("<\"postmaster\">"), SMTP_PATH_POSTMASTER, 0, S("") },
        { S("<@x:a@b>"), 0, 8, S("a@b") },
        { S("<@x,@[1.2.3.4],@z.y:a@b>"), 0, 24, S("a@b") },
        { S("<@x a@b>"), 0, 0, S("") },
        { S("<@x,a@b>"), 0, 0, S("") },
        { S("<@x,:a@b>"), 0, 0, S("") },
        { S("<x:a@b>"), 0, 0, S("") },
        { S("<@:a@b>"), 0, 0, S("") },
        { S("<@x:>"), SMTP_PATH_NULL, 0, S("") },
        { S("<a@b"), 0, 0, S("") },
        { S("a@b>"), 0, 0, S("") },
        { S("<<a@b>>"), 0, 0, S("") },
        { S("< a@b>"), 0, 0, S("") },
        { S("<a@b >"), 0, 0, S("") },
        { S("<\"a>b\"@c>"), 0, 9, S("\"a>b\"@c") },
        { S("<a@[x:>]>"), 0, 9, S("a@[x:>]") },
        { S(""), SMTP_PATH_NULL, 0, S("") },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct smtp_address a = { 0 };

        print_message("%.*s\n", STR_FMT(cases[i].text));
        assert_int_equal(smtp_path_parse(cases[i].text, cases[i].flags, &a), cases[i].n);
        assert_true(str_eq(a.text, cases[i].address));
    }
}

/* 256 octets with the brackets, 255 of a domain, 63 of a label, 59 characters of a U-label. */
static void lengths_are_limited(void **state)
{
    static const char domain[] = LABEL63 "." LABEL63 "." LABEL63;
    struct smtp_address a;
    struct buf b;

    (void)state;
    buf_init(&b, 4096);
    buf_addf(&b, "<%s@%s>", X60("l"), domain);
    assert_int_equal(smtp_path_parse(buf_str(&b), 0, &a), 2 + 60 + 1 + 191);
    buf_clear(&b);
    buf_addf(&b, "<llllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll@%s>", domain);
    assert_int_equal(b.n, 256);
    assert_int_equal(smtp_path_parse(buf_str(&b), 0, &a), 256);
    buf_clear(&b);
    buf_addf(&b, "<lllllllllllllllllllllllllllllllllllllllllllllllllllllllllllllll@%s>", domain);
    assert_int_equal(smtp_path_parse(buf_str(&b), 0, &a), 0);
    for (size_t n = 58; n <= 61; n++) {
        buf_clear(&b);
        BUF_LIT(&b, "a@");
        for (size_t i = 0; i < n; i++)
            BUF_LIT(&b, "\xC3\xA4");
        assert_int_equal(smtp_address_parse(buf_str(&b), &a), n <= 59);
    }
    buf_done(&b);
}

static void the_same_mailbox_is_known(void **state)
{
    (void)state;
    assert_true(smtp_address_eq(STR("a@B.c"), STR("a@b.C")));
    assert_true(smtp_address_eq(STR("\"a\"@b"), STR("a@b")));
    assert_true(smtp_address_eq(STR("\"\\a\\b\"@b"), STR("ab@b")));
    assert_true(smtp_address_eq(STR("postmaster"), STR("Postmaster")));
    assert_true(smtp_address_eq(STR(""), STR("")));
    assert_false(smtp_address_eq(STR("A@b"), STR("a@b")));
    assert_false(smtp_address_eq(STR("\"a \"@b"), STR("a@b")));
    assert_false(smtp_address_eq(STR("a@b"), STR("a@c")));
    assert_false(smtp_address_eq(STR("a@b"), STR("a")));
    assert_false(smtp_address_eq(STR("\"a@b\"@c"), STR("a@b")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_production_is_taken),
        cmocka_unit_test(nothing_else_is),
        cmocka_unit_test(literals_have_their_address),
        cmocka_unit_test(paths_have_brackets_and_routes),
        cmocka_unit_test(lengths_are_limited),
        cmocka_unit_test(the_same_mailbox_is_known),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
