#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "relay/redirect.h"
#include "relay/suspend.h"
#include "sched_world.h"

/* Destinations that an administrator suspends, and recipients that he sends elsewhere. */

static const struct relay_suspension they_move = { .name = "192.0.2.1:25",
                                                   .reason = "they move",
                                                   .by = "root" };

static uint32_t pull(struct world *w, struct relay_dest *d)
{
    struct relay_group *out[RELAY_PULL_MAX];
    uint32_t n = relay_sched_pull(&w->s, d, 0, out, RELAY_PULL_MAX);

    for (uint32_t i = 0; i < n; i++)
        relay_sched_put_back(&w->s, out[i]);
    return n;
}

/* ---- suspended ---- */

static void nothing_is_handed_to_a_suspended_one(void **state)
{
    struct world *w = *state;
    struct relay_dest *d = default_dest(w);
    struct relay_group *out[4];
    bool waits;
    uint64_t id = add(w, "b@a.example");

    assert_int_equal(relay_sched_suspend(&w->s, &they_move), PT_ERR_OK);
    add(w, "c@a.example");
    assert_null(relay_sched_open(&w->s, 0));
    assert_int_equal(relay_dest_takeable(d), 0);
    assert_int_equal(pull(w, d), 0);
    assert_int_equal(relay_dest_ready(d), 2);
    assert_int_equal(relay_sched_wake_for(&w->s, d), 0);
    /* To try again is not to resume. */
    assert_int_equal(relay_sched_retry(&w->s, relay_sched_find(&w->s, id), out, 4, &waits), 0);
    assert_null(relay_sched_open(&w->s, 0));
    add(w, "b@other.example"); /* the others go on */
    assert_ptr_equal(relay_sched_open(&w->s, 0), dest(w, "192.0.2.2:25"));

    assert_true(relay_sched_resume(&w->s, STR("192.0.2.1:25")));
    assert_false(relay_sched_resume(&w->s, STR("192.0.2.1:25")));
    assert_ptr_equal(relay_sched_open(&w->s, 0), d);
    assert_int_equal(pull(w, d), 2);
}

static void it_ends_by_itself(void **state)
{
    struct world *w = *state;
    struct relay_suspension for_an_hour = they_move;
    char name[RELAY_SUSPENSION_NAME];

    for_an_hour.until_us = w->now + 3600 * second;
    assert_int_equal(relay_sched_suspend(&w->s, &for_an_hour), PT_ERR_OK);
    assert_int_equal(relay_sched_suspend(&w->s, &(struct relay_suspension){ .name = "mx:b.example",
                                                                            .reason = "",
                                                                            .by = "root" }),
                     PT_ERR_OK);
    assert_false(relay_sched_suspension_over(&w->s, w->now + 3600 * second - 1, name));
    assert_true(relay_sched_suspension_over(&w->s, w->now + 3600 * second, name));
    assert_string_equal(name, "192.0.2.1:25");
    assert_false(relay_sched_suspension_over(&w->s, INT64_MAX - 1, name));
    assert_null(default_dest(w)->suspension);
    assert_non_null(relay_sched_suspension(&w->s, STR("MX:b.example")));
}

static void a_place_is_suspended_whatever_is_demanded_there(void **state)
{
    struct world *w = *state;
    struct relay_suspension mx = they_move;

    mx.name = "mx:mx.example";
    assert_int_equal(relay_sched_suspend(&w->s, &mx), PT_ERR_OK); /* before there is any */
    add(w, "b@mx.example");
    assert_non_null(dest(w, "mx:mx.example")->suspension);
    w->routes.routes[2].tls = SETTINGS_ROUTE_TLS_ENCRYPT;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    add(w, "c@mx.example");
    assert_non_null(dest(w, "mx:mx.example/tls=encrypt")->suspension);
    assert_int_equal(pull(w, dest(w, "mx:mx.example/tls=encrypt")), 0);
    assert_true(relay_sched_resume(&w->s, STR("mx:mx.example")));
    assert_null(dest(w, "mx:mx.example")->suspension);
    assert_int_equal(pull(w, dest(w, "mx:mx.example/tls=encrypt")), 1);

    mx.name = "mx:mx.example/tls=encrypt";
    assert_int_equal(relay_sched_suspend(&w->s, &mx), PT_ERR_OK);
    assert_null(dest(w, "mx:mx.example")->suspension);
    assert_non_null(dest(w, "mx:mx.example/tls=encrypt")->suspension);
}

