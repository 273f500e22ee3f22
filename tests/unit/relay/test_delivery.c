#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/log.h"
#include "fake_hop.h"
#include "fake_spool.h"
#include "relay/relay_private.h"
#include "routes.h"
#include "smtp/envelope.h"

/*
 * The relay on a real loop, against next hops that misbehave. The wall clock is the test's; the
 * loop's own time limits are set to some milliseconds where a test needs one to pass.
 */

static const int64_t second = 1000000;

struct world {
    struct net_loop *loop;
    struct fake_hop *hop, *second;
    struct fake_spool *spool;
    struct routes routes;
    struct relay_config config;
    struct relay *relay;
    struct relay_loop *rl;
    int64_t now;
    bool stopped;
};

static int64_t world_now(void *ctx)
{
    return ((struct world *)ctx)->now;
}

static int set_up(void **state)
{
    struct world *w = calloc(1, sizeof *w);

    log_set_level(LOG_ERROR + 1);
    w->now = INT64_C(1800000000) * second;
    w->loop = net_loop_new(0);
    w->hop = fake_hop_new(w->loop);
    w->second = fake_hop_new(w->loop);
    w->spool = fake_spool_new();
    routes_init(&w->routes);
    w->config = (struct relay_config){
        .loops = 1,
        .settings = &w->routes.settings,
        .tick_ms = 2,
        .seed = 11,
        .now_us = world_now,
        .now_ctx = w,
    };
    *state = w;
    return 0;
}

/* The next hops in order of preference. */
static void begin(struct world *w, bool with_second)
{
    struct settings_route *any = routes_add(&w->routes, "*");

    routes_add_hop(&w->routes, any, "127.0.0.1", w->hop->endpoint.port);
    if (with_second)
        routes_add_hop(&w->routes, any, "127.0.0.1", w->second->endpoint.port);
    w->relay = relay_new(&w->config);
    assert_non_null(w->relay);
    relay_set_spool(w->relay, fake_spool_handle(w->spool));
    w->spool->committed = relay_committed;
    w->spool->ctx = w->relay;
    w->rl = relay_loop_new(w->relay, w->loop);
    assert_non_null(w->rl);
}

static void on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

static int tear_down(void **state)
{
    struct world *w = *state;

    w->hop->answer = w->second->answer = NULL; /* the rules were the test's */
    if (w->relay) {
        if (!w->stopped)
            relay_stop(w->relay, on_stopped, w);
        for (unsigned i = 0; i < 2000 && !w->stopped; i++)
            net_loop_turn(w->loop, 10);
        assert_true(w->stopped);
        assert_null(w->rl->conns);
        assert_int_equal(w->rl->reading, 0);
        relay_loop_free(w->rl);
    }
    fake_hop_free(w->hop);
    fake_hop_free(w->second);
    fake_spool_free(w->spool);
    relay_free(w->relay);
    net_loop_free(w->loop);
    free(w);
    return 0;
}

/* Turns the loop and the spool until `cond` holds; fails the test if it never does. */
#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        unsigned turns_ = 0;                                                                       \
        while (!(cond)) {                                                                          \
            assert_true(turns_++ < 4000);                                                          \
            net_loop_turn((w)->loop, 2);                                                           \
            fake_spool_turn((w)->spool);                                                           \
        }                                                                                          \
    } while (0)

static struct spool_message *message(struct world *w, const char *to, const char *content)
{
    return fake_spool_message(w->spool, "sender@a.example", to, str_of(content), w->now);
}

/* Hands it over as committed; the ID. */
static uint64_t commit(struct world *w, struct spool_message *m)
{
    uint64_t id = m->id;

    relay_committed(w->relay, &m, 1);
    spool_message_unref(m);
    return id;
}

static uint64_t submit(struct world *w, const char *to)
{
    return commit(w, message(w, to, "Subject: x\r\n\r\nhello\r\n.dot\r\n"));
}

static struct relay_stats stats(struct world *w)
{
    struct relay_stats s;

