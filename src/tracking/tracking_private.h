#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "base/mailbox.h"
#include "tracking/tracking.h"

/* tracking/tracking_private: what passes from a feed to the thread. For this room only. */

enum {
    TRACKING_BATCH_CLIENTS = TRACKING_CLIENTS_AT_ONCE,
    TRACKING_BATCH_SLOTS = 2048,
    TRACKING_BATCH_REFUSALS = 64,
    TRACKING_RATES = 1024,
};

struct tracking_batch {
    struct mail mail;
    struct tracking *tracking;
    atomic_bool away; /* the thread has it */
    uint32_t client_count, refusal_count;
    uint64_t lost, clients_lost;          /* refusals and clients that are not in it */
    uint16_t slots[TRACKING_BATCH_SLOTS]; /* 1 + index of a client; 0: free */
    struct tracking_client clients[TRACKING_BATCH_CLIENTS];
    struct tracking_refusal refusals[TRACKING_BATCH_REFUSALS];
};

struct tracking_rate {
    uint32_t minute, tag, count;
};

struct tracking_feed {
    struct tracking *tracking;
    struct tracking_batch *batches[2], *at;
    uint64_t key;
    int64_t second;
    uint32_t in_second;
    struct tracking_rate rates[TRACKING_RATES];
};

/* For the thread: gives the batch back, cleared, by letting go of `away`. */
void tracking_take(struct tracking *t, struct tracking_batch *b);
void tracking_batch_clear(struct tracking_batch *b);
