#pragma once
#include "api/api.h"
#include "daemon/process.h"

/*
 * daemon/status: how the gateway is, now. Job threads.
 */

/* Fills a zeroed `out`: counts, listeners, the spool, and a warning with its remedy for everything
 * that is not as it should be. */
void process_status(struct process *p, struct api_status *out);