    relay_get_stats(w->relay, &s);
    return s;
}

static bool stored(struct world *w, uint64_t id, uint32_t recipient, uint8_t state)
{
    const struct fake_outcome *o = fake_spool_outcome(w->spool, id, recipient);

    return o && o->state == state;
}

/* What hops answer: the first rule whose text begins the line, for sessions from..to. */
struct rule {
    const char *line;
    const char *answer;
    unsigned from, upto; /* sessions; upto 0: all */
    unsigned times;      /* 0: always */
};

static const char *by_rules(struct fake_hop *hop, unsigned session, const char *line)
{
    for (struct rule *r = hop->user; r && r->line; r++) {
        if (strncmp(line, r->line, strlen(r->line)) != 0 || session < r->from ||
            (r->upto && session >= r->upto))
            continue;
        if (r->times && --r->times == 0)
            r->line = "\x01";
        return r->answer;
    }
    return NULL;
}

static void rules(struct fake_hop *hop, struct rule *r)
{
    hop->answer = by_rules;
    hop->user = r;
}

/* ---- the good way ---- */

static void a_message_arrives_octet_for_octet(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin(w, false);
    id = submit(w, "b@b.example");
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->count, 1);
    assert_string_equal(w->hop->messages[0].from, "sender@a.example");
    assert_string_equal(w->hop->messages[0].to, "b@b.example");
    assert_string_equal(buf_cstr(&w->hop->messages[0].content),
                        "Subject: x\r\n\r\nhello\r\n.dot\r\n");
    assert_int_equal(stats(w).messages, 0);
    assert_int_equal(stats(w).delivered, 1);
}

static void connections_are_reused_and_end_after_some_seconds(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->config.idle_ms = 30;
    begin(w, false);
    for (unsigned i = 0; i < 5; i++) {
        id = submit(w, "b@b.example");
        UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    }
    assert_int_equal(w->hop->count, 5);
    assert_int_equal(w->hop->sessions, 1);
    UNTIL(w, w->hop->open == 0);
    assert_int_equal(stats(w).connections, 0);
    id = submit(w, "b@b.example");
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->sessions, 2);
}

static void the_next_message_begins_in_the_write_of_the_last_dot(void **state)
{
    enum { MANY = 40 };
    struct world *w = *state;

    w->routes.routes[0].max_concurrency = 1;
    begin(w, false);
    w->routes.routes[0].max_concurrency = 1;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < MANY; i++)
        submit(w, "b@b.example");
    UNTIL(w, stats(w).delivered == MANY);
    assert_int_equal(w->hop->sessions, 1);
    assert_int_equal(w->hop->count, MANY);
    /* EHLO, the first MAIL, then one packet for each message. */
    assert_true(w->hop->reads <= MANY + 3);
}

static void many_messages_share_a_few_connections(void **state)
{
    enum { MANY = 400 };
    struct world *w = *state;

    begin(w, false);
    for (unsigned i = 0; i < MANY; i++) {
        char to[64];

        snprintf(to, sizeof to, "b%u@b.example", i);
        submit(w, to);
    }
    UNTIL(w, stats(w).delivered == MANY);
    for (unsigned i = 0; i < MANY; i++) {
        char to[64];

        snprintf(to, sizeof to, "b%u@b.example", i);
        assert_non_null(fake_hop_find(w->hop, to));
    }
    assert_int_equal(w->hop->count, MANY);
    assert_true(w->hop->sessions <= RELAY_CONCURRENCY_DEFAULT);
    assert_int_equal(stats(w).cached_octets, 0);
}

static void a_hop_without_extensions_is_served_step_by_step(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->extensions = "250 HELP\r\n";
    begin(w, false);
    for (unsigned i = 0; i < 3; i++)
        id = submit(w, "b@b.example c@b.example");
    UNTIL(w, stats(w).delivered == 6);
    assert_true(stored(w, id, 1, SPOOL_DELIVERED));
    assert_int_equal(w->hop->count, 3);
}

/* ---- content that is not in memory ---- */

