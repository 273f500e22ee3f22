#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/buf.h"
#include "mime/dsn.h"

#define NOW INT64_C(1795509274000000)     /* Tue, 24 Nov 2026 08:34:34 +0000 */
#define ARRIVAL INT64_C(1795505674000000) /* an hour before */
#define NOW_TEXT "Tue, 24 Nov 2026 08:34:34 +0000"
#define ARRIVAL_TEXT "Tue, 24 Nov 2026 07:34:34 +0000"
#define BOUNDARY "=_00000000000000010000000000000002"

static struct mime_dsn notice(const struct mime_dsn_rcpt *rcpts, uint32_t count)
{
    return (struct mime_dsn){ .hostname = STR("gw.example.com"),
                              .id = STR("0GZK3V9TNQM"),
                              .now_us = NOW,
                              .random = { 1, 2 },
                              .to = STR("s@example.net"),
                              .original_id = STR("0GZK3V9AAAA"),
                              .arrival_us = ARRIVAL,
                              .rcpts = rcpts,
                              .rcpt_count = count };
}

/* The notice as one text; the caller frees it. */
static char *write_notice(const struct mime_dsn *d, struct mime_dsn_needs *needs)
{
    struct block_chain chain;
    char *text;

    block_chain_init(&chain);
    assert_true(mime_dsn_write(&chain, d, needs));
    text = malloc(chain.size + 1);
    assert_non_null(text);
    block_chain_copy(&chain, 0, text, chain.size);
    text[chain.size] = 0;
    block_chain_done(&chain);
    return text;
}

static void add(struct block_chain *chain, const char *text)
{
    assert_true(block_chain_add(chain, str_of(text)));
}

static const struct mime_dsn_rcpt unknown_user = {
    .address = STR("nobody@example.org"),
    .action = MIME_DSN_FAILED,
    .status = { 5, 1, 1 },
    .code = 550,
    .reply = STR("5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in virtual "
                 "mailbox table"),
    .remote = STR("mx.example.org"),
    .last_attempt_us = NOW,
};

static const char bounce[] =
    "From: Mail Delivery System <MAILER-DAEMON@gw.example.com>\r\n"
    "To: <s@example.net>\r\n"
    "Subject: Undeliverable: your message to nobody@example.org\r\n"
    "Date: " NOW_TEXT "\r\n"
    "Message-ID: <0GZK3V9TNQM@gw.example.com>\r\n"
    "In-Reply-To: <1@example.net>\r\n"
    "References: <1@example.net>\r\n"
    "Auto-Submitted: auto-replied\r\n"
    "MIME-Version: 1.0\r\n"
    "Content-Type: multipart/report; report-type=delivery-status;\r\n"
    "\tboundary=\"" BOUNDARY "\"\r\n"
    "\r\n"
    "This is a report in MIME format.\r\n"
    "\r\n"
    "--" BOUNDARY "\r\n"
    "Content-Type: text/plain; charset=us-ascii\r\n"
    "Content-Description: Notification\r\n"
    "\r\n"
    "This is the mail system at gw.example.com.\r\n"
    "\r\n"
    "Your message could not be delivered to the recipient below, and it will not\r\n"
    "be tried again.\r\n"
    "\r\n"
    "<nobody@example.org>\r\n"
    "    The address does not seem to exist. Please check its spelling.\r\n"
    "    mx.example.org said: 550 5.1.1 <nobody@example.org>: Recipient address\r\n"
    "    rejected: User unknown in virtual mailbox table\r\n"
    "\r\n"
    "Your message was received on " ARRIVAL_TEXT "\r\n"
    "and has the ID 0GZK3V9AAAA here. It is attached.\r\n"
    "\r\n"
    "--" BOUNDARY "\r\n"
    "Content-Type: message/delivery-status\r\n"
    "Content-Description: Delivery report\r\n"
    "\r\n"
    "Reporting-MTA: dns; gw.example.com\r\n"
    "Original-Envelope-Id: QQ=314159\r\n"
    "Received-From-MTA: dns; client.example ([192.0.2.77])\r\n"
    "Arrival-Date: " ARRIVAL_TEXT "\r\n"
    "\r\n"
    "Original-Recipient: rfc822; old+box@example.com\r\n"
    "Final-Recipient: rfc822; nobody@example.org\r\n"
    "Action: failed\r\n"
    "Status: 5.1.1\r\n"
    "Remote-MTA: dns; mx.example.org\r\n"
    "Diagnostic-Code: smtp; 550 5.1.1 <nobody@example.org>: Recipient address\r\n"
    "\trejected: User unknown in virtual mailbox table\r\n"
    "Last-Attempt-Date: " NOW_TEXT "\r\n"
    "\r\n"
    "--" BOUNDARY "\r\n"
    "Content-Type: message/rfc822\r\n"
    "Content-Description: Your message\r\n"
    "\r\n"
    "Message-ID: <1@example.net>\r\n"
    "\r\n"
    "hello\r\n"
    "\r\n"
    "--" BOUNDARY "--\r\n";

