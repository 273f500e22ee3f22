#pragma once
#include "console/inner.h"
#include "http/upstream.h"

/*
 * console/passing: a request on its way to the gateway, and its answer on the way back; between
 * pass.c and streams.c. On the loop's thread.
 */

enum { PASSED_HEADERS = 5 };

struct passing {
    struct http_exchange *x;
    struct http_upstream *upstream;
    struct buf plain, target;
    struct buf kept[PASSED_HEADERS];
    const char *lines[PASSED_HEADERS + 3];
    struct voice voice;
    struct who who;
    enum account_role least;
    bool good;     /* the path is one */
    bool allowed;  /* who asks may */
    bool has_body; /* that comes in pieces */
    bool asked;    /* for a piece of it */
    bool answered;
    bool hungry; /* the client could take more of the answer than there is */
    /* A stream of events. */
    bool streaming;
    struct passing *prev, *next;
};

/* Takes an answer without end into the list of those that end with their session. False: too many;
 * that was answered. */
PT_NODISCARD bool streams_add(struct passing *p);
void streams_remove(struct passing *p); /* also of one that is none */
