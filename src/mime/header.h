#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*
 * mime/header: what a gateway wants to know of a message's header.
 *
 * Looks at the content as it passes, in pieces cut anywhere, up to the blank line; after that it
 * costs one test per piece. Changes nothing, keeps no pointer, allocates nothing, sets no limit on
 * the size of a header. Takes CRLF and LF for a line end alike: what may end a line is decided
 * elsewhere, before content gets here.
 *
 * A line that is neither a field nor the continuation of one ends the header, as it does for most
 * readers. (A first line "From " of a mailbox file is passed over.)
 */

#define MIME_MESSAGE_ID_MAX 250u

struct mime_header {
    uint32_t received; /* Received fields so far: loop detection (RFC 5321 6.3) */
    bool done;         /* the end of the header was seen */
    bool has_8bit;     /* octets above 127 in the header */
    bool has_date;
    bool has_from;
    bool auto_submitted;  /* Auto-Submitted with a value other than "no" (RFC 3834 5) */
    uint8_t message_id_n; /* 0: no Message-ID */
    uint8_t line_n;       /* private from here on, but for message_id and size */
    uint8_t capture;
    uint8_t value_n;
    bool classified;
    bool first_line;
    bool line_8bit;
    uint64_t size; /* octets of the header, its blank line included, once done */
    uint64_t line_start;
    char line[32];
    char value[MIME_MESSAGE_ID_MAX];
    char message_id[MIME_MESSAGE_ID_MAX]; /* with its angle brackets, cut if longer; raw octets */
};

void mime_header_init(struct mime_header *h);
void mime_header_feed(struct mime_header *h, struct str piece);

/* The content is over. A header without a blank line ends here. */
void mime_header_end(struct mime_header *h);

static inline struct str mime_header_message_id(const struct mime_header *h)
{
    return (struct str){ h->message_id, h->message_id_n };
}
