#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "http/reader.h"

#define H "Host: gw\r\n"

/* Feeds the wire in pieces of `size` octets up to the end of the first request. */
static enum http_read feed(struct http_reader *r, struct str wire, size_t size, size_t *out_taken)
{
    enum http_read status = HTTP_READ_MORE;
    size_t taken = 0;

    while (taken < wire.n && (status == HTTP_READ_MORE || status == HTTP_READ_HEAD)) {
        struct http_step step;

        if (status == HTTP_READ_HEAD && !http_reader_body(r, 16)) {
            status = HTTP_READ_BROKEN;
            break;
        }
        step = http_reader_feed(r, str_head(str_from(wire, taken), size));
        status = step.status;
        taken += step.taken;
    }
    if (status == HTTP_READ_HEAD) {
        if (!http_reader_body(r, 16))
            status = HTTP_READ_BROKEN;
        else
            status = http_reader_feed(r, STR_NULL).status;
    }
    *out_taken = taken;
    return status;
}

/* ---- what is refused ---- */

static const struct refused {
    const char *name;
    struct str wire;
    unsigned status;
} refused[] = {
    { "line feeds alone", STR("GET / HTTP/1.1\nHost: gw\n\n"), 400 },
    { "line feed ends the request line", STR("GET / HTTP/1.1\n" H "\r\n"), 400 },
    { "line feed ends a header", STR("GET / HTTP/1.1\r\nHost: gw\nA: b\r\n\r\n"), 400 },
    { "line feed ends the head", STR("GET / HTTP/1.1\r\n" H "\n"), 400 },
    { "carriage return alone", STR("GET / HTTP/1.1\rHost: gw\r\r"), 400 },
    { "carriage return in a value", STR("GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n"), 400 },
    { "NUL in a value", STR("GET / HTTP/1.1\r\n" H "A: b\0c\r\n\r\n"), 400 },
    { "escape in a value", STR("GET / HTTP/1.1\r\n" H "A: \x1b[2J\r\n\r\n"), 400 },
    { "empty line first", STR("\r\nGET / HTTP/1.1\r\n" H "\r\n"), 400 },
    { "space first", STR(" GET / HTTP/1.1\r\n" H "\r\n"), 400 },
    { "folded header", STR("GET / HTTP/1.1\r\n" H "A: b\r\n c\r\n\r\n"), 400 },
    { "folded by a tab", STR("GET / HTTP/1.1\r\n" H "A: b\r\n\tc\r\n\r\n"), 400 },
    { "space before the first header", STR("GET / HTTP/1.1\r\n Host: gw\r\n\r\n"), 400 },
    { "header without a name", STR("GET / HTTP/1.1\r\n" H ": b\r\n\r\n"), 400 },
    { "header without a colon", STR("GET / HTTP/1.1\r\n" H "A\r\n\r\n"), 400 },
    { "space before the colon", STR("GET / HTTP/1.1\r\nHost : gw\r\n\r\n"), 400 },
    { "space before a length's colon", STR("POST / HTTP/1.1\r\n" H "Content-Length : 1\r\n\r\nx"),
      400 },
    { "8-bit octet in a name", STR("GET / HTTP/1.1\r\n" H "\xc3\xa9: b\r\n\r\n"), 400 },
    { "two spaces in the request line", STR("GET  / HTTP/1.1\r\n" H "\r\n"), 400 },
    { "space behind the version", STR("GET / HTTP/1.1 \r\n" H "\r\n"), 400 },
    { "tab in the request line", STR("GET\t/ HTTP/1.1\r\n" H "\r\n"), 400 },
    { "no version", STR("GET /\r\n" H "\r\n"), 400 },
    { "HTTP/0.9", STR("GET / HTTP/0.9\r\n" H "\r\n"), 505 },
    { "HTTP/2.0", STR("GET / HTTP/2.0\r\n" H "\r\n"), 505 },
    { "HTTP/1.10", STR("GET / HTTP/1.10\r\n" H "\r\n"), 505 },
    { "HTTP/11", STR("GET / HTTP/11\r\n" H "\r\n"), 505 },
    { "small letters", STR("GET / http/1.1\r\n" H "\r\n"), 505 },
    { "another protocol", STR("OPTIONS / RTSP/1.0\r\n" H "\r\n"), 400 },
    { "HTTP/2 preface", STR("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505 },
    { "SMTP", STR("EHLO client.example\r\n"), 400 },
    { "TLS", STR("\x16\x03\x01\x02\x00\x01\x00\x01\xfc"), 400 },
    { "unknown method", STR("FROB / HTTP/1.1\r\n" H "\r\n"), 501 },
    { "small method", STR("get / HTTP/1.1\r\n" H "\r\n"), 501 },
    { "target without a slash", STR("GET a HTTP/1.1\r\n" H "\r\n"), 400 },
    { "asterisk", STR("GET * HTTP/1.1\r\n" H "\r\n"), 400 },
    { "fragment", STR("GET /a#b HTTP/1.1\r\n" H "\r\n"), 400 },
    { "8-bit target", STR("GET /\xc3\xa9 HTTP/1.1\r\n" H "\r\n"), 400 },
    { "backslash", STR("GET /\\ HTTP/1.1\r\n" H "\r\n"), 400 },
    { "foreign scheme", STR("GET ftp://gw/ HTTP/1.1\r\n" H "\r\n"), 400 },
    { "tunnel", STR("CONNECT gw:443 HTTP/1.1\r\n" H "\r\n"), 400 },
    { "no Host", STR("GET / HTTP/1.1\r\nA: b\r\n\r\n"), 400 },
    { "empty Host", STR("GET / HTTP/1.1\r\nHost:\r\n\r\n"), 400 },
    { "two Hosts", STR("GET / HTTP/1.1\r\n" H H "\r\n"), 400 },
    { "Host with a path", STR("GET / HTTP/1.1\r\nHost: gw/x\r\n\r\n"), 400 },
    { "Host with a user", STR("GET / HTTP/1.1\r\nHost: a@gw\r\n\r\n"), 400 },
    { "Host list", STR("GET / HTTP/1.1\r\nHost: a,b\r\n\r\n"), 400 },
    { "Host with a bad port", STR("GET / HTTP/1.1\r\nHost: gw:8x\r\n\r\n"), 400 },
    { "open bracket", STR("GET / HTTP/1.1\r\nHost: [::1\r\n\r\n"), 400 },
    { "Host against target", STR("GET http://other/ HTTP/1.1\r\n" H "\r\n"), 400 },
    { "no Host in 1.0", STR("GET / HTTP/1.0\r\n\r\n"), 400 },
    { "length twice",
      STR("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 1\r\n\r\nx"), 400 },
    { "two lengths", STR("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nContent-Length: 2\r\n\r\nx"),
      400 },
    { "list of lengths", STR("POST / HTTP/1.1\r\n" H "Content-Length: 1, 1\r\n\r\nx"), 400 },
    { "signed length", STR("POST / HTTP/1.1\r\n" H "Content-Length: +1\r\n\r\nx"), 400 },
    { "negative length", STR("POST / HTTP/1.1\r\n" H "Content-Length: -1\r\n\r\nx"), 400 },
    { "hex length", STR("POST / HTTP/1.1\r\n" H "Content-Length: 0x1\r\n\r\nx"), 400 },
    { "empty length", STR("POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\nx"), 400 },
    { "length with a space", STR("POST / HTTP/1.1\r\n" H "Content-Length: 1 0\r\n\r\nx"), 400 },
    { "length beyond 64 bits",
      STR("POST / HTTP/1.1\r\n" H "Content-Length: 18446744073709551617\r\n\r\nx"), 400 },
    { "length and chunks",
      STR("POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 400 },
    { "chunks and length",
      STR("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"), 400 },
    { "unknown coding", STR("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n"), 400 },
    { "chunked, then gzip", STR("POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked, gzip\r\n\r\n"),
      400 },
    { "gzip, then chunked", STR("POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n"),
      400 },
    { "almost chunked", STR("POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n"), 400 },
    { "quoted chunked", STR("POST / HTTP/1.1\r\n" H "Transfer-Encoding: \"chunked\"\r\n\r\n"),
      400 },
    { "chunked twice",
      STR("POST / HTTP/1.1\r\n" H
          "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
      400 },
    { "chunks in 1.0", STR("POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n"), 400 },
    { "unknown expectation", STR("POST / HTTP/1.1\r\n" H "Expect: tea\r\n\r\n"), 417 },
    { "body too long", STR("POST / HTTP/1.1\r\n" H "Content-Length: 17\r\n\r\n"), 413 },
};

#define CHUNKED "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"

static const struct refused refused_chunks[] = {
    { "chunk size ended by line feed", STR(CHUNKED "1\nx\r\n0\r\n\r\n"), 400 },
    { "chunk ended by line feed", STR(CHUNKED "1\r\nx\n0\r\n\r\n"), 400 },
    { "last chunk ended by line feed", STR(CHUNKED "1\r\nx\r\n0\n\r\n"), 400 },
    { "end by line feed", STR(CHUNKED "1\r\nx\r\n0\r\n\n"), 400 },
    { "chunk longer than said", STR(CHUNKED "1\r\nxy\r\n0\r\n\r\n"), 400 },
    { "chunk size of nothing", STR(CHUNKED "\r\nx\r\n0\r\n\r\n"), 400 },
    { "signed chunk size", STR(CHUNKED "+1\r\nx\r\n0\r\n\r\n"), 400 },
    { "chunk size with 0x", STR(CHUNKED "0x1\r\nx\r\n0\r\n\r\n"), 400 },
    { "space before the chunk size", STR(CHUNKED " 1\r\nx\r\n0\r\n\r\n"), 400 },
    { "space behind the chunk size", STR(CHUNKED "1 \r\nx\r\n0\r\n\r\n"), 400 },
    { "chunk size beyond 64 bits", STR(CHUNKED "10000000000000001\r\nx\r\n0\r\n\r\n"), 400 },
    { "chunk extension", STR(CHUNKED "1;a=b\r\nx\r\n0\r\n\r\n"), 400 },
    { "chunk extension without a name", STR(CHUNKED "1;\r\nx\r\n0\r\n\r\n"), 400 },
    { "extension of the last chunk", STR(CHUNKED "1\r\nx\r\n0;a\r\n\r\n"), 400 },
    { "trailer", STR(CHUNKED "1\r\nx\r\n0\r\nA: b\r\n\r\n"), 400 },
    { "trailer that moves the end", STR(CHUNKED "0\r\nContent-Length: 5\r\n\r\n"), 400 },
    { "chunks too long", STR(CHUNKED "10\r\n0123456789abcdef\r\n1\r\nx\r\n0\r\n\r\n"), 413 },
};

static void check_refused(const struct refused *c)
{
    for (size_t size = 1; size <= c->wire.n; size++) {
        struct http_reader r;
        size_t taken;
        enum http_read status;

        assert_true(http_reader_init(&r));
        status = feed(&r, c->wire, size, &taken);
        if (status != HTTP_READ_BROKEN || r.status != c->status)
            fail_msg("%s, %zu at a time: result %d, status %u, reason %s", c->name, size, status,
                     r.status, r.reason ? r.reason : "none");
        assert_non_null(r.reason);
        http_reader_done(&r);
    }
}

static void every_doubt_about_framing_is_refused(void **state)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(refused); i++)
        check_refused(&refused[i]);
    for (size_t i = 0; i < PT_ARRAY_LEN(refused_chunks); i++)
        check_refused(&refused_chunks[i]);
}

/* ---- what is taken ---- */

static const struct taken {
    const char *name;
    struct str wire; /* one request, and perhaps more behind it */
    size_t length;   /* octets of the request */
    enum http_method method;
    struct str path, query, body;
    bool keep_alive;
} taken[] = {
#define TAKEN(name, request, rest, ...)                                                            \
    {                                                                                              \
        name, STR(request rest), sizeof(request) - 1, __VA_ARGS__                                  \
    }
    TAKEN("plain", "GET / HTTP/1.1\r\n" H "\r\n", "", HTTP_METHOD_GET, STR("/"), STR(""), STR(""),
          true),
    TAKEN("the next request stays", "GET /a HTTP/1.1\r\n" H "\r\n", "GET /b HTTP/1.1\r\n",
          HTTP_METHOD_GET, STR("/a"), STR(""), STR(""), true),
    TAKEN("query", "GET /a?b=c&d HTTP/1.1\r\n" H "\r\n", "", HTTP_METHOD_GET, STR("/a"),
          STR("b=c&d"), STR(""), true),
    TAKEN("absolute target", "GET http://GW/a HTTP/1.1\r\n" H "\r\n", "", HTTP_METHOD_GET,
          STR("/a"), STR(""), STR(""), true),
    TAKEN("body", "PUT /a HTTP/1.1\r\n" H "Content-Length: 3\r\n\r\nxyz", "GET", HTTP_METHOD_PUT,
          STR("/a"), STR(""), STR("xyz"), true),
    TAKEN("empty body", "POST /a HTTP/1.1\r\n" H "Content-Length: 0\r\n\r\n", "x", HTTP_METHOD_POST,
          STR("/a"), STR(""), STR(""), true),
    TAKEN("chunks", CHUNKED "1\r\nx\r\nA\r\n0123456789\r\n0\r\n\r\n", "GET", HTTP_METHOD_POST,
          STR("/"), STR(""), STR("x0123456789"), true),
    TAKEN("chunks named in capitals",
          "POST / HTTP/1.1\r\n" H "transfer-encoding: Chunked\r\n\r\n0\r\n\r\n", "",
          HTTP_METHOD_POST, STR("/"), STR(""), STR(""), true),
    TAKEN("close", "DELETE /a HTTP/1.1\r\n" H "Connection: foo, Close\r\n\r\n", "",
          HTTP_METHOD_DELETE, STR("/a"), STR(""), STR(""), false),
    TAKEN("1.0", "GET / HTTP/1.0\r\n" H "Connection: keep-alive\r\n\r\n", "", HTTP_METHOD_GET,
          STR("/"), STR(""), STR(""), false),
    TAKEN("upgrade is an offer",
          "GET / HTTP/1.1\r\n" H "Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", "GET",
          HTTP_METHOD_GET, STR("/"), STR(""), STR(""), true),
    TAKEN("upgrade with a body",
          "POST / HTTP/1.1\r\n" H
          "Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 1\r\n\r\nx",
          "GET", HTTP_METHOD_POST, STR("/"), STR(""), STR("x"), true),
    TAKEN("known method that nobody answers", "TRACE /a HTTP/1.1\r\n" H "\r\n", "",
          HTTP_METHOD_OTHER, STR("/a"), STR(""), STR(""), true),
};

static void the_request_does_not_depend_on_the_cuts(void **state)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(taken); i++) {
        const struct taken *c = &taken[i];

        for (size_t size = 1; size <= c->wire.n; size++) {
            struct http_reader r;
            size_t used;
            enum http_read status;

            assert_true(http_reader_init(&r));
            status = feed(&r, c->wire, size, &used);
            if (status != HTTP_READ_DONE)
                fail_msg("%s, %zu at a time: %s", c->name, size, r.reason);
            assert_int_equal(used, c->length);
            assert_int_equal(r.request.method, c->method);
            assert_true(str_eq(r.request.path, c->path));
            assert_true(str_eq(r.request.query, c->query));
            assert_true(str_eq(r.request.body, c->body));
            assert_int_equal(r.request.keep_alive, c->keep_alive);
            http_reader_done(&r);
        }
    }
}

static void headers_come_trimmed_and_without_regard_to_case(void **state)
{
    struct str wire = STR("GET / HTTP/1.1\r\nHOST:[::1]:8025\r\nAccept: \t a b \r\nX-Empty:\r\n"
                          "Connection: a , b\r\n\r\n");
    struct http_reader r;
    size_t used;

    assert_true(http_reader_init(&r));
    assert_int_equal(feed(&r, wire, wire.n, &used), HTTP_READ_DONE);
    assert_true(str_eq(r.request.host, STR("[::1]")));
    assert_true(str_eq(http_request_header(&r.request, "accept"), STR("a b")));
    assert_true(str_eq(http_request_header(&r.request, "x-empty"), STR("")));
    assert_true(str_eq(http_request_header(&r.request, "connection"), STR("a , b")));
    assert_null(http_request_header(&r.request, "cookie").p);
    http_reader_done(&r);
}

/* ---- limits ---- */

static enum http_read feed_repeated(struct http_reader *r, struct str start, struct str again)
{
    struct http_step step = http_reader_feed(r, start);

    while (step.status == HTTP_READ_MORE)
        step = http_reader_feed(r, again);
    return step.status;
}

static void heads_have_limits(void **state)
{
    static const struct {
        struct str start, again;
        unsigned status;
    } cases[] = {
        { STR("GET /"), STR("aaaaaaaaaaaaaaaa"), 414 },
        { STR("GET / HTTP/1.1\r\nA: "), STR("bbbbbbbbbbbbbbbb"), 431 },
        { STR("GET / HTTP/1.1\r\n"), STR("Header: some value that is long\r\n"), 431 },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct http_reader r;

        assert_true(http_reader_init(&r));
        assert_int_equal(feed_repeated(&r, cases[i].start, cases[i].again), HTTP_READ_BROKEN);
        assert_int_equal(r.status, cases[i].status);
        http_reader_done(&r);
    }
}

static void a_hundred_headers_and_no_more(void **state)
{
    for (unsigned count = HTTP_HEADERS_MAX; count <= HTTP_HEADERS_MAX + 1; count++) {
        struct http_reader r;
        struct http_step step;

        assert_true(http_reader_init(&r));
        step = http_reader_feed(&r, STR("GET / HTTP/1.1\r\n" H));
        for (unsigned i = 1; i < count; i++)
            step = http_reader_feed(&r, STR("A: b\r\n"));
        step = http_reader_feed(&r, STR("\r\n"));
        if (count == HTTP_HEADERS_MAX) {
            assert_int_equal(step.status, HTTP_READ_HEAD);
        } else {
            assert_int_equal(step.status, HTTP_READ_BROKEN);
            assert_int_equal(r.status, 431);
        }
        http_reader_done(&r);
    }
}

static void percent_escapes(void **state)
{
    static const struct {
        struct str in, out;
        bool plus, good;
    } cases[] = {
        { STR("a%20b"), STR("a b"), false, true },  { STR("a+b"), STR("a+b"), false, true },
        { STR("a+b%2B"), STR("a b+"), true, true }, { STR("%c3%A9"), STR("\xc3\xa9"), false, true },
        { STR("%"), STR(""), false, false },        { STR("%4"), STR(""), false, false },
        { STR("%g0"), STR(""), false, false },      { STR("a%00"), STR(""), false, false },
        { STR(""), STR(""), false, true },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        char room[16];
        size_t n;

        assert_int_equal(http_percent_decode(cases[i].in, cases[i].plus, room, &n), cases[i].good);
        if (cases[i].good)
            assert_true(str_eq((struct str){ room, n }, cases[i].out));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_doubt_about_framing_is_refused),
        cmocka_unit_test(the_request_does_not_depend_on_the_cuts),
        cmocka_unit_test(headers_come_trimmed_and_without_regard_to_case),
        cmocka_unit_test(heads_have_limits),
        cmocka_unit_test(a_hundred_headers_and_no_more),
        cmocka_unit_test(percent_escapes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
