#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/*
 * relay/moves_view: what a change of the routes means for the mail that is queued.
 */

struct relay;
struct settings;

/* Messages that go from one destination to another; a message to several counts with each. Borrowed
 * for the time of the call that shows it. */
struct relay_move {
    const char *from, *to;
    uint64_t messages;
    bool waits; /* no route leads to `to` */
};

typedef void relay_move_fn(void *user, const struct relay_move *m);

/*
 * Compares where queued recipients go under both settings; those that an administrator has
 * redirected go nowhere else. Shows at most RELAY_MOVES_MAX pairs; `*out_more`: messages of further
 * ones. Nothing is looked at where the routes are the same; otherwise it goes over the whole queue
 * in small steps: a job thread. NOMEM.
 */
enum { RELAY_MOVES_MAX = 200 };
PT_NODISCARD enum pt_err relay_moves(struct relay *r, const struct settings *before,
                                     const struct settings *after, relay_move_fn *show, void *user,
                                     uint64_t *out_more);
