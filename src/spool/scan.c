#include "spool/scan.h"

#include <stdlib.h>
#include <string.h>

#include "base/crc32c.h"
#include "spool/disk.h"

enum { WINDOW = 128 << 10 };

void scan_init(struct scan *c, struct disk *d, int handle, const struct format_keys *keys,
               uint64_t size)
{
    *c = (struct scan){ .disk = d, .handle = handle, .keys = *keys, .size = size };
}

void scan_done(struct scan *c)
{
    free(c->window);
    c->window = NULL;
}

static bool make_room(struct scan *c, uint64_t n)
{
    char *bigger;

    if (n <= c->room)
        return true;
    n = PT_MAX(n, (uint64_t)WINDOW);
    bigger = realloc(c->window, n);
    if (!bigger)
        return false;
    c->window = bigger;
    c->room = n;
    return true;
}

const char *scan_octets(struct scan *c, uint64_t at, uint64_t n)
{
    int64_t got;

    if (n > c->size || at > c->size - n)
        return NULL;
    if (at >= c->from && at + n <= c->from + c->length)
        return c->window + (at - c->from);
    if (!make_room(c, n))
        return NULL;
    c->from = at;
    c->length = 0;
    got = disk_read(c->disk, c->handle, c->window, PT_MIN(c->room, c->size - at), at);
    /* A bad spot in the window need not be in what is wanted. */
    if (got < 0)
        got = disk_read(c->disk, c->handle, c->window, n, at);
    if (got < 0)
        c->error = (int)got;
    if (got < (int64_t)n)
        return NULL;
    c->length = (uint64_t)got;
    return c->window;
}

bool scan_frame(struct scan *c, uint64_t at, struct scan_frame *out)
{
    const char *octets = scan_octets(c, at, FORMAT_FRAME_SIZE);
    uint64_t extent;

    if (!octets || !format_frame_read(octets, &out->head, &c->keys))
        return false;
    extent = format_extent(out->head.meta, out->head.content);
    out->at = at;
    out->next = at + extent;
    if (out->head.type == FRAME_COMMIT)
        out->next = format_align(out->next, FORMAT_PAGE);
    return extent <= c->size - at && (uint64_t)out->head.page * FORMAT_PAGE <= at &&
           out->head.page >= FORMAT_DATA / FORMAT_PAGE;
}

struct str scan_meta(struct scan *c, const struct scan_frame *f)
{
    const char *octets = scan_octets(c, f->at + FORMAT_FRAME_SIZE, f->head.meta);

    if (!octets || crc32c(c->keys.body, octets, f->head.meta) != f->head.meta_crc)
        return STR_NULL;
    return (struct str){ octets, f->head.meta };
}

static bool content_holds(struct scan *c, const struct scan_frame *f)
{
    uint64_t at = f->at + FORMAT_FRAME_SIZE + f->head.meta, left = f->head.content;
    uint32_t crc = c->keys.body;

    while (left) {
        uint64_t n = PT_MIN(left, (uint64_t)WINDOW);
        const char *octets = scan_octets(c, at, n);

        if (!octets)
            return false;
        crc = crc32c(crc, octets, n);
        at += n;
        left -= n;
    }
    return crc == f->head.content_crc;
}

bool scan_find(struct scan *c, uint64_t at, uint64_t step, uint64_t end, struct scan_frame *out)
{
    for (; at < end; at += step)
        if (scan_frame(c, at, out))
            return true;
    return false;
}

/* Follows the batch at `start` to its COMMIT; `next` is where the one after it begins. */
static bool follow(struct scan *c, uint64_t start, uint64_t *next)
{
    struct scan_frame f;

    for (uint64_t at = start; scan_frame(c, at, &f); at = f.next) {
        if ((uint64_t)f.head.page * FORMAT_PAGE != start)
            return false;
        if (f.head.type == FRAME_COMMIT) {
            *next = f.next;
            return true;
        }
    }
    return false;
}

/* Every octet of the batch at `start` is as it was meant. */
static bool whole(struct scan *c, uint64_t start, uint64_t *next)
{
    uint32_t index = 0, crc = c->keys.head;
    struct format_commit commit;
    struct scan_frame f;
    char head_crc[4];
    struct str meta;

    for (uint64_t at = start;; at = f.next) {
        if (!scan_frame(c, at, &f) || (uint64_t)f.head.page * FORMAT_PAGE != start ||
            f.head.index != (uint16_t)index)
            return false;
        meta = scan_meta(c, &f);
        if (f.head.type == FRAME_COMMIT)
            break;
        if (!meta.p || !content_holds(c, &f))
            return false;
        format_put32(head_crc, f.head.head_crc);
        crc = crc32c(crc, head_crc, sizeof head_crc);
        index++;
    }
    if (meta.n != FORMAT_COMMIT_META || !meta.p)
        return false;
    format_commit_read(meta.p, &commit);
    *next = f.next;
    return commit.count == index && commit.crc == crc;
}

/* The highest position that an intact header proves to have been durable. */
static uint64_t proved(struct scan *c)
{
    uint64_t durable = FORMAT_DATA, at = FORMAT_DATA, from;
    struct scan_frame f;

    for (;;) {
        uint64_t next = 0;

        if (scan_frame(c, at, &f) && (uint64_t)f.head.page * FORMAT_PAGE == at) {
            durable = at;
            if (follow(c, at, &next)) {
                at = next;
                continue;
            }
        }
        /* Broken here, or the end. A header behind it decides: of this batch or a later one. */
        for (from = at + FORMAT_PAGE; scan_find(c, from, FORMAT_PAGE, c->size, &f);
             from = f.at + FORMAT_PAGE) {
            uint64_t begin = (uint64_t)f.head.page * FORMAT_PAGE;

            durable = PT_MAX(durable, begin);
            if (begin > at) {
                next = begin;
                break;
            }
        }
        if (next <= at)
            return durable;
        at = next;
    }
}

uint64_t scan_end(struct scan *c)
{
    uint64_t durable, next;
    struct scan_frame f;

    if (!scan_frame(c, FORMAT_DATA, &f) && !scan_frame(c, FORMAT_DATA + FORMAT_PAGE, &f))
        return FORMAT_DATA;
    durable = proved(c);
    return whole(c, durable, &next) ? next : durable;
}
