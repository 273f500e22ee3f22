#pragma once
#include "relay/connection.h"

/*
 * relay/asking: a connection that asks about recipients and delivers nothing (callout.h). It is a
 * relay_conn like any other, but for these turns of its life; `conn->asking` tells.
 */

struct relay_asking;

/* READY with nothing more to read: asks the next question (true), quits (true), or rests. */
PT_NODISCARD bool relay_asking_quiet(struct relay_conn *conn);

/* It has become ready for the first time. */
void relay_asking_ready(struct relay_conn *conn);

/* The question is answered. */
void relay_asking_done(struct relay_conn *conn);

/* Not idle any more. */
void relay_asking_leave_idle(struct relay_conn *conn);

/* It no longer counts with its destination. `why`: nobody could be asked there. */
void relay_asking_left(struct relay_conn *conn, const char *why);

/* Milliseconds without progress until it is given up. */
int64_t relay_asking_silence_ms(const struct relay_conn *conn);

/* The connection is one that asks from now on. */
void relay_asking_begin(struct relay_conn *conn, struct relay_asking *asking);
void relay_asking_free(struct relay_conn *conn);
