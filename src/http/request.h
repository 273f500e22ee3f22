#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * http/request: one request as a value.
 *
 * All octets are borrowed from the reader that made the request (http/reader.h) and live as long as
 * it. Names and values of headers are as received, without the spaces around them.
 */

enum http_method {
    HTTP_METHOD_GET,
    HTTP_METHOD_HEAD,
    HTTP_METHOD_POST,
    HTTP_METHOD_PUT,
    HTTP_METHOD_PATCH,
    HTTP_METHOD_DELETE,
    HTTP_METHOD_OTHER, /* well-formed, but nothing here answers to it */
};

/* "GET"; "?" for OTHER. */
const char *http_method_name(enum http_method method);

struct http_header {
    struct str name;
    struct str value;
};

struct http_request {
    enum http_method method;
    bool http10;          /* HTTP/1.0, otherwise 1.1 */
    bool keep_alive;      /* the client would send more on this connection */
    bool expect_continue; /* the client waits for "100 Continue" before it sends the body */
    struct str path;      /* starts with '/', still percent-encoded */
    struct str query;     /* behind '?', still percent-encoded; empty: none */
    struct str host;      /* authority without the port; IPv6 in brackets */
    const struct http_header *headers;
    size_t header_count;
    struct str body;
};

/* The value of the first header of that name (case does not count); .p is NULL when there is none.
 */
struct str http_request_header(const struct http_request *r, const char *name);

/*
 * Takes the percent-encoding off (RFC 3986 section 2.1) and, with `plus`, makes '+' a space as
 * forms do. The result goes to `out`, which has room for in.n octets. False on a broken escape or
 * one that stands for NUL.
 */
PT_NODISCARD bool http_percent_decode(struct str in, bool plus, char *out, size_t *out_n);
