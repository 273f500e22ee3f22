#pragma once
#include <stdbool.h>

/*
 * gateway/secure: a session's TLS handshake, which is done on other threads. Within the room only;
 * the loop's thread.
 */

struct session;

/* Gets all that a handshake needs. False: there are too many, or no memory, or no certificate. */
bool secure_prepare(struct session *s);

/* Begins it: the session must not touch its descriptor until session_secured() is called. */
void secure_begin(struct session *s);

bool secure_under_way(const struct session *s);

/* Ends it early; session_secured() is called soon. */
void secure_hurry(struct session *s);

/* Frees it: before it has begun, when it is done, or once the handshaker is gone. */
void secure_drop(struct session *s);
