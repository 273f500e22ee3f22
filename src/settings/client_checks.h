#pragma once
#include <jansson.h>

#include "settings/check.h"
#include "settings/settings.h"
#include "settings/table.h"

/*
 * settings/client_checks: what message_rules say about a session and its sender: helo_checks,
 * reverse_path_checks, max_data_per_connection_mb, and what is asked about recipients. For this
 * room only.
 */

extern const struct schema_node schema_helo_checks[], schema_reverse_path_checks[];

/* Rules about several values. */
void settings_check_client_checks(struct settings_check *c, const json_t *document);

void settings_check_recipient_check(struct settings_check *c, const json_t *document);

/* `message_rules` is the checked object. */
void settings_value_client_checks(const json_t *message_rules, struct settings *s);
