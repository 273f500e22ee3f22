/* Documents as text: patching, picking, printing. */
#include <stdio.h>
#include <stdlib.h>

#include "settings/auth.h"
#include "settings/errors.h"
#include "settings/json.h"
#include "settings/lists.h"

/* ---- lists by name ---- */

/* In compact JSON a quotation mark that is part of a string has a backslash before it, so that
 * nothing but the member itself reads like this. */
static const struct str list_members[SETTINGS_LISTS] = { STR("\"deny_list\":\"sha256:"),
                                                         STR("\"permit_list\":\"sha256:"),
                                                         STR("\"relay_domains\":\"sha256:") };

/* Where a list's name begins, its quotation mark included, behind `from`; or the end. */
static size_t next_name(struct str document, size_t from)
{
    for (ptrdiff_t at = (ptrdiff_t)from; (at = str_find(document, '"', (size_t)at)) >= 0; at++)
        for (int i = 0; i < SETTINGS_LISTS; i++)
            if (str_eq(str_head(str_from(document, (size_t)at), list_members[i].n),
                       list_members[i]))
                return (size_t)at + list_members[i].n - sizeof "sha256:";
    return document.n;
}

static void add_list(const struct settings_list *list, struct buf *out)
{
    BUF_LIT(out, "[");
    settings_list_write_json(list, 0, list->count, out);
    BUF_LIT(out, "]");
}

enum pt_err
settings_document_expand(struct str document,
                         struct settings_list *(*find)(void *ctx, const struct settings_hash *hash),
                         void *ctx, struct buf *out)
{
    size_t at = 0, name;

    while ((name = next_name(document, at)) < document.n) {
        struct str text = str_head(str_from(document, name + 1), SETTINGS_LIST_NAME_SIZE - 1);
        struct settings_hash hash;
        struct settings_list *list =
            settings_list_name_parse(text, &hash) ? find(ctx, &hash) : NULL;

        if (!list)
            return PT_ERR_NOTFOUND;
        buf_add_str(out, (struct str){ document.p + at, name - at });
        add_list(list, out);
        settings_list_unref(list);
        at = name + 2 + text.n;
    }
    buf_add_str(out, str_from(document, at));
    return out->failed ? PT_ERR_NOMEM : PT_ERR_OK;
}

static struct settings_list *own_list(void *ctx, const struct settings_hash *hash)
{
    const struct settings_list *list = settings_list_with_hash(ctx, hash);

    return list ? settings_list_ref(list) : NULL;
}

void settings_document_full(const struct settings *s, struct buf *out)
{
    if (settings_document_expand(str_of(s->document), own_list, (void *)s, out) != PT_ERR_OK)
        out->failed = true;
}

/* ---- RFC 7396 ---- */

/* Names of lists are for the store alone. */
static bool names_list(const json_t *patch, struct settings_errors *errors)
{
    uint32_t before = errors->error_count;

    for (int i = 0; i < SETTINGS_LISTS; i++) {
        const struct settings_list_place *place = &settings_list_places[i];
        const json_t *parent = settings_list_parent(patch, (enum settings_list_of)i);

        if (json_is_string(json_object_get(parent, place->key)))
            settings_errors_add(errors, SETTINGS_ERROR, place->pointer,
                                "must be a list, not a string");
    }
    return errors->error_count > before;
}

static bool merge_member(json_t *result, const char *key, json_t *patch);

/* A new reference to what `target`, which may be NULL, becomes; NULL when memory is short. */
static json_t *merge(json_t *target, json_t *patch)
{
    json_t *result, *value;
    const char *key;

    if (!json_is_object(patch))
        return json_incref(patch);
    result = json_is_object(target) ? json_copy(target) : json_object();
    json_object_foreach(patch, key, value) if (result && !merge_member(result, key, value))
    {
        json_decref(result);
        return NULL;
    }
    return result;
}

static bool merge_member(json_t *result, const char *key, json_t *patch)
{
    json_t *merged;

    if (json_is_null(patch)) {
        json_object_del(result, key);
        return true;
    }
    merged = merge(json_object_get(result, key), patch);
    return merged && json_object_set_new_nocheck(result, key, merged) == 0;
}

static enum pt_err merge_texts(struct str document, struct str patch, char **out,
                               struct settings_errors *errors, json_t **read)
{
    enum pt_err err = settings_json_read(document, "the document", &read[0], errors);
    char *text;

    if (err == PT_ERR_OK)
        err = settings_json_read(patch, "the patch", &read[1], errors);
    if (err != PT_ERR_OK)
        return err;
    if (!json_is_object(read[1])) {
        settings_errors_add(errors, SETTINGS_ERROR, "", "the patch must be an object");
        return PT_ERR_INVALID;
    }
    if (names_list(read[1], errors))
        return PT_ERR_INVALID;
    read[2] = merge(read[0], read[1]);
    text = read[2] ? json_dumps(read[2], JSON_COMPACT) : NULL;
    if (!text)
        return PT_ERR_NOMEM;
    *out = text;
    return PT_ERR_OK;
}

enum pt_err settings_merge_patch(struct str document, struct str patch, char **out,
                                 struct settings_errors *errors)
{
    json_t *read[3] = { NULL };
    enum pt_err err;

    settings_errors_clear(errors);
    err = merge_texts(document, patch, out, errors, read);
    for (int i = 0; i < 3; i++) {
        settings_document_wipe(read[i]);
        json_decref(read[i]);
    }
    return err;
}

/* ---- picking and printing ---- */

static int add_octets(const char *octets, size_t n, void *out)
{
    buf_add(out, octets, n);
    return 0;
}

static enum pt_err print(const json_t *value, size_t flags, struct buf *out)
{
    if (json_dump_callback(value, add_octets, out, flags | JSON_ENCODE_ANY) != 0 || out->failed)
        return PT_ERR_NOMEM;
    return PT_ERR_OK;
}

static enum pt_err read_quietly(struct str document, json_t **out)
{
    struct settings_errors errors;
    enum pt_err err;

    settings_errors_init(&errors);
    err = settings_json_read(document, "the document", out, &errors);
    settings_errors_done(&errors);
    return err;
}

/* The member or element; NULL where there is none. Borrowed. */
static json_t *pick(const json_t *from, struct str key)
{
    char *name;
    json_t *value;
    uint64_t index;

    if (json_is_array(from))
        return str_to_u64(key, &index) ? json_array_get(from, index) : NULL;
    name = str_dup(key);
    value = name ? json_object_get(from, name) : NULL;
    free(name);
    return value;
}

enum pt_err settings_document_get(struct str document, struct str key, struct buf *out)
{
    json_t *whole, *at;
    enum pt_err err = read_quietly(document, &whole);

    if (err != PT_ERR_OK)
        return err;
    at = whole;
    while (at && key.n > 0) {
        ptrdiff_t dot = str_find(key, '.', 0);
        size_t n = dot < 0 ? key.n : (size_t)dot;

        at = pick(at, str_head(key, n));
        key = str_from(key, dot < 0 ? n : n + 1);
    }
    err = at ? print(at, JSON_COMPACT, out) : PT_ERR_NOTFOUND;
    json_decref(whole);
    return err;
}

enum pt_err settings_document_pretty(struct str document, struct buf *out)
{
    json_t *whole;
    enum pt_err err = read_quietly(document, &whole);

    if (err != PT_ERR_OK)
        return err;
    err = print(whole, JSON_INDENT(2), out);
    json_decref(whole);
    BUF_LIT(out, "\n");
    return err == PT_ERR_OK && out->failed ? PT_ERR_NOMEM : err;
}
