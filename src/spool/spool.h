#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/block.h"
#include "base/err.h"
#include "base/str.h"

/*
 * spool: the durable store of messages.
 *
 * What it promises: when a message's operation is done with PT_ERR_OK, the message is on stable
 * storage and comes back after a crash at any moment, whole, with its recipients' last outcomes,
 * until it is done with. What was answered with an error never comes back. See
 * docs/spool-format.md for the format and the argument.
 *
 * Who does what: any thread submits operations; one thread (the commit thread) takes all that wait
 * and makes them durable as one batch; content that is no longer in memory, and large content, is
 * read and written by file workers. The spool knows no SMTP, no routes, no time but what it is
 * told.
 *
 * Another implementation (a replicated store) must be able to stand behind this header.
 */

struct spool;
struct disk;

/* Something for a file worker; embedded, private. */
struct spool_job {
    struct spool_job *next;
    void (*run)(struct spool_job *job);
};

/* ---- messages ---- */

enum spool_flags {
    SPOOL_8BIT = 1,          /* the content has octets above 127 */
    SPOOL_BODY_8BITMIME = 2, /* MAIL said BODY=8BITMIME */
    SPOOL_SMTPUTF8 = 4,      /* MAIL said SMTPUTF8 */
    SPOOL_OWN = 8,           /* made by us: a bounce or a notice */
    SPOOL_HELD = 16,         /* kept back by an administrator */
};

enum spool_state {
    SPOOL_QUEUED,    /* not tried yet, or tried and deferred: see attempts */
    SPOOL_DELIVERED, /* the next hop has taken it */
    SPOOL_FAILED,    /* given up; a bounce was made where one was due */
    SPOOL_IN_DOUBT,  /* the connection died after the final dot; counts as deferred */
};

struct spool_recipient {
    struct str address;
    struct str orcpt;
    uint8_t notify; /* as smtp/envelope.h; kept, not understood */
    /* What the log says; changed only by its scheduler's owner, under the scheduler's lock. */
    uint8_t state; /* enum spool_state */
    uint16_t code; /* last SMTP code, 0: none */
    uint32_t attempts;
    int64_t next_attempt_us; /* wall time; 0: at once */
    struct str reply; /* last reply or reason, one line; changed by spool_reply_set() alone */
    bool delay_told;  /* a notice that it waits was made */
};

/* Where the log has a message. The spool's own affair; commit thread only. */
struct spool_place {
    struct spool_segment *segment;
    struct spool_message *next, *previous; /* of those in the same segment */
    struct spool_states *states;           /* what the log says of its recipients; NULL: nothing */
    uint64_t offset;                       /* of the frame */
    uint64_t oldest;                       /* epoch of the oldest segment with a frame of it */
    uint32_t meta, content, content_crc;
    uint32_t flags;      /* as the log has them */
    uint32_t generation; /* of its frame: how often it was copied */
    uint32_t left;       /* recipients neither delivered nor failed */
    uint32_t touched;    /* serial number of the last batch with an operation of it */
    uint32_t settling;   /* of these, settled by the batch under way */
    uint8_t life;
    bool copying;
};

/*
 * One accepted transaction. Reference-counted; the fields but `recipients[].state…`, `flags` and
 * `content` never change once it is submitted.
 */
struct spool_message {
    uint64_t id; /* from spool_new_id(); never used twice */
    int64_t received_us;
    uint64_t size; /* octets of the content, trace header included */
    uint32_t flags;
    uint8_t ret;
    struct str reverse_path; /* empty: null */
    struct str envid;
    struct str client; /* address of the client as text; empty for our own */
    struct str helo;
    struct spool_recipient *recipients;
    uint32_t recipient_count;
    /* For each recipient where an administrator sends it, "HOST:PORT"; empty: nowhere else than the
     * routes lead. NULL: all are empty. Changed by spool_message_send_to() alone, like the states.
     */
    struct str *next_hops;

