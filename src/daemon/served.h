#pragma once
#include "api/api.h"
#include "tls/certificate.h"

/*
 * daemon/served: what a client sees that connects to an SMTP server and begins TLS.
 */

struct served_texts {
    char version[16], cipher[64];
};

/*
 * Connects to out->address ("0.0.0.0" and "[::]" mean loopback), says EHLO and STARTTLS (with
 * out->implicit: nothing), and shakes hands without verifying, with these signature algorithms
 * (NULL: all). Fills unknown, starttls, version, cipher (which lie in `texts`) and error;
 * `*out_seen` is the certificate, a reference for the caller, or NULL. Waits some seconds at most.
 */
void served_look(struct api_served *out, const char *signatures, struct tls_certificate **out_seen,
                 struct served_texts *texts);
