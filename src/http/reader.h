#pragma once
#include "base/buf.h"
#include "http/request.h"

/*
 * http/reader: where a request ends, and what it says.
 *
 * Sans-I/O: takes octets, gives one request. Every doubt about framing is an error, because two
 * programs that read the same octets differently are how requests are smuggled. llhttp in its
 * strict mode parses; in front of it stands a guard of ours, which looks at each octet of the head:
 *
 *   1. lines end in CRLF and nothing else; no control character but TAB anywhere in the head;
 *   2. no folded header, no header without a name, no empty line before the request line;
 *   3. HTTP/1.0 and 1.1 only, exactly one space on either side of the target;
 *   4. exactly one Host, well-formed (RFC 9112 section 3.2);
 *   5. at most one Content-Length, digits only; Transfer-Encoding is "chunked" or refused, and
 *      never beside a Content-Length or in HTTP/1.0; no chunk extensions, no trailers.
 *
 * The result does not depend on how the stream was cut into reads, and nothing behind the request
 * is taken. Limits: HTTP_HEAD_MAX octets and HTTP_HEADERS_MAX headers, the body's by its route.
 */

enum {
    HTTP_HEAD_MAX = 32 * 1024,
    HTTP_LINE_MAX = 8 * 1024, /* the request line */
    HTTP_HEADERS_MAX = 100,
};

enum http_read {
    HTTP_READ_MORE,   /* all input taken, the request goes on */
    HTTP_READ_HEAD,   /* the head is complete; say what body may come: http_reader_body() */
    HTTP_READ_DONE,   /* the request is complete */
    HTTP_READ_BROKEN, /* refused: see status and reason; the connection must be closed */
};

struct http_reader {
    struct http_request request;
    uint16_t status;    /* with BROKEN: what to answer */
    const char *reason; /* with BROKEN: constant text for a person */
    /* private from here on */
    uint8_t phase;
    uint8_t line_state;
    bool line_seen;
    bool head_seen;
    bool chunked;
    char tail[4]; /* of the body's stream */
    uint64_t content_length;
    size_t line_start;
    size_t body_max;
    size_t body_seen; /* octets of body, those dropped included */
    struct buf head;
    struct buf body;
    struct http_header headers[HTTP_HEADERS_MAX];
    struct http_parser *parser;
};

struct http_step {
    enum http_read status;
    size_t taken;
};

/* For one request. False when memory is short; then http_reader_done() may still be called. */
PT_NODISCARD bool http_reader_init(struct http_reader *r);
void http_reader_done(struct http_reader *r);

/* Feeding after DONE or BROKEN is a bug and asserts, and so is feeding after HEAD before
 * http_reader_body() was called. */
PT_NODISCARD struct http_step http_reader_feed(struct http_reader *r, struct str in);

/* After HEAD: a body of at most `max` octets may come. A longer one is refused with 413; at once
 * when it was announced: then false is returned, and status and reason are set. */
PT_NODISCARD bool http_reader_body(struct http_reader *r, size_t max);

/* Forgets the octets of body that have come so far: for who takes it in pieces. They count towards
 * `max` all the same. */
void http_reader_drop(struct http_reader *r);

/* True once the first octet of a request was seen. */
bool http_reader_begun(const struct http_reader *r);

/* True if the head says that a body follows. After HEAD only. */
bool http_reader_has_body(const struct http_reader *r);
