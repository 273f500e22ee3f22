#pragma once
#include <stdbool.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * policy/address: what a recipient's address means for relaying. For this room only.
 *
 * Addresses come from the SMTP parser and are well formed; whatever else arrives is treated as
 * belonging to no domain.
 */

/* Splits at the "@" that ends the local part, quoted or not (RFC 5321 4.1.2). False: there is no
 * domain, and *local is all of it. */
PT_NODISCARD bool policy_address_split(struct str address, struct str *local, struct str *domain);

/*
 * True if the local part asks some host further on to send the mail elsewhere, by one of the ways
 * older than domains: "user%host", "host!user", "user@host" in quotes. Quotes and backslashes
 * count for nothing, since a next hop may drop them. A "%" or "!" that nothing like a host name
 * stands next to ("100%", "wow!") is a character like any other.
 */
bool policy_address_routes(struct str local);
