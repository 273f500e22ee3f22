#pragma once
#include <stdbool.h>
#include <stdint.h>

/*
 * Memory that runs out. A test links `fault_dep`; then malloc(), calloc(), realloc() and
 * aligned_alloc() of the code under test pass through here, and the n-th of them on this thread
 * fails.
 *
 *     for (uint64_t n = 0; ; n++) {
 *         fault_begin(n);
 *         ... what is tested; it must end well or with an honest error ...
 *         if (!fault_end())
 *             break; // everything that can fail has failed once
 *     }
 */

/* From now on the allocation number `n` (from 0) of this thread fails, once. */
void fault_begin(uint64_t n);

/* Ends it; true if an allocation was failed. */
bool fault_end(void);
