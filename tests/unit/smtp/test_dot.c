/* Where a message ends, and the scan below it: every cut, and against a plain reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "smtp/dot.h"
#include "smtp/scan.h"

#define S(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

static const struct dot_case {
    const char *name;
    struct str wire, message, rest;
    enum smtp_dot_status status;
} cases[] = {
    { "empty message", S(".\r\n"), S(""), S(""), SMTP_DOT_END },
    { "stuffed dot", S("..a\r\n.\r\n"), S(".a\r\n"), S(""), SMTP_DOT_END },
    { "a dot that should have been stuffed", S(".a\r\n.\r\n"), S("a\r\n"), S(""), SMTP_DOT_END },
    { "next command kept", S("a\r\n.\r\nQUIT\r\n"), S("a\r\n"), S("QUIT\r\n"), SMTP_DOT_END },
    { "still open", S("a\r\n.b"), S("a\r\nb"), S(""), SMTP_DOT_MORE },
    { "dots elsewhere", S("a.\r\nb.c\r\n.\r\n"), S("a.\r\nb.c\r\n"), S(""), SMTP_DOT_END },
    { "LF.CRLF is no end", S("a\n.\r\nMAIL"), S(""), S("\n.\r\nMAIL"), SMTP_DOT_BARE },
    { "CR.CR is no end", S("a\r.\rMAIL"), S(""), S(".\rMAIL"), SMTP_DOT_BARE },
    { "CRLF.LF is no end", S("a\r\n.\nMAIL"), S(""), S("\nMAIL"), SMTP_DOT_BARE },
    { "CRLF.CR is no end", S("a\r\n.\rMAIL"), S(""), S("MAIL"), SMTP_DOT_BARE },
    { "CR CR LF", S("a\r\r\n.\r\n"), S(""), S("\r\n.\r\n"), SMTP_DOT_BARE },
    { "NUL", S("a\0\r\n.\r\n"), S(""), S("\0\r\n.\r\n"), SMTP_DOT_BARE },
};

/* Feeds the wire cut into reads of `size` octets; the answer must not change. */
static void check(const struct dot_case *c, size_t size)
{
    size_t taken = 0;
    struct smtp_dot dot;
    struct smtp_dot_step step = { .status = SMTP_DOT_MORE };
    struct buf got;

    buf_init(&got, 256);
    smtp_dot_init(&dot);
    while (step.status == SMTP_DOT_MORE && taken < c->wire.n) {
        step = smtp_dot_read(&dot, str_head(str_from(c->wire, taken), size));
        taken += step.taken;
        buf_add_str(&got, step.content);
    }
    assert_int_equal(step.status, c->status);
    if (c->status != SMTP_DOT_BARE)
        assert_true(str_eq(buf_str(&got), c->message));
    assert_true(str_eq(str_from(c->wire, taken), c->rest));
    buf_done(&got);
}

static void every_cut_gives_the_same_message(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        for (size_t size = 1; size <= cases[i].wire.n; size++) {
            print_message("%s, %zu at a time\n", cases[i].name, size);
            check(&cases[i], size);
        }
}

/* ---- the scan ---- */

static struct smtp_scan reference(struct str in, char before, bool dots)
{
    struct smtp_scan r = { 0 };

    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i], last = i ? in.p[i - 1] : before;

        if (c == 0)
            break;
        if (c == '\n' && last != '\r')
            break;
        if (last == '\r' && c != '\n')
            break;
        if (dots && last == '\n' && c == '.')
            break;
        if (c & 0x80)
            r.eight_bit = true;
        r.clean++;
    }
    return r;
}

static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Mostly clean lines, now and then something that needs a thought. */
static void fill(char *p, size_t n, uint32_t *seed)
{
    static const char odd[] = { '\r', '\n', '.', 0, (char)0x80, (char)0x8D, (char)0x8A, 'x' };
    unsigned rate = 1 + next(seed) % 200;

    for (size_t i = 0; i < n; i++)
        p[i] = next(seed) % rate ? 'a' : odd[next(seed) % sizeof odd];
    for (size_t i = 1 + next(seed) % 70; i < n; i += 2 + next(seed) % 80) {
        p[i - 1] = '\r';
        p[i] = '\n';
    }
}

static void all_implementations_agree(void **state)
{
    static const char befores[] = { 'x', '\r', '\n' };
    uint32_t seed = 42;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        size_t n = next(&seed) % 300;
        char *p = malloc(n + 1);
        char before = befores[next(&seed) % 3];
        bool dots = next(&seed) & 1;
        struct smtp_scan want, got;
        struct str in = { p + 1, n };

        fill(p + 1, n, &seed);
        want = reference(in, before, dots);
        for (int kind = SMTP_SCAN_SCALAR; kind <= SMTP_SCAN_AVX2; kind++) {
            if (!smtp_scan_with((enum smtp_scan_kind)kind, in, before, dots, &got))
                continue;
            assert_int_equal(got.clean, want.clean);
            assert_int_equal(got.eight_bit, want.eight_bit);
        }
        got = smtp_scan(in, before, dots);
        assert_int_equal(got.clean, want.clean);
        free(p);
    }
}

