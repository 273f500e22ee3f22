#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "base/buf.h"
#include "spool/spool.h"
#include "spool/worker.h"

/*
 * spool/file: large content, a file of its own (docs/spool-format.md, section 2.5).
 */

struct spool_file {
    struct spool *spool;
    uint64_t id;
    uint64_t size;      /* octets appended */
    uint32_t table_crc; /* known once finished */

    pthread_mutex_t lock;
    struct spool_file_op *first, *last; /* to be done */
    bool busy;                          /* a worker has it */
    struct spool_job job;               /* writing */
    struct spool_job removal;

    enum pt_err error; /* the first one; worker only */
    int handle;        /* -1: not open */
    bool named;        /* made under a name, for want of O_TMPFILE */
    bool kept;         /* under its final name */
    bool adopted;      /* a message in the log speaks of it */
    uint32_t crc;      /* of the piece under way */
    struct buf table;
    _Atomic uint32_t refs; /* its owner; a removal under way */
};

#define FILE_NAME_SIZE 24
void spool_file_name(uint64_t id, const char *suffix, char out[FILE_NAME_SIZE]);

/* A file that the log speaks of. NULL when memory is short. */
struct spool_file *spool_file_found(struct spool *s, uint64_t id, uint64_t size, uint32_t crc);

/* Its message is durably done with: it is removed by a worker. */
void spool_file_remove(struct spool_file *f);

/* The owner lets go; removed if no message in the log has it. */
void spool_file_leave(struct spool_file *f);

/* Adds `n` octets from `offset` to `out`, checked. */
PT_NODISCARD enum pt_err spool_file_read(struct spool_file *f, uint64_t offset, uint64_t n,
                                         struct block_chain *out);
