#pragma once
#include "spool/map.h"
#include "spool/scan.h"

/*
 * spool/replay: the frames of a segment, made true in a table of messages.
 */

struct replay {
    struct spool *spool;
    struct map messages;
    uint64_t id_mark; /* all IDs seen are below it */
    uint64_t lost;    /* pieces of bit-rot found */
};

/* Reads what is below g->end, fills g->entries, g->refers, g->seals. Damage is reported, and passed
 * over; NOMEM is the only error. */
PT_NODISCARD enum pt_err replay_segment(struct replay *r, struct spool_segment *g);

/* Calls the configured `damaged`, or logs. */
void replay_report(struct spool *s, uint64_t id, enum pt_err err, const char *fmt, ...)
    PT_PRINTF(4, 5);
