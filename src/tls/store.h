#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/defs.h"
#include "base/err.h"
#include "tls/certificate.h"

/*
 * tls/store: the uploaded certificates, in STATE/tls: one file each, ID.pem for a server
 * certificate with its key, ID.ca.pem for a CA; mode 0600, written whole or not at all.
 *
 * Calls wait for the disk: never on an event loop. Any thread; two that change the same ID at
 * once end with one of the two results.
 */

/* Makes the folder (0700) when missing. */
PT_NODISCARD enum pt_err tls_store_open(const char *state_directory, struct pt_fault *fault);

/* Keeps it under its ID; one that is there already stays. */
PT_NODISCARD enum pt_err tls_store_put(const char *state_directory, const struct tls_certificate *c,
                                       struct pt_fault *fault);

/* PT_ERR_NOTFOUND, or PT_ERR_CORRUPT: the file is not what was written. The caller has one
 * reference. */
PT_NODISCARD enum pt_err tls_store_get(const char *state_directory, struct str id,
                                       struct tls_certificate **out, struct pt_fault *fault);

/* PT_ERR_NOTFOUND: there was none. */
PT_NODISCARD enum pt_err tls_store_remove(const char *state_directory, struct str id,
                                          struct pt_fault *fault);

/* The IDs in ascending order, at most `max`; `*out_total` is how many there are. */
struct tls_store_entry {
    char id[TLS_ID_SIZE];
    bool ca;
    int64_t uploaded_us; /* wall time */
};
PT_NODISCARD enum pt_err tls_store_list(const char *state_directory, struct tls_store_entry *out,
                                        uint32_t max, uint32_t *out_total, struct pt_fault *fault);
