#include "settings/lists.h"

#include "settings/check.h"

const struct settings_list_place settings_list_places[SETTINGS_LISTS] = {
    [SETTINGS_LIST_DENY] = { "connections", "control", "deny_list",
                             "/connections/control/deny_list" },
    [SETTINGS_LIST_PERMIT] = { "connections", "control", "permit_list",
                               "/connections/control/permit_list" },
    [SETTINGS_LIST_RELAY_DOMAINS] = { "message_rules", NULL, "relay_domains",
                                      "/message_rules/relay_domains" },
};

json_t *settings_list_parent(const json_t *document, enum settings_list_of which)
{
    const struct settings_list_place *p = &settings_list_places[which];
    json_t *outer = json_object_get(document, p->outer);

    return p->inner ? json_object_get(outer, p->inner) : outer;
}

const struct settings_list *settings_list_of(const struct settings *s, enum settings_list_of which)
{
    switch (which) {
    case SETTINGS_LIST_DENY:
        return s->control.deny_list;
    case SETTINGS_LIST_PERMIT:
        return s->control.permit_list;
    default:
        return s->message_rules.relay_domains;
    }
}

const struct settings_list *settings_list_with_hash(const struct settings *s,
                                                    const struct settings_hash *hash)
{
    for (int i = 0; i < SETTINGS_LISTS; i++) {
        const struct settings_list *list = settings_list_of(s, (enum settings_list_of)i);

        if (settings_hash_eq(&list->hash, hash))
            return list;
    }
    return NULL;
}
