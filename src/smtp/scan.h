#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/str.h"

/*
 * smtp/scan: the first octet of message content that needs a thought.
 *
 * Content is CRLF-lines of anything. What needs a thought is
 *   - a NUL;
 *   - a LF that no CR precedes, or an octet other than LF that a CR precedes;
 *   - with `dots`: a '.' that a LF precedes (RFC 5321 4.5.2).
 * Everything else passes, many octets at a time. Pure; the implementations give the same result
 * and the fastest that the processor has is used.
 */

struct smtp_scan {
    size_t clean;   /* octets before the first such octet; in.n if there is none */
    bool eight_bit; /* any of the clean octets is above 127 */
};

/* `before` is the octet that preceded `in` in the stream; only CR and LF matter. */
struct smtp_scan smtp_scan(struct str in, char before, bool dots);

/* One implementation, for comparing them; false where this processor or build lacks it. */
enum smtp_scan_kind { SMTP_SCAN_SCALAR, SMTP_SCAN_SSE2, SMTP_SCAN_AVX2 };
bool smtp_scan_with(enum smtp_scan_kind kind, struct str in, char before, bool dots,
                    struct smtp_scan *out);
