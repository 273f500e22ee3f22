#pragma once
#include <stdbool.h>

#include "base/defs.h"
#include "base/err.h"

/*
 * console: the web side, a process of its own and a client of the gateway's API.
 *
 * It answers with what it composes itself from the API's replies and never passes a request on.
 */

struct console_config {
    const char *state_directory; /* api.sock is there */
    const char *listen;          /* "HOST:PORT", "[IPV6]:PORT"; NULL: CONSOLE_LISTEN_DEFAULT */
    const char *version;
    int listen_fd; /* a listening socket of a service manager, which is taken; -1: none */
    /* Called on the console's thread once it listens, with "http://127.0.0.1:8025/". */
    void (*ready)(void *ctx, const char *url);
    void *ctx;
};

#define CONSOLE_LISTEN_DEFAULT "127.0.0.1:8025"

struct console;

/* Only loopback is allowed: PT_ERR_DENIED otherwise, PT_ERR_INVALID when it is no HOST:PORT,
 * PT_ERR_BUSY when the port is taken. */
PT_NODISCARD enum pt_err console_new(struct console **out, const struct console_config *config,
                                     struct pt_fault *fault);

/* Serves until console_stop(). */
void console_run(struct console *c);

/* Any thread, and signal handlers. */
void console_stop(struct console *c);

void console_free(struct console *c); /* NULL is accepted */

/* Checks HOST:PORT alone: what console_new() would refuse without opening anything. */
PT_NODISCARD enum pt_err console_listen_check(const char *listen, struct pt_fault *fault);
