/* Documents as text: patching, picking, printing. */
#include <stdlib.h>

#include "settings/errors.h"
#include "settings/json.h"

/* ---- RFC 7396 ---- */

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
    for (int i = 0; i < 3; i++)
        json_decref(read[i]);
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