/* Each octet that needs a thought, alone, at every place of two blocks. */
static void every_place_is_looked_at(void **state)
{
    static const char odd[] = { 0, '\n', '\r' };
    char text[150];

    (void)state;
    for (size_t n = 0; n <= sizeof text; n++)
        for (size_t at = 0; at < n; at++)
            for (size_t k = 0; k < sizeof odd; k++)
                for (int kind = SMTP_SCAN_SCALAR; kind <= SMTP_SCAN_AVX2; kind++) {
                    struct smtp_scan got, want;

                    memset(text, 'a', n);
                    text[at] = odd[k];
                    want = reference((struct str){ text, n }, 'x', true);
                    if (smtp_scan_with((enum smtp_scan_kind)kind, (struct str){ text, n }, 'x',
                                       true, &got))
                        assert_int_equal(got.clean, want.clean);
                }
}

/* ---- the reader against a plain decoder ---- */

/* Splits at CRLF, as the RFC tells it. False: something bare. */
static bool decode(struct str wire, struct buf *out, size_t *taken)
{
    size_t from = 0;

    for (size_t i = 0; i < wire.n; i++) {
        if (wire.p[i] == 0 || (wire.p[i] == '\n' && (i == 0 || wire.p[i - 1] != '\r')) ||
            (wire.p[i] == '\r' && i + 1 < wire.n && wire.p[i + 1] != '\n'))
            return false;
        if (wire.p[i] != '\n')
            continue;
        if (i - from == 2 && wire.p[from] == '.') {
            *taken = i + 1;
            return true;
        }
        from += wire.p[from] == '.';
        buf_add(out, wire.p + from, i + 1 - from);
        from = i + 1;
    }
    *taken = 0;
    return true;
}

static void the_reader_agrees_with_a_plain_decoder(void **state)
{
    static const char *const words[] = { "\r\n", "\r\n", "\r\n.", "\r\n..", "\r\n.\r\n", "a",
                                         "b.",   "cc",   "\xFF",  "\r",     "\n",        "." };
    uint32_t seed = 7;

    (void)state;
    for (unsigned round = 0; round < 30000; round++) {
        struct buf wire, want, got;
        size_t taken = 0, used = 0;
        struct smtp_dot_step step = { .status = SMTP_DOT_MORE };
        struct smtp_dot dot;
        unsigned few = next(&seed) % 4 ? 9 : PT_ARRAY_LEN(words);
        bool good;

        buf_init(&wire, 1 << 16);
        buf_init(&want, 1 << 16);
        buf_init(&got, 1 << 16);
        for (unsigned k = next(&seed) % 40; k; k--)
            buf_add_str(&wire, str_of(words[next(&seed) % few]));
        BUF_LIT(&wire, "\r\n.\r\nNEXT");
        good = decode(buf_str(&wire), &want, &taken);
        smtp_dot_init(&dot);
        while (step.status == SMTP_DOT_MORE && used < wire.n) {
            step = smtp_dot_read(&dot,
                                 str_head(str_from(buf_str(&wire), used), 1 + next(&seed) % 100));
            used += step.taken;
            assert_int_equal(step.eight_bit, str_has_8bit(step.content));
            buf_add_str(&got, step.content);
        }
        assert_int_equal(step.status, good ? SMTP_DOT_END : SMTP_DOT_BARE);
        if (good) {
            assert_int_equal(used, taken);
            assert_true(str_eq(buf_str(&got), buf_str(&want)));
        }
        buf_done(&wire);
        buf_done(&want);
        buf_done(&got);
    }
}

static void chunks_know_no_dots(void **state)
{
    struct smtp_dot dot;
    struct smtp_dot_step step;

    (void)state;
    smtp_dot_init(&dot);
    step = smtp_dot_read_chunk(&dot, STR("..a\r\n.\r\n..\r"));
    assert_int_equal(step.status, SMTP_DOT_MORE);
    assert_true(str_eq(step.content, STR("..a\r\n.\r\n..\r")));
    assert_false(smtp_dot_chunks_may_end(&dot));
    step = smtp_dot_read_chunk(&dot, STR("\n."));
    assert_int_equal(step.status, SMTP_DOT_MORE);
    assert_true(smtp_dot_chunks_may_end(&dot));
    step = smtp_dot_read_chunk(&dot, STR("\n"));
    assert_int_equal(step.status, SMTP_DOT_BARE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_cut_gives_the_same_message),
        cmocka_unit_test(all_implementations_agree),
        cmocka_unit_test(every_place_is_looked_at),
        cmocka_unit_test(the_reader_agrees_with_a_plain_decoder),
        cmocka_unit_test(chunks_know_no_dots),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
