/*
 * The states of the client machine: X(name, seconds, phrase).
 *
 * `seconds` is how long the driver waits without progress before it gives the connection up: the
 * limits of RFC 5321 4.5.3.2, which are minima, and ours where that section names none. `phrase`
 * completes "connection lost while …" in logs and in bounces.
 */
X(GREETING, 300, "waiting for the greeting")
X(EHLO, 300, "sending EHLO")
X(HELO, 300, "sending HELO")
X(STARTTLS, 120, "sending STARTTLS")
X(HANDSHAKE, 120, "negotiating TLS")
X(AUTH, 120, "authenticating")
X(READY, 300, "waiting for the next message")
X(MAIL, 300, "sending MAIL FROM")
X(RCPT, 300, "sending RCPT TO")
X(DATA, 120, "sending DATA")
X(CONTENT, 180, "sending the message")
X(DOT, 600, "sending end of data: message may be delivered more than once")
X(LONE_DOT, 300, "ending a message without recipients")
X(RSET, 300, "sending RSET")
X(NOOP, 300, "sending NOOP")
X(QUIT, 10, "sending QUIT")
X(CLOSED, 0, "closed")
