#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

void buf_init(struct buf *b, size_t max)
{
    *b = (struct buf){ .max = max };
}

void buf_done(struct buf *b)
{
    free(b->p);
    buf_init(b, b->max);
}

void buf_clear(struct buf *b)
{
    b->n = 0;
    b->failed = false;
}

/* Memory for `need` octets in all; the maximum was looked at before. */
static bool grow(struct buf *b, size_t need)
{
    size_t twice = PT_MAX(PT_MIN(b->cap, b->max / 2) * 2, 64u);
    size_t cap = PT_MAX(PT_MIN(twice, b->max), need);
    char *p = realloc(b->p, cap);

    if (!p)
        return false;
    b->p = p;
    b->cap = cap;
    return true;
}

/* Room for `n` octets that count, and `extra` behind them that do not: a terminator. */
static bool reserve(struct buf *b, size_t n, size_t extra)
{
    if (b->failed)
        return false;
    if (n > b->max || b->n > b->max - n ||
        (n + extra > b->cap - b->n && !grow(b, b->n + n + extra)))
        b->failed = true;
    return !b->failed;
}

bool buf_reserve(struct buf *b, size_t n)
{
    return reserve(b, n, 0);
}

void buf_add(struct buf *b, const void *octets, size_t n)
{
    if (n == 0 || !buf_reserve(b, n))
        return;
    memcpy(b->p + b->n, octets, n);
    b->n += n;
}

void buf_add_str(struct buf *b, struct str s)
{
    buf_add(b, s.p, s.n);
}

void buf_add_char(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_add_u64(struct buf *b, uint64_t value)
{
    char digits[20];
    size_t at = sizeof digits;

    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    buf_add(b, digits + at, sizeof digits - at);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list args, again;
    int n;

    va_start(args, fmt);
    va_copy(again, args);
    n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    pt_assert(n >= 0);
    if (reserve(b, (size_t)n, 1)) {
        vsnprintf(b->p + b->n, (size_t)n + 1, fmt, again);
        b->n += (size_t)n;
    }
    va_end(again);
}

void buf_drop(struct buf *b, size_t n)
{
    pt_assert(n <= b->n);
    if (n == 0)
        return;
    memmove(b->p, b->p + n, b->n - n);
    b->n -= n;
}

const char *buf_cstr(struct buf *b)
{
    if (b->n == 0)
        return "";
    /* The terminator may take the one octet beyond `max`: it is not content. */
    if (b->n == b->cap) {
        char *p = realloc(b->p, b->cap + 1);

        if (!p)
            return NULL;
        b->p = p;
        b->cap++;
    }
    b->p[b->n] = 0;
    return b->p;
}
