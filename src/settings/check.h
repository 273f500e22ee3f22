#pragma once
#include <jansson.h>
#include <stdbool.h>

#include "base/buf.h"
#include "settings/schema.h"
#include "settings/table.h"

/*
 * settings/check: a document against the table and the rules. For this room only.
 *
 * settings_check_table() walks the document along the table and gives a new one: keys in the order
 * of the table, defaults filled in, values in their normal form. settings_check_rules() adds what
 * concerns several values, settings_check_confirmed() what must be confirmed.
 */

struct settings_check {
    const struct settings_host *host;
    struct settings_errors *errors;
    struct buf pointer;   /* of the value at hand */
    const char *hostname; /* the valid name of this host */
    unsigned hazards;     /* enum settings_confirm, found by settings_check_confirmed() */
    const struct settings_list *lists[SETTINGS_LISTS]; /* known ones; NULL: as in the document */
    bool hostname_from_host;                           /* identity.hostname was not given */
    bool no_memory;
};

/* A new reference, or NULL when it is no object or memory is short. Where a value was wrong, and an
 * error added, the member is missing and a list element is null. */
json_t *settings_check_table(struct settings_check *c, json_t *document);

/* The same for an array of list entries. */
json_t *settings_check_entries(struct settings_check *c, json_t *array);

/* These read what the first gave. They draw no conclusion from what is missing because it was
 * wrong. */
void settings_check_rules(struct settings_check *c, const json_t *document);

/* `confirm` is the member of that name, or NULL. */
void settings_check_confirmed(struct settings_check *c, const json_t *document,
                              const json_t *confirm);

/* ---- the pointer of the value at hand ---- */

size_t settings_check_enter(struct settings_check *c, struct str key); /* returns a mark */
size_t settings_check_enter_index(struct settings_check *c, size_t index);
void settings_check_leave(struct settings_check *c, size_t mark);
const char *settings_check_pointer(struct settings_check *c);

/* The member at the keys, ended by NULL; NULL where there is none. */
json_t *settings_json_at(const json_t *document, ...) __attribute__((sentinel));

static inline struct str settings_json_str(const json_t *string)
{
    return (struct str){ json_string_value(string), json_string_length(string) };
}
