#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "net/addr.h"

/*
 * access/hits: how often which prefix has decided, and when it did last.
 *
 * Kept by prefix and not by row, so that counts outlive the table: a list that is changed keeps
 * them for the entries that stay. Memory is bounded: of ACCESS_HITS_MAX prefixes at most the counts
 * are kept; then, of the few that share a place, the one whose last hit is oldest is forgotten.
 * Pages that no hit has touched take no memory.
 *
 * One thread counts; any thread may read meanwhile.
 */

struct access_hits;

enum { ACCESS_HITS_MAX = 1 << 17 }; /* 5 MiB */

/* NULL when memory is short. */
struct access_hits *access_hits_new(void);
void access_hits_free(struct access_hits *h); /* NULL is accepted */

/* `list` tells apart prefixes of different lists: 0 to 255. NULL counts nothing. */
void access_hits_count(struct access_hits *h, uint8_t list, const struct net_prefix *p,
                       int64_t now_us);

/* Adds to *hits and moves *last_us on, where there is something. */
void access_hits_read(const struct access_hits *h, uint8_t list, const struct net_prefix *p,
                      uint64_t *hits, int64_t *last_us);
