#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * smtp/dot: where a message ends.
 *
 * After "354" the client sends the message with dot-stuffing and ends it with <CRLF>.<CRLF>
 * (RFC 5321 4.1.1.4, 4.5.2). This module is the only place that decides where that end is; the
 * chunks of BDAT (RFC 3030), which end by count, go through its second half. It is pure: no I/O,
 * no allocation, no copy; content comes back as slices of the input.
 *
 * It promises:
 *   1. Only CRLF ends a line. A bare CR, a bare LF or a NUL ends the reading with SMTP_DOT_BARE:
 *      two hops that disagree here are how mail is smuggled.
 *   2. The result does not depend on how the stream was cut into reads.
 *   3. Nothing after the end marker is taken; it is the next command.
 *   4. No octet is held back: what belongs to the message is in a slice of the read that brought
 *      it, and a dot that was added in transit never is.
 *
 * It does not count octets, look at headers or apply limits.
 */

enum smtp_dot_status {
    SMTP_DOT_MORE, /* a slice, perhaps empty; feed what is left, or the next read */
    SMTP_DOT_END,  /* the end marker was taken; the message is complete */
    SMTP_DOT_BARE, /* protocol violation; the reader must not be fed again */
};

/* One reader per message, embedded in the session. */
struct smtp_dot {
    uint8_t state; /* private: enum state in dot.c */
};

struct smtp_dot_step {
    enum smtp_dot_status status;
    bool eight_bit;     /* the slice has octets above 127 */
    size_t taken;       /* octets used up from the input */
    struct str content; /* a slice of the input; part of the message */
};

/* Begins a message. The CRLF that ended "DATA" counts as the line before it, so ".\r\n" alone is a
 * complete, empty message. */
void smtp_dot_init(struct smtp_dot *dot);

/* Takes octets until a slice ends: at a stuffed dot, at the end of the message or of the input.
 * With MORE, all is taken or there is a slice. Feeding it after END or BARE asserts. */
PT_NODISCARD struct smtp_dot_step smtp_dot_read(struct smtp_dot *dot, struct str in);

/* The same for octets of a BDAT chunk, where a dot is a dot: MORE with everything taken, or BARE.
 * One reader goes through all chunks of a message: CRLF may be cut by them (RFC 3030 2). */
PT_NODISCARD struct smtp_dot_step smtp_dot_read_chunk(struct smtp_dot *dot, struct str in);

/* May a message of chunks end here? Not behind a CR. */
bool smtp_dot_chunks_may_end(const struct smtp_dot *dot);