static char *letters(size_t n)
{
    char *p = malloc(n + 1);

    for (size_t i = 0; i < n; i++)
        p[i] = i % 72 == 70 ? '\r' : i % 72 == 71 ? '\n' : i % 72 == 0 && i % 5 == 0 ? '.' : 'x';
    p[n - 2] = '\r';
    p[n - 1] = '\n';
    p[n] = 0;
    return p;
}

static void large_content_is_streamed_in_pieces(void **state)
{
    enum { SIZE = 3000024 };
    struct world *w = *state;
    char *content = letters(SIZE);
    struct spool_message *m;
    uint64_t id;

    w->config.read_budget = 300000; /* one piece at a time */
    begin(w, false);
    m = message(w, "b@b.example", content);
    spool_message_uncache(m);
    id = commit(w, m);
    m = message(w, "c@b.example", content);
    spool_message_uncache(m);
    commit(w, m);
    UNTIL(w, stats(w).delivered == 2);
    assert_true(stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->hop->messages[0].content.n, SIZE);
    assert_memory_equal(w->hop->messages[0].content.p, content, SIZE);
    assert_memory_equal(w->hop->messages[1].content.p, content, SIZE);
    free(content);
}

static void a_deferred_message_is_read_back(void **state)
{
    struct world *w = *state;
    struct rule once[] = { { "MAIL", "451 4.3.0 later\r\n", .times = 1 }, { 0 } };
    uint64_t id;

    rules(w->hop, once);
    begin(w, false);
    id = submit(w, "b@b.example");
    UNTIL(w, stored(w, id, 0, SPOOL_QUEUED));
    assert_int_equal(stats(w).deferred, 1);
    assert_int_equal(stats(w).cached_octets, 0);
    assert_string_equal(fake_spool_outcome(w->spool, id, 0)->reply, "4.3.0 later");
    w->now += 40 * second;
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    assert_string_equal(buf_cstr(&w->hop->messages[0].content),
                        "Subject: x\r\n\r\nhello\r\n.dot\r\n");
}

static void damaged_content_fails_and_is_told(void **state)
{
    struct world *w = *state;
    struct spool_message *m;
    uint64_t id, good;

    begin(w, false);
    w->spool->fail_read = PT_ERR_CORRUPT;
    m = message(w, "b@b.example", "x\r\n");
    spool_message_uncache(m);
    id = commit(w, m);
    UNTIL(w, stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(w->spool->last_bounce, "5.3.0"));
    w->spool->fail_read = PT_ERR_OK;
    good = submit(w, "c@b.example");
    UNTIL(w, stored(w, good, 0, SPOOL_DELIVERED));
}

static void content_that_cannot_be_read_now_waits(void **state)
{
    struct world *w = *state;
    struct spool_message *m;
    uint64_t id;

    begin(w, false);
    w->spool->fail_read = PT_ERR_IO;
    m = message(w, "b@b.example", "x\r\n");
    spool_message_uncache(m);
    id = commit(w, m);
    UNTIL(w, stored(w, id, 0, SPOOL_QUEUED));
    w->spool->fail_read = PT_ERR_OK;
    w->now += 40 * second;
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
}

static void a_bare_line_feed_never_goes_out(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin(w, false);
    id = commit(w, message(w, "b@b.example", "Subject: x\r\n\r\na\nb\r\n"));
    UNTIL(w, stored(w, id, 0, SPOOL_FAILED));
    assert_null(fake_hop_find(w->hop, "b@b.example"));
    assert_non_null(strstr(fake_spool_outcome(w->spool, id, 0)->reply, "5.6.0"));
}

/* ---- refusals ---- */

