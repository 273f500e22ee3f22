#pragma once
#include "daemon/control.h"

/*
 * daemon/participants: who takes part in a change of the settings, in this order.
 *
 *     rules      the snapshot that policy decides from, with the addresses of this host
 *     tls        the certificates that sessions are begun with
 *     net        the listening sockets; hands snapshot and sockets to the loops of the gateway
 *     resolver   where DNS questions go
 *     outgoing   what connections to next hops begin TLS with
 *     relay      the routes
 *
 * They work on struct control under its lock of changes (`change`); within the room only.
 */
void participants_register(struct control *c);

/* A snapshot with the addresses of this host, behind `before` (which may be NULL). NULL: memory is
 * short. Needs no lock. */
struct policy_snapshot *participants_snapshot(const struct policy_snapshot *before,
                                              const struct settings *s);

/* At start: the rules of the settings that were read. False: memory is short. */
PT_NODISCARD bool participants_begin(struct control *c, const struct settings *s,
                                     struct pt_fault *fault);

/* At start: by the settings in force, or as near to them as can be had; see resolver_fault. */
void participants_open_resolver(struct control *c);

/* Gateway and relay have come: they take over what is in force. */
void participants_serve(struct control *c);

/* Tries again to listen, or to hand over the routes; true when there is nothing (more) to try. */
PT_NODISCARD bool participants_retry(struct control *c);

void participants_stop_listening(struct control *c);
