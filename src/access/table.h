#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/defs.h"
#include "net/addr.h"

/*
 * access/table: which of a million prefixes an address falls under.
 *
 * Built once from rows, then immutable: any number of threads look up without a lock. The answer
 * is the index of the row with the longest prefix that has the address and has not expired; an
 * expired one falls through to the next shorter. Where two rows have the same prefix, the one that
 * lasts longer stands for both, the first of them when they last equally long.
 *
 * It decides nothing and knows no lists: the caller keeps the rows' meaning by their index.
 * Building takes about half a second for a million rows: not on an event loop. Memory is 12 to 60
 * octets a row.
 */

struct access_row {
    struct net_prefix prefix; /* bits beyond the length are zero */
    int64_t expires_us;       /* wall time; 0: never */
};

struct access_table;

#define ACCESS_NONE UINT32_MAX
#define ACCESS_ROWS_MAX (1u << 28)

/* The rows are not kept. NULL when memory is short or there are more than ACCESS_ROWS_MAX. */
struct access_table *access_table_new(const struct access_row *rows, uint32_t count);
void access_table_free(struct access_table *t); /* NULL is accepted */

/* The row's index, or ACCESS_NONE. A row is alive while now_us < expires_us. */
uint32_t access_table_find(const struct access_table *t, const struct net_addr *a, int64_t now_us);

/* The row that stands for exactly this prefix, alive or not, or ACCESS_NONE. */
uint32_t access_table_find_prefix(const struct access_table *t, const struct net_prefix *p);

/* False once the row has expired. */
bool access_table_lives(const struct access_table *t, uint32_t row, int64_t now_us);

/* The row with the longest prefix that is shorter than `p` and holds all of it, alive or not. */
uint32_t access_table_find_cover(const struct access_table *t, const struct net_prefix *p);

/* True if any row has an address in common with `p`, alive or not. */
bool access_table_overlaps(const struct access_table *t, const struct net_prefix *p);

/* Octets of memory in use. */
size_t access_table_memory(const struct access_table *t);
