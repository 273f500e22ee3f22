#include "daemon/notify.h"

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/str.h"

void notify_service(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un sa = { .sun_family = AF_UNIX };
    size_t n = path ? strlen(path) : 0;
    int fd;

    if (n == 0 || n >= sizeof sa.sun_path)
        return;
    memcpy(sa.sun_path, path, n);
    if (sa.sun_path[0] == '@')
        sa.sun_path[0] = 0; /* an abstract name */
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    PT_IGNORE(sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&sa,
                     (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)) < 0,
              "nobody listens");
    close(fd);
}

unsigned notify_listen_fds(int *out, unsigned max)
{
    enum { FIRST = 3 };
    const char *pid = getenv("LISTEN_PID"), *count = getenv("LISTEN_FDS");
    uint64_t value;
    unsigned n = 0;

    if (pid && count && str_to_u64(str_of(pid), &value) && value == (uint64_t)getpid() &&
        str_to_u64(str_of(count), &value))
        for (; n < value && n < max; n++) {
            out[n] = FIRST + (int)n;
            PT_IGNORE(fcntl(out[n], F_SETFD, FD_CLOEXEC) < 0, "a child would inherit it");
        }
    unsetenv("LISTEN_PID");
    unsetenv("LISTEN_FDS");
    return n;
}

void notify_supervisor(int *ready_fd, const char *line)
{
    if (*ready_fd < 0)
        return;
    PT_IGNORE(write(*ready_fd, line, strlen(line)) < 0, "the supervisor is gone");
    close(*ready_fd);
    *ready_fd = -1;
}
