#include "http/socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { BACKLOG = 128 };

enum pt_err http_unix_path_open(struct http_unix_path *u, const char *path, struct pt_fault *fault)
{
    const char *slash = strrchr(path, '/');
    char directory[4096];

    u->directory = -1;
    if (strlen(path) < sizeof u->path) {
        memcpy(u->path, path, strlen(path) + 1);
        return PT_ERR_OK;
    }
    if (!slash || (size_t)(slash - path) >= sizeof directory || strlen(slash) > 64)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the path of the socket is too long");
    memcpy(directory, path, (size_t)(slash - path));
    directory[slash - path] = 0;
    u->directory = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (u->directory < 0)
        return pt_fault_errno(fault, errno, "%s", directory);
    snprintf(u->path, sizeof u->path, "/proc/self/fd/%d%s", u->directory, slash);
    return PT_ERR_OK;
}

void http_unix_path_done(struct http_unix_path *u)
{
    if (u->directory >= 0)
        PT_IGNORE(close(u->directory), "only a path");
    u->directory = -1;
}

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

/* True if somebody answers there. */
static bool is_served(const struct sockaddr_un *at)
{
    int fd = new_socket(AF_UNIX);
    bool served;

    if (fd < 0)
        return false;
    served = connect(fd, (const struct sockaddr *)at, sizeof *at) == 0 || errno == EAGAIN;
    PT_IGNORE(close(fd), "only a probe");
    return served;
}

static enum pt_err bind_unix(int fd, const struct sockaddr_un *at, unsigned mode, const char *path,
                             struct pt_fault *fault)
{
    struct stat st;
    mode_t old;
    int failed;

    if (is_served(at))
        return pt_fault_set(fault, PT_ERR_BUSY, "%s is served by another process", path);
    if (lstat(at->sun_path, &st) == 0) {
        if (!S_ISSOCK(st.st_mode))
            return pt_fault_set(fault, PT_ERR_EXISTS, "%s is in the way: it is no socket", path);
        if (unlink(at->sun_path) != 0)
            return pt_fault_errno(fault, errno, "cannot replace %s", path);
    }
    /* Nobody may connect between bind() and chmod(). */
    old = umask(0777);
    failed = bind(fd, (const struct sockaddr *)at, sizeof *at);
    umask(old);
    if (failed || chmod(at->sun_path, mode) != 0 || listen(fd, BACKLOG) != 0)
        return pt_fault_errno(fault, errno, "cannot listen on %s", path);
    return PT_ERR_OK;
}

enum pt_err http_listen_unix(const char *path, unsigned mode, int *out_fd, struct pt_fault *fault)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct http_unix_path u;
    enum pt_err err = http_unix_path_open(&u, path, fault);
    int fd;

    if (err)
        return err;
    memcpy(at.sun_path, u.path, sizeof at.sun_path);
    fd = new_socket(AF_UNIX);
    if (fd < 0)
        err = pt_fault_errno(fault, errno, "cannot listen on %s", path);
    else
        err = bind_unix(fd, &at, mode, path, fault);
    http_unix_path_done(&u);
    if (err && fd >= 0)
        PT_IGNORE(close(fd), "never used");
    if (!err)
        *out_fd = fd;
    return err;
}

enum pt_err http_connect_unix(const char *path, int *out_fd, struct pt_fault *fault)
{
    struct sockaddr_un at = { .sun_family = AF_UNIX };
    struct http_unix_path u;
    enum pt_err err = http_unix_path_open(&u, path, fault);
    int fd;

    *out_fd = -1;
    if (err)
        return err == PT_ERR_NOTFOUND ? PT_ERR_CLOSED : err;
    memcpy(at.sun_path, u.path, sizeof at.sun_path);
    fd = new_socket(AF_UNIX);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&at, sizeof at) != 0) {
        bool denied = errno == EACCES || errno == EPERM;

        err = pt_fault_errno(fault, errno, "cannot reach %s", path);
        if (fd >= 0)
            err = denied ? PT_ERR_DENIED : PT_ERR_CLOSED;
    }
    http_unix_path_done(&u);
    if (err && fd >= 0)
        PT_IGNORE(close(fd), "never used");
    if (!err)
        *out_fd = fd;
    return err;
}

enum pt_err http_listen_tcp(const struct net_endpoint *at, int *out_fd, struct pt_fault *fault)
{
    struct sockaddr_storage sa;
    socklen_t n = net_to_sockaddr(at, &sa);
    char name[NET_ENDPOINT_SIZE];
    int fd = new_socket(sa.ss_family), one = 1;

    net_endpoint_format(at, name);
    if (fd < 0)
        return pt_fault_errno(fault, errno, "cannot listen on %s", name);
    PT_IGNORE(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "bind() will tell");
    if (at->addr.family == NET_IPV6)
        PT_IGNORE(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one), "bind() will tell");
    if (bind(fd, (struct sockaddr *)&sa, n) != 0 || listen(fd, BACKLOG) != 0) {
        enum pt_err err = pt_fault_errno(fault, errno, "cannot listen on %s", name);

        PT_IGNORE(close(fd), "never used");
        return err;
    }
    *out_fd = fd;
    return PT_ERR_OK;
}
