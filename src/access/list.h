#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "access/table.h"
#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "net/addr.h"

/*
 * access/list: address lists as text files.
 *
 * One entry a line (net/entry.h); blank lines, "#" comments, surrounding space, CRLF and a UTF-8
 * byte-order mark are allowed. A comment behind an entry belongs to it. Every line is read, however
 * many are wrong: the caller decides whether one error means that nothing is imported.
 *
 * An entry that expires says so at the beginning of its comment, so that other readers of the
 * format see no more than a comment:
 *
 *     192.0.2.1  # [expires 2030-01-31T18:00:00Z] why
 *
 * Pure: no file. All texts are borrowed from the octets that were read.
 */

#define ACCESS_COMMENT_MAX 500u
#define ACCESS_LIST_ERRORS_MAX 1000u

struct access_item {
    struct net_prefix prefix;
    bool normalised; /* the text had host bits set: write the prefix instead */
    bool masked;     /* to be written with a dotted mask, as it was */
    /* Set by access_list_compare(). */
    bool duplicate;    /* the same prefix stands further up or in the present list */
    bool covered;      /* a wider entry of the file or of the present list holds all of it */
    bool contradicted; /* the other list has an address in common with it */
    uint32_t line;     /* from 1 */
    struct str text;
    struct str comment; /* without "#", expiry and surrounding space; empty: none */
    int64_t expires_us; /* 0: never */
};

struct access_error {
    uint32_t line;
    struct str text; /* the line without surrounding space; any octets, any length */
    const char *reason;
};

struct access_list {
    struct access_item *items;
    uint32_t count, cap;
    struct access_error *errors; /* the first ACCESS_LIST_ERRORS_MAX */
    uint32_t error_count;        /* all of them */
    uint32_t normalised;
};

/* PT_ERR_OK, also with errors in the lines, or PT_ERR_NOMEM. The list is to be done with after
 * PT_ERR_OK. */
PT_NODISCARD enum pt_err access_list_parse(struct str file, struct access_list *out);
void access_list_done(struct access_list *list);

struct access_counts {
    uint32_t added; /* all that are no duplicates */
    uint32_t duplicate;
    uint32_t normalised; /* of those added, as are the next two */
    uint32_t covered;
    uint32_t contradicted;
};

/*
 * Sets the items' flags and counts, for an import into a list that holds `present` (NULL: into an
 * empty one, or in its place) beside the other list (NULL: none). What has expired by `now_us` in
 * the present list is no duplicate. PT_ERR_OK or PT_ERR_NOMEM.
 */
PT_NODISCARD enum pt_err access_list_compare(struct access_list *list,
                                             const struct access_table *present,
                                             const struct access_table *other, int64_t now_us,
                                             struct access_counts *out);

/* One line of the file format. The comment may be empty and holds no line end; expires_us 0: never.
 */
void access_list_write(struct buf *out, struct str entry, int64_t expires_us, struct str comment);