    /* The content, as long as it is in memory (`cached`); otherwise spool_read() it. Only a cache
     * once the message is committed: dropped by spool_message_uncache(). */
    struct block_chain content;
    bool cached;

    struct spool_file *file; /* large content: a file of its own; then `content` is empty */

    struct arena arena;         /* holds the strings and recipients above */
    _Atomic uint32_t refs;      /* private from here on */
    struct spool_piece *packed; /* or these do, for a message found by spool_open() */
    struct spool_place place;
};

/* A new message with one reference, an empty arena and nothing else set; NULL when memory is short.
 * Any thread; the thread that has the only reference may change everything. */
struct spool_message *spool_message_new(void);
struct spool_message *spool_message_ref(struct spool_message *m);
void spool_message_unref(struct spool_message *m); /* NULL is accepted */

/* Gives a recipient another reply, at most SPOOL_REPLY_MAX octets of it; what it had is no longer
 * valid. None, when memory is short. Equal ones are kept once. */
void spool_reply_set(struct str *reply, struct str text);

/* Where a recipient is sent from now on; empty: where the routes lead. False when memory is short:
 * nothing changed. */
PT_NODISCARD bool spool_message_send_to(struct spool_message *m, uint32_t recipient,
                                        struct str next_hop);

/* Drops the cached content of a committed message. The caller must know that nobody reads it: the
 * scheduler's owner, under its lock, while the message is in no delivery. */
void spool_message_uncache(struct spool_message *m);

/* ---- operations ---- */

struct spool_outcome {
    uint32_t recipient; /* index */
    uint8_t state;      /* enum spool_state */
    uint16_t code;
    uint32_t attempts;
    int64_t next_attempt_us;
    struct str reply; /* at most SPOOL_REPLY_MAX octets are kept */
    bool delay_told;  /* a notice that it waits was made, with this outcome or before */
};
#define SPOOL_REPLY_MAX 512u

/* Where a recipient is sent: see spool_message.next_hops. */
struct spool_route {
    uint32_t recipient;  /* index */
    struct str next_hop; /* at most SPOOL_REPLY_MAX octets */
};

enum spool_op_kind {
    SPOOL_OP_MESSAGE, /* keep `message` */
    SPOOL_OP_OUTCOME, /* `outcomes` of `message`; when no recipient is left, the message is done
                         with and its space is freed */
    SPOOL_OP_HOLD,    /* `message` gets SPOOL_HELD */
    SPOOL_OP_RELEASE,
    SPOOL_OP_DELETE, /* `message` is done with */
    SPOOL_OP_ROUTE,  /* `routes` of `message` */
    SPOOL_OP_COPY,   /* the spool's own, when it cleans */
};

/*
 * Owned by the submitter, given up until `done` is called on the commit thread, which must not
 * wait: it posts to a mailbox. `message` needs a reference that outlives the operation.
 */
struct spool_op {
    struct spool_op *next; /* private */
    enum spool_op_kind kind;
    struct spool_message *message;
    const struct spool_outcome *outcomes;
    uint32_t outcome_count;
    uint32_t route_count;
    const struct spool_route *routes;
    /* With an OUTCOME: a message of ours (a bounce) that becomes durable in the same batch, or
     * NULL. Both happen or neither. */
    struct spool_message *bounce;
    /* May wait for another operation's batch, up to a second. */
    bool lazy;
    uint8_t wrote; /* private */
    enum pt_err result;
    void (*done)(struct spool_op *op);
};

/* Any thread. Several operations linked by `next`, in order. */
void spool_submit(struct spool *s, struct spool_op *first);

/* The next message ID. Any thread, no lock. */
uint64_t spool_new_id(struct spool *s);

/* ---- opening ---- */

