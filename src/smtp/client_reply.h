#pragma once
#include <stdint.h>

#include "base/str.h"

/*
 * smtp/client_reply: reads what a next hop answers.
 *
 * Takes octets as they come and puts replies together, a line at a time (RFC 5321 4.2.1). Private
 * to the client machine, whose header says which liberties of a peer are borne. No allocation.
 */

enum {
    CLIENT_REPLY_LINE_MAX = 2048, /* kept: four times what RFC 5321 4.5.3.1.5 allows */
    CLIENT_REPLY_LINE_GIVE_UP = 65536,
    CLIENT_REPLY_LINES_MAX = 200,
    CLIENT_REPLY_TEXT_MAX = 512,
};

enum client_reply_status {
    CLIENT_REPLY_MORE,   /* all input taken, no line complete */
    CLIENT_REPLY_LINE,   /* a line that others follow */
    CLIENT_REPLY_END,    /* the last line: the reply is complete */
    CLIENT_REPLY_BROKEN, /* not a reply; the reader must not be fed again */
};

struct client_reply {
    uint16_t code;   /* of the reply under way or complete */
    uint16_t lines;  /* so far */
    uint16_t held;   /* private: octets in `line` */
    uint32_t came;   /* private: octets of this line, kept or not */
    uint16_t text_n; /* octets in `text` */
    bool complete;   /* private: the next line begins a new reply */
    char line[CLIENT_REPLY_LINE_MAX];
    char text[CLIENT_REPLY_TEXT_MAX];
};

void client_reply_init(struct client_reply *r);

/* Takes at most one line from the front of `in`. With LINE and END *out_line is that line's text,
 * behind code and separator, as the peer sent it; valid until the next call and as long as `in`. */
enum client_reply_status client_reply_read(struct client_reply *r, struct str *in,
                                           struct str *out_line);

/* Octets of a reply or line have come that is not complete. */
bool client_reply_pending(const struct client_reply *r);

/* The reply's lines joined by spaces, safe to show; valid until the next read. */
static inline struct str client_reply_text(const struct client_reply *r)
{
    return (struct str){ r->text, r->text_n };
}

/* Copies `in` to `out` (room for `max`) so that it is one line of well-formed UTF-8 without control
 * characters, cut at a character's end; returns the octets written. */
size_t client_text_clean(struct str in, char *out, size_t max);
