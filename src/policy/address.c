#include "policy/address.h"

enum { LOCAL_MAX = 512 }; /* RFC 5321 4.5.3.1.1 allows 64 */

/* The octet behind the local part. */
static size_t local_end(struct str address)
{
    size_t i = 0;

    if (address.n == 0 || address.p[0] != '"') {
        while (i < address.n && address.p[i] != '@')
            i++;
        return i;
    }
    for (i = 1; i < address.n && address.p[i] != '"'; i++)
        if (address.p[i] == '\\')
            i++;
    return i < address.n ? i + 1 : address.n;
}

bool policy_address_split(struct str address, struct str *local, struct str *domain)
{
    size_t end = local_end(address);

    *local = address;
    *domain = STR_NULL;
    if (end >= address.n || address.p[end] != '@' || end + 1 == address.n)
        return false;
    *local = str_head(address, end);
    *domain = str_from(address, end + 1);
    return true;
}

static bool like_a_host(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = ascii_lower(s.p[i]);

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && !strchr("-._[]:", c) &&
            !((unsigned char)c & 0x80))
            return false;
    }
    return s.n > 0;
}

/* Without quotes and backslashes; returns the length. */
static size_t unquote(struct str local, char out[LOCAL_MAX])
{
    size_t n = 0;

    for (size_t i = 0; i < local.n; i++) {
        if (local.p[i] == '\\' && i + 1 < local.n)
            i++;
        else if (local.p[i] == '"')
            continue;
        out[n++] = local.p[i];
    }
    return n;
}

bool policy_address_routes(struct str local)
{
    char plain[LOCAL_MAX];
    struct str s;

    if (!memchr(local.p, '%', local.n) && !memchr(local.p, '!', local.n) &&
        !memchr(local.p, '@', local.n))
        return false;
    if (local.n > sizeof plain)
        return true; /* never from our parser: rather refused than misread */
    s = (struct str){ plain, unquote(local, plain) };
    for (size_t i = 0; i < s.n; i++) {
        struct str before = str_head(s, i), behind = str_from(s, i + 1);

        if (s.p[i] == '@' || (s.p[i] == '%' && like_a_host(behind)) ||
            (s.p[i] == '!' && like_a_host(before) && behind.n > 0))
            return true;
    }
    return false;
}
