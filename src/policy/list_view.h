#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "settings/list.h"

/*
 * policy/list_view: the deny and the permit list as an administrator handles them: imported,
 * edited, searched, written as a file.
 *
 * A change makes a new list and puts nothing into force. It is made from a snapshot, whose tables
 * answer what is there already; a million entries take a second or two: not on an event loop.
 */

struct policy_snapshot;
struct access_list;
struct settings;

/* As in policy/policy.h. */
void policy_snapshot_unref(const struct policy_snapshot *snap);
const struct settings *policy_snapshot_settings(const struct policy_snapshot *snap);

/* Relay domains are searched and written; a file of them is read by settings/domain_file.h. */
enum policy_which { POLICY_WHICH_DENY, POLICY_WHICH_PERMIT, POLICY_WHICH_RELAY_DOMAINS };

/* The list of a snapshot. */
const struct settings_list *policy_which_list(const struct policy_snapshot *snap,
                                              enum policy_which which);

/* ---- import of a file ---- */

struct policy_import_counts {
    uint32_t added;     /* all that were no duplicates */
    uint32_t duplicate; /* in the list already, or further up in the file */
    /* of those added: */
    uint32_t normalised;   /* host bits were cleared */
    uint32_t covered;      /* a wider entry holds all of it */
    uint32_t contradicted; /* the other list has an address in common with it */
    uint32_t errors;
};

struct policy_import {
    struct policy_import_counts counts;
    struct settings_list *list; /* what it becomes; NULL where errors forbid it */
    struct access_list *file;   /* private */
};

/*
 * Reads `file` (access/list.h), which must stay until policy_import_done(). PT_ERR_OK: *out is set,
 * to be done with; out->list is NULL if a line is wrong, unless `valid_only`. PT_ERR_NOMEM.
 */
PT_NODISCARD enum pt_err policy_import(const struct policy_snapshot *snap, enum policy_which which,
                                       struct str file, bool replace, bool valid_only,
                                       int64_t now_us, struct policy_import *out);
void policy_import_done(struct policy_import *import);

/* Something about a line of the file. */
struct policy_remark {
    uint32_t line; /* from 1 */
    struct str text;
    const char *reason;              /* an error: why; otherwise NULL */
    char entry[SETTINGS_ENTRY_SIZE]; /* no error: what the line becomes */
    bool normalised, covered, contradicted;
};

/* The errors, the first ACCESS_LIST_ERRORS_MAX of them. False: there is no such. */
bool policy_import_error(const struct policy_import *import, uint32_t at,
                         struct policy_remark *out);

/* The next entry that was added with a remark, from item *at on, which moves on. False: no more. */
bool policy_import_remark(const struct policy_import *import, uint32_t *at,
                          struct policy_remark *out);

/* ---- adding and removing entries ---- */

#define POLICY_EDIT_MISSING_MAX 1000u

struct policy_edit {
    const struct settings_list *base;         /* what is changed; NULL: the list in force */
    const struct settings_list *add, *remove; /* NULL: nothing */
    int64_t now_us;
    /* results */
    uint32_t added, updated, unchanged, removed; /* updated: comment or expiry */
    uint32_t covered, contradicted;              /* of those added */
    uint32_t missing[POLICY_EDIT_MISSING_MAX];   /* which of `remove` are not in the list */
    uint32_t missing_count;                      /* of all; then there is no list */
    struct settings_list *list;                  /* what it becomes, or NULL */
};

/* What is removed and added goes to the end. What is there already stays in its place and gets the
 * comment and expiry that are given; where neither is, it is left as it is, unless it has expired.
 * PT_ERR_OK or PT_ERR_NOMEM. The caller owns edit->list. */
PT_NODISCARD enum pt_err policy_edit(const struct policy_snapshot *snap, enum policy_which which,
                                     struct policy_edit *edit);

/* ---- finding ---- */

/*
 * What a search looks for: an address or a group finds all entries that have an address in common
 * with it, any other text is looked for in entries and comments, whatever the case.
 */
struct policy_search {
    struct str text;
    bool is_network;
    struct net_prefix network;
};

/* An empty text finds all. `text` stays the caller's. */
void policy_search_init(struct policy_search *search, struct str text);

/* The first entry from `from` on that it finds, or list->count. */
uint32_t policy_search_next(const struct policy_search *search, const struct settings_list *list,
                            uint32_t from);

/* The entries from `from` on as lines of a file until about `size` octets are there; returns the
 * entry behind the last. */
uint32_t policy_list_write(const struct settings_list *list, uint32_t from, size_t size,
                           struct buf *out);
