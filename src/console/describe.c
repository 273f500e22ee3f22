/*
 * console/describe: the description of the API (OpenAPI), with what the console adds to it.
 */
#include <stdlib.h>
#include <string.h>

#include "console/inner.h"
#include "http/client.h"

enum { TIMEOUT_MS = 10000 };

#define V1 "/api/v1"

/* What the console answers itself. */
static const struct described {
    const char *path, *method, *summary;
    const char *members; /* of the body, separated by spaces; "?" behind one that may lack */
    bool open;           /* to those who are not logged in */
} own[] = {
    { V1 "/login", "post", "log in: sets the cookie and gives { \"csrf\" }", "name password code?",
      true },
    { V1 "/logout", "post", "log out; with everywhere all sessions of the account" },
    { V1 "/setup", "get", "is there no account yet, and is this token the one that makes it", NULL,
      true },
    { V1 "/setup", "post", "make the first administrator", "token name password", true },
    { V1 "/me", "get", "who is logged in, with which role, and for how long" },
    { V1 "/me/password", "put", "change one's own password; ends all other sessions",
      "password new_password" },
    { V1 "/me/second-factor", "post", "a key for an authenticator", "password" },
    { V1 "/me/second-factor", "put", "put it into force; gives the recovery codes", "code" },
    { V1 "/me/second-factor", "delete", "do without it again", "password code" },
    { V1 "/admins", "get", "the accounts" },
    { V1 "/admins", "post", "make one", "name role password" },
    { V1 "/admins/{name}", "patch", "another role or password, or no second factor",
      "role? password? second_factor?" },
    { V1 "/admins/{name}", "delete", "remove it with its tokens" },
    { V1 "/tokens", "get", "the tokens of programs" },
    { V1 "/tokens", "post", "make one; the answer has it, once", "name role? expires?" },
    { V1 "/tokens/{id}", "delete", "remove it" },
};

static json_t *body_of(const char *members)
{
    json_t *properties = json_object(), *required = json_array();
    struct str all = str_of(members);

    for (size_t at = 0; at < all.n;) {
        ptrdiff_t space = str_find(all, ' ', at);
        size_t end = space < 0 ? all.n : (size_t)space;
        bool optional = all.p[end - 1] == '?';
        size_t n = end - at - optional;
        bool flag = str_eq((struct str){ all.p + at, n }, STR("second_factor"));

        json_object_setn_new(properties, all.p + at, n,
                             json_pack("{s:s}", "type", flag ? "boolean" : "string"));
        if (!optional)
            json_array_append_new(required, json_stringn(all.p + at, n));
        at = end + 1;
    }
    return json_pack("{s:b, s:{s:{s:{s:s, s:o, s:o, s:b}}}}", "required", 1, "content",
                     "application/json", "schema", "type", "object", "properties", properties,
                     "required", required, "additionalProperties", 0);
}

static json_t *parameters_of(const struct described *d)
{
    const char *open = strchr(d->path, '{');
    json_t *list = json_array();

    if (open)
        json_array_append_new(list, json_pack("{s:s%, s:s, s:b, s:{s:s}}", "name", open + 1,
                                              strlen(open) - 2, "in", "path", "required", 1,
                                              "schema", "type", "string"));
    if (strcmp(d->path, V1 "/logout") == 0)
        json_array_append_new(list, json_pack("{s:s, s:s, s:{s:s}}", "name", "everywhere", "in",
                                              "query", "schema", "type", "boolean"));
    return list;
}

static void add(json_t *paths, const struct described *d)
{
    json_t *path = json_object_get(paths, d->path);
    json_t *op =
        json_pack("{s:s, s:s, s:o, s:{s:{s:s}, s:{s:s, s:{s:{s:{s:s}}}}}}", "summary", d->summary,
                  "description", d->open ? "Of the console; for everybody." : "Of the console.",
                  "parameters", parameters_of(d), "responses", "2XX", "description", "done",
                  "default", "description", "refused or failed", "content",
                  "application/problem+json", "schema", "$ref", "#/components/schemas/problem");

    if (!path) {
        path = json_object();
        json_object_set_new(paths, d->path, path);
    }
    if (op && d->members)
        json_object_set_new(op, "requestBody", body_of(d->members));
    if (op && d->open)
        json_object_set_new(op, "security", json_array());
    json_object_set_new(path, d->method, op);
}

/* How one shows who one is. */
static void add_security(json_t *document)
{
    json_t *components = json_object_get(document, "components");
    json_t *schemes = json_pack("{s:{s:s, s:s, s:s, s:s}, s:{s:s, s:s}}", "session", "type",
                                "apiKey", "in", "cookie", "name", "postern_session", "description",
                                "what changes something needs the header X-CSRF-Token too", "token",
                                "type", "http", "scheme", "bearer");

    json_object_set_new(components, "securitySchemes", schemes);
    json_object_set_new(document, "security", json_pack("[{s:[]}, {s:[]}]", "session", "token"));
}

static json_t *ask_gateway(struct http_exchange *x)
{
    struct http_client *client = http_client_new(console_of(x)->socket, TIMEOUT_MS);
    struct http_call call = { .method = "GET", .target = V1 "/openapi.json" };
    struct http_reply reply;
    json_t *document = NULL;

    if (client && http_client_call(client, &call, &reply, NULL) == PT_ERR_OK) {
        document = reply.status == 200 ? http_reply_json(&reply) : NULL;
        http_reply_done(&reply);
    }
    http_client_free(client);
    return document;
}

static void describe_job(struct http_exchange *x)
{
    json_t *document, *paths;
    struct who who;

    if (!who_may(x, ROLE_VIEWER, &who))
        return;
    document = ask_gateway(x);
    paths = json_object_get(document, "paths");
    if (!json_is_object(paths)) {
        json_decref(document);
        http_problem(x, 503, "The gateway does not answer.");
        return;
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(own); i++)
        add(paths, &own[i]);
    add_security(document);
    http_answer_json(x, 200, document);
}

void describe_get(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, describe_job);
}
