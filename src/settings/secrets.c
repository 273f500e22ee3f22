#include "settings/secrets.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

static const struct str prefix = { "secret:", 7 };

bool settings_secret_is_name(struct str text)
{
    if (text.n != SETTINGS_SECRET_NAME_SIZE - 1 || !str_eq(str_head(text, prefix.n), prefix))
        return false;
    for (size_t i = prefix.n; i < text.n; i++)
        if (!((text.p[i] >= '0' && text.p[i] <= '9') || (text.p[i] >= 'a' && text.p[i] <= 'f')))
            return false;
    return true;
}

static bool path_of(const char *state_directory, const char *name, char out[PATH_SIZE])
{
    const char *id = name[0] ? name + prefix.n : "";
    int n = snprintf(out, PATH_SIZE, "%s/secrets%s%s", state_directory, id[0] ? "/" : "", id);

    return n > 0 && n < PATH_SIZE;
}

/* ---- reading ---- */

bool settings_secret_read(void *state_directory, const char *name,
                          char out[SETTINGS_SECRET_MAX + 1])
{
    char path[PATH_SIZE];
    ssize_t n;
    int fd;

    if (!settings_secret_is_name(str_of(name)) || !path_of(state_directory, name, path))
        return false;
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return false;
    n = read(fd, out, SETTINGS_SECRET_MAX + 1);
    PT_IGNORE(close(fd), "it was only read");
    /* Empty, or longer than what is ever written: not one of ours. */
    if (n <= 0 || n > (ssize_t)SETTINGS_SECRET_MAX || memchr(out, 0, (size_t)n)) {
        explicit_bzero(out, SETTINGS_SECRET_MAX + 1);
        return false;
    }
    out[n] = 0;
    return true;
}

/* ---- writing ---- */

/* A command line that runs as root makes the file for the user who owns the state. */
static int give_to_owner(int fd, const char *state_directory)
{
    struct stat owner;

    if (geteuid() != 0)
        return 0;
    if (stat(state_directory, &owner) || fchown(fd, owner.st_uid, owner.st_gid))
        return errno;
    return 0;
}

static int write_whole(int fd, struct str text)
{
    ssize_t n = write(fd, text.p, text.n);

    if (n < 0)
        return errno;
    if ((size_t)n < text.n)
        return ENOSPC;
    return fsync(fd) ? errno : 0;
}

static int keep(const char *state_directory, const char *name, struct str text)
{
    char path[PATH_SIZE];
    int fd, err;

    if (!path_of(state_directory, name, path))
        return ENAMETOOLONG;
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    err = give_to_owner(fd, state_directory);
    if (!err)
        err = write_whole(fd, text);
    if (close(fd) && !err)
        err = errno;
    if (err)
        PT_IGNORE(unlink(path), "nothing names it");
    return err;
}

static int open_folder(const char *state_directory, int *out)
{
    char path[PATH_SIZE];
    int err;

    if (!path_of(state_directory, "", path))
        return ENAMETOOLONG;
    if (mkdir(path, 0700) && errno != EEXIST)
        return errno;
    *out = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*out < 0)
        return errno;
    err = give_to_owner(*out, state_directory);
    if (err)
        PT_IGNORE(close(*out), "nothing was written");
    return err;
}

enum pt_err settings_secrets_keep(const char *state_directory, const struct settings *s,
                                  struct pt_fault *fault)
{
    int folder = -1, err = 0;

    for (uint32_t i = 0; i < s->route_count && !err; i++) {
        const struct settings_auth *a = s->routes[i].auth;

        if (!a || !a->fresh)
            continue;
        if (folder < 0)
            err = open_folder(state_directory, &folder);
        if (!err)
            err = keep(state_directory, a->secret, str_of(a->password));
    }
    if (folder >= 0) {
        if (!err && fsync(folder))
            err = errno;
        PT_IGNORE(close(folder), "it was synced");
    }
    return err ? pt_fault_errno(fault, err, "keeping a password in %s/secrets", state_directory)
               : PT_ERR_OK;
}
