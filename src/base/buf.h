#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * base/buf: octets that grow, up to a maximum that is named when the buffer is made.
 *
 * Appending beyond the maximum, or without memory, appends nothing and sets `failed`; further
 * appends do nothing. So a writer appends freely and its caller looks at `failed` once at the end.
 * One thread at a time.
 */
struct buf {
    char *p;
    size_t n;
    size_t cap;
    size_t max;
    bool failed;
};

void buf_init(struct buf *b, size_t max);
void buf_done(struct buf *b); /* frees the octets; `b` may be used again as if just initialised */

/* Forgets the octets and `failed`, keeps the memory. */
void buf_clear(struct buf *b);

/* Room for `n` more octets at b->p + b->n; the caller writes there and adds to b->n. */
PT_NODISCARD bool buf_reserve(struct buf *b, size_t n);

void buf_add(struct buf *b, const void *octets, size_t n);
void buf_add_str(struct buf *b, struct str s);
void buf_add_char(struct buf *b, char c);
void buf_add_u64(struct buf *b, uint64_t value); /* decimal */
void buf_addf(struct buf *b, const char *fmt, ...) PT_PRINTF(2, 3);

#define BUF_LIT(b, lit) buf_add((b), "" lit, sizeof(lit) - 1)

/* Removes `n` octets from the front. */
void buf_drop(struct buf *b, size_t n);

static inline struct str buf_str(const struct buf *b)
{
    return (struct str){ b->p, b->n };
}

/* The octets with a NUL behind them (not counted); "" when empty, NULL when memory is short. */
const char *buf_cstr(struct buf *b);
