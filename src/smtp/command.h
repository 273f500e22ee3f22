#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"
#include "smtp/envelope.h"
#include "smtp/reply.h"

/*
 * smtp/command: what a command line says (RFC 5321 4.1), without what it does.
 *
 * Pure; strings are slices of the line. Parsers answer with NULL for "taken" or the reply that
 * tells what is wrong.
 */

/* X(verb, flags), the policy of each command. The server's table of actions has the same rows. */
#define SMTP_VERB_LIST(X)                                                                          \
    X(EHLO, SMTP_BEFORE_TLS)                                                                       \
    X(HELO, 0)                                                                                     \
    X(MAIL, SMTP_AFTER_HELLO)                                                                      \
    X(RCPT, SMTP_AFTER_HELLO | SMTP_AFTER_MAIL)                                                    \
    X(DATA, SMTP_AFTER_HELLO | SMTP_AFTER_MAIL | SMTP_NO_ARGUMENT)                                 \
    X(BDAT, SMTP_AFTER_HELLO | SMTP_AFTER_MAIL)                                                    \
    X(RSET, SMTP_NO_ARGUMENT)                                                                      \
    X(NOOP, SMTP_BEFORE_TLS)                                                                       \
    X(QUIT, SMTP_BEFORE_TLS | SMTP_NO_ARGUMENT)                                                    \
    X(VRFY, SMTP_ARGUMENT)                                                                         \
    X(EXPN, SMTP_ARGUMENT)                                                                         \
    X(HELP, 0)                                                                                     \
    X(STARTTLS, SMTP_BEFORE_TLS | SMTP_NO_ARGUMENT)

enum smtp_verb {
#define SMTP_VERB_ENUM(verb, flags) SMTP_##verb,
    SMTP_VERB_LIST(SMTP_VERB_ENUM)
#undef SMTP_VERB_ENUM
        SMTP_UNKNOWN,
};

enum smtp_verb_flags {
    SMTP_BEFORE_TLS = 1,  /* allowed where TLS is required and not yet there (RFC 3207 4) */
    SMTP_AFTER_HELLO = 2, /* only after EHLO or HELO */
    SMTP_AFTER_MAIL = 4,  /* only in a transaction */
    SMTP_NO_ARGUMENT = 8, /* text behind the verb is an error */
    SMTP_ARGUMENT = 16,   /* so is none */
};

struct smtp_command {
    enum smtp_verb verb;
    unsigned flags;  /* enum smtp_verb_flags */
    struct str word; /* the verb as it was sent */
    struct str args; /* behind one space, without white space at the end (RFC 5321 4.1.1) */
};

/* `line` is without its CRLF. */
struct smtp_command smtp_command_parse(struct str line);

/* The first line of something that is not SMTP: a request or a header field of HTTP. */
bool smtp_command_is_http(const struct smtp_command *c);

/* The name in EHLO or HELO: printable ASCII without spaces, at most 255 octets. Whether it is a
 * name that exists, or one that the grammar would have, is a matter of policy: clients get it wrong
 * in all innocence. */
PT_NODISCARD bool smtp_name_parse(struct str args, struct str *out);

/* "FROM:<path> parameters". `esmtp`: parameters are allowed (RFC 5321 4.1.1.11), each at most once.
 * `max_size`: 0 for no limit. */
const struct smtp_reply *smtp_mail_parse(struct str args, bool esmtp, uint64_t max_size,
                                         struct smtp_mail *out);

/* "TO:<path> parameters". `smtputf8`: MAIL said so. */
const struct smtp_reply *smtp_rcpt_parse(struct str args, bool esmtp, bool smtputf8,
                                         struct smtp_rcpt *out);

/* "size" or "size LAST": 1 to 19 decimal digits and nothing else (RFC 3030 2). */
PT_NODISCARD bool smtp_bdat_parse(struct str args, uint64_t *out_size, bool *out_last);

/* xtext whose decoded form is printable ASCII (RFC 3461 4, 4.2, 4.4). */
bool smtp_is_xtext(struct str s);
