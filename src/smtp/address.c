#include "smtp/address.h"

/*
 * A reader over the text: each read_… function takes what its production of the grammar describes
 * from the front, or says false. Positions only move forward; nothing is copied.
 */
struct reader {
    struct str text;
    size_t at;
    bool utf8;
};

static int peek(const struct reader *r)
{
    return r->at < r->text.n ? (unsigned char)r->text.p[r->at] : -1;
}

static bool take(struct reader *r, char c)
{
    if (peek(r) != c)
        return false;
    r->at++;
    return true;
}

static struct str since(const struct reader *r, size_t from)
{
    return (struct str){ r->text.p + from, r->at - from };
}

static bool is_alnum(int c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* RFC 5322 3.2.3 */
static bool is_atext(int c)
{
    return is_alnum(c) || (c > 0 && c < 128 && strchr("!#$%&'*+-/=?^_`{|}~", c));
}

/* Takes one UTF8-non-ascii (RFC 6531 3.3) that is no C1 control. */
static bool take_utf8(struct reader *r)
{
    int lead = peek(r);
    size_t n = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    struct str c;

    if (lead < 0x80 || r->text.n - r->at < n)
        return false;
    c = (struct str){ r->text.p + r->at, n };
    if (!str_is_utf8(c) || (lead == 0xC2 && (unsigned char)c.p[1] < 0xA0))
        return false;
    r->at += n;
    r->utf8 = true;
    return true;
}

/* Atom = 1*atext */
static bool read_atom(struct reader *r)
{
    size_t from = r->at;

    for (;;) {
        if (is_atext(peek(r)))
            r->at++;
        else if (!take_utf8(r))
            return r->at > from;
    }
}

static bool read_dot_string(struct reader *r)
{
    do {
        if (!read_atom(r))
            return false;
    } while (take(r, '.'));
    return true;
}

/* Quoted-string = DQUOTE *QcontentSMTP DQUOTE; printable octets only, quoted or not. */
static bool read_quoted_string(struct reader *r)
{
    if (!take(r, '"'))
        return false;
    while (!take(r, '"')) {
        bool pair = take(r, '\\');
        int c = peek(r);

        if (c >= ' ' && c <= '~')
            r->at++;
        else if (pair || !take_utf8(r))
            return false;
    }
    return true;
}

/* A label of letters, digits and hyphens that neither begins nor ends with a hyphen. The limit of
 * 63 octets is one of the A-label: each character of a U-label gives at least one octet of it,
 * behind the four of "xn--" (RFC 5890 2.3.2.1). */
static bool read_label(struct reader *r)
{
    size_t from = r->at, length = 0;
    bool ascii = true;

    for (; length <= SMTP_LABEL_MAX; length++) {
        int c = peek(r);

        if (is_alnum(c) || c == '-' || c == '_')
            r->at++;
        else if (take_utf8(r))
            ascii = false;
        else
            break;
    }
    return length > 0 && length <= (ascii ? SMTP_LABEL_MAX : SMTP_LABEL_MAX - 4) &&
           r->text.p[from] != '-' && r->text.p[r->at - 1] != '-';
}

static bool read_domain_name(struct reader *r)
{
    size_t from = r->at;

    do {
        if (!read_label(r))
            return false;
    } while (take(r, '.'));
    return r->at - from <= SMTP_DOMAIN_MAX;
}

/* The inside of "[…]" (RFC 5321 4.1.3). */
static bool parse_literal(struct str inside, struct smtp_address *out)
{
    ptrdiff_t colon = str_find(inside, ':', 0);
    struct str tag;

    if (colon < 0) {
        out->kind = SMTP_DOMAIN_IPV4;
        return net_addr_parse(inside, &out->ip) && out->ip.family == NET_IPV4;
    }
    tag = str_head(inside, (size_t)colon);
    if (str_eq_nocase(tag, STR("IPv6"))) {
        struct str text = str_from(inside, tag.n + 1);

        out->kind = SMTP_DOMAIN_IPV6;
        return str_find(text, ':', 0) >= 0 && net_addr_parse(text, &out->ip);
    }
    out->kind = SMTP_DOMAIN_GENERAL;
    if (tag.n == 0 || tag.p[tag.n - 1] == '-' || tag.n + 1 == inside.n)
        return false;
    for (size_t i = 0; i < tag.n; i++)
        if (!is_alnum(tag.p[i]) && tag.p[i] != '-')
            return false;
    return true;
}

/* dcontent is printable without space and "[", "\", "]". */
static bool read_literal(struct reader *r, struct smtp_address *out)
{
    size_t from = r->at;

    if (!take(r, '['))
        return false;
    while (peek(r) > ' ' && peek(r) <= '~' && !strchr("[\\]", peek(r)))
        r->at++;
    return take(r, ']') && r->at - from <= SMTP_DOMAIN_MAX &&
           parse_literal((struct str){ r->text.p + from + 1, r->at - from - 2 }, out);
}

static bool read_domain(struct reader *r, struct smtp_address *out)
{
    size_t from = r->at;

    if (peek(r) == '[') {
        if (!read_literal(r, out))
            return false;
    } else {
        out->kind = SMTP_DOMAIN_NAME;
        if (!read_domain_name(r))
            return false;
    }
    out->domain = since(r, from);
    return true;
}

static bool read_local(struct reader *r, struct smtp_address *out)
{
    size_t from = r->at;

    out->quoted = peek(r) == '"';
    if (!(out->quoted ? read_quoted_string(r) : read_dot_string(r)))
        return false;
    out->local = since(r, from);
    return out->local.n <= SMTP_LOCAL_MAX;
}

static bool read_mailbox(struct reader *r, unsigned flags, struct smtp_address *out)
{
    size_t from = r->at;

    if (!read_local(r, out))
        return false;
    if (take(r, '@')) {
        if (!read_domain(r, out))
            return false;
    } else if (!(flags & SMTP_PATH_POSTMASTER) || !str_eq_nocase(out->local, STR("postmaster"))) {
        return false;
    }
    out->text = since(r, from);
    out->utf8 = r->utf8;
    return true;
}

bool smtp_address_parse(struct str text, struct smtp_address *out)
{
    struct reader r = { .text = text };
    struct smtp_address a = { 0 };

    if (!read_mailbox(&r, 0, &a) || r.at != text.n)
        return false;
    *out = a;
    return true;
}

bool smtp_domain_parse(struct str text, struct smtp_address *out)
{
    struct reader r = { .text = text };
    struct smtp_address a = { 0 };

    if (!read_domain(&r, &a) || r.at != text.n)
        return false;
    a.utf8 = r.utf8;
    *out = a;
    return true;
}

/* A-d-l ":" with A-d-l = At-domain *( "," At-domain ) */
static bool read_source_route(struct reader *r)
{
    struct smtp_address hop;

    do {
        if (!take(r, '@') || !read_domain(r, &hop))
            return false;
    } while (take(r, ','));
    return take(r, ':');
}

size_t smtp_path_parse(struct str text, unsigned flags, struct smtp_address *out)
{
    struct reader r = { .text = text };
    struct smtp_address a = { 0 };

    if (!take(&r, '<'))
        return 0;
    if (!(flags & SMTP_PATH_NULL) || peek(&r) != '>') {
        if (peek(&r) == '@' && !read_source_route(&r))
            return 0;
        if (!read_mailbox(&r, flags, &a))
            return 0;
    }
    if (!take(&r, '>') || r.at > SMTP_PATH_MAX)
        return 0;
    *out = a;
    return r.at;
}
