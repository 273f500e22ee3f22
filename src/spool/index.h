#pragma once
#include <stdint.h>

#include "base/err.h"
#include "spool/segment.h"

/*
 * spool/index: which messages live, and where the log speaks of them, while a spool starts.
 *
 * Made from what footers say (or the heads of frames, where there is no footer), in the order of
 * the log, without reading an envelope. Numbers of 32 bits stand for pointers: 10 million messages
 * with a frame or two take some 60 octets each, until the last of them is loaded.
 */

enum { INDEX_NONE = UINT32_MAX };

/* A frame: MESSAGE, OUTCOME, HOLD, RELEASE or ROUTE. */
struct index_frame {
    uint32_t next;    /* of the same message, later in the log */
    uint32_t segment; /* its number */
    uint32_t at;      /* offset / 8 */
    uint32_t meta;    /* length of the meta part */
};

/* A message of which no DONE or DELETE is known. */
struct index_stub {
    uint64_t id;
    uint32_t first, last; /* its frames */
    uint32_t message;     /* of these, its newest MESSAGE: what is before is no longer needed */
    uint32_t content;     /* of that frame, octets */
    uint32_t oldest;      /* number of the oldest segment with a frame of it */
    uint32_t chain;       /* private */
};

struct index {
    struct spool_segment **segments; /* by number: by epoch */
    uint32_t segment_count;
    struct index_stub *stubs;
    struct index_frame *frames;
    uint32_t stub_count; /* living; after index_sort() the first so many of `stubs`, by ID */

    uint32_t stubs_used, stub_room, free_stub; /* private from here on */
    uint32_t frames_used, frame_room, free_frame;
    uint32_t *buckets, bucket_count;
    uint32_t nothing;
};

/* Numbers the segments of the list. False: memory is short. */
PT_NODISCARD bool index_init(struct index *x, const struct segment_list *segments);
void index_done(struct index *x);

/* The next frame of segment `number`; fills its `refers`. NOMEM. */
PT_NODISCARD enum pt_err index_add(struct index *x, uint32_t number, const struct format_entry *e);

/* Nothing is added any more: the stubs come in the order of their IDs. */
void index_sort(struct index *x);
