#include "spool/segment.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/internal.h"

/* Lengths for pre-writing: a call, and how much may wait for the disk while commits go on. */
enum { ZEROS = 1 << 20, ZEROS_PER_SYNC = 8 << 20, ENTRIES_MAX = 64 << 20 };

void segment_list_append(struct segment_list *l, struct spool_segment *g)
{
    g->next = NULL;
    g->previous = l->last;
    if (l->last)
        l->last->next = g;
    else
        l->first = g;
    l->last = g;
    l->octets += g->size;
    l->count++;
}

void segment_list_remove(struct segment_list *l, struct spool_segment *g)
{
    if (g->previous)
        g->previous->next = g->next;
    else
        l->first = g->next;
    if (g->next)
        g->next->previous = g->previous;
    else
        l->last = g->previous;
    g->next = g->previous = NULL;
    l->octets -= g->size;
    l->count--;
}

void segment_name(uint32_t slot, const char *suffix, char out[SEGMENT_NAME_SIZE])
{
    snprintf(out, SEGMENT_NAME_SIZE, "%08x%s", slot, suffix);
}

struct spool_segment *segment_new(struct spool *s, uint32_t slot)
{
    struct spool_segment *g = calloc(1, sizeof *g);

    if (!g)
        return NULL;
    g->spool = s;
    g->slot = slot;
    g->handle = -1;
    g->size = s->segment_now;
    g->end = FORMAT_DATA;
    g->refers = g->seals = UINT64_MAX;
    atomic_init(&g->pins, 0);
    buf_init(&g->entries, ENTRIES_MAX);
    return g;
}

void segment_free(struct spool_segment *g)
{
    if (!g)
        return;
    if (g->handle >= 0)
        g->spool->disk->close(g->spool->disk, g->handle);
    buf_done(&g->entries);
    free(g);
}

void segment_renew(struct spool_segment *g)
{
    g->epoch = g->new_epoch;
    g->keys = g->new_keys;
    g->end = FORMAT_DATA;
    g->recorded = g->footed = g->cut = g->wants_footer = g->blank = false;
    g->refers = g->seals = UINT64_MAX;
    g->living = NULL;
    g->live_count = g->live_octets = 0;
    buf_clear(&g->entries);
}

/* ---- the work ---- */

/* One copy after the other, so that one is whole at any time. A write that fails may leave a
 * mixture: the copy that it was about is the first to be written the next time. */
static int write_header(struct spool_segment *g, bool in_use)
{
    struct disk *d = g->spool->disk;
    struct format_header h = {
        .in_use = in_use,
        .epoch = g->new_epoch,
        .keys = g->new_keys,
        .size = g->size,
        .id_mark = g->id_mark,
    };
    char page[FORMAT_PAGE] = { 0 };
    int r = 0;

    format_header_write(page, &h);
    for (int i = 0; i < 2 && r == 0; i++) {
        struct iovec iov = { page, sizeof page };
        uint8_t copy = g->weak_copy ^ (uint8_t)i;

        r = disk_write_all(d, g->handle, &iov, 1, copy * FORMAT_PAGE);
        if (r == 0)
            r = d->sync(d, g->handle);
        if (r)
            g->weak_copy = copy;
    }
    return r;
}

/* The trailer goes only when the header says "free": until then it may be what tells the end. But
 * go it must, so that it can never stand in for a header of a later epoch that has rotted. */
static int free_segment(struct spool_segment *g)
{
    struct disk *d = g->spool->disk;
    char zeros[FORMAT_TRAILER_SIZE] = { 0 };
    struct iovec end = { zeros, sizeof zeros };
    int r = write_header(g, false);

    if (r == 0)
        r = disk_write_all(d, g->handle, &end, 1, g->size - sizeof zeros);
    if (r == 0)
        r = d->sync(d, g->handle);
    /* What the cache holds in large folios counts as written in whole for every page of them. */
    return r ? r : d->forget(d, g->handle);
}

