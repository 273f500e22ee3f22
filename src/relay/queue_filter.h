#pragma once
#include "relay/queue_view.h"
#include "relay/relay_private.h"

/*
 * relay/queue_filter: which messages an administrator means. Under the relay's lock.
 */

enum { LOOK_STEP = 500 }; /* messages looked at before the lock is let go */

bool relay_view_is_destination(const struct relay_dest *d, struct str name);
bool relay_view_matches(const struct relay_item *item, const struct relay_view_filter *f);
