#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/rng.h"
#include "sim_disk.h"
#include "spool/spool.h"

/*
 * spool_world: what the simulation of the spool knows, and how it judges what it finds.
 */

enum {
    POINTS_PER_WORLD = 25,
    LIVING_MAX = 40,
    MESSAGES_MAX = 8192,
    OPS_MAX = 8192,
    RECIPIENTS_MAX = 3,
    SEGMENT = 64 << 10,
};

struct state {
    bool present;
    bool held;
    uint8_t state[RECIPIENTS_MAX];
    uint32_t serial[RECIPIENTS_MAX]; /* of the operation that said so: kept as `attempts` */
    uint32_t sent[RECIPIENTS_MAX];   /* of the ROUTE that sent it elsewhere, in its text; 0: none */
};

struct sim_message {
    uint64_t id, size;
    uint32_t recipients;
    struct state known; /* what was answered */
    bool finished;      /* refused, ended: never to be seen again */
    bool file_dropped;
    bool before; /* was there before the last start */
    bool judged; /* and what was found of it then was compared */
    struct spool_message *object;
    struct spool_message *found; /* by the recovery under way */
};

/* One submitted operation. */
struct sim_op {
    struct spool_op op;
    struct spool_outcome outcomes[RECIPIENTS_MAX];
    struct spool_route routes[RECIPIENTS_MAX];
    char next_hop[40];
    struct sim_message *message, *bounce;
    uint32_t serial;
    unsigned era;                 /* which start it came after */
    bool settled, bounce_settled; /* after its crash: what became of it is known */
    bool open;                    /* not answered */
    bool maybe; /* answered with an error by a spool that could not write: both is allowed */
    int happened, bounce_happened; /* -1: cannot be told */
};

struct world {
    uint64_t seed;
    struct rng rng;
    struct sim_disk *disk;
    struct spool *spool;
    struct spool_config config;
    int64_t now_us;
    unsigned points;
    bool faults;
    uint64_t highest_id;

    struct sim_message *messages[MESSAGES_MAX];
    unsigned message_count;
    struct sim_op *ops[OPS_MAX]; /* since the last start whose messages were all loaded, in order */
    unsigned op_count;
    unsigned era; /* counts starts */
    uint32_t serial;
    struct spool_message *strangers; /* none expected */
};

/* Ends the program with the command that repeats what was wrong. */
void world_fail(const struct world *w, const char *fmt, ...) PT_PRINTF(2, 3);

/* ---- spool_judge.c ---- */

/* What an operation that has happened makes of `m`, its message or its bounce. */
void state_apply(struct state *to, const struct sim_op *op, const struct sim_message *m);

/* Compares what was found of a message, perhaps nothing, with what may be there, takes over what is
 * there. */
void world_judge(struct world *w, struct sim_message *m);

/* All messages were judged: what happened of the operations before is what was submitted first. */
void world_judge_order(const struct world *w);
