#pragma once
#include <stdatomic.h>
#include <stdint.h>

#include "base/buf.h"
#include "spool/format.h"
#include "spool/worker.h"

/*
 * spool/segment: one file of the log and what is done to it as a whole.
 */

struct spool;

enum segment_work {
    SEGMENT_CREATE, /* a new file, full of zeros, with a header "in use" */
    SEGMENT_READY,  /* a free one gets a header "in use" */
    SEGMENT_FREE,   /* a dead one gets a header "free" */
    SEGMENT_FOOT,   /* a left one gets its footer */
    SEGMENT_UNLINK, /* a free one is removed; the structure goes too */
    SEGMENT_COPY,   /* the living in it are copied; no worker's affair */
};

struct spool_segment {
    struct spool_segment *next, *previous; /* in one of the spool's lists */
    struct spool *spool;
    uint32_t slot; /* names the file */
    int handle;
    uint64_t size;
    uint64_t epoch;
    struct format_keys keys;
    uint64_t id_mark;

    uint64_t end;  /* where the next batch begins, or, once left, what is valid */
    bool recorded; /* a durable SEAL or footer says `end` */
    bool footed;   /* its footer is durable */
    bool wants_footer;
    bool blank;        /* recovery: its header says "free" */
    uint8_t weak_copy; /* of the header: the one that may be damaged, if one is */
    bool unreadable;   /* recovery could not read all of it: never freed by this process */
    bool cut;          /* `end` is below what was written: a batch failed */
    uint64_t refers;   /* lowest epoch that frames in here speak of; UINT64_MAX: none but its own */
    uint64_t seals;    /* lowest epoch that its SEAL names; UINT64_MAX: none */

    struct spool_message *living;
    uint64_t live_octets, live_count;
    _Atomic uint32_t pins; /* reads under way */
    struct buf entries;    /* of the footer */

    /* While a worker has it (`busy`), the fields above stay as they are. */
    bool busy;
    enum segment_work work;
    uint64_t new_epoch; /* what the header under way says */
    struct format_keys new_keys;
    int result; /* negative errno */
    struct spool_job job;
    struct spool_segment *returned; /* next */
};

struct segment_list {
    struct spool_segment *first, *last;
    uint32_t count;
    uint64_t octets; /* of all together */
};

void segment_list_append(struct segment_list *l, struct spool_segment *g);
void segment_list_remove(struct segment_list *l, struct spool_segment *g);

/* A structure without a file yet; NULL when memory is short. */
struct spool_segment *segment_new(struct spool *s, uint32_t slot);
void segment_free(struct spool_segment *g); /* closes; NULL is accepted */

#define SEGMENT_NAME_SIZE 32
void segment_name(uint32_t slot, const char *suffix, char out[SEGMENT_NAME_SIZE]);

/* Commit thread: hands it to a worker, which gives it back through spool.returned. */
void segment_start(struct spool_segment *g, enum segment_work work);

/* Does it at once; the result is in g->result. */
void segment_do(struct spool_segment *g, enum segment_work work);

/* After CREATE, READY or FREE went well: it has its new epoch and nothing in it. */
void segment_renew(struct spool_segment *g);

/* Reads both header copies and, if neither holds, the trailer: enum format_header_state, or a
 * negative errno. */
int segment_read_header(struct spool_segment *g, struct format_header *out);

/* True if there is a valid trailer of this epoch. */
bool segment_read_trailer(struct spool_segment *g, struct format_trailer *out);
