#pragma once
#include <stdbool.h>

#include "base/defs.h"
#include "base/err.h"
#include "net/addr.h"

/*
 * http/socket: listening and connecting, over Unix sockets with paths of any length.
 *
 * The kernel takes 107 octets of path. A longer one is reached through an open descriptor of its
 * directory (/proc/self/fd/N/NAME).
 */

struct http_unix_path {
    int directory;  /* -1: not needed */
    char path[108]; /* what the kernel is told */
};

/* The directory must exist. */
PT_NODISCARD enum pt_err http_unix_path_open(struct http_unix_path *u, const char *path,
                                             struct pt_fault *fault);
void http_unix_path_done(struct http_unix_path *u);

/* Non-blocking, close-on-exec, listening. */
PT_NODISCARD enum pt_err http_listen_unix(const char *path, unsigned mode, int *out_fd,
                                          struct pt_fault *fault);
/* Non-blocking and connected. PT_ERR_CLOSED: nobody listens there, or takes no more now;
 * PT_ERR_DENIED. On failure *out_fd is -1. */
PT_NODISCARD enum pt_err http_connect_unix(const char *path, int *out_fd, struct pt_fault *fault);

PT_NODISCARD enum pt_err http_listen_tcp(const struct net_endpoint *at, int *out_fd,
                                         struct pt_fault *fault);