static void a_second_one_takes_the_place_of_the_first(void **state)
{
    struct world *w = *state;
    struct relay_suspension again = they_move;

    assert_int_equal(relay_sched_suspend(&w->s, &they_move), PT_ERR_OK);
    again.reason = "still";
    assert_int_equal(relay_sched_suspend(&w->s, &again), PT_ERR_OK);
    assert_int_equal(w->s.suspension_count, 1);
    assert_string_equal(default_dest(w)->suspension->reason, "still");
    for (unsigned i = 1; i < RELAY_SUSPENSIONS_MAX; i++) {
        char name[64];

        snprintf(name, sizeof name, "mx:d%u.example", i);
        again.name = name;
        assert_int_equal(relay_sched_suspend(&w->s, &again), PT_ERR_OK);
    }
    again.name = "mx:more.example";
    assert_int_equal(relay_sched_suspend(&w->s, &again), PT_ERR_NOSPACE);
}

static void mail_grows_old_all_the_same(void **state)
{
    struct world *w = *state;
    struct relay_group *out[4];
    uint64_t id = add(w, "b@a.example");
    const struct spool_recipient *r = relay_sched_find(&w->s, id)->message->recipients;

    assert_int_equal(relay_sched_suspend(&w->s, &they_move), PT_ERR_OK);
    w->now += retry_policy_default.delay_notice_us;
    assert_int_equal(relay_sched_late(&w->s, w->now, out, 4), 1);
    assert_memory_equal(r->reply.p, RELAY_SUSPENDED, strlen(RELAY_SUSPENDED));
    relay_sched_put_back(&w->s, out[0]);
    w->now += retry_policy_default.life_us;
    assert_int_equal(relay_sched_expired(&w->s, w->now, out, 4), 1);
    relay_sched_put_back(&w->s, out[0]);
}

/* ---- sent elsewhere ---- */

static const struct next_hop_case {
    const char *text, *kept, *wrong;
} next_hops[] = {
    { "relay.example", "relay.example:25", NULL },
    { "Relay.Example.:2525", "relay.example:2525", NULL },
    { "192.0.2.9", "192.0.2.9:25", NULL },
    { "192.0.2.9:26", "192.0.2.9:26", NULL },
    { "2001:db8::9", "[2001:db8::9]:25", NULL },
    { "[2001:DB8::9]:26", "[2001:db8::9]:26", NULL },
    { "[2001:db8::9]", "[2001:db8::9]:25", NULL },
    { "", NULL, "must be" },
    { "relay.example:", NULL, "must be HOST" },
    { "relay.example:0", NULL, "must be HOST" },
    { "relay.example:65536", NULL, "must be HOST" },
    { "relay.example:25:26", NULL, "must be HOST" },
    { "[2001:db8::9]25", NULL, "must be HOST" },
    { "[2001:db8::9", NULL, "must be HOST" },
    { "a b.example", NULL, "must be the name" },
    { "a/tls=none", NULL, "must be the name" },
    { "a,b.example", NULL, "must be the name" },
};

static void a_next_hop_is_kept_in_one_form(void **state)
{
    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(next_hops); i++) {
        char out[RELAY_NEXT_HOP_SIZE], host[256];
        const char *wrong = relay_next_hop_normalise(str_of(next_hops[i].text), out);
        struct settings_next_hop hop;

        print_message("'%s'\n", next_hops[i].text);
        if (next_hops[i].wrong) {
            assert_non_null(wrong);
            assert_memory_equal(wrong, next_hops[i].wrong, strlen(next_hops[i].wrong));
            continue;
        }
        assert_null(wrong);
        assert_string_equal(out, next_hops[i].kept);
        assert_true(relay_next_hop_parse(str_of(out), &hop, host));
        assert_int_equal(host[0] == '[', 0);
    }
}

