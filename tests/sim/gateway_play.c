#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/relay/routes.h"
#include "gateway_world.h"
#include "relay/queue_view.h"
#include "smtp/envelope.h"

/*
 * What clients, administrators, next hops and fate do to a gateway.
 */

enum { SMTP_PORT = 25, LARGE = 300 * 1024 };
static const int64_t second_ns = 1000000000;

/* ---- settings ---- */

struct sim_settings {
    struct routes routes;
    char domains[DOMAINS][16];
    char hosts[DOMAINS][2][16];
};

static void add_hop(struct sim_settings *s, struct settings_route *route, unsigned d, unsigned k,
                    unsigned hop, bool by_name)
{
    char *host = s->hosts[d][k];

    snprintf(host, sizeof s->hosts[d][k], by_name ? "hop%u.example" : "10.0.0.%u",
             by_name ? hop : hop + 1);
    routes_add_hop(&s->routes, route, host, SMTP_PORT);
}

struct settings *world_settings(unsigned shift)
{
    struct sim_settings *s;

    if (!shift && world->settings_count)
        return &world->settings[world->settings_count - 1]->routes.settings;
    s = calloc(1, sizeof *s);
    pt_assert(s && world->settings_count < ROUTES_MAX);
    routes_init(&s->routes);
    for (unsigned d = 0; d < DOMAINS; d++) {
        struct settings_route *route;
        unsigned hop = (d + shift) % HOPS, kind = d ? (unsigned)below(4) : 0;

        snprintf(s->domains[d], sizeof s->domains[d], "d%u.example", d);
        route = routes_add(&s->routes, s->domains[d]);
        if (kind < 3)
            add_hop(s, route, d, 0, hop, kind == 2);
        if (kind == 1)
            add_hop(s, route, d, 1, (hop + 1) % HOPS, false);
    }
    world->settings[world->settings_count++] = s;
    return &s->routes.settings;
}

bool domain_is_saintly(unsigned domain)
{
    return domain == 0 && world->hops[0].saint;
}

static void reroute(void)
{
    if (world->settings_count == ROUTES_MAX)
        return;
    world->rerouted = true;
    if (!relay_set_settings(world->relay, world_settings(1 + (unsigned)below(HOPS - 1))))
        world_fail("new routes are refused");
}

/* ---- clients ---- */

/* Lines with dots, and now and then octets beyond ASCII, that follow from the number. */
static char *text(unsigned serial, uint64_t *size, bool eight_bit)
{
    struct rng rng;
    uint64_t room = *size + 1100, n;
    char *out = malloc(room);

    pt_assert(out);
    rng_seed(&rng, serial);
    n = (uint64_t)snprintf(out, room, "X-Sim: %u\r\nSubject: %s\r\n\r\n", serial,
                           eight_bit ? "caf\xc3\xa9" : "cafe");
    while (n < *size) {
        uint64_t line = rng_below(&rng, rng_below(&rng, 20) ? 79 : 990);

        for (uint64_t i = 0; i < line; i++)
            out[n + i] = (char)('!' + rng_below(&rng, 90));
        if (line && rng_below(&rng, 3) == 0)
            out[n] = '.';
        n += line;
        out[n++] = '\r';
        out[n++] = '\n';
    }
    *size = n;
    return out;
}

static void file_done(struct spool_file_op *op)
{
    (void)op;
}

/* False: the file could not be written; the client has its 451. */
static bool put_in_file(struct spool_message *m, const char *content)
{
    uint64_t at = 0;

    m->file = spool_file_new(world->spool);
    pt_assert(m->file);
    do {
        struct spool_file_op op = { .file = m->file, .done = file_done };
        uint64_t n = PT_MIN((uint64_t)100000, m->size - at);

        pt_assert(block_chain_add(&op.content, (struct str){ content + at, n }));
        at += n;
        op.finish = at == m->size;
        spool_file_submit(world->spool, &op);
        if (op.result)
            return false;
    } while (at < m->size);
    return true;
}