static int write_zeros(struct spool_segment *g)
{
    struct disk *d = g->spool->disk;
    uint64_t size = g->size, unsynced = 0;
    char *zeros = calloc(1, ZEROS);
    int r = zeros ? 0 : -ENOMEM;

    for (uint64_t at = 0; at < size && r == 0;) {
        struct iovec iov = { zeros, PT_MIN((uint64_t)ZEROS, size - at) };
        uint64_t n = iov.iov_len;

        r = disk_write_all(d, g->handle, &iov, 1, at);
        at += n;
        unsynced += n;
        if (r == 0 && unsynced >= ZEROS_PER_SYNC && at < size) {
            r = d->sync(d, g->handle);
            unsynced = 0;
        }
    }
    free(zeros);
    if (r == 0)
        r = d->sync(d, g->handle);
    return r ? r : d->forget(d, g->handle);
}

static int create(struct spool_segment *g)
{
    struct disk *d = g->spool->disk;
    char made[SEGMENT_NAME_SIZE], final[SEGMENT_NAME_SIZE];
    int r;

    segment_name(g->slot, ".new", made);
    segment_name(g->slot, ".seg", final);
    r = d->open(d, g->spool->directory, made, DISK_CREATE);
    if (r < 0)
        return r;
    g->handle = r;
    r = write_zeros(g);
    if (r == 0)
        r = write_header(g, true);
    if (r == 0)
        r = d->rename(d, g->spool->directory, made, final);
    if (r == 0)
        r = d->sync_directory(d, g->spool->directory);
    if (r == 0)
        return 0;
    d->close(d, g->handle);
    g->handle = -1;
    /* Whichever name it has: a full disk needs the space, and a start would remove or free it. */
    PT_IGNORE(d->unlink(d, g->spool->directory, made), "see above");
    PT_IGNORE(d->unlink(d, g->spool->directory, final), "see above");
    return r;
}

static int write_footer(struct spool_segment *g)
{
    struct disk *d = g->spool->disk;
    uint64_t count = g->entries.n / FORMAT_ENTRY_SIZE;
    uint64_t length = format_footer_size(count);
    static const char zeros[FORMAT_PAGE + FORMAT_TRAILER_SIZE];
    struct format_trailer t = {
        .epoch = g->epoch,
        .end = g->end,
        .start = g->size - length,
        .count = (uint32_t)count,
        .entries_crc = crc32c(g->keys.body, g->entries.p, g->entries.n),
        .keys = g->keys,
        .id_mark = atomic_load(&g->spool->next_id),
    };
    char trailer[FORMAT_TRAILER_SIZE];
    struct iovec iov[3] = {
        { g->entries.p, g->entries.n },
        { (char *)zeros, length - g->entries.n - FORMAT_TRAILER_SIZE },
        { trailer, sizeof trailer },
    };
    int r;

    format_trailer_write(trailer, &t);
    r = disk_write_all(d, g->handle, iov, 3, t.start);
    return r ? r : d->sync(d, g->handle);
}

static int unlink_segment(struct spool_segment *g)
{
    struct disk *d = g->spool->disk;
    char name[SEGMENT_NAME_SIZE];

    segment_name(g->slot, ".seg", name);
    return d->unlink(d, g->spool->directory, name);
}

static int work_of(struct spool_segment *g)
{
    switch (g->work) {
    case SEGMENT_CREATE:
        return create(g);
    case SEGMENT_READY:
        return write_header(g, true);
    case SEGMENT_FREE:
        return free_segment(g);
    case SEGMENT_FOOT:
        return write_footer(g);
    case SEGMENT_UNLINK:
        return unlink_segment(g);
    case SEGMENT_COPY:
        break;
    }
    return -EINVAL;
}

static void run(struct spool_job *job)
{
    struct spool_segment *g = PT_CONTAINER_OF(job, struct spool_segment, job);
    struct spool *s = g->spool;
    struct spool_segment *head = atomic_load_explicit(&s->returned, memory_order_relaxed);

    g->result = work_of(g);
    do {
        g->returned = head;
    } while (!atomic_compare_exchange_weak(&s->returned, &head, g));
    commit_wake(s);
}

