#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake_dns.h"
#include "world.h"

/* Where mail goes when names must be looked up: mail exchangers, hosts, literals. */

/* Mail exchangers are asked on port 25, which a test does not own: what matters here is which
 * answers lead to which outcome. */
static void begin_mx(struct world *w)
{
    fake_dns_count = fake_dns_questions = 0;
    w->config.resolver = FAKE_RESOLVER;
    w->config.connect_ms = 50;
    routes_add(&w->routes, "example.com");
    world_begin(w, false);
}

static struct fake_answer *know(enum net_query_kind kind, const char *name, enum pt_err result)
{
    struct fake_answer *a = &fake_dns[fake_dns_count++];

    *a = (struct fake_answer){ .kind = kind, .name = name, .result = result };
    return a;
}

static const char *reply(struct world *w, uint64_t id)
{
    const struct fake_outcome *o = fake_spool_outcome(w->spool, id, 0);

    return o ? o->reply : "";
}

static void a_null_mx_bounces_all_that_waits(void **state)
{
    struct world *w = *state;
    uint64_t id = 0;

    begin_mx(w);
    know(NET_QUERY_MX, "example.com", PT_ERR_NOTFOUND)->null_mx = true;
    for (unsigned i = 0; i < 40; i++)
        id = world_submit(w, "b@EXAMPLE.com");
    UNTIL(w, world_stats(w).failed == 40);
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(reply(w, id), "5.1.10"));
    UNTIL(w, w->spool->bounces == 40);
    assert_int_equal(w->rl->jobs, 0);
}

static void a_domain_that_does_not_exist_bounces(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin_mx(w);
    id = world_submit(w, "b@example.com");
    UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(reply(w, id), "5.1.2"));
}

static void trouble_with_the_dns_defers(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin_mx(w);
    know(NET_QUERY_MX, "example.com", PT_ERR_AGAIN)->reason = "no name server answers";
    id = world_submit(w, "b@example.com");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_string_equal(reply(w, id), "4.4.3 no name server answers");
}

