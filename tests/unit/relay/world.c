#include "world.h"

#include "base/log.h"

static int64_t world_now(void *ctx)
{
    return ((struct world *)ctx)->now;
}

int world_set_up(void **state)
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
void world_begin(struct world *w, bool with_second)
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

void world_on_stopped(void *ctx)
{
    ((struct world *)ctx)->stopped = true;
}

int world_tear_down(void **state)
{
    struct world *w = *state;

    w->hop->answer = w->second->answer = NULL; /* the rules were the test's */
    if (w->relay) {
        if (!w->stopped)
            relay_stop(w->relay, world_on_stopped, w);
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

void world_turn(struct world *w)
{
    net_loop_turn(w->loop, 2);
    fake_spool_turn(w->spool);
}

void world_turns(struct world *w, unsigned n)
{
    while (n--)
        world_turn(w);
}

struct spool_message *world_message(struct world *w, const char *to, const char *content)
{
    return fake_spool_message(w->spool, "sender@a.example", to, str_of(content), w->now);
}

uint64_t world_commit(struct world *w, struct spool_message *m)
{
    uint64_t id = m->id;

    relay_committed(w->relay, &m, 1);
    spool_message_unref(m);
    return id;
}

uint64_t world_submit(struct world *w, const char *to)
{
    return world_commit(w, world_message(w, to, "Subject: x\r\n\r\nhello\r\n.dot\r\n"));
}

struct relay_stats world_stats(struct world *w)
{
    struct relay_stats s;

    relay_get_stats(w->relay, &s);
    return s;
}

bool world_stored(struct world *w, uint64_t id, uint32_t recipient, uint8_t state)
{
    const struct fake_outcome *o = fake_spool_outcome(w->spool, id, recipient);

    return o && o->state == state;
}

static const char *by_rules(struct fake_hop *hop, unsigned session, const char *line)
{
    (void)session;
    for (struct rule *r = hop->user; r && r->line; r++) {
        if (strncmp(line, r->line, strlen(r->line)) != 0)
            continue;
        if (r->times && --r->times == 0)
            r->line = "\x01";
        return r->answer;
    }
    return NULL;
}

void world_rules(struct fake_hop *hop, struct rule *r)
{
    hop->answer = by_rules;
    hop->user = r;
}
