#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "console/files.h"
#include "console/roles.h"
#include "console/sessions.h"
#include "console/throttle.h"

enum { S = 1000000000 };

/* ---- sessions ---- */

static struct account people[] = {
    { .name = "ann", .role = ROLE_ADMINISTRATOR, .serial = 1 },
    { .name = "bob", .role = ROLE_VIEWER, .serial = 2 },
};
static const struct accounts accounts = { .list = people, .count = 2 };

static void a_session_ends_when_it_is_idle_or_old(void **state)
{
    struct sessions *s = sessions_new();
    char id[ACCOUNT_SECRET_SIZE];
    int64_t now = 5 * (int64_t)S;

    sessions_add(s, &people[0], now, id);
    assert_non_null(sessions_find(s, &accounts, str_of(id), now + SESSION_IDLE_S * (int64_t)S));
    assert_null(
        sessions_find(s, &accounts, str_of(id), now + (2 * SESSION_IDLE_S + 1) * (int64_t)S));
    assert_null(sessions_find(s, &accounts, str_of(id), now));

    sessions_add(s, &people[0], now, id);
    for (int64_t t = 0; t <= SESSION_LIFE_S; t += SESSION_IDLE_S)
        assert_non_null(sessions_find(s, &accounts, str_of(id), now + t * S));
    assert_null(sessions_find(s, &accounts, str_of(id), now + (SESSION_LIFE_S + 1) * (int64_t)S));
    sessions_free(s);
}

/* A stream of events that is open is no sign of life. */
static void looking_at_a_session_keeps_it_from_no_end(void **state)
{
    struct sessions *s = sessions_new();
    char id[ACCOUNT_SECRET_SIZE];

    sessions_add(s, &people[0], 0, id);
    for (int64_t t = 0; t <= SESSION_IDLE_S; t += 60)
        assert_non_null(sessions_peek(s, &accounts, str_of(id), t * S));
    assert_null(sessions_peek(s, &accounts, str_of(id), (SESSION_IDLE_S + 1) * (int64_t)S));
    assert_null(sessions_find(s, &accounts, str_of(id), 0));
    sessions_free(s);
}

static void an_offered_key_is_the_sessions_own(void **state)
{
    static const uint8_t key[ACCOUNT_KEY_SIZE] = "a key that is secret";
    struct sessions *s = sessions_new();
    char one[ACCOUNT_SECRET_SIZE], other[ACCOUNT_SECRET_SIZE];
    uint8_t got[ACCOUNT_KEY_SIZE];

    sessions_add(s, &people[0], 0, one);
    sessions_add(s, &people[0], 0, other);
    assert_false(sessions_offered(s, str_of(one), got));
    sessions_offer(s, str_of(one), key);
    assert_false(sessions_offered(s, str_of(other), got));
    assert_true(sessions_offered(s, str_of(one), got));
    assert_memory_equal(got, key, sizeof key);
    sessions_end(s, str_of(one));
    assert_false(sessions_offered(s, str_of(one), got));
    sessions_offer(s, str_of(one), key);
    sessions_free(s);
}

static void a_session_ends_with_its_account_as_it_was(void **state)
{
    struct sessions *s = sessions_new();
    char ann[ACCOUNT_SECRET_SIZE], bob[ACCOUNT_SECRET_SIZE];
    const struct accounts without = { .list = people, .count = 1 };

    sessions_add(s, &people[0], 0, ann);
    sessions_add(s, &people[1], 0, bob);
    people[0].serial = 3;
    assert_null(sessions_find(s, &accounts, str_of(ann), 0));
    people[0].serial = 1;
    assert_null(sessions_find(s, &accounts, str_of(ann), 0));
    assert_non_null(sessions_find(s, &accounts, str_of(bob), 0));
    assert_null(sessions_find(s, &without, str_of(bob), 0));
    sessions_free(s);
}

