#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * http/reply: the head of an answer to us, read as it comes.
 *
 * Sans-I/O. It is for servers of our own house, which say how long a body is or close behind it:
 * whatever else there may be in HTTP (interim answers, transfer encodings, a second length, folded
 * lines) is broken here, so that an answer can never end elsewhere than it says.
 */

enum { HTTP_REPLY_HEAD_MAX = 32 * 1024 };

struct http_reply_head {
    uint16_t status; /* 200 to 599 */
    bool has_length;
    uint64_t length; /* of the body; without one it ends with the connection */
    char type[160], etag[96], disposition[256], allow[64], retry_after[24]; /* "": none */
};

enum http_reply_status { HTTP_REPLY_MORE, HTTP_REPLY_DONE, HTTP_REPLY_BROKEN };

struct http_reply_reader {
    struct http_reply_head head; /* with DONE */
    struct buf text;             /* private */
};

void http_reply_reader_init(struct http_reply_reader *r);
void http_reply_reader_done(struct http_reply_reader *r);

/* `*out_taken` octets of `in` were of the head; all of them unless it is DONE. Not to be fed again
 * after DONE or BROKEN. */
enum http_reply_status http_reply_reader_feed(struct http_reply_reader *r, struct str in,
                                              size_t *out_taken);
