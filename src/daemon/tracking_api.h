#pragma once
#include "api/api.h"

/*
 * daemon/tracking_api: what api_deps has of references and clients. Job threads.
 */
enum pt_err tracking_refusal_find(void *ctx, struct str ref, struct tracking_refusal *out,
                                  struct tracking_span *span, struct pt_fault *fault);
enum pt_err tracking_clients_each(void *ctx,
                                  bool (*show)(void *user, const struct tracking_client *c),
                                  void *user, struct pt_fault *fault);
