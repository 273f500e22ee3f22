#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "http/route.h"

static const struct http_route routes[] = {
    { HTTP_METHOD_GET, "/", NULL },
    { HTTP_METHOD_GET, "/api/queue", NULL, .query = "limit cursor" },
    { HTTP_METHOD_POST, "/api/queue/retry", NULL, .body_max = 1 },
    { HTTP_METHOD_GET, "/api/queue/{id}", NULL },
    { HTTP_METHOD_DELETE, "/api/queue/{id}", NULL },
    { HTTP_METHOD_GET, "/api/queue/{id}/part/{n}", NULL },
    { HTTP_METHOD_GET, "/tree/{*}", NULL, .query = HTTP_QUERY_ANY },
    { HTTP_METHOD_OTHER, "/tree/{*}", NULL },
};

static struct http_match match(enum http_method method, const char *path, char *room)
{
    struct http_match m;

    http_route_match(routes, PT_ARRAY_LEN(routes), method, str_of(path), room, &m);
    return m;
}

static void paths_find_their_route(void **state)
{
    static const struct {
        enum http_method method;
        const char *path;
        int route; /* -1: none */
        const char *allow;
        const char *param;
    } cases[] = {
        { HTTP_METHOD_GET, "/", 0, NULL, NULL },
        { HTTP_METHOD_HEAD, "/", 0, NULL, NULL },
        { HTTP_METHOD_POST, "/", -1, "GET, HEAD", NULL },
        { HTTP_METHOD_GET, "//", -1, NULL, NULL },
        { HTTP_METHOD_GET, "/api/queue", 1, NULL, NULL },
        { HTTP_METHOD_GET, "/api/queue/", -1, NULL, NULL },
        { HTTP_METHOD_GET, "/api/Queue", -1, NULL, NULL },
        { HTTP_METHOD_POST, "/api/queue/retry", 2, NULL, NULL },
        { HTTP_METHOD_GET, "/api/queue/retry", 3, NULL, "retry" },
        { HTTP_METHOD_GET, "/api/queue/00AB", 3, NULL, "00AB" },
        { HTTP_METHOD_GET, "/api/queue/a%2Fb", 3, NULL, "a/b" },
        { HTTP_METHOD_DELETE, "/api/queue/00AB", 4, NULL, "00AB" },
        { HTTP_METHOD_PUT, "/api/queue/00AB", -1, "GET, HEAD, DELETE", NULL },
        { HTTP_METHOD_GET, "/api/queue/x/part/%41", 5, NULL, "x" },
        { HTTP_METHOD_GET, "/api/queue/x/part/", -1, NULL, NULL },
        { HTTP_METHOD_GET, "/api/queue/x/part", -1, NULL, NULL },
        { HTTP_METHOD_OTHER, "/", -1, "GET, HEAD", NULL },
        { HTTP_METHOD_GET, "/tree", -1, NULL, NULL },
        { HTTP_METHOD_GET, "/tree/", 6, NULL, "" },
        { HTTP_METHOD_GET, "/tree/a%20b/c/", 6, NULL, "a b/c/" },
        { HTTP_METHOD_OTHER, "/tree/a", 7, NULL, "a" },
    };
    char room[64];

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct http_match m = match(cases[i].method, cases[i].path, room);

        assert_ptr_equal(m.route, cases[i].route < 0 ? NULL : &routes[cases[i].route]);
        assert_int_equal(m.path_known, cases[i].route >= 0 || cases[i].allow);
        if (cases[i].allow)
            assert_string_equal(m.allow, cases[i].allow);
        if (cases[i].param)
            assert_true(str_eq(m.params[0].value, str_of(cases[i].param)));
    }
}

static void parameters_have_names(void **state)
{
    char room[64];
    struct http_match m = match(HTTP_METHOD_GET, "/api/queue/x%20y/part/%41", room);

    assert_int_equal(m.param_count, 2);
    assert_true(str_eq(m.params[0].name, STR("id")));
    assert_true(str_eq(m.params[0].value, STR("x y")));
    assert_true(str_eq(m.params[1].name, STR("n")));
    assert_true(str_eq(m.params[1].value, STR("A")));
}

static void a_broken_escape_is_said(void **state)
{
    char room[64];

    assert_true(match(HTTP_METHOD_GET, "/api/queue/%zz", room).malformed);
    assert_true(match(HTTP_METHOD_GET, "/api/queue/%00", room).malformed);
    assert_false(match(HTTP_METHOD_GET, "/api/queue/%41", room).malformed);
}

static void routes_name_their_query_parameters(void **state)
{
    assert_true(http_route_takes(&routes[1], STR("limit")));
    assert_true(http_route_takes(&routes[1], STR("cursor")));
    assert_false(http_route_takes(&routes[1], STR("lim")));
    assert_false(http_route_takes(&routes[1], STR("")));
    assert_false(http_route_takes(&routes[0], STR("limit")));
    assert_true(http_route_takes(&routes[6], STR("anything")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(paths_find_their_route),
        cmocka_unit_test(parameters_have_names),
        cmocka_unit_test(a_broken_escape_is_said),
        cmocka_unit_test(routes_name_their_query_parameters),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
