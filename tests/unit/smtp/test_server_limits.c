/* Limits of a session, its endings, and what it costs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "talk.h"

#define HELLO "EHLO c\r\n"
#define OPEN HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#define OPENED "250 250/2.1.0 250/2.1.5"
#define MESSAGE "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n.\r\n"
#define STORED "250/2.1.0 250/2.1.5 354 250/2.0.0"
#define SAID_STORED "MAIL(a@b) RCPT(c@d) DATA STORE()"

#define W(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

static const struct smtp_reply shutting_down = { 421, { 4, 3, 2 }, { "down", 4 } };
static const struct smtp_reply not_permitted = { 554, { 5, 7, 1 }, { "not you", 7 } };

static void run(const struct talk_options *o, const struct talk_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        talk_check(o, &cases[i]);
}

static void errors_are_counted(void **state)
{
    static const struct talk_case cases[] = {
        { "the third ends it", W("A\r\nB\r\nC\r\nNOOP\r\n"), "500/5.5.1 500/5.5.1 421/4.7.0",
          "CLOSE" },
        { "of every kind", W("\n\r\nMAIL\r\nEHLO refused\r\nNOOP\r\n"),
          "500/5.5.2 503/5.5.1 421/4.7.0", "EHLO(refused)!550 CLOSE" },
        { "good commands between do not help", W("A\r\nNOOP\r\nB\r\nNOOP\r\nC\r\n"),
          "500/5.5.1 250/2.0.0 500/5.5.1 250/2.0.0 421/4.7.0", "CLOSE" },
        { "a message does", W(HELLO "A\r\nB\r\n" MESSAGE "A\r\nB\r\nC\r\n"),
          "250 500/5.5.1 500/5.5.1 " STORED " 500/5.5.1 500/5.5.1 421/4.7.0",
          "EHLO(c) " SAID_STORED " CLOSE" },
        { "recipients are counted apart",
          W(OPEN "RCPT TO:<refused@a>\r\nRCPT TO:<deferred@a>\r\nRCPT TO:<deferred@a>\r\n"
                 "RCPT TO:<refused@a>\r\nA\r\nRCPT TO:<refused@a>\r\n"
                 "RCPT TO:<refused@a>\r\nNOOP\r\n"),
          OPENED " 550/5.7.1 451/4.7.1 451/4.7.1 550/5.7.1 500/5.5.1 550/5.7.1 421/4.7.0",
          "EHLO(c) MAIL(a@b) RCPT(c@d) RCPT(refused@a)!550 RCPT(deferred@a)!451 "
          "RCPT(deferred@a)!451 RCPT(refused@a)!550 RCPT(refused@a)!550 RCPT(refused@a)!550 RESET "
          "CLOSE" },
        { "a transaction dies with it", W(OPEN "A\r\nB\r\nC\r\n"),
          OPENED " 500/5.5.1 500/5.5.1 421/4.7.0", "EHLO(c) MAIL(a@b) RCPT(c@d) RESET CLOSE" },
        { "chunks out of order count", W("BDAT 0\r\nBDAT 0\r\nBDAT 0\r\n"),
          "503/5.5.1 503/5.5.1 421/4.7.0", "CLOSE" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    o.config.max_errors = 3;
    o.config.max_refused = 4;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void recipients_and_messages_are_limited(void **state)
{
    static const struct talk_case cases[] = {
        { "recipients",
          W(OPEN "RCPT TO:<e@f>\r\nRCPT TO:<refused@x>\r\nRCPT TO:<g@h>\r\n"
                 "RCPT TO:<i@j>\r\nRCPT TO:<i@j>\r\nDATA\r\n"),
          OPENED " 250/2.1.5 550/5.7.1 250/2.1.5 452/4.5.3 452/4.5.3 354",
          "EHLO(c) MAIL(a@b) RCPT(c@d) RCPT(e@f) RCPT(refused@x)!550 RCPT(g@h) DATA" },
        { "messages", W(HELLO MESSAGE MESSAGE "NOOP\r\nMAIL FROM:<a@b>\r\nNOOP\r\n"),
          "250 " STORED " " STORED " 250/2.0.0 421/4.7.0",
          "EHLO(c) " SAID_STORED " " SAID_STORED " CLOSE" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    o.config.max_messages = 2;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void add_times(struct buf *b, char c, size_t n)
{
    while (n--)
        buf_add_char(b, c);
}

/* "NOOP xxx…" of `n` octets with its CRLF, then RSET. */
static void check_line(size_t n, const char *codes, const char *events)
{
    struct talk_options o = talk_defaults();
    struct talk_case c = { "long line", .codes = codes, .events = events };
    struct buf wire;

    buf_init(&wire, 1 << 20);
    BUF_LIT(&wire, "NOOP ");
    add_times(&wire, 'x', n - 7);
    BUF_LIT(&wire, "\r\nRSET\r\n");
    c.wire = buf_str(&wire);
    talk_check(&o, &c);
    buf_done(&wire);
}