static void each_recipient_ends_for_itself(void **state)
{
    struct world *w = *state;
    struct rule some[] = {
        { "RCPT TO:<busy@", "450 4.2.1 busy\r\n", .times = 1 },
        { "RCPT TO:<none@", "550 5.1.1 no such user\r\n" },
        { 0 },
    };
    uint64_t id;

    rules(w->hop, some);
    begin(w, false);
    id = submit(w, "good@b.example busy@b.example none@b.example");
    UNTIL(w, w->spool->bounces == 1);
    assert_true(stored(w, id, 0, SPOOL_DELIVERED));
    assert_true(stored(w, id, 1, SPOOL_QUEUED));
    assert_true(stored(w, id, 2, SPOOL_FAILED));
    assert_string_equal(w->spool->last_bounce_to, "sender@a.example");
    assert_non_null(strstr(w->spool->last_bounce, "none@b.example"));
    assert_null(strstr(w->spool->last_bounce, "busy@b.example"));
    assert_non_null(strstr(w->spool->last_bounce, "5.1.1"));
    w->now += 40 * second;
    UNTIL(w, stored(w, id, 1, SPOOL_DELIVERED));
    /* The bounce itself was delivered to the sender. */
    UNTIL(w, fake_hop_find(w->hop, "sender@a.example") != NULL);
    assert_string_equal(fake_hop_find(w->hop, "sender@a.example")->from, "");
    assert_string_equal(fake_hop_find(w->hop, "busy@b.example")->to, "busy@b.example");
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
}

static void no_bounce_for_the_null_sender_or_never(void **state)
{
    struct world *w = *state;
    struct rule none[] = { { "RCPT", "550 5.1.1 no such user\r\n" }, { 0 } };
    struct spool_message *m;
    uint64_t id;

    rules(w->hop, none);
    begin(w, false);
    m = message(w, "b@b.example", "x\r\n");
    m->reverse_path = STR("");
    id = commit(w, m);
    UNTIL(w, stored(w, id, 0, SPOOL_FAILED));
    m = message(w, "b@b.example", "x\r\n");
    m->recipients[0].notify = SMTP_NOTIFY_NEVER;
    id = commit(w, m);
    UNTIL(w, stored(w, id, 0, SPOOL_FAILED));
    assert_int_equal(w->spool->bounces, 0);
    assert_int_equal(stats(w).messages, 0);
}

static void a_bounce_of_what_was_read_back_returns_it(void **state)
{
    struct world *w = *state;
    struct rule none[] = { { "RCPT TO:<b@", "550 5.1.1 no such user\r\n" }, { 0 } };
    struct spool_message *m;

    rules(w->hop, none);
    begin(w, false);
    m = message(w, "b@b.example", "Subject: remember me\r\n\r\nx\r\n");
    spool_message_uncache(m);
    commit(w, m);
    UNTIL(w, w->spool->bounces == 1);
    assert_non_null(strstr(w->spool->last_bounce, "Subject: remember me"));
}

static void eight_bits_are_not_sent_to_a_hop_without_8bitmime(void **state)
{
    struct world *w = *state;
    uint64_t id;

    w->hop->extensions = "250 PIPELINING\r\n";
    begin(w, false);
    id = commit(w, message(w, "b@b.example", "Subject: x\r\n\r\n\xC3\xA4\r\n"));
    UNTIL(w, stored(w, id, 0, SPOOL_FAILED));
    assert_non_null(strstr(fake_spool_outcome(w->spool, id, 0)->reply, "5.6.3"));
    assert_null(fake_hop_find(w->hop, "b@b.example"));
}

static void what_is_too_old_is_given_up_with_the_last_reason(void **state)
{
    struct world *w = *state;
    struct rule never[] = { { "RCPT TO:<b@", "450 4.2.1 mailbox busy\r\n" }, { 0 } };
    uint64_t id;

    rules(w->hop, never);
    begin(w, false);
    id = submit(w, "b@b.example");
    UNTIL(w, stored(w, id, 0, SPOOL_QUEUED));
    w->now += 6 * 86400 * second;
    UNTIL(w, stored(w, id, 0, SPOOL_FAILED));
    UNTIL(w, w->spool->bounces == 1);
    assert_non_null(strstr(w->spool->last_bounce, "4.4.7"));
    assert_non_null(strstr(w->spool->last_bounce, "mailbox busy"));
}

