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

int disk_read_all(struct disk *d, int handle, void *out, uint64_t n, uint64_t offset)
{
    int64_t got = d->read(d, handle, out, n, offset);

    if (got < 0)
        return (int)got;
    return (uint64_t)got == n ? 0 : -EIO;
}
