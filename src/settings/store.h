#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "settings/list.h"

/*
 * settings/store: the revisions of the settings document, on stable storage.
 *
 * Every commit is a new revision, numbered from 1, with document, author, time and comment; none
 * is ever changed. A commit answered PT_ERR_OK is on the disk; one that failed left nothing.
 * The store keeps what it is given: checking it (settings/schema.h) is the caller's affair.
 *
 * Several processes may have it open; a writer names the revision it started from, so nobody
 * overwrites what they have not seen. A handle belongs to one thread at a time. Calls wait for the
 * disk, and up to 5 seconds for another process: never on an event loop.
 *
 * A database that is moved away while it is open is noticed by the next change, which goes to a new
 * one at the old path. Opening destroys nothing: a damaged, locked, foreign or newer database is
 * left as it is, and the fault says what to do. The implementation here keeps them in
 * STATE/settings.db (SQLite).
 */

struct settings_store;

enum settings_store_mode {
    SETTINGS_STORE_READ,   /* PT_ERR_NOTFOUND where there is none yet */
    SETTINGS_STORE_CREATE, /* made when missing, brought up to date when older */
};

/* `state_directory` must exist. PT_ERR_CORRUPT: damaged, not ours, or made by a newer version;
 * PT_ERR_BUSY: locked; PT_ERR_DENIED, PT_ERR_NOSPACE, PT_ERR_IO. */
PT_NODISCARD enum pt_err settings_store_open(struct settings_store **out,
                                             const char *state_directory,
                                             enum settings_store_mode mode, struct pt_fault *fault);
void settings_store_close(struct settings_store *s); /* NULL is accepted */

/* Keeps room on the disk so that small changes and audit rows can still be written when the disk is
 * full: for as long as the handle is open. Fails where the store cannot be written. */
PT_NODISCARD enum pt_err settings_store_reserve(struct settings_store *s, struct pt_fault *fault);

/* How long later calls wait for another process that has it locked; 5,000 ms unless told. */
void settings_store_set_patience(struct settings_store *s, int ms);

struct settings_revision {
    uint64_t number;
    int64_t time_us;        /* wall time of the commit */
    uint64_t restored_from; /* the revision a rollback brought back; 0: none */
    uint64_t size;          /* octets of the document */
    char *author;
    char *comment; /* "" where none was given */
    /* NULL in a history. It names its long lists: settings_store_expand(). A document of an older
     * version has them in it. */
    char *document;
};
void settings_revision_done(struct settings_revision *r); /* frees the texts */

/* For `expected`: whatever the current revision is. */
#define SETTINGS_REVISION_ANY UINT64_MAX

struct settings_audit;

struct settings_commit {
    struct str document;
    const struct settings_list *lists[SETTINGS_LISTS]; /* that it may name; NULL: none */
    struct str author;                                 /* not empty; at most 256 octets are kept */
    struct str comment;                                /* at most 4096 octets are kept */
    int64_t time_us;
    uint64_t expected; /* the revision it was made from; 0: there was none */
    /* The row of the audit log, part of the same transaction (settings/audit.h); its outcome and
     * revision are filled in. NULL: none. */
    const struct settings_audit *audit;
    /* Wall time by which it must be confirmed (settings_store_confirm()), or the revision before it
     * is to be restored; 0: it stands. */
    int64_t confirm_by_us;
};

/* PT_ERR_CONFLICT: the current revision is not the expected one; the fault names both. */
PT_NODISCARD enum pt_err settings_store_commit(struct settings_store *s,
                                               const struct settings_commit *c,
                                               uint64_t *out_revision, struct pt_fault *fault);

/* For settings_host: `store` is the store. NULL, with a line in the log, where the list is not to
 * be had, because it is damaged, missing, or memory is short. */
struct settings_list *settings_store_find_list(void *store, const struct settings_hash *hash);

/* Puts the lists that it names into a revision's document. */
PT_NODISCARD enum pt_err settings_store_expand(struct settings_store *s,
                                               struct settings_revision *r, struct pt_fault *fault);

/* The number of the newest revision; 0: there is none. */
PT_NODISCARD enum pt_err settings_store_head(struct settings_store *s, uint64_t *out_revision,
                                             struct pt_fault *fault);

/* The newest revision; PT_ERR_NOTFOUND where there is none. The caller calls
 * settings_revision_done(). */
PT_NODISCARD enum pt_err settings_store_current(struct settings_store *s,
                                                struct settings_revision *out,
                                                struct pt_fault *fault);
PT_NODISCARD enum pt_err settings_store_get(struct settings_store *s, uint64_t number,
                                            struct settings_revision *out, struct pt_fault *fault);

/* Up to `max` revisions below `before` (0: from the newest), newest first, without documents. Each
 * is to be done with. */
PT_NODISCARD enum pt_err settings_store_history(struct settings_store *s, uint64_t before,
                                                uint32_t max, struct settings_revision *out,
                                                uint32_t *out_count, struct pt_fault *fault);

/* Commits the document of revision `number` once more; `c->document` is not looked at. An empty
 * comment becomes "rollback to revision N". PT_ERR_NOTFOUND: there is no such revision. */
PT_NODISCARD enum pt_err settings_store_rollback(struct settings_store *s, uint64_t number,
                                                 const struct settings_commit *c,
                                                 uint64_t *out_revision, struct pt_fault *fault);

/* ---- a revision that waits to be confirmed ---- */

/* It is the newest one: any later revision ends the wait. */
struct settings_pending {
    uint64_t revision; /* 0: none waits */
    uint64_t before;   /* what is to be restored */
    int64_t confirm_by_us;
};

PT_NODISCARD enum pt_err settings_store_pending(struct settings_store *s,
                                                struct settings_pending *out,
                                                struct pt_fault *fault);

/* It stands from now on. The audit row (NULL: none) is part of the same transaction.
 * PT_ERR_NOTFOUND: this revision does not wait (any more). */
PT_NODISCARD enum pt_err settings_store_confirm(struct settings_store *s, uint64_t revision,
                                                const struct settings_audit *audit,
                                                struct pt_fault *fault);
