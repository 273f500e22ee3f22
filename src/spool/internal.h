#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "spool/disk.h"
#include "spool/format.h"
#include "spool/load.h"
#include "spool/message.h"
#include "spool/segment.h"
#include "spool/spool.h"

/*
 * spool/internal: the parts of a spool, for the files of this room alone.
 *
 * Fields belong to the commit thread unless said otherwise.
 */

enum {
    BATCH_IOV = 1024,        /* what one pwritev takes */
    BATCH_OPS = 1024,        /* operations in a batch */
    BATCH_SCRATCH = 1 << 20, /* frame headers and meta parts of a batch */
    BATCH_OCTETS = 4 << 20,  /* a batch is closed beyond this */
    SPARES_WANTED = 2,       /* segments ready for use, the last of them for outcomes only */
    SEGMENT_FIRST = 4 << 20, /* size of the first ones */
    GROW_US = 10000000,      /* one that filled in less makes the next ones larger */
    FREE_KEPT = 8,           /* free segments beyond these are removed */
    COPIES = 16,             /* messages being copied at a time */
    LAZY_US = 1000000,       /* the longest a lazy operation waits */
    RETRY_US = 1000000,      /* between attempts to mend what is broken */
    CLEAN_SEGMENTS_MIN = 4,  /* in use before cleaning begins */
    CLEAN_LIVE_PERCENT = 25, /* of used space; below, it is cleaned */
};

/* What spool_op.wrote holds. */
enum { WROTE_NOTHING, WROTE_FRAME, WROTE_DONE };

/* The batch under way. */
struct spool_batch {
    struct spool_segment *segment;
    uint64_t start, at; /* offsets in the segment: of the batch, of the next frame */
    uint64_t written;   /* offset up to which it was handed to the disk */
    uint32_t serial;    /* counts batches */
    uint32_t frames, crc;
    int error; /* negative errno: the batch has failed */
    size_t entries_before;
    uint64_t least; /* with BATCH_SEGMENT_FULL: the size of segment that will do */

    struct iovec iov[BATCH_IOV];
    int iov_count;
    char *scratch; /* stays where it is while there is a batch */
    size_t scratch_used, scratch_size;

    struct spool_op *first, *last;
    unsigned ops;
    struct spool_message *messages[2 * BATCH_OPS];
    uint32_t message_count;
};

/* A message on its way from an old segment to the open one. */
struct spool_copy {
    struct spool_op op;
    struct spool_read read;
    struct spool *spool;
    struct spool_segment *from;
    struct spool_place place; /* the new one */
    bool busy;
};

struct spool {
    struct spool_config config;
    struct disk *disk;
    int directory, large; /* handles */
    _Atomic uint64_t next_id;
    _Atomic uint32_t refs; /* 1 while open, 1 for each struct spool_file */
    _Atomic bool closed;   /* only what files need is left of it */
    struct spool_workers workers;

    /* How others reach the commit thread: newest first. */
    _Atomic(struct spool_op *) submitted;
    _Atomic(struct spool_segment *) returned; /* from a worker */
    _Atomic uint32_t sleep;
    _Atomic bool stop;
    _Atomic bool unpinned; /* a segment that was being read no longer is */
    pthread_t thread;
    bool thread_runs;

    struct spool_op *waiting, *waiting_last; /* oldest first */
    unsigned urgent;                         /* of these, not lazy */
    int64_t lazy_due_us;
    int64_t now_us;
    struct spool_batch batch;

    struct segment_list used;   /* by epoch; the open one is the last */
    struct segment_list spares; /* ready, by epoch */
    struct segment_list free;
    struct spool_segment *open; /* NULL: nothing can be written, see fault */
    uint64_t segment_now;       /* size of the next ones */
    int64_t opened_us;          /* when the last one was opened */
    unsigned working;           /* segments that workers have */
    unsigned making;            /* spares being made by a worker */
    uint64_t next_epoch;
    uint32_t next_slot;
    uint64_t live_octets; /* of frames of kept messages */
    bool space_changed;   /* a segment may have become free */
    bool no_space;        /* the last segment could not be made */
    int64_t retry_us;     /* when to try again what failed; INT64_MAX: nothing did */
    unsigned paused;      /* until then: 1 << enum segment_work */
    struct load *load;    /* NULL: all messages are loaded */
    struct spool_copy copies[COPIES];
    unsigned copying;

    /* Under `lock`: places of messages as readers see them, and what is counted. */
    pthread_mutex_t lock;
    struct spool_stats stats;
};

/* ---- spool.c ---- */

void spool_ref(struct spool *s);
void spool_unref(struct spool *s);

/* ---- commit.c ---- */

/* One round of the commit thread; true if it did anything. */
bool commit_turn(struct spool *s);
/* Wakes the commit thread if it sleeps. */
void commit_wake(struct spool *s);
/* Sleeps until a worker has given something back. */
void commit_wait_returned(struct spool *s);
/* Threads: runs until s->stop. */
void *commit_run(void *spool);
/* The spool cannot write, for the reason given: shown in the stats. */
void commit_fault(struct spool *s, int sys_errno, const char *what);

/* ---- batch.c ---- */

enum batch_added { BATCH_ADDED, BATCH_FULL, BATCH_SEGMENT_FULL, BATCH_REFUSED };

void batch_begin(struct spool *s);
/* REFUSED: op->result says why. FULL, SEGMENT_FULL: it goes into the next one. */
enum batch_added batch_add(struct spool *s, struct spool_op *op);
/* Ends it with a COMMIT and makes it durable: 0 or a negative errno. */
int batch_write(struct spool *s);

/* ---- apply.c ---- */

/* Makes the batch's operations true, or undoes them. Under s->lock. */
void batch_apply(struct spool *s);
void batch_undo(struct spool *s);

/* ---- space.c ---- */

/* Takes what workers gave back. */
void space_collect(struct spool *s);
/* Opens the next segment, of `least` octets at least, its SEAL durable. False: there is none, or
 * the disk refuses. */
bool space_open_next(struct spool *s, uint64_t least);
/* Begins to free a segment that holds nothing. */
void space_free(struct spool *s, struct spool_segment *g);
/* Frees, recycles, makes ready, cleans. */
void space_manage(struct spool *s);
/* Records that frames in `in` speak of a message whose oldest frame is in epoch `of`. */
void space_refer(struct spool_segment *in, uint64_t of);
/* `octets` of a message in `g` live, or do not any more. Under s->lock. */
void space_count(struct spool *s, struct spool_segment *g, uint64_t octets, bool lives);
/* A kept message's place begins or ends to be in its segment. Under s->lock. */
void space_add(struct spool *s, struct spool_message *m);
void space_remove(struct spool *s, struct spool_message *m);

/* ---- recover.c ---- */

/* Finds what is there and opens a segment; what is left to do is in s->load. */
PT_NODISCARD enum pt_err recover_all(struct spool *s, struct pt_fault *fault);
