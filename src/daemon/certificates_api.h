#pragma once
#include "api/api.h"

/*
 * daemon/certificates_api: what the API asks about certificates, see struct api_deps. `ctx` is the
 * process. They wait for the disk and, tls_served, for our own listener.
 */
enum pt_err certificates_upload(void *ctx, const struct tls_upload *upload,
                                struct tls_findings *findings, char id[TLS_ID_SIZE],
                                struct pt_fault *fault);
enum pt_err certificates_each(void *ctx, struct str id, api_certificate_fn *show, void *user,
                              struct pt_fault *fault);
enum pt_err certificates_remove(void *ctx, struct str id, struct pt_fault *fault);
void certificates_served(void *ctx, void (*show)(void *user, const struct api_served *served),
                         void *user);