static void put_envelope(struct spool_message *m, unsigned serial)
{
    static const uint8_t notify[] = { SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE,
                                      0,
                                      0,
                                      0,
                                      SMTP_NOTIFY_NEVER,
                                      SMTP_NOTIFY_SUCCESS,
                                      SMTP_NOTIFY_FAILURE,
                                      SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY };
    unsigned count = 1 + (unsigned)(one_in(2) ? below(RCPTS_MAX) : 0);
    char address[48];

    snprintf(address, sizeof address, "s%u@d%u.example", serial, DOMAINS - 1);
    m->reverse_path = one_in(6) ? STR("") : arena_str(&m->arena, str_of(address));
    m->helo = arena_str(&m->arena, STR("client.example"));
    m->client = arena_str(&m->arena, STR("192.0.2.1"));
    m->ret = (uint8_t)below(3);
    m->recipients = arena_zalloc(&m->arena, count * sizeof *m->recipients);
    pt_assert(m->recipients);
    m->recipient_count = count;
    for (unsigned i = 0; i < count; i++) {
        snprintf(address, sizeof address, "m%u-%u@d%u.example", serial, i,
                 (unsigned)below(DOMAINS));
        m->recipients[i].address = arena_str(&m->arena, str_of(address));
        m->recipients[i].notify = notify[below(PT_ARRAY_LEN(notify))];
    }
}

static void client_done(struct spool_op *op)
{
    spool_message_unref(op->message);
    free(op);
}

static void client_sends(void)
{
    struct spool_message *m = spool_message_new();
    struct spool_op *op = calloc(1, sizeof *op);
    unsigned serial = ++world->model.serial;
    bool eight_bit = one_in(5), large = one_in(12);
    char *content;

    pt_assert(m && op);
    m->id = spool_new_id(world->spool);
    m->received_us = wall_us();
    put_envelope(m, serial);
    m->size = large ? below(LARGE) : one_in(6) ? below(16000) : below(2000);
    content = text(serial, &m->size, eight_bit);
    m->flags = eight_bit ? SPOOL_8BIT | SPOOL_BODY_8BITMIME : 0;
    if (large && !put_in_file(m, content)) {
        if (!disk_has_trouble() && !world_is_dead())
            world_fail("a file cannot be written and nothing is wrong with the disk");
        spool_message_unref(m);
        free(content);
        free(op);
        return;
    }
    if (!large) {
        pt_assert(block_chain_add(&m->content, (struct str){ content, m->size }));
        m->cached = true;
    }
    model_add(m, serial, content);
    *op = (struct spool_op){ .kind = SPOOL_OP_MESSAGE, .message = m, .done = client_done };
    spool_submit(world->spool, op);
}

/* ---- administrators ---- */

/* Mostly one that waits. */
static struct sim_mail *some_mail(void)
{
    struct sim_mail *m = NULL;

    for (unsigned tries = 0; world->model.count && tries < 16; tries++) {
        m = world->model.mails[below(world->model.count)];
        for (uint32_t i = 0; i < m->rcpt_count; i++)
            if (m->accepted && !m->deleted && m->rcpts[i].end == SPOOL_QUEUED)
                return m;
    }
    return m;
}

static void note_request(struct sim_mail *m, enum relay_view_action action)
{
    m->touched = true;
    m->delete_asked = m->delete_asked || action == RELAY_VIEW_DELETE;
    m->bounce_asked = m->bounce_asked || action == RELAY_VIEW_BOUNCE;
}

static void act(enum relay_view_action action, const struct relay_view_selection *selection,
                struct sim_mail *only)
{
    uint64_t count;
    enum pt_err err;

    for (unsigned i = 0; i < world->model.count; i++)
        if (!only || world->model.mails[i] == only)
            note_request(world->model.mails[i], action);
    err = relay_view_act(world->relay, action, selection, &count);
    world_note(5000 + count);
    if (err && err != PT_ERR_NOTFOUND && !disk_has_trouble() && !world_is_dead())
        world_fail("an administrator's request fails: %s", pt_err_text(err));
}

/* A next hop that is no saint is left alone for a while. */
static void suspend_or_resume(void)
{
    static const struct relay_view_suspension s = { .destination = "10.0.0.2:25",
                                                    .reason = "",
                                                    .by = "sim" };

    if (one_in(2))
        PT_IGNORE(relay_view_resume(world->relay, STR("10.0.0.2:25")), "perhaps it was not");
    else if (relay_view_suspend(world->relay, &s) != PT_ERR_OK)
        world_fail("a destination cannot be suspended");
}