/* ---- next hops that fail ---- */

static void a_refused_connection_defers_and_rests(void **state)
{
    struct world *w = *state;
    uint64_t id, later;

    fake_hop_close_listener(w->hop);
    begin(w, false);
    id = submit(w, "b@b.example");
    UNTIL(w, stored(w, id, 0, SPOOL_QUEUED));
    assert_non_null(strstr(fake_spool_outcome(w->spool, id, 0)->reply, "Connection refused"));
    assert_int_equal(stats(w).connect_failures, 1);
    later = submit(w, "c@b.example");
    for (unsigned i = 0; i < 20; i++)
        net_loop_turn(w->loop, 1);
    assert_int_equal(stats(w).connect_failures, 1);
    assert_null(fake_spool_outcome(w->spool, later, 0));
}

static void the_second_hop_is_taken_when_the_first_refuses(void **state)
{
    struct world *w = *state;
    uint64_t id;

    fake_hop_close_listener(w->hop);
    begin(w, true);
    id = submit(w, "b@b.example");
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(w->second->count, 1);
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_QUEUED), 0);
}

/* 421, a closed or reset connection, silence or nonsense at any step before the end of data: the
 * second hop gets the message, once. */
static void the_second_hop_is_taken_whatever_the_first_does(void **state)
{
    static const char *const steps[] = { "greeting", "EHLO", "MAIL", "RCPT", "DATA" };
    const char *const acts[] = { "421 4.3.2 closing\r\n", HOP_CLOSE, HOP_RESET, HOP_SILENT,
                                 "250-endless\r\n999 nonsense\r\n" };
    struct world *w = *state;
    unsigned n = 0;

    w->config.silence_ms = 40;
    w->config.idle_ms = 1;
    begin(w, true);
    for (size_t s = 0; s < PT_ARRAY_LEN(steps); s++) {
        for (size_t a = 0; a < PT_ARRAY_LEN(acts); a++) {
            struct rule r[] = { { steps[s], acts[a] }, { 0 } };
            uint64_t id;

            print_message("%s: %s\n", steps[s], acts[a]);
            rules(w->hop, r);
            w->now += 3600 * second; /* the first hop is no longer avoided */
            id = submit(w, "b@b.example");
            UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
            UNTIL(w, w->second->open == 0 && stats(w).connections == 0);
            assert_int_equal(w->second->count, ++n);
            assert_int_equal(w->hop->count, 0);
        }
    }
}

static void one_hop_that_fails_at_any_step_defers(void **state)
{
    static const char *const steps[] = { "greeting", "EHLO", "MAIL", "RCPT", "DATA" };
    const char *const acts[] = { "421 4.3.2 closing\r\n", HOP_CLOSE, HOP_RESET, HOP_SILENT };
    struct world *w = *state;

    w->config.silence_ms = 40;
    w->config.idle_ms = 1;
    begin(w, false);
    for (size_t s = 0; s < PT_ARRAY_LEN(steps); s++) {
        for (size_t a = 0; a < PT_ARRAY_LEN(acts); a++) {
            struct rule r[] = { { steps[s], acts[a] }, { 0 } };
            uint64_t id;

            print_message("%s: %s\n", steps[s], acts[a]);
            rules(w->hop, r);
            id = submit(w, "b@b.example");
            UNTIL(w, stored(w, id, 0, SPOOL_QUEUED));
            assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_QUEUED), 1);
            rules(w->hop, NULL);
            w->now += 7200 * second;
            UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
            UNTIL(w, stats(w).connections == 0);
            assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
        }
    }
    assert_int_equal(w->hop->count, PT_ARRAY_LEN(steps) * PT_ARRAY_LEN(acts));
}

