#include "console/totp.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

enum { DIGITS = 6, SPARE_CHARS = 10 };

_Static_assert(crypto_hash_sha256_BYTES == sizeof((struct account_second *)0)->spares[0],
               "SHA-256");

uint32_t totp_code(const uint8_t key[ACCOUNT_KEY_SIZE], uint64_t step)
{
    unsigned char mac[EVP_MAX_MD_SIZE] = { 0 }, counter[8];
    unsigned n = 0, at;

    for (int i = 0; i < 8; i++)
        counter[i] = (unsigned char)(step >> (56 - 8 * i));
    pt_assert(HMAC(EVP_sha1(), key, ACCOUNT_KEY_SIZE, counter, sizeof counter, mac, &n) != NULL);
    at = mac[19] & 15;
    return (((uint32_t)(mac[at] & 0x7f) << 24) | ((uint32_t)mac[at + 1] << 16) |
            ((uint32_t)mac[at + 2] << 8) | mac[at + 3]) %
           1000000;
}

void totp_key(uint8_t key[ACCOUNT_KEY_SIZE])
{
    pt_assert(sodium_init() >= 0);
    randombytes_buf(key, ACCOUNT_KEY_SIZE);
}

void totp_key_text(const uint8_t key[ACCOUNT_KEY_SIZE], char out[TOTP_KEY_TEXT])
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    size_t n = 0;

    for (size_t i = 0; i < ACCOUNT_KEY_SIZE; i += 5) {
        uint64_t group = 0;

        for (size_t j = 0; j < 5; j++)
            group = group << 8 | key[i + j];
        for (int shift = 35; shift >= 0; shift -= 5)
            out[n++] = letters[group >> shift & 31];
    }
    out[n] = 0;
}

/* Capital letters and digits alone; false: too long. */
static bool squeeze(struct str code, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < code.n; i++) {
        char c = code.p[i];

        if (c == ' ' || c == '-')
            continue;
        if (n + 1 == size)
            return false;
        out[n++] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    out[n] = 0;
    return true;
}

static enum totp_result check_time(struct account_second *second, const char *text, int64_t now_s)
{
    uint64_t now = (uint64_t)now_s / TOTP_STEP_S, right = 0;

    /* All three are compared, each in constant time. */
    for (uint64_t step = now - 1; step <= now + 1; step++) {
        char wanted[DIGITS + 1];

        snprintf(wanted, sizeof wanted, "%06u", totp_code(second->key, step) % 1000000);
        if (sodium_memcmp(wanted, text, DIGITS) == 0 && step > second->used)
            right = step;
    }
    if (!right)
        return TOTP_WRONG;
    second->used = right;
    return TOTP_RIGHT;
}

static void hash_spare(const char *text, uint8_t out[32])
{
    crypto_hash_sha256(out, (const unsigned char *)text, strlen(text));
}

static enum totp_result check_spare(struct account_second *second, const char *text)
{
    size_t found = second->spare_count;
    uint8_t hash[32];

    hash_spare(text, hash);
    for (size_t i = 0; i < second->spare_count; i++)
        if (sodium_memcmp(hash, second->spares[i], sizeof hash) == 0)
            found = i;
    if (found == second->spare_count)
        return TOTP_WRONG;
    memcpy(second->spares[found], second->spares[--second->spare_count], sizeof hash);
    return TOTP_SPARE;
}

enum totp_result totp_check(struct account_second *second, struct str code, int64_t now_s)
{
    char text[SPARE_CHARS + 1];

    if (!squeeze(code, text, sizeof text))
        return TOTP_WRONG;
    if (strlen(text) == DIGITS)
        return check_time(second, text, now_s);
    return strlen(text) == SPARE_CHARS ? check_spare(second, text) : TOTP_WRONG;
}

void totp_make_spares(struct account_second *second, char out[ACCOUNT_SPARES_MAX][TOTP_SPARE_TEXT])
{
    /* None that a person takes for another one. */
    static const char letters[] = "ABCDEFGHJKMNPQRSTUVWXYZ23456789";

    pt_assert(sodium_init() >= 0);
    for (size_t i = 0; i < ACCOUNT_SPARES_MAX; i++) {
        char text[SPARE_CHARS + 1];

        for (size_t j = 0; j < SPARE_CHARS; j++)
            text[j] = letters[randombytes_uniform(sizeof letters - 1)];
        text[SPARE_CHARS] = 0;
        hash_spare(text, second->spares[i]);
        snprintf(out[i], TOTP_SPARE_TEXT, "%.5s-%.5s", text, text + 5);
        sodium_memzero(text, sizeof text);
    }
    second->spare_count = ACCOUNT_SPARES_MAX;
}
