/* delivery.routes[].auth: its part of the rules and of the value. */
#include "settings/auth.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "settings/errors.h"
#include "settings/secrets.h"

/* ---- rules ---- */

static bool is_encrypted(const json_t *tls)
{
    return json_is_string(tls) && (str_eq(settings_json_str(tls), STR("encrypt")) ||
                                   str_eq(settings_json_str(tls), STR("verify")));
}

static void check_secret(struct settings_check *c, const json_t *password)
{
    char room[SETTINGS_SECRET_MAX + 1];
    const struct settings_host *host = c->host;
    size_t mark;

    if (!json_is_string(password) || !settings_secret_is_name(settings_json_str(password)) ||
        !host->secret || host->secrets_may_be_gone)
        return;
    if (host->secret(host->secret_ctx, json_string_value(password), room)) {
        explicit_bzero(room, sizeof room);
        return;
    }
    mark = settings_check_enter(c, STR("password"));
    settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c),
                        "stands for a password that is not kept here; write the password itself");
    settings_check_leave(c, mark);
}

void settings_check_auth(struct settings_check *c, const json_t *route)
{
    const json_t *auth = json_object_get(route, "auth"), *tls = json_object_get(route, "tls");
    const char *wrong = NULL;
    size_t mark;

    if (!auth || c->errors->error_count)
        return;
    mark = settings_check_enter(c, STR("auth"));
    if (!json_object_get(route, "next_hops"))
        wrong = "needs \"next_hops\": a password is for a host that is named, not for whatever "
                "the DNS says";
    else if (!is_encrypted(tls))
        wrong = "needs \"tls\": \"encrypt\" or \"verify\" in this route: a password is never "
                "sent in clear";
    if (wrong)
        settings_errors_add(c->errors, SETTINGS_ERROR, settings_check_pointer(c), "%s", wrong);
    check_secret(c, json_object_get(auth, "password"));
    settings_check_leave(c, mark);
}

/* ---- the value ---- */

/* The same user with the same password is in force already: so it keeps its name. */
static const char *name_in_force(const struct settings *s, const char *user, const char *password)
{
    for (uint32_t i = 0; s && i < s->route_count; i++) {
        const struct settings_auth *a = s->routes[i].auth;

        if (a && a->password && strcmp(a->user, user) == 0 && strcmp(a->password, password) == 0)
            return a->secret;
    }
    return NULL;
}

static bool make_name(char out[SETTINGS_SECRET_NAME_SIZE])
{
    unsigned char random[8];

    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return false;
    memcpy(out, "secret:", 7);
    for (size_t i = 0; i < sizeof random; i++) {
        out[7 + 2 * i] = "0123456789abcdef"[random[i] >> 4];
        out[8 + 2 * i] = "0123456789abcdef"[random[i] & 15];
    }
    out[SETTINGS_SECRET_NAME_SIZE - 1] = 0;
    return true;
}

/* What stands behind a name; without it the route is there, and its mail waits. */
static void find_secret(const struct settings_host *host, struct settings_auth *a,
                        struct settings_auth_room *room)
{
    if (host->secret && host->secret(host->secret_ctx, a->secret, room->password))
        a->password = room->password;
}

bool settings_value_auth(const struct settings_host *host, json_t *from,
                         struct settings_auth_room *room)
{
    json_t *password = json_object_get(from, "password");
    struct settings_auth *a = &room->auth;
    const char *known;

    a->user = room->user;
    a->secret = room->secret;
    memcpy(room->user, json_string_value(json_object_get(from, "user")),
           json_string_length(json_object_get(from, "user")));
    if (settings_secret_is_name(settings_json_str(password))) {
        memcpy(room->secret, json_string_value(password), json_string_length(password));
        find_secret(host, a, room);
        return true;
    }
    memcpy(room->password, json_string_value(password), json_string_length(password));
    a->password = room->password;
    known = name_in_force(host->in_force, a->user, a->password);
    a->fresh = !known;
    if (known)
        memcpy(room->secret, known, SETTINGS_SECRET_NAME_SIZE);
    else if (!make_name(room->secret))
        return false;
    return json_object_set_new(from, "password", json_string(room->secret)) == 0;
}

void settings_value_wipe_auth(struct settings_route *r)
{
    if (r->auth && r->auth->password)
        explicit_bzero(r->auth->password, strlen(r->auth->password));
}

void settings_document_wipe(json_t *document)
{
    json_t *routes = settings_json_at(document, "delivery", "routes", NULL), *route;
    size_t i;

    json_array_foreach(routes, i, route)
    {
        const json_t *password = settings_json_at(route, "auth", "password", NULL);

        if (json_is_string(password) && !settings_secret_is_name(settings_json_str(password)))
            explicit_bzero((char *)json_string_value(password), json_string_length(password));
    }
}
