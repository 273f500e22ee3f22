#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/defs.h"

/*
 * base/str: borrowed octets.
 *
 * A `struct str` points at octets that somebody else owns; it may hold NUL octets and is not
 * terminated by one. Whoever hands one out says in the header how long it stays valid.
 * All comparisons "nocase" fold ASCII letters only, whatever the locale.
 */

struct str {
    const char *p;
    size_t n;
};

#define STR(lit) ((struct str){ "" lit, sizeof(lit) - 1 })
#define STR_NULL ((struct str){ NULL, 0 })
#define STR_FMT(s) (int)(s).n, (s).p /* for "%.*s"; only for octets known to be printable */

static inline struct str str_of(const char *cstring)
{
    return (struct str){ cstring, cstring ? strlen(cstring) : 0 };
}

static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}

/* The same text, or both NULL. */
static inline bool cstr_eq(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static inline struct str str_from(struct str s, size_t offset)
{
    return (struct str){ s.p + offset, s.n - offset };
}

static inline struct str str_head(struct str s, size_t n)
{
    return (struct str){ s.p, n < s.n ? n : s.n };
}

static inline char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

bool str_eq_nocase(struct str a, struct str b);
bool str_starts_nocase(struct str s, struct str prefix);
bool str_ends_nocase(struct str s, struct str suffix);

/* Position of the first `c` at or after `from`, or -1. */
ptrdiff_t str_find(struct str s, char c, size_t from);

/* Without spaces and tabs (and CR, LF) at both ends. */
struct str str_trim(struct str s);

/* Decimal digits only, no sign or space, no overflow. False leaves *out untouched. */
PT_NODISCARD bool str_to_u64(struct str s, uint64_t *out);

/* True if every octet sequence is well-formed UTF-8 (RFC 3629: shortest form, no surrogates). */
bool str_is_utf8(struct str s);

/* The code point at the front of well-formed UTF-8, which is not empty; takes it. */
unsigned str_take_code_point(struct str *s);

/* True if any octet has its high bit set. */
bool str_has_8bit(struct str s);

/* A NUL-terminated copy on the heap; the caller frees it. NULL when memory is short. */
char *str_dup(struct str s);

/* FNV-1a over the octets, ASCII letters folded: for domain names and the like. Not for tables
 * that a stranger can fill. */
uint64_t str_hash_nocase(struct str s);
