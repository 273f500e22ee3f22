#include "net/entry.h"

/* The number of leading ones, or -1 where a one follows a zero. */
static int mask_length(const struct net_addr *mask)
{
    uint32_t bits = 0;

    for (int i = 0; i < 4; i++)
        bits = bits << 8 | mask->octets[i];
    if (~bits & (~bits + 1))
        return -1;
    return __builtin_popcount(bits);
}

static bool is_ipv4(struct str text, struct net_addr *out)
{
    return str_find(text, ':', 0) < 0 && net_addr_parse(text, out);
}

/* Why a text that is no address is none, as far as it can be told. */
static const char *why_no_address(struct str text)
{
    bool digits_and_dots = true, letters = false, colon = str_find(text, ':', 0) >= 0;

    if (text.n == 0)
        return "an address is missing";
    if (str_find(text, '%', 0) >= 0)
        return "an address with a zone cannot be matched";
    for (size_t i = 0; i < text.n; i++) {
        char c = ascii_lower(text.p[i]);

        if ((c < '0' || c > '9') && c != '.')
            digits_and_dots = false;
        if (c >= 'g' && c <= 'z')
            letters = true;
    }
    if (digits_and_dots)
        return "not an IPv4 address: it has four numbers from 0 to 255, without leading zeros";
    if (str_find(text, '-', 0) >= 0 && !letters)
        return "a range is not possible; write it as ADDRESS/PREFIX";
    if (letters && !colon)
        return "not an IP address; a name is not possible";
    return colon ? "not an IPv6 address, nor an IPv4 address with a mask" : "not an IP address";
}

/* "…::1:255.255.255.0" is an IPv6 address by RFC 4291, but whoever wrote it meant a mask. */
static bool ends_in_mask(struct str text)
{
    size_t colon = text.n;
    struct net_addr tail, whole;

    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon == 0 || !is_ipv4(str_from(text, colon), &tail))
        return false;
    if (!net_addr_parse(text, &whole) || whole.family == NET_IPV4) /* ::ffff:a.b.c.d */
        return false;
    return tail.octets[0] == 255 || mask_length(&tail) >= 0;
}

/* 1: it has the form and is right; 0: it has another form; -1: it is wrong. */
static int parse_mask_form(struct str text, struct net_prefix *out, const char **out_reason)
{
    ptrdiff_t colon = str_find(text, ':', 0);
    struct net_addr mask;
    int length;

    if (colon < 0 || !is_ipv4(str_head(text, (size_t)colon), &out->addr))
        return 0;
    if (!is_ipv4(str_from(text, (size_t)colon + 1), &mask)) {
        *out_reason = "behind the colon stands no mask such as 255.255.255.0";
        return -1;
    }
    length = mask_length(&mask);
    if (length < 0) {
        *out_reason = "the mask is not contiguous";
        return -1;
    }
    out->length = (uint8_t)length;
    return 1;
}

static bool parse_length(struct str text, unsigned max, uint8_t *out)
{
    uint64_t length;

    if (text.n > 1 && text.p[0] == '0')
        return false;
    if (!str_to_u64(text, &length) || length > max)
        return false;
    *out = (uint8_t)length;
    return true;
}

static bool parse_slash_form(struct str address, struct str length, struct net_prefix *out,
                             const char **out_reason)
{
    bool mapped;

    if (!net_addr_parse(address, &out->addr)) {
        *out_reason = why_no_address(address);
        return false;
    }
    mapped = out->addr.family == NET_IPV4 && str_find(address, ':', 0) >= 0;
    if (!parse_length(length, mapped ? 128 : net_addr_bits(&out->addr), &out->length)) {
        *out_reason = out->addr.family == NET_IPV4 && !mapped
                          ? "the prefix length is a number from 0 to 32"
                          : "the prefix length is a number from 0 to 128";
        return false;
    }
    if (mapped && out->length < 96) {
        *out_reason = "the prefix of an IPv4-mapped address is 96 or longer";
        return false;
    }
    if (mapped)
        out->length = (uint8_t)(out->length - 96);
    return true;
}

static bool parse_address_form(struct str text, struct net_prefix *out, const char **out_reason)
{
    if (ends_in_mask(text)) {
        *out_reason = "a dotted mask goes with an IPv4 address only; write ADDRESS/PREFIX";
        return false;
    }
    if (!net_addr_parse(text, &out->addr)) {
        *out_reason = why_no_address(text);
        return false;
    }
    out->length = (uint8_t)net_addr_bits(&out->addr);
    return true;
}

bool net_entry_parse(struct str text, struct net_entry *out, const char **out_reason)
{
    struct net_prefix prefix = { 0 };
    ptrdiff_t slash = str_find(text, '/', 0);
    bool ok, masked = false;

    if (slash >= 0) {
        size_t at = (size_t)slash;

        ok = parse_slash_form(str_head(text, at), str_from(text, at + 1), &prefix, out_reason);
    } else {
        int form = parse_mask_form(text, &prefix, out_reason);

        masked = form > 0;
        ok = form > 0 || (form == 0 && parse_address_form(text, &prefix, out_reason));
    }
    if (!ok)
        return false;
    out->normalised = net_prefix_clear(&prefix);
    out->prefix = prefix;
    out->masked = masked;
    return true;
}
