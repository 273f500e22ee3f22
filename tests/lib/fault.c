#include "fault.h"

#include <stddef.h>

static _Thread_local uint64_t left;
static _Thread_local bool armed, hit;

void fault_begin(uint64_t n)
{
    left = n;
    armed = true;
    hit = false;
}

bool fault_end(void)
{
    armed = false;
    return hit;
}

static bool fails(void)
{
    if (!armed || left-- > 0)
        return false;
    armed = false;
    hit = true;
    return true;
}

/* The linker sends each call of NAME to __wrap_NAME, and __real_NAME to what it was. */
void *__real_malloc(size_t n);
void *__real_calloc(size_t count, size_t n);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t alignment, size_t n);

void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t count, size_t n);
void *__wrap_realloc(void *p, size_t n);
void *__wrap_aligned_alloc(size_t alignment, size_t n);

void *__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t count, size_t n)
{
    return fails() ? NULL : __real_calloc(count, n);
}

void *__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t alignment, size_t n)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, n);
}
