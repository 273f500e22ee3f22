#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "tracking/client_view.h"
#include "tracking/refusal_view.h"

/*
 * tracking/store: what is kept on the disk of refusals and clients, in STATE/tracking.
 *
 * Two databases, refusals.db and clients.db, each of a bounded size, so that damage to one leaves
 * the other. One that is damaged is moved aside (refusals.db.damaged) and begun anew. A process
 * that is killed loses what was not committed, a power failure the last minutes; the
 * reservation of numbers alone is synced.
 *
 * One thread at a time for each value; the tracking thread has one that writes, every reader opens
 * one of its own.
 */

struct tracking_store;

enum tracking_store_mode { TRACKING_STORE_READ, TRACKING_STORE_WRITE };

struct tracking_store_config {
    const char *directory; /* made if it is not there */
    enum tracking_store_mode mode;
    uint64_t refusals_max; /* octets of refusals.db; 0: TRACKING_REFUSALS_OCTETS */
    uint64_t clients_max;  /* rows of clients.db; 0: TRACKING_CLIENTS_MAX */
};

enum {
    TRACKING_REFUSALS_OCTETS = 256 << 20,
    TRACKING_CLIENTS_OCTETS = 512 << 20, /* beside the number of rows */
};

/* PT_ERR_NOTFOUND: there is nothing to read yet. With WRITE what is damaged was moved aside, which
 * *out_damaged tells (may be NULL); what else is wrong is the error. */
PT_NODISCARD enum pt_err tracking_store_open(struct tracking_store **out,
                                             const struct tracking_store_config *config,
                                             bool *out_damaged, struct pt_fault *fault);
void tracking_store_close(struct tracking_store *s); /* NULL is accepted */

/* Moves aside what is damaged. To be closed then, and opened again. */
void tracking_store_discard(struct tracking_store *s);

/* ---- writing ---- */

/* What has gathered since the last time; all of it in one transaction a database. */
struct tracking_store_batch {
    const struct tracking_refusal *refusals;
    uint32_t refusal_count;
    const struct tracking_client *clients;
    uint32_t client_count;
    /* References with numbers from `number` on were given out. */
    uint64_t number, given, lost;
    int64_t from_us, until_us;
};
PT_NODISCARD enum pt_err tracking_store_add(struct tracking_store *s,
                                            const struct tracking_store_batch *batch,
                                            struct pt_fault *fault);

/* Lets go of what is too old, or too much. To be called now and then. */
PT_NODISCARD enum pt_err tracking_store_clean(struct tracking_store *s, int64_t now_us,
                                              struct pt_fault *fault);

/* Up to where numbers were reserved, PT_ERR_NOTFOUND: never; and the reservation of more, synced.
 */
PT_NODISCARD enum pt_err tracking_store_reserved(struct tracking_store *s, uint64_t *out,
                                                 struct pt_fault *fault);
PT_NODISCARD enum pt_err tracking_store_reserve(struct tracking_store *s, uint64_t number,
                                                struct pt_fault *fault);

/* ---- reading ---- */

/* PT_ERR_NOTFOUND: it is not kept. */
PT_NODISCARD enum pt_err tracking_store_refusal(struct tracking_store *s, uint64_t ref,
                                                struct tracking_refusal *out,
                                                struct pt_fault *fault);

/* When this number was given out; PT_ERR_NOTFOUND: not in the time that is kept. */
PT_NODISCARD enum pt_err tracking_store_span(struct tracking_store *s, uint64_t number,
                                             struct tracking_span *out, struct pt_fault *fault);

/* Shows one after the other, in no order; false: enough. */
typedef bool tracking_client_fn(void *user, const struct tracking_client *client);
PT_NODISCARD enum pt_err tracking_store_clients(struct tracking_store *s, tracking_client_fn *show,
                                                void *user, struct pt_fault *fault);
