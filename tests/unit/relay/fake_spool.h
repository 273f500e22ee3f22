#pragma once
#include "spool/spool.h"

/*
 * A spool without a disk for the tests of the relay: operations wait until fake_spool_turn(), which
 * plays the commit thread; each may be made to fail. Content of "uncached" messages is read back
 * from copies.
 */

enum { FAKE_OUTCOMES_MAX = 4096 };

struct fake_outcome {
    uint64_t id;
    uint32_t recipient;
    uint8_t state;
    uint16_t code;
    bool delay_told;
    bool failure_told; /* the first outcome of an operation that failed somebody and told it */
    bool with_bounce;  /* the first outcome of an operation that made one */
    char reply[SPOOL_REPLY_MAX + 1];
};

struct fake_spool {
    struct spool_op *first, **end;
    void (*committed)(void *ctx, struct spool_message *const *messages, uint32_t count);
    void *ctx;
    bool at_once;          /* operations are stored as they are submitted */
    enum pt_err fail;      /* the result of operations while it is not OK */
    enum pt_err fail_read; /* the same for reads */
    uint64_t next_id;
    struct fake_outcome outcomes[FAKE_OUTCOMES_MAX]; /* what was stored */
    uint32_t outcome_count;
    uint32_t holds, releases, deletes, routes, bounces;
    char last_bounce[65536];
    char last_bounce_to[320];
    struct fake_content *contents;
};

/* The spool that the relay is given; one at a time. */
struct fake_spool *fake_spool_new(void);
void fake_spool_free(struct fake_spool *s);
struct spool *fake_spool_handle(struct fake_spool *s);

/* Commits what waits. True if there was anything. */
bool fake_spool_turn(struct fake_spool *s);

/* A message of one or more recipients (separated by spaces), kept for reading back. */
struct spool_message *fake_spool_message(struct fake_spool *s, const char *from, const char *to,
                                         struct str content, int64_t received_us);

/* The last outcome of a recipient, or NULL; and how many it got with that state. */
const struct fake_outcome *fake_spool_outcome(const struct fake_spool *s, uint64_t id,
                                              uint32_t recipient);
uint32_t fake_spool_count(const struct fake_spool *s, uint64_t id, uint32_t recipient,
                          uint8_t state);
