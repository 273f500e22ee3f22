#pragma once
#include "spool/index.h"
#include "spool/scan.h"

/*
 * spool/replay: what a segment speaks of, from its footer or, without one, from the heads of its
 * frames.
 */

/*
 * Adds the frames below the end of segment `number` to the index; raises *id_mark above all IDs
 * seen. Without a footer fills g->entries. With `frames` reads the frames although there is a
 * footer. Damage is reported, and passed over; NOMEM is the only error.
 */
PT_NODISCARD enum pt_err replay_segment(struct spool *s, struct index *x, uint32_t number,
                                        bool frames, uint64_t *id_mark);

/* Calls the configured `damaged`, or logs. Any thread. */
void replay_report(struct spool *s, uint64_t id, enum pt_err err, const char *fmt, ...)
    PT_PRINTF(4, 5);
