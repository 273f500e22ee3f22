#pragma once
#include "relay/scheduler.h"

/*
 * relay/redirect: queued recipients that an administrator sends to another next hop than the routes
 * lead to.
 *
 * The next hop alone is another one: what the recipient's route demands (TLS and its CA, source,
 * protocol) is demanded there, so it is never asked for less; a password is said to the route's own
 * next hops alone. It holds until the recipient is done
 * with or it is taken back, whatever becomes of the routes. Under the scheduler's lock.
 */

enum { RELAY_NEXT_HOP_SIZE = 300 };

/* "HOST", "HOST:PORT", an address or "[ADDRESS]:PORT" as it is kept: "host:port", port 25 unless
 * told. NULL, or what is wrong with it. */
const char *relay_next_hop_normalise(struct str text, char out[RELAY_NEXT_HOP_SIZE]);

/* The parts of a next hop in that form; `out` borrows `host`. */
PT_NODISCARD bool relay_next_hop_parse(struct str text, struct settings_next_hop *out,
                                       char host[256]);

/* What its route (NULL: none) becomes for a recipient who is sent to `hop`, which is borrowed. */
void relay_redirected_route(const struct settings_route *route, struct settings_next_hop *hop,
                            struct settings_route *out);

struct relay_redirect {
    struct str destination; /* those who go there, see relay_dest_is(); .p NULL: all */
    struct str next_hop;    /* in the form above; empty: where the routes lead again */
};

/* Does it to those recipients of the message who wait, and makes them due, but for those in doubt.
 * The recipients, as indexes on the heap, which the caller frees; NULL: none, or memory is
 * short. */
uint32_t *relay_sched_redirect(struct relay_sched *s, struct relay_item *item,
                               const struct relay_redirect *how, int64_t now_us,
                               uint32_t *out_count);
