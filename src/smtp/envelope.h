#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*
 * smtp/envelope: what MAIL and RCPT say, parsed.
 *
 * Values only. The octets are borrowed: from the server machine until the verdict is answered,
 * from whoever hands them to the client machine.
 */

enum smtp_body { SMTP_BODY_NONE, SMTP_BODY_7BIT, SMTP_BODY_8BITMIME };
enum smtp_ret { SMTP_RET_NONE, SMTP_RET_FULL, SMTP_RET_HDRS };

/* RFC 3461 section 4.1; 0: the parameter was not given. */
enum {
    SMTP_NOTIFY_NEVER = 1,
    SMTP_NOTIFY_SUCCESS = 2,
    SMTP_NOTIFY_FAILURE = 4,
    SMTP_NOTIFY_DELAY = 8,
};

struct smtp_mail {
    struct str reverse_path; /* without angle brackets and source route; empty: the null path */
    bool size_given;
    uint64_t size;
    uint8_t body; /* enum smtp_body */
    uint8_t ret;  /* enum smtp_ret */
    bool smtputf8;
    struct str envid; /* xtext, as received; empty: not given */
};

struct smtp_rcpt {
    struct str address; /* without angle brackets and source route */
    uint8_t notify;     /* SMTP_NOTIFY_… */
    struct str orcpt;   /* "rfc822;xtext", as received; empty: not given */
};
