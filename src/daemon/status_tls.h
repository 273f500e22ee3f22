#pragma once
#include "api/api.h"
#include "gateway/gateway.h"

/*
 * daemon/status_tls: the part of the status about certificates. Within the room only.
 */

struct process;

/* Adds a warning for an administrator; beyond API_WARNINGS_MAX it is left out. (status.c) */
void status_warn(struct api_status *out, bool red, const char *remedy, const char *fmt, ...)
    PT_PRINTF(4, 5);

/* The certificates in force, when they expire, and whether clients get them. `g` NULL: mail is not
 * served yet. May wait for our own listener. */
void status_tls(struct process *p, const struct gateway_stats *g, struct api_status *out);
