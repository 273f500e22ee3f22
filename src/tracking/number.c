/* Three rounds of a Feistel network over two halves of 20 bits. */
#include "tracking/number.h"

enum { HALF_BITS = 20, HALF_MASK = (1 << HALF_BITS) - 1, ROUNDS = 3 };

static uint32_t stir(uint32_t half, uint32_t round)
{
    uint64_t x = (half + round * 0x5D2A7u + 0x3C6EFu) & HALF_MASK;

    x *= UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(x >> 40) & HALF_MASK;
}

uint64_t tracking_number_to_ref(uint64_t number)
{
    uint32_t left = (uint32_t)(number >> HALF_BITS) & HALF_MASK, right = number & HALF_MASK;

    for (uint32_t i = 0; i < ROUNDS; i++) {
        uint32_t next = left ^ stir(right, i);

        left = right;
        right = next;
    }
    return (uint64_t)left << HALF_BITS | right;
}

uint64_t tracking_number_of_ref(uint64_t ref)
{
    uint32_t left = (uint32_t)(ref >> HALF_BITS) & HALF_MASK, right = ref & HALF_MASK;

    for (uint32_t i = ROUNDS; i-- > 0;) {
        uint32_t before = right ^ stir(left, i);

        right = left;
        left = before;
    }
    return (uint64_t)left << HALF_BITS | right;
}
