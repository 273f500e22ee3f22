#pragma once
#include "daemon/control.h"

/*
 * daemon/outgoing: what connections to next hops begin TLS with.
 *
 * A participant of settings changes ("outgoing"): reads the CAs that routes name and the trust
 * store of the system. New connections use what is in force, open ones keep what they began with. A
 * CA that is named and cannot be had at start (a damaged file) makes the mail of its routes wait:
 * the status is red, and it is tried again. Functions here may wait for the disk.
 */

/* At start: the contexts of the settings in force, or outgoing_fault. */
void outgoing_begin(struct control *c, const struct settings *s);

/* Tries again what could not be had. */
void outgoing_retry(struct control *c);

/* A reference for the caller, or NULL. */
struct relay_clients *outgoing_clients(struct control *c);

enum pt_err outgoing_prepare(void *ctx, const struct settings *s, void **out,
                             struct settings_refusal *why);
void outgoing_publish(void *ctx, const struct settings *s, void **prepared);
void outgoing_release(void *ctx, void *prepared);
