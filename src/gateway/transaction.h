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

enum {
    TRANSACTION_FILE_FROM = 1 << 20,   /* content beyond this goes to a file of its own */
    TRANSACTION_FILE_PIECE = 256 << 10 /* in pieces of this size */
};

struct transaction {
    struct spool_op op;
    struct mail mail; /* brings the loop the end of a spool operation */
    struct gateway_loop *loop;
    struct session *session;          /* NULL: the client is gone */
    struct policy_snapshot *snapshot; /* the one of its MAIL */
    struct spool_message *message;
    uint32_t recipients_cap;
    struct mime_header header; /* scan of the content as it arrives */
    bool ending;               /* the end of data was seen; waiting for the spool */
    bool in_spool;             /* the commit thread has the operation; its mail is still to come */
    bool kept;                 /* the message is durable: a large file belongs to it */
    unsigned file_ops;         /* under way */
    enum pt_err file_error;
};

/* Begins with the values of MAIL. NULL when memory is short. */
struct transaction *transaction_new(struct session *s, const struct smtp_mail *mail);

/* Adds an accepted recipient; false when memory is short. */
PT_NODISCARD bool transaction_add_recipient(struct transaction *t, const struct smtp_rcpt *rcpt);

/* Content is about to come: gives the message its ID and writes the trace header (RFC 5321 4.4).
 * False when memory is short. */
PT_NODISCARD bool transaction_begin_content(struct transaction *t);

/* Adds content. False when memory is short or the disk failed: see transaction_fault(). */
PT_NODISCARD bool transaction_add_content(struct transaction *t, struct str octets);

/* True while more is on its way to the disk than should wait in memory: stop reading. */
bool transaction_is_behind(const struct transaction *t);

/* All content is there: makes the message durable. session_committed() is called later, on the
 * loop. False when memory is short: then nothing was begun. */
PT_NODISCARD bool transaction_commit(struct transaction *t);

/* The session has no use for it any more. Frees it, now or when the spool lets go of it. */
void transaction_abandon(struct transaction *t);