static void overlong_lines_are_answered_once(void **state)
{
    (void)state;
    check_line(512, "250/2.0.0 250/2.0.0", "");
    check_line(SMTP_SERVER_LINE_MAX - 1, "250/2.0.0 250/2.0.0", "");
    check_line(SMTP_SERVER_LINE_MAX, "250/2.0.0 250/2.0.0", "");
    check_line(SMTP_SERVER_LINE_MAX + 1, "500/5.5.2 250/2.0.0", "");
    check_line(SMTP_SERVER_LINE_MAX + 2, "500/5.5.2 250/2.0.0", "");
    check_line(SMTP_SERVER_LINE_GIVE_UP, "500/5.5.2 250/2.0.0", "");
}

static void endless_lines_end_the_session(void **state)
{
    struct talk_options o = talk_defaults();
    char octets[4096];
    struct talk t;

    (void)state;
    memset(octets, 'x', sizeof octets);
    talk_run(&t, &o, STR(""));
    for (size_t n = 0; n < 2 * SMTP_SERVER_LINE_GIVE_UP && !t.closed; n += sizeof octets)
        talk_feed(&t, &o, (struct str){ octets, sizeof octets });
    talk_read_replies(&t);
    assert_string_equal(buf_cstr(&t.codes), "220 500/5.5.2 421/4.7.0");
    assert_true(t.closed);
    assert_false(smtp_server_quit(&t.server));
    talk_done(&t);
}

/* The longest line that all extensions together can ask for is within the limit. */
static void the_longest_legal_line_is_taken(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;
    struct buf wire;

    (void)state;
    buf_init(&wire, 1 << 16);
    BUF_LIT(&wire, "EHLO c\r\nMAIL FROM:<");
    add_times(&wire, 'l', 64);
    BUF_LIT(&wire, "@");
    for (int i = 0; i < 3; i++) {
        add_times(&wire, 'd', 59);
        BUF_LIT(&wire, ".");
    }
    BUF_LIT(&wire, "d> SIZE=00000000000000000100 BODY=8BITMIME SMTPUTF8 RET=FULL ENVID=");
    add_times(&wire, 'e', 100);
    BUF_LIT(&wire, "\r\nRCPT TO:<c@d> NOTIFY=SUCCESS,FAILURE,DELAY ORCPT=rfc822;");
    add_times(&wire, 'o', 493);
    BUF_LIT(&wire, "\r\nRCPT TO:<c@d> ORCPT=rfc822;");
    add_times(&wire, 'o', 494);
    BUF_LIT(&wire, "\r\nRSET\r\nMAIL FROM:<a@b> ENVID=");
    add_times(&wire, 'e', 101);
    BUF_LIT(&wire, "\r\n");
    talk_run(&t, &o, buf_str(&wire));
    assert_string_equal(buf_cstr(&t.codes),
                        "220 250 250/2.1.0 250/2.1.5 501/5.5.4 250/2.0.0 501/5.5.4");
    talk_done(&t);
    buf_done(&wire);
}

