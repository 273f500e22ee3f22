#pragma once
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "settings/settings.h"
#include "tls/context.h"

/*
 * relay/clients: what connections to next hops begin TLS with: a context for those whose
 * certificate is only looked at, one for those whose must verify by the system's trust store, one
 * for each CA that a route names.
 *
 * Immutable once made, reference-counted, any thread. Made off the loops: it reads the trust store.
 */

struct relay_clients;

/* A CA by its ID; `ca` NULL: it could not be had, and routes that name it wait. */
struct relay_ca {
    const char *id;
    const struct tls_certificate *ca;
};

/* Takes what it needs of `cas`, which differ. */
PT_NODISCARD enum pt_err relay_clients_new(struct relay_clients **out, const struct relay_ca *cas,
                                           uint32_t count, struct pt_fault *fault);
struct relay_clients *relay_clients_ref(struct relay_clients *c);
void relay_clients_unref(struct relay_clients *c); /* NULL is accepted */

/* The context for a route's demand, borrowed; NULL: its CA could not be had. */
struct tls_client *relay_clients_find(const struct relay_clients *c, enum settings_route_tls demand,
                                      const char *ca);
