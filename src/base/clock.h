#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"

/*
 * base/clock: the two clocks.
 *
 * Rooms that decide something (spool index, scheduler, policy) are given the time; they do not
 * call these. Monotonic time is for durations and timers, wall time for what a person reads and
 * for what must survive a restart.
 */

int64_t clock_mono_ns(void);
int64_t clock_wall_us(void); /* microseconds since 1970 */

/* "2026-11-24T08:34:34.123Z"; `out` has room for CLOCK_RFC3339_SIZE. */
#define CLOCK_RFC3339_SIZE 32
void clock_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_SIZE]);

/* To the microsecond, with a fraction only where there is one: what clock_rfc3339_parse() reads
 * back. For 1970 to 9999. */
void clock_rfc3339_exact(int64_t wall_us, char out[CLOCK_RFC3339_SIZE]);

/* RFC 3339 with any offset, from 1971 on, so that the result is never 0; false: it is none. */
bool clock_rfc3339_parse(struct str text, int64_t *out_us);

/* "Tue, 24 Nov 2026 08:34:34 +0000" (RFC 5322 section 3.3, in UTC). */
#define CLOCK_RFC5322_SIZE 40
void clock_rfc5322(int64_t wall_us, char out[CLOCK_RFC5322_SIZE]);
