#include "http/reader.h"

#include <llhttp/llhttp.h>
#include <stdlib.h>

/*
 * The head is gathered octet by octet under the guard's eye until its empty line, then parsed in
 * one call, so that every span lies in one piece of memory that does not move. The body is parsed
 * as it comes.
 */

enum phase { PHASE_HEAD, PHASE_ROUTE, PHASE_BODY, PHASE_OVER };

/* What was just seen in the head. */
enum line_state { LINE_START, LINE_IN, LINE_CR, LINE_START_CR };

struct http_parser {
    llhttp_t llhttp;
    llhttp_settings_t settings;
    bool head_complete;
    bool message_complete;
};

static struct http_step broken(struct http_reader *r, unsigned status, const char *reason)
{
    r->phase = PHASE_OVER;
    r->status = (uint16_t)status;
    r->reason = reason;
    return (struct http_step){ HTTP_READ_BROKEN, 0 };
}

/* Remembers the first objection; the parser then stops with an error of its own. */
static int object(struct http_reader *r, unsigned status, const char *reason)
{
    if (!r->reason) {
        r->status = (uint16_t)status;
        r->reason = reason;
    }
    return -1;
}

/* ---- what llhttp tells ---- */

static struct http_reader *reader_of(llhttp_t *l)
{
    return l->data;
}

static int on_header_field(llhttp_t *l, const char *at, size_t n)
{
    struct http_reader *r = reader_of(l);

    if (r->parser->head_complete)
        return object(r, 400, "trailer fields are not accepted");
    if (r->request.header_count == HTTP_HEADERS_MAX)
        return object(r, 431, "too many header fields");
    r->headers[r->request.header_count++] = (struct http_header){ { at, n }, STR_NULL };
    return 0;
}

static int on_header_value(llhttp_t *l, const char *at, size_t n)
{
    struct http_reader *r = reader_of(l);
    struct http_header *h;

    if (r->request.header_count == 0 || r->parser->head_complete)
        return object(r, 400, "trailer fields are not accepted");
    h = &r->headers[r->request.header_count - 1];
    if (!h->value.p)
        h->value.p = at;
    /* Several spans of one value follow each other in the head; the last one ends the value. */
    h->value.n = (size_t)(at + n - h->value.p);
    return 0;
}

static int on_headers_complete(llhttp_t *l)
{
    reader_of(l)->parser->head_complete = true;
    /* "Upgrade" is an offer that a server may ignore (RFC 9110 section 7.8), and we do. */
    l->upgrade = 0;
    return 0;
}

static int on_chunk_extension(llhttp_t *l, const char *at, size_t n)
{
    return object(reader_of(l), 400, "chunk extensions are not accepted");
}

/* One that is too large is refused before it comes. */
static int on_chunk_header(llhttp_t *l)
{
    struct http_reader *r = reader_of(l);

    if (l->content_length > r->body_max - r->body_seen)
        return object(r, 413, "the body is larger than this resource takes");
    return 0;
}

static int on_body(llhttp_t *l, const char *at, size_t n)
{
    struct http_reader *r = reader_of(l);

    if (n > r->body_max - r->body_seen)
        return object(r, 413, "the body is larger than this resource takes");
    r->body_seen += n;
    buf_add(&r->body, at, n);
    return r->body.failed ? object(r, 503, "out of memory") : 0;
}

static int on_message_complete(llhttp_t *l)
{
    reader_of(l)->parser->message_complete = true;
    return HPE_PAUSED;
}

bool http_reader_init(struct http_reader *r)
{
    struct http_parser *p;

    memset(r, 0, offsetof(struct http_reader, headers));
    buf_init(&r->head, HTTP_HEAD_MAX);
    buf_init(&r->body, 0);
    r->parser = p = calloc(1, sizeof *p);
    if (!p)
        return false;
    llhttp_settings_init(&p->settings);
    p->settings.on_header_field = on_header_field;
    p->settings.on_header_value = on_header_value;
    p->settings.on_headers_complete = on_headers_complete;
    p->settings.on_chunk_extension_name = on_chunk_extension;
    p->settings.on_chunk_header = on_chunk_header;
    p->settings.on_body = on_body;
    p->settings.on_message_complete = on_message_complete;
    llhttp_init(&p->llhttp, HTTP_REQUEST, &p->settings);
    p->llhttp.data = r;
    return true;
}

