#include "daemon/descriptors.h"

#include <sys/resource.h>

#include "base/defs.h"

/* Loops, databases, spool and the API hold some 64 by themselves; deliveries and files come on top.
 */
enum { KEPT_LEAST = 112, KEPT_MOST = 4096 };

void descriptors_raise_limit(void)
{
    struct rlimit r;

    if (getrlimit(RLIMIT_NOFILE, &r) < 0)
        return;
    r.rlim_cur = r.rlim_max;
    PT_IGNORE(setrlimit(RLIMIT_NOFILE, &r) < 0, "the limit there is must do");
}

uint32_t descriptors_for_sessions_of(uint64_t limit)
{
    uint64_t kept = PT_MIN(PT_MAX(limit / 4, (uint64_t)KEPT_LEAST), (uint64_t)KEPT_MOST);

    if (limit <= kept + 1)
        return 1;
    return (uint32_t)PT_MIN(limit - kept, (uint64_t)UINT32_MAX);
}

uint32_t descriptors_for_sessions(void)
{
    struct rlimit r;

    return getrlimit(RLIMIT_NOFILE, &r) < 0 ? 0 : descriptors_for_sessions_of(r.rlim_cur);
}
