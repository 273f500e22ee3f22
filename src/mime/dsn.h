#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/block.h"
#include "base/defs.h"
#include "base/str.h"
#include "smtp/envelope.h"

/*
 * mime/dsn: tells a sender what became of a message (RFC 3464, RFC 3461 6, RFC 6533).
 *
 * Composes a whole message, multipart/report: a text for a person, with the next hop's own words;
 * a part for programs; and the message it is about, or its header. It goes to the reverse-path with
 * an empty reverse-path of its own; whether one is due at all (NOTIFY, null sender) is the caller's
 * affair.
 *
 * Everything remote may be hostile: what stands in a field is printable and folded. Without UTF-8
 * addresses all that we write ourselves is ASCII; remote words beyond it are quoted-printable in
 * the text and '?' in the field. With them (`smtputf8`) the part for programs is
 * message/global-delivery-status and the notice must go out with SMTPUTF8.
 */

enum mime_dsn_action {
    MIME_DSN_FAILED,
    MIME_DSN_DELAYED,   /* still being tried */
    MIME_DSN_DELIVERED, /* by a protocol that says so for good: LMTP */
    MIME_DSN_RELAYED,   /* handed to a next hop that sends no notices */
};

struct mime_dsn_rcpt {
    struct str address;
    struct str orcpt; /* "rfc822;xtext" as received; empty: not given */
    enum mime_dsn_action action;
    uint8_t status[3];
    struct str reason; /* why we gave up, in our words, with its status; empty: `reply` says it */
    uint16_t code;     /* of the next hop; 0: `reply` is in our own words */
    struct str reply;  /* one line, its enhanced status in front if it has one; may be empty */
    struct str remote; /* name or address of the next hop that said it; empty: not known */
    int64_t last_attempt_us;     /* 0: there was none */
    int64_t will_retry_until_us; /* with DELAYED; 0: left out */
};

struct mime_dsn {
    struct str hostname; /* ours; trusted */
    struct str id;       /* the notice's own ID: Message-ID is <id@hostname> */
    int64_t now_us;
    uint64_t random[2]; /* for the boundary: unpredictable to whoever wrote the message */

    struct str to;          /* the message's reverse-path, not empty */
    struct str envid;       /* xtext as received; empty: not given */
    struct str original_id; /* our ID of the message */
    struct str client;      /* the address that we had it from; empty: nobody's */
    struct str helo;        /* the name it gave; hostile */
    int64_t arrival_us;
    bool smtputf8; /* the message came with SMTPUTF8 */
    uint8_t ret;   /* enum smtp_ret */
    /* The next hop takes 7-bit only, as the failure has shown: nothing beyond ASCII is written. Of
     * a message with 8-bit content the header is returned, quoted-printable; UTF-8 addresses take
     * the form of RFC 6533 3 that is ASCII. Without effect when `to` is such an address. */
    bool seven_bit;

    const struct mime_dsn_rcpt *rcpts;
    uint32_t rcpt_count;

    /* The message, or as much of its beginning as is at hand; NULL: it cannot be read. */
    const struct block_chain *original;
    uint64_t original_size;
};

/* A message this large at most is returned whole: when RET=FULL asks for it, and when nothing was
 * asked. Larger ones, RET=HDRS, and notices without a failure: the header. */
#define MIME_DSN_FULL_MAX (UINT64_C(1) << 20)
#define MIME_DSN_DEFAULT_MAX (UINT64_C(64) << 10)

/* Of a header this much is returned, to a whole line. */
#define MIME_DSN_HEADER_MAX (UINT64_C(64) << 10)

/* What the notice needs of its next hop. */
struct mime_dsn_needs {
    bool has_8bit; /* 8BITMIME */
    bool smtputf8;
};

/* Appends the notice to `out`. False when memory is short; then `out` may hold a part. */
PT_NODISCARD bool mime_dsn_write(struct block_chain *out, const struct mime_dsn *d,
                                 struct mime_dsn_needs *out_needs);
