#pragma once
#include <stddef.h>
#include <stdint.h>

/*
 * A fuzz target. Defined once in each file of this folder; called by libFuzzer (`./dev fuzz NAME`)
 * or, with the files of corpus/NAME/, by replay.c in the ordinary tests. Returns 0. It must not
 * keep state from one call to the next, and frees what it takes.
 */
int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n);
