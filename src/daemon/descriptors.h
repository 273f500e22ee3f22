#pragma once
#include <stdint.h>

/*
 * daemon/descriptors: how many sessions the system's limit on open files leaves room for.
 */

/* Takes all that the hard limit allows. */
void descriptors_raise_limit(void);

/* The sessions that fit: the limit without a quarter, at least 112 and at most 4,096, which is kept
 * for deliveries, the spool, the API and their like, so that mail goes on leaving when clients fill
 * the rest. 0: the system does not say. */
uint32_t descriptors_for_sessions(void);

/* The same of a given limit. */
uint32_t descriptors_for_sessions_of(uint64_t limit);
