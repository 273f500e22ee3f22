#pragma once
#include "relay/outcome.h"

/*
 * relay/operation: outcomes on their way to the spool, and back.
 *
 * What the spool could not store waits in the order it was decided and is submitted again; while
 * anything waits, what is new goes behind it.
 */

/* With results and outcomes for `count` recipients; `m` is referenced. NULL: memory is short. On
 * the loop's thread. */
struct relay_op *relay_op_new(struct relay_loop *rl, struct spool_message *m, uint32_t count);

/* Lets go of what it holds and gives it back to its loop. Any thread. */
void relay_op_return(struct relay_op *op);

/* spool_op.done */
void relay_op_stored(struct spool_op *stored);

/* The scheduler is told; op->group is NULL afterwards. Under the relay's lock. */
void relay_op_settle(struct relay_op *op);

/* Under the relay's lock. */
void relay_op_add_unsaved(struct relay *r, struct relay_op *op);