static uint32_t redirect(struct world *w, uint64_t id, const char *destination, const char *to)
{
    const struct relay_redirect how = { destination ? str_of(destination) : STR_NULL, str_of(to) };
    uint32_t n;

    free(relay_sched_redirect(&w->s, relay_sched_find(&w->s, id), &how, w->now, &n));
    return n;
}

static void what_goes_to_one_destination_goes_elsewhere_and_back(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "b@a.example c@other.example d@a.example");

    assert_int_equal(redirect(w, id, "192.0.2.1:25", "192.0.2.7:26"), 2);
    assert_int_equal(relay_dest_ready(dest(w, "192.0.2.7:26")), 1);
    assert_int_equal(relay_dest_ready(default_dest(w)), 0);
    assert_int_equal(relay_dest_ready(dest(w, "192.0.2.2:25")), 1);
    assert_int_equal(redirect(w, id, "192.0.2.7:26", "192.0.2.7:26"), 0);
    add(w, "e@a.example"); /* later mail goes by the routes */
    assert_int_equal(relay_dest_ready(default_dest(w)), 1);
    /* By where it would go, as well as by where it goes. */
    assert_int_equal(redirect(w, id, "192.0.2.1:25", ""), 2);
    assert_int_equal(relay_dest_ready(default_dest(w)), 2);
    assert_int_equal(redirect(w, id, NULL, "relay.example:25"), 3);
    assert_int_equal(redirect(w, id, "relay.example:25", ""), 3);
    assert_int_equal(redirect(w, id, NULL, ""), 0);
}

static void what_the_route_demands_is_demanded_elsewhere(void **state)
{
    struct world *w = *state;
    uint64_t id;
    struct relay_dest *d;

    w->routes.routes[2].tls = SETTINGS_ROUTE_TLS_VERIFY;
    w->routes.routes[2].ca = "0123456789abcdef";
    w->routes.routes[2].max_concurrency = 2;
    assert_true(net_addr_parse(STR("192.0.2.99"), &w->routes.routes[2].source));
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    id = add(w, "b@mx.example");
    assert_int_equal(redirect(w, id, "mx.example", "192.0.2.1:25"), 1);
    d = dest(w, "192.0.2.1:25/tls=verify/ca=0123456789abcdef/source=192.0.2.99");
    assert_int_equal(relay_dest_ready(d), 1);
    assert_int_equal(d->tls, SETTINGS_ROUTE_TLS_VERIFY);
    assert_string_equal(d->ca, "0123456789abcdef");
    assert_int_equal(d->max_concurrency, 2);
    assert_string_equal(d->hops[0].host, "192.0.2.1");
    /* A change of the routes changes what is demanded, and not where it goes. */
    w->routes.routes[2].tls = SETTINGS_ROUTE_TLS_ENCRYPT;
    w->routes.routes[2].ca = NULL;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    id = 0;
    assert_true(relay_sched_reroute(&w->s, &id, 500, w->now));
    assert_int_equal(relay_dest_ready(dest(w, "192.0.2.1:25/tls=encrypt/source=192.0.2.99")), 1);
}

static void the_password_of_a_route_goes_to_its_own_next_hops_alone(void **state)
{
    struct world *w = *state;
    struct settings_auth auth = { .user = "gw", .secret = "secret:1", .password = strdup("pw") };
    struct relay_dest *d;
    uint64_t id;

    w->routes.routes[1].auth = &auth;
    w->routes.routes[1].tls = SETTINGS_ROUTE_TLS_VERIFY;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    id = add(w, "b@other.example");
    assert_string_equal(dest(w, "192.0.2.2:25/tls=verify/auth=gw/secret:1")->password, "pw");
    assert_int_equal(redirect(w, id, "192.0.2.2:25", "192.0.2.7:25"), 1);
    d = dest(w, "192.0.2.7:25/tls=verify");
    assert_int_equal(relay_dest_ready(d), 1);
    assert_null(d->user);
    assert_null(d->password);
    free(auth.password);
}

