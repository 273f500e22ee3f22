#pragma once
#include "relay/outcome.h"

/*
 * relay/notice: tells a sender what became of a message (RFC 3461 5.2, RFC 3464).
 *
 * A recipient is told of
 *
 *     failed    when it is given up, unless NOTIFY leaves out FAILURE
 *     delayed   once, when it has waited for some hours, unless NOTIFY leaves out DELAY
 *     relayed   when NOTIFY has SUCCESS and the next hop that took it sends no notices. One that
 *               offers DSN was handed the wish, and does
 *
 * and never when the reverse-path is null (RFC 5321 4.5.5), which that of a notice always is. All
 * that one outcome gives to tell is one notice. It becomes durable in the same batch as the outcome
 * that causes it, and is then queued like any message.
 */

bool relay_notice_is_due(const struct relay_op *op);

/* Makes the notice, reading content back if need be, and calls relay_outcome_commit(). Where it
 * cannot be made for want of memory, who failed is deferred instead: nobody is given up unheard.
 */
void relay_notice_make(struct relay_op *op);

/* It says no more than that somebody waits, so deliveries need not wait for it. */
bool relay_notice_can_wait(const struct relay_op *op);

/* That somebody waits is told another time, not at once. Under the relay's lock. */
void relay_notice_put_off(struct relay_op *op);
