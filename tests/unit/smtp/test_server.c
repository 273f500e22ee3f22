/* Conversations with the server machine: commands, their order, their replies. Each is played in
 * every cut of the stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "talk.h"

#define HELLO "EHLO c\r\n"
#define SAID_HELLO "EHLO(c)"
#define OPEN HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n"
#define OPENED "250 250/2.1.0 250/2.1.5"
#define SAID_OPEN "EHLO(c) MAIL(a@b) RCPT(c@d)"

#define W(lit)                                                                                     \
    {                                                                                              \
        lit, sizeof(lit) - 1                                                                       \
    }

static void run(const struct talk_options *o, const struct talk_case *cases, size_t count)
{
    for (size_t i = 0; i < count; i++)
        talk_check(o, &cases[i]);
}

static void commands_have_their_replies(void **state)
{
    static const struct talk_case cases[] = {
        { "a whole message", W(OPEN "DATA\r\nhi\r\n.\r\nQUIT\r\n"),
          OPENED " 354 250/2.0.0 221/2.0.0", SAID_OPEN " DATA STORE(hi\r\n) CLOSE" },
        { "case does not matter", W("ehlo c\r\nmail from:<a@b>\r\nRcPt To:<c@d>\r\nquit\r\n"),
          OPENED " 221/2.0.0", SAID_OPEN " RESET CLOSE" },
        { "HELO", W("HELO c\r\nMAIL FROM:<a@b>\r\n"), "250 250/2.1.0", "HELO(c) MAIL(a@b)" },
        { "white space at the end", W("NOOP \r\nRSET \t\r\nQUIT  \r\n"),
          "250/2.0.0 250/2.0.0 221/2.0.0", "CLOSE" },
        { "before EHLO", W("NOOP\r\nRSET\r\nVRFY x\r\nEXPN x\r\nHELP\r\nHELP MAIL\r\nNOOP a b\r\n"),
          "250/2.0.0 250/2.0.0 252/2.0.0 252/2.0.0 214/2.0.0 214/2.0.0 250/2.0.0", "" },
        { "arguments too many", W("RSET x\r\nQUIT now\r\n" HELLO "DATA x\r\nSTARTTLS x\r\n"),
          "501/5.5.4 501/5.5.4 250 501/5.5.4 501/5.5.4", SAID_HELLO },
        { "arguments missing", W("EHLO\r\nHELO \r\nVRFY\r\nEXPN\r\n"),
          "501 501 501/5.5.4 501/5.5.4", "" },
        { "names that are none", W("EHLO a b\r\nEHLO \xC3\xA4\r\nHELO a\x7F\r\n"), "501 501 501",
          "" },
        { "names of the field", W("EHLO a_b\r\nEHLO [192.0.2.1]\r\nEHLO -\r\n"), "250 250 250",
          "EHLO(a_b) EHLO([192.0.2.1]) EHLO(-)" },
        { "unknown", W("FOO\r\n\r\n" HELLO "MAILFROM:<a@b>\r\nEHLO\tx\r\nTURN\r\nAUTH PLAIN\r\n"),
          "500/5.5.1 500/5.5.1 250 500/5.5.1 500/5.5.1 500/5.5.1 500/5.5.1", SAID_HELLO },
        { "HELP does not hide", W("DATA\r\nMAIL FROM:<a@b>\r\n"), "503/5.5.1 503/5.5.1", "" },
        { "STARTTLS not offered", W(HELLO "STARTTLS\r\n"), "250 502/5.5.1", SAID_HELLO },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void order_is_kept(void **state)
{
    static const struct talk_case cases[] = {
        { "no RCPT before MAIL", W(HELLO "RCPT TO:<c@d>\r\nDATA\r\n"), "250 503/5.5.1 503/5.5.1",
          SAID_HELLO },
        { "no DATA without RCPT", W(HELLO "MAIL FROM:<a@b>\r\nDATA\r\n"), "250 250/2.1.0 503/5.5.1",
          "EHLO(c) MAIL(a@b)" },
        { "no DATA without a good RCPT",
          W(HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<refused@d>\r\nDATA\r\nRCPT TO:<c@d>\r\nDATA\r\n"),
          "250 250/2.1.0 550/5.7.1 554/5.5.1 250/2.1.5 354",
          "EHLO(c) MAIL(a@b) RCPT(refused@d)!550 RCPT(c@d) DATA" },
        { "a broken RCPT is a RCPT", W(HELLO "MAIL FROM:<a@b>\r\nRCPT TO:c\r\nDATA\r\n"),
          "250 250/2.1.0 501/5.1.3 554/5.5.1", "EHLO(c) MAIL(a@b)" },
        { "no MAIL in MAIL", W(OPEN "MAIL FROM:<x@y>\r\nDATA\r\n"), OPENED " 503/5.5.1 354",
          SAID_OPEN " DATA" },
        { "RSET ends it", W(OPEN "RSET\r\nDATA\r\nMAIL FROM:<x@y>\r\n"),
          OPENED " 250/2.0.0 503/5.5.1 250/2.1.0", SAID_OPEN " RESET MAIL(x@y)" },
        { "EHLO ends it", W(OPEN "EHLO d\r\nDATA\r\nMAIL FROM:<x@y>\r\n"),
          OPENED " 250 503/5.5.1 250/2.1.0", SAID_OPEN " EHLO(d) RESET MAIL(x@y)" },
        { "HELO ends it", W(OPEN "HELO d\r\nDATA\r\n"), OPENED " 250 503/5.5.1",
          SAID_OPEN " HELO(d) RESET" },
        { "a refused EHLO does not", W(OPEN "EHLO refused\r\nEHLO\r\nDATA\r\n"),
          OPENED " 550/5.7.1 501 354", SAID_OPEN " EHLO(refused)!550 DATA" },
        { "VRFY and NOOP do not", W(OPEN "VRFY x\r\nNOOP\r\nHELP\r\nDATA\r\n"),
          OPENED " 252/2.0.0 250/2.0.0 214/2.0.0 354", SAID_OPEN " DATA" },
        { "nothing without EHLO", W("EHLO deferred\r\nMAIL FROM:<a@b>\r\n"), "451/4.7.1 503/5.5.1",
          "EHLO(deferred)!451" },
        { "a second message", W(OPEN "DATA\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<e@f>\r\nDATA\r\n.\r\n"),
          OPENED " 354 250/2.0.0 250/2.1.0 250/2.1.5 354 250/2.0.0",
          SAID_OPEN " DATA STORE() MAIL() RCPT(e@f) DATA STORE()" },
        { "the driver's no to DATA",
          W(HELLO "MAIL FROM:<nodata@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
                  "NOOP\r\nRSET\r\n"),
          OPENED " 452/4.3.1 250/2.0.0 250/2.0.0",
          "EHLO(c) MAIL(nodata@b) RCPT(c@d) DATA!452 RESET" },
        { "the driver's no to MAIL",
          W(HELLO "MAIL FROM:<refused@b>\r\nMAIL FROM:<deferred@b>\r\n"
                  "RCPT TO:<c@d>\r\n"),
          "250 550/5.7.1 451/4.7.1 503/5.5.1", "EHLO(c) MAIL(refused@b)!550 MAIL(deferred@b)!451" },
        { "421 is the end", W(HELLO "MAIL FROM:<goodbye@b>\r\nNOOP\r\n"), "250 421/4.7.0",
          "EHLO(c) MAIL(goodbye@b)!421 CLOSE" },
        { "421 to RCPT", W(OPEN "RCPT TO:<goodbye@b>\r\nNOOP\r\n"), OPENED " 421/4.7.0",
          SAID_OPEN " RCPT(goodbye@b)!421 RESET CLOSE" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void parameters_are_checked(void **state)
{
    static const struct talk_case cases[] = {
        { "all of MAIL",
          W(HELLO "MAIL FROM:<a@b> SIZE=10 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=x+2B\r\n"),
          "250 250/2.1.0", "EHLO(c) MAIL(a@b)size=10body=2ret=2utf8envid=x+2B" },
        { "any case", W(HELLO "MAIL FROM:<a@b> size=1 body=7bit smtputf8 ret=full\r\n"),
          "250 250/2.1.0", "EHLO(c) MAIL(a@b)size=1body=1ret=1utf8" },
        { "a space behind the colon", W(HELLO "MAIL FROM: <a@b>  SIZE=1\r\nRCPT TO: <c@d>\r\n"),
          "250 250/2.1.0 250/2.1.5", "EHLO(c) MAIL(a@b)size=1 RCPT(c@d)" },
        { "all of RCPT",
          W(OPEN "RCPT TO:<e@f> NOTIFY=SUCCESS,delay ORCPT=rfc822;x+40y\r\n"
                 "RCPT TO:<g@h> NOTIFY=NEVER\r\n"),
          OPENED " 250/2.1.5 250/2.1.5",
          SAID_OPEN " RCPT(e@f)notify=10orcpt=rfc822;x+40y RCPT(g@h)notify=1" },
        { "twice",
          W(HELLO "MAIL FROM:<a@b> SIZE=1 SIZE=1\r\nMAIL FROM:<a@b> BODY=7BIT body=7BIT\r\n"
                  "MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8\r\nMAIL FROM:<a@b> RET=FULL RET=HDRS\r\n"
                  "MAIL FROM:<a@b> ENVID=a ENVID=a\r\n"),
          "250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4", SAID_HELLO },
        { "twice in RCPT",
          W(OPEN "RCPT TO:<e@f> NOTIFY=NEVER NOTIFY=NEVER\r\n"
                 "RCPT TO:<e@f> ORCPT=a;b ORCPT=a;b\r\n"),
          OPENED " 501/5.5.4 501/5.5.4", SAID_OPEN },
        { "unknown",
          W(HELLO "MAIL FROM:<a@b> FOO=1\r\nMAIL FROM:<a@b> NOTIFY=NEVER\r\n"
                  "MAIL FROM:<a@b> AUTH=<>\r\nMAIL FROM:<a@b> SIZES=1\r\n"),
          "250 555/5.5.4 555/5.5.4 555/5.5.4 555/5.5.4", SAID_HELLO },
        { "unknown in RCPT", W(OPEN "RCPT TO:<e@f> SIZE=1\r\nRCPT TO:<e@f> X\r\n"),
          OPENED " 555/5.5.4 555/5.5.4", SAID_OPEN },
        { "none after HELO",
          W("HELO c\r\nMAIL FROM:<a@b> SIZE=1\r\nMAIL FROM:<a@b>\r\n"
            "RCPT TO:<c@d> NOTIFY=NEVER\r\n"),
          "250 555/5.5.4 250/2.1.0 555/5.5.4", "HELO(c) MAIL(a@b)" },
        { "SIZE is digits",
          W(HELLO "MAIL FROM:<a@b> SIZE\r\nMAIL FROM:<a@b> SIZE=\r\n"
                  "MAIL FROM:<a@b> SIZE=-1\r\nMAIL FROM:<a@b> SIZE=+1\r\n"
                  "MAIL FROM:<a@b> SIZE=0x1\r\nMAIL FROM:<a@b> SIZE=1e1\r\n"
                  "MAIL FROM:<a@b> SIZE=000000000000000000001\r\n"),
          "250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4", SAID_HELLO },
        { "SIZE over the limit",
          W(HELLO "MAIL FROM:<a@b> SIZE=1001\r\n"
                  "MAIL FROM:<a@b> SIZE=18446744073709551616\r\n"
                  "MAIL FROM:<a@b> SIZE=99999999999999999999\r\n"
                  "MAIL FROM:<a@b> SIZE=2000 FOO\r\n"
                  "MAIL FROM:<a@b> SIZE=1000\r\n"),
          "250 552/5.3.4 552/5.3.4 552/5.3.4 555/5.5.4 250/2.1.0", "EHLO(c) MAIL(a@b)size=1000" },
        { "BODY",
          W(HELLO "MAIL FROM:<a@b> BODY=BINARYMIME\r\nMAIL FROM:<a@b> BODY\r\n"
                  "MAIL FROM:<a@b> BODY=9BIT\r\n"),
          "250 504/5.5.4 501/5.5.4 504/5.5.4", SAID_HELLO },
        { "SMTPUTF8, RET, ENVID",
          W(HELLO "MAIL FROM:<a@b> SMTPUTF8=1\r\nMAIL FROM:<a@b> RET=ALL\r\n"
                  "MAIL FROM:<a@b> RET\r\nMAIL FROM:<a@b> ENVID=\r\n"
                  "MAIL FROM:<a@b> ENVID=a+0D+0Ab\r\n"
                  "MAIL FROM:<a@b> ENVID=a+2\r\nMAIL FROM:<a@b> ENVID=+2b\r\n"),
          "250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4", SAID_HELLO },
        { "NOTIFY and ORCPT",
          W(OPEN "RCPT TO:<e@f> NOTIFY=NEVER,DELAY\r\nRCPT TO:<e@f> NOTIFY=\r\n"
                 "RCPT TO:<e@f> NOTIFY=SUCCESS,\r\nRCPT TO:<e@f> NOTIFY=ALWAYS\r\n"
                 "RCPT TO:<e@f> ORCPT=rfc822\r\nRCPT TO:<e@f> ORCPT=;x\r\n"
                 "RCPT TO:<e@f> ORCPT=rfc822;\r\n"
                 "RCPT TO:<e@f> ORCPT=rfc822;a+00\r\nRCPT TO:<e@f> ORCPT=utf-8;a\\b\r\n"
                 "RCPT TO:<e@f> ORCPT=utf-8;\\x{3b4}\r\nRCPT TO:<e@f> ORCPT=utf-8;\\x{3}\r\n"),
          OPENED " 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4 "
                 "501/5.5.4 501/5.5.4 501/5.5.4",
          SAID_OPEN },
        { "no space before a parameter",
          W(HELLO "MAIL FROM:<a@b>SIZE=1\r\nMAIL FROM:<a@b> =1\r\n"
                  "MAIL FROM:<a@b> -A=1\r\nMAIL FROM:<a@b> A=1=2\r\n"),
          "250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.5.4", SAID_HELLO },
        { "keywords",
          W(HELLO "MAIL\r\nMAIL TO:<a@b>\r\nMAIL FROM <a@b>\r\nMAIL FROM:\r\n"
                  "MAIL FROM:<a@b>\r\nRCPT\r\nRCPT FROM:<a@b>\r\nRCPT TO:\r\n"),
          "250 501/5.5.4 501/5.5.4 501/5.5.4 501/5.1.7 250/2.1.0 501/5.5.4 501/5.5.4 501/5.1.3",
          "EHLO(c) MAIL(a@b)" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void addresses_are_checked(void **state)
{
    static const struct talk_case cases[] = {
        { "null is for MAIL alone", W(HELLO "MAIL FROM:<>\r\nRCPT TO:<>\r\n"),
          "250 250/2.1.0 501/5.1.3", "EHLO(c) MAIL()" },
        { "postmaster is for RCPT alone",
          W(HELLO "MAIL FROM:<postmaster>\r\nMAIL FROM:<>\r\n"
                  "RCPT TO:<Postmaster>\r\nRCPT TO:<root>\r\n"),
          "250 501/5.1.7 250/2.1.0 250/2.1.5 501/5.1.3", "EHLO(c) MAIL() RCPT(Postmaster)" },
        { "a source route is dropped", W(HELLO "MAIL FROM:<@x,@y:a@b>\r\nRCPT TO:<@x:c@d>\r\n"),
          "250 250/2.1.0 250/2.1.5", SAID_OPEN },
        { "UTF-8 asks for SMTPUTF8",
          W(HELLO "MAIL FROM:<\xC3\xA4@b>\r\n"
                  "MAIL FROM:<a@\xC3\xA4>\r\nMAIL FROM:<a@b>\r\n"
                  "RCPT TO:<\xC3\xA4@d>\r\n"
                  "RCPT TO:<c@d> ORCPT=utf-8;\xC3\xA4\r\n"),
          "250 553/5.6.7 553/5.6.7 250/2.1.0 553/5.6.7 553/5.6.7", "EHLO(c) MAIL(a@b)" },
        { "UTF-8 in the form that is ASCII",
          W(HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<c@d> ORCPT=utf-8;\\x{3B4}\\x{1F40E}@d\r\n"),
          "250 250/2.1.0 250/2.1.5",
          "EHLO(c) MAIL(a@b) RCPT(c@d)orcpt=utf-8;\\x{3B4}\\x{1F40E}@d" },
        { "UTF-8 with SMTPUTF8",
          W(HELLO "MAIL FROM:<\xC3\xA4@\xC3\xB6.x> SMTPUTF8\r\n"
                  "RCPT TO:<\xC3\xBC@d> ORCPT=utf-8;\xC3\xA4\r\n"),
          "250 250/2.1.0 250/2.1.5",
          "EHLO(c) MAIL(\xC3\xA4@\xC3\xB6.x)utf8 RCPT(\xC3\xBC@d)orcpt=utf-8;\xC3\xA4" },
        { "SMTPUTF8 is of one transaction",
          W(HELLO
            "MAIL FROM:<a@b> SMTPUTF8\r\nRSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<\xC3\xBC@d>\r\n"),
          "250 250/2.1.0 250/2.0.0 250/2.1.0 553/5.6.7", "EHLO(c) MAIL(a@b)utf8 RESET MAIL(a@b)" },
        { "broken UTF-8",
          W(HELLO "MAIL FROM:<\xC3@b> SMTPUTF8\r\nMAIL FROM:<\xC0\x80@b> SMTPUTF8\r\n"
                  "MAIL FROM:<\xED\xA0\x80@b> SMTPUTF8\r\n"
                  "MAIL FROM:<\xC2\x85@b> SMTPUTF8\r\n"),
          "250 501/5.1.7 501/5.1.7 501/5.1.7 501/5.1.7", SAID_HELLO },
        { "controls in quotes",
          W(HELLO "MAIL FROM:<\"a\x7F\"@b>\r\nMAIL FROM:<\"a\x01\"@b>\r\n"
                  "MAIL FROM:<\"a\\\x7F\"@b>\r\nMAIL FROM:<\"a\tb\"@b>\r\n"),
          "250 501/5.1.7 501/5.1.7 501/5.1.7 501/5.1.7", SAID_HELLO },
        { "no brackets", W(HELLO "MAIL FROM:a@b\r\nMAIL FROM:<a@b\r\nMAIL FROM:<<a@b>>\r\n"),
          "250 501/5.1.7 501/5.1.7 501/5.1.7", SAID_HELLO },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void lines_end_in_crlf_only(void **state)
{
    static const struct talk_case cases[] = {
        { "LF ends nothing", W("NOOP\nNOOP\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "CR ends nothing", W("NOOP\rNOOP\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "CR CR LF", W("NOOP\r\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "LF CR LF", W("NOOP\n\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "LF CR", W("NOOP\n\rNOOP\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "NUL", W("RSET\0garbage\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "NUL at the end", W("RSET\0\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0", "" },
        { "an address with a line end", W(HELLO "MAIL FROM:<a\nRCPT TO:<x@y>@b>\r\nNOOP\r\n"),
          "250 500/5.5.2 250/2.0.0", SAID_HELLO },
        { "many in one line are one error", W("\n\n\r\r\0\n\nx\r\nNOOP\r\n"), "500/5.5.2 250/2.0.0",
          "" },
        { "a transaction goes on", W(OPEN "DATA\n\r\nDATA\r\n"), OPENED " 500/5.5.2 354",
          SAID_OPEN " DATA" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void what_is_no_smtp_is_shown_out(void **state)
{
    static const struct talk_case cases[] = {
        { "HTTP", W("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "554/5.5.1", "CLOSE" },
        { "HTTP with a body", W("POST / HTTP/1.1\r\n\r\nEHLO c\r\n"), "554/5.5.1", "CLOSE" },
        { "a header field", W("Host: x\r\nNOOP\r\n"), "554/5.5.1", "CLOSE" },
        { "behind a NOOP", W("NOOP\r\nPUT / HTTP/1.1\r\nNOOP\r\n"), "250/2.0.0 554/5.5.1",
          "CLOSE" },
        { "not in a session", W(HELLO "GET / HTTP/1.1\r\nHost: x\r\nNOOP\r\n"),
          "250 500/5.5.1 500/5.5.1 250/2.0.0", SAID_HELLO },
        { "GET alone", W("GET\r\nNOOP\r\n"), "500/5.5.1 250/2.0.0", "" },
        { "TLS", W("\x16\x03\x01\x02\x00\x01\x00\x01\xFC\x03\x03"), "554/5.5.1", "CLOSE" },
        { "not the first octet", W("NOOP\r\n\x16\x03\r\n"), "250/2.0.0 500/5.5.1", "" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    run(&o, cases, PT_ARRAY_LEN(cases));
}

static void tls_is_offered_and_required(void **state)
{
    static const struct talk_case offered[] = {
        { "after EHLO", W("STARTTLS\r\n" HELLO), "503/5.5.1 250", SAID_HELLO },
        { "not after HELO", W("HELO c\r\nSTARTTLS\r\n"), "250 503/5.5.1", "HELO(c)" },
    };
    static const struct talk_case required[] = {
        { "before TLS",
          W("HELO c\r\n" HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\nRSET\r\n"
            "VRFY x\r\nEXPN x\r\nHELP\r\nNOOP\r\nFOO\r\nQUIT\r\n"),
          "530/5.7.0 250 530/5.7.0 530/5.7.0 530/5.7.0 530/5.7.0 530/5.7.0 530/5.7.0 530/5.7.0 "
          "250/2.0.0 530/5.7.0 221/2.0.0",
          "EHLO(c) MAIL(a@b) CLOSE" },
        { "a chunk is no commands", W(HELLO "BDAT 6\r\nQUIT\r\nNOOP\r\n"),
          "250 530/5.7.0 250/2.0.0", SAID_HELLO },
    };
    static const struct talk_case lacking[] = {
        { "nothing to begin it with",
          W("HELO c\r\n" HELLO "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nSTARTTLS\r\nFOO\r\nNOOP\r\n"),
          "454/4.7.0 250 454/4.7.0 454/4.7.0 454/4.7.0 454/4.7.0 250/2.0.0", "EHLO(c) MAIL(a@b)" },
    };
    static const struct talk_case active[] = {
        { "once is enough", W(HELLO "STARTTLS\r\nMAIL FROM:<a@b>\r\n"), "250 503/5.5.1 250/2.1.0",
          "EHLO(c) MAIL(a@b)" },
    };
    struct talk_options o = talk_defaults();

    (void)state;
    o.config.offers_tls = true;
    run(&o, offered, PT_ARRAY_LEN(offered));
    o.config.requires_tls = true;
    run(&o, required, PT_ARRAY_LEN(required));
    o.config.offers_tls = false;
    run(&o, lacking, PT_ARRAY_LEN(lacking));
    o.config.offers_tls = true;
    o.tls = true;
    run(&o, active, PT_ARRAY_LEN(active));
}

static void starttls_begins_anew(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    o.config.offers_tls = true;
    talk_run(&t, &o, STR(OPEN "STARTTLS\r\n"));
    talk_feed(&t, &o, STR("MAIL FROM:<x@y>\r\nSTARTTLS\r\nEHLO d\r\nMAIL FROM:<x@y>\r\n"));
    talk_read_replies(&t);
    assert_string_equal(buf_cstr(&t.codes),
                        "220 " OPENED " 220/2.0.0 503/5.5.1 503/5.5.1 250 250/2.1.0");
    assert_string_equal(buf_cstr(&t.events), SAID_OPEN " RESET TLS EHLO(d) MAIL(x@y)");
    talk_done(&t);
}

static void starttls_may_be_put_off(void **state)
{
    static const struct smtp_reply later = { 454, { 4, 7, 0 }, STR("not now") };
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    o.config.offers_tls = true;
    o.no_tls = &later;
    talk_run(&t, &o, STR(HELLO "STARTTLS\r\n"));
    talk_feed(&t, &o, STR("MAIL FROM:<x@y>\r\n"));
    talk_read_replies(&t);
    assert_string_equal(buf_cstr(&t.codes), "220 250 454/4.7.0 250/2.1.0");
    assert_false(smtp_server_tls(&t.server));
    talk_done(&t);
}

static void nothing_may_follow_starttls(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    o.config.offers_tls = true;
    talk_run(&t, &o, STR(HELLO "STARTTLS\r\nRSET\r\n"));
    assert_string_equal(buf_cstr(&t.codes), "220 250 554/5.5.1");
    assert_string_equal(buf_cstr(&t.events), "EHLO(c) CLOSE");
    talk_done(&t);
}

static void ehlo_tells_what_is_there(void **state)
{
    struct talk_options o = talk_defaults();
    struct talk t;

    (void)state;
    o.config.offers_tls = true;
    o.config.max_messages = 7;
    talk_run(&t, &o, STR("EHLO c\r\n"));
    assert_string_equal(buf_cstr(&t.replies), "220 gw.example.com ESMTP ready\r\n"
                                              "250-gw.example.com\r\n"
                                              "250-PIPELINING\r\n"
                                              "250-SIZE 1000\r\n"
                                              "250-STARTTLS\r\n"
                                              "250-LIMITS RCPTMAX=3 MAILMAX=7\r\n"
                                              "250-8BITMIME\r\n"
                                              "250-SMTPUTF8\r\n"
                                              "250-DSN\r\n"
                                              "250-CHUNKING\r\n"
                                              "250 ENHANCEDSTATUSCODES\r\n");
    assert_true(smtp_server_esmtp(&t.server));
    assert_true(str_eq(smtp_server_helo(&t.server), STR("c")));
    talk_done(&t);

    o.config.max_messages = 0;
    o.config.max_recipients = 0;
    o.tls = true;
    talk_run(&t, &o, STR("EHLO c\r\nHELO d\r\n"));
    assert_null(strstr(buf_cstr(&t.replies), "STARTTLS"));
    assert_null(strstr(buf_cstr(&t.replies), "LIMITS"));
    assert_non_null(strstr(buf_cstr(&t.replies), "CODES\r\n250 gw.example.com\r\n"));
    assert_false(smtp_server_esmtp(&t.server));
    talk_done(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_have_their_replies),
        cmocka_unit_test(order_is_kept),
        cmocka_unit_test(parameters_are_checked),
        cmocka_unit_test(addresses_are_checked),
        cmocka_unit_test(lines_end_in_crlf_only),
        cmocka_unit_test(what_is_no_smtp_is_shown_out),
        cmocka_unit_test(tls_is_offered_and_required),
        cmocka_unit_test(starttls_begins_anew),
        cmocka_unit_test(starttls_may_be_put_off),
        cmocka_unit_test(nothing_may_follow_starttls),
        cmocka_unit_test(ehlo_tells_what_is_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
