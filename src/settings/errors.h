#pragma once
#include "base/defs.h"
#include "settings/schema.h"

/*
 * settings/errors: gathering what is wrong. For this room only.
 */

enum settings_severity { SETTINGS_ERROR, SETTINGS_WARNING };

/* Keeps a problem, or counts it where there are too many. The texts are copied; a pointer or detail
 * longer than 1,000 octets is cut. */
void settings_errors_add(struct settings_errors *e, enum settings_severity severity,
                         const char *pointer, const char *fmt, ...) PT_PRINTF(4, 5);

/* Forgets all. */
void settings_errors_clear(struct settings_errors *e);
