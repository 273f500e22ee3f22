#pragma once
#include <stddef.h>

#include "base/defs.h"

/*
 * base/large: memory for large arrays that are read at random.
 *
 * In huge pages where the system has them, since otherwise nearly every read of such an array
 * misses the cache of page translations as well. Small sizes are plain malloc(). Freed by free().
 */

/* Not zeroed; NULL when memory is short. */
PT_NODISCARD void *large_alloc(size_t size);

/* Moves an array into memory of exactly that size and frees the old one, also when memory is short:
 * then the result is NULL, as it is for NULL. */
PT_NODISCARD void *large_fit(void *old, size_t size);
