#pragma once
#include "http/exchange.h"
#include "settings/audit.h"

/*
 * api/audit: writing down who does what, and showing it.
 *
 * Whoever changes something begins with api_audit_begin() and does it only if that succeeded: what
 * cannot be recorded is not done. api_audit_end() adds how it ended. A change of the settings is
 * recorded in the transaction that stores it: its audit row goes into struct api_change. Job
 * threads only: all of it waits for the disk.
 */

/* Who asks. Over the Unix socket the name of the peer's user; a request of the console names its
 * administrator in the header Postern-Actor, and in Postern-Client where that one sits. From others
 * these headers are not listened to. */
struct api_actor {
    char name[SETTINGS_AUDIT_ACTOR_MAX];
    char origin[SETTINGS_AUDIT_ORIGIN_MAX];
    uint32_t uid;
};
void api_actor_of(const struct http_exchange *x, struct api_actor *out);

/* A row without outcome; the texts of `actor` are borrowed. */
struct settings_audit api_audit_row(const struct api_actor *actor, const char *action,
                                    struct str target);

/* False: it could not be written, and the request is answered. */
PT_NODISCARD bool api_audit_begin(struct http_exchange *x, const char *action, struct str target,
                                  uint64_t *out_id);

/* How what was begun has ended; `detail` may be empty. */
void api_audit_end(struct http_exchange *x, uint64_t id, enum pt_err err, struct str detail);

/* An attempt that came to nothing. That it could not be recorded is logged, and changes nothing. */
void api_audit_refused(struct http_exchange *x, const char *action, struct str target,
                       enum pt_err err, struct str detail);

/* GET /api/v1/audit */
void api_audit_get(struct http_exchange *x);

/* POST /api/v1/audit: the console writes down what it does itself (accounts, tokens, log-ins) in
 * the name of its administrator. Nobody else may: 403. */
void api_audit_post(struct http_exchange *x);