static void administrator_acts(void)
{
    static const enum relay_view_action actions[] = {
        RELAY_VIEW_RETRY,  RELAY_VIEW_RETRY,    RELAY_VIEW_HOLD,
        RELAY_VIEW_HOLD,   RELAY_VIEW_RELEASE,  RELAY_VIEW_DELETE,
        RELAY_VIEW_BOUNCE, RELAY_VIEW_REDIRECT, RELAY_VIEW_REDIRECT,
    };
    enum relay_view_action action = actions[below(PT_ARRAY_LEN(actions))];
    struct sim_mail *m = some_mail();
    struct relay_view_selection selection = { 0 };
    uint64_t id = m ? m->id : 1;
    char next_hop[24];

    if (one_in(8)) {
        suspend_or_resume();
        return;
    }
    if (action == RELAY_VIEW_REDIRECT && !one_in(3)) {
        snprintf(next_hop, sizeof next_hop, "10.0.0.%u:25", (unsigned)below(HOPS) + 1);
        selection.next_hop = str_of(next_hop);
    }
    if (one_in(8)) {
        selection.all = true;
        m = NULL;
    } else if (one_in(4)) {
        selection.destination = one_in(2) ? STR("10.0.0.1:25") : STR("d3.example");
        m = NULL;
    } else if (m) {
        selection.ids = &id;
        selection.id_count = 1;
    } else {
        return;
    }
    act(action, &selection, m);
}

/* ---- next hops ---- */

static void hop_changes(void)
{
    struct sim_hop *h = &world->hops[below(HOPS)];

    if (h->saint)
        return;
    h->down = h->unreachable = h->black_hole = h->slow = false;
    h->percent = world->trouble.hop_percent;
    switch (below(8)) {
    case 0:
        h->down = true;
        break;
    case 1:
        h->unreachable = true;
        break;
    case 2:
        h->black_hole = true;
        break;
    case 3:
        h->percent = 80;
        break;
    case 4:
        h->percent = 0;
        break;
    case 5:
        h->slow = true;
        break;
    case 6:
        hop_dies(h);
        h->down = true;
        break;
    default:
        hop_dies(h);
        break;
    }
}

/* ---- fate ---- */

static void disk_changes(void)
{
    struct world *w = world;

    sim_disk_fail_one_in(w->disk, 0);
    sim_disk_fail_in(w->disk, 0, 0);
    sim_disk_capacity(w->disk, 0);
    if (w->trouble.disk_fails && one_in(2))
        sim_disk_fail_one_in(w->disk, 2 + below(40));
    else if (w->trouble.disk_fails && one_in(2))
        sim_disk_fail_in(w->disk, 1 + below(60), 1 + below(30));
    if (w->trouble.disk_fills && one_in(2))
        sim_disk_capacity(w->disk, sim_disk_used(w->disk) + below(200000));
}

static void clock_jumps(void)
{
    static const int64_t spans[] = { 10, 1000, 20000, 200000 };
    int64_t span = spans[below(PT_ARRAY_LEN(spans))];

    world->jumped = true;
    world->wall_offset_us += ((int64_t)below(2 * (uint64_t)span) - span) * 1000000;
}

static void check_alive(void)
{
    if (!sim_disk_crashed(world->disk)) {
        model_check();
        return;
    }
    gateway_bury();
    /* What was on its way arrives while nobody is there. */
    sim_net_advance(world->net.now_ns + (int64_t)below(one_in(3) ? 3600 : 3) * second_ns);
    gateway_start();
}

static void kill_gateway(void)
{
    sim_disk_stop(world->disk);
    check_alive();
}

static void restart(void)
{
    gateway_stop();
    sim_net_advance(world->net.now_ns + (int64_t)below(5) * second_ns);
    gateway_start();
}

static void live_until(int64_t at_ns)
{
    while (world->net.now_ns < at_ns) {
        gateway_step(at_ns);
        check_alive();
    }
}

static int64_t some_gap(void)
{
    static const uint64_t spans_ms[] = { 1, 50, 1000, 1000, 30000, 600000, 7200000 };
    /* A spool without room tries again each second, which takes the simulated disk long. */
    size_t choice = PT_ARRAY_LEN(spans_ms) - 2 * world->trouble.disk_fills;

    return (int64_t)below(spans_ms[below(choice)]) * 1000000;
}

