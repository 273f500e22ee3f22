#include "base/crc32c.h"

#include <pthread.h>
#include <string.h>

static uint32_t table[8][256];
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void make_table(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;

        for (int k = 0; k < 8; k++)
            c = c & 1 ? c >> 1 ^ 0x82F63B78u : c >> 1;
        table[0][i] = c;
    }
    for (uint32_t i = 0; i < 256; i++)
        for (int t = 1; t < 8; t++)
            table[t][i] = table[t - 1][i] >> 8 ^ table[0][table[t - 1][i] & 255];
}

static uint32_t crc_table(uint32_t crc, const unsigned char *p, size_t n)
{
    pthread_once(&once, make_table);
    for (; n >= 8; n -= 8, p += 8) {
        uint32_t low, high;

        memcpy(&low, p, 4);
        memcpy(&high, p + 4, 4);
        low ^= crc;
        crc = table[7][low & 255] ^ table[6][low >> 8 & 255] ^ table[5][low >> 16 & 255] ^
              table[4][low >> 24] ^ table[3][high & 255] ^ table[2][high >> 8 & 255] ^
              table[1][high >> 16 & 255] ^ table[0][high >> 24];
    }
    while (n--)
        crc = crc >> 8 ^ table[0][(crc ^ *p++) & 255];
    return crc;
}

#if defined(__x86_64__)
/*
 * The instruction takes 8 octets a cycle but its result comes three cycles later: three streams of
 * STREAM octets side by side are three times as fast. Their sums are put together by a table of
 * what STREAM octets of zero make of a sum, which is linear in its bits.
 */
enum { STREAM = 512 };

static uint32_t skip_table[4][256];
static pthread_once_t skip_once = PTHREAD_ONCE_INIT;

static void make_skip_table(void)
{
    static const unsigned char zeros[STREAM];

    for (unsigned i = 0; i < 4; i++)
        for (uint32_t k = 0; k < 256; k++)
            skip_table[i][k] = crc_table(k << 8 * i, zeros, sizeof zeros);
}

static uint32_t past(uint32_t crc)
{
    return skip_table[0][crc & 255] ^ skip_table[1][crc >> 8 & 255] ^
           skip_table[2][crc >> 16 & 255] ^ skip_table[3][crc >> 24];
}

static uint64_t word_at(const unsigned char *p)
{
    uint64_t word;

    memcpy(&word, p, sizeof word);
    return word;
}

__attribute__((target("sse4.2"))) static uint32_t crc_streams(uint32_t crc, const unsigned char *p)
{
    uint64_t a = crc, b = 0, c = 0;

    for (size_t i = 0; i < STREAM; i += 8) {
        a = __builtin_ia32_crc32di(a, word_at(p + i));
        b = __builtin_ia32_crc32di(b, word_at(p + STREAM + i));
        c = __builtin_ia32_crc32di(c, word_at(p + 2 * STREAM + i));
    }
    return past(past((uint32_t)a) ^ (uint32_t)b) ^ (uint32_t)c;
}

__attribute__((target("sse4.2"))) static uint32_t crc_sse42(uint32_t crc, const unsigned char *p,
                                                            size_t n)
{
    uint64_t c;

    if (n >= 3 * STREAM)
        pthread_once(&skip_once, make_skip_table);
    for (; n >= 3 * STREAM; n -= 3 * STREAM, p += 3 * STREAM)
        crc = crc_streams(crc, p);
    c = crc;
    for (; n >= 8; n -= 8, p += 8)
        c = __builtin_ia32_crc32di(c, word_at(p));
    while (n--)
        c = __builtin_ia32_crc32qi((uint32_t)c, *p++);
    return (uint32_t)c;
}
#endif

uint32_t crc32c(uint32_t crc, const void *octets, size_t n)
{
    crc = ~crc;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        return ~crc_sse42(crc, octets, n);
#endif
    return ~crc_table(crc, octets, n);
}