static void log_out_ends_one_or_all(void **state)
{
    struct sessions *s = sessions_new();
    char first[ACCOUNT_SECRET_SIZE], second[ACCOUNT_SECRET_SIZE], bob[ACCOUNT_SECRET_SIZE];

    sessions_add(s, &people[0], 0, first);
    sessions_add(s, &people[0], 0, second);
    sessions_add(s, &people[1], 0, bob);
    assert_string_not_equal(first, second);
    sessions_end(s, str_of(first));
    assert_null(sessions_find(s, &accounts, str_of(first), 0));
    assert_non_null(sessions_find(s, &accounts, str_of(second), 0));
    sessions_end_all(s, STR("ann"));
    assert_null(sessions_find(s, &accounts, str_of(second), 0));
    assert_non_null(sessions_find(s, &accounts, str_of(bob), 0));
    sessions_free(s);
}

static void many_sessions_of_one_push_out_its_own(void **state)
{
    struct sessions *s = sessions_new();
    char bob[ACCOUNT_SECRET_SIZE], ids[SESSIONS_OF_ONE_MAX + 1][ACCOUNT_SECRET_SIZE];

    sessions_add(s, &people[1], 0, bob);
    for (int i = 0; i <= SESSIONS_OF_ONE_MAX; i++)
        sessions_add(s, &people[0], i + 1, ids[i]);
    assert_null(sessions_find(s, &accounts, str_of(ids[0]), 100));
    assert_non_null(sessions_find(s, &accounts, str_of(ids[1]), 100));
    assert_non_null(sessions_find(s, &accounts, str_of(bob), 100));
    sessions_free(s);
}

static void what_is_no_identifier_finds_nothing(void **state)
{
    struct sessions *s = sessions_new();
    char id[ACCOUNT_SECRET_SIZE];

    sessions_add(s, &people[0], 0, id);
    assert_null(sessions_find(s, &accounts, STR_NULL, 0));
    assert_null(sessions_find(s, &accounts, STR(""), 0));
    assert_null(sessions_find(s, &accounts, str_head(str_of(id), 42), 0));
    id[3] ^= 1;
    assert_null(sessions_find(s, &accounts, str_of(id), 0));
    sessions_free(s);
}

/* ---- throttling ---- */

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(str_of(text), &a));
    return a;
}

static void an_address_has_some_tries_and_then_waits(void **state)
{
    struct throttle *t = throttle_new();
    struct net_addr a = addr("192.0.2.1"), b = addr("192.0.2.2");

    for (int i = 0; i < THROTTLE_ADDRESS_TRIES; i++)
        assert_int_equal(throttle_try(t, &a, STR("ann"), S), 0);
    assert_int_equal(throttle_try(t, &a, STR("ann"), S), THROTTLE_ADDRESS_S);
    assert_int_equal(throttle_try(t, &a, STR("bob"), S), THROTTLE_ADDRESS_S);
    assert_int_equal(throttle_try(t, &b, STR("ann"), S), 0);
    assert_int_equal(throttle_try(t, &a, STR("ann"), (1 + THROTTLE_ADDRESS_S) * (int64_t)S), 0);
    throttle_free(t);
}

static void a_network_of_ipv6_is_one_address(void **state)
{
    struct throttle *t = throttle_new();
    struct net_addr a;
    char text[40];

    for (int i = 0; i < THROTTLE_ADDRESS_TRIES; i++) {
        snprintf(text, sizeof text, "2001:db8::%x", i + 1);
        a = addr(text);
        assert_int_equal(throttle_try(t, &a, STR("ann"), S), 0);
    }
    a = addr("2001:db8::ffff");
    assert_int_not_equal(throttle_try(t, &a, STR("ann"), S), 0);
    a = addr("2001:db8:0:1::1");
    assert_int_equal(throttle_try(t, &a, STR("ann"), S), 0);
    throttle_free(t);
}

