#include "smtp/stuff.h"

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/*
 * Sixty-four octets at a time become three bit masks: where CR, LF and dots are. Shifted by one
 * they answer both questions at once:
 *
 *     every LF stands behind a CR, every CR before an LF    (cr << 1 | carry) == lf
 *     a dot begins a line                                   (lf << 1 | carry) & dot
 *
 * A dot is doubled without an extra slice: one slice ends with it, the next begins with it again.
 * A CR at the very end of a piece is held back until the next piece shows its LF.
 */

enum { WIDTH = 64 };

struct masks {
    uint64_t cr, lf, dot;
};

#if defined(__SSE2__)

static inline uint64_t equal_16(const char *p, char c)
{
    __m128i octets = _mm_loadu_si128((const __m128i *)(const void *)p);

    return (uint64_t)(unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(octets, _mm_set1_epi8(c)));
}

static inline uint64_t equal(const char *p, char c)
{
    return equal_16(p, c) | equal_16(p + 16, c) << 16 | equal_16(p + 32, c) << 32 |
           equal_16(p + 48, c) << 48;
}

#else

static inline uint64_t equal(const char *p, char c)
{
    uint64_t mask = 0;

    for (int i = 0; i < WIDTH; i++)
        mask |= (uint64_t)(p[i] == c) << i;
    return mask;
}

#endif

/* The masks of up to 64 octets; what lies beyond `n` counts as nothing. */
static inline struct masks look(const char *p, size_t n)
{
    char last[WIDTH];

    if (n < WIDTH) {
        memset(last, 0, sizeof last);
        memcpy(last, p, n);
        p = last;
    }
    return (struct masks){ equal(p, '\r'), equal(p, '\n'), equal(p, '.') };
}

static void add(struct iovec *iov, int *count, const char *p, size_t n)
{
    if (n)
        iov[(*count)++] = (struct iovec){ (void *)(uintptr_t)p, n };
}

void smtp_stuff_init(struct smtp_stuff *s, bool dots)
{
    /* The CRLF that ended DATA is the line end before the first line. */
    *s = (struct smtp_stuff){ .dots = dots, .line_start = true };
}

/* Where the octets from `at` on stand in relation to what was before. */
static void note(struct smtp_stuff *s, struct str *piece, size_t at, bool line_start)
{
    *piece = str_from(*piece, at);
    s->line_start = line_start;
}

enum smtp_stuff_status smtp_stuff_next(struct smtp_stuff *s, struct str *piece, struct iovec *iov,
                                       int *count, int max)
{
    const char *p = piece->p;
    size_t n = piece->n, from = 0, at = 0;
    int before = *count;
    uint64_t carry_cr = 0, carry_start;

    pt_assert(max >= 2);
    if (n == 0)
        return SMTP_STUFF_MORE;
    if (max - *count < 2)
        return SMTP_STUFF_FULL;
    if (s->after_cr) {
        if (p[0] != '\n')
            return SMTP_STUFF_BARE;
        add(iov, count, "\r\n", 2);
        from = at = 1;
        s->after_cr = false;
        s->line_start = true;
    }
    carry_start = s->line_start;
    while (at < n) {
        size_t step = PT_MIN(n - at, (size_t)WIDTH);
        struct masks m = look(p + at, step);
        uint64_t stuff;

        if ((m.cr << 1 | carry_cr) != m.lf &&
            /* A CR in the last place answers to nothing yet, but nor does it excuse an LF. */
            (step == WIDTH || ((m.cr << 1 | carry_cr) ^ m.lf) != (uint64_t)1 << step)) {
            *count = before;
            return SMTP_STUFF_BARE;
        }
        stuff = s->dots ? (m.lf << 1 | carry_start) & m.dot : 0;
        for (; stuff; stuff &= stuff - 1) {
            size_t dot = at + (size_t)__builtin_ctzll(stuff);

            if (max - *count < 2) {
                add(iov, count, p + from, dot - from);
                note(s, piece, dot, true);
                return SMTP_STUFF_FULL;
            }
            add(iov, count, p + from, dot + 1 - from);
            from = dot;
        }
        carry_cr = m.cr >> (WIDTH - 1);
        carry_start = m.lf >> (step - 1) & 1;
        at += step;
    }
    s->after_cr = p[n - 1] == '\r';
    add(iov, count, p + from, n - s->after_cr - from);
    note(s, piece, n, carry_start);
    return SMTP_STUFF_MORE;
}

bool smtp_stuff_end(const struct smtp_stuff *s, struct str *out)
{
    if (s->after_cr)
        return false;
    if (!s->dots)
        *out = STR("");
    else
        *out = s->line_start ? STR(".\r\n") : STR("\r\n.\r\n");
    return true;
}
