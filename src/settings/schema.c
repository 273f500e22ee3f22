#include "settings/schema.h"

#include "settings/check.h"
#include "settings/errors.h"
#include "settings/json.h"
#include "settings/value.h"

/* A host may be called what is no valid name; the gateway starts all the same. */
static const char *usable_hostname(const struct settings_host *host,
                                   char room[SETTINGS_DOMAIN_SIZE])
{
    bool ok = host->hostname && settings_domain_normalise(str_of(host->hostname), room) &&
              !strchr(room, '_');

    return ok ? room : "localhost";
}

static void warn_about_hostname(struct settings_check *c)
{
    if (c->hostname_from_host && strcmp(c->hostname, "localhost") == 0)
        settings_errors_add(c->errors, SETTINGS_WARNING, "/identity/hostname",
                            "this host has no name that other hosts can use; give one");
}

/* The value of a document that was read; it is changed: "confirm" is taken out. */
static enum pt_err parse_read(struct settings_check *c, json_t *document, struct settings **out)
{
    json_t *confirm = json_incref(json_object_get(document, "confirm")), *checked;
    enum pt_err err = PT_ERR_INVALID;

    json_object_del(document, "confirm");
    checked = settings_check_table(c, document);
    if (checked) {
        settings_check_features(c, checked);
        settings_check_rules(c, checked);
        settings_check_confirmed(c, checked, confirm);
        warn_about_hostname(c);
    }
    if (c->errors->error_count == 0 && !c->no_memory && checked) {
        struct settings *s = settings_value_new(c, checked);

        err = s ? PT_ERR_OK : PT_ERR_NOMEM;
        if (s)
            *out = s;
    } else if (c->no_memory || c->errors->error_count == 0) {
        err = PT_ERR_NOMEM;
    }
    json_decref(checked);
    json_decref(confirm);
    return err;
}

enum pt_err settings_parse(const char *json, size_t n, const struct settings_host *host,
                           struct settings **out, struct settings_errors *errors)
{
    struct settings_check c = { .host = host, .errors = errors };
    char hostname[SETTINGS_DOMAIN_SIZE];
    json_t *document;
    enum pt_err err;

    settings_errors_clear(errors);
    err = settings_json_read((struct str){ json, n }, "the document", &document, errors);
    if (err != PT_ERR_OK)
        return err;
    c.hostname = usable_hostname(host, hostname);
    buf_init(&c.pointer, 16 * 1024);
    err = parse_read(&c, document, out);
    buf_done(&c.pointer);
    json_decref(document);
    return err;
}
