#pragma once
#include <jansson.h>

#include "base/arena.h"
#include "settings/check.h"
#include "settings/domain.h"
#include "settings/settings.h"

/*
 * settings/value: from a checked document to the value. For this room only.
 */

struct settings_private {
    struct arena arena;
    struct settings_domains *routes;
    unsigned hazards;
    bool hostname_from_host;
};

/* A list from checked entries; NULL when memory is short. */
struct settings_list *settings_value_list(const json_t *entries);

/* The document has no errors. NULL when memory is short. */
struct settings *settings_value_new(const struct settings_check *c, json_t *document);