static void prepare(struct spool_segment *g, enum segment_work work)
{
    struct spool *s = g->spool;

    g->work = work;
    if (work == SEGMENT_CREATE || work == SEGMENT_READY || work == SEGMENT_FREE) {
        g->new_epoch = s->next_epoch++;
        g->id_mark = atomic_load(&s->next_id);
        s->disk->random(s->disk, &g->new_keys, sizeof g->new_keys);
    }
}

void segment_start(struct spool_segment *g, enum segment_work work)
{
    pt_assert(!g->busy);
    prepare(g, work);
    g->busy = true;
    g->job.run = run;
    workers_post(&g->spool->workers, &g->job);
}

void segment_do(struct spool_segment *g, enum segment_work work)
{
    pt_assert(!g->busy);
    prepare(g, work);
    g->result = work_of(g);
}

/* ---- the header ---- */

static int read_copy(struct spool_segment *g, uint64_t at, struct format_header *out)
{
    struct disk *d = g->spool->disk;
    char octets[FORMAT_HEADER_SIZE];
    int r = disk_read_all(d, g->handle, octets, sizeof octets, at);

    if (r == -EIO)
        return FORMAT_HEADER_BAD; /* a page that cannot be read is a damaged one */
    return r ? r : (int)format_header_read(octets, out);
}

bool segment_read_trailer(struct spool_segment *g, struct format_trailer *out)
{
    struct disk *d = g->spool->disk;
    char octets[FORMAT_TRAILER_SIZE];

    return disk_read_all(d, g->handle, octets, sizeof octets, g->size - sizeof octets) == 0 &&
           format_trailer_read(octets, out) && out->epoch == g->epoch &&
           out->keys.tag == g->keys.tag && out->end >= FORMAT_DATA && out->end <= out->start &&
           out->end % FORMAT_PAGE == 0 && out->start <= g->size - FORMAT_TRAILER_SIZE &&
           (g->size - FORMAT_TRAILER_SIZE - out->start) / FORMAT_ENTRY_SIZE >= out->count;
}

static int header_from_trailer(struct spool_segment *g, struct format_header *out)
{
    struct disk *d = g->spool->disk;
    int64_t size = d->size(d, g->handle);
    char octets[FORMAT_TRAILER_SIZE];
    struct format_trailer t;

    if (size < (int64_t)FORMAT_SEGMENT_MIN ||
        disk_read_all(d, g->handle, octets, sizeof octets, (uint64_t)size - sizeof octets) ||
        !format_trailer_read(octets, &t))
        return FORMAT_HEADER_BAD;
    *out = (struct format_header){
        .in_use = true,
        .epoch = t.epoch,
        .keys = t.keys,
        .size = (uint64_t)size,
        .id_mark = t.id_mark,
    };
    return FORMAT_HEADER_OK;
}

int segment_read_header(struct spool_segment *g, struct format_header *out)
{
    struct format_header a = { 0 }, b = { 0 };
    int first = read_copy(g, 0, &a), second;

    if (first < 0)
        return first;
    second = read_copy(g, FORMAT_PAGE, &b);
    if (second < 0)
        return second;
    if (first == FORMAT_HEADER_OTHER_VERSION || second == FORMAT_HEADER_OTHER_VERSION)
        return FORMAT_HEADER_OTHER_VERSION;
    if (first != FORMAT_HEADER_OK && second != FORMAT_HEADER_OK)
        return header_from_trailer(g, out);
    if (first != FORMAT_HEADER_OK || (second == FORMAT_HEADER_OK && b.epoch > a.epoch))
        *out = b;
    else
        *out = a;
    /* The newer one may be in the cache alone; the older one is on the disk. */
    g->weak_copy = second != FORMAT_HEADER_OK || (first == FORMAT_HEADER_OK && b.epoch > a.epoch);
    return FORMAT_HEADER_OK;
}
