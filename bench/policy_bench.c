/*
 * policy_bench [ROUNDS]: what the decisions about a message cost.
 *
 * A message is a connection, a MAIL and a RCPT, each asked as a session asks: without limits; with
 * every limit on, which includes counting; and watched only. Prints nanoseconds of CPU a message,
 * the median of runs. For counts of instructions: valgrind --tool=callgrind, with few rounds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "access/counts.h"
#include "base/rng.h"
#include "policy/policy.h"
#include "settings/schema.h"

enum { RUNS = 21, CLIENTS = 4096 };

static const char *const documents[] = {
    "{\"message_rules\":{\"relay_domains\":[\"example.com\"]}}",
    "{\"connections\":{\"limits\":{"
    "\"simultaneous_connections\":{\"mode\":\"on\",\"per_address\":100000,\"per_prefix\":100000},"
    "\"connections_per_minute\":{\"mode\":\"on\",\"per_address\":100000,\"per_prefix\":100000},"
    "\"messages_per_minute\":{\"mode\":\"on\",\"per_address\":100000,\"per_prefix\":100000},"
    "\"recipients_per_minute\":{\"mode\":\"on\",\"per_address\":100000,\"per_prefix\":100000},"
    "\"failures_per_minute\":{\"mode\":\"on\",\"per_address\":100000,\"per_prefix\":100000},"
    "\"ban\":{\"mode\":\"on\"}}},\"message_rules\":{\"relay_domains\":[\"example.com\"]}}",
    "{\"connections\":{\"limits\":{"
    "\"messages_per_minute\":{\"mode\":\"shadow\",\"per_address\":1,\"per_prefix\":1},"
    "\"recipients_per_minute\":{\"mode\":\"shadow\",\"per_address\":1,\"per_prefix\":1}}},"
    "\"message_rules\":{\"relay_domains\":[\"example.com\"]}}",
};
static const char *const names[] = { "limits_off", "limits_on", "limits_shadow" };

static struct policy_snapshot *snapshot(const char *document)
{
    const struct settings_host host = { .hostname = "bench.example" };
    struct policy_snapshot *snap = NULL;
    struct settings_errors errors;
    struct settings *s;

    settings_errors_init(&errors);
    if (settings_parse(document, strlen(document), &host, &s, &errors) == PT_ERR_OK) {
        snap = policy_snapshot_new(s, NULL, 0);
        settings_unref(s);
    }
    settings_errors_done(&errors);
    return snap;
}

struct counting {
    struct access_counts *counts;
    struct access_client usage;
    struct access_now now;
};

/* As gateway/limits.c does. */
static void count(const struct policy_snapshot *snap, struct counting *c, enum access_counted what,
                  struct policy_facts *facts)
{
    if (!policy_limits_asked(snap))
        return;
    access_counts_add(c->counts, &facts->client, what, 1, c->now, &c->usage);
    facts->usage = &c->usage;
}

/* Returns what was decided, so that nothing is left out. */
static unsigned message(const struct policy_snapshot *snap, struct counting *c,
                        struct policy_facts *facts)
{
    struct policy_verdict v;
    unsigned refused = 0;
    uint8_t where = 0;

    policy_verdict_init(&v, false);
    facts->usage = NULL;
    policy_connect(snap, facts, &v);
    if (policy_limits_asked(snap)) {
        where = access_counts_open(c->counts, &facts->client, c->now, &c->usage);
        facts->usage = &c->usage;
        policy_limits(snap, facts, &v);
        refused += v.action;
    }
    count(snap, c, ACCESS_MESSAGES, facts);
    policy_mail(snap, facts, &v);
    refused += v.action;
    count(snap, c, ACCESS_RECIPIENTS, facts);
    policy_rcpt(snap, facts, &v);
    if (where)
        access_counts_close(c->counts, &facts->client, where);
    return refused + v.action;
}

static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const char *name, const struct policy_snapshot *snap, struct counting *c,
                    unsigned rounds)
{
    struct policy_facts facts = { .now_us = 1, .recipient = STR("someone@example.com"), .ref = 7 };
    double ns[RUNS];
    unsigned refused = 0;
    struct rng r;

    rng_seed(&r, 1);
    for (int run = 0; run < RUNS; run++) {
        int64_t start = cpu_ns();

        for (unsigned i = 0; i < rounds; i++) {
            uint64_t n = rng_below(&r, CLIENTS);

            facts.client = (struct net_addr){ NET_IPV4, { 100, (uint8_t)n, (uint8_t)(n >> 8), 1 } };
            c->now.us += 1000;
            refused += message(snap, c, &facts);
        }
        ns[run] = (double)(cpu_ns() - start) / rounds;
    }
    qsort(ns, RUNS, sizeof *ns, compare);
    printf("%s ns_per_message %.0f refused %u\n", name, ns[RUNS / 2], refused);
}

int main(int argc, char **argv)
{
    unsigned rounds = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 100000;
    struct counting c = { .counts = access_counts_new(42), .now = { 1, 10 } };

    if (!c.counts || rounds == 0)
        return 2;
    for (size_t i = 0; i < PT_ARRAY_LEN(documents); i++) {
        struct policy_snapshot *snap = snapshot(documents[i]);

        if (!snap)
            return 1;
        measure(names[i], snap, &c, rounds);
        policy_snapshot_unref(snap);
    }
    access_counts_free(c.counts);
    return 0;
}
