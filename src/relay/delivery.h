#pragma once
#include <sys/uio.h>

#include "relay/relay_private.h"
#include "smtp/client.h"
#include "smtp/stuff.h"

/*
 * relay/delivery: one message on one connection: its envelope for the client machine, and its
 * content as slices for writev().
 *
 * Cached content is sent from the message's own blocks. What is not in memory is read back by a
 * file worker in pieces of RELAY_PIECE octets, at most one ahead of the one being sent; all pieces
 * of a loop share its read budget, and who finds it spent waits its turn. A connection that
 * has nothing to send does not wait, or next hops that are silent, and hold the budget meanwhile,
 * would keep the mail of all others: it asks for a small piece beyond the budget.
 *
 * Everything here runs on the connection's loop.
 */

enum { RELAY_PIECE = 256 * 1024, RELAY_PIECE_LEAST = 16 * 1024 };

enum relay_delivery_state {
    RELAY_DELIVERY_FREE,
    RELAY_DELIVERY_LOADING, /* the first octets of the content are on their way */
    RELAY_DELIVERY_READY,   /* may begin */
    RELAY_DELIVERY_BEGUN,   /* with the client machine */
    RELAY_DELIVERY_BROKEN,  /* content cannot be read: see `error` */
};

struct relay_reader;

struct relay_delivery {
    struct smtp_client_message m;
    struct smtp_client_rcpt one_rcpt;
    struct relay_result *results; /* room for one per recipient */
    struct relay_result one_result;
    struct relay_conn *conn;
    struct relay_group *group;
    struct spool_message *message;
    uint8_t state; /* enum relay_delivery_state */
    bool reused;   /* not the first of its connection */
    int64_t begun_ns;

    struct block_chain piece;  /* read back; empty while content is cached */
    const struct block *block; /* where the next slice begins */
    uint32_t at;
    uint64_t asked; /* octets of content asked for so far */
    uint64_t given; /* octets described by slices so far */
    bool starved;   /* waits for the read budget */
    enum pt_err error;
    struct relay_reader *reader; /* a piece is on its way, or here: */
    bool arrived;
    uint64_t held; /* what `piece` takes of the read budget */
    struct smtp_stuff stuff;
    bool all_given; /* the terminator, too */
};

/* Takes a busy group. False: memory is short, nothing happened. */
PT_NODISCARD bool relay_delivery_init(struct relay_delivery *d, struct relay_conn *conn,
                                      struct relay_group *g);

/* The slot is free afterwards; the group is the caller's affair. */
void relay_delivery_done(struct relay_delivery *d);

/* Has the header octets beyond ASCII? When READY. */
bool relay_delivery_header_8bit(const struct relay_delivery *d);

/* Before the first slice. */
void relay_delivery_start(struct relay_delivery *d, enum smtp_client_way way);

enum relay_slices {
    RELAY_SLICES_SOME,  /* as many as there is room for, or all there are just now */
    RELAY_SLICES_ALL,   /* the content is described to its end */
    RELAY_SLICES_WAIT,  /* the next piece is not here; relay_conn_content_ready() will tell */
    RELAY_SLICES_BARE,  /* a bare CR or LF: must not be sent */
    RELAY_SLICES_ERROR, /* cannot be read, see `error` */
};

/*
 * Adds slices to iov[*count], up to iov[max - 1]. They stay valid until the next call, which is
 * allowed only when all before are sent, and until relay_delivery_done().
 */
enum relay_slices relay_delivery_slices(struct relay_delivery *d, struct iovec *iov, int *count,
                                        int max);

/* The loop's budget has room again: those that wait get their turn. */
void relay_delivery_feed_starved(struct relay_loop *rl);

/* ---- reading content back, also for notices ---- */

struct relay_reader {
    struct spool_read read;
    struct mail mail;
    struct relay_loop *rl;
    struct spool_message *message; /* a reference */
    uint64_t charged;
    void (*done)(struct relay_reader *reader, void *owner); /* on the loop */
    void *owner;                                            /* NULL: nobody waits any more */
};

/* NULL when memory is short. `done` gets the reader and must end it. */
struct relay_reader *relay_reader_start(struct relay_loop *rl, struct spool_message *m,
                                        uint64_t offset, uint64_t length,
                                        void (*done)(struct relay_reader *reader, void *owner),
                                        void *owner);

/* Frees it with what is left of its content. */
void relay_reader_end(struct relay_reader *reader);
