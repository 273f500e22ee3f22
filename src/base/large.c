#include "base/large.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE = 2 << 20 };

void *large_alloc(size_t size)
{
    void *p = NULL;

    if (size < HUGE_PAGE)
        return malloc(size);
    if (posix_memalign(&p, HUGE_PAGE, size) != 0)
        return NULL;
    PT_IGNORE(madvise(p, size, MADV_HUGEPAGE), "it is only slower without");
    return p;
}

void *large_fit(void *old, size_t size)
{
    void *p = old ? large_alloc(size) : NULL;

    if (p)
        memcpy(p, old, size);
    free(old);
    return p;
}