static void over_a_way_of_seven_bits_nothing_else_is_written(void **state)
{
    struct mime_dsn_rcpt rcpt = unknown_user;
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    rcpt.address = STR("\xce\xb4+x@example.org");
    rcpt.orcpt = STR("utf-8;\xf0\x9f\x90\x8e@example.org");
    block_chain_init(&original);
    add(&original, "Subject: Gr\xc3\xbc\xc3\x9f"
                   "e\r\nX: y\r\n\r\nremark \xff\r\n");
    d.original = &original;
    d.original_size = original.size;
    d.smtputf8 = true;
    d.seven_bit = true;
    text = write_notice(&d, &needs);
    assert_false(needs.has_8bit || needs.smtputf8);
    for (const char *p = text; *p; p++)
        assert_true((unsigned char)*p < 0x80);
    assert_non_null(strstr(text, "Content-Type: message/delivery-status\r\n"));
    assert_non_null(strstr(text, "Final-Recipient: utf-8; \\x{3B4}\\x{2B}x@example.org\r\n"));
    assert_non_null(strstr(text, "Original-Recipient: utf-8; \\x{1F40E}@example.org\r\n"));
    assert_non_null(strstr(text, "Content-Type: text/rfc822-headers\r\n"
                                 "Content-Description: Your message's header\r\n"
                                 "Content-Transfer-Encoding: quoted-printable\r\n\r\n"
                                 "Subject: Gr=C3=BC=C3=9Fe\r\nX: y\r\n"));
    assert_null(strstr(text, "remark"));
    free(text);
    block_chain_done(&original);
}

static void a_long_header_is_cut_to_what_fits_quoted(void **state)
{
    struct mime_dsn_rcpt rcpt = unknown_user;
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    block_chain_init(&original);
    for (int i = 0; i < 3000; i++)
        add(&original, "X: \xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\xc3\xbc\r\n");
    add(&original, "\r\nbody\r\n");
    d.original = &original;
    d.original_size = original.size;
    d.seven_bit = true;
    text = write_notice(&d, &needs);
    assert_false(needs.has_8bit);
    assert_non_null(strstr(text, "X: =C3=BC"));
    free(text);
    block_chain_done(&original);
}

static void a_bounce_octet_for_octet(void **state)
{
    struct mime_dsn_rcpt rcpt = unknown_user;
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    rcpt.orcpt = STR("rfc822;old+2Bbox@example.com");
    block_chain_init(&original);
    add(&original, "Message-ID: <1@example.net>\r\n\r\nhello\r\n");
    d.envid = STR("QQ+3D314159");
    d.client = STR("192.0.2.77");
    d.helo = STR("client.example");
    d.original = &original;
    d.original_size = original.size;
    text = write_notice(&d, &needs);
    assert_string_equal(text, bounce);
    assert_false(needs.has_8bit || needs.smtputf8);
    free(text);
    block_chain_done(&original);
}

