#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "smtp/client.h"
#include "smtp/client_reply.h"

static const struct reply_case {
    const char *name;
    struct str wire;
    uint16_t code; /* 0: broken */
    struct str text;
    uint8_t status[3];
} cases[] = {
    { "one line", STR("250 Ok\r\n"), 250, STR("Ok"), { 2, 0, 0 } },
    { "code alone", STR("250\r\n"), 250, STR(""), { 2, 0, 0 } },
    { "code and space", STR("250 \r\n"), 250, STR(""), { 2, 0, 0 } },
    { "LF ends a line too", STR("250 Ok\n"), 250, STR("Ok"), { 2, 0, 0 } },
    { "enhanced status",
      STR("550 5.1.1 No such user\r\n"),
      550,
      STR("5.1.1 No such user"),
      { 5, 1, 1 } },
    { "two digits in a status", STR("450 4.7.23 x\r\n"), 450, STR("4.7.23 x"), { 4, 7, 23 } },
    { "status alone", STR("250 2.0.0\r\n"), 250, STR("2.0.0"), { 2, 0, 0 } },
    { "status of another class", STR("550 2.1.1 x\r\n"), 550, STR("2.1.1 x"), { 5, 0, 0 } },
    { "an address is no status", STR("550 5.1.1.1 x\r\n"), 550, STR("5.1.1.1 x"), { 5, 0, 0 } },
    { "several lines",
      STR("550-No\r\n550-such\r\n550 user\r\n"),
      550,
      STR("No such user"),
      { 5, 0, 0 } },
    { "a status on each line stands once",
      STR("550-5.1.1 No\r\n550-5.1.1 such\r\n550 5.1.1 user\r\n"),
      550,
      STR("5.1.1 No such user"),
      { 5, 1, 1 } },
    { "an empty line between", STR("550-a\r\n550-\r\n550 b\r\n"), 550, STR("a b"), { 5, 0, 0 } },
    { "control characters",
      STR("550 a\tb\033[2J\x7f\rc\r\n"),
      550,
      STR("a?b?[2J??c"),
      { 5, 0, 0 } },
    { "UTF-8 stays", STR("550 caf\xc3\xa9\r\n"), 550, STR("caf\xc3\xa9"), { 5, 0, 0 } },
    { "Latin-1 does not", STR("550 caf\xe9\r\n"), 550, STR("caf?"), { 5, 0, 0 } },
    { "nor do C1 controls",
      STR("550 \xc2\x9b"
          "2J\r\n"),
      550,
      STR("??2J"),
      { 5, 0, 0 } },
    { "other codes on one reply", STR("250-a\r\n550 b\r\n"), 0 },
    { "no code", STR("Ok\r\n"), 0 },
    { "empty line", STR("\r\n"), 0 },
    { "two digits", STR("25 Ok\r\n"), 0 },
    { "four digits", STR("2500 Ok\r\n"), 0 },
    { "class 1", STR("150 x\r\n"), 0 },
    { "class 6", STR("650 x\r\n"), 0 },
    { "HTTP", STR("HTTP/1.1 400 Bad Request\r\n"), 0 },
    { "NUL for a code", STR("\0\0\0\r\n"), 0 },
};

/* Reads until the reply is complete or broken; input comes `size` octets at a time. */
static enum client_reply_status read_all(struct client_reply *r, struct str wire, size_t size)
{
    enum client_reply_status status = CLIENT_REPLY_MORE;
    struct str line;

    client_reply_init(r);
    while (wire.n && status != CLIENT_REPLY_END && status != CLIENT_REPLY_BROKEN) {
        struct str in = str_head(wire, size);

        wire = str_from(wire, in.n);
        while (in.n && status != CLIENT_REPLY_END && status != CLIENT_REPLY_BROKEN)
            status = client_reply_read(r, &in, &line);
    }
    return status;
}

