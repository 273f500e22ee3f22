#pragma once
#include <jansson.h>

#include "base/err.h"
#include "base/str.h"
#include "settings/schema.h"

/*
 * settings/json: reading JSON strictly. For this room only.
 *
 * Refused, with line and column in `errors`: a key given twice, ill-formed UTF-8, a NUL, nesting
 * beyond 2,048 levels, anything behind the end, more than SETTINGS_DOCUMENT_MAX octets. A byte
 * order mark in front is passed over.
 */
PT_NODISCARD enum pt_err settings_json_read(struct str text, const char *what, json_t **out,
                                            struct settings_errors *errors);
