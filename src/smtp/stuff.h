#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * smtp/stuff: content as it goes out, without copying.
 *
 * The output layer between the spool and every next hop. Given the pieces of a message in order it
 * fills an array for writev() with slices of them, a dot put in front of each line that begins with
 * one (RFC 5321 4.5.2), and at the end gives the terminator. It keeps the promise that no CR or LF
 * outside CRLF ever goes out: content that breaks it ends in SMTP_STUFF_BARE and the message fails.
 *
 * Pure: no allocation, no pointer kept. The result does not depend on how the content is cut.
 */

enum smtp_stuff_status {
    SMTP_STUFF_MORE, /* the piece is used up; the next one, or the end */
    SMTP_STUFF_FULL, /* no room in the array; write it out and call again with the rest */
    SMTP_STUFF_BARE, /* a bare CR or LF; nothing more of this message may be sent */
};

struct smtp_stuff {
    bool dots;       /* private */
    bool line_start; /* private: the octet before was the LF of a CRLF, or there was none */
    bool after_cr;   /* private */
};

/* `dots` false: the content goes out as it is (BDAT); it is checked all the same. */
void smtp_stuff_init(struct smtp_stuff *s, bool dots);

/*
 * Describes what goes out for the front of `piece`, which is moved on: slices are added to
 * iov[*count], up to iov[max - 1]. `max - *count` must be at least 2. The slices borrow from the
 * piece and from constants. On SMTP_STUFF_BARE the slices added end before the fault.
 */
PT_NODISCARD enum smtp_stuff_status smtp_stuff_next(struct smtp_stuff *s, struct str *piece,
                                                    struct iovec *iov, int *count, int max);

/*
 * After the last piece: the terminator (".\r\n", or "\r\n.\r\n" where the content does not end
 * with a line end; empty without `dots`), for the same array or a later write. False: the content
 * ends with a bare CR.
 */
PT_NODISCARD bool smtp_stuff_end(const struct smtp_stuff *s, struct str *out);
