#include "../unit/relay/world.h"

#include "base/rng.h"

/*
 * The relay against two next hops that misbehave at random, at any step, over a spool whose reads
 * and writes fail now and then. From a seed follow all choices; what does not repeat is the order
 * in which the kernel hands over octets, so the promises are checked, not a recording:
 *
 *   - each recipient ends exactly once, delivered or failed, and nothing stays queued;
 *   - a next hop has a recipient's message at most once more than it was in doubt, at least once
 *     when it counts as delivered, and octet for octet;
 *   - whoever failed is told about in exactly one notice, unless the sender is null; whoever waits
 *     for long, in one at most.
 */

enum { MESSAGES = 24, RECIPIENTS_MAX = 3, WILD_TURNS = 250, TURNS_MAX = 6000 };

static const char content[] = "Subject: chaos\r\n\r\n.dots\r\n..more\r\nand text\r\n";

struct sent {
    uint64_t id;
    uint32_t recipients;
    bool null_sender;
};

struct chaos {
    struct world *w;
    struct rng rng;
    bool wild;
    unsigned percent; /* how often a step goes wrong */
    struct sent sent[MESSAGES];
};

static bool chance(struct chaos *c, unsigned percent)
{
    return rng_below(&c->rng, 100) < percent;
}

/* ---- the next hops ---- */

static const char *misbehave(struct fake_hop *hop, unsigned session, const char *line)
{
    const char *const acts[] = {
        "421 4.3.2 closing\r\n",
        "450 4.2.1 later\r\n",
        "451-4.3.0 a\r\n451 4.3.0 b\r\n",
        "550 5.1.1 never\r\n",
        "554 5.7.1 not from you\r\n",
        HOP_CLOSE,
        HOP_RESET,
        HOP_SILENT,
        "999 nonsense\r\n",
        "250-a\r\n251 b\r\n",
        "\r\n",
        "354 go on\r\n",
    };
    struct chaos *c = hop->user;

    (void)session;
    if (!c->wild || !chance(c, c->percent))
        return NULL;
    if (strcmp(line, ".") == 0 && chance(c, 30))
        return HOP_TAKE;
    return acts[rng_below(&c->rng, PT_ARRAY_LEN(acts))];
}

static unsigned receipts(const struct fake_hop *hop, const char *address)
{
    unsigned n = 0;

    for (uint32_t i = 0; i < hop->count; i++) {
        const char *at = strstr(hop->messages[i].to, address);

        if (!at)
            continue;
        n++;
        assert_int_equal(hop->messages[i].content.n, sizeof content - 1);
        assert_memory_equal(hop->messages[i].content.p, content, sizeof content - 1);
    }
    return n;
}

/* ---- messages ---- */

static void submit_one(struct chaos *c, unsigned i)
{
    struct world *w = c->w;
    struct sent *s = &c->sent[i];
    struct spool_message *m;
    char to[256] = "";

    s->recipients = 1 + (uint32_t)rng_below(&c->rng, RECIPIENTS_MAX);
    s->null_sender = chance(c, 20);
    for (uint32_t r = 0; r < s->recipients; r++)
        snprintf(to + strlen(to), sizeof to - strlen(to), "%sm%u-%u@b.example", r ? " " : "", i, r);
    m = world_message(w, to, content);
    if (s->null_sender)
        m->reverse_path = STR("");
    if (chance(c, 30))
        spool_message_uncache(m);
    s->id = world_commit(w, m);
}

static void trouble(struct chaos *c)
{
    struct world *w = c->w;

    w->spool->fail = c->wild && chance(c, 10) ? PT_ERR_NOSPACE : PT_ERR_OK;
    w->spool->fail_read = c->wild && chance(c, 10) ? PT_ERR_IO : PT_ERR_OK;
    if (chance(c, 20))
        w->now += (int64_t)rng_below(&c->rng, 100) * second;
}

static void play(struct chaos *c)
{
    struct world *w = c->w;
    unsigned submitted = 0, turns = 0;

    c->wild = true;
    while (submitted < MESSAGES || world_stats(w).messages || world_stats(w).unsaved) {
        assert_true(turns++ < TURNS_MAX);
        if (submitted < MESSAGES && chance(c, 30))
            submit_one(c, submitted++);
        trouble(c);
        world_turn(w);
        if (turns > WILD_TURNS) {
            c->wild = false;
            w->now += 60 * second;
        }
    }
    w->spool->fail = PT_ERR_OK;
    while (fake_spool_turn(w->spool) || world_stats(w).messages || world_stats(w).unsaved)
        world_turn(w);
}

