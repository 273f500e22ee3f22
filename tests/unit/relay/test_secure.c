#include "world.h"

#include <signal.h>

#include "fake_dns.h"
#include "pki.h"
#include "relay/secure.h"
#include "tls/handshake.h"

/* TLS to a next hop, between the relay's loop and the threads that shake hands. */

static struct pki root, good, other;
static struct tls_handshaker *handshaker;
static struct tls_certificate *ca;
static struct tls_tickets *tickets;
static const char ca_id[] = "0123456789abcdef";

static struct tls_certificate *certificate(const struct pki *p, bool is_ca)
{
    struct buf pem, key;
    struct tls_certificate *c = NULL;
    struct tls_findings findings;
    struct tls_upload upload = { .certificate = STR_NULL };

    buf_init(&pem, 1 << 16);
    buf_init(&key, 1 << 16);
    pki_pem(p, &pem);
    pki_key_pem(p, NULL, &key);
    if (is_ca) {
        upload.ca_certificate = buf_str(&pem);
    } else {
        upload.certificate = buf_str(&pem);
        upload.private_key = buf_str(&key);
    }
    assert_int_equal(tls_certificate_read(&c, &upload, &findings), PT_ERR_OK);
    buf_done(&pem);
    buf_done(&key);
    return c;
}

static struct tls_server *server_of(const struct pki *p, enum tls_client_certificates clients)
{
    struct tls_certificate *c = certificate(p, false);
    struct tls_server_config config = { .certificates = &c,
                                        .certificate_count = 1,
                                        .client_certificates = clients,
                                        .client_ca = clients ? ca : NULL,
                                        .tickets = tickets };
    struct tls_server *s;
    struct pt_fault fault;

    assert_int_equal(tls_server_new(&s, &config, &fault), PT_ERR_OK);
    tls_certificate_unref(c);
    return s;
}

static int group_set_up(void **state)
{
    struct pt_fault fault;

    signal(SIGPIPE, SIG_IGN);
    root = pki_make(&(struct pki_wish){ .cn = "Root", .ca = true });
    good = pki_make(&(struct pki_wish){
        .cn = "hop", .names = "IP:127.0.0.1,DNS:mx.example.com", .issuer = &root });
    other = pki_make(
        &(struct pki_wish){ .cn = "other", .names = "DNS:other.example.com", .issuer = &root });
    ca = certificate(&root, true);
    tickets = tls_tickets_new();
    assert_int_equal(tls_handshaker_new(&handshaker, 2, 64, &fault), PT_ERR_OK);
    return 0;
}

static int group_tear_down(void **state)
{
    tls_handshaker_free(handshaker);
    tls_certificate_unref(ca);
    tls_tickets_free(tickets);
    pki_done(&root);
    pki_done(&good);
    pki_done(&other);
    return 0;
}

static int set_up(void **state)
{
    struct relay_ca cas[] = { { ca_id, ca }, { "fedcba9876543210", NULL } };
    struct world *w;
    struct pt_fault fault;

    assert_int_equal(world_set_up(state), 0);
    w = *state;
    w->hop->extensions = w->second->extensions = "250-PIPELINING\r\n250 STARTTLS\r\n";
    w->hop->tls = server_of(&good, TLS_CLIENT_CERTIFICATES_OFF);
    w->config.handshaker = handshaker;
    w->config.idle_ms = 1;
    assert_int_equal(relay_clients_new(&w->config.clients, cas, 2, &fault), PT_ERR_OK);
    return 0;
}

static int tear_down(void **state)
{
    struct world *w = *state;
    struct tls_server *s = w->hop->tls;
    struct relay_clients *clients = w->config.clients;
    int result = world_tear_down(state);

    relay_clients_unref(clients);
    tls_server_unref(s);
    assert_int_equal(tls_handshaker_busy(handshaker), 0);
    return result;
}

static void begin(struct world *w, enum settings_route_tls tls, const char *with_ca)
{
    world_begin(w, false);
    w->routes.routes[0].tls = tls;
    w->routes.routes[0].ca = with_ca;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
}

static void serve(struct world *w, const struct pki *p, enum tls_client_certificates clients)
{
    tls_server_unref(w->hop->tls);
    w->hop->tls = server_of(p, clients);
}

static void expect_waits(struct world *w, uint64_t id, const char *status, const char *why)
{
    const char *reply;

    UNTIL(w, world_stored(w, id, 0, SPOOL_QUEUED));
    reply = fake_spool_outcome(w->spool, id, 0)->reply;
    if (strncmp(reply, status, strlen(status)) != 0 || !strstr(reply, why))
        fail_msg("%s", reply);
    assert_int_equal(w->hop->count, 0);
    assert_int_equal(w->hop->clear, 0);
}

/* ---- met ---- */

static void what_is_offered_is_taken(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->routes.settings.tls.outgoing = true;
    begin(w, SETTINGS_ROUTE_TLS_DEFAULT, NULL);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->clear, 0);
    assert_int_equal(w->hop->handshakes, 1);
    assert_int_equal(world_stats(w).delivered_tls, 1);
    assert_int_equal(world_stats(w).tls_handshakes, 1);
    assert_int_equal(world_stats(w).tls_verified, 0);
}

