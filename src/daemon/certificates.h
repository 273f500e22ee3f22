#pragma once
#include "daemon/control.h"

/*
 * daemon/certificates: the uploaded certificates, and what of them is in force.
 *
 * A participant of settings changes ("tls"): makes the context that sessions begin TLS with. What
 * is named in the settings and cannot be had at start (a damaged file) leaves incoming TLS without
 * a certificate: STARTTLS is not offered, the status is red and says what to do, and it is tried
 * again. Functions here may wait for the disk.
 */

/* Fills what settings checks ask about certificates. */
void certificates_host(const struct state *state, struct settings_host *host);

/* At start: the context of the settings in force, or tls_fault. */
void certificates_begin(struct control *c, const struct settings *s);

/* Tries again what could not be had. True: now it can, and is to be published. */
PT_NODISCARD bool certificates_retry(struct control *c);

enum pt_err certificates_prepare(void *ctx, const struct settings *s, void **out,
                                 struct settings_refusal *why);
void certificates_publish(void *ctx, const struct settings *s, void **prepared);
void certificates_release(void *ctx, void *prepared);
