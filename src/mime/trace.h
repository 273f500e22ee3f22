#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

/*
 * mime/trace: the Received field that we put in front of a message (RFC 5321 4.4).
 *
 *     Received: from client.example ([192.0.2.7])
 *             by gw.example.com with ESMTPS id 0GZK3V9TNQM
 *             for <user@example.org>; Tue, 24 Nov 2026 08:34:34 +0000
 *
 * Lines are folded at 78 columns where there is a place to fold, and never exceed 998. The name in
 * HELO is a stranger's: where it is neither a domain nor an address literal, the client's address
 * stands in its place and what was said follows in a comment, with every octet that could mean
 * anything to a parser replaced. Return-Path is not ours to add: we do not deliver (RFC 5321 4.4).
 */

struct mime_trace {
    struct str helo;     /* as the client said it */
    struct str client;   /* its address as text, no brackets, no "IPv6:" */
    struct str hostname; /* ours; trusted */
    struct str id;       /* the message's; trusted */
    struct str rcpt;     /* the recipient if there is exactly one; otherwise empty */
    struct str tls;      /* "TLSv1.3 TLS_AES_256_GCM_SHA384", trusted, for a comment; empty: none */
    struct str tls_client; /* subject of the client's certificate, a stranger's; empty: none */
    int64_t when_us;       /* wall time */
    bool esmtp;            /* the session began with EHLO */
    bool encrypted;
    bool tls_client_verified;
    bool authenticated;
    bool smtputf8; /* MAIL said SMTPUTF8: the names of RFC 6531 4.3 */
};

/* Appends the field with its CRLF; at most MIME_TRACE_MAX octets. */
#define MIME_TRACE_MAX 3072u
void mime_trace_write(struct buf *out, const struct mime_trace *t);

/* "ESMTPS" and so on (RFC 3848, RFC 6531 4.3). */
struct str mime_trace_protocol(const struct mime_trace *t);
