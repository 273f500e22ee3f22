#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/block.h"

/*
 * spool/disk: the file operations the spool is made of, so that a simulated disk can stand in.
 *
 * All return a negative errno on failure. A handle is a number of 0 or more. Names are relative to
 * a directory handle. What the spool relies on is written in docs/spool-format.md, section 1.
 * Any thread, but for two calls on one handle at the same place.
 */

enum disk_open {
    DISK_READ,      /* an existing file, to read */
    DISK_READWRITE, /* an existing file, to read and write */
    DISK_CREATE,    /* a new file, to read and write; -EEXIST if there is one */
};

struct disk {
    /* Opens the directory. With `make` it is made if it is missing, durably; its parent must exist.
     */
    int (*open_directory)(struct disk *d, const char *path, bool make);
    int (*open_subdirectory)(struct disk *d, int directory, const char *name, bool make);

    int (*open)(struct disk *d, int directory, const char *name, enum disk_open how);
    /* A file without a name, gone with its handle unless linked. -EOPNOTSUPP: not on this disk. */
    int (*open_nameless)(struct disk *d, int directory);
    void (*close)(struct disk *d, int handle);

    /* Octets read, at most DISK_READ_IOV slices; fewer than asked only at the end of the file. */
    int64_t (*read)(struct disk *d, int handle, const struct iovec *iov, int n, uint64_t offset);
    /* Octets written, at least 1; may be fewer than asked. */
    int64_t (*write)(struct disk *d, int handle, const struct iovec *iov, int n, uint64_t offset);
    /* Everything written is durable, and the file's size. Apart from write: one call for both
     * (RWF_DSYNC) was measured and is no faster. */
    int (*sync)(struct disk *d, int handle);
    /* Drops what is cached of a synced file, so that the next read shows what the disk has. */
    int (*forget)(struct disk *d, int handle);
    int64_t (*size)(struct disk *d, int handle);

    int (*link)(struct disk *d, int handle, int directory, const char *name); /* of a nameless */
    int (*rename)(struct disk *d, int directory, const char *from, const char *to);
    int (*unlink)(struct disk *d, int directory, const char *name);
    int (*sync_directory)(struct disk *d, int directory);
    /* Calls `each` for every name in the directory, in no order; stops when it returns nonzero. */
    int (*list)(struct disk *d, int directory, int (*each)(void *ctx, const char *name), void *ctx);

    /* Octets that nobody can foresee. */
    void (*random)(struct disk *d, void *out, uint64_t n);
};

/* The files of this system. */
struct disk *disk_real(void);

/* Writes all of it, in as many calls as it takes; changes `iov`. 0 or a negative errno. */
int disk_write_all(struct disk *d, int handle, struct iovec *iov, int n, uint64_t offset);

#define DISK_READ_IOV 16

/* Octets read, as `read` of the disk. */
int64_t disk_read(struct disk *d, int handle, void *out, uint64_t n, uint64_t offset);

/* Exactly `n` octets; -EIO when the file ends before. */
int disk_read_all(struct disk *d, int handle, void *out, uint64_t n, uint64_t offset);

/* The same into new blocks, many with one call, behind what is in `out`. -ENOMEM also without
 * blocks; on failure a part may have been added. */
int disk_read_blocks(struct disk *d, int handle, uint64_t n, uint64_t offset,
                     struct block_chain *out);
