#pragma once
#include "base/buf.h"
#include "base/str.h"
#include "settings/settings.h"

/*
 * settings/changes: what is different between two documents, for the audit log.
 *
 * A JSON array of { "pointer", "before", "after" }; a member that is not there on one side is left
 * out. A list that changed is { "pointer", "removed": […], "added": […], "before_count",
 * "after_count" }, the elements named only where they are few. Bounded: what does not fit is
 * counted in a last { "pointer": "", "more": N }. Pure; takes time in proportion to the documents.
 */

/* The same of two values, long lists included, however they stand in the documents; in proportion
 * to the lists only where they differ. */
void settings_changes_between(const struct settings *before, const struct settings *after,
                              size_t max, struct buf *out);

/* Appends to `out`, at most `max` octets (at least 256). Nothing where a document is no JSON. */
void settings_changes_write(struct str before, struct str after, size_t max, struct buf *out);
