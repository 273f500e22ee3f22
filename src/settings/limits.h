#pragma once
#include <jansson.h>

#include "settings/check.h"
#include "settings/settings.h"
#include "settings/table.h"

/*
 * settings/limits: connections.limits. For this room only.
 */

/* The children of the object (table_limits.c). */
extern const struct schema_node schema_limits[];

/* Their keys, by enum settings_limit_of. */
extern const char *const settings_limit_keys[SETTINGS_LIMIT_COUNT];

/* Rules about several values; `limits` is the checked object, or NULL. */
void settings_check_limits(struct settings_check *c, const json_t *limits);

/* "off", "shadow" or "on"; anything else, and NULL, is off. */
enum settings_limit_mode settings_value_mode(const json_t *text);

/* All but `exempt`; `limits` may be NULL: everything is off. */
void settings_value_limits(const json_t *limits, struct settings *s);
