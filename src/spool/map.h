#pragma once
#include <stdint.h>

#include "base/err.h"
#include "spool/spool.h"

/*
 * spool/map: messages by ID, while the log is read. Open addressing, at most half full.
 */

struct map {
    struct spool_message **slots; /* NULL: empty; MAP_GONE: was removed */
    uint64_t size, used;          /* used counts the removed */
    uint64_t count;
};

struct spool_message *map_get(const struct map *m, uint64_t id);
/* Adds it, or takes the place of the one with the same ID, which is returned in *old (else NULL).
 */
PT_NODISCARD enum pt_err map_put(struct map *m, struct spool_message *message,
                                 struct spool_message **old);
/* NULL if it is not there. */
struct spool_message *map_take(struct map *m, uint64_t id);
/* All of them by ID, on the heap; count of them in m->count. NULL when memory is short. */
struct spool_message **map_sorted(const struct map *m);
void map_unref_all(struct map *m);
void map_done(struct map *m); /* the messages are left alone */
