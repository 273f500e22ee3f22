#pragma once
#include "spool/segment.h"

/*
 * spool/scan: reads the frames of one segment, whatever has become of it.
 *
 * Nothing it is given can make it do more than give wrong frames, and that only to somebody who can
 * guess the segment's random numbers.
 */

struct scan {
    struct disk *disk;
    int handle;
    struct format_keys keys;
    uint64_t size; /* of the segment */
    int error;     /* negative errno of the last read that failed */

    char *window; /* what was read last */
    uint64_t from, length, room;
};

struct scan_frame {
    struct format_frame head;
    uint64_t at;
    uint64_t next; /* where the next one is, or the next batch after a COMMIT */
};

void scan_init(struct scan *c, struct disk *d, int handle, const struct format_keys *keys,
               uint64_t size);
void scan_done(struct scan *c);

/* `n` octets from `at`, valid until the next call; NULL: cannot be read. */
const char *scan_octets(struct scan *c, uint64_t at, uint64_t n);

/* True if an intact header stands at `at`, and its frame is within the segment. */
bool scan_frame(struct scan *c, uint64_t at, struct scan_frame *out);

/* The frame's meta part, checked; .p NULL: damaged. Valid until the next call. */
struct str scan_meta(struct scan *c, const struct scan_frame *f);

/* The first intact header from `at` on, looking every `step` octets, below `end`. */
bool scan_find(struct scan *c, uint64_t at, uint64_t step, uint64_t end, struct scan_frame *out);

/* Where the log in this segment ends (docs/spool-format.md, section 3, step 2). The file has been
 * synced, and what was cached of it dropped. */
uint64_t scan_end(struct scan *c);