static void a_delay_says_until_when(void **state)
{
    struct mime_dsn_rcpt rcpt = { .address = STR("a@x"),
                                  .action = MIME_DSN_DELAYED,
                                  .status = { 4, 4, 1 },
                                  .reply = STR("4.4.1 connection refused by 192.0.2.9"),
                                  .will_retry_until_us = NOW };
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    block_chain_init(&original);
    add(&original, "Subject: x\r\n\r\nhello\r\n");
    d.original = &original;
    d.original_size = original.size;
    d.ret = SMTP_RET_FULL;
    text = write_notice(&d, &needs);
    assert_non_null(strstr(text, "Subject: Delayed, still being tried: your message to a@x\r\n"));
    assert_non_null(strstr(text, "\r\n<a@x>\r\n    connection refused by 192.0.2.9\r\n"
                                 "    It will be tried until " NOW_TEXT ".\r\n"));
    assert_non_null(strstr(text, "Final-Recipient: rfc822; a@x\r\nAction: delayed\r\n"
                                 "Status: 4.4.1\r\n"
                                 "Diagnostic-Code: X-Postern; 4.4.1 connection refused by "
                                 "192.0.2.9\r\nWill-Retry-Until: " NOW_TEXT "\r\n"));
    /* No failure, so the header will do, whatever RET said. */
    assert_non_null(strstr(text, "Content-Type: text/rfc822-headers\r\n"
                                 "Content-Description: Your message's header\r\n\r\n"
                                 "Subject: x\r\n\r\n\r\n--" BOUNDARY "--\r\n"));
    assert_null(strstr(text, "hello"));
    free(text);
    block_chain_done(&original);
}

static void each_recipient_has_its_action(void **state)
{
    struct mime_dsn_rcpt rcpts[] = {
        { .address = STR("a@x"), .action = MIME_DSN_RELAYED, .status = { 2, 0, 0 } },
        { .address = STR("b@x"),
          .action = MIME_DSN_FAILED,
          .status = { 5, 6, 7 },
          .reply = STR("5.6.7 The address needs SMTPUTF8, which the next hop does not offer") },
        { .address = STR("c@x"),
          .action = MIME_DSN_DELIVERED,
          .status = { 2, 1, 5 },
          .code = 250,
          .reply = STR("2.1.5 Delivered") },
    };
    struct mime_dsn d = notice(rcpts, 3);
    struct mime_dsn_needs needs;
    char *text = write_notice(&d, &needs);

    (void)state;
    assert_non_null(strstr(text,
                           "Final-Recipient: rfc822; a@x\r\nAction: relayed\r\n"
                           "Status: 2.0.0\r\n\r\n"
                           "Final-Recipient: rfc822; b@x\r\nAction: failed\r\n"
                           "Status: 5.6.7\r\n"
                           "Diagnostic-Code: X-Postern; 5.6.7 The address needs SMTPUTF8, "
                           "which the next\r\n\thop does not offer\r\n\r\n"
                           "Final-Recipient: rfc822; c@x\r\nAction: delivered\r\n"
                           "Status: 2.1.5\r\nDiagnostic-Code: smtp; 250 2.1.5 Delivered\r\n"));
    assert_non_null(strstr(text, "<b@x>\r\n    The address needs SMTPUTF8, which the next hop does "
                                 "not offer\r\n"));
    assert_non_null(strstr(text, "Your message has been delivered to:\r\n\r\n<c@x>\r\n"));
    assert_non_null(strstr(text, "<a@x>\r\n\r\nYour message was received"));
    /* Nothing of the original was at hand. */
    assert_null(strstr(text, "rfc822-headers"));
    assert_null(strstr(text, "attached"));
    free(text);
}

static void what_is_returned_depends_on_size_and_wish(void **state)
{
    static const struct {
        uint64_t body;
        enum smtp_ret ret;
        bool whole;
    } cases[] = {
        { 1000, SMTP_RET_NONE, true },   { 1000, SMTP_RET_FULL, true },
        { 1000, SMTP_RET_HDRS, false },  { 100000, SMTP_RET_NONE, false },
        { 100000, SMTP_RET_FULL, true }, { 2000000, SMTP_RET_FULL, false },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct mime_dsn d = notice(&unknown_user, 1);
        struct mime_dsn_needs needs;
        struct block_chain original;
        char *text;

        block_chain_init(&original);
        add(&original, "Subject: x\r\n\r\n");
        for (uint64_t n = 0; n < cases[i].body; n += 10)
            add(&original, "01234567\r\n");
        d.original = &original;
        d.original_size = original.size;
        d.ret = (uint8_t)cases[i].ret;
        text = write_notice(&d, &needs);
        assert_int_equal(strstr(text, "message/rfc822\r\n") != NULL, cases[i].whole);
        assert_int_equal(strstr(text, "text/rfc822-headers\r\n") == NULL, cases[i].whole);
        assert_int_equal(strstr(text, "01234567\r\n") != NULL, cases[i].whole);
        free(text);
        block_chain_done(&original);
    }
}

