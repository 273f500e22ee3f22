#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "net/addr.h"
#include "settings/settings.h"

/*
 * settings/schema: from a JSON document to a checked, immutable value.
 *
 * One table (schema.c) describes every key; validation, defaults, the normalised document, the JSON
 * Schema and the reference page all come from it. Everything here is pure: no file, no clock, no
 * name lookup; what depends on the machine is told in `struct settings_host`. Any thread. A large
 * list takes a while: not on an event loop.
 */

struct json_t; /* of jansson */

/* A document larger than this is refused unread. */
#define SETTINGS_DOCUMENT_MAX (128u * 1024 * 1024)

/* At most so many errors, and as many warnings, are kept; the rest is counted. */
#define SETTINGS_PROBLEMS_MAX 1000u

/* What may be done only with a word of confirmation: the member "confirm" at the top. */
enum settings_confirm {
    SETTINGS_CONFIRM_EMPTY_PERMIT_LIST = 1,   /* "empty_permit_list" */
    SETTINGS_CONFIRM_OPEN_RELAY = 2,          /* "open_relay" */
    SETTINGS_CONFIRM_EXPIRED_CERTIFICATE = 4, /* "expired_certificate" */
    SETTINGS_CONFIRM_ALL = 7,
};

/* The word for one of the above, as it stands in "confirm". */
const char *settings_confirm_name(enum settings_confirm what);

/* What an ID in a document stands for on this host. */
enum settings_certificate {
    SETTINGS_CERTIFICATE_MISSING,
    SETTINGS_CERTIFICATE_SERVER,  /* with its private key */
    SETTINGS_CERTIFICATE_EXPIRED, /* the same, and its time is over */
    SETTINGS_CERTIFICATE_CA,
    SETTINGS_CERTIFICATE_UNKNOWN, /* cannot be told now, or is not asked */
};

struct settings_host {
    const char *hostname; /* this host's own name; NULL or no valid name: "localhost" */
    int64_t now_us;       /* wall time, to tell entries that have expired; 0: not looked at */
    /* enum settings_confirm: what needs no confirmation, because it is in force already. For a
     * stored revision, which was confirmed when it was committed: SETTINGS_CONFIRM_ALL. */
    unsigned confirmed;

    /* Lists need not be read where they are known. */
    const struct settings *in_force; /* a list equal to one of its is shared with it; NULL: none */
    /* Taken in place of what the document says; NULL: the document's own. */
    const struct settings_list *lists[SETTINGS_LISTS];
    /* Finds the list that a document of the store names; a reference, or NULL. Without it a
     * document names none, and must not: what comes from outside holds its lists. */
    struct settings_list *(*find_list)(void *ctx, const struct settings_hash *hash);
    void *find_ctx;
    /* What has been uploaded; may wait for the disk. NULL: not asked, as for a stored revision,
     * which must be readable whatever became of its certificates. */
    enum settings_certificate (*certificate)(void *ctx, struct str id);
    void *certificate_ctx;
    /* Is that an address that this host can connect from? NULL: not asked, as for a stored
     * revision. What `in_force` has already is not asked about either: an address that went away
     * does not stand in the way of other changes. */
    bool (*has_address)(const struct net_addr *a);
    /* Reads a secret by its name, as settings_secret_read() does; may wait for the disk. NULL: not
     * asked, and then no route has its password. */
    bool (*secret)(void *ctx, const char *name, char *out);
    void *secret_ctx;
    bool secrets_may_be_gone; /* no error: the document is in force, or was */
    /* Messages accepted lately, and how many of them came in clear; 0, 0: not known. */
    uint64_t messages, messages_clear;
};

struct settings_problem {
    const char *pointer; /* RFC 6901; "" is the whole document */
    const char *detail;  /* a sentence without a full stop */
};

/* All that is wrong with a document, and what is only doubtful. */
struct settings_errors {
    struct settings_problem *errors;
    struct settings_problem *warnings;
    uint32_t error_count;
    uint32_t warning_count;
    uint32_t more_errors; /* not kept */
    uint32_t more_warnings;
    uint32_t line, column; /* of a syntax error, from 1; 0: the syntax is right */
    unsigned unconfirmed;  /* enum settings_confirm: part of the errors, gone once confirmed */
};

void settings_errors_init(struct settings_errors *e);
void settings_errors_done(struct settings_errors *e);

/* Adds an error that the document alone does not show: what a participant cannot take. */
void settings_errors_refuse(struct settings_errors *e, const char *pointer, const char *detail);

/* One problem a line, "POINTER: DETAIL" or "line L, column C: DETAIL", errors first; warnings begin
 * with "warning: ". For a terminal. */
void settings_errors_write(const struct settings_errors *e, struct buf *out);

/*
 * Checks a document and makes its value, with one reference, revision 0 (settings_set_revision()).
 *
 * PT_ERR_OK: *out is set; `errors` may hold warnings. PT_ERR_INVALID: `errors` has at least one
 * error. PT_ERR_NOMEM: memory is short. *out is untouched unless OK. `errors` was initialised and
 * is filled anew. The member "confirm" is taken out and never part of the value.
 */
PT_NODISCARD enum pt_err settings_parse(const char *json, size_t n,
                                        const struct settings_host *host, struct settings **out,
                                        struct settings_errors *errors);

/*
 * A JSON array of entries as a document has them; the pointers of errors begin with `pointer`.
 * Results as those of settings_parse(). The caller owns the reference in *out.
 */
PT_NODISCARD enum pt_err settings_parse_entries(struct json_t *array, struct str pointer,
                                                struct settings_list **out,
                                                struct settings_errors *errors);

/* Before the value is shared. */
void settings_set_revision(struct settings *s, uint64_t revision);

/* What would have needed a confirmation: enum settings_confirm. */
unsigned settings_hazards(const struct settings *s);

/* s->document with all its lists. */
void settings_document_full(const struct settings *s, struct buf *out);

/*
 * A document as the store has it (compact), with the lists it names put in. PT_ERR_OK,
 * PT_ERR_NOMEM, or PT_ERR_NOTFOUND: `find` gave none.
 */
PT_NODISCARD enum pt_err
settings_document_expand(struct str document,
                         struct settings_list *(*find)(void *ctx, const struct settings_hash *hash),
                         void *ctx, struct buf *out);

/* The document to keep in the store: as s->document, without a hostname that the document did not
 * name, so that it goes on following the host. On the heap, caller frees; NULL: memory is short. */
char *settings_document_to_store(const struct settings *s);

/*
 * RFC 7396: *out is `document` changed by `patch`, compact JSON on the heap. Fails with
 * PT_ERR_INVALID and a located error when either is not JSON or the patch is no object.
 */
PT_NODISCARD enum pt_err settings_merge_patch(struct str document, struct str patch, char **out,
                                              struct settings_errors *errors);

/* The value at a key in dotted form ("connections.interface.port"; list elements by number) of a
 * document, as compact JSON; PT_ERR_NOTFOUND where there is none. */
PT_NODISCARD enum pt_err settings_document_get(struct str document, struct str key,
                                               struct buf *out);

/* A document indented for a person, ending in a newline. PT_ERR_INVALID: it is no JSON. */
PT_NODISCARD enum pt_err settings_document_pretty(struct str document, struct buf *out);

/* JSON Schema (draft 2020-12) of the document. */
void settings_json_schema(struct buf *out);

/* The reference of all keys as a man page, postern-settings(5), in scdoc's language. */
void settings_reference(struct buf *out);