void http_reader_done(struct http_reader *r)
{
    buf_done(&r->head);
    buf_done(&r->body);
    free(r->parser);
    r->parser = NULL;
}

bool http_reader_begun(const struct http_reader *r)
{
    return r->head.n > 0 || r->phase != PHASE_HEAD;
}

bool http_reader_has_body(const struct http_reader *r)
{
    return r->chunked || r->content_length > 0;
}

/* ---- the guard ---- */

/* NULL, or why this octet may not stand here. Sets `head_seen` at the end of the empty line. */
static const char *guard(struct http_reader *r, unsigned char c)
{
    bool first_line = r->line_start == 0;

    if ((c < 0x20 && c != '\t' && c != '\r' && c != '\n') || c == 0x7f)
        return "control character in the head";
    switch ((enum line_state)r->line_state) {
    case LINE_START:
        if (c == ' ' || c == '\t')
            return first_line ? "space before the request line" : "folded header line";
        if (c == ':')
            return "header field without a name";
        if (c == '\n')
            return "line feed without carriage return";
        if (c == '\r' && first_line)
            return "empty line before the request line";
        r->line_state = c == '\r' ? LINE_START_CR : LINE_IN;
        return NULL;
    case LINE_IN:
        if (c == '\n')
            return "line feed without carriage return";
        if (c == '\r')
            r->line_state = LINE_CR;
        return NULL;
    case LINE_CR:
    case LINE_START_CR:
        if (c != '\n')
            return "carriage return without line feed";
        r->head_seen = r->line_state == LINE_START_CR;
        r->line_state = LINE_START;
        r->line_start = r->head.n + 1;
        return NULL;
    }
    return "unknown state";
}

/* ---- the head's meaning ---- */

static enum http_method method_of(struct str name)
{
    for (int m = 0; m < HTTP_METHOD_OTHER; m++)
        if (str_eq(name, str_of(http_method_name((enum http_method)m))))
            return (enum http_method)m;
    return HTTP_METHOD_OTHER;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
    c = ascii_lower(c);
    return is_digit(c) || (c >= 'a' && c <= 'z');
}

static bool all_of(struct str s, bool (*good)(char c))
{
    for (size_t i = 0; i < s.n; i++)
        if (!good(s.p[i]))
            return false;
    return true;
}

/* pchar, '/' and '?' of RFC 3986, percent signs unchecked: they are when they are decoded. */
static bool target_octet(char c)
{
    return is_alnum(c) || (c && strchr("-._~!$&'()*+,;=:@%/?", c));
}

static bool name_octet(char c)
{
    return is_alnum(c) || c == '-' || c == '.' || c == '_';
}

static bool ipv6_octet(char c)
{
    return is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'f') || c == ':' || c == '.';
}

/* host [":" port]: gives the host. */
static bool parse_authority(struct str a, struct str *out_host)
{
    ptrdiff_t end = a.n && a.p[0] == '[' ? str_find(a, ']', 0) : str_find(a, ':', 0);
    struct str host, rest;

    if (a.n && a.p[0] == '[') {
        if (end < 3)
            return false;
        host = str_head(a, (size_t)end + 1);
        if (!all_of((struct str){ host.p + 1, host.n - 2 }, ipv6_octet))
            return false;
    } else {
        host = end < 0 ? a : str_head(a, (size_t)end);
        if (host.n == 0 || !all_of(host, name_octet))
            return false;
    }
    rest = str_from(a, host.n);
    if (rest.n && (rest.p[0] != ':' || rest.n > 6 || !all_of(str_from(rest, 1), is_digit)))
        return false;
    *out_host = host;
    return true;
}

/* Splits the target; an absolute one (RFC 9112 section 3.2.2) gives its authority too. */
static const char *parse_target(struct http_request *q, struct str target, struct str *authority)
{
    struct str scheme = STR("http://");
    ptrdiff_t mark;

    *authority = STR_NULL;
    if (str_starts_nocase(target, scheme)) {
        struct str rest = str_from(target, scheme.n);
        ptrdiff_t slash = str_find(rest, '/', 0);

        if (slash <= 0)
            return "malformed request target";
        *authority = str_head(rest, (size_t)slash);
        target = str_from(rest, (size_t)slash);
    }
    if (target.n == 0 || target.p[0] != '/' || !all_of(target, target_octet))
        return "malformed request target";
    mark = str_find(target, '?', 0);
    q->path = mark < 0 ? target : str_head(target, (size_t)mark);
    q->query = mark < 0 ? STR_NULL : str_from(target, (size_t)mark + 1);
    return NULL;
}

