#include "daemon/state.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static enum pt_err make_folders(const char *dir, struct pt_fault *fault)
{
    char path[PATH_MAX];
    size_t n = strlen(dir);

    if (n == 0 || n >= sizeof path)
        return pt_fault_set(fault, PT_ERR_INVALID,
                            "the name of the state folder is empty or "
                            "too long");
    memcpy(path, dir, n + 1);
    for (char *p = path + 1;; p++) {
        char c = *p;

        if (c != '/' && c != 0)
            continue;
        *p = 0;
        if (mkdir(path, 0750) < 0 && errno != EEXIST)
            return pt_fault_errno(fault, errno, "cannot make the state folder %s", path);
        *p = c;
        if (c == 0)
            return PT_ERR_OK;
    }
}

enum pt_err state_open(struct state *s, const char *dir, struct pt_fault *fault)
{
    char resolved[PATH_MAX];
    enum pt_err err = make_folders(dir, fault);

    s->lock = -1;
    if (err != PT_ERR_OK)
        return err;
    if (!realpath(dir, resolved))
        return pt_fault_errno(fault, errno, "state folder %s", dir);
    if (strlen(resolved) >= sizeof s->dir)
        return pt_fault_set(fault, PT_ERR_INVALID, "the path of the state folder is too long");
    memcpy(s->dir, resolved, strlen(resolved) + 1);
    return PT_ERR_OK;
}

enum pt_err state_lock(struct state *s, struct pt_fault *fault)
{
    char path[STATE_PATH_SIZE];

    state_path(s, "lock", path);
    s->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (s->lock < 0)
        return pt_fault_errno(fault, errno, "cannot open %s", path);
    if (flock(s->lock, LOCK_EX | LOCK_NB) == 0)
        return PT_ERR_OK;
    if (errno != EWOULDBLOCK) {
        enum pt_err err = pt_fault_errno(fault, errno, "cannot lock %s", path);

        close(s->lock);
        s->lock = -1;
        return err;
    }
    close(s->lock);
    s->lock = -1;
    return pt_fault_set(fault, PT_ERR_BUSY, "another gateway is running on the state folder %s",
                        s->dir);
}

void state_path(const struct state *s, const char *name, char out[STATE_PATH_SIZE])
{
    snprintf(out, STATE_PATH_SIZE, "%s/%s", s->dir, name);
}
