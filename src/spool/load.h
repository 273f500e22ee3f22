#pragma once
#include "spool/index.h"
#include "spool/sweep.h"

/*
 * spool/load: the messages that were there at the start, read while new mail is taken.
 *
 * The index knows which live and where their frames stand. A file worker reads them piece by piece,
 * in the order of their IDs; the commit thread takes each piece over between two batches and hands
 * it on. Until all are loaded no segment is freed and nothing is cleaned: whatever the index
 * names stays where it is.
 */

struct spool;
struct spool_message;

enum { LOAD_PIECE = 64 };

enum load_fate {
    LOAD_KEPT,
    LOAD_LOST,       /* or without anything left to do: its space is given up */
    LOAD_UNREADABLE, /* the disk does not give it now: its space is kept */
};

struct load {
    struct spool *spool;
    struct index index;
    struct sweep sweep;
    uint32_t next;    /* the first stub of the piece */
    bool busy;        /* a worker has the piece, or the sweep */
    int64_t again_us; /* not before: memory was short */

    /* The worker's while it is busy. */
    struct spool_job job;
    uint32_t count; /* stubs in the piece; 0: the sweep */
    uint32_t done;  /* of these, read; fewer than `count`: memory is short */
    struct spool_message *messages[LOAD_PIECE];
    uint8_t fates[LOAD_PIECE]; /* enum load_fate */
    char *octets;              /* what was read last */
    uint64_t room;
    _Atomic bool returned;
};

/* Recovery has filled s->load->index: counts what lives. */
void load_count(struct spool *s);

/* Commit thread: takes over what was read, has the next piece read. True if it did anything. */
bool load_turn(struct spool *s);

/* At the end, when no worker runs any more: frees what is there. */
void load_drop(struct spool *s);
