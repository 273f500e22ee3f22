"""clock: the wall clock of the programs that a test starts.

    with Clock() as clock, Postern(hop) as gateway:
        clock.advance(hours=4)

A library loaded before all others adds an offset to the time of day; how long something takes is
not touched.
"""

import mmap
import os
import struct
import subprocess

from .places import temporary_folder

SOURCE = r"""/* The wall clock as a test wants it: the system's and an offset, which stands in a file. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_s;

__attribute__((constructor)) static void find_offset(void)
{
    const char *path = getenv("POSTERN_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_s, PROT_READ, MAP_SHARED, fd, 0);

    if (memory != MAP_FAILED)
        offset_s = memory;
    if (fd >= 0)
        close(fd);
}

int clock_gettime(clockid_t id, struct timespec *t)
{
    static int (*system_clock)(clockid_t, struct timespec *);
    int result;

    if (!system_clock)
        *(void **)&system_clock = dlsym(RTLD_NEXT, "clock_gettime");
    result = system_clock(id, t);
    if (id == CLOCK_REALTIME && offset_s)
        t->tv_sec += (time_t)*offset_s;
    return result;
}
"""


class Clock:
    def __init__(self):
        self._before: dict[str, str | None] = {}

    def __enter__(self) -> "Clock":
        self._folder = temporary_folder()
        folder = self._folder.__enter__()
        library, offset = folder / "clock.so", folder / "offset"
        subprocess.run(
            ["cc", "-shared", "-fPIC", "-O1", "-xc", "-", "-o", library, "-ldl"],
            input=SOURCE,
            text=True,
            check=True,
        )
        offset.write_bytes(struct.pack("q", 0))
        with open(offset, "r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)
        for name, value in {"LD_PRELOAD": library, "POSTERN_TEST_CLOCK": offset}.items():
            self._before[name] = os.environ.get(name)
            os.environ[name] = str(value)
        return self

    def __exit__(self, *exc) -> None:
        for name, value in self._before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        self._memory.close()
        self._folder.__exit__(*exc)

    def advance(self, *, hours: float) -> None:
        seconds = struct.unpack("q", self._memory[:8])[0] + round(hours * 3600)
        self._memory[:8] = struct.pack("q", seconds)