static void lost_after_the_final_dot_is_in_doubt(void **state)
{
    const char *const acts[] = { HOP_CLOSE, HOP_RESET, HOP_SILENT };
    struct world *w = *state;

    w->config.silence_ms = 40;
    begin(w, false);
    for (size_t a = 0; a < PT_ARRAY_LEN(acts); a++) {
        struct rule r[] = { { ".", acts[a], .times = 1 }, { 0 } };
        uint64_t id;

        rules(w->hop, r);
        id = submit(w, "b@b.example");
        UNTIL(w, stored(w, id, 0, SPOOL_IN_DOUBT));
        w->now += 290 * second;
        for (unsigned i = 0; i < 20; i++) {
            net_loop_turn(w->loop, 1);
            fake_spool_turn(w->spool);
        }
        assert_true(stored(w, id, 0, SPOOL_IN_DOUBT));
        w->now += 20 * second;
        UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    }
}

static void only_the_message_behind_the_dot_is_in_doubt(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { ".", HOP_CLOSE, .times = 1 }, { 0 } };
    struct spool_message *batch[3];
    uint64_t ids[3];
    unsigned doubts = 0;

    rules(w->hop, r);
    begin(w, false);
    w->routes.routes[0].max_concurrency = 1;
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < 3; i++) {
        batch[i] = message(w, "b@b.example", "x\r\n");
        ids[i] = batch[i]->id;
    }
    relay_committed(w->relay, batch, 3);
    for (unsigned i = 0; i < 3; i++)
        spool_message_unref(batch[i]);
    UNTIL(w, stored(w, ids[0], 0, SPOOL_IN_DOUBT));
    w->now += 400 * second;
    UNTIL(w, stored(w, ids[0], 0, SPOOL_DELIVERED) && stored(w, ids[1], 0, SPOOL_DELIVERED) &&
                 stored(w, ids[2], 0, SPOOL_DELIVERED));
    for (unsigned i = 0; i < 3; i++)
        doubts += fake_spool_count(w->spool, ids[i], 0, SPOOL_IN_DOUBT);
    assert_int_equal(doubts, 1);
}

static void a_hop_that_ends_after_each_message_delivers_all(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { "MAIL FROM:<again", HOP_CLOSE }, { 0 } };

    rules(w->hop, r);
    w->hop->extensions = "250-PIPELINING\r\n250 LIMITS MAILMAX=1\r\n";
    begin(w, false);
    for (unsigned i = 0; i < 30; i++)
        submit(w, "b@b.example");
    UNTIL(w, stats(w).delivered == 30);
    assert_int_equal(w->hop->count, 30);
    assert_int_equal(w->hop->sessions, 30);
    assert_int_equal(stats(w).deferrals, 0);
}

static void a_dead_destination_touches_no_other(void **state)
{
    struct world *w = *state;
    uint64_t id;

    fake_hop_close_listener(w->second);
    begin(w, false);
    routes_add_hop(&w->routes, routes_add(&w->routes, "dead.example"), "127.0.0.1",
                   w->second->endpoint.port);
    assert_true(relay_set_settings(w->relay, &w->routes.settings));
    for (unsigned i = 0; i < 100; i++)
        submit(w, "b@dead.example");
    for (unsigned i = 0; i < 100; i++)
        submit(w, "b@b.example");
    UNTIL(w, stats(w).delivered == 100);
    assert_true(stats(w).connect_failures >= 1);
    assert_int_equal(stats(w).messages, 100);
    /* Both recipients of one message, each by its own way. */
    id = submit(w, "b@b.example b@dead.example");
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(stats(w).messages, 101);
}

static void a_destination_that_comes_back_gets_all_that_waited(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { "greeting", "421 4.3.2 not now\r\n" }, { 0 } };

    rules(w->hop, r);
    begin(w, false);
    for (unsigned i = 0; i < 60; i++)
        submit(w, "b@b.example");
    UNTIL(w, stats(w).deferrals >= 1);
    for (unsigned i = 0; i < 3; i++) {
        w->now += 200 * second;
        for (unsigned k = 0; k < 20; k++) {
            net_loop_turn(w->loop, 1);
            fake_spool_turn(w->spool);
        }
    }
    rules(w->hop, NULL);
    w->now += 700 * second;
    UNTIL(w, stats(w).delivered == 60);
    assert_int_equal(w->hop->count, 60);
    assert_int_equal(stats(w).messages, 0);
}

