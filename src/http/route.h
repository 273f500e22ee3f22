#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "http/request.h"

/*
 * http/route: which handler answers to a method and a path.
 *
 * The table is static and looked through in order. A pattern is a path whose segments are literal
 * or "{name}", which stands for one non-empty segment. Parameters come out percent-decoded. Pure.
 */

struct http_exchange;

struct http_route {
    enum http_method method; /* a GET route answers HEAD too */
    const char *pattern;
    /* Called on the loop's thread; may not wait. See http/exchange.h. */
    void (*handler)(struct http_exchange *x);
    size_t body_max;     /* 0: a body is refused */
    const char *query;   /* the names of query parameters, separated by spaces; NULL: none */
    const char *summary; /* what it does, for a description of the routes; may be NULL */
    /* The same for media types, separated by spaces. Of the body; NULL: application/json. Of a good
     * answer; NULL: application/json, "": none (204). */
    const char *takes, *gives;
    /* The handler is called when the head is complete, and asks for the body in pieces:
     * http_exchange_want_body(). */
    bool streams;
};

/* For `query`: any names may come. */
#define HTTP_QUERY_ANY "*"

enum { HTTP_PARAMS_MAX = 4 };

struct http_param {
    struct str name; /* of the pattern */
    struct str value;
};

struct http_match {
    const struct http_route *route; /* NULL: see path_known */
    bool path_known;                /* the path exists, with other methods: 405 and `allow` */
    char allow[64];                 /* "GET, HEAD, PUT" */
    bool malformed;                 /* a broken percent escape in the path: 400 */
    size_t param_count;
    struct http_param params[HTTP_PARAMS_MAX];
};

/* `room` receives the decoded parameters and has room for path.n octets. */
void http_route_match(const struct http_route *routes, size_t count, enum http_method method,
                      struct str path, char *room, struct http_match *out);

/* True if `name` is one of the names in the route's `query`. */
bool http_route_takes(const struct http_route *route, struct str name);
