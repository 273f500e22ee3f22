#pragma once
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * smtp/reply: answers as values.
 *
 * A reply is a code, an enhanced status (RFC 3463) and a text. All constant replies of the server
 * stand in reply.c, once; the same list feeds the documentation. Text is printable ASCII or UTF-8
 * without CR and LF; whatever a client sent never appears in it raw.
 */

struct smtp_reply {
    uint16_t code;     /* 200–599 */
    uint8_t status[3]; /* class, subject, detail; class 0: no enhanced status is written */
    struct str text;   /* one line, or lines separated by LF */
};

#define SMTP_REPLY(code, a, b, c, text)                                                            \
    ((struct smtp_reply){ (code), { (a), (b), (c) }, STR(text) })

/* Appends the reply as it goes over the wire, "250-2.1.0 …" lines included, each ended by CRLF and
 * folded at 512 octets (RFC 5321 4.5.3.1.5). Control characters in the text become '?'. */
void smtp_reply_write(struct buf *out, const struct smtp_reply *reply);
