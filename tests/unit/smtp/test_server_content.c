/* Conversations about content: DATA, BDAT, what is refused in them, and what follows. Each is
 * played in every cut of the stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "talk.h"

#define OPEN "EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#define AGAIN "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#define OPENED "250 250/2.1.0 250/2.1.5"
#define OPENED_AGAIN "250/2.1.0 250/2.1.5"
#define SAID "EHLO(c) MAIL(a@b) RCPT(c@d)"
#define SAID_AGAIN "MAIL(a@b) RCPT(c@d)"

#define W(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

#define X10 "xxxxxxxxxx"
#define X100 X10 X10 X10 X10 X10 X10 X10 X10 X10 X10

static void run(const struct talk_options *o, const struct talk_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        talk_check(o, &cases[i]);
}

static void data_ends_at_its_dot(void **state)
{
    static const struct talk_case cases[] = {
        { "empty", W(OPEN "DATA\r\n.\r\nNOOP\r\n"), OPENED " 354 250/2.0.0 250/2.0.0",
          SAID " DATA STORE()" },
        { "stuffed dots", W(OPEN "DATA\r\n..\r\n...\r\na.b\r\n.c\r\n.\r\n"),
          OPENED " 354 250/2.0.0", SAID " DATA STORE(.\r\n..\r\na.b\r\nc\r\n)" },
        { "commands in it", W(OPEN "DATA\r\nQUIT\r\nRSET\r\n.\r\n"), OPENED " 354 250/2.0.0",
          SAID " DATA STORE(QUIT\r\nRSET\r\n)" },
        { "octets above 127", W(OPEN "DATA\r\n\xFF\xC3\x28\r\n.\r\n"), OPENED " 354 250/2.0.0",
          SAID " DATA STORE(\xFF\xC3\x28\r\n)" },
        { "controls", W(OPEN "DATA\r\n\x01\x7F\x1B[m\t\v\f\r\n.\r\n"), OPENED " 354 250/2.0.0",
          SAID " DATA STORE(\x01\x7F\x1B[m\t\v\f\r\n)" },
        { "pipelined with the next",
          W(OPEN "DATA\r\na\r\n.\r\n" AGAIN "DATA\r\nb\r\n.\r\nQUIT\r\n"),
          OPENED " 354 250/2.0.0 " OPENED_AGAIN " 354 250/2.0.0 221/2.0.0",
          SAID " DATA STORE(a\r\n) " SAID_AGAIN " DATA STORE(b\r\n) CLOSE" },
        { "cannot be kept", W(OPEN "DATA\r\nnocommit\r\n.\r\nDATA\r\n"),
          OPENED " 354 451/4.3.0 503/5.5.1", SAID " DATA STORE(nocommit\r\n)!451" },
        { "cannot be stored", W(OPEN "DATA\r\nnostore\r\n..\r\nQUIT\r\n.\r\nNOOP\r\n" AGAIN),
          OPENED " 354 452/4.3.1 250/2.0.0 " OPENED_AGAIN, SAID " DATA FAIL " SAID_AGAIN },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

/* What two hops may read differently. Nothing of it is stored, nothing behind it is answered. */
static void smuggling_ends_the_session(void **state)
{
#define EVIL "MAIL FROM:<evil@x>\r\nRCPT TO:<y@z>\r\nDATA\r\nevil\r\n.\r\n"
#define SMUGGLE(octets)                                                                            \
    {                                                                                              \
#octets, W(OPEN "DATA\r\nhi" octets EVIL), OPENED " 354 554/5.5.2",                        \
            SAID " DATA RESET CLOSE"                                                               \
    }
    static const struct talk_case cases[] = {
        SMUGGLE("\n.\n"),
        SMUGGLE("\n.\r\n"),
        SMUGGLE("\r\n.\n"),
        SMUGGLE("\r.\r"),
        SMUGGLE("\r.\r\n"),
        SMUGGLE("\r\n.\r"),
        SMUGGLE("\r\r\n.\r\r\n"),
        SMUGGLE("\r\n.\r\r\n"),
        SMUGGLE("\n\r\n.\r\n"),
        SMUGGLE("\r\n\n.\r\n"),
        SMUGGLE("\n"),
        SMUGGLE("\r"),
        SMUGGLE("\0"),
        SMUGGLE("\0\r\n.\r\n"),
        SMUGGLE("\r\0\n.\r\n"),
        SMUGGLE("\r\n.\0\r\n"),
        SMUGGLE("\r\n\0.\r\n"),
        SMUGGLE("\r\n.\r\0\n"),
        SMUGGLE("\n\r.\n\r"),
        SMUGGLE("\r\n.\n\r\n"),
    };
    static const struct talk_case start[] = {
        { "at its start", W(OPEN "DATA\r\n\n.\r\n" EVIL), OPENED " 354 554/5.5.2",
          SAID " DATA RESET CLOSE" },
        { "a dot and LF at its start", W(OPEN "DATA\r\n.\n" EVIL), OPENED " 354 554/5.5.2",
          SAID " DATA RESET CLOSE" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
    run(&o, start, PT_ARRAY_LEN(start));
}

static void smuggling_ends_a_failed_message_too(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    talk_run(&t, &o, STR(OPEN "DATA\r\nnostore"));
    talk_feed(&t, &o, STR("\r\nhi\n.\n" EVIL));
    talk_read_replies(&t);
    assert_string_equal(buf_cstr(&t.codes), "220 " OPENED " 354 554/5.5.2");
    assert_string_equal(buf_cstr(&t.events), SAID " DATA FAIL CLOSE");
    talk_done(&t);
}

static void chunks_are_counted(void **state)
{
    static const struct talk_case cases[] = {
        { "one", W(OPEN "BDAT 4 LAST\r\nhi\r\nNOOP\r\n"), OPENED " 250/2.0.0 250/2.0.0",
          SAID " DATA STORE(hi\r\n)" },
        { "several", W(OPEN "BDAT 4\r\nhi\r\nBDAT 0\r\nBDAT 3\r\n.\r\nBDAT 0 LAST\r\n"),
          OPENED " 250/2.0.0 250/2.0.0 250/2.0.0 250/2.0.0", SAID " DATA STORE(hi\r\n.\r\n)" },
        { "empty", W(OPEN "BDAT 0 LAST\r\n"), OPENED " 250/2.0.0", SAID " DATA STORE()" },
        { "no dots in it", W(OPEN "BDAT 11 LAST\r\n..a\r\n.\r\nb\r\n"), OPENED " 250/2.0.0",
          SAID " DATA STORE(..a\r\n.\r\nb\r\n)" },
        { "CRLF cut by chunks", W(OPEN "BDAT 3\r\nhi\rBDAT 3 LAST\r\n\nxyNOOP\r\n"),
          OPENED " 250/2.0.0 250/2.0.0 250/2.0.0", SAID " DATA STORE(hi\r\nxy)" },
        { "no line end at its end", W(OPEN "BDAT 2 last\r\nhi"), OPENED " 250/2.0.0",
          SAID " DATA STORE(hi)" },
        { "commands in it", W(OPEN "BDAT 6\r\nQUIT\r\nbdat 6 LAST\r\nRSET\r\n"),
          OPENED " 250/2.0.0 250/2.0.0", SAID " DATA STORE(QUIT\r\nRSET\r\n)" },
        { "leading zeros", W(OPEN "BDAT 0000000000000000002 LAST\r\nhi"), OPENED " 250/2.0.0",
          SAID " DATA STORE(hi)" },
        { "RSET between", W(OPEN "BDAT 2\r\nhiRSET\r\n" AGAIN "BDAT 2 LAST\r\nho"),
          OPENED " 250/2.0.0 250/2.0.0 " OPENED_AGAIN " 250/2.0.0",
          SAID " DATA RESET " SAID_AGAIN " DATA STORE(ho)" },
        { "cannot be stored", W(OPEN "BDAT 8\r\nnostore!BDAT 6 LAST\r\nRSET\r\nNOOP\r\n"),
          OPENED " 452/4.3.1 503/5.5.1 250/2.0.0", SAID " DATA FAIL" },
        { "no place for it",
          W("EHLO c\r\nMAIL FROM:<nodata@b>\r\nRCPT TO:<c@d>\r\n"
            "BDAT 6\r\nQUIT\r\nNOOP\r\n" AGAIN),
          OPENED " 452/4.3.1 250/2.0.0 " OPENED_AGAIN,
          "EHLO(c) MAIL(nodata@b) RCPT(c@d) DATA!452 RESET " SAID_AGAIN },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void chunk_sizes_are_exact(void **state)
{
#define BAD(args)                                                                                  \
    {                                                                                              \
#args, W(OPEN "BDAT" args "\r\nhi\r\nQUIT\r\n"), OPENED " 501/5.5.4", SAID " RESET CLOSE"  \
    }
    static const struct talk_case cases[] = {
        BAD(""),
        BAD(" "),
        BAD(" x"),
        BAD(" -1"),
        BAD(" -1 LAST"),
        BAD(" +4 LAST"),
        BAD(" 0x4 LAST"),
        BAD(" 4x LAST"),
        BAD(" 4,0 LAST"),
        BAD(" 4 FIRST"),
        BAD(" 4 LAST LAST"),
        BAD(" 4  LAST"),
        BAD("  4 LAST"),
        BAD(" 4\tLAST"),
        BAD(" LAST"),
        BAD(" 18446744073709551620 LAST"),
        BAD(" 18446744073709551615"),
        BAD(" 00000000000000000004 LAST"),
    };
    static const struct talk_case huge[] = {
        { "far over the limit is not waited for", W(OPEN "BDAT 9999999999999999999\r\nhi"),
          OPENED " 552/5.3.4", SAID " RESET CLOSE" },
        { "whatever the order", W("EHLO c\r\nBDAT 9999999999999999999\r\nhi"), "250 552/5.3.4",
          "EHLO(c) CLOSE" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
    run(&o, huge, PT_ARRAY_LEN(huge));
}

static void bad_chunks_are_read_to_their_end(void **state)
{
    static const struct talk_case cases[] = {
        { "bare LF", W(OPEN "BDAT 9\r\nhi\nQUIT\r\nBDAT 6 LAST\r\nQUIT\r\nDATA\r\n" AGAIN),
          OPENED " 554/5.5.2 503/5.5.1 503/5.5.1 " OPENED_AGAIN, SAID " DATA RESET " SAID_AGAIN },
        { "bare CR", W(OPEN "BDAT 9 LAST\r\nhi\rQUIT\r\nNOOP\r\n"), OPENED " 554/5.5.2 250/2.0.0",
          SAID " DATA RESET" },
        { "NUL", W(OPEN "BDAT 9 LAST\r\nhi\0QUIT\r\nNOOP\r\n"), OPENED " 554/5.5.2 250/2.0.0",
          SAID " DATA RESET" },
        { "CR at the very end", W(OPEN "BDAT 3 LAST\r\nhi\rNOOP\r\n"),
          OPENED " 554/5.5.2 250/2.0.0", SAID " DATA RESET" },
        { "CR and then nothing", W(OPEN "BDAT 3\r\nhi\rBDAT 0 LAST\r\nNOOP\r\n"),
          OPENED " 250/2.0.0 554/5.5.2 250/2.0.0", SAID " DATA RESET" },
        { "CR and then something", W(OPEN "BDAT 3\r\nhi\rBDAT 2 LAST\r\nhoNOOP\r\n"),
          OPENED " 250/2.0.0 554/5.5.2 250/2.0.0", SAID " DATA RESET" },
        { "LF first", W(OPEN "BDAT 2\r\nhiBDAT 3 LAST\r\n\nhoNOOP\r\n"),
          OPENED " 250/2.0.0 554/5.5.2 250/2.0.0", SAID " DATA RESET" },
        { "out of order",
          W("BDAT 6\r\nQUIT\r\nEHLO c\r\nBDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<a@b>\r\n"
            "BDAT 6\r\nQUIT\r\nNOOP\r\n"),
          "503/5.5.1 250 503/5.5.1 250/2.1.0 503/5.5.1 250/2.0.0", "EHLO(c) MAIL(a@b) RESET" },
        { "no good recipient",
          W("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<refused@d>\r\n"
            "BDAT 6 LAST\r\nQUIT\r\nMAIL FROM:<x@y>\r\n"),
          "250 250/2.1.0 550/5.7.1 554/5.5.1 250/2.1.0",
          "EHLO(c) MAIL(a@b) RCPT(refused@d)!550 RESET MAIL(x@y)" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void data_and_bdat_do_not_mix(void **state)
{
    static const struct talk_case cases[] = {
        { "DATA after BDAT", W(OPEN "BDAT 2\r\nhiDATA\r\nRCPT TO:<e@f>\r\nBDAT 2 LAST\r\nho"),
          OPENED " 250/2.0.0 503/5.5.1 503/5.5.1 250/2.0.0", SAID " DATA STORE(hiho)" },
        { "BDAT after DATA", W(OPEN "DATA\r\nhi\r\n.\r\nBDAT 6 LAST\r\nQUIT\r\nNOOP\r\n"),
          OPENED " 354 250/2.0.0 503/5.5.1 250/2.0.0", SAID " DATA STORE(hi\r\n)" },
        { "MAIL after BDAT", W(OPEN "BDAT 2\r\nhiMAIL FROM:<x@y>\r\n"),
          OPENED " 250/2.0.0 503/5.5.1", SAID " DATA" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

/* The limit is 20 here. */
static void size_is_limited(void **state)
{
    static const struct talk_case cases[] = {
        { "just", W(OPEN "DATA\r\nxxxxxxxxxxxxxxxxxx\r\n.\r\n"), OPENED " 354 250/2.0.0",
          SAID " DATA STORE(xxxxxxxxxxxxxxxxxx\r\n)" },
        { "stuffing does not count", W(OPEN "DATA\r\n..\r\n..\r\n..\r\n..\r\n..\r\nxxx\r\n.\r\n"),
          OPENED " 354 250/2.0.0", SAID " DATA STORE(.\r\n.\r\n.\r\n.\r\n.\r\nxxx\r\n)" },
        { "one over", W(OPEN "DATA\r\nxxxxxxxxxxxxxxxxxxx\r\n.\r\nDATA\r\n" AGAIN),
          OPENED " 354 552/5.3.4 503/5.5.1 " OPENED_AGAIN, SAID " DATA RESET " SAID_AGAIN },
        { "far over, with commands", W(OPEN "DATA\r\n" X100 "\r\nQUIT\r\n..\r\n.\r\nNOOP\r\n"),
          OPENED " 354 552/5.3.4 250/2.0.0", SAID " DATA RESET" },
        { "chunks, just", W(OPEN "BDAT 10\r\n" X10 "BDAT 10 LAST\r\n" X10),
          OPENED " 250/2.0.0 250/2.0.0", SAID " DATA STORE(" X10 X10 ")" },
        { "chunks, one over", W(OPEN "BDAT 10\r\n" X10 "BDAT 11 LAST\r\n" X10 "xNOOP\r\n"),
          OPENED " 250/2.0.0 552/5.3.4 250/2.0.0", SAID " DATA RESET" },
        { "a chunk over", W(OPEN "BDAT 100 LAST\r\n" X100 "NOOP\r\n"),
          OPENED " 552/5.3.4 250/2.0.0", SAID " RESET" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    o.config.max_message_size = 20;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void endless_data_is_not_read_for_ever(void **state)
{
    const size_t block = 1 << 20;
    struct talk_options o = talk_defaults();
    char *octets = malloc(block);
    struct talk t;
    unsigned blocks = 0;

    (void)state;
    memset(octets, 'x', block);
    talk_run(&t, &o, STR(OPEN "DATA\r\n"));
    while (!t.closed && blocks++ < 2000)
        talk_feed(&t, &o, (struct str){ octets, block });
    talk_read_replies(&t);
    assert_string_equal(buf_cstr(&t.codes), "220 " OPENED " 354 552/5.3.4");
    assert_in_range(blocks, SMTP_SERVER_DISCARD_MAX / block, SMTP_SERVER_DISCARD_MAX / block + 2);
    talk_done(&t);
    free(octets);
}

/* Random words of the protocol: whatever comes of them, it is the same in every cut. (But where the
 * driver fails: it sees less of a message that is refused in the read that would have failed.) */
static uint32_t next(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static void add_words(struct buf *wire, uint32_t *seed)
{
    static const struct str words[] = {
        W("\r\n"),
        W("\r\n"),
        W("\r\n"),
        W("\r"),
        W("\n"),
        W("\0"),
        W("."),
        W(".\r\n"),
        W("\r\n.\r\n"),
        W("a"),
        W(" "),
        W("\xFF"),
        W("DATA\r\n"),
        W("BDAT 5\r\n"),
        W("BDAT 3 LAST\r\n"),
        W("RSET"),
        W("EHLO c\r\n"),
        W(AGAIN),
        W(OPEN),
        W(AGAIN "DATA\r\n"),
        W(OPEN "BDAT 9 LAST\r\n"),
        W("RCPT TO:<refused@x>\r\n"),
        W("NOOP\r\n"),
        W(X100),
    };
    unsigned count = 3 + next(seed) % 20;

    buf_add_str(wire, STR(OPEN));
    while (count--)
        buf_add_str(wire, words[next(seed) % PT_ARRAY_LEN(words)]);
}

static void the_cut_does_not_matter(void **state)
{
    struct talk_options o = talk_defaults();

    (void)state;
    o.config.max_message_size = 150;
    for (uint32_t seed = 1; seed <= 400; seed++) {
        uint32_t s = seed;
        struct talk whole;
        struct talk_case c = { "random" };
        struct buf wire;

        buf_init(&wire, 1 << 16);
        add_words(&wire, &s);
        talk_run(&whole, &o, buf_str(&wire));
        c.wire = buf_str(&wire);
        c.codes = whole.codes.n > 3 ? buf_cstr(&whole.codes) + 4 : "";
        c.events = buf_cstr(&whole.events);
        if (memchr(c.events, 0, whole.events.n) == NULL)
            talk_check(&o, &c);
        talk_done(&whole);
        buf_done(&wire);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(data_ends_at_its_dot),
        cmocka_unit_test(smuggling_ends_the_session),
        cmocka_unit_test(smuggling_ends_a_failed_message_too),
        cmocka_unit_test(chunks_are_counted),
        cmocka_unit_test(chunk_sizes_are_exact),
        cmocka_unit_test(bad_chunks_are_read_to_their_end),
        cmocka_unit_test(data_and_bdat_do_not_mix),
        cmocka_unit_test(size_is_limited),
        cmocka_unit_test(endless_data_is_not_read_for_ever),
        cmocka_unit_test(the_cut_does_not_matter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