static void limits_of_a_known_next_hop_stay_its_own(void **state)
{
    struct world *w = *state;
    uint64_t id = add(w, "b@other.example");

    w->routes.routes[0].max_concurrency = 5;
    w->routes.routes[1].max_concurrency = 1;
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    assert_int_equal(redirect(w, id, "192.0.2.2:25", "192.0.2.1:25"), 1);
    assert_int_equal(relay_dest_ready(default_dest(w)), 1);
    assert_int_equal(default_dest(w)->max_concurrency, 5);
}

static void what_is_in_delivery_goes_there_when_it_comes_back(void **state)
{
    struct world *w = *state;
    struct relay_group *g;
    static const struct relay_result later = { .state = SPOOL_QUEUED, .code = 450 };
    struct relay_again again = { .next_us = w->now + 60 * second };
    uint64_t id = add(w, "b@a.example");

    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 0, &g, 1), 1);
    assert_int_equal(redirect(w, id, NULL, "192.0.2.7:25"), 1);
    assert_ptr_equal(g->dest, default_dest(w));
    relay_sched_settle(&w->s, g, &later, &again, w->now);
    assert_int_equal(relay_dest_deferred(dest(w, "192.0.2.7:25")), 1);
    /* And what was put off is due at once where it goes now. */
    assert_int_equal(redirect(w, id, NULL, "192.0.2.8:25"), 1);
    assert_int_equal(relay_dest_ready(dest(w, "192.0.2.8:25")), 1);
}

static void what_is_held_stays_held_and_what_is_in_doubt_waits(void **state)
{
    struct world *w = *state;
    struct relay_group *g;
    static const struct relay_result doubt = { .state = SPOOL_IN_DOUBT };
    struct relay_again again = { .next_us = w->now + 300 * second, .prefer = 77 };
    uint64_t id = add(w, "b@a.example"), held = add(w, "c@a.example");

    assert_int_equal(relay_sched_pull(&w->s, default_dest(w), 0, &g, 1), 1);
    relay_sched_settle(&w->s, g, &doubt, &again, w->now);
    assert_true(relay_sched_hold(&w->s, relay_sched_find(&w->s, held)));
    assert_int_equal(redirect(w, id, NULL, "192.0.2.7:25"), 1);
    assert_int_equal(redirect(w, held, NULL, "192.0.2.7:25"), 1);
    assert_int_equal(relay_dest_ready(dest(w, "192.0.2.7:25")), 0);
    assert_int_equal(relay_dest_deferred(dest(w, "192.0.2.7:25")), 1);
    assert_int_equal(dest(w, "192.0.2.7:25")->lists[RELAY_GROUP_HELD].count, 1);
}

static void mail_without_a_route_can_be_sent(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->routes.routes[0].domain = "nowhere.example";
    assert_true(relay_sched_set_settings(&w->s, &w->routes.settings));
    id = add(w, "b@a.example");
    assert_int_equal(redirect(w, id, "a.example", "192.0.2.7:25"), 1);
    assert_int_equal(relay_dest_ready(dest(w, "192.0.2.7:25")), 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(nothing_is_handed_to_a_suspended_one),
        TEST(it_ends_by_itself),
        TEST(a_place_is_suspended_whatever_is_demanded_there),
        TEST(a_second_one_takes_the_place_of_the_first),
        TEST(mail_grows_old_all_the_same),
        cmocka_unit_test(a_next_hop_is_kept_in_one_form),
        TEST(what_goes_to_one_destination_goes_elsewhere_and_back),
        TEST(what_the_route_demands_is_demanded_elsewhere),
        TEST(the_password_of_a_route_goes_to_its_own_next_hops_alone),
        TEST(limits_of_a_known_next_hop_stay_its_own),
        TEST(what_is_in_delivery_goes_there_when_it_comes_back),
        TEST(what_is_held_stays_held_and_what_is_in_doubt_waits),
        TEST(mail_without_a_route_can_be_sent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
