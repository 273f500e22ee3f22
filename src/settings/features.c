/*
 * What a document may ask for but this program may not be able to do. Such a value is refused,
 * never ignored: whoever demands TLS must not get mail in clear. When a feature is there, the
 * daemon says so in settings_host.features; when all are, this file can go.
 */
#include "settings/check.h"
#include "settings/errors.h"

struct asked {
    const char *key;
    const char *harmless; /* the string that asks for nothing; NULL: null and false */
    unsigned feature;
};

static const struct asked tls_keys[] = {
    { "incoming", NULL, SETTINGS_FEATURE_TLS },
    { "incoming_required", NULL, SETTINGS_FEATURE_TLS },
    { "certificate", NULL, SETTINGS_FEATURE_TLS },
    { "implicit_port", NULL, SETTINGS_FEATURE_TLS },
    { "client_certificates", "off", SETTINGS_FEATURE_TLS },
    { "client_ca", NULL, SETTINGS_FEATURE_TLS },
    { "outgoing", NULL, SETTINGS_FEATURE_OUTGOING_TLS },
};

static const struct asked route_keys[] = {
    { "tls", "none", SETTINGS_FEATURE_OUTGOING_TLS },
    { "ca", NULL, SETTINGS_FEATURE_OUTGOING_TLS },
    { "protocol", "smtp", SETTINGS_FEATURE_LMTP },
    { "source", NULL, SETTINGS_FEATURE_ROUTE_SOURCE },
};

static const char *feature_text(unsigned feature)
{
    switch (feature) {
    case SETTINGS_FEATURE_TLS:
    case SETTINGS_FEATURE_OUTGOING_TLS:
        return "this version speaks no TLS yet";
    case SETTINGS_FEATURE_LMTP:
        return "this version speaks no LMTP yet";
    default:
        return "this version cannot choose the address it connects from yet";
    }
}

static bool asks(const struct asked *a, const json_t *value)
{
    if (!value || json_is_null(value) || json_is_false(value))
        return false;
    return !a->harmless || !str_eq(settings_json_str(value), str_of(a->harmless));
}

static void check_keys(struct settings_check *c, const json_t *object, const struct asked *keys,
                       size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t mark;

        if (c->host->features & keys[i].feature ||
            !asks(&keys[i], json_object_get(object, keys[i].key)))
            continue;
        mark = settings_check_enter(c, str_of(keys[i].key));
        settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c), "%s",
                            feature_text(keys[i].feature));
        settings_check_leave(c, mark);
    }
}

void settings_check_features(struct settings_check *c, const json_t *document)
{
    json_t *routes = settings_json_at(document, "delivery", "routes", NULL), *route;
    size_t i;

    settings_check_enter(c, STR("connections"));
    settings_check_enter(c, STR("tls"));
    check_keys(c, settings_json_at(document, "connections", "tls", NULL), tls_keys,
               PT_ARRAY_LEN(tls_keys));
    settings_check_leave(c, 0);
    settings_check_enter(c, STR("delivery"));
    settings_check_enter(c, STR("routes"));
    json_array_foreach(routes, i, route)
    {
        size_t mark = settings_check_enter_index(c, i);

        check_keys(c, route, route_keys, PT_ARRAY_LEN(route_keys));
        settings_check_leave(c, mark);
    }
    settings_check_leave(c, 0);
}