static void every_cut_gives_the_same_reply(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        for (size_t size = 1; size <= cases[i].wire.n; size++) {
            struct client_reply r;
            enum client_reply_status status = read_all(&r, cases[i].wire, size);
            uint8_t got[3];

            print_message("%s, %zu at a time\n", cases[i].name, size);
            assert_int_equal(status, cases[i].code ? CLIENT_REPLY_END : CLIENT_REPLY_BROKEN);
            if (!cases[i].code)
                continue;
            assert_int_equal(r.code, cases[i].code);
            assert_true(str_eq(client_reply_text(&r), cases[i].text));
            assert_false(client_reply_pending(&r));
            PT_IGNORE(smtp_client_status(r.code, client_reply_text(&r), got), "both ways count");
            assert_memory_equal(got, cases[i].status, 3);
        }
}

static void nothing_endless_is_read_for_ever(void **state)
{
    static char wire[400000];
    struct client_reply r;

    (void)state;
    memset(wire, '2', sizeof wire);
    assert_int_equal(read_all(&r, (struct str){ wire, sizeof wire }, 1000), CLIENT_REPLY_BROKEN);
    for (size_t i = 0; i + 6 <= sizeof wire; i += 6)
        memcpy(wire + i, "250-a\n", 6);
    assert_int_equal(read_all(&r, (struct str){ wire, sizeof wire - 6 }, 4096),
                     CLIENT_REPLY_BROKEN);
    assert_int_equal(r.lines, CLIENT_REPLY_LINES_MAX + 1);
}

static void a_long_text_is_cut_at_a_character(void **state)
{
    char wire[2000] = "550 ";
    struct client_reply r;

    (void)state;
    for (size_t offset = 0; offset < 3; offset++) {
        size_t n = 4;

        memcpy(wire + n, "aaa", offset);
        for (n += offset; n < 1500; n += 3)
            memcpy(wire + n, "\xe2\x82\xac", 3);
        memcpy(wire + n, "\r\n", 2);
        assert_int_equal(read_all(&r, (struct str){ wire, n + 2 }, 100), CLIENT_REPLY_END);
        assert_true(str_is_utf8(client_reply_text(&r)));
        assert_in_range(r.text_n, CLIENT_REPLY_TEXT_MAX - 2, CLIENT_REPLY_TEXT_MAX);
    }
}

static void an_overlong_line_counts_by_its_code(void **state)
{
    static char wire[5000];

    (void)state;
    memset(wire, 'x', sizeof wire);
    memcpy(wire, "550 5.1.1 ", 10);
    memcpy(wire + sizeof wire - 2, "\r\n", 2);
    for (size_t cut = 1; cut <= sizeof wire; cut += 499) {
        enum client_reply_status status = CLIENT_REPLY_MORE;
        struct client_reply r;
        struct str line;

        client_reply_init(&r);
        for (size_t at = 0; at < sizeof wire; at += cut) {
            struct str in = { wire + at, PT_MIN(cut, sizeof wire - at) };

            assert_int_equal(status, CLIENT_REPLY_MORE);
            status = client_reply_read(&r, &in, &line);
        }
        assert_int_equal(status, CLIENT_REPLY_END);
        assert_int_equal(r.code, 550);
        assert_int_equal(r.text_n, CLIENT_REPLY_TEXT_MAX);
        assert_false(client_reply_pending(&r));
    }
}

static void a_status_of_our_own_needs_no_code(void **state)
{
    uint8_t got[3];

    (void)state;
    assert_true(smtp_client_status(0, STR("5.6.7 x"), got));
    assert_memory_equal(got, ((uint8_t[]){ 5, 6, 7 }), 3);
    assert_false(smtp_client_status(450, STR("5.6.7 x"), got));
    assert_memory_equal(got, ((uint8_t[]){ 4, 0, 0 }), 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_reply),
        cmocka_unit_test(nothing_endless_is_read_for_ever),
        cmocka_unit_test(a_long_text_is_cut_at_a_character),
        cmocka_unit_test(an_overlong_line_counts_by_its_code),
        cmocka_unit_test(a_status_of_our_own_needs_no_code),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
