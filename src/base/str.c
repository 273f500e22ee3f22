#include "base/str.h"

#include <stdlib.h>

bool str_eq_nocase(struct str a, struct str b)
{
    if (a.n != b.n)
        return false;
    for (size_t i = 0; i < a.n; i++)
        if (ascii_lower(a.p[i]) != ascii_lower(b.p[i]))
            return false;
    return true;
}

bool str_starts_nocase(struct str s, struct str prefix)
{
    return s.n >= prefix.n && str_eq_nocase(str_head(s, prefix.n), prefix);
}

bool str_ends_nocase(struct str s, struct str suffix)
{
    return s.n >= suffix.n && str_eq_nocase(str_from(s, s.n - suffix.n), suffix);
}

ptrdiff_t str_find(struct str s, char c, size_t from)
{
    const char *at;

    if (from >= s.n)
        return -1;
    at = memchr(s.p + from, c, s.n - from);
    return at ? at - s.p : -1;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

struct str str_trim(struct str s)
{
    while (s.n && is_space(s.p[0]))
        s = str_from(s, 1);
    while (s.n && is_space(s.p[s.n - 1]))
        s.n--;
    return s;
}

bool str_to_u64(struct str s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.n == 0)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        uint64_t digit;

        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
        digit = (uint64_t)(s.p[i] - '0');
        if (value > (UINT64_MAX - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *out = value;
    return true;
}

/* Octets of the sequence that starts with `lead` and the range its second octet must be in. */
static size_t utf8_sequence(unsigned char lead, unsigned char *low, unsigned char *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead < 0x80)
        return 1;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0;
        if (lead == 0xED)
            *high = 0x9F;
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F;
        return 4;
    }
    return 0;
}

bool str_is_utf8(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;

    for (size_t i = 0; i < s.n;) {
        unsigned char low, high;
        size_t n = utf8_sequence(p[i], &low, &high);

        if (n == 0 || n > s.n - i)
            return false;
        if (n > 1 && (p[i + 1] < low || p[i + 1] > high))
            return false;
        for (size_t k = 2; k < n; k++)
            if ((p[i + k] & 0xC0) != 0x80)
                return false;
        i += n;
    }
    return true;
}

bool str_has_8bit(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] >= 0x80)
            return true;
    return false;
}

char *str_dup(struct str s)
{
    char *copy = malloc(s.n + 1);

    if (!copy)
        return NULL;
    if (s.n)
        memcpy(copy, s.p, s.n);
    copy[s.n] = 0;
    return copy;
}

uint64_t str_hash_nocase(struct str s)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (size_t i = 0; i < s.n; i++) {
        h ^= (unsigned char)ascii_lower(s.p[i]);
        h *= 0x100000001b3u;
    }
    return h;
}

unsigned str_take_code_point(struct str *s)
{
    unsigned char lead = (unsigned char)s->p[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    unsigned point = n == 1 ? lead : lead & (0x7Fu >> n);

    n = PT_MIN(n, s->n);
    for (size_t i = 1; i < n; i++)
        point = point << 6 | ((unsigned char)s->p[i] & 0x3F);
    *s = str_from(*s, n);
    return point;
}
