/*
 * api/openapi: a description of the API (OpenAPI 3.1), made from the table of routes, so that it
 * cannot say what is not there. The settings document is described by its own JSON Schema.
 */
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "settings/schema.h"

#define PROBLEM "#/components/schemas/problem"
#define SETTINGS "#/components/schemas/settings"

static json_t *reference(const char *to)
{
    return json_pack("{s:s}", "$ref", to);
}

static json_t *content(const char *type, json_t *schema)
{
    return json_pack("{s:{s:o}}", type, "schema", schema);
}

static void add_parameter(json_t **list, struct str name, const char *in)
{
    json_t *p = json_object();

    api_json_set(&p, "name", api_json_str(name));
    api_json_set(&p, "in", json_string(in));
    if (strcmp(in, "path") == 0)
        api_json_set(&p, "required", json_true());
    api_json_set(&p, "schema", json_pack("{s:s}", "type", "string"));
    api_json_add(list, p);
}

static json_t *parameters(const struct http_route *route)
{
    struct str pattern = str_of(route->pattern), query = str_of(route->query);
    json_t *list = json_array();
    ptrdiff_t at = 0;

    while ((at = str_find(pattern, '{', (size_t)at)) >= 0) {
        ptrdiff_t end = str_find(pattern, '}', (size_t)at);

        add_parameter(&list, (struct str){ pattern.p + at + 1, (size_t)(end - at - 1) }, "path");
        at = end;
    }
    for (size_t from = 0; from < query.n;) {
        ptrdiff_t space = str_find(query, ' ', from);
        size_t end = space < 0 ? query.n : (size_t)space;

        add_parameter(&list, (struct str){ query.p + from, end - from }, "query");
        from = end + 1;
    }
    return list;
}

static bool is_settings(const struct http_route *route)
{
    return strcmp(route->pattern, "/api/v1/settings") == 0;
}

/* { TYPE: { "schema": … } } for each of the types; JSON has the schema, all else is a string. Takes
 * the reference to `schema`. */
static json_t *contents(const char *types, json_t *schema)
{
    struct str rest = str_of(types ? types : "application/json");
    json_t *all = json_object();

    for (size_t at = 0; at < rest.n;) {
        ptrdiff_t space = str_find(rest, ' ', at);
        size_t end = space < 0 ? rest.n : (size_t)space;
        char *type = str_dup((struct str){ rest.p + at, end - at });
        bool json = type && strstr(type, "json");

        if (type)
            api_json_set(
                &all, type,
                json_pack("{s:o}", "schema",
                          json ? json_incref(schema) : json_pack("{s:s}", "type", "string")));
        free(type);
        at = end + 1;
    }
    json_decref(schema);
    return all;
}

/* Entries of a list: what is to be added and removed. */
static json_t *entries_schema(void)
{
    return json_pack("{s:s, s:{s:[{s:s}, {s:s, s:[s], s:{s:{s:s}, s:{s:s}, s:{s:s, s:s}}}]}}",
                     "type", "array", "items", "oneOf", "type", "string", "type", "object",
                     "required", "network", "properties", "network", "type", "string", "comment",
                     "type", "string", "expires", "type", "string", "format", "date-time");
}

static json_t *list_patch_schema(void)
{
    return json_pack("{s:s, s:{s:o, s:o, s:{s:s, s:{s:[s]}}}}", "type", "object", "properties",
                     "add", entries_schema(), "remove", entries_schema(), "confirm", "type",
                     "array", "items", "enum", "empty_permit_list");
}

static json_t *object_schema(const struct http_route *route)
{
    if (strstr(route->pattern, "/connections/lists/"))
        return list_patch_schema();
    return is_settings(route) && route->method != HTTP_METHOD_PATCH
               ? reference(SETTINGS)
               : json_pack("{s:s}", "type", "object");
}

/* What may be sent; NULL: nothing. Under a path with a name nothing need be sent. */
static json_t *request_body(const struct http_route *route)
{
    if (route->body_max == 0)
        return NULL;
    return json_pack("{s:b, s:o}", "required",
                     !strstr(route->pattern, "/{") && !(route->gives && !*route->gives), "content",
                     contents(route->takes, object_schema(route)));
}

/* The good answer, the problem document, and for the settings what a tag does. */
static json_t *responses(const struct http_route *route)
{
    bool empty = route->gives && !*route->gives;
    bool get = route->method == HTTP_METHOD_GET;
    json_t *all = json_object(), *good = json_pack("{s:s}", "description", "done");

    if (!empty)
        api_json_set(&good, "content",
                     contents(route->gives, get && is_settings(route)
                                                ? reference(SETTINGS)
                                                : json_pack("{s:s}", "type", "object")));
    api_json_set(&all, empty ? "204" : "200", good);
    if (get && is_settings(route))
        api_json_set(&all, "304", json_pack("{s:s}", "description", "as If-None-Match has it"));
    api_json_set(&all, "default",
                 json_pack("{s:s, s:o}", "description", "refused or failed", "content",
                           content("application/problem+json", reference(PROBLEM))));
    return all;
}

static json_t *operation(const struct http_route *route)
{
    json_t *op = json_object(), *body = request_body(route);

    api_json_set(&op, "summary", json_string(route->summary));
    api_json_set(&op, "parameters", parameters(route));
    if (body)
        api_json_set(&op, "requestBody", body);
    api_json_set(&op, "responses", responses(route));
    return op;
}

static json_t *paths(void)
{
    json_t *all = json_object();

    for (size_t i = 0; i < api_route_count; i++) {
        const struct http_route *route = &api_routes[i];
        json_t *path = json_object_get(all, route->pattern);
        char method[8];
        size_t n = 0;

        for (const char *c = http_method_name(route->method); *c && n + 1 < sizeof method; c++)
            method[n++] = ascii_lower(*c);
        method[n] = 0;
        if (!path) {
            api_json_set(&all, route->pattern, json_object());
            path = json_object_get(all, route->pattern);
        }
        if (json_object_set_new(path, method, operation(route)) != 0)
            api_json_set(&all, route->pattern, NULL);
    }
    return all;
}

static json_t *problem_schema(void)
{
    return json_pack("{s:s, s:{s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s}, s:{s:s, s:{s:s, s:{s:{s:s}, "
                     "s:{s:s}}}}}}",
                     "type", "object", "properties", "type", "type", "string", "title", "type",
                     "string", "status", "type", "integer", "detail", "type", "string", "errors",
                     "type", "array", "items", "type", "object", "properties", "pointer", "type",
                     "string", "detail", "type", "string");
}

static json_t *settings_schema(void)
{
    struct buf text;
    json_t *schema;

    buf_init(&text, 16u * 1024 * 1024);
    settings_json_schema(&text);
    schema = text.failed ? NULL : json_loadb(text.p, text.n, 0, NULL);
    buf_done(&text);
    return schema;
}

static void openapi_job(struct http_exchange *x)
{
    json_t *schemas = json_object(), *v = json_object();

    api_json_set(&schemas, "problem", problem_schema());
    api_json_set(&schemas, "settings", settings_schema());
    api_json_set(&v, "openapi", json_string("3.1.0"));
    api_json_set(&v, "info",
                 json_pack("{s:s, s:s}", "title", "Postern", "version", api_of(x)->deps.version));
    api_json_set(&v, "paths", paths());
    api_json_set(&v, "components", json_pack("{s:o}", "schemas", schemas));
    http_answer_json(x, 200, v);
}

void api_openapi_get(struct http_exchange *x)
{
    api_job(x, openapi_job);
}
