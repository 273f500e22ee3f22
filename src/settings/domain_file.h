#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "settings/list.h"

/*
 * settings/domain_file: domains from a file into the relay domains.
 *
 * A line a domain, "*.domain" or "*"; blank lines, "#" comments, surrounding space, CRLF and a
 * byte-order mark are allowed. Case, a trailing dot and U-labels are put into the form of
 * settings/domain.h, with a notice where that changes more than case. Pure; a million lines take a
 * second or two: not on an event loop.
 */

struct settings_domain_counts {
    uint32_t added;     /* all that were no duplicates */
    uint32_t duplicate; /* in the list already, or further up in the file */
    /* of those added: */
    uint32_t normalised; /* a trailing dot, or U-labels */
    uint32_t covered;    /* "*.…" or "*" in the list holds all of it */
    uint32_t errors;
};

struct settings_domain_import {
    struct settings_domain_counts counts;
    struct settings_list *list;         /* what it becomes; NULL where errors forbid it */
    struct settings_domain_line *lines; /* private, like the next */
    uint32_t line_count;
};

/* `file` must stay until settings_domain_import_done(). PT_ERR_OK: *out is set, to be done with;
 * out->list is NULL if a line is wrong, unless `valid_only`. PT_ERR_NOMEM. */
PT_NODISCARD enum pt_err settings_domain_import(const struct settings_list *present,
                                                struct str file, bool replace, bool valid_only,
                                                struct settings_domain_import *out);
void settings_domain_import_done(struct settings_domain_import *import);

/* Something about a line of the file. */
struct settings_domain_remark {
    uint32_t line; /* from 1 */
    struct str text;
    const char *reason; /* an error: why; otherwise NULL */
    const char *domain; /* no error: what the line becomes */
    bool normalised, covered;
};

/* The next error, or the next domain that was added with a remark, from line *at on (0 at first),
 * which moves on. False: no more. */
bool settings_domain_import_error(const struct settings_domain_import *import, uint32_t *at,
                                  struct settings_domain_remark *out);
bool settings_domain_import_remark(const struct settings_domain_import *import, uint32_t *at,
                                   struct settings_domain_remark *out);
