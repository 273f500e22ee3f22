#pragma once
#include <stdbool.h>
#include <stdint.h>

/*
 * spool/sweep: large files that were there when the spool was opened, held against the messages
 * that are loaded; what no message claims is removed in the end.
 *
 * Files made since are not in the list and so cannot be meant.
 */

struct spool;

struct sweep_file {
    uint64_t id;
    bool claimed;
};

struct sweep {
    struct spool *spool;
    struct sweep_file *files; /* by ID */
    uint64_t count, room;
    bool listed; /* else nothing is known of any file */
    bool keep;   /* a message could not be read: perhaps it is the one that has a file */
    int error;   /* negative errno: of the first thing that failed */
};

/* Lists what is there, removes unfinished ones. */
void sweep_begin(struct sweep *w, struct spool *s);
/* A message has this file. False: it is gone. */
bool sweep_claim(struct sweep *w, uint64_t id);
/* Removes what was not claimed. */
void sweep_end(struct sweep *w);
void sweep_done(struct sweep *w);