static void nothing_is_taken_where_nothing_is_asked_for(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin(w, SETTINGS_ROUTE_TLS_DEFAULT, NULL);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->handshakes, 0);
    assert_int_equal(w->hop->clear, 1);
}

static void a_name_and_a_chain_that_verify(void **state)
{
    struct world *w = *state;
    uint64_t id;

    fake_dns[0] = (struct fake_answer){ .kind = NET_QUERY_ADDRESSES,
                                        .name = "mx.example.com",
                                        .targets = { w->hop->endpoint },
                                        .hosts = { "mx.example.com" },
                                        .target_count = 1 };
    fake_dns_count = 1;
    w->config.resolver = FAKE_RESOLVER;
    begin(w, SETTINGS_ROUTE_TLS_VERIFY, ca_id);
    w->routes.routes[0].next_hops[0].host = "mx.example.com";
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(world_stats(w).tls_verified, 1);
    fake_dns_count = 0;
}

static void a_session_is_resumed_under_the_same_demand_only(void **state)
{
    struct world *w = *state;
    struct settings_route *strict;
    uint64_t id;

    begin(w, SETTINGS_ROUTE_TLS_ENCRYPT, NULL);
    strict = routes_add(&w->routes, "strict.example");
    routes_add_hop(&w->routes, strict, "127.0.0.1", w->hop->endpoint.port);
    strict->tls = SETTINGS_ROUTE_TLS_VERIFY;
    strict->ca = ca_id;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < 3; i++) {
        id = world_submit(w, "b@b.example");
        UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
        UNTIL(w, world_stats(w).connections == 0 && w->hop->open == 0);
    }
    assert_int_equal(world_stats(w).tls_resumed, 2);
    id = world_submit(w, "b@strict.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(world_stats(w).tls_resumed, 2);
    assert_int_equal(world_stats(w).tls_handshakes, 4);
}

static void many_messages_and_large_ones(void **state)
{
    enum { LARGE = 3 << 20, SMALL = 100 };
    struct world *w = *state;
    char *content = malloc(LARGE + 3);
    const struct fake_message *large;
    uint64_t id;

    memset(content, 'x', LARGE);
    for (unsigned i = 78; i < LARGE; i += 80)
        memcpy(content + i, "\r\n", 2);
    memcpy(content + LARGE - 1, "\r\n\0", 4);
    begin(w, SETTINGS_ROUTE_TLS_ENCRYPT, NULL);
    id = world_commit(w, world_message(w, "large@b.example", content));
    for (unsigned i = 0; i < SMALL; i++)
        world_submit(w, "b@b.example");
    UNTIL(w, world_stats(w).delivered == SMALL + 1 && world_stored(w, id, 0, SPOOL_DELIVERED));
    large = fake_hop_find(w->hop, "large@b.example");
    assert_non_null(large);
    assert_int_equal(large->content.n, strlen(content));
    assert_memory_equal(large->content.p, content, large->content.n);
    assert_int_equal(w->hop->clear, 0);
    free(content);
}

/* ---- not met ---- */

static void a_demand_is_not_met(void **state)
{
    static const enum settings_route_tls demands[] = { SETTINGS_ROUTE_TLS_ENCRYPT,
                                                       SETTINGS_ROUTE_TLS_VERIFY };
    struct world *w = *state;
    struct rule refusal[] = { { "STARTTLS", "454 4.7.0 not now\r\n" }, { 0 } };
    struct rule extra[] = { { "STARTTLS", "220 go\r\n250 injected\r\n" }, { 0 } };

    w->config.silence_ms = 100;
    begin(w, SETTINGS_ROUTE_TLS_NONE, NULL);
    for (size_t i = 0; i < PT_ARRAY_LEN(demands); i++) {
        w->routes.routes[0].tls = demands[i];
        assert_true(relay_set_settings(w->relay, &w->routes.settings));
        w->hop->extensions = "250 PIPELINING\r\n";
        expect_waits(w, world_submit(w, "b@b.example"), "4.7.4", "does not offer STARTTLS");
        w->hop->extensions = "250 STARTTLS\r\n";
        world_rules(w->hop, refusal);
        w->now += 7200 * second;
        expect_waits(w, world_submit(w, "b@b.example"), "4.7.4", "454 4.7.0 not now");
        world_rules(w->hop, extra);
        w->now += 7200 * second;
        expect_waits(w, world_submit(w, "b@b.example"), "4.7.0", "before the TLS handshake");
        world_rules(w->hop, NULL);
        w->hop->chats = true;
        w->now += 7200 * second;
        expect_waits(w, world_submit(w, "b@b.example"), "4.7.5", "postern tls check");
        w->hop->chats = false;
        w->hop->stalls = true;
        w->now += 7200 * second;
        expect_waits(w, world_submit(w, "b@b.example"), "4.7.5", "no end after");
        w->hop->stalls = false;
        w->now += 7200 * second;
    }
    assert_int_equal(world_stats(w).delivered, 0);
    assert_true(world_stats(w).tls_unmet >= 8);
}

