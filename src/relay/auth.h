#pragma once
#include "relay/connection.h"

/*
 * relay/auth: the password of a destination on its way to a next hop.
 *
 * AUTH itself is the machine's affair (smtp/client.h). A next hop that refuses the password for
 * good is not asked again at its other addresses; the destination rests as if it were unreachable.
 */

/* Puts what to log in with into the machine's configuration. False: it is not there, and
 * conn->reason says so. */
PT_NODISCARD bool relay_auth_prepare(struct relay_conn *conn, struct smtp_client_config *config);

/* All output is written: what of it was a password is wiped. */
void relay_auth_sent(struct relay_conn *conn);

/* The machine has ended before it took anything: says in conn->reason what to do if the password
 * was refused, and leaves the host alone. */
void relay_auth_ended(struct relay_conn *conn);