/* ---- endings ---- */

static void a_refusal_stands_in_place_of_the_greeting(void **state)
{
    struct talk_options o = talk_defaults();
    struct smtp_server s;
    struct buf out;

    (void)state;
    buf_init(&out, 4096);
    smtp_server_init(&s, &o.config, false);
    smtp_server_refuse(&s, &out, &not_permitted);
    assert_string_equal(buf_cstr(&out), "554 5.7.1 not you\r\n");
    assert_int_equal(smtp_server_feed(&s, STR("NOOP\r\n"), &out).want, SMTP_WANT_CLOSE);
    smtp_server_done(&s);
    buf_done(&out);
}

static void silence_ends_a_session_anywhere(void **state)
{
    static const struct str wires[] = {
        W(""),
        W("NO"),
        W(HELLO),
        W(OPEN),
        W(OPEN "DATA\r\nhi"),
        W(OPEN "BDAT 9\r\nhi"),
        W(OPEN "DATA\r\nnostore"),
    };
    struct talk_options o = talk_defaults();

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(wires); i++) {
        struct talk t;

        talk_run(&t, &o, wires[i]);
        buf_clear(&t.replies);
        smtp_server_timeout(&t.server, &t.replies);
        smtp_server_timeout(&t.server, &t.replies);
        talk_read_replies(&t);
        assert_string_equal(buf_cstr(&t.codes), "421/4.4.2");
        talk_feed(&t, &o, STR("NOOP\r\n"));
        assert_true(t.closed);
        talk_done(&t);
    }
}

struct end_case {
    struct str before;
    enum smtp_server_when when;
    bool at_once;
    struct str after;
    const char *codes; /* from the end on */
    const char *events;
};

