#include "http/route.h"

#include <stdio.h>

static struct str next_segment(struct str *rest)
{
    ptrdiff_t slash = str_find(*rest, '/', 0);
    struct str segment = slash < 0 ? *rest : str_head(*rest, (size_t)slash);

    *rest = slash < 0 ? STR_NULL : str_from(*rest, (size_t)slash + 1);
    return segment;
}

/* Compares path with pattern; both start with '/'. Fills the parameters, still encoded. */
static bool fits(const char *pattern, struct str path, struct http_match *m)
{
    struct str want = str_from(str_of(pattern), 1), have = str_from(path, 1);

    m->param_count = 0;
    while (want.p && have.p) {
        struct str all = have;
        struct str w = next_segment(&want), h = next_segment(&have);

        if (w.n > 2 && w.p[0] == '{') {
            pt_assert(m->param_count < HTTP_PARAMS_MAX);
            if (str_eq(w, STR("{*}"))) {
                m->params[m->param_count++] = (struct http_param){ STR("*"), all };
                return true;
            }
            if (h.n == 0)
                return false;
            m->params[m->param_count++] = (struct http_param){ { w.p + 1, w.n - 2 }, { h.p, h.n } };
        } else if (!str_eq(w, h)) {
            return false;
        }
    }
    return !want.p && !have.p;
}

static void allow(struct http_match *m, enum http_method method)
{
    size_t used = strlen(m->allow);

    if (strstr(m->allow, http_method_name(method)))
        return; /* by a more general pattern too */
    snprintf(m->allow + used, sizeof m->allow - used, "%s%s%s", used ? ", " : "",
             http_method_name(method), method == HTTP_METHOD_GET ? ", HEAD" : "");
}

static void decode(struct http_match *m, char *room)
{
    for (size_t i = 0; i < m->param_count; i++) {
        struct str *value = &m->params[i].value;
        size_t n;

        if (!http_percent_decode(*value, false, room, &n)) {
            m->malformed = true;
            return;
        }
        *value = (struct str){ room, n };
        room += n;
    }
}

void http_route_match(const struct http_route *routes, size_t count, enum http_method method,
                      struct str path, char *room, struct http_match *out)
{
    *out = (struct http_match){ 0 };
    for (size_t i = 0; i < count; i++) {
        enum http_method m = routes[i].method;

        if (!fits(routes[i].pattern, path, out))
            continue;
        out->path_known = true;
        if (m == method || (m == HTTP_METHOD_GET && method == HTTP_METHOD_HEAD)) {
            out->route = &routes[i];
            decode(out, room);
            return;
        }
        allow(out, m);
    }
    out->param_count = 0;
}

bool http_route_takes(const struct http_route *route, struct str name)
{
    struct str names = str_of(route->query);
    size_t at = 0;

    if (str_eq(names, STR(HTTP_QUERY_ANY)))
        return true;
    while (at < names.n) {
        ptrdiff_t space = str_find(names, ' ', at);
        size_t end = space < 0 ? names.n : (size_t)space;

        if (str_eq(name, (struct str){ names.p + at, end - at }))
            return true;
        at = end + 1;
    }
    return false;
}
