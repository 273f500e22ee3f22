#include "tls/store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, FILE_MAX = 4 << 20 };

static const char *const endings[] = { ".pem", ".ca.pem" };

static bool path_of(char out[PATH_SIZE], const char *state, const char *name)
{
    int n = snprintf(out, PATH_SIZE, "%s/tls%s%s", state, name[0] ? "/" : "", name);

    return n > 0 && n < PATH_SIZE;
}

enum pt_err tls_store_open(const char *state, struct pt_fault *fault)
{
    char path[PATH_SIZE];

    if (!path_of(path, state, ""))
        return pt_fault_set(fault, PT_ERR_INVALID, "the state folder's name is too long");
    if (mkdir(path, 0700) && errno != EEXIST)
        return pt_fault_errno(fault, errno, "making %s", path);
    return PT_ERR_OK;
}

/* ---- writing ---- */

static int sync_folder(const char *state)
{
    char path[PATH_SIZE];
    int fd, err = 0;

    if (!path_of(path, state, ""))
        return ENAMETOOLONG;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return errno;
    if (fsync(fd))
        err = errno;
    close(fd);
    return err;
}

static int write_all(int fd, struct str s)
{
    while (s.n) {
        ssize_t n = write(fd, s.p, s.n);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        s = str_from(s, (size_t)n);
    }
    return fsync(fd) ? errno : 0;
}

/* Under a name of its own first: what has the right name is whole. */
static int write_file(const char *state, const char *path, struct str content)
{
    char temporary[PATH_SIZE + 32];
    int fd, err;

    snprintf(temporary, sizeof temporary, "%s.%ld.new", path, (long)gettid());
    fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return errno;
    err = write_all(fd, content);
    if (close(fd) && !err)
        err = errno;
    if (!err && rename(temporary, path))
        err = errno;
    if (err)
        unlink(temporary);
    return err ? err : sync_folder(state);
}

enum pt_err tls_store_put(const char *state, const struct tls_certificate *c,
                          struct pt_fault *fault)
{
    char path[PATH_SIZE], name[64];
    struct buf pem;
    enum pt_err err = tls_store_open(state, fault);
    int e;

    if (err != PT_ERR_OK)
        return err;
    snprintf(name, sizeof name, "%s%s", tls_certificate_id(c), endings[tls_certificate_is_ca(c)]);
    if (!path_of(path, state, name))
        return pt_fault_set(fault, PT_ERR_INVALID, "the state folder's name is too long");
    buf_init(&pem, FILE_MAX);
    /* All at once: growing would leave copies of the key behind. */
    if (!buf_reserve(&pem, 256 << 10)) {
        buf_done(&pem);
        return pt_fault_set(fault, PT_ERR_NOMEM, "keeping a certificate: out of memory");
    }
    tls_certificate_write(c, &pem);
    if (pem.failed) {
        tls_wipe(&pem);
        return pt_fault_set(fault, PT_ERR_NOMEM, "keeping a certificate: out of memory");
    }
    e = write_file(state, path, buf_str(&pem));
    tls_wipe(&pem);
    return e ? pt_fault_errno(fault, e, "writing %s", path) : PT_ERR_OK;
}

/* ---- reading ---- */

static int read_file(const char *path, struct buf *out)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW), err = 0;
    ssize_t n = 1;

    if (fd < 0)
        return errno;
    if (fstat(fd, &st))
        err = errno;
    else if (st.st_size > FILE_MAX)
        err = EFBIG;
    else if (!buf_reserve(out, (size_t)st.st_size + 1))
        err = ENOMEM;
    while (!err && n > 0 && out->n < out->cap) {
        n = read(fd, out->p + out->n, out->cap - out->n);
        if (n < 0 && errno != EINTR)
            err = errno;
        else if (n > 0)
            out->n += (size_t)n;
    }
    close(fd);
    return err;
}

static enum pt_err parse(struct str content, bool ca, struct str id, const char *path,
                         struct tls_certificate **out, struct pt_fault *fault)
{
    struct tls_upload upload = { 0 };
    struct tls_findings *findings = malloc(sizeof *findings);
    enum pt_err err;