/* Many addresses are slowed for the account; its owner is not, and other accounts are not. */
static void strangers_do_not_lock_the_owner_out(void **state)
{
    struct throttle *t = throttle_new();
    struct net_addr home = addr("198.51.100.7"), local = addr("127.0.0.1"), a;
    unsigned refused = 0;
    char text[40];

    assert_int_equal(throttle_try(t, &home, STR("ann"), S), 0);
    throttle_good(t, &home, STR("ann"));
    for (int i = 0; i < 200; i++) {
        snprintf(text, sizeof text, "203.0.113.%d", i);
        a = addr(text);
        refused += throttle_try(t, &a, STR("ann"), S) != 0;
    }
    assert_int_equal(refused, 200 - THROTTLE_ACCOUNT_TRIES);
    assert_int_equal(throttle_try(t, &home, STR("ann"), S), 0);
    assert_int_equal(throttle_try(t, &local, STR("ann"), S), 0);
    a = addr("203.0.113.250");
    assert_int_equal(throttle_try(t, &a, STR("bob"), S), 0);
    /* No limit lasts longer than its interval. */
    assert_int_equal(throttle_try(t, &a, STR("ann"), S), THROTTLE_ACCOUNT_S);
    assert_int_equal(throttle_try(t, &a, STR("ann"), (1 + THROTTLE_ACCOUNT_S) * (int64_t)S), 0);
    throttle_free(t);
}

/* Who has an account does not buy tries at another with it. */
static void a_good_try_gives_back_itself_alone(void **state)
{
    struct throttle *t = throttle_new();
    struct net_addr a = addr("192.0.2.1");
    int tries = 0;

    while (throttle_try(t, &a, STR("ann"), S) == 0 && tries < 100) {
        tries++;
        if (throttle_try(t, &a, STR("bob"), S) != 0)
            break;
        throttle_good(t, &a, STR("bob"));
    }
    assert_in_range(tries, THROTTLE_ADDRESS_TRIES - 1, THROTTLE_ADDRESS_TRIES);
    throttle_free(t);
}

/* ---- roles ---- */

static void codes_have_a_limit_of_their_own(void **state)
{
    struct throttle *t = throttle_new();
    struct net_addr a;

    assert_true(net_addr_parse(STR("192.0.2.1"), &a));
    for (int i = 0; i < THROTTLE_CODE_TRIES; i++)
        assert_int_equal(throttle_try_code(t, STR("ann"), S), 0);
    assert_int_equal(throttle_try_code(t, STR("ann"), S), THROTTLE_CODE_S);
    assert_int_equal(throttle_try_code(t, STR("bob"), S), 0);
    assert_int_equal(throttle_try(t, &a, STR("ann"), S), 0);
    throttle_good_code(t, STR("ann"));
    assert_int_equal(throttle_try_code(t, STR("ann"), S), 0);
    assert_int_not_equal(throttle_try_code(t, STR("ann"), S), 0);
    throttle_free(t);
}

/* A right password without its code: any number of times, and the address is not a known one then.
 */
static void a_try_given_back_counts_for_nothing(void **state)
{
    struct throttle *t = throttle_new();
    struct net_addr a, b;
    int refused = 0;

    assert_true(net_addr_parse(STR("192.0.2.1"), &a));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(throttle_try(t, &a, STR("ann"), S), 0);
        throttle_give_back(t, &a, STR("ann"));
    }
    for (unsigned i = 0; i < THROTTLE_ACCOUNT_TRIES + 1; i++) {
        char text[32];

        snprintf(text, sizeof text, "198.51.100.%u", i + 1);
        assert_true(net_addr_parse(str_of(text), &b));
        refused += throttle_try(t, &b, STR("ann"), S) != 0;
    }
    assert_int_equal(refused, 1);
    assert_int_not_equal(throttle_try(t, &a, STR("ann"), S), 0);
    throttle_free(t);
}

