#pragma once
#include <pthread.h>

#include "relay/callout.h"
#include "relay/connection.h"

/*
 * What the files of callouts share: callout.c has what is remembered and who waits, under a lock of
 * its own that is held for microseconds; asking.c the connections that ask.
 *
 * A destination of callouts belongs to one loop: its connections live there, and only that loop
 * frees it. Anybody adds questions to it.
 */

enum {
    CALLOUT_BUCKETS = 1 << 14,
    CALLOUT_OCTETS = 16 << 20,         /* of what is remembered and asked, by default */
    CALLOUT_WAITING_MAX = 10000,       /* questions, all destinations */
    CALLOUT_WAITING_DEST_MAX = 1000,   /* of one */
    CALLOUT_CONNECTIONS_MAX = 4,       /* of a destination */
    CALLOUT_LOOP_CONNECTIONS_MAX = 100 /* of a loop */
};

struct callout_dest;

/* A recipient: asked about, or remembered, or both: then `said` is the last answer. */
struct callout_entry {
    struct callout_entry *hash_next;
    struct callout_entry *newer, *older; /* while remembered and not asked about */
    struct callout_entry *queue_next;    /* while it waits for a connection */
    struct callout_dest *dest;           /* while it is asked about */
    struct relay_callout *waiters;
    int64_t since_ns; /* it is asked about */
    int64_t until_us; /* the answer is good */
    uint64_t hash, dest_hash;
    uint8_t said; /* enum policy_recipient_said; 0: nothing is remembered */
    uint16_t code;
    char *words; /* NULL: none */
    size_t size; /* that it counts for */
    struct str recipient;
    char octets[]; /* of the recipient */
};

struct callout_dest {
    struct callout_dest *next, *prev; /* of its loop */
    struct relay_dest *d;
    unsigned loop;
    struct callout_entry *first, *last; /* wait for a connection */
    uint32_t queued;
    uint32_t waiting;                    /* the same and those that are asked */
    uint32_t connections, connecting;    /* of these, not ready yet */
    struct relay_conn *idle;             /* its loop's alone */
    int64_t rest_until_ns;               /* 0: it does not rest */
    char reason[POLICY_RECIPIENT_WORDS]; /* why it rests */
};

struct relay_callouts {
    pthread_mutex_t lock;
    struct callout_entry **buckets; /* NULL until the first question */
    struct callout_entry *newest, *oldest;
    struct relay_dest_table dests;
    struct callout_dest *of_loop[RELAY_LOOPS_MAX];
    uint64_t octets, octets_max, entries;
    uint32_t waiting;
    _Atomic int64_t timeout_ns; /* as the settings of the last question have it, as the next two */
    int64_t taken_us, refused_us;
    struct relay_callout_stats counts;
};

struct relay_callouts *relay_callouts_new(uint64_t octets_max); /* NULL: memory is short */

/* When no loop runs any more; who still waits hears nothing. NULL is accepted. */
void relay_callouts_free(struct relay_callouts *c);

/* ---- callout.c, under the lock ---- */

/* The next that waits, or NULL; it is asked from now on. */
struct callout_entry *callout_take(struct callout_dest *d);

/* To the front again. */
void callout_put_back(struct callout_entry *e);

/* It is answered: remembered or forgotten, and whoever waits is told. `words` may be empty. */
void callout_answer(struct relay *r, struct callout_entry *e, enum policy_recipient_said said,
                    uint16_t code, struct str words);

/* Whoever waits for it is told that it cannot be told; it goes on being asked about. */
void callout_release(struct relay *r, struct callout_entry *e, struct str why);

/* Nobody is to wait for it for some seconds, nor those who do now. */
void callout_rest(struct relay *r, struct callout_dest *d, struct str why, int64_t now_ns);

/* Has nothing to do and no connection, and does not rest: it is gone. */
bool callout_free_if_unused(struct relay *r, struct callout_dest *d, int64_t now_ns);

/* ---- asking.c ---- */

/* Once a second, and when woken. On the loop. */
void relay_asking_pump(struct relay_loop *rl);
void relay_asking_tick(struct relay_loop *rl);

/* The loop stops: nobody waits any more. */
void relay_asking_stop(struct relay_loop *rl);
