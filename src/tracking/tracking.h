#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "tracking/client_view.h"
#include "tracking/refusal_view.h"
#include "tracking/store.h"

/*
 * tracking: who was here, and who was refused why.
 *
 * Each event loop gathers in a feed of its own, without a lock, an allocation or a system call;
 * once a second it hands what has gathered to the tracking thread, which alone writes to the disk.
 * What a feed has no room for, what the disk does not take, and what a flood brings beyond a rate
 * is counted and not kept: nothing here ever makes mail wait.
 */

struct tracking;
struct tracking_feed;

enum {
    TRACKING_PER_SECOND = 100, /* refusals of a feed that are kept, */
    TRACKING_PER_CLIENT = 20,  /* and of one client in a minute */
    TRACKING_CLIENTS_AT_ONCE =
        1024, /* clients that a feed holds between two times of handing over */
};

/* Opens what is in `directory` (it is copied) and starts the thread. Trouble with the disk is no
 * failure: it stands in the stats, and opening is tried again. NULL: memory or threads are short.
 */
struct tracking *tracking_new(const char *directory);

/* After all feeds. What has been handed over is written. NULL is accepted. */
void tracking_free(struct tracking *t);

/* A reference that was not given out in the last 30 days, also across restarts; never 0. Any
 * thread; waits for nothing. */
uint64_t tracking_next_ref(struct tracking *t);

/* Returns once all that was handed over before is written, or could not be. Not on a loop. */
void tracking_flush(struct tracking *t);

struct tracking_stats {
    uint64_t refusals, refusals_lost; /* kept; not kept */
    uint64_t clients_lost;            /* clients there was no room for when they came */
    struct pt_fault fault;            /* err OK: all that is handed over is kept */
};
void tracking_get_stats(struct tracking *t, struct tracking_stats *out); /* any thread */

/* ---- asking: any thread but a loop's ---- */

/*
 * What a reference leads to. PT_ERR_OK: *out. PT_ERR_AGAIN: it was given out, but not kept; *span
 * says when and how many were not. PT_ERR_NOTFOUND: not in the time that is kept. One that was
 * given out this moment is waited for, a second or two.
 */
PT_NODISCARD enum pt_err tracking_find_refusal(struct tracking *t, uint64_t ref,
                                               struct tracking_refusal *out,
                                               struct tracking_span *span, struct pt_fault *fault);

/* Shows all clients of the last days, in no order; false from `show`: enough. */
PT_NODISCARD enum pt_err tracking_each_client(struct tracking *t, tracking_client_fn *show,
                                              void *user, struct pt_fault *fault);

/* ---- a loop's feed: on its thread ---- */

/* NULL: memory is short. All functions below accept NULL: then nothing is kept. */
struct tracking_feed *tracking_feed_new(struct tracking *t);

/* Hands over what is left and waits until that is written. Not on a loop. */
void tracking_feed_free(struct tracking_feed *f);

/* A place for a refusal, zeroed, to be filled in; NULL: this one is not kept. A reference was used
 * up for it either way. `now_us` is wall time. */
struct tracking_refusal *tracking_feed_refusal(struct tracking_feed *f,
                                               const struct net_addr *client, int64_t now_us);

/* What has gathered of a client, to be added to: a new one is zero but for address, first_us and
 * last_us. NULL: there is no room. Valid until the next call of any of these. */
struct tracking_client *tracking_feed_client(struct tracking_feed *f, const struct net_addr *client,
                                             int64_t now_us);

/* Anything to hand over? */
bool tracking_feed_has(const struct tracking_feed *f);

/* Hands it over; true if nothing is left. False: the thread is behind, try again in a while. */
bool tracking_feed_hand_over(struct tracking_feed *f);

/* ---- filling in ---- */

/* A text of at most size - 1 octets, cut before a character that does not fit. */
void tracking_text(char *out, size_t size, struct str text);

/* A name in lower case moves to the front; the last one of a full list is dropped. */
void tracking_add_name(char (*names)[TRACKING_NAME_SIZE], uint8_t *count, uint8_t max,
                       struct str name);
