#pragma once
#include "daemon/options.h"

/*
 * daemon/gateway_process: `postern gateway`, from start to end.
 *
 * Starts the threads, serves, and stops on SIGTERM or SIGINT: listeners close, idle sessions get
 * 421, messages under way get 10 s, deliveries past their final dot 20 s, 25 s in all; a second
 * signal means now. Returns the exit status: 0 after an orderly stop, 1 when it could not start
 * (the state folder cannot be used, or another gateway has it), with one line on stderr.
 */
int gateway_process_run(struct daemon_options *o);
