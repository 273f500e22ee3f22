#pragma once
#include "settings/check.h"
#include "settings/secrets.h"

/*
 * settings/auth: delivery.routes[].auth, its part of the table (table_auth.c), of the rules and of
 * the value (value_auth.c). For this room only.
 */

extern const struct schema_node schema_auth[];

/* At the pointer of the route. */
void settings_check_auth(struct settings_check *c, const json_t *route);

struct settings_auth_room {
    struct settings_auth auth;
    char user[SETTINGS_SECRET_MAX + 1], password[SETTINGS_SECRET_MAX + 1];
    char secret[SETTINGS_SECRET_NAME_SIZE];
};

/* Fills the room, which is zeroed, and puts the secret's name in its place in `from`. False: memory
 * or randomness is short. */
PT_NODISCARD bool settings_value_auth(const struct settings_host *host, json_t *from,
                                      struct settings_auth_room *room);
void settings_value_wipe_auth(struct settings_route *r);

/* Secrets in clear in a document that was read, right or wrong. */
void settings_document_wipe(json_t *document);
