#include <stdlib.h>
#include <string.h>

#include "../sim/sim_disk.h"
#include "base/crc32c.h"
#include "fuzz.h"
#include "spool/format.h"
#include "spool/spool.h"

/*
 * Any octets as a segment: recovery never fails on them, and gives no message whose CRCs do not
 * hold.
 *
 * The first octet says what is made right beforehand, since no mutation would ever guess a CRC: 1 a
 * header of the segment, 2 the CRCs of frames that follow one another, 4 a trailer that says all of
 * it counts. The rest is the segment.
 */

enum { SEGMENT = 64 << 10, HEADER = 1, FRAMES = 2, TRAILER = 4 };

static char segment[SEGMENT];
static const struct format_keys keys = { 0x11111111, 0x22222222, 0x33333333 };

static void put_header(void)
{
    struct format_header h = { .in_use = true, .epoch = 5, .keys = keys, .size = SEGMENT };

    format_header_write(segment, &h);
    memcpy(segment + FORMAT_PAGE, segment, FORMAT_HEADER_SIZE);
}

static void put_trailer(void)
{
    struct format_trailer t = {
        .epoch = 5, .end = SEGMENT - FORMAT_PAGE, .start = SEGMENT - FORMAT_PAGE, .keys = keys
    };

    format_trailer_write(segment + SEGMENT - FORMAT_TRAILER_SIZE, &t);
}

/* Takes what stands at `at` for a frame of a batch and makes it valid; returns where the next is.
 */
static uint64_t put_frame(uint64_t at, uint64_t *batch, uint32_t *index, uint32_t *crc)
{
    uint64_t left = SEGMENT - at - FORMAT_FRAME_SIZE;
    char *head = segment + at, *meta = head + FORMAT_FRAME_SIZE;
    struct format_frame f = {
        .meta = (uint32_t)(format_get32(head) % (left + 1)),
        .id = format_get64(head + 8),
        .page = (uint32_t)(*batch / FORMAT_PAGE),
        .index = (uint16_t)*index,
        .type = (uint8_t)(head[26] & 15),
        .flags = (uint8_t)(head[27] & 1),
    };

    if (f.type == FRAME_MESSAGE)
        f.content = (uint32_t)(format_get32(head + 4) % (left - f.meta + 1));
    if (f.type == FRAME_COMMIT && left >= FORMAT_COMMIT_META) {
        struct format_commit c = { *index, *crc, *batch };

        f.meta = FORMAT_COMMIT_META;
        format_commit_write(meta, &c);
    }
    f.meta_crc = crc32c(keys.body, meta, f.meta);
    f.content_crc = crc32c(keys.body, meta + f.meta, f.content);
    format_frame_write(head, &f, &keys);
    *crc = crc32c(*crc, head + 36, 4);
    ++*index;
    at += format_extent(f.meta, f.content);
    if (f.type == FRAME_COMMIT) {
        at = *batch = format_align(at, FORMAT_PAGE);
        *index = 0;
        *crc = keys.head;
    }
    return at;
}

static void put_frames(void)
{
    uint64_t batch = FORMAT_DATA;
    uint32_t index = 0, crc = keys.head;

    for (uint64_t at = FORMAT_DATA; at + FORMAT_FRAME_SIZE <= SEGMENT;)
        at = put_frame(at, &batch, &index, &crc);
}

/* ---- what must hold ---- */

struct finds {
    struct spool *spool;
    struct spool_message *messages[4096];
    unsigned count;
};

static void on_recovered(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct finds *f = ctx;

    for (uint32_t i = 0; i < count; i++) {
        pt_assert(messages[i]->recipient_count && messages[i]->recipients);
        if (f->count < PT_ARRAY_LEN(f->messages))
            f->messages[f->count++] = spool_message_ref(messages[i]);
    }
}

static void on_damaged(void *ctx, uint64_t id, const struct pt_fault *fault)
{
}

static void on_read(struct spool_read *r)
{
}

/* The frame of a message is intact where the spool says it is. */
static void check_message(struct spool *s, struct spool_message *m, const struct format_keys *k)
{
    struct spool_read r = { .message = m, .length = m->size, .done = on_read };
    const char *head = segment + m->place.offset, *meta = head + FORMAT_FRAME_SIZE;
    struct format_frame f;

    pt_assert(format_frame_read(head, &f, k));
    pt_assert(f.type == FRAME_MESSAGE && f.id == m->id);
    pt_assert(crc32c(k->body, meta, f.meta) == f.meta_crc);
    spool_read(s, &r);
    if (r.result == PT_ERR_OK && !m->file)
        pt_assert(r.content.size == m->size &&
                  crc32c(k->body, meta + f.meta, f.content) == f.content_crc);
    block_chain_done(&r.content);
}

static void lay_out(struct disk *d)
{
    struct iovec iov = { segment, SEGMENT };
    int directory = d->open_directory(d, "spool", true);
    int handle = d->open(d, directory, "00000000.seg", DISK_CREATE);

    pt_assert(disk_write_all(d, handle, &iov, 1, 0) == 0 && d->sync(d, handle) == 0);
    d->close(d, handle);
    d->close(d, directory);
}

static bool keys_of_segment(struct format_keys *out)
{
    struct format_header h;
    struct format_trailer t;

    if (format_header_read(segment, &h) == FORMAT_HEADER_OK ||
        format_header_read(segment + FORMAT_PAGE, &h) == FORMAT_HEADER_OK) {
        *out = h.keys;
        return true;
    }
    if (!format_trailer_read(segment + SEGMENT - FORMAT_TRAILER_SIZE, &t))
        return false;
    *out = t.keys;
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    static struct finds finds;
    struct sim_disk *disk = sim_disk_new(1);
    struct spool_config config = {
        .directory = "spool",
        .disk = sim_disk_face(disk),
        .segment_size = SEGMENT,
        .now_us = 1000,
        .manual = true,
        .recovered = on_recovered,
        .damaged = on_damaged,
        .ctx = &finds,
    };
    struct format_keys k;
    enum pt_err err;

    memset(segment, 0, SEGMENT);
    if (n > 1)
        memcpy(segment, octets + 1, PT_MIN(n - 1, (size_t)SEGMENT));
    if (n && octets[0] & FRAMES)
        put_frames();
    if (n && octets[0] & TRAILER)
        put_trailer();
    if (n && octets[0] & HEADER)
        put_header();
    lay_out(sim_disk_face(disk));
    finds.count = 0;
    err = spool_open(&finds.spool, &config, NULL);
    if (err) {
        pt_assert(err == PT_ERR_INVALID); /* another version */
        sim_disk_free(disk);
        return 0;
    }
    while (spool_turn(finds.spool, 1000))
        ;
    pt_assert(finds.count == 0 || keys_of_segment(&k));
    for (unsigned i = 0; i < finds.count; i++) {
        check_message(finds.spool, finds.messages[i], &k);
        spool_message_unref(finds.messages[i]);
    }
    spool_close(finds.spool);
    sim_disk_free(disk);
    return 0;
}