/* ---- the spool fails ---- */

static void an_outcome_that_cannot_be_stored_is_stored_later(void **state)
{
    struct world *w = *state;
    uint64_t id;

    begin(w, false);
    w->spool->fail = PT_ERR_NOSPACE;
    id = submit(w, "b@b.example");
    UNTIL(w, stats(w).unsaved == 1);
    assert_int_equal(stats(w).messages, 0);
    UNTIL(w, w->rl->ticks > 20);
    w->spool->fail = PT_ERR_OK;
    UNTIL(w, stored(w, id, 0, SPOOL_DELIVERED));
    assert_int_equal(stats(w).unsaved, 0);
    assert_int_equal(w->hop->count, 1);
    assert_int_equal(fake_spool_count(w->spool, id, 0, SPOOL_DELIVERED), 1);
}

/* ---- the end ---- */

static void stopping_gives_back_what_is_not_past_its_dot(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { "DATA", HOP_SILENT }, { 0 } };
    uint64_t id;

    rules(w->hop, r);
    begin(w, false);
    id = submit(w, "b@b.example");
    UNTIL(w, w->hop->reads >= 2);
    relay_stop(w->relay, on_stopped, w);
    UNTIL(w, w->stopped);
    assert_null(fake_spool_outcome(w->spool, id, 0));
    assert_int_equal(stats(w).ready, 1);
}

static void stopping_waits_for_the_reply_to_the_dot(void **state)
{
    struct world *w = *state;
    struct rule r[] = { { ".", HOP_SILENT }, { 0 } };
    uint64_t id;

    rules(w->hop, r);
    w->config.stop_ms = 50;
    begin(w, false);
    id = submit(w, "b@b.example");
    UNTIL(w, w->hop->list && w->hop->reads >= 3);
    for (unsigned i = 0; i < 5; i++)
        net_loop_turn(w->loop, 1);
    relay_stop(w->relay, on_stopped, w);
    net_loop_turn(w->loop, 1);
    assert_false(w->stopped);
    UNTIL(w, w->stopped);
    fake_spool_turn(w->spool);
    assert_true(stored(w, id, 0, SPOOL_IN_DOUBT));
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(a_message_arrives_octet_for_octet),
        T(connections_are_reused_and_end_after_some_seconds),
        T(the_next_message_begins_in_the_write_of_the_last_dot),
        T(many_messages_share_a_few_connections),
        T(a_hop_without_extensions_is_served_step_by_step),
        T(large_content_is_streamed_in_pieces),
        T(a_deferred_message_is_read_back),
        T(damaged_content_fails_and_is_told),
        T(content_that_cannot_be_read_now_waits),
        T(a_bare_line_feed_never_goes_out),
        T(each_recipient_ends_for_itself),
        T(no_bounce_for_the_null_sender_or_never),
        T(a_bounce_of_what_was_read_back_returns_it),
        T(eight_bits_are_not_sent_to_a_hop_without_8bitmime),
        T(what_is_too_old_is_given_up_with_the_last_reason),
        T(a_refused_connection_defers_and_rests),
        T(the_second_hop_is_taken_when_the_first_refuses),
        T(the_second_hop_is_taken_whatever_the_first_does),
        T(one_hop_that_fails_at_any_step_defers),
        T(lost_after_the_final_dot_is_in_doubt),
        T(only_the_message_behind_the_dot_is_in_doubt),
        T(a_hop_that_ends_after_each_message_delivers_all),
        T(a_dead_destination_touches_no_other),
        T(a_destination_that_comes_back_gets_all_that_waited),
        T(an_outcome_that_cannot_be_stored_is_stored_later),
        T(stopping_gives_back_what_is_not_past_its_dot),
        T(stopping_waits_for_the_reply_to_the_dot),
    };

    return cmocka_run_group_tests_name("relay/delivery", tests, NULL, NULL);
}