static void a_certificate_for_another_name(void **state)
{
    struct world *w = *state;

    serve(w, &other, TLS_CLIENT_CERTIFICATES_OFF);
    begin(w, SETTINGS_ROUTE_TLS_VERIFY, ca_id);
    expect_waits(w, world_submit(w, "b@b.example"), "4.7.5", "mismatch");
}

static void a_certificate_of_an_unknown_ca(void **state)
{
    struct world *w = *state;

    begin(w, SETTINGS_ROUTE_TLS_VERIFY, NULL);
    expect_waits(w, world_submit(w, "b@b.example"), "4.7.5", "local issuer");
}

static void a_ca_that_cannot_be_had(void **state)
{
    struct world *w = *state;

    begin(w, SETTINGS_ROUTE_TLS_VERIFY, "fedcba9876543210");
    expect_waits(w, world_submit(w, "b@b.example"), "4.7.5", "fedcba9876543210");
    assert_int_equal(w->hop->handshakes, 0);
}

static void the_next_candidate_may_meet_it(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->second->tls = w->hop->tls;
    w->hop->extensions = "250 PIPELINING\r\n";
    world_begin(w, true);
    w->routes.routes[0].tls = SETTINGS_ROUTE_TLS_ENCRYPT;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->second->handshakes, 1);
    assert_int_equal(w->hop->count, 0);
}

/* ---- opportunistic ---- */

static void in_clear_at_once_and_for_a_while(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->chats = true;
    begin(w, SETTINGS_ROUTE_TLS_OPPORTUNISTIC, NULL);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_QUEUED), 0);
    assert_int_equal(w->hop->sessions, 2);
    UNTIL(w, world_stats(w).connections == 0);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->sessions, 3);
    assert_int_equal(world_stats(w).tls_fallbacks, 1);
    UNTIL(w, world_stats(w).connections == 0);
    w->hop->chats = false;
    w->now += 601 * second;
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->handshakes, 1);
    assert_int_equal(w->hop->clear, 2);
}

/* TLS 1.3 lets a client believe that it is in. */
static void a_refusal_after_the_handshake_is_one_of_tls(void **state)
{
    struct world *w = *state;
    uint64_t id;

    serve(w, &good, TLS_CLIENT_CERTIFICATES_REQUIRE);
    begin(w, SETTINGS_ROUTE_TLS_OPPORTUNISTIC, NULL);
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->clear, 1);
    assert_int_equal(world_stats(w).tls_fallbacks, 1);
}

static void plaintext_behind_the_answer_is_not_gone_round(void **state)
{
    struct world *w = *state;
    struct rule extra[] = { { "STARTTLS", "220 go\r\n250 injected\r\n" }, { 0 } };

    world_rules(w->hop, extra);
    begin(w, SETTINGS_ROUTE_TLS_OPPORTUNISTIC, NULL);
    expect_waits(w, world_submit(w, "b@b.example"), "4.7.0", "before the TLS handshake");
}

static void without_contexts_it_goes_in_clear_unless_demanded(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin(w, SETTINGS_ROUTE_TLS_ENCRYPT, NULL);
    relay_set_clients(w->relay, NULL);
    expect_waits(w, world_submit(w, "b@b.example"), "4.7.5", "cannot be begun");
    w->routes.routes[0].tls = SETTINGS_ROUTE_TLS_OPPORTUNISTIC;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    id = world_submit(w, "b@b.example");
    UNTIL(w, world_stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->handshakes, 0);
}

/* ---- the end ---- */

static void a_handshake_does_not_hold_up_the_end(void **state)
{
    struct world *w = *state;

    w->hop->stalls = true;
    begin(w, SETTINGS_ROUTE_TLS_OPPORTUNISTIC, NULL);
    world_submit(w, "b@b.example");
    UNTIL(w, tls_handshaker_busy(handshaker) == 1);
    relay_stop(w->relay, world_on_stopped, w);
    UNTIL(w, w->stopped);
    assert_int_equal(w->hop->clear, 0);
    assert_int_equal(world_stats(w).messages, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_offered_is_taken),
        TEST(nothing_is_taken_where_nothing_is_asked_for),
        TEST(a_name_and_a_chain_that_verify),
        TEST(a_session_is_resumed_under_the_same_demand_only),
        TEST(many_messages_and_large_ones),
        TEST(a_demand_is_not_met),
        TEST(a_certificate_for_another_name),
        TEST(a_certificate_of_an_unknown_ca),
        TEST(a_ca_that_cannot_be_had),
        TEST(the_next_candidate_may_meet_it),
        TEST(in_clear_at_once_and_for_a_while),
        TEST(a_refusal_after_the_handshake_is_one_of_tls),
        TEST(plaintext_behind_the_answer_is_not_gone_round),
        TEST(without_contexts_it_goes_in_clear_unless_demanded),
        TEST(a_handshake_does_not_hold_up_the_end),
    };

    return cmocka_run_group_tests(tests, group_set_up, group_tear_down);
}