/* method SP target SP version */
static struct http_step parse_line(struct http_reader *r, struct str *out_authority)
{
    struct str head = buf_str(&r->head);
    struct str line = str_head(head, (size_t)str_find(head, '\r', 0));
    ptrdiff_t first = str_find(line, ' ', 0);
    ptrdiff_t second = first < 0 ? -1 : str_find(line, ' ', (size_t)first + 1);
    struct str version;
    const char *why;

    if (first <= 0 || second < 0 || str_find(line, ' ', (size_t)second + 1) >= 0)
        return broken(r, 400, "malformed request line");
    version = str_from(line, (size_t)second + 1);
    if (!str_starts_nocase(version, STR("HTTP/")))
        return broken(r, 400, "malformed request line");
    r->request.http10 = str_eq(version, STR("HTTP/1.0"));
    if (!r->request.http10 && !str_eq(version, STR("HTTP/1.1")))
        return broken(r, 505, "HTTP/1.0 and HTTP/1.1 are spoken here");
    r->request.method = method_of(str_head(line, (size_t)first));
    why =
        parse_target(&r->request, (struct str){ line.p + first + 1, (size_t)(second - first - 1) },
                     out_authority);
    if (why)
        return broken(r, 400, why);
    return (struct http_step){ HTTP_READ_MORE, 0 };
}

/* Gathers the head; taken < in.n only when it is complete or broken. */
static struct http_step gather(struct http_reader *r, struct str in)
{
    struct str authority;
    size_t i;

    for (i = 0; i < in.n && !r->head_seen; i++) {
        const char *why = guard(r, (unsigned char)in.p[i]);

        if (why)
            return broken(r, 400, why);
        buf_add_char(&r->head, in.p[i]);
        if (r->head.failed)
            return broken(r, r->head.n >= HTTP_HEAD_MAX ? 431 : 503,
                          r->head.n >= HTTP_HEAD_MAX ? "the head is too large" : "out of memory");
        if (r->line_start == 0 && r->head.n > HTTP_LINE_MAX)
            return broken(r, 414, "the request line is too long");
        /* Another protocol is told so at its first line, not left to wait for an empty one. */
        if (r->line_start && r->line_start == r->head.n && !r->line_seen) {
            r->line_seen = true;
            if (parse_line(r, &authority).status == HTTP_READ_BROKEN)
                return (struct http_step){ HTTP_READ_BROKEN, i };
        }
    }
    return (struct http_step){ r->head_seen ? HTTP_READ_HEAD : HTTP_READ_MORE, i };
}

/* The one value of a header; false if it stands there more than once. */
static bool only(const struct http_reader *r, const char *name, struct str *out)
{
    struct str wanted = str_of(name);
    bool seen = false;

    *out = STR_NULL;
    for (size_t i = 0; i < r->request.header_count; i++) {
        if (!str_eq_nocase(r->headers[i].name, wanted))
            continue;
        if (seen)
            return false;
        seen = true;
        *out = r->headers[i].value.p ? r->headers[i].value : STR("");
    }
    return true;
}

static struct http_step check_host(struct http_reader *r, struct str authority)
{
    struct str value;

    if (!only(r, "host", &value) || !value.p || !parse_authority(value, &r->request.host))
        return broken(r, 400, "exactly one well-formed Host is needed");
    if (authority.p && !str_eq_nocase(authority, value))
        return broken(r, 400, "Host and request target name different hosts");
    return (struct http_step){ HTTP_READ_MORE, 0 };
}

static struct http_step check_framing(struct http_reader *r)
{
    struct str length, encoding, expect;

    if (!only(r, "content-length", &length) || !only(r, "transfer-encoding", &encoding))
        return broken(r, 400, "the length of the body is said twice");
    if (length.p && encoding.p)
        return broken(r, 400, "the length of the body is said twice");
    if (length.p && !str_to_u64(length, &r->content_length))
        return broken(r, 400, "malformed Content-Length");
    if (encoding.p && (r->request.http10 || !str_eq_nocase(encoding, STR("chunked"))))
        return broken(r, 400, "the only Transfer-Encoding understood is chunked, in HTTP/1.1");
    r->chunked = encoding.p != NULL;
    if (!only(r, "expect", &expect) || (expect.p && !str_eq_nocase(expect, STR("100-continue"))))
        return broken(r, 417, "this expectation cannot be met");
    r->request.expect_continue = expect.p && !r->request.http10 && http_reader_has_body(r);
    return (struct http_step){ HTTP_READ_MORE, 0 };
}

