#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "tls/certificate_view.h"

/*
 * tls/certificate: what an administrator uploads, read, put in order and looked at.
 *
 * A server certificate is a leaf with its private key and the chain that is sent with it; a CA is
 * one or more certificates without a key, to verify others by. Both are immutable and
 * reference-counted; any thread. Reading and checking use the processor, not the disk, but may
 * take milliseconds: never on an event loop.
 */

struct tls_certificate;

/*
 * Reads an upload. Where it cannot be used, PT_ERR_INVALID and the errors in `findings`, which is
 * set anew; PT_ERR_NOMEM. The key's octets are wiped from all memory but the result. The caller has
 * one reference.
 */
PT_NODISCARD enum pt_err tls_certificate_read(struct tls_certificate **out,
                                              const struct tls_upload *upload,
                                              struct tls_findings *findings);

struct tls_certificate *tls_certificate_ref(struct tls_certificate *c);
void tls_certificate_unref(struct tls_certificate *c); /* wipes the key; NULL is accepted */

/*
 * What is to be said about it at `now_us` (wall time) for a host of that name (.p NULL: not
 * asked): validity, names, chain, strength, use. Only warnings: what is an error was never made.
 * Findings are added.
 */
void tls_certificate_check(const struct tls_certificate *c, struct str hostname, int64_t now_us,
                           struct tls_findings *findings);

const char *tls_certificate_id(const struct tls_certificate *c);

bool tls_certificate_is_ca(const struct tls_certificate *c);

/* Valid as long as the certificate. */
const struct tls_certificate_info *tls_certificate_info(const struct tls_certificate *c);

/* As PEM: private key (PKCS#8, not encrypted), leaf, chain; what tls_certificate_read() reads.
 * The caller wipes the buffer with tls_wipe(). */
void tls_certificate_write(const struct tls_certificate *c, struct buf *out);

/* Zeroes the memory of a buffer and frees it. */
void tls_wipe(struct buf *b);

/* Adds a finding; beyond TLS_FINDINGS_MAX it is only counted. */
void tls_finding_add(struct tls_findings *f, bool error, enum tls_field field, const char *code,
                     const char *remedy, const char *fmt, ...) PT_PRINTF(6, 7);
