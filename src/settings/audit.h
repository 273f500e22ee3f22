#pragma once
#include "settings/store.h"

/*
 * settings/audit: who did what, in the same database as the revisions.
 *
 * A change of the settings and its row are one transaction (settings_commit.audit). Every other
 * deed of an administrator is written down before it is carried out, as SETTINGS_AUDIT_BEGUN, and
 * gets its outcome afterwards: what cannot be recorded is not done, and a deed whose end nobody saw
 * stands there as begun. Rows are on the disk when a call returns.
 *
 * The newest SETTINGS_AUDIT_ROWS_MAX rows are kept. Texts are cut where they are longer than their
 * maximum, never in the middle of a character. Threads as in settings/store.h.
 */

#define SETTINGS_AUDIT_ROWS_MAX 100000u

enum {
    SETTINGS_AUDIT_ACTOR_MAX = 256,
    SETTINGS_AUDIT_ORIGIN_MAX = 256,
    SETTINGS_AUDIT_TARGET_MAX = 1024,
    SETTINGS_AUDIT_DETAIL_MAX = 1024,
    SETTINGS_AUDIT_CHANGES_MAX = 16384,
};

enum settings_audit_outcome {
    SETTINGS_AUDIT_BEGUN,   /* its end is not known (yet) */
    SETTINGS_AUDIT_DONE,    /* */
    SETTINGS_AUDIT_REFUSED, /* not valid, not allowed, overtaken by another change */
    SETTINGS_AUDIT_FAILED,  /* the world did not let it happen */
};

/* "begun", "done", "refused", "failed". */
const char *settings_audit_outcome_name(enum settings_audit_outcome outcome);

/* uid: not the deed of a process that asked. */
#define SETTINGS_AUDIT_NO_UID UINT32_MAX

struct settings_audit {
    int64_t time_us;
    struct str actor;   /* who, UTF-8, not empty */
    uint32_t uid;       /* of the process that asked */
    struct str origin;  /* from where, for a person */
    const char *action; /* "settings.change", "queue.delete": room and verb */
    struct str target;  /* to what: a message ID, "revision 7"; may be empty */
    struct str detail;  /* why refused, or a comment */
    struct str changes; /* JSON, see settings/changes.h; empty: none */
    enum settings_audit_outcome outcome;
    uint64_t revision; /* that it made; 0: none */
};

/* Adds a row. */
PT_NODISCARD enum pt_err settings_audit_add(struct settings_store *s,
                                            const struct settings_audit *a, uint64_t *out_id,
                                            struct pt_fault *fault);

/* The outcome of a row that was begun. */
PT_NODISCARD enum pt_err settings_audit_end(struct settings_store *s, uint64_t id,
                                            enum settings_audit_outcome outcome, struct str detail,
                                            struct pt_fault *fault);

/* What is not set matches all. */
struct settings_audit_filter {
    uint64_t before;            /* rows with a smaller number; 0: from the newest */
    int64_t since_us, until_us; /* since <= time < until; until 0: no end */
    struct str actor;
    struct str action; /* "queue.delete", or "queue" for all of that room */
    uint32_t limit;
};

/* Shows a row; its texts are borrowed for the time of the call. */
typedef void settings_audit_fn(void *user, uint64_t id, const struct settings_audit *a);

/* Newest first, up to the limit; `*out_total` is how many match in all, `*out_more` whether some of
 * them are older than those shown. */
PT_NODISCARD enum pt_err settings_audit_list(struct settings_store *s,
                                             const struct settings_audit_filter *f,
                                             settings_audit_fn *show, void *user,
                                             uint64_t *out_total, bool *out_more,
                                             struct pt_fault *fault);
