#pragma once
#include <stdbool.h>

#include "base/err.h"
#include "gateway/gateway.h"
#include "settings/settings.h"

/*
 * daemon/listening: which sockets the settings ask for, and which we have.
 *
 * A value with references. Not thread-safe; the settings lock of daemon/control guards it.
 */
struct listening {
    struct gateway_listener *listeners[GATEWAY_LISTENERS_MAX];
    bool tls[GATEWAY_LISTENERS_MAX]; /* from the first octet: the implicit_port */
    unsigned count;
    unsigned asked;   /* the first so many are what the settings ask for; the others, on addresses
                         that those cover, are kept open so that no client meets a closed port */
    bool adopted;     /* from a service manager */
    bool tls_refused; /* after a failure: the implicit_port is to blame */
};

/* Takes over what a service manager opened, if anything; what is no listening socket is logged and
 * left alone. Once, at start. */
void listening_adopt(struct listening *out);

/*
 * Makes *out the set that `s` asks for: what `now` has already, or what retires in `gateway` (NULL:
 * nothing does), is shared, not opened again; the rest is bound, and nobody can connect to it yet.
 * Sockets of a service manager (listening_adopt()) are not moved by settings: they stay the set. On
 * failure nothing was changed and `fault` says which address and why: PT_ERR_NOTFOUND is about the
 * address. "loopback" and "all" go without IPv6 where this host has none. With `plain_only` the
 * implicit_port is left out.
 */
PT_NODISCARD enum pt_err listening_prepare(const struct listening *now, struct gateway *gateway,
                                           const struct settings *s, bool plain_only,
                                           struct listening *out, struct pt_fault *fault);

/* From here on clients can connect to all of it. What cannot be had in this last moment is dropped
 * from the set, and said. */
enum pt_err listening_start(struct listening *l, const struct listening *now,
                            struct gateway *gateway, struct pt_fault *fault);

/* Drops the references; a socket nobody else holds is closed. */
void listening_release(struct listening *l);

/* "127.0.0.1:2525": the first address, as a client would name it. */
void listening_name(const struct listening *l, char out[NET_ENDPOINT_SIZE]);
