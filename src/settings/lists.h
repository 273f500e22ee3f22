#pragma once
#include <jansson.h>

#include "settings/settings.h"

/*
 * settings/lists: the three lists that a document may only name, and where they stand in it. For
 * this room only.
 */
struct settings_list_place {
    const char *outer, *inner; /* the objects around it; inner NULL: one */
    const char *key;
    const char *pointer;
};

extern const struct settings_list_place settings_list_places[SETTINGS_LISTS];

/* The object that holds it; NULL: there is none. Borrowed. */
json_t *settings_list_parent(const json_t *document, enum settings_list_of which);

/* That list of a value with that hash, whichever it is; NULL: none. Borrowed. */
const struct settings_list *settings_list_with_hash(const struct settings *s,
                                                    const struct settings_hash *hash);
