#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "http/exchange.h"

/*
 * console/files: the page that a browser loads, embedded in the program.
 *
 * ui/build.mjs makes the table. Nothing is looked for on a disk: a path is in the table as it
 * stands, or it does not exist. What is below /assets/ is named by what it holds and may be kept
 * for ever; the page itself is asked for again each time, and answered with 304 where it is the
 * same.
 */

struct console_file {
    const char *path; /* of the request, decoded */
    const char *type;
    const char *tag; /* for ETag, quoted */
    const char *octets, *octets_end;
    const char *gzip, *gzip_end;
    bool lasting; /* its name changes with what it holds */
};

extern const struct console_file console_files[];
extern const size_t console_file_count;

/* GET of any path. On the loop's thread. */
void console_file_get(struct http_exchange *x);

/* True where an Accept-Encoding of this value (.p NULL: there is none) allows gzip. */
bool console_takes_gzip(struct str accept);
