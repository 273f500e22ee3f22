#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"

/*
 * gateway/patience: for how long a client is waited for.
 *
 * Pure: the time is passed in, monotonic nanoseconds. Embedded in a session.
 *
 * Two things end a session, both with 421 4.4.2 (RFC 5321 4.5.3.2):
 *
 *   silence   no octet came, and none of ours was taken, for the idle timeout. Between commands and
 *             within DATA alike.
 *   trickle   a client that sends an octet now and then is never silent and would hold its place
 *             for ever. So what it has begun must come on. A command line ends within twice the
 *             idle timeout of its first octet. Content, and a reply of ours that is being read,
 *             move by PATIENCE_LEAST octets in each span of twice the idle timeout; and as a whole
 *             they take no longer than an hour, or that span if it is longer, and a second for each
 *             PATIENCE_RATE octets.
 *
 * While we are what is waited for (the disk, memory, the spool) the clocks stand still.
 */

enum {
    PATIENCE_LEAST = 128,       /* octets */
    PATIENCE_RATE = 1000,       /* octets a second */
    PATIENCE_WHOLE_S = 60 * 60, /* seconds */
};

/* What the client is in the middle of. */
enum patience_of {
    PATIENCE_NOTHING, /* between two commands: only silence counts */
    PATIENCE_LINE,    /* a command line has begun */
    PATIENCE_BULK,    /* content comes, or a reply waits to be read */
};

struct patience {
    int64_t heard_ns;  /* the last octet, in or out */
    int64_t begun_ns;  /* of what it is in the middle of */
    int64_t span_ns;   /* beginning of the present span */
    int64_t paused_ns; /* since when we are waited for; 0: we are not */
    uint64_t octets;   /* moved since it has begun */
    uint64_t span_octets;
    uint8_t of; /* enum patience_of */
};

void patience_init(struct patience *p, int64_t now);

/* `octets` were moved, after which the client is in the middle of `of`. `completed`: something
 * ended meanwhile, a command line for example, and what there is now has begun anew. */
void patience_moved(struct patience *p, uint64_t octets, enum patience_of of, bool completed,
                    int64_t now);

/* From now on we are waited for; the client again. Twice is once. */
void patience_pause(struct patience *p, int64_t now);
void patience_resume(struct patience *p, int64_t now);

enum patience_verdict { PATIENCE_LEFT, PATIENCE_SILENT, PATIENCE_TRICKLE };

/* `idle_ns`: the idle timeout as it is now. To be asked once a second or so. */
enum patience_verdict patience_check(struct patience *p, int64_t idle_ns, int64_t now);
