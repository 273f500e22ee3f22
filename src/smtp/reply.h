#pragma once
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * smtp/reply: answers as values.
 *
 * A reply is a code, an enhanced status (RFC 3463) and a text. All constant replies of the server
 * machine stand in replies.tbl.h, once; those of policy and storage are their rooms' own. Text is
 * printable ASCII or UTF-8 without CR and LF; whatever a client sent never appears in it raw.
 */

struct smtp_reply {
    uint16_t code;     /* 200–599 */
    uint8_t status[3]; /* class, subject, detail; class 0: no enhanced status is written */
    struct str text;   /* one line, or lines separated by LF */
};

#define SMTP_REPLY(code, a, b, c, text)                                                            \
    ((struct smtp_reply){ (code), { (a), (b), (c) }, STR(text) })

/* smtp_reply_ok, smtp_reply_too_large, … */
#define X(name, code, a, b, c, text) extern const struct smtp_reply smtp_reply_##name;
#include "smtp/replies.tbl.h"
#undef X

/* The longest line of a reply with its CRLF (RFC 5321 4.5.3.1.5). */
#define SMTP_REPLY_LINE_MAX 512u

/* Appends the reply as it goes over the wire, "250-2.1.0 …" lines included, each ended by CRLF and
 * folded at SMTP_REPLY_LINE_MAX. Control characters in the text, and octets that are no UTF-8,
 * become '?'. */
void smtp_reply_write(struct buf *out, const struct smtp_reply *reply);
