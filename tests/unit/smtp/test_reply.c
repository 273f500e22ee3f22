#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "smtp/reply.h"

#define S(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

static const struct reply_case {
    struct smtp_reply reply;
    const char *wire;
} cases[] = {
    { { 250, { 2, 1, 0 }, S("OK") }, "250 2.1.0 OK\r\n" },
    { { 354, { 0 }, S("go") }, "354 go\r\n" },
    { { 250, { 2, 0, 0 }, S("") }, "250 2.0.0 \r\n" },
    { { 250, { 2, 0, 0 }, { NULL, 0 } }, "250 2.0.0 \r\n" },
    { { 550, { 5, 7, 123 }, S("a\nb\nc") }, "550-5.7.123 a\r\n550-5.7.123 b\r\n550 5.7.123 c\r\n" },
    { { 214, { 0 }, S("a\n\nb") }, "214-a\r\n214-\r\n214 b\r\n" },
    { { 214, { 0 }, S("a\n") }, "214 a\r\n" },
    { { 550, { 5, 0, 0 }, S("a\rb\0c\x1B[31m\x7F\td") }, "550 5.0.0 a?b?c?[31m??d\r\n" },
    { { 550, { 5, 0, 0 }, S("\xC3\xA4 \xFF \xC3 \xC2\x9B \xED\xA0\x80") },
      "550 5.0.0 \xC3\xA4 ? ? ?? ???\r\n" },
};

static void replies_go_over_the_wire(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct buf out;

        buf_init(&out, 4096);
        smtp_reply_write(&out, &cases[i].reply);
        assert_string_equal(buf_cstr(&out), cases[i].wire);
        buf_done(&out);
    }
}

/* Splits what was written into lines, checks each, and puts the text together again. */
static void check_folding(struct str text, bool spaces)
{
    struct smtp_reply reply = { 550, { 5, 7, 1 }, text };
    struct buf out, joined;
    struct str left;

    buf_init(&out, 1 << 20);
    buf_init(&joined, 1 << 20);
    smtp_reply_write(&out, &reply);
    for (left = buf_str(&out); left.n;) {
        ptrdiff_t cr = str_find(left, '\r', 0);
        struct str line = str_head(left, (size_t)cr);

        assert_true(cr > 0 && cr + 2 <= 512 && left.p[cr + 1] == '\n');
        left = str_from(left, (size_t)cr + 2);
        assert_true(str_starts_nocase(line, left.n ? STR("550-5.7.1 ") : STR("550 5.7.1 ")));
        assert_true(str_is_utf8(line));
        if (joined.n && spaces)
            buf_add_char(&joined, ' ');
        buf_add_str(&joined, str_from(line, 10));
    }
    assert_true(str_eq(buf_str(&joined), text));
    buf_done(&out);
    buf_done(&joined);
}

static void long_texts_are_folded(void **state)
{
    struct buf text;

    (void)state;
    buf_init(&text, 1 << 16);
    for (int i = 0; i < 2000; i++) {
        buf_add_char(&text, i % 7 == 6 ? ' ' : 'a');
        if (i % 7 != 6)
            check_folding(buf_str(&text), true);
    }
    buf_clear(&text);
    for (int i = 0; i < 2000; i++) {
        buf_add_str(&text, i % 3 ? STR("\xE2\x82\xAC") : STR("x"));
        check_folding(buf_str(&text), false);
    }
    buf_done(&text);
}

static const struct smtp_reply *const all[] = {
#define X(name, code, a, b, c, text) &smtp_reply_##name,
#include "smtp/replies.tbl.h"
#undef X
};

static void the_constants_agree_with_themselves(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(all); i++) {
        const struct smtp_reply *r = all[i];

        assert_in_range(r->code, 200, 599);
        assert_true(r->status[0] == 0 || r->status[0] == r->code / 100);
        assert_true(r->text.n > 0 && r->text.n < 400);
        for (size_t k = 0; k < r->text.n; k++)
            assert_in_range(r->text.p[k], ' ', '~');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(replies_go_over_the_wire),
        cmocka_unit_test(long_texts_are_folded),
        cmocka_unit_test(the_constants_agree_with_themselves),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
