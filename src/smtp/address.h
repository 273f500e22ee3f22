#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/str.h"
#include "net/addr.h"

/*
 * smtp/address: mailboxes and paths (RFC 5321 4.1.2, 4.1.3; UTF-8 by RFC 6531 3.3).
 *
 * The grammar in full and nothing beside it: dot-strings and quoted local parts, domains, address
 * literals for IPv4, IPv6 and tags to come. One thing is taken that the grammar does not have: an
 * underscore in a domain name, which names of hosts in the field do carry. Octets below 32, DEL
 * and the C1 controls in UTF-8 are refused everywhere, quoted or not. Whether a UTF-8 label is a
 * valid name of a domain (IDNA) is for whoever looks it up.
 *
 * Pure values; the strings of an address are slices of what was parsed.
 */

#define SMTP_LOCAL_MAX 64u   /* RFC 5321 4.5.3.1.1, as written, quotes included */
#define SMTP_DOMAIN_MAX 255u /* RFC 5321 4.5.3.1.2 */
#define SMTP_LABEL_MAX 63u   /* RFC 1035 2.3.4 */
#define SMTP_PATH_MAX 256u   /* RFC 5321 4.5.3.1.3, with "<", ">" and a source route */

enum smtp_domain_kind {
    SMTP_DOMAIN_NONE, /* "postmaster" alone */
    SMTP_DOMAIN_NAME,
    SMTP_DOMAIN_IPV4,
    SMTP_DOMAIN_IPV6,
    SMTP_DOMAIN_GENERAL, /* "[tag:…]" */
};

struct smtp_address {
    struct str text;    /* the whole mailbox, as written */
    struct str local;   /* as written, with its quotes */
    struct str domain;  /* as written, with the brackets of a literal; empty: none */
    bool quoted;        /* the local part is a quoted string */
    bool utf8;          /* octets above 127 were there, all well-formed UTF-8; also in a route */
    uint8_t kind;       /* enum smtp_domain_kind */
    struct net_addr ip; /* of an IPv4 or IPv6 literal */
};

/* A mailbox alone, without brackets: "local@domain". False leaves *out untouched. */
PT_NODISCARD bool smtp_address_parse(struct str text, struct smtp_address *out);

enum smtp_path_flags {
    SMTP_PATH_NULL = 1,       /* "<>" is a path (MAIL): the address is empty */
    SMTP_PATH_POSTMASTER = 2, /* "<postmaster>", in any case, is one (RCPT; RFC 5321 4.5.1) */
};

/* A path at the start of `text`: "<", a source route, which is checked and ignored (RFC 5321
 * appendix C), a mailbox, ">". Returns the octets of it, 0 when there is none. */
PT_NODISCARD size_t smtp_path_parse(struct str text, unsigned flags, struct smtp_address *out);

/* A domain or address literal alone. */
PT_NODISCARD bool smtp_domain_parse(struct str text, struct smtp_address *out);

/* The halves of an address that was parsed once ("a@b" or "postmaster"), cheaply: the domain is
 * empty where there is none. */
void smtp_address_split(struct str address, struct str *out_local, struct str *out_domain);

/* The local part without quotes and backslashes: what it means. Octets written to `out`, which has
 * room for SMTP_LOCAL_MAX. */
size_t smtp_address_local_value(struct str local, char out[SMTP_LOCAL_MAX]);

/* The same mailbox? Local parts by value and case, domains without case (RFC 5321 2.4); both must
 * have been parsed once. */
bool smtp_address_eq(struct str a, struct str b);

/* The canonical form: no quotes where none are needed, the domain in lower case. */
void smtp_address_format(const struct smtp_address *a, struct buf *out);
