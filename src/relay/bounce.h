#pragma once
#include "relay/outcome.h"

/*
 * relay/bounce: tells a sender that a message could not be delivered (RFC 3464).
 *
 * None for a null reverse-path (RFC 5321 4.5.5), none for recipients with NOTIFY=NEVER or without
 * FAILURE (RFC 3461 4.1). The notice becomes durable in the same batch as the outcome that causes
 * it, and is then queued like any message.
 */

bool relay_bounce_is_due(const struct relay_op *op);

/* Makes the notice, reading content back if need be, and calls relay_outcome_commit(). Where it
 * cannot be made for want of memory, the outcome is a deferral instead: nobody is given up
 * unheard. */
void relay_bounce_make(struct relay_op *op);
