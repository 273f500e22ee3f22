#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "mime/trace.h"

/* Tue, 24 Nov 2026 08:34:34 +0000 */
#define WHEN INT64_C(1795509274000000)
#define DATE "Tue, 24 Nov 2026 08:34:34 +0000"
#define BASE                                                                                       \
    .client = STR("192.0.2.7"), .hostname = STR("gw.example.com"), .id = STR("0GZK3V9TNQM"),       \
    .when_us = WHEN

static const struct trace_case {
    const char *name;
    struct mime_trace trace;
    const char *field;
} cases[] = {
    { "ESMTP with one recipient",
      { BASE, .helo = STR("client.example"), .rcpt = STR("user@example.org"), .esmtp = true },
      "Received: from client.example ([192.0.2.7])\r\n"
      "\tby gw.example.com with ESMTP id 0GZK3V9TNQM\r\n"
      "\tfor <user@example.org>; " DATE "\r\n" },
    { "SMTP, several recipients",
      { BASE, .helo = STR("client.example") },
      "Received: from client.example ([192.0.2.7])\r\n"
      "\tby gw.example.com with SMTP id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "TLS, authenticated, IPv6",
      { .helo = STR("[IPv6:2001:db8::7]"),
        .client = STR("2001:db8::7"),
        .hostname = STR("gw"),
        .id = STR("1"),
        .tls = STR("TLSv1.3 TLS_AES_256_GCM_SHA384"),
        .when_us = WHEN,
        .esmtp = true,
        .encrypted = true,
        .authenticated = true },
      "Received: from [IPv6:2001:db8::7] ([IPv6:2001:db8::7])\r\n"
      "\t(using TLSv1.3 TLS_AES_256_GCM_SHA384)\r\n"
      "\tby gw with ESMTPSA id 1; " DATE "\r\n" },
    { "a certificate of the client, verified",
      { BASE, .helo = STR("c"), .tls = STR("TLSv1.3 X"), .tls_client = STR("CN=mx.example,O=A B"),
        .tls_client_verified = true, .esmtp = true, .encrypted = true },
      "Received: from c ([192.0.2.7]) (using TLSv1.3 X)\r\n"
      "\t(verified client CN=mx.example,O=A_B)\r\n"
      "\tby gw.example.com with ESMTPS id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "a certificate that would be more than a name",
      { BASE, .helo = STR("c"), .tls = STR("TLSv1.3 X"),
        .tls_client = STR("CN=a) by x;\r\n\\(\xc3\xb6"), .esmtp = true, .encrypted = true },
      "Received: from c ([192.0.2.7]) (using TLSv1.3 X)\r\n"
      "\t(unverified client CN=a__by_x_______)\r\n"
      "\tby gw.example.com with ESMTPS id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "UTF-8 names under SMTPUTF8",
      { BASE, .helo = STR("\xc3\xbc.example"), .rcpt = STR("\xc3\xb6@x"), .esmtp = true,
        .encrypted = true, .smtputf8 = true },
      "Received: from \xc3\xbc.example ([192.0.2.7])\r\n"
      "\tby gw.example.com with UTF8SMTPS id 0GZK3V9TNQM\r\n"
      "\tfor <\xc3\xb6@x>; " DATE "\r\n" },
    { "UTF-8 names without it",
      { BASE, .helo = STR("\xc3\xbc.example"), .rcpt = STR("\xc3\xb6@x"), .esmtp = true },
      "Received: from [192.0.2.7] ([192.0.2.7]) (said __.example)\r\n"
      "\tby gw.example.com with ESMTP id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "a name that would be more than a name",
      { BASE, .helo = STR("x) by evil;\r\nSubject: (\\ \"hi\"\tx"), .esmtp = true },
      "Received: from [192.0.2.7] ([192.0.2.7])\r\n"
      "\t(said x__by_evil___Subject:_____hi__x)\r\n"
      "\tby gw.example.com with ESMTP id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "a literal that is none",
      { BASE, .helo = STR("[1.2.3.4]\n[x]"), .esmtp = true },
      "Received: from [192.0.2.7] ([192.0.2.7]) (said _1.2.3.4___x_)\r\n"
      "\tby gw.example.com with ESMTP id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "nothing said",
      { BASE, .esmtp = true },
      "Received: from [192.0.2.7] ([192.0.2.7])\r\n"
      "\tby gw.example.com with ESMTP id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
    { "a recipient with control characters is not named",
      { BASE, .helo = STR("a"), .rcpt = STR("\"a\r\nb\"@x"), .esmtp = true },
      "Received: from a ([192.0.2.7])\r\n"
      "\tby gw.example.com with ESMTP id 0GZK3V9TNQM;\r\n"
      "\t" DATE "\r\n" },
};

static void the_field_is_as_it_should_be(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct buf out;

        buf_init(&out, MIME_TRACE_MAX);
        mime_trace_write(&out, &cases[i].trace);
        print_message("%s\n", cases[i].name);
        assert_false(out.failed);
        assert_string_equal(buf_cstr(&out), cases[i].field);
        buf_done(&out);
    }
}

static void check_lines(struct str field, size_t max)
{
    size_t line = 0;

    for (size_t i = 0; i < field.n; i++) {
        line++;
        assert_true(field.p[i] != '\r' || field.p[i + 1] == '\n');
        assert_true((unsigned char)field.p[i] != 0x7F);
        if (field.p[i] != '\n')
            continue;
        assert_true(line - 2 <= max);
        assert_true(i + 1 == field.n || field.p[i + 1] == '\t');
        line = 0;
    }
    assert_int_equal(line, 0);
}

static void whatever_is_said_the_lines_hold(void **state)
{
    static char long_text[2000];

    (void)state;
    for (int octet = 0; octet < 256; octet++)
        for (size_t n = 1; n < sizeof long_text; n = n < 4 ? n + 1 : n * 3) {
            struct str s = { long_text, n };
            struct mime_trace t = { BASE, .helo = s, .rcpt = s, .esmtp = true };
            struct buf out;

            memset(long_text, octet, n);
            buf_init(&out, MIME_TRACE_MAX);
            mime_trace_write(&out, &t);
            assert_false(out.failed);
            check_lines(buf_str(&out), n < 60 ? 78 : 998);
            buf_done(&out);
        }
}

static void the_protocol_names_are_the_registered_ones(void **state)
{
    static const char *const names[] = { "ESMTP",    "ESMTPS",    "ESMTPA",    "ESMTPSA",
                                         "UTF8SMTP", "UTF8SMTPS", "UTF8SMTPA", "UTF8SMTPSA" };

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct mime_trace t = {
            .esmtp = true, .encrypted = i & 1, .authenticated = i & 2, .smtputf8 = i & 4
        };

        assert_true(str_eq(mime_trace_protocol(&t), str_of(names[i])));
        t.esmtp = false;
        assert_true(str_eq(mime_trace_protocol(&t), STR("SMTP")));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_field_is_as_it_should_be),
        cmocka_unit_test(whatever_is_said_the_lines_hold),
        cmocka_unit_test(the_protocol_names_are_the_registered_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
