#include "smtp/scan.h"

#include <stdint.h>
#include <string.h>

/*
 * Sixty-four octets at a time become bit masks: where is CR, LF, NUL, a dot. Shifted by one, with
 * the bit carried over from the block before, "the octet before is CR" is a mask too, and both
 * kinds of broken line end are where it differs from the mask of LF:
 *
 *     LF without CR before: lf = 1, after_cr = 0      CR without LF behind: lf = 0, after_cr = 1
 *
 * So clean text, however short its lines are, costs the same few instructions a block.
 */

#define BLOCK 64u

struct masks {
    uint64_t cr, lf, nul, dot, high;
};

struct carry {
    uint64_t cr, lf; /* 0 or 1: the octet before this block */
};

static inline struct carry carry_of(char before)
{
    return (struct carry){ before == '\r', before == '\n' };
}

/* The octets that need a thought, as bits; moves the carry on. */
static inline uint64_t events(const struct masks *m, struct carry *carry, bool dots)
{
    uint64_t after_cr = m->cr << 1 | carry->cr;
    uint64_t after_lf = m->lf << 1 | carry->lf;

    carry->cr = m->cr >> (BLOCK - 1);
    carry->lf = m->lf >> (BLOCK - 1);
    return (m->lf ^ after_cr) | m->nul | (dots ? m->dot & after_lf : 0);
}

static struct smtp_scan scan_scalar(struct str in, char before, bool dots)
{
    struct smtp_scan r = { 0 };
    unsigned char high = 0;

    for (; r.clean < in.n; r.clean++) {
        char c = in.p[r.clean];

        if (c == 0 || (before == '\r') != (c == '\n') || (dots && c == '.' && before == '\n'))
            break;
        high |= (unsigned char)c;
        before = c;
    }
    r.eight_bit = high & 0x80;
    return r;
}

#if defined(__x86_64__)
#include <immintrin.h>

/*
 * The loop over blocks, inlined into each implementation. The last, incomplete block is copied so
 * that nothing beyond the input is read, and its masks are cut to its length.
 */
static inline __attribute__((always_inline)) struct smtp_scan
scan_blocks(struct masks (*masks)(const char *), struct str in, char before, bool dots)
{
    struct smtp_scan r = { 0 };
    struct carry carry = carry_of(before);
    uint64_t high = 0, hits = 0;
    struct masks m;

    for (; in.n - r.clean >= BLOCK; r.clean += BLOCK) {
        m = masks(in.p + r.clean);
        hits = events(&m, &carry, dots);
        if (__builtin_expect(hits != 0, 0))
            break;
        high |= m.high;
    }
    if (hits == 0 && r.clean < in.n) {
        size_t rest = in.n - r.clean;
        char tail[BLOCK] = { 0 };

        memcpy(tail, in.p + r.clean, rest);
        m = masks(tail);
        hits = events(&m, &carry, dots) | UINT64_C(1) << rest; /* the end counts as one */
    }
    if (hits != 0) {
        high |= m.high & ((hits & -hits) - 1);
        r.clean += (unsigned)__builtin_ctzll(hits);
    }
    r.eight_bit = high != 0;
    return r;
}

static inline uint64_t sse2_mask(const __m128i v[4], char c)
{
    __m128i want = _mm_set1_epi8(c);
    uint64_t a = (uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[0], want));
    uint64_t b = (uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[1], want));
    uint64_t d = (uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[2], want));
    uint64_t e = (uint16_t)_mm_movemask_epi8(_mm_cmpeq_epi8(v[3], want));

    return a | b << 16 | d << 32 | e << 48;
}

static inline struct masks sse2_masks(const char *p)
{
    __m128i v[4];
    struct masks m;

    for (int i = 0; i < 4; i++)
        v[i] = _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i));
    m.cr = sse2_mask(v, '\r');
    m.lf = sse2_mask(v, '\n');
    m.nul = sse2_mask(v, 0);
    m.dot = sse2_mask(v, '.');
    m.high = (uint64_t)(uint16_t)_mm_movemask_epi8(v[0]) |
             (uint64_t)(uint16_t)_mm_movemask_epi8(v[1]) << 16 |
             (uint64_t)(uint16_t)_mm_movemask_epi8(v[2]) << 32 |
             (uint64_t)(uint16_t)_mm_movemask_epi8(v[3]) << 48;
    return m;
}

static struct smtp_scan scan_sse2(struct str in, char before, bool dots)
{
    return scan_blocks(sse2_masks, in, before, dots);
}

#define AVX2 __attribute__((target("avx2,bmi,bmi2")))

AVX2 static inline uint64_t avx2_mask(__m256i low, __m256i high, char c)
{
    __m256i want = _mm256_set1_epi8(c);
    uint64_t a = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(low, want));
    uint64_t b = (uint32_t)_mm256_movemask_epi8(_mm256_cmpeq_epi8(high, want));

    return a | b << 32;
}

AVX2 static inline struct masks avx2_masks(const char *p)
{
    __m256i low = _mm256_loadu_si256((const __m256i *)(const void *)p);
    __m256i high = _mm256_loadu_si256((const __m256i *)(const void *)(p + 32));
    struct masks m;

    m.cr = avx2_mask(low, high, '\r');
    m.lf = avx2_mask(low, high, '\n');
    m.nul = avx2_mask(low, high, 0);
    m.dot = avx2_mask(low, high, '.');
    m.high = (uint64_t)(uint32_t)_mm256_movemask_epi8(low) |
             (uint64_t)(uint32_t)_mm256_movemask_epi8(high) << 32;
    return m;
}

AVX2 static struct smtp_scan scan_avx2(struct str in, char before, bool dots)
{
    return scan_blocks(avx2_masks, in, before, dots);
}

static bool has_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
           __builtin_cpu_supports("bmi2");
}

struct smtp_scan smtp_scan(struct str in, char before, bool dots)
{
    return has_avx2() ? scan_avx2(in, before, dots) : scan_sse2(in, before, dots);
}

bool smtp_scan_with(enum smtp_scan_kind kind, struct str in, char before, bool dots,
                    struct smtp_scan *out)
{
    if (kind == SMTP_SCAN_AVX2 && !has_avx2())
        return false;
    *out = kind == SMTP_SCAN_AVX2   ? scan_avx2(in, before, dots)
           : kind == SMTP_SCAN_SSE2 ? scan_sse2(in, before, dots)
                                    : scan_scalar(in, before, dots);
    return true;
}

#else

struct smtp_scan smtp_scan(struct str in, char before, bool dots)
{
    return scan_scalar(in, before, dots);
}

bool smtp_scan_with(enum smtp_scan_kind kind, struct str in, char before, bool dots,
                    struct smtp_scan *out)
{
    if (kind != SMTP_SCAN_SCALAR)
        return false;
    *out = scan_scalar(in, before, dots);
    return true;
}

#endif
