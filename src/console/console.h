#pragma once
#include <stdbool.h>

#include "base/defs.h"
#include "base/err.h"

/*
 * console: the web side, a process of its own and a client of the gateway's API.
 *
 * It knows who somebody is and what the role allows; what a request then asks of the gateway is
 * composed anew. Plain HTTP is spoken on loopback only.
 */

struct console_config {
    const char *state_directory; /* api.sock is there */
    /* "HOST:PORT", "[IPV6]:PORT", also with "https://" before it: TLS on loopback too; NULL:
     * CONSOLE_LISTEN_DEFAULT. */
    const char *listen;
    const char *version;
    int listen_fd; /* a listening socket of a service manager, which is taken; -1: none */
    /* Called on the console's thread once it listens, with "http://127.0.0.1:8025/" and, as long as
     * there is no account, the link that makes the first one; else NULL. */
    void (*ready)(void *ctx, const char *url, const char *setup_url);
    void *ctx;
};

#define CONSOLE_LISTEN_DEFAULT "127.0.0.1:8025"

struct console;

/* PT_ERR_INVALID when it is no HOST:PORT or a certificate cannot be used, PT_ERR_BUSY when the port
 * is taken. */
PT_NODISCARD enum pt_err console_new(struct console **out, const struct console_config *config,
                                     struct pt_fault *fault);

/* Serves until console_stop(). */
void console_run(struct console *c);

/* Any thread, and signal handlers. */
void console_stop(struct console *c);

void console_free(struct console *c); /* NULL is accepted */

/* Checks HOST:PORT alone: what console_new() would refuse without opening anything. */
PT_NODISCARD enum pt_err console_listen_check(const char *listen, struct pt_fault *fault);
