#pragma once
#include "relay/connection.h"
#include "relay/outcome.h"

/*
 * relay/secure: TLS of one connection to a next hop.
 *
 * What is demanded is the route's `tls`, or what connections.tls.outgoing says where the route says
 * nothing. Opportunistic: where the handshake fails the same endpoint is tried again at once in
 * clear, and is for a while; otherwise nothing is sent unless the demand is met. The handshake runs
 * on threads of its own (tls/handshake.h): until it is done the connection waits, and must not be
 * freed.
 */

struct relay_secure;

/* A socket is connected: what its next hop must be asked for, added to the machine's flags. False:
 * nothing may be sent, conn->reason says why. */
PT_NODISCARD bool relay_secure_prepare(struct relay_conn *conn, unsigned *flags);

/* STARTTLS was answered 220. False: there is no handshake now. Afterwards the machine is told and
 * relay_conn_run() is called. */
PT_NODISCARD bool relay_secure_begin(struct relay_conn *conn);

/* Ends a handshake under way, soon. */
void relay_secure_hurry(struct relay_conn *conn);

/* The machine has ended with a next hop before it took anything. True: it is to be tried again in
 * clear; that is logged and remembered. */
PT_NODISCARD bool relay_secure_falls_back(struct relay_conn *conn);

/* Puts a demand that was not met, with what to do, into conn->reason. */
void relay_secure_explain(struct relay_conn *conn);

/* What protects a delivery. */
void relay_secure_tell(struct relay_conn *conn, struct relay_via *out);

/* With the socket: forgets what was agreed. No handshake is under way, or its threads have ended.
 */
void relay_secure_drop(struct relay_conn *conn);
