#pragma once
#include "api/api.h"

/*
 * daemon/tls_check: what would happen if mail were sent to a next hop now. api_deps' tls_check,
 * with the process as `ctx`. Waits for the network, so on a job thread.
 */
enum pt_err tls_check(void *ctx, struct str next_hop, struct str domain,
                      void (*show)(void *user, const struct api_tls_check *seen), void *user,
                      struct pt_fault *fault);