    if (!findings)
        return pt_fault_set(fault, PT_ERR_NOMEM, "reading a certificate: out of memory");
    if (ca)
        upload.ca_certificate = content;
    else
        upload.certificate = upload.private_key = content;
    err = tls_certificate_read(out, &upload, findings);
    if (err == PT_ERR_INVALID)
        err = pt_fault_set(fault, PT_ERR_CORRUPT, "%s: %s", path, findings->items[0].text);
    else if (err == PT_ERR_OK && !str_eq(str_of(tls_certificate_id(*out)), id)) {
        tls_certificate_unref(*out);
        *out = NULL;
        err = pt_fault_set(fault, PT_ERR_CORRUPT,
                           "%s: holds another certificate than its name says", path);
    }
    free(findings);
    return err;
}

enum pt_err tls_store_get(const char *state, struct str id, struct tls_certificate **out,
                          struct pt_fault *fault)
{
    char path[PATH_SIZE], name[64];

    if (!tls_id_valid(id))
        return pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no such certificate");
    for (size_t i = 0; i < PT_ARRAY_LEN(endings); i++) {
        struct buf content;
        enum pt_err err;
        int e;

        snprintf(name, sizeof name, "%.*s%s", STR_FMT(id), endings[i]);
        if (!path_of(path, state, name))
            break;
        buf_init(&content, FILE_MAX + 1);
        e = read_file(path, &content);
        if (e == ENOENT) {
            buf_done(&content);
            continue;
        }
        err = e ? pt_fault_errno(fault, e, "reading %s", path)
                : parse(buf_str(&content), i == 1, id, path, out, fault);
        tls_wipe(&content);
        return err;
    }
    return pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no certificate %.*s", STR_FMT(id));
}

enum pt_err tls_store_remove(const char *state, struct str id, struct pt_fault *fault)
{
    char path[PATH_SIZE], name[64];

    for (size_t i = 0; tls_id_valid(id) && i < PT_ARRAY_LEN(endings); i++) {
        int e;

        snprintf(name, sizeof name, "%.*s%s", STR_FMT(id), endings[i]);
        if (!path_of(path, state, name))
            break;
        if (unlink(path)) {
            if (errno == ENOENT)
                continue;
            return pt_fault_errno(fault, errno, "removing %s", path);
        }
        e = sync_folder(state);
        return e ? pt_fault_errno(fault, e, "removing %s", path) : PT_ERR_OK;
    }
    return pt_fault_set(fault, PT_ERR_NOTFOUND, "there is no such certificate");
}

/* ---- listing ---- */

static bool entry_of(const char *name, struct tls_store_entry *out)
{
    for (size_t i = 0; i < PT_ARRAY_LEN(endings); i++) {
        size_t n = strlen(endings[i]);

        if (strlen(name) == TLS_ID_SIZE - 1 + n && !strcmp(name + TLS_ID_SIZE - 1, endings[i]) &&
            tls_id_valid((struct str){ name, TLS_ID_SIZE - 1 })) {
            memcpy(out->id, name, TLS_ID_SIZE - 1);
            out->id[TLS_ID_SIZE - 1] = 0;
            out->ca = i == 1;
            return true;
        }
    }
    return false;
}

static int by_id(const void *a, const void *b)
{
    return strcmp(((const struct tls_store_entry *)a)->id, ((const struct tls_store_entry *)b)->id);
}

enum pt_err tls_store_list(const char *state, struct tls_store_entry *out, uint32_t max,
                           uint32_t *out_total, struct pt_fault *fault)
{
    char path[PATH_SIZE];
    struct dirent *d;
    DIR *dir;

    *out_total = 0;
    if (!path_of(path, state, ""))
        return pt_fault_set(fault, PT_ERR_INVALID, "the state folder's name is too long");
    dir = opendir(path);
    if (!dir)
        return errno == ENOENT ? PT_ERR_OK : pt_fault_errno(fault, errno, "reading %s", path);
    while ((d = readdir(dir))) {
        struct tls_store_entry e = { 0 };
        struct stat st;

        if (!entry_of(d->d_name, &e) || fstatat(dirfd(dir), d->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        e.uploaded_us = (int64_t)st.st_mtim.tv_sec * 1000000 + st.st_mtim.tv_nsec / 1000;
        if (*out_total < max)
            out[*out_total] = e;
        (*out_total)++;
    }
    closedir(dir);
    qsort(out, *out_total < max ? *out_total : max, sizeof *out, by_id);
    return PT_ERR_OK;
}
