#pragma once
#include "relay/connection.h"
#include "relay/outcome.h"

/*
 * What the files of a connection share: connection.c holds its life, conversation.c its talk with
 * the next hop, handover.c which messages it takes and gives back.
 */

/* ---- conversation.c ---- */

/* Feeds the machine, acts on its events, writes. The connection may be gone afterwards. */
void relay_conn_run(struct relay_conn *conn, struct str in);
void relay_conn_lost(struct relay_conn *conn, const char *reason);

/* The socket is there: the machine begins. */
void relay_conn_talk(struct relay_conn *conn);

/* ---- handover.c ---- */

/* Takes what it may of its destination's messages into `pulled`, which is empty; how many. Under
 * the lock. `now_us` counts where the next hops share. */
uint32_t relay_conn_pull(struct relay_conn *conn, int64_t now_us);

/* Makes sure that a message is prepared, if there is any; true if it may begin now. */
bool relay_conn_prepare(struct relay_conn *conn);

/* The machine is done with this one. */
void relay_conn_take_results(struct relay_conn *conn, struct relay_delivery *d);

/* Everything in hand that was not begun goes back to the queue. */
void relay_conn_put_back_all(struct relay_conn *conn);

/* The next hop is unreachable: a few of the destination's messages say so, see their `reply`. */
void relay_conn_charge(struct relay_conn *conn);

/* All that is in hand, and some more, fails for good. */
void relay_conn_fail_some(struct relay_conn *conn, struct str text);

/* ---- connection.c ---- */

/* The machine has ended: on to the next candidate, or the end. */
void relay_conn_ended(struct relay_conn *conn);
void relay_conn_go_idle(struct relay_conn *conn);
void relay_conn_leave_idle(struct relay_conn *conn); /* not under the lock */

/* Sends QUIT and no longer counts. */
void relay_conn_quit(struct relay_conn *conn);
