/* slow_sync: loaded before a program (LD_PRELOAD), it makes each of its syncs take 5 ms longer, as
 * on a disk that is slower than this one. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
#include <unistd.h>

static int slow(const char *name, int fd)
{
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    struct timespec delay = { .tv_nsec = 5 * 1000 * 1000 };

    clock_nanosleep(CLOCK_MONOTONIC, 0, &delay, NULL);
    return real(fd);
}

int fsync(int fd)
{
    return slow("fsync", fd);
}

int fdatasync(int fd)
{
    return slow("fdatasync", fd);
}
