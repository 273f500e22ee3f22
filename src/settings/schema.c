#include "settings/schema.h"

#include <stdio.h>
#include <string.h>

#include "settings/auth.h"
#include "settings/check.h"
#include "settings/errors.h"
#include "settings/json.h"
#include "settings/lists.h"
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

/* ---- lists that need not be read ---- */

/* The list of that hash, or NULL; a new reference. */
static struct settings_list *find_list(const struct settings_host *host,
                                       const struct settings_hash *hash)
{
    const struct settings_list *known =
        host->in_force ? settings_list_with_hash(host->in_force, hash) : NULL;

    return known ? settings_list_ref(known) : host->find_list(host->find_ctx, hash);
}

static void take_named(struct settings_check *c, int which, const json_t *name)
{
    struct settings_hash hash;

    if (settings_list_name_parse(settings_json_str(name), &hash))
        c->lists[which] = find_list(c->host, &hash);
    if (!c->lists[which])
        settings_errors_add(c->errors, SETTINGS_ERROR, settings_list_places[which].pointer,
                            "is stored apart, and cannot be read there");
}

/* Where a list is known, an empty one is left in the document. */
static void take_lists(struct settings_check *c, json_t *document)
{
    for (int i = 0; i < SETTINGS_LISTS; i++) {
        const struct settings_list *given = c->host->lists[i];
        json_t *parent = settings_list_parent(document, (enum settings_list_of)i);
        const json_t *value = json_object_get(parent, settings_list_places[i].key);

        pt_assert(!given || parent);
        if (given)
            c->lists[i] = settings_list_ref(given);
        else if (c->host->find_list && json_is_string(value))
            take_named(c, i, value);
        else
            continue;
        if (json_object_set_new(parent, settings_list_places[i].key, json_array()) != 0)
            c->no_memory = true;
    }
}

/* ---- parsing ---- */

/* The value of a document that was read; it is changed: "confirm" is taken out. */
static enum pt_err parse_read(struct settings_check *c, json_t *document, struct settings **out)
{
    json_t *confirm = json_incref(json_object_get(document, "confirm")), *checked;
    enum pt_err err = PT_ERR_INVALID;

    json_object_del(document, "confirm");
    take_lists(c, document);
    checked = settings_check_table(c, document);
    if (checked) {
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
    for (int i = 0; i < SETTINGS_LISTS; i++)
        settings_list_unref(c.lists[i]);
    settings_document_wipe(document);
    json_decref(document);
    return err;
}

enum pt_err settings_parse_entries(json_t *array, struct str pointer, struct settings_list **out,
                                   struct settings_errors *errors)
{
    const struct settings_host host = { 0 };
    struct settings_check c = { .host = &host, .errors = errors };
    struct settings_list *list = NULL;
    json_t *checked;

    settings_errors_clear(errors);
    buf_init(&c.pointer, 16 * 1024);
    buf_add_str(&c.pointer, pointer);
    checked = settings_check_entries(&c, array);
    if (checked && errors->error_count == 0 && !c.no_memory)
        list = settings_value_list(checked);
    json_decref(checked);
    buf_done(&c.pointer);
    if (errors->error_count > 0)
        return PT_ERR_INVALID;
    if (!list)
        return PT_ERR_NOMEM;
    *out = list;
    return PT_ERR_OK;
}
