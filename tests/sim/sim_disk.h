#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "spool/disk.h"

/*
 * sim_disk: a disk in memory that does the worst a disk may do, repeatably from a seed.
 *
 * What was written and not synced is lost, kept, or torn at 512 octets, in any mixture; of several
 * unsynced writes to one sector any may be the one that stays. Unsynced directory entries come and
 * go each for itself. After a failed sync what was written is still seen by reads and is on the
 * disk only by chance, and no later sync brings it there (so does Linux). One thread only.
 *
 * A crash is a state: at the chosen call the machine stops, every call from then on fails, until
 * sim_disk_restart().
 */

struct sim_disk;

struct sim_disk *sim_disk_new(uint64_t seed);
void sim_disk_free(struct sim_disk *d);
struct disk *sim_disk_face(struct sim_disk *d);

/* The machine stops at the n-th call from now that changes anything; 0: it does not. */
void sim_disk_crash_in(struct sim_disk *d, uint64_t n);
/* The machine stops now. */
void sim_disk_stop(struct sim_disk *d);
bool sim_disk_crashed(const struct sim_disk *d);

/* Power comes back. With `power_lost` false only the process died: what was written is still in the
 * cache, and can be lost later. All handles are gone. */
void sim_disk_restart(struct sim_disk *d, bool power_lost);

/* Every call that changes something fails with a chance of 1 in n; 0: none does. */
void sim_disk_fail_one_in(struct sim_disk *d, uint64_t n);
/* The n-th such call from now fails, and then `count` in all. */
void sim_disk_fail_in(struct sim_disk *d, uint64_t n, uint64_t count);
/* The files together may hold that much; 0: no limit. */
void sim_disk_capacity(struct sim_disk *d, uint64_t octets);
/* Whether files without a name can be had. */
void sim_disk_nameless(struct sim_disk *d, bool can);

/* Calls made that change something. */
uint64_t sim_disk_calls(const struct sim_disk *d);
/* Octets in files that have a name. */
uint64_t sim_disk_used(struct sim_disk *d);

/* Another disk with what would be left if power failed now and nothing unsynced had got there. */
struct sim_disk *sim_disk_kept(const struct sim_disk *d);
