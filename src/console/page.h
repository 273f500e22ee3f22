#pragma once
#include "base/buf.h"
#include "base/str.h"

/*
 * console/page: the pages that the console renders itself: plain HTML, one style, no script.
 *
 * The policy names the style by its hash, so no other could ever apply.
 */

extern const char console_style[];

#define CONSOLE_STYLE_HASH "'sha256-1QvbkvlKsUEnSHKzaIYlYFbyKgSzOg5qbTJBzTcSybs='"

/* The page's head up to its heading, and its end. */
void page_begin(struct buf *out, const char *title);
void page_end(struct buf *out);

/* Text of strangers: what means something in HTML comes out as a reference. */
void page_text(struct buf *out, struct str text);

/* A field of a form (application/x-www-form-urlencoded), decoded into `room` of `size` octets.
 * False: it is missing, given twice, malformed or too long. */
bool page_field(struct str body, const char *name, char *room, size_t size, struct str *out);
