#include <string.h>

#include "settings/errors.h"
#include "settings/limits.h"

enum settings_limit_mode settings_value_mode(const json_t *text)
{
    const char *mode = json_string_value(text);

    if (!mode || strcmp(mode, "off") == 0)
        return SETTINGS_LIMIT_OFF;
    return strcmp(mode, "shadow") == 0 ? SETTINGS_LIMIT_SHADOW : SETTINGS_LIMIT_ON;
}

static enum settings_limit_mode mode_of(const json_t *object)
{
    return settings_value_mode(json_object_get(object, "mode"));
}

static uint32_t number(const json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

/* ---- rules ---- */

/* A limit that is asked for and limits nothing is a mistake. */
static void check_limit(struct settings_check *c, const char *key, const json_t *limit)
{
    size_t mark;

    if (mode_of(limit) == SETTINGS_LIMIT_OFF ||
        !json_is_null(json_object_get(limit, "per_address")) ||
        !json_is_null(json_object_get(limit, "per_prefix")))
        return;
    mark = settings_check_enter(c, str_of(key));
    settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c),
                        "limits nothing: give per_address or per_prefix, or \"mode\": \"off\"");
    settings_check_leave(c, mark);
}

void settings_check_limits(struct settings_check *c, const json_t *limits)
{
    settings_check_enter(c, STR("connections"));
    settings_check_enter(c, STR("limits"));
    for (int i = 0; limits && i < SETTINGS_LIMIT_COUNT; i++)
        check_limit(c, settings_limit_keys[i], json_object_get(limits, settings_limit_keys[i]));
    settings_check_leave(c, 0);
}

/* ---- the value ---- */

void settings_value_limits(const json_t *limits, struct settings *s)
{
    const json_t *ban = json_object_get(limits, "ban");

    for (int i = 0; i < SETTINGS_LIMIT_COUNT; i++) {
        const json_t *from = json_object_get(limits, settings_limit_keys[i]);

        s->limits.of[i] = (struct settings_limit){ mode_of(from), number(from, "per_address"),
                                                   number(from, "per_prefix") };
    }
    s->limits.ban_mode = mode_of(ban);
    s->limits.ban_failures = number(ban, "failures");
    s->limits.ban_within_minutes = number(ban, "within_minutes");
    s->limits.ban_minutes = number(ban, "duration_minutes");
}
