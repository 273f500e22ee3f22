#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "base/rng.h"
#include "smtp/stuff.h"

static const struct stuff_case {
    const char *name;
    struct str content, wire;
    bool bare;
} cases[] = {
    { "empty message", STR(""), STR(".\r\n") },
    { "one line", STR("a\r\n"), STR("a\r\n.\r\n") },
    { "no line end at the end", STR("a"), STR("a\r\n.\r\n") },
    { "a dot first", STR(".\r\n"), STR("..\r\n.\r\n") },
    { "dots first in lines", STR(".a\r\n.b\r\nc.\r\n..\r\n"),
      STR("..a\r\n..b\r\nc.\r\n...\r\n.\r\n") },
    { "a dot alone at the end", STR("a\r\n."), STR("a\r\n..\r\n.\r\n") },
    { "empty lines", STR("\r\n\r\n.\r\n\r\n"), STR("\r\n\r\n..\r\n\r\n.\r\n") },
    { "a dot after 63 octets",
      STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n.\r\n"),
      STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n..\r\n.\r\n") },
    { "a dot after 64 octets",
      STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n.\r\n"),
      STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n..\r\n.\r\n") },
    { "a line end over 64 octets",
      STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n.\r\n"),
      STR("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n..\r\n.\r\n") },
    { "bare LF", STR("a\nb"), STR(""), true },
    { "bare LF first", STR("\na"), STR(""), true },
    { "bare CR", STR("a\rb"), STR(""), true },
    { "bare CR last", STR("a\r"), STR(""), true },
    { "two CR", STR("a\r\r\n"), STR(""), true },
    { "LF after CRLF", STR("a\r\n\nb"), STR(""), true },
    { "half an end", STR("a\n.\r\n"), STR(""), true },
};

/* Gives the content cut into pieces of `size` octets with `max` array entries at a time. */
static bool stuff(struct str content, bool dots, size_t size, int max, struct buf *out)
{
    struct smtp_stuff s;
    struct str end;

    smtp_stuff_init(&s, dots);
    while (content.n) {
        struct str piece = str_head(content, size);
        enum smtp_stuff_status status;

        content = str_from(content, piece.n);
        do {
            struct iovec iov[64];
            int count = 0;

            status = smtp_stuff_next(&s, &piece, iov, &count, max);
            assert_true(count <= max);
            for (int i = 0; i < count; i++) {
                assert_true(iov[i].iov_len > 0);
                buf_add(out, iov[i].iov_base, iov[i].iov_len);
            }
        } while (status == SMTP_STUFF_FULL);
        if (status == SMTP_STUFF_BARE)
            return false;
        assert_int_equal(piece.n, 0);
    }
    if (!smtp_stuff_end(&s, &end))
        return false;
    buf_add_str(out, end);
    return true;
}

static void every_cut_gives_the_same_octets(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        for (size_t size = 1; size <= cases[i].content.n + 1; size++)
            for (int max = 2; max < 6; max++) {
                struct buf out;

                buf_init(&out, 4096);
                print_message("%s, %zu at a time\n", cases[i].name, size);
                assert_int_equal(stuff(cases[i].content, true, size, max, &out), !cases[i].bare);
                if (!cases[i].bare) {
                    assert_int_equal(out.n, cases[i].wire.n);
                    assert_memory_equal(out.p, cases[i].wire.p, out.n);
                }
                buf_done(&out);
            }
}

static void without_dots_content_goes_as_it_is(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        for (size_t size = 1; size <= cases[i].content.n + 1; size++) {
            struct buf out;

            buf_init(&out, 4096);
            assert_int_equal(stuff(cases[i].content, false, size, 2, &out), !cases[i].bare);
            if (!cases[i].bare)
                assert_true(str_eq(buf_str(&out), cases[i].content));
            buf_done(&out);
        }
}

/* The plainest way to say what is right: octet by octet. */
static bool reference(struct str content, struct buf *out)
{
    bool start = true;

    for (size_t i = 0; i < content.n; i++) {
        char c = content.p[i];

        if (c == '\n' && (i == 0 || content.p[i - 1] != '\r'))
            return false;
        if (c == '\r' && (i + 1 == content.n || content.p[i + 1] != '\n'))
            return false;
        if (c == '.' && start)
            buf_add_char(out, '.');
        buf_add_char(out, c);
        start = c == '\n';
    }
    buf_add(out, start ? ".\r\n" : "\r\n.\r\n", start ? 3 : 5);
    return true;
}

static void random_content_agrees_with_octet_by_octet(void **state)
{
    struct rng rng;
    unsigned good = 0;

    (void)state;
    rng_seed(&rng, 1);
    for (int round = 0; round < 20000; round++) {
        char content[400];
        size_t n = 0, length = rng_below(&rng, 300);
        struct buf expected, out;
        bool right;

        while (n < length) {
            static const char *const parts[] = { "\r\n", ".",  "\r\n.", "aaaaaaaaaaaaaa",
                                                 "b",    "\r", "\n" };
            const char *part = parts[rng_below(&rng, rng_below(&rng, 20) ? 5 : 7)];

            memcpy(content + n, part, strlen(part));
            n += strlen(part);
        }
        buf_init(&expected, 4096);
        buf_init(&out, 4096);
        right = reference((struct str){ content, n }, &expected);
        good += right;
        assert_int_equal(stuff((struct str){ content, n }, true, 1 + rng_below(&rng, 200),
                               2 + (int)rng_below(&rng, 20), &out),
                         right);
        if (right)
            assert_true(str_eq(buf_str(&out), buf_str(&expected)));
        buf_done(&expected);
        buf_done(&out);
    }
    assert_in_range(good, 1000, 19000);
}

static void nothing_bare_is_ever_given_out(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        for (size_t size = 1; cases[i].bare && size <= cases[i].content.n; size++) {
            struct buf out;

            buf_init(&out, 4096);
            assert_false(stuff(cases[i].content, true, size, 2, &out));
            for (size_t k = 0; k < out.n; k++) {
                if (out.p[k] == '\r')
                    assert_true(k + 1 < out.n && out.p[k + 1] == '\n');
                if (out.p[k] == '\n')
                    assert_true(k > 0 && out.p[k - 1] == '\r');
            }
            buf_done(&out);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_octets),
        cmocka_unit_test(without_dots_content_goes_as_it_is),
        cmocka_unit_test(random_content_agrees_with_octet_by_octet),
        cmocka_unit_test(nothing_bare_is_ever_given_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
