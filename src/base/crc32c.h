#pragma once
#include <stddef.h>
#include <stdint.h>

/*
 * base/crc32c: the Castagnoli CRC (RFC 3720 appendix B.4), by the processor's own instruction
 * where it has one.
 *
 * crc32c(0, "123456789", 9) is 0xE3069283. The result of one call is the `crc` of the next, so a
 * message may be summed in pieces; a start value other than 0 is a seed.
 */
uint32_t crc32c(uint32_t crc, const void *octets, size_t n);