static void a_session_ends_when_it_may(void **state)
{
    static const struct end_case cases[] = {
        { W(HELLO), SMTP_WHEN_IDLE, true, W(""), "421/4.3.2", "EHLO(c)" },
        { W(HELLO "NO"), SMTP_WHEN_IDLE, false, W("OP\r\nNOOP\r\n"), "421/4.3.2", "EHLO(c) CLOSE" },
        { W(HELLO "NO"), SMTP_WHEN_IDLE, false, W("OP\n\r\nQUIT\r\n"), "500/5.5.2 221/2.0.0",
          "EHLO(c) CLOSE" },
        { W(OPEN), SMTP_WHEN_IDLE, false, W("DATA\r\n"), "421/4.3.2",
          "EHLO(c) MAIL(a@b) RCPT(c@d) RESET CLOSE" },
        { W(OPEN "DATA\r\n"), SMTP_WHEN_IDLE, false, W("hi\r\n.\r\nNOOP\r\n"),
          "250/2.0.0 421/4.3.2", "EHLO(c) MAIL(a@b) RCPT(c@d) DATA STORE(hi\r\n) CLOSE" },
        { W(HELLO), SMTP_WHEN_AFTER, false, W("NOOP\r\n"), "421/4.3.2", "EHLO(c) CLOSE" },
        { W(OPEN), SMTP_WHEN_AFTER, false, W("NOOP\r\nDATA\r\n.\r\nNOOP\r\n"),
          "250/2.0.0 354 250/2.0.0 421/4.3.2", "EHLO(c) MAIL(a@b) RCPT(c@d) DATA STORE() CLOSE" },
        { W(OPEN), SMTP_WHEN_AFTER, false, W("RSET\r\nMAIL FROM:<x@y>\r\n"), "250/2.0.0 421/4.3.2",
          "EHLO(c) MAIL(a@b) RCPT(c@d) RESET CLOSE" },
        { W("QUIT\r\n"), SMTP_WHEN_AFTER, true, W(""), "", "CLOSE" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        const struct end_case *c = &cases[i];
        struct talk t;

        talk_run(&t, &o, c->before);
        buf_clear(&t.replies);
        assert_int_equal(smtp_server_end(&t.server, &t.replies, &shutting_down, c->when),
                         c->at_once);
        talk_feed(&t, &o, c->after);
        talk_read_replies(&t);
        assert_string_equal(buf_cstr(&t.codes), c->codes);
        assert_string_equal(buf_cstr(&t.events), c->events);
        talk_done(&t);
    }
}

static void a_transaction_keeps_the_limits_of_its_mail(void **state)
{
    struct talk_options o = talk_defaults();
    struct smtp_server_config small = o.config;
    struct talk t;

    (void)state;
    small.max_message_size = 10;
    small.max_recipients = 1;
    small.hostname = STR("other.example.com");
    talk_run(&t, &o, STR(OPEN));
    smtp_server_set_config(&t.server, &small);
    memset(&o.config, 0xFF, sizeof o.config);
    talk_feed(&t, &o,
              STR("RCPT TO:<e@f>\r\nDATA\r\n0123456789\r\n.\r\n" OPEN
                  "RCPT TO:<e@f>\r\nDATA\r\n0123456789\r\n.\r\n"));
    talk_read_replies(&t);
    assert_string_equal(buf_cstr(&t.codes), "220 " OPENED " 250/2.1.5 354 250/2.0.0 " OPENED
                                            " 452/4.5.3 354 552/5.3.4");
    assert_non_null(strstr(buf_cstr(&t.replies), "250-other.example.com\r\n"));
    talk_done(&t);
}

static void questions_are_answered(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    talk_run(&t, &o, STR(HELLO));
    assert_true(smtp_server_idle(&t.server));
    assert_string_equal(smtp_server_doing(&t.server), "waiting for a command");
    talk_feed(&t, &o, STR("MAIL FROM:<a@b>\r"));
    assert_false(smtp_server_idle(&t.server));
    assert_false(smtp_server_in_transaction(&t.server));
    talk_feed(&t, &o, STR("\nRCPT TO:<c@d>\r\n"));
    assert_true(smtp_server_in_transaction(&t.server));
    assert_false(smtp_server_idle(&t.server));
    assert_false(smtp_server_in_content(&t.server));
    talk_feed(&t, &o, STR("DATA\r\nabc"));
    assert_true(smtp_server_in_content(&t.server));
    assert_int_equal(smtp_server_size(&t.server), 3);
    assert_false(smtp_server_eight_bit(&t.server));
    talk_feed(&t, &o, STR("\xFF"));
    assert_true(smtp_server_eight_bit(&t.server));
    talk_feed(&t, &o, STR("\r\n.\r\n"));
    assert_true(smtp_server_idle(&t.server));
    assert_false(smtp_server_eight_bit(&t.server));
    talk_feed(&t, &o, STR("QUIT\r\n"));
    assert_true(smtp_server_quit(&t.server));
    talk_done(&t);
}

/* Ten thousand idle sessions must be cheap: the machine, and nothing on the heap but the name. */
static void an_idle_session_is_small(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    assert_true(sizeof(struct smtp_server) <= 200);
    talk_run(&t, &o, STR(OPEN "DATA\r\nhi\r\n.\r\n"));
    assert_null(t.server.held);
    assert_int_equal(t.server.name_n, 1);
    talk_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(errors_are_counted),
        cmocka_unit_test(recipients_and_messages_are_limited),
        cmocka_unit_test(overlong_lines_are_answered_once),
        cmocka_unit_test(endless_lines_end_the_session),
        cmocka_unit_test(the_longest_legal_line_is_taken),
        cmocka_unit_test(a_refusal_stands_in_place_of_the_greeting),
        cmocka_unit_test(silence_ends_a_session_anywhere),
        cmocka_unit_test(a_session_ends_when_it_may),
        cmocka_unit_test(a_transaction_keeps_the_limits_of_its_mail),
        cmocka_unit_test(questions_are_answered),
        cmocka_unit_test(an_idle_session_is_small),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
