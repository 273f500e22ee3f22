#pragma once
#include <stdbool.h>

#include "http/exchange.h"
#include "http/server.h"
#include "net/loop.h"
#include "net/stream.h"

/*
 * http/conn: one connection of the server; private to this room.
 *
 * States: idle or reading a request, waiting for its answer, writing the answer, and after an
 * error draining: reading on for a moment, so that what is still under way from the client does
 * not turn our close into a reset that eats the answer.
 */

/* Who is at the other end: of a Unix socket, or of a TCP connection. */
struct http_peer {
    uint32_t uid;
    int32_t pid;
    struct net_endpoint endpoint;
};

enum http_conn_state { CONN_READING, CONN_WAITING, CONN_WRITING, CONN_DRAINING };

struct http_conn {
    struct http_server *server;
    struct http_conn *prev, *next;
    struct net_stream stream;
    struct net_watch watch;
    struct net_timer timer;
    enum http_conn_state state;
    struct buf in;   /* read, not yet taken: at most one read's worth */
    struct buf out;  /* the head being written; the body stays in the exchange */
    size_t out_done; /* octets of `out` that are written */
    size_t body_done;
    uint64_t body_left; /* octets of the response's body that are still to be written */
    size_t drained;
    size_t body_read; /* of a body in pieces, within this deadline */
    unsigned reads;   /* in this turn */
    struct http_exchange *x;
    bool head_made; /* the response's head was put into `out` */
    bool close_after;
    bool dispatching; /* a handler is being called */
    struct http_peer peer;
};

struct http_server {
    struct http_server_config config;
    struct http_listener *listeners;
    struct http_conn *first, *last; /* the one that served longest ago comes first */
    unsigned connections;
    struct net_linger *linger; /* those turned away, until they have read why */
    bool stopping;
    _Atomic unsigned live; /* exchanges */
};

/* Takes the stream. */
void http_conn_start(struct http_server *s, const struct net_stream *stream,
                     const struct http_peer *peer);

void http_conn_close(struct http_conn *c);

/* Parts with its exchange: one whose handler is still at work elsewhere is left to it and freed
 * when it finishes. */
void http_conn_let_go(struct http_conn *c);

/* True between requests, with nothing read of the next one. */
bool http_conn_idle(const struct http_conn *c);

/* The exchange in progress was finished, or asks for more of its body. */
void http_conn_go_on(struct http_conn *c);

/* Does the request's body come in pieces? Behind its head only. */
bool http_conn_streams(const struct http_conn *c);

/* ---- answers (conn_answer.c) ---- */

/* Answers by itself and closes afterwards: for what never reaches a handler. */
void http_conn_refuse(struct http_conn *c, unsigned status, const char *detail);

/* Turns the finished exchange into octets. */
void http_conn_start_response(struct http_conn *c);

enum http_flushed { FLUSH_ALL, FLUSH_WAIT, FLUSH_GONE };

/* Writes head and body in one call where the socket takes it. */
enum http_flushed http_conn_flush(struct http_conn *c);
