#pragma once
#include <stdint.h>

/*
 * tracking/number: references from consecutive numbers.
 *
 * The numbers tell which references have been given out; the references are the same 40 bits
 * stirred, so that a mistyped one does not lead to the refusal next to it. One to one, both ways.
 * No secret: who wants to guess one gains nothing.
 */

#define TRACKING_NUMBER_MASK ((UINT64_C(1) << 40) - 1)

uint64_t tracking_number_to_ref(uint64_t number);
uint64_t tracking_number_of_ref(uint64_t ref);
