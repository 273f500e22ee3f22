#pragma once
#include "base/buf.h"
#include "mime/dsn.h"

/*
 * mime/dsn_text: the part of a notice that a person reads. Private to mime/dsn.
 *
 * Plain text, lines of at most 76 columns where words allow, ended by CRLF, well-formed UTF-8
 * without control characters. Written in pieces, so that a notice about very many recipients needs
 * no more memory than its blocks.
 */

void dsn_text_intro(struct buf *text, const struct mime_dsn *d);

/* What stands above the recipients with this action. */
void dsn_text_section(struct buf *text, enum mime_dsn_action action, bool several);
void dsn_text_rcpt(struct buf *text, const struct mime_dsn_rcpt *r);
void dsn_text_closing(struct buf *text, const struct mime_dsn *d, bool whole, bool header);

/* True if the text will hold octets above 127. */
bool dsn_text_is_8bit(const struct mime_dsn *d);

/* Appends `s` for showing: octets that are none of a printable character become '?'; with `ascii`
 * so do those above 127. */
void dsn_clean(struct buf *out, struct str s, bool ascii);

/* Appends whole lines of `text` as quoted-printable (RFC 2045 6.7). */
void dsn_quoted_printable(struct buf *out, struct str text);
