#pragma once
#include "base/buf.h"
#include "mime/dsn.h"

/*
 * mime/dsn_status: the part of a notice that a program reads (RFC 3464 2.2, 2.3). Private to
 * mime/dsn.
 *
 * Each field is one line, or folded; what came from outside is printable in it and has a maximum.
 * A field that cannot be told so is left out, if it may be.
 */

/* The fields about the message; then, for each recipient, a blank line and its fields. `utf8`:
 * addresses beyond ASCII stand as they are (RFC 6533). */
void dsn_status_message(struct buf *out, const struct mime_dsn *d);
void dsn_status_rcpt(struct buf *out, const struct mime_dsn_rcpt *r, bool utf8);

/* A field, in a header too; `name` with its colon, `value` safe. */
void dsn_field(struct buf *out, struct str name, struct str value);
void dsn_date_field(struct buf *out, struct str name, int64_t when_us);