static void a_next_hop_by_name_is_looked_up(void **state)
{
    struct world *w = *state;
    struct fake_answer *a;
    uint64_t id;

    fake_dns_count = fake_dns_questions = 0;
    w->config.resolver = FAKE_RESOLVER;
    routes_add_hop(&w->routes, routes_add(&w->routes, "named.example"), "relay.example",
                   w->second->endpoint.port);
    world_begin(w, false);
    a = know(NET_QUERY_ADDRESSES, "relay.example", PT_ERR_OK);
    a->targets[0] = w->second->endpoint;
    a->hosts[0] = "relay.example";
    a->target_count = 1;
    id = world_submit(w, "b@named.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->second->count, 1);
    assert_int_equal(fake_dns_questions, 1);
}

static void a_next_hop_without_address_is_trouble_of_ours(void **state)
{
    struct world *w = *state;
    uint64_t id;

    fake_dns_count = fake_dns_questions = 0;
    w->config.resolver = FAKE_RESOLVER;
    routes_add_hop(&w->routes, routes_add(&w->routes, "named.example"), "gone.example", 25);
    world_begin(w, false);
    id = world_submit(w, "b@named.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_non_null(strstr(reply(w, id), "4.4.3"));
    assert_int_equal(w->spool->bounces, 0);
}

static struct settings_route *route_from(struct world *w, const char *source)
{
    struct settings_route *route = routes_add(&w->routes, "from.example");

    fake_dns_count = fake_dns_questions = 0;
    w->config.resolver = FAKE_RESOLVER;
    assert_true(net_addr_parse(str_of(source), &route->source));
    return route;
}

static void deliveries_come_from_the_source_of_the_route(void **state)
{
    const struct net_addr ours = { .family = NET_IPV4, .octets = { 127, 0, 0, 1 } };
    struct world *w = *state;
    struct settings_route *route = route_from(w, "127.0.0.9");

    routes_add_hop(&w->routes, route, "127.0.0.1", w->hop->endpoint.port);
    world_begin(w, false);
    world_submit(w, "b@from.example");
    UNTIL(w, w->hop->count == 1);
    assert_true(net_addr_eq(&w->hop->client.addr, &route->source));
    /* The same next hop without a source is another destination: no connection is shared. */
    world_submit(w, "b@elsewhere.example");
    UNTIL(w, w->hop->count == 2);
    assert_true(net_addr_eq(&w->hop->client.addr, &ours));
    assert_int_equal(w->hop->sessions, 2);
}

static void addresses_of_the_other_family_are_skipped(void **state)
{
    struct world *w = *state;
    struct settings_route *route = route_from(w, "127.0.0.9");
    struct fake_answer *a;
    uint64_t id;

    routes_add_hop(&w->routes, route, "relay.example", w->hop->endpoint.port);
    world_begin(w, false);
    a = know(NET_QUERY_ADDRESSES, "relay.example", PT_ERR_OK);
    assert_true(net_addr_parse(STR("2001:db8::1"), &a->targets[0].addr));
    a->targets[1] = w->hop->endpoint;
    a->hosts[0] = a->hosts[1] = "relay.example";
    a->target_count = 2;
    id = world_submit(w, "b@from.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(world_stats(w).connects, 1);

    a->target_count = 1;
    w->now += 3600 * second;
    UNTIL(w, world_stats(w).connections == 0);
    id = world_submit(w, "b@from.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_string_equal(reply(w, id),
                        "4.4.4 relay.example (2001:db8::1): an IPv6 address cannot be "
                        "reached from the route's source 127.0.0.9");
}

static void a_source_that_went_away_defers_and_blames_no_next_hop(void **state)
{
    struct world *w = *state;
    struct settings_route *route = route_from(w, "192.0.2.1");
    uint64_t id;

    routes_add_hop(&w->routes, route, "127.0.0.1", w->hop->endpoint.port);
    world_begin(w, false);
    id = world_submit(w, "b@from.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_string_equal(
        reply(w, id), "4.3.5 the route's source 192.0.2.1 is not an address of this host any more");
    assert_int_equal(world_stats(w).connect_failures, 0);
    assert_int_equal(w->hop->sessions, 0);
}

/* ---- we are one of them ---- */

static void target(struct fake_answer *a, const char *host, const char *addr, uint16_t priority)
{
    assert_true(net_addr_parse(str_of(addr), &a->targets[a->target_count].addr));
    a->hosts[a->target_count] = host;
    a->priorities[a->target_count++] = priority;
}

/* Nobody listens there. */
static void only_exchangers_better_than_us_are_tried(void **state)
{
    struct world *w = *state;
    struct fake_answer *a;
    uint64_t id;

    w->routes.settings.interface.port = 25;
    w->routes.settings.interface.listen = SETTINGS_LISTEN_ADDRESS;
    assert_true(net_addr_parse(STR("127.0.0.3"), &w->routes.settings.interface.address));
    begin_mx(w);
    a = know(NET_QUERY_MX, "example.com", PT_ERR_OK);
    target(a, "best.example.com", "127.0.0.250", 10);
    target(a, "equal.example.com", "127.0.0.251", 20);
    target(a, "us.example.com", "127.0.0.3", 20);
    target(a, "worse.example.com", "127.0.0.252", 30);
    id = world_submit(w, "b@example.com");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_non_null(strstr(reply(w, id), "best.example.com"));
    assert_int_equal(world_stats(w).connects, 1);
}

static void mail_whose_best_exchanger_we_are_goes_back(void **state)
{
    static const struct {
        const char *host, *addr;
    } cases[] = {
        { "other.example.com", "127.0.0.1" }, /* by address: we listen on the loopback */
        { "other.example.com", "::1" },
        { "GW.example", "192.0.2.99" }, /* by name */
    };
    struct world *w = *state;

    w->routes.settings.interface.port = 25;
    begin_mx(w);
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct fake_answer *a;
        uint64_t id;

        fake_dns_count = 0;
        a = know(NET_QUERY_MX, "example.com", PT_ERR_OK);
        target(a, cases[i].host, cases[i].addr, 10);
        target(a, "worse.example.com", "127.0.0.252", 30);
        id = world_submit(w, "b@example.com");
        UNTIL(w, world_stored(w, id, 0, SPOOL_FAILED));
        assert_non_null(strstr(reply(w, id), "5.4.6 mail for example.com would go in circles"));
    }
    assert_int_equal(world_stats(w).connect_failures, 0);
}

static void a_next_hop_that_is_us_is_no_candidate(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->routes.settings.interface.port = w->hop->endpoint.port;
    world_begin(w, false);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_string_equal(reply(w, id),
                        "4.4.6 127.0.0.1: this is the gateway itself, mail would go in circles");
    assert_int_equal(w->hop->sessions, 0);
}

/* ---- two families ---- */

/* A listener whose queue is full says nothing to whoever comes: it is as if packets were lost. */
struct silence {
    int fds[8];
    unsigned count;
};

static bool be_silent(struct silence *s, uint16_t port)
{
    struct sockaddr_in6 here = { .sin6_family = AF_INET6,
                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT,
                                 .sin6_port = htons(port) };

    s->count = 0;
    for (unsigned i = 0; i < PT_ARRAY_LEN(s->fds); i++) {
        int fd = socket(AF_INET6, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

        if (fd < 0)
            return false;
        s->fds[s->count++] = fd;
        if (i == 0 && (bind(fd, (struct sockaddr *)&here, sizeof here) < 0 || listen(fd, 0) < 0))
            return false;
        if (i > 0)
            PT_IGNORE(connect(fd, (struct sockaddr *)&here, sizeof here) < 0, "under way");
    }
    return true;
}

static void end_silence(struct silence *s)
{
    while (s->count)
        close(s->fds[--s->count]);
}

static uint64_t submit_to_both_families(struct world *w)
{
    struct fake_answer *a;

    fake_dns_count = fake_dns_questions = 0;
    w->config.resolver = FAKE_RESOLVER;
    routes_add_hop(&w->routes, routes_add(&w->routes, "both.example"), "relay.example",
                   w->hop->endpoint.port);
    world_begin(w, false);
    a = know(NET_QUERY_ADDRESSES, "relay.example", PT_ERR_OK);
    target(a, "relay.example", "::1", 0);
    target(a, "relay.example", "127.0.0.1", 0);
    return world_submit(w, "b@both.example");
}

/* Without the other family it would be waited for much longer than this test waits. */
static void a_silent_family_is_not_waited_for(void **state)
{
    struct world *w = *state;
    struct silence s;
    uint64_t id;

    if (!be_silent(&s, w->hop->endpoint.port)) {
        end_silence(&s);
        skip();
    }
    w->config.connect_ms = 600000;
    id = submit_to_both_families(w);
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(world_stats(w).connects, 2);
    assert_int_equal(world_stats(w).connect_failures, 1);
    end_silence(&s);
}

static void the_silent_one_has_its_time_when_the_other_fails(void **state)
{
    struct world *w = *state;
    struct silence s;
    uint64_t id;

    if (!be_silent(&s, w->hop->endpoint.port)) {
        end_silence(&s);
        skip();
    }
    w->config.connect_ms = 20;
    fake_hop_close_listener(w->hop);
    id = submit_to_both_families(w);
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_int_equal(world_stats(w).connects, 3);
    assert_non_null(strstr(reply(w, id), "relay.example ([::1]"));
    end_silence(&s);
}

static void stopping_waits_for_questions_under_way(void **state)
{
    struct world *w = *state;

    begin_mx(w);
    know(NET_QUERY_MX, "example.com", PT_ERR_AGAIN);
    fake_dns_holds = true;
    world_submit(w, "b@example.com");
    UNTIL(w, fake_dns_held);
    relay_stop(w->relay, world_on_stopped, w);
    world_turns(w, 10);
    assert_false(w->stopped);
    assert_null(w->rl->conns);
    fake_dns_holds = false;
    net_loop_post(w->loop, &fake_dns_held->mail);
    UNTIL(w, w->stopped);
    assert_int_equal(world_stats(w).ready, 1);
}

static void a_domain_without_route_waits_for_the_administrator(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->config.resolver = FAKE_RESOLVER;
    world_begin(w, false);
    w->routes.routes[0].domain = "only.example";
    id = world_submit(w, "b@nowhere.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    assert_non_null(strstr(reply(w, id), "4.4.4"));
    w->routes.routes[0].domain = "*";
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    w->now += 60 * second;
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(a_null_mx_bounces_all_that_waits),
        WORLD_TEST(a_domain_that_does_not_exist_bounces),
        WORLD_TEST(trouble_with_the_dns_defers),
        WORLD_TEST(a_next_hop_by_name_is_looked_up),
        WORLD_TEST(a_next_hop_without_address_is_trouble_of_ours),
        WORLD_TEST(deliveries_come_from_the_source_of_the_route),
        WORLD_TEST(addresses_of_the_other_family_are_skipped),
        WORLD_TEST(a_source_that_went_away_defers_and_blames_no_next_hop),
        WORLD_TEST(only_exchangers_better_than_us_are_tried),
        WORLD_TEST(mail_whose_best_exchanger_we_are_goes_back),
        WORLD_TEST(a_next_hop_that_is_us_is_no_candidate),
        WORLD_TEST(a_silent_family_is_not_waited_for),
        WORLD_TEST(the_silent_one_has_its_time_when_the_other_fails),
        WORLD_TEST(stopping_waits_for_questions_under_way),
        WORLD_TEST(a_domain_without_route_waits_for_the_administrator),
    };

    return cmocka_run_group_tests_name("relay/routes", tests, NULL, NULL);
}