/* ---- the promises ---- */

static unsigned notices_about(const struct fake_spool *s, uint64_t id, unsigned *out_of_delays)
{
    unsigned n = 0;

    *out_of_delays = 0;
    for (uint32_t i = 0; i < s->outcome_count; i++) {
        if (s->outcomes[i].id != id || !s->outcomes[i].with_bounce)
            continue;
        n += s->outcomes[i].failure_told;
        *out_of_delays += !s->outcomes[i].failure_told;
    }
    return n;
}

static void check_recipient(struct chaos *c, unsigned i, uint32_t r)
{
    struct world *w = c->w;
    uint64_t id = c->sent[i].id;
    uint32_t delivered = fake_spool_count(w->spool, id, r, SPOOL_DELIVERED);
    uint32_t failed = fake_spool_count(w->spool, id, r, SPOOL_FAILED);
    uint32_t doubts = fake_spool_count(w->spool, id, r, SPOOL_IN_DOUBT);
    char address[64];
    unsigned got;

    snprintf(address, sizeof address, "m%u-%u@b.example", i, r);
    got = receipts(w->hop, address) + receipts(w->second, address);
    assert_int_equal(delivered + failed, 1);
    assert_in_range(got, delivered, delivered + doubts);
}

static void check(struct chaos *c)
{
    struct fake_spool *s = c->w->spool;

    for (unsigned i = 0; i < MESSAGES; i++) {
        unsigned failed = 0, delays, batches = notices_about(s, c->sent[i].id, &delays);

        for (uint32_t r = 0; r < c->sent[i].recipients; r++) {
            check_recipient(c, i, r);
            failed += fake_spool_count(s, c->sent[i].id, r, SPOOL_FAILED);
        }
        if (c->sent[i].null_sender)
            assert_int_equal(batches + delays, 0);
        else
            assert_true(batches <= failed && (failed == 0) == (batches == 0));
        assert_true(delays <= c->sent[i].recipients);
    }
    assert_true(world_stats(c->w).connections <= c->w->rl->conn_count); /* some may be quitting */
}

static void run_seed(uint64_t seed)
{
    static const char *const offers[] = {
        "250-PIPELINING\r\n250-8BITMIME\r\n250 DSN\r\n",
        "250-PIPELINING\r\n250 CHUNKING\r\n",
        "250 SIZE\r\n",
        "250-PIPELINING\r\n250 LIMITS MAILMAX=3 RCPTMAX=2\r\n",
    };
    struct chaos c = { 0 };
    void *state;

    rng_seed(&c.rng, seed);
    world_set_up(&state);
    c.w = state;
    c.percent = 1 + (unsigned)rng_below(&c.rng, 25);
    c.w->hop->extensions = offers[rng_below(&c.rng, PT_ARRAY_LEN(offers))];
    c.w->second->extensions = offers[rng_below(&c.rng, PT_ARRAY_LEN(offers))];
    c.w->hop->answer = c.w->second->answer = misbehave;
    c.w->hop->user = c.w->second->user = &c;
    c.w->config.silence_ms = 15;
    c.w->config.idle_ms = 20;
    c.w->config.seed = seed;
    c.w->config.read_budget = 1 + rng_below(&c.rng, 4096);
    world_begin(c.w, true);
    play(&c);
    check(&c);
    world_tear_down(&state);
}

static uint64_t first_seed = 1, seeds = 40;

static void every_recipient_ends_exactly_once(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed < first_seed + seeds; seed++) {
        print_message("seed %llu\n", (unsigned long long)seed);
        run_seed(seed);
    }
}

/* relay_chaos [FIRST-SEED [COUNT]] */
int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_recipient_ends_exactly_once),
    };

    if (argc > 1 && !str_to_u64(str_of(argv[1]), &first_seed))
        return 2;
    if (argc > 2 && !str_to_u64(str_of(argv[2]), &seeds))
        return 2;
    return cmocka_run_group_tests_name("sim/relay_chaos", tests, NULL, NULL);
}
