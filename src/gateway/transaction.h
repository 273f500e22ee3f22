#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/err.h"
#include "base/mailbox.h"
#include "base/str.h"
#include "mime/header.h"
#include "policy/policy.h"
#include "smtp/envelope.h"
#include "spool/spool.h"

/*
 * gateway/transaction: one message on its way from MAIL to stable storage.
 *
 * Belongs to a session until it is answered, or until the session goes away while the spool still
 * works on it: then it ends by itself and what it had is dropped, or kept if it was committed.
 * Everything but the callbacks below runs on the loop's thread.
 */

struct gateway_loop;
struct session;

/*
 * Memory. A transaction takes TRANSACTION_MEMORY_LEAST of the gateway's budget at MAIL; if it
 * cannot have that, MAIL is answered 452. What it takes beyond is a convenience: a transaction that
 * gets no more passes what it has to its file and goes on when that is written. So the only thing
 * that a session short of memory waits for is a file worker, and those wait for nobody's memory.
 */
enum {
    TRANSACTION_FILE_FROM = 1 << 20,    /* content beyond this goes to a file of its own */
    TRANSACTION_FILE_PIECE = 256 << 10, /* in pieces of this size */
    TRANSACTION_TIGHT_FROM = 64 << 10,  /* both, while memory is tight */
    TRANSACTION_MEMORY_LEAST = 24 << 10,
    TRANSACTION_READ_LEAST = 8 << 10, /* what can always be read next */
};

struct transaction {
    struct spool_op op;
    struct mail mail; /* brings the loop the end of a spool operation */
    struct gateway_loop *loop;
    struct session *session;          /* NULL: the client is gone */
    struct policy_snapshot *snapshot; /* the one of its MAIL */
    struct spool_message *message;
    uint64_t announced; /* octets, by SIZE; 0: none */
    uint32_t recipients_cap;
    struct mime_header header; /* scan of the content as it arrives */
    bool ending;               /* the end of data was seen; waiting for the spool */
    bool in_spool;             /* the commit thread has the operation; its mail is still to come */
    bool kept;                 /* the message is durable: a large file belongs to it */
    bool cramped;              /* got no more memory: waits until its pieces are written */
    unsigned file_ops;         /* under way */
    uint64_t writing;          /* octets of memory in these */
    uint64_t charged;          /* what it has of the gateway's budget */
    enum pt_err file_error;
};

/* Begins with the values of MAIL. NULL when memory is short, or the budget for it spent. */
struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail);

/* Adds an accepted recipient; false when memory is short. */
PT_NODISCARD bool transaction_add_recipient(struct transaction *t, const struct smtp_rcpt *rcpt);

/* Content is about to come: gives the message its ID and writes the trace header (RFC 5321 4.4).
 * False when memory is short. */
PT_NODISCARD bool transaction_begin_content(struct transaction *t);

/* Octets that may be read next for its content; at least TRANSACTION_READ_LEAST. */
size_t transaction_room(struct transaction *t);

/* Adds content. False when memory is short or the disk failed: see `file_error`. */
PT_NODISCARD bool transaction_add_content(struct transaction *t, struct str octets);

/* Its client is silent and memory tight: what it holds goes to its file. */
void transaction_relieve(struct transaction *t);

/* True while more is on its way to the disk than should wait in memory: stop reading. */
bool transaction_is_behind(const struct transaction *t);

/* All content is there: makes the message durable. session_committed() is called later, on the
 * loop. False when memory is short: then nothing was begun. */
PT_NODISCARD bool transaction_commit(struct transaction *t);

/* The session has no use for it any more. Frees it, now or when the spool lets go of it. */
void transaction_abandon(struct transaction *t);
