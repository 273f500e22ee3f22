#pragma once
#include <stdint.h>

#include "console/accounts.h"

/*
 * console/totp: the second factor: codes that follow from a key and the time (RFC 6238), and codes
 * for when the device is lost, each good once. Pure but for random numbers.
 *
 * SHA-1, six digits, 30 seconds: what every authenticator knows. The code before and the one after
 * count too, for clocks that differ; none counts that is not later than the last one that did.
 */

enum { TOTP_STEP_S = 30, TOTP_KEY_TEXT = 33, TOTP_SPARE_TEXT = 12 };

/* RFC 4226 section 5.3 for a counter. */
uint32_t totp_code(const uint8_t key[ACCOUNT_KEY_SIZE], uint64_t step);

/* A new key. */
void totp_key(uint8_t key[ACCOUNT_KEY_SIZE]);

/* Base 32 (RFC 4648 section 6), as authenticators want it. */
void totp_key_text(const uint8_t key[ACCOUNT_KEY_SIZE], char out[TOTP_KEY_TEXT]);

enum totp_result { TOTP_WRONG, TOTP_RIGHT, TOTP_SPARE };

/* Spaces and hyphens in `code` do not count. What is used up is marked so in `second`, which is the
 * caller's to keep. */
enum totp_result totp_check(struct account_second *second, struct str code, int64_t now_s);

/* Ten new ones in place of those of before: "ABCDE-FGHJK". */
void totp_make_spares(struct account_second *second, char out[ACCOUNT_SPARES_MAX][TOTP_SPARE_TEXT]);
