#include <stdio.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/msgid.h"

void api_job(struct http_exchange *x, void (*job)(struct http_exchange *x))
{
    http_work_run(api_of(x)->work, x, job);
}

void api_author(const struct http_exchange *x, char out[API_AUTHOR_SIZE])
{
    struct api_actor actor;

    api_actor_of(x, &actor);
    snprintf(out, API_AUTHOR_SIZE, "%s", actor.name);
}

/* The length of the UTF-8 sequence at the front, or 0. */
static size_t sequence(struct str s)
{
    for (size_t n = 1; n <= 4 && n <= s.n; n++)
        if (str_is_utf8(str_head(s, n)))
            return n;
    return 0;
}

json_t *api_json_str(struct str octets)
{
    struct buf text;
    json_t *value;

    /* NUL is the one well-formed octet that jansson takes and does not read back. */
    if (str_is_utf8(octets) && str_find(octets, 0, 0) < 0)
        return json_stringn(octets.p ? octets.p : "", octets.n);
    buf_init(&text, 3 * octets.n + 1);
    for (size_t at = 0; at < octets.n;) {
        size_t n = sequence(str_from(octets, at));

        if (n && octets.p[at])
            buf_add(&text, octets.p + at, n);
        else
            BUF_LIT(&text, "\xef\xbf\xbd");
        at += n ? n : 1;
    }
    value = text.failed ? NULL : json_stringn(text.p ? text.p : "", text.n);
    buf_done(&text);
    return value;
}

json_t *api_json_time(int64_t wall_us)
{
    char text[CLOCK_RFC3339_SIZE];

    if (wall_us == 0)
        return json_null();
    clock_rfc3339(wall_us, text);
    return json_string(text);
}

void api_json_set(json_t **object, const char *key, json_t *value)
{
    if (!*object) {
        json_decref(value);
    } else if (!value || json_object_set_new_nocheck(*object, key, value) != 0) {
        json_decref(*object);
        *object = NULL;
    }
}

void api_json_add(json_t **array, json_t *value)
{
    if (!*array) {
        json_decref(value);
    } else if (!value || json_array_append_new(*array, value) != 0) {
        json_decref(*array);
        *array = NULL;
    }
}

json_t *api_json_list(json_t *items, json_t *next, uint64_t total)
{
    json_t *list = json_object();

    api_json_set(&list, "items", items);
    api_json_set(&list, "next", next ? next : json_null());
    api_json_set(&list, "total", json_integer((json_int_t)total));
    return list;
}

bool api_param_id(struct http_exchange *x, uint64_t *out)
{
    if (msgid_parse(http_exchange_param(x, "id"), out))
        return true;
    http_problem(x, 404, "There is no message with that ID.");
    return false;
}

bool api_query_limit(struct http_exchange *x, uint32_t fallback, uint32_t max, uint32_t *out)
{
    uint64_t limit;

    if (!http_exchange_query_u64(x, "limit", fallback, &limit) || limit == 0 || limit > max) {
        http_problem(x, 400, "limit must be a number from 1 to %u.", max);
        return false;
    }
    *out = (uint32_t)limit;
    return true;
}

void api_problem(struct http_exchange *x, enum pt_err err, const char *detail)
{
    unsigned status = 500;

    switch (err) {
    case PT_ERR_NOTFOUND:
        status = 404;
        break;
    case PT_ERR_INVALID:
        status = 422;
        break;
    case PT_ERR_TOOBIG:
        status = 413;
        break;
    case PT_ERR_BUSY:
    case PT_ERR_EXISTS:
    case PT_ERR_CONFLICT:
    case PT_ERR_DENIED:
        status = 409;
        break;
    case PT_ERR_NOSPACE:
        status = 507;
        break;
    case PT_ERR_AGAIN:
    case PT_ERR_NOMEM:
    case PT_ERR_TIMEOUT:
    case PT_ERR_CLOSED:
        status = 503;
        break;
    default:
        break;
    }
    http_problem(x, status, "%s", detail && *detail ? detail : pt_err_text(err));
}