struct spool_config {
    const char *directory; /* STATE/spool; made if missing */
    struct disk *disk;     /* where files are; disk_real() outside simulations */
    /* 64 MiB; smaller in tests; a multiple of 4096. The first segments are of `segment_first`
     * octets (0: 4 MiB), later ones larger if they fill quickly: little mail needs little disk. */
    uint64_t segment_size, segment_first;
    int64_t now_us; /* wall time at start */
    bool manual;    /* no threads: the caller turns spool_turn() (simulations) */
    bool read_only; /* changes nothing, refuses operations: for a look from outside */
    /* Called on the commit thread after a batch with new messages is durable, before their `done`:
     * the messages, bounces included, in ID order. Takes references if it keeps them. */
    void (*committed)(void *ctx, struct spool_message *const *messages, uint32_t count);
    /* Called on the commit thread, while new mail is taken, for the messages that were there: in
     * the order of their IDs, some at a time, until stats.loading is false. Takes references if it
     * keeps them. Content is not in memory. With read_only all are told during spool_open(). */
    void (*recovered)(void *ctx, struct spool_message *const *messages, uint32_t count);
    /* How many messages found at start are read at a time. 0: 64, which is the most. */
    uint32_t load_piece;
    /* Called for what has rotted, during spool_open() or, for a message found at start, by a file
     * worker; `id` 0: not known. NULL: logged. */
    void (*damaged)(void *ctx, uint64_t id, const struct pt_fault *fault);
    void *ctx;
};

/*
 * Finds where the log ends and which messages live, opens a segment, and returns: new messages are
 * taken at once, the ones that were there are told to `recovered` as they are read. Until all of
 * them are loaded no space is given back.
 */
PT_NODISCARD enum pt_err spool_open(struct spool **out, const struct spool_config *config,
                                    struct pt_fault *fault);

/* Commits what waits, ends the threads, closes. Nothing may be submitted any more; messages and
 * files may be let go afterwards. */
void spool_close(struct spool *s);

/* With `manual`: commits all that waits now as one batch, or one batch's worth; true if there was
 * anything. `now_us` decides whether lazy operations are due. */
bool spool_turn(struct spool *s, int64_t now_us);

/* ---- reading content back ---- */

/* Embedded in its owner; given up until `done` is called on a file worker (or at once with
 * `manual`), which must not wait. */
struct spool_read {
    struct spool_job job; /* private */
    struct spool_message *message;
    uint64_t offset;            /* 0, or where the last read of a large file ended */
    uint64_t length;            /* octets wanted; at the end fewer come */
    struct block_chain content; /* the octets; the owner's afterwards */
    enum pt_err result;         /* PT_ERR_CORRUPT: bit-rot, this message is lost */
    struct spool *spool;        /* private */
    bool keep_damaged;          /* private */
    void (*done)(struct spool_read *r);
};
void spool_read(struct spool *s, struct spool_read *r);

/* ---- large content: a file of its own ---- */

/* Starts one; cheap, no I/O yet. NULL when memory is short. */
struct spool_file *spool_file_new(struct spool *s);

/* Work on a file, done in order by a file worker; `done` is called there and must not wait. */
struct spool_file_op {
    struct spool_file_op *next; /* private */
    struct spool_file *file;
    struct block_chain content; /* appended; the blocks are taken */
    bool finish;                /* after appending: make it durable under its name */
    enum pt_err result;         /* the first error of the file stays */
    void (*done)(struct spool_file_op *op);
};
void spool_file_submit(struct spool *s, struct spool_file_op *op);

/* Drops a file that belongs to no message; never while an operation is under way. Any thread. */
void spool_file_drop(struct spool *s, struct spool_file *file);

/* ---- what is going on ---- */

struct spool_stats {
    uint64_t messages;       /* kept now, those not loaded yet included */
    bool loading;            /* messages found at start are still being loaded */
    uint64_t found, loaded;  /* messages found at start; of these, told or known to be lost */
    uint64_t segments;       /* in use */
    uint64_t free_segments;  /* ready to be used again */
    uint64_t batches, syncs; /* since the start */
    uint64_t operations;     /* since the start */
    uint64_t octets_written; /* since the start */
    bool accepting;          /* false: new messages are refused, see fault */
    struct pt_fault fault;   /* the last trouble; err OK: none */
};
void spool_get_stats(struct spool *s, struct spool_stats *out); /* any thread */
