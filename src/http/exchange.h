#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mailbox.h"
#include "http/reader.h"
#include "http/route.h"
#include "http/task.h"
#include "net/addr.h"

/*
 * http/exchange: a request and the response in the making.
 *
 * A handler is called on the loop's thread with a complete request. It fills the response and ends
 * with http_exchange_finish(), at once or later. What may take long runs elsewhere, on a work pool
 * (http/work.h) or any other thread, which then calls http_exchange_post() instead; until then the
 * exchange is that thread's alone, and it stays valid even if the client goes away meanwhile.
 * A response that nothing was said about is a 500.
 */

struct net_loop;
struct http_conn;

enum { HTTP_QUERY_MAX = 16, HTTP_RESPONSE_MAX = 64 * 1024 * 1024 };

/* The length of a body that ends with its connection. */
#define HTTP_ENDLESS UINT64_MAX

struct http_response {
    uint16_t status;
    const char *type; /* media type, constant; NULL: no body */
    struct buf head;  /* further header lines, each ended by CRLF: http_header_add() */
    struct buf body;
    /*
     * For a body that does not fit in memory: its size, and a function that is called on the
     * loop's thread when what is in `body` was written and more is due. It puts the next octets
     * into the emptied `body` and finishes or posts again. Ending early means http_exchange_abort()
     * before that: the client then sees a broken connection, not a short body.
     *
     * A total of HTTP_ENDLESS is for streams of events: it may take any time until more is due, and
     * finishing with an empty body is the end.
     */
    uint64_t total;
    void (*more)(struct http_exchange *x);
    bool aborted;
};

struct http_exchange {
    struct http_request *request; /* of `reader` */
    struct http_response response;
    void *ctx;  /* the server's */
    void *user; /* the handler's; freed by user_free when the exchange ends */
    void (*user_free)(void *user);
    uint32_t peer_uid;        /* over a Unix socket: who asks, and the process; */
    int32_t peer_pid;         /* 0: not known */
    struct net_endpoint peer; /* over TCP: who asks; else of no family */
    unsigned deadline_ms;     /* not 0: for the rest of this request, instead of the server's */
    bool body_over;           /* of a body in pieces: nothing comes behind request->body */
    /* While it waits, nobody but the loop holds it: when its client leaves it is freed at once. */
    bool on_loop;
    /* private from here on */
    struct http_reader reader;
    struct http_match match;
    struct http_param query[HTTP_QUERY_MAX];
    size_t query_count;
    char *room; /* decoded parameters */
    struct net_loop *loop;
    struct http_conn *conn; /* NULL once the client is gone */
    struct mail mail;
    struct http_task task;
    void (*work)(struct http_exchange *x);
    void (*then)(struct http_exchange *x);
    void (*body_wanted)(struct http_exchange *x);
    bool finished;
    _Atomic unsigned *live; /* the server's count of exchanges */
};

/* A parameter of the path pattern; the route must have it. */
struct str http_exchange_param(const struct http_exchange *x, const char *name);

/* A query parameter, decoded; .p is NULL where the request has none. */
struct str http_exchange_query(const struct http_exchange *x, const char *name);

/* True for "name", "name=", "name=true" and "name=1". */
bool http_exchange_query_flag(const struct http_exchange *x, const char *name);

/* A number from the query: `fallback` where it is missing, false where it is no number. */
PT_NODISCARD bool http_exchange_query_u64(const struct http_exchange *x, const char *name,
                                          uint64_t fallback, uint64_t *out);

/* Adds a header line. `value` must not come from a peer. Cache-Control comes first, or the answer
 * has "no-store". */
void http_header_add(struct http_exchange *x, const char *name, const char *value);

/* The response is ready. On the loop's thread; the exchange may be gone afterwards. */
void http_exchange_finish(struct http_exchange *x);

/* The same from any other thread. */
void http_exchange_post(struct http_exchange *x);

/* The rest of a body cannot be had: the connection will be closed. */
void http_exchange_abort(struct http_exchange *x);

/*
 * The next piece of the body, on a route that `streams`: `taken` is called on the loop's thread
 * with it in x->request->body, which is good until it returns; none is the end, and then body_over
 * is set. What is not asked for is not read. To answer without having seen the end is allowed: the
 * connection then ends with the answer. If the client leaves, or its body is malformed or too long,
 * `taken` is never called and the exchange is gone: user_free says so. On the loop's thread; the
 * exchange may be gone afterwards.
 */
void http_exchange_want_body(struct http_exchange *x, void (*taken)(struct http_exchange *x));

/* Ends the connection at once, with whatever is under way on it. On the loop's thread, and not from
 * a call that the server made into a handler; the exchange waits with on_loop or is in the writing.
 * It is gone afterwards. */
void http_exchange_hang_up(struct http_exchange *x);

/* ---- ways to answer; each still needs finish or post ---- */

/* JSON, compact, ended by LF. Takes the reference to `value`; NULL (no memory) becomes a 503. */
void http_answer_json(struct http_exchange *x, unsigned status, json_t *value);

/* Copies the octets. */
void http_answer_text(struct http_exchange *x, unsigned status, const char *type, struct str text);

/* No body: 204 and the like. */
void http_answer_empty(struct http_exchange *x, unsigned status);

/* A problem document (RFC 9457); the title follows from the status. Control characters in the
 * detail come out as JSON escapes. */
void http_problem(struct http_exchange *x, unsigned status, const char *fmt, ...) PT_PRINTF(3, 4);

/* The same with the member "errors". Takes the reference to `errors`, an array (NULL: left out). */
void http_problem_errors(struct http_exchange *x, unsigned status, const char *detail,
                         json_t *errors);

/* ---- JSON bodies ---- */

/* Parses the body as JSON: an object or an array, no key twice. The media type must be JSON's or
 * `type` (which may be NULL). On failure NULL, and the problem is already the answer. */
json_t *http_exchange_json(struct http_exchange *x, const char *type);

/* ---- for the server ---- */

struct http_exchange *http_exchange_new(struct net_loop *loop, void *ctx, _Atomic unsigned *live);
void http_exchange_free(struct http_exchange *x);

/* Splits and decodes the query; false: 400 was answered. */
PT_NODISCARD bool http_exchange_parse_query(struct http_exchange *x);

/* "Not Found"; "Unknown" for a status not used here. */
const char *http_status_text(unsigned status);

/* A problem document as text, for where there is no exchange. */
void http_problem_write(struct buf *out, unsigned status, const char *detail);
