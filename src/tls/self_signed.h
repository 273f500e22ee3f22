#pragma once
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/*
 * tls/self_signed: a certificate for a server that nobody has given one.
 */

enum { TLS_SELF_SIGNED_DAYS = 825 };

/*
 * A new ECDSA P-256 key and a certificate for `names` (DNS names and IP addresses, the first also
 * as the subject), as PEM that tls_certificate_read() takes as certificate and key. The caller
 * wipes the buffer with tls_wipe(). Not on an event loop.
 */
PT_NODISCARD enum pt_err tls_self_signed(const char *const *names, size_t count, int64_t now_us,
                                         struct buf *out, struct pt_fault *fault);
