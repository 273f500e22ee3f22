#pragma once
#include <stdatomic.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * base/block: message content in memory, as a chain of pooled blocks.
 *
 * A block is BLOCK_SIZE octets including its head. Blocks come from a small cache of the calling
 * thread and go back to that of the thread that drops them; a shared list evens the two out, so a
 * message may be received on one thread and delivered on another without the allocator's lock.
 * Budgets (base/budget) are the affair of those who use blocks.
 *
 * A chain is owned by one thread at a time. Once filled it may be read by several.
 */

#define BLOCK_SIZE 8192u
#define BLOCK_ROOM (BLOCK_SIZE - (unsigned)offsetof(struct block, data))

struct block {
    struct block *next;
    uint32_t used;
    char data[];
};

struct block_chain {
    struct block *first;
    struct block *last;
    uint64_t size; /* octets over all blocks */
};

/* An empty block, or NULL when memory is short. Any thread. */
struct block *block_get(void);
void block_put(struct block *b);

/* Blocks handed out and not put back, over all threads. A reader sees a recent value. */
uint64_t block_in_use(void);

/* Gives this thread's cache back; call before a thread that used blocks ends. */
void block_thread_done(void);

static inline void block_chain_init(struct block_chain *c)
{
    *c = (struct block_chain){ 0 };
}

/* Frees the blocks and leaves an empty chain. */
void block_chain_done(struct block_chain *c);

/* Copies the octets to the end. False when memory is short: then a part may have been added. */
PT_NODISCARD bool block_chain_add(struct block_chain *c, struct str octets);

/* Moves all of `from` behind `to`, without copying; `from` is empty afterwards. */
void block_chain_move(struct block_chain *to, struct block_chain *from);

/* Keeps `n` octets from `offset`, as far as there are so many; the rest is dropped. */
void block_chain_slice(struct block_chain *c, uint64_t offset, uint64_t n);

/* Copies `n` octets from `offset` to `out`; the chain must hold them. */
void block_chain_copy(const struct block_chain *c, uint64_t offset, char *out, size_t n);