static void a_part_of_the_header_ends_with_a_line(void **state)
{
    struct mime_dsn d = notice(&unknown_user, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    block_chain_init(&original);
    add(&original, "Subject: x\r\nDate: 2");
    d.original = &original;
    d.original_size = 10000;
    text = write_notice(&d, &needs);
    assert_non_null(strstr(text, "header\r\n\r\nSubject: x\r\n\r\n--"));
    free(text);
    for (int i = 0; i < 10000; i++)
        add(&original, "Z\r\nX-Field: ");
    d.original_size = original.size;
    text = write_notice(&d, &needs);
    assert_non_null(strstr(text, "X-Field: Z\r\n\r\n--" BOUNDARY "--"));
    assert_in_range(strlen(text), MIME_DSN_HEADER_MAX - 100, MIME_DSN_HEADER_MAX + 4000);
    free(text);
    block_chain_done(&original);
}

static void eight_bit_content_is_declared(void **state)
{
    struct mime_dsn d = notice(&unknown_user, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    block_chain_init(&original);
    add(&original, "Subject: x\r\n\r\ncaf\xc3\xa9\r\n");
    d.original = &original;
    d.original_size = original.size;
    text = write_notice(&d, &needs);
    assert_true(needs.has_8bit);
    assert_false(needs.smtputf8);
    assert_non_null(strstr(text, "Content-Transfer-Encoding: 8bit\r\n\r\nThis is a report"));
    assert_non_null(strstr(text, "Content-Type: message/rfc822\r\n"
                                 "Content-Description: Your message\r\n"
                                 "Content-Transfer-Encoding: 8bit\r\n\r\nSubject"));
    free(text);
    d.ret = SMTP_RET_HDRS;
    text = write_notice(&d, &needs);
    assert_false(needs.has_8bit);
    assert_null(strstr(text, "8bit"));
    free(text);
    block_chain_done(&original);
}

static void remote_words_beyond_ascii_stay_readable(void **state)
{
    struct mime_dsn_rcpt rcpt = { .address = STR("a@x"),
                                  .action = MIME_DSN_FAILED,
                                  .status = { 5, 7, 1 },
                                  .code = 550,
                                  .reply = STR("5.7.1 Non d\xc3\xa9sir\xc3\xa9 = spam"),
                                  .remote = STR("mx.x") };
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    char *text = write_notice(&d, &needs);

    (void)state;
    assert_false(needs.has_8bit);
    assert_false(str_has_8bit(str_of(text)));
    assert_non_null(strstr(text, "Content-Type: text/plain; charset=utf-8\r\n"
                                 "Content-Description: Notification\r\n"
                                 "Content-Transfer-Encoding: quoted-printable\r\n"));
    assert_non_null(strstr(text, "mx.x said: 550 5.7.1 Non d=C3=A9sir=C3=A9 =3D spam\r\n"));
    assert_non_null(strstr(text, "Diagnostic-Code: smtp; 550 5.7.1 Non d??sir?? = spam\r\n"));
    free(text);
}

static void utf8_addresses_make_a_global_report(void **state)
{
    struct mime_dsn_rcpt rcpt = { .address = STR("\xc3\xb6@x"),
                                  .orcpt = STR("utf-8;\\x{F6}@x"),
                                  .action = MIME_DSN_FAILED,
                                  .status = { 5, 1, 1 },
                                  .code = 550,
                                  .reply = STR("5.1.1 \xc3\xb6?") };
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    block_chain_init(&original);
    add(&original, "Subject: \xc3\xb6\r\n\r\nhello\r\n");
    d.original = &original;
    d.original_size = original.size;
    d.smtputf8 = true;
    d.to = STR("s\xc3\xb6@example.net");
    text = write_notice(&d, &needs);
    assert_true(needs.has_8bit && needs.smtputf8);
    assert_non_null(strstr(text, "\r\nTo: <s\xc3\xb6@example.net>\r\n"));
    assert_non_null(strstr(text, "Content-Type: message/global-delivery-status\r\n"
                                 "Content-Description: Delivery report\r\n"
                                 "Content-Transfer-Encoding: 8bit\r\n"));
    assert_non_null(strstr(text, "Original-Recipient: utf-8; \\x{F6}@x\r\n"
                                 "Final-Recipient: utf-8; \xc3\xb6@x\r\n"));
    assert_non_null(strstr(text, "Diagnostic-Code: smtp; 550 5.1.1 \xc3\xb6?\r\n"));
    assert_non_null(strstr(text, "Content-Type: message/global\r\n"));
    free(text);
    d.ret = SMTP_RET_HDRS;
    text = write_notice(&d, &needs);
    assert_non_null(strstr(text, "Content-Type: message/global-headers\r\n"));
    free(text);
    block_chain_done(&original);
}

static void nothing_from_outside_makes_a_field(void **state)
{
    struct mime_dsn_rcpt rcpt = { .address = STR("\"a\r\nBcc: x\"@x"),
                                  .orcpt = STR("rfc822;a+0D+0ASubject:+20x"),
                                  .action = MIME_DSN_FAILED,
                                  .status = { 5, 0, 0 },
                                  .code = 550,
                                  .reply = STR("no\r\nX-Evil: 1\r\n\r\n--" BOUNDARY "\xff"),
                                  .remote = STR("mx\r\nX-Evil: 2") };
    struct mime_dsn d = notice(&rcpt, 1);
    struct mime_dsn_needs needs;
    struct block_chain original;
    char *text;

    (void)state;
    block_chain_init(&original);
    add(&original, "Message-ID: <a\tb\x01>\r\n\r\n");
    d.original = &original;
    d.original_size = original.size;
    d.to = STR("s\r\nX-Evil: 3@x");
    d.envid = STR("x+0AX-Evil: 4");
    text = write_notice(&d, &needs);
    assert_null(strstr(text, "\nX-Evil"));
    assert_null(strstr(text, "\nBcc"));
    assert_null(strstr(text, "References"));
    assert_null(strstr(text, "Original-"));
    assert_non_null(strstr(text, "Remote-MTA: dns; mx??X-Evil: 2\r\n"));
    assert_non_null(strstr(text, "Final-Recipient: rfc822; \"a??Bcc: x\"@x\r\n"));
    free(text);
    block_chain_done(&original);
}

static void very_many_recipients_fit(void **state)
{
    enum { MANY = 3000 };
    struct mime_dsn_rcpt *rcpts = calloc(MANY, sizeof *rcpts);
    struct mime_dsn d = notice(rcpts, MANY);
    struct mime_dsn_needs needs;
    unsigned found = 0;
    char *text;

    (void)state;
    assert_non_null(rcpts);
    for (int i = 0; i < MANY; i++)
        rcpts[i] = unknown_user;
    text = write_notice(&d, &needs);
    for (const char *at = text; (at = strstr(at, "\r\nFinal-Recipient:")); at++)
        found++;
    assert_int_equal(found, MANY);
    for (const char *line = text, *end; (end = strstr(line, "\r\n")); line = end + 2)
        assert_true(end - line <= 78);
    free(text);
    free(rcpts);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bounce_octet_for_octet),
        cmocka_unit_test(over_a_way_of_seven_bits_nothing_else_is_written),
        cmocka_unit_test(a_long_header_is_cut_to_what_fits_quoted),
        cmocka_unit_test(a_delay_says_until_when),
        cmocka_unit_test(each_recipient_has_its_action),
        cmocka_unit_test(what_is_returned_depends_on_size_and_wish),
        cmocka_unit_test(a_part_of_the_header_ends_with_a_line),
        cmocka_unit_test(eight_bit_content_is_declared),
        cmocka_unit_test(remote_words_beyond_ascii_stay_readable),
        cmocka_unit_test(utf8_addresses_make_a_global_report),
        cmocka_unit_test(nothing_from_outside_makes_a_field),
        cmocka_unit_test(very_many_recipients_fit),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    block_thread_done();
    return failed;
}
