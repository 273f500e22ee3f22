#pragma once

/*
 * Runs commands in this process and keeps what they print.
 */

enum { RUN_TEXT_MAX = 65536 };

struct run {
    int status;
    char out[RUN_TEXT_MAX];
    char err[RUN_TEXT_MAX];
};

/* The state folder of the test, made by run_set_up(). */
extern char run_state[256];

/* "postern WORDS…" with --state; the words end with NULL. The result stays until the next run. */
const struct run *run_words(const char *first, ...);

/* The same without --state. */
const struct run *run_plain(const char *first, ...);

/* Fails unless `text` has (has not) `part`. */
void run_has(const char *text, const char *part);
void run_has_not(const char *text, const char *part);

/* Writes a file under the state folder, making its directory. */
void run_write(const char *name, const char *text);

int run_set_up(void **state);
int run_tear_down(void **state);