static bool says_close(const struct http_request *q)
{
    struct str value = http_request_header(q, "connection");

    for (size_t at = 0; at < value.n;) {
        ptrdiff_t comma = str_find(value, ',', at);
        size_t end = comma < 0 ? value.n : (size_t)comma;

        if (str_eq_nocase(str_trim((struct str){ value.p + at, end - at }), STR("close")))
            return true;
        at = end + 1;
    }
    return false;
}

/* Parses the gathered head. */
static struct http_step understand(struct http_reader *r)
{
    struct http_parser *p = r->parser;
    struct http_step step;
    struct str authority;
    llhttp_errno_t err;

    step = parse_line(r, &authority);
    if (step.status == HTTP_READ_BROKEN)
        return step;
    err = llhttp_execute(&p->llhttp, r->head.p, r->head.n);
    if ((err != HPE_OK && err != HPE_PAUSED) || !p->head_complete) {
        if (err == HPE_INVALID_METHOD && !r->reason)
            return broken(r, 501, "this method is not known");
        return broken(r, r->reason ? r->status : 400, r->reason ? r->reason : "malformed head");
    }
    for (size_t i = 0; i < r->request.header_count; i++)
        r->headers[i].value = str_trim(r->headers[i].value);
    r->request.headers = r->headers;
    step = check_host(r, authority);
    if (step.status != HTTP_READ_BROKEN)
        step = check_framing(r);
    if (step.status == HTTP_READ_BROKEN)
        return step;
    r->request.keep_alive = !r->request.http10 && !says_close(&r->request);
    r->phase = PHASE_ROUTE;
    return (struct http_step){ HTTP_READ_HEAD, 0 };
}

bool http_reader_body(struct http_reader *r, size_t max)
{
    pt_assert(r->phase == PHASE_ROUTE);
    if (r->content_length > max) {
        broken(r, 413, "the body is larger than this resource takes");
        return false;
    }
    r->body_max = max;
    buf_init(&r->body, max);
    r->phase = PHASE_BODY;
    return true;
}

void http_reader_drop(struct http_reader *r)
{
    pt_assert(r->phase == PHASE_BODY || r->phase == PHASE_OVER);
    buf_clear(&r->body);
    r->request.body = STR_NULL;
}

/* Remembers the last octets taken. */
static void keep_tail(struct http_reader *r, struct str taken)
{
    size_t n = PT_MIN(taken.n, sizeof r->tail);

    memmove(r->tail, r->tail + n, sizeof r->tail - n);
    memcpy(r->tail + sizeof r->tail - n, taken.p + taken.n - n, n);
}

static struct http_step read_body(struct http_reader *r, struct str in)
{
    struct http_parser *p = r->parser;
    size_t taken = 0;

    if (!p->message_complete) {
        llhttp_errno_t err = in.n ? llhttp_execute(&p->llhttp, in.p, in.n) : HPE_OK;

        if (err != HPE_OK && !(err == HPE_PAUSED && p->message_complete))
            return broken(r, r->reason ? r->status : 400,
                          r->reason ? r->reason : "malformed chunked body");
        taken = p->message_complete ? (size_t)(llhttp_get_error_pos(&p->llhttp) - in.p) : in.n;
        if (taken)
            keep_tail(r, str_head(in, taken));
    }
    if (!p->message_complete)
        return (struct http_step){ HTTP_READ_MORE, taken };
    /* llhttp takes a line feed alone for the empty line behind the last chunk. */
    if (r->chunked && memcmp(r->tail, "\r\n\r\n", 4) != 0)
        return broken(r, 400, "line feed without carriage return");
    r->request.body = buf_str(&r->body);
    r->phase = PHASE_OVER;
    return (struct http_step){ HTTP_READ_DONE, taken };
}

struct http_step http_reader_feed(struct http_reader *r, struct str in)
{
    struct http_step step;
    size_t taken;

    pt_assert(r->phase == PHASE_HEAD || r->phase == PHASE_BODY);
    if (r->phase == PHASE_BODY)
        return read_body(r, in);
    step = gather(r, in);
    if (step.status != HTTP_READ_HEAD)
        return step;
    taken = step.taken;
    step = understand(r);
    step.taken = taken;
    return step;
}
