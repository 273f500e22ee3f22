#pragma once
#include <stdbool.h>

#include "base/err.h"

/*
 * daemon/state: the one folder that holds everything the gateway keeps.
 */
struct state {
    char dir[2048]; /* absolute */
    int lock;       /* held as long as the process lives; -1 without */
};

/* Makes the folder if missing (mode 0750) and finds its absolute path. */
PT_NODISCARD enum pt_err state_open(struct state *s, const char *dir, struct pt_fault *fault);

/* Takes STATE/lock for this process; PT_ERR_BUSY when another gateway has it. */
PT_NODISCARD enum pt_err state_lock(struct state *s, struct pt_fault *fault);

/* "STATE/NAME" in a buffer of the caller. */
#define STATE_PATH_SIZE 2200
void state_path(const struct state *s, const char *name, char out[STATE_PATH_SIZE]);
