#pragma once
#include <jansson.h>
#include <stdint.h>

#include "cli/command.h"
#include "settings/audit.h"

/*
 * cli/offline: the settings while the gateway is down, from the store itself.
 *
 * What is stored here has passed the schema, as a gateway would see it; what only a running gateway
 * can tell (a port that is taken) shows at its next start. JSON results are the caller's; NULL: the
 * line is on stderr.
 */

/* The newest revision's document with all defaults, or the default document. */
json_t *offline_document(struct cli *c);

json_t *offline_revision(struct cli *c, uint64_t number);

/* As the API gives it: { "items", "next", "total" }. */
json_t *offline_history(struct cli *c, uint32_t limit);

/* The same of the audit log, up to the filter's limit. */
json_t *offline_audit(struct cli *c, const struct settings_audit_filter *filter);

/* Exit status. With --dry-run nothing is stored. */
int offline_apply(struct cli *c, struct str document);
int offline_rollback(struct cli *c, uint64_t number);

/* ---- diff.c ---- */

/* [{ "key", "from", "to" }] where they differ, in document order; absent values are left out. Lists
 * of objects or texts that only gained or lost elements give { "key", "removed", "added" }. */
json_t *diff_documents(const json_t *from, const json_t *to);
void diff_print(const json_t *changes);
