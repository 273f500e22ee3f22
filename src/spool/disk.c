#include "spool/disk.h"

#include <errno.h>

#include "base/defs.h"

enum { IOV_PER_CALL = 1024 }; /* what Linux takes at once */

/* Leaves in `iov` what is still to be written; returns how many entries are used up. */
static int advance(struct iovec *iov, int n, uint64_t done)
{
    int i = 0;

    while (i < n && done >= iov[i].iov_len) {
        done -= iov[i].iov_len;
        i++;
    }
    if (i < n && done) {
        iov[i].iov_base = (char *)iov[i].iov_base + done;
        iov[i].iov_len -= done;
    }
    return i;
}

int disk_write_all(struct disk *d, int handle, struct iovec *iov, int n, uint64_t offset)
{
    int at = 0;

    for (;;) {
        int64_t done;

        at += advance(iov + at, n - at, 0); /* empty entries */
        if (at == n)
            return 0;
        done = d->write(d, handle, iov + at, PT_MIN(n - at, IOV_PER_CALL), offset);
        if (done == -EINTR)
            continue;
        if (done <= 0)
            return done ? (int)done : -EIO;
        offset += (uint64_t)done;
        at += advance(iov + at, n - at, (uint64_t)done);
    }
}

int64_t disk_read(struct disk *d, int handle, void *out, uint64_t n, uint64_t offset)
{
    return d->read(d, handle, &(struct iovec){ out, n }, 1, offset);
}

static int all_of(int64_t got, uint64_t n)
{
    if (got < 0)
        return (int)got;
    return (uint64_t)got == n ? 0 : -EIO;
}

int disk_read_all(struct disk *d, int handle, void *out, uint64_t n, uint64_t offset)
{
    return all_of(disk_read(d, handle, out, n, offset), n);
}

int disk_read_blocks(struct disk *d, int handle, uint64_t n, uint64_t offset,
                     struct block_chain *out)
{
    while (n) {
        struct iovec iov[DISK_READ_IOV];
        uint64_t asked = 0;
        int count = 0, r;

        for (; count < DISK_READ_IOV && asked < n; count++) {
            struct block *b = block_get();
            struct block_chain one = { .first = b, .last = b };

            if (!b)
                return -ENOMEM;
            b->used = (uint32_t)PT_MIN((uint64_t)BLOCK_ROOM, n - asked);
            one.size = b->used;
            iov[count] = (struct iovec){ b->data, b->used };
            asked += b->used;
            block_chain_move(out, &one);
        }
        r = all_of(d->read(d, handle, iov, count, offset), asked);
        if (r)
            return r;
        n -= asked;
        offset += asked;
    }
    return 0;
}
