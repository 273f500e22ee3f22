#pragma once
#include <stdint.h>

#include "spool/spool.h"

/*
 * What the tests of the spool share: messages, and operations that remember
 * how they ended.
 */

/* A message with `size` octets of content that follow from its ID, and `recipients`. */
struct spool_message *kit_message(struct spool *s, uint64_t size, uint32_t recipients);
/* The octet at `at` of the content of message `id`. */
char kit_octet(uint64_t id, uint64_t at);
/* The same for a message whose content goes into a file of its own, finished. With `manual`. */
struct spool_message *kit_large(struct spool *s, uint64_t size);

/* The time that turns are told, in microseconds; a test may move it on. */
extern int64_t kit_now_us;

/* Submits, turns, and returns the result. With `manual`. */
enum pt_err kit_keep(struct spool *s, struct spool_message *m);
enum pt_err kit_do(struct spool *s, enum spool_op_kind kind, struct spool_message *m);
enum pt_err kit_route(struct spool *s, struct spool_message *m, const struct spool_route *routes,
                      uint32_t count);
enum pt_err kit_outcome(struct spool *s, struct spool_message *m, uint32_t recipient,
                        enum spool_state state, const char *reply, struct spool_message *bounce);

/* Turns until all messages that were there are loaded. With `manual`. */
void kit_load(struct spool *s);

/* A spool_op.done for those who look at the result themselves. */
void kit_nothing_done(struct spool_op *op);

/* Reads all of the content and compares it with what it should be. With `manual`. */
enum pt_err kit_check(struct spool *s, struct spool_message *m);

/* What recovered() told, in order. */
enum { KIT_FOUND_MAX = 4096 };
struct kit_found {
    struct spool_message *messages[KIT_FOUND_MAX];
    uint32_t count;
    uint32_t damages;
};
void kit_on_recovered(void *ctx, struct spool_message *const *messages, uint32_t count);
void kit_on_damaged(void *ctx, uint64_t id, const struct pt_fault *fault);
void kit_forget(struct kit_found *f);
