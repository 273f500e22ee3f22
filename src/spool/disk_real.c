#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/err.h"
#include "spool/disk.h"

/* The disk of this system: one call each. */

static int failed(void)
{
    return errno ? -errno : -EIO;
}

static int result(int r)
{
    return r < 0 ? failed() : r;
}

static int sync_parent(const char *path)
{
    char copy[PATH_MAX];
    int fd, r;

    if (strlen(path) >= sizeof copy)
        return -ENAMETOOLONG;
    memcpy(copy, path, strlen(path) + 1);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed();
    r = result(fsync(fd));
    close(fd);
    return r;
}

static int real_open_directory(struct disk *d, const char *path, bool make)
{
    if (make && mkdir(path, 0700) == 0) {
        int r = sync_parent(path);

        if (r < 0)
            return r;
    } else if (make && errno != EEXIST) {
        return failed();
    }
    return result(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int real_open_subdirectory(struct disk *d, int directory, const char *name, bool make)
{
    if (make && mkdirat(directory, name, 0700) == 0) {
        if (fsync(directory) < 0)
            return failed();
    } else if (make && errno != EEXIST) {
        return failed();
    }
    return result(openat(directory, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int real_open(struct disk *d, int directory, const char *name, enum disk_open how)
{
    int flags = how == DISK_READ     ? O_RDONLY
                : how == DISK_CREATE ? O_RDWR | O_CREAT | O_EXCL
                                     : O_RDWR;

    return result(openat(directory, name, flags | O_CLOEXEC | O_NOFOLLOW, 0600));
}

static int real_open_nameless(struct disk *d, int directory)
{
    int fd = openat(directory, ".", O_RDWR | O_TMPFILE | O_CLOEXEC, 0600);

    /* A kernel or file system that does not know O_TMPFILE sees a directory opened to write. */
    if (fd < 0 && (errno == EISDIR || errno == ENOENT || errno == EINVAL))
        return -EOPNOTSUPP;
    return result(fd);
}

static void real_close(struct disk *d, int handle)
{
    PT_IGNORE(close(handle) < 0, "what had to be durable was synced before");
}

/* What is left of the slices behind the first `got` octets. */
static int rest(const struct iovec *iov, int n, uint64_t got, struct iovec *out)
{
    int count = 0;

    for (int i = 0; i < n; i++) {
        uint64_t skip = PT_MIN(got, (uint64_t)iov[i].iov_len);

        got -= skip;
        if (skip < iov[i].iov_len)
            out[count++] =
                (struct iovec){ (char *)iov[i].iov_base + skip, iov[i].iov_len - (size_t)skip };
    }
    return count;
}

static int64_t real_read(struct disk *d, int handle, const struct iovec *iov, int n,
                         uint64_t offset)
{
    struct iovec left[DISK_READ_IOV];
    uint64_t got = 0;
    int count;

    pt_assert(n <= DISK_READ_IOV);
    while ((count = rest(iov, n, got, left)) > 0) {
        ssize_t r = preadv(handle, left, count, (off_t)(offset + got));

        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return failed();
        if (r == 0)
            break;
        got += (uint64_t)r;
    }
    return (int64_t)got;
}

static int64_t real_write(struct disk *d, int handle, const struct iovec *iov, int n,
                          uint64_t offset)
{
    ssize_t r = pwritev(handle, iov, n, (off_t)offset);

    return r < 0 ? failed() : r;
}

static int real_sync(struct disk *d, int handle)
{
    return result(fdatasync(handle));
}

static int real_forget(struct disk *d, int handle)
{
    return -posix_fadvise(handle, 0, 0, POSIX_FADV_DONTNEED);
}

static int64_t real_size(struct disk *d, int handle)
{
    struct stat st;

    return fstat(handle, &st) < 0 ? failed() : (int64_t)st.st_size;
}

static int real_link(struct disk *d, int handle, int directory, const char *name)
{
    char path[64];

    /* AT_EMPTY_PATH would need a capability; this needs /proc, which a service has. */
    snprintf(path, sizeof path, "/proc/self/fd/%d", handle);
    return result(linkat(AT_FDCWD, path, directory, name, AT_SYMLINK_FOLLOW));
}

static int real_rename(struct disk *d, int directory, const char *from, const char *to)
{
    return result(renameat(directory, from, directory, to));
}

static int real_unlink(struct disk *d, int directory, const char *name)
{
    return result(unlinkat(directory, name, 0));
}

static int real_sync_directory(struct disk *d, int directory)
{
    return result(fsync(directory));
}

static int real_list(struct disk *d, int directory, int (*each)(void *ctx, const char *name),
                     void *ctx)
{
    int fd = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int r = 0;
    DIR *dir;

    if (fd < 0)
        return failed();
    dir = fdopendir(fd);
    if (!dir) {
        r = failed();
        close(fd);
        return r;
    }
    while (r == 0) {
        struct dirent *entry;

        errno = 0;
        entry = readdir(dir);
        if (!entry) {
            r = errno ? -errno : 0;
            break;
        }
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            r = each(ctx, entry->d_name);
    }
    closedir(dir);
    return r;
}

static void real_random(struct disk *d, void *out, uint64_t n)
{
    pt_assert(n <= 256); /* up to there the kernel gives all or fails */
    while (getrandom(out, n, 0) != (ssize_t)n)
        pt_assert(errno == EINTR);
}

struct disk *disk_real(void)
{
    static struct disk real = {
        .open_directory = real_open_directory,
        .open_subdirectory = real_open_subdirectory,
        .open = real_open,
        .open_nameless = real_open_nameless,
        .close = real_close,
        .read = real_read,
        .write = real_write,
        .sync = real_sync,
        .forget = real_forget,
        .size = real_size,
        .link = real_link,
        .rename = real_rename,
        .unlink = real_unlink,
        .sync_directory = real_sync_directory,
        .list = real_list,
        .random = real_random,
    };

    return &real;
}