static void each_role_may_what_it_may(void **state)
{
    static const struct {
        const char *method, *path;
        enum account_role needed;
    } cases[] = {
        { "GET", "/api/v1/settings", ROLE_VIEWER },
        { "HEAD", "/api/v1/queue/1/content", ROLE_VIEWER },
        { "PUT", "/api/v1/settings", ROLE_ADMINISTRATOR },
        { "POST", "/api/v1/connections/test", ROLE_VIEWER },
        { "POST", "/api/v1/connections/test/x", ROLE_ADMINISTRATOR },
        { "POST", "/api/v1/queue/retry", ROLE_OPERATOR },
        { "POST", "/api/v1/queue/0B2F4K6M8Q1/hold", ROLE_OPERATOR },
        { "POST", "/api/v1/queue/a/b/c", ROLE_ADMINISTRATOR },
        { "POST", "/api/v1/queue//", ROLE_ADMINISTRATOR },
        { "DELETE", "/api/v1/queue/1", ROLE_OPERATOR },
        { "DELETE", "/api/v1/queue", ROLE_ADMINISTRATOR },
        { "DELETE", "/api/v1/connections/live/1", ROLE_ADMINISTRATOR },
        { "POST", "/api/v1/audit", ROLE_NONE },
        { "GET", "/api/v1/audit", ROLE_VIEWER },
        { "?", "/api/v1/queue/1", ROLE_ADMINISTRATOR },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        if (role_needed(cases[i].method, str_of(cases[i].path)) != cases[i].needed)
            fail_msg("%s %s", cases[i].method, cases[i].path);
}

/* ---- the page's files ---- */

static void gzip_is_sent_where_it_is_taken(void **state)
{
    static const struct {
        const char *accept;
        bool taken;
    } cases[] = {
        { NULL, false },
        { "", false },
        { "gzip", true },
        { "GZIP", true },
        { "x-gzip", true },
        { "deflate, gzip;q=1.0, *;q=0.5", true },
        { "br, gzip ; q=0.001", true },
        { "gzip;q=0", false },
        { "gzip;q=0.000, *", false },
        { "identity;q=0, *", true },
        { "*;q=0", false },
        { "br, zstd", false },
        { "gzipped", false },
        { "gzip;q=x", false },
        { ",,;", false },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++)
        if (console_takes_gzip(cases[i].accept ? str_of(cases[i].accept) : STR_NULL) !=
            cases[i].taken)
            fail_msg("%s", cases[i].accept);
}

static void each_file_is_there_in_both_forms(void **state)
{
    size_t pages = 0;

    for (size_t i = 0; i < console_file_count; i++) {
        const struct console_file *f = &console_files[i];

        assert_true(f->octets_end > f->octets && f->gzip_end > f->gzip + 18);
        assert_memory_equal(f->gzip, "\x1f\x8b", 2);
        assert_int_equal(f->path[0], '/');
        assert_int_equal(f->tag[0], '"');
        assert_int_equal(f->lasting, strncmp(f->path, "/assets/", 8) == 0);
        pages += !f->lasting;
    }
    assert_true(pages >= 3); /* "/", "/login", "/setup" */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_session_ends_when_it_is_idle_or_old),
        cmocka_unit_test(looking_at_a_session_keeps_it_from_no_end),
        cmocka_unit_test(an_offered_key_is_the_sessions_own),
        cmocka_unit_test(a_session_ends_with_its_account_as_it_was),
        cmocka_unit_test(log_out_ends_one_or_all),
        cmocka_unit_test(many_sessions_of_one_push_out_its_own),
        cmocka_unit_test(what_is_no_identifier_finds_nothing),
        cmocka_unit_test(an_address_has_some_tries_and_then_waits),
        cmocka_unit_test(a_network_of_ipv6_is_one_address),
        cmocka_unit_test(strangers_do_not_lock_the_owner_out),
        cmocka_unit_test(a_good_try_gives_back_itself_alone),
        cmocka_unit_test(codes_have_a_limit_of_their_own),
        cmocka_unit_test(a_try_given_back_counts_for_nothing),
        cmocka_unit_test(each_role_may_what_it_may),
        cmocka_unit_test(gzip_is_sent_where_it_is_taken),
        cmocka_unit_test(each_file_is_there_in_both_forms),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