static void something_happens(void)
{
    const struct trouble *t = &world->trouble;

    switch (below(12)) {
    case 0:
    case 1:
    case 2:
        hop_changes();
        break;
    case 3:
        world->net.dns_fails = one_in(4);
        break;
    case 4:
        if (t->disk_fails || t->disk_fills)
            disk_changes();
        break;
    case 5:
        if (t->clock_jumps)
            clock_jumps();
        break;
    case 6:
        if (t->reroutes)
            reroute();
        break;
    case 7:
        if (t->crashes)
            kill_gateway();
        break;
    case 8:
        if (t->restarts)
            restart();
        break;
    default:
        for (uint64_t n = t->administrators ? 1 + below(4) : 0; n; n--)
            administrator_acts();
        break;
    }
    check_alive();
}

/* ---- the end of all trouble ---- */

static void calm_down(void)
{
    struct world *w = world;

    w->calm = true;
    w->net.dns_fails = false;
    if (!w->one_call) {
        sim_disk_crash_in(w->disk, 0);
        sim_disk_fail_one_in(w->disk, 0);
        sim_disk_fail_in(w->disk, 0, 0);
        sim_disk_capacity(w->disk, 0);
    }
    for (unsigned i = 0; i < HOPS; i++) {
        struct sim_hop *h = &w->hops[i];

        h->down = h->unreachable = h->black_hole = h->slow = false;
    }
    check_alive();
}

static void release_all(void)
{
    struct relay_view_selection all = { .all = true };

    act(RELAY_VIEW_RELEASE, &all, NULL);
    PT_IGNORE(relay_view_resume(world->relay, STR("10.0.0.2:25")), "perhaps it was not");
}

static void drain(void)
{
    int64_t limit_ns = world->net.now_ns + (5 * world->retry.ceiling_us + 3600000000) * 1000;

    live_until(world->net.now_ns + 10 * second_ns);
    release_all();
    while (!model_drained()) {
        gateway_step(limit_ns);
        check_alive();
        if (world->net.now_ns >= limit_ns)
            world_fail("the queue does not drain although everything works");
    }
}

/* Nothing is left in memory, on the disk or on the network. */
static void check_empty(void)
{
    struct relay_stats relay;
    struct spool_stats spool;

    live_until(world->net.now_ns + 1200 * second_ns);
    relay_get_stats(world->relay, &relay);
    spool_get_stats(world->spool, &spool);
    if (relay.messages || relay.ready || relay.deferred || relay.busy || relay.held ||
        relay.unsaved)
        world_fail("the queue is not empty");
    if (relay.cached_octets || relay.connections)
        world_fail("%" PRIu64 " octets and %" PRIu64 " connections are left", relay.cached_octets,
                   relay.connections);
    for (unsigned i = 0; i < LOOPS; i++) {
        const struct relay_loop *rl = world->relay_loops[i];

        if (rl->conn_count || rl->jobs || rl->reading || rl->starved || rl->idle)
            world_fail("loop %u still has %u connections, %u jobs, %" PRIu64 " octets", i,
                       rl->conn_count, rl->jobs, rl->reading);
    }
    if (spool.messages || !spool.accepting)
        world_fail("the spool keeps %" PRIu64 " messages, and is%s accepting", spool.messages,
                   spool.accepting ? "" : " not");
    if (sim_net_links())
        world_fail("%u connections are left", sim_net_links());
}

void world_play(unsigned messages)
{
    sim_disk_fail_in(world->disk, world->fail_call, world->fail_call != 0);
    sim_disk_crash_in(world->disk, world->crash_call);
    gateway_start();
    while (world->model.serial < messages) {
        live_until(world->net.now_ns + some_gap());
        if (one_in(3))
            something_happens();
        else
            client_sends();
        check_alive();
    }
    live_until(world->net.now_ns + some_gap());
    calm_down();
    drain();
    model_check_end();
    check_empty();
    gateway_stop();
    if (block_in_use() != world->blocks_before)
        world_fail("%" PRIu64 " blocks of memory are left", block_in_use() - world->blocks_before);
    gateway_start();
    gateway_stop();
}
