#pragma once
#include <stdint.h>

#include "net/addr.h"

/*
 * access/tally: how often which client was refused by what, or would have been.
 *
 * Kept by what the caller names with a number, and by client as access_client_of() has it. Memory
 * is bounded: of the eight rows that share a set, the one with the lowest count gives way, so that
 * many clients that come once do not push out those that come often. Any thread. Counts are since
 * the start; how many there were in all is for the caller to count.
 */

enum { ACCESS_TALLY_MAX = 1 << 13 };

struct access_tally_row {
    struct net_prefix client;
    uint8_t what;
    uint64_t count;
    int64_t first_us, last_us; /* wall time */
};

struct access_tally;

struct access_tally *access_tally_new(uint64_t seed); /* NULL: memory is short */
void access_tally_free(struct access_tally *t);       /* NULL is accepted */

void access_tally_add(struct access_tally *t, uint8_t what, const struct net_addr *client,
                      int64_t now_us);

/* Writes up to `max` rows to `out`, in no order; returns how many were written. */
uint32_t access_tally_list(struct access_tally *t, struct access_tally_row *out, uint32_t max);
