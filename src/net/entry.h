#pragma once
#include <stdbool.h>

#include "base/defs.h"
#include "base/str.h"
#include "net/addr.h"

/*
 * net/entry: one entry of an address list, as a person writes it.
 *
 *     entry = ADDRESS                 one computer, IPv4 or IPv6
 *           | ADDRESS ":" MASK        a group, IPv4 with a dotted mask
 *           | ADDRESS "/" PREFIX      a group, IPv4 or IPv6
 *
 * Addresses are in the strict forms of net_addr_parse(). The mask form is tried before IPv6. What
 * could be read in two ways is refused: an IPv6 address that ends in a dotted mask, a length with
 * leading zeros, a mask with holes. An IPv4-mapped IPv6 address is the IPv4 address; its prefix
 * must then be 96 or longer and is counted from there. Spaces around the entry are the caller's.
 *
 * Pure; the reasons are constant texts.
 */

struct net_entry {
    struct net_prefix prefix; /* bits beyond the length are zero */
    bool normalised;          /* the text had such bits set */
    bool masked;              /* it is of the form ADDRESS:MASK */
};

/* False leaves *out untouched and says why in *out_reason: a phrase without a full stop. */
PT_NODISCARD bool net_entry_parse(struct str text, struct net_entry *out, const char **out_reason);
