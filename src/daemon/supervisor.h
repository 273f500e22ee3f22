#pragma once
#include "daemon/options.h"

/*
 * daemon/supervisor: `postern run`.
 *
 * Starts the gateway and the console as processes of their own, prints the `ready` line once both
 * serve, starts a crashed one again with a growing pause, and ends both on SIGTERM or SIGINT (a
 * second one: now). The children end with it. Returns the exit status.
 */
int supervisor_run(const struct daemon_options *o);
