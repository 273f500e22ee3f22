#pragma once
#include "relay/queue_view.h"
#include "relay/relay_private.h"

/*
 * relay/queue_filter: which messages an administrator means. Under the relay's lock.
 */

enum { LOOK_STEP = 500 }; /* messages and recipients looked at before the lock is let go */

/* "mx:example.com", "example.com", "relay.example:25": the destination of that name, or NULL. */
struct relay_dest *relay_view_find_destination(struct relay *r, struct str name);

/* The state of recipients of this group that the spool calls `spool_state`; HELD aside. */
enum relay_view_state relay_view_state_of(const struct relay_group *g,
                                          const struct spool_recipient *recipient);

/* The next message in the order of the filter that matches, moving `*cursor`; NULL: none within
 * `*looks`, which is counted down by what was looked at, or, with `*at_end`, none at all. */
struct relay_item *relay_view_next(struct relay *r, const struct relay_view_filter *f,
                                   uint64_t *cursor, uint32_t *looks, bool *at_end);
