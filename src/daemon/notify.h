#pragma once

/*
 * daemon/notify: tells whoever started us how we are.
 *
 * A service manager through $NOTIFY_SOCKET (sd_notify(3)), a supervising `postern run` through the
 * descriptor of --ready-fd.
 */

/* Sends "READY=1", "STOPPING=1" or the like; does nothing without a service manager. */
void notify_service(const char *state);

/* Sockets that the service manager opened for us ($LISTEN_PID, $LISTEN_FDS; sd_listen_fds(3)):
 * their number, at most `max`, written to `out`. They are the caller's, once: a second call gives
 * none. */
unsigned notify_listen_fds(int *out, unsigned max);

/* Writes a line to the supervisor and closes the descriptor; does nothing for -1. */
void notify_supervisor(int *ready_fd, const char *line);
