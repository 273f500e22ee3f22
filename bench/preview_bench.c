/*
 * A preview of very many clients: writing them, and asking about each under two settings.
 *
 *     preview_bench [CLIENTS] [ENTRIES]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "policy/policy.h"
#include "policy/preview_view.h"
#include "settings/schema.h"
#include "tracking/store.h"

enum { BATCH = 1000 };

static struct net_addr address(uint32_t n)
{
    uint32_t x = n * 2654435761u;

    return (struct net_addr){
        NET_IPV4, { (uint8_t)(x >> 24), (uint8_t)(x >> 16), (uint8_t)(x >> 8), (uint8_t)x }
    };
}

static void fill(struct tracking_store *s, uint32_t clients)
{
    struct tracking_client *batch = calloc(BATCH, sizeof *batch);
    int64_t now = clock_wall_us();

    for (uint32_t i = 0; batch && i < clients;) {
        struct tracking_store_batch b = { .clients = batch };

        for (; b.client_count < BATCH && i < clients; i++) {
            struct tracking_client *c = &batch[b.client_count++];

            *c = (struct tracking_client){ .address = address(i),
                                           .mail = true,
                                           .first_us = now,
                                           .last_us = now,
                                           .connections = 1 + i % 50,
                                           .messages = i % 70,
                                           .sender_count = 1,
                                           .recipient_count = 2 };
            snprintf(c->helo, sizeof c->helo, "mx%u.example.net", i);
            snprintf(c->senders[0], sizeof c->senders[0], "s%u.example", i % 1000);
            snprintf(c->recipients[0], sizeof c->recipients[0], "example.com");
            snprintf(c->recipients[1], sizeof c->recipients[1], "d%u.example", i % 100);
        }
        if (tracking_store_add(s, &b, NULL) != PT_ERR_OK)
            abort();
    }
    free(batch);
}

static struct policy_snapshot *snapshot(uint32_t entries)
{
    struct settings_host host = { .hostname = "bench.example", .confirmed = SETTINGS_CONFIRM_ALL };
    struct policy_snapshot *snap;
    struct settings_errors errors;
    struct settings *s = NULL;
    struct buf text;

    buf_init(&text, 256u << 20);
    BUF_LIT(&text, "{\"message_rules\":{\"relay_domains\":[\"example.com\"]},"
                   "\"connections\":{\"control\":{\"deny_list\":[");
    for (uint32_t i = 0; i < entries; i++) {
        struct net_prefix p = { address(i * 7 + 1), 24 };
        char entry[NET_PREFIX_SIZE];

        PT_IGNORE(net_prefix_clear(&p), "host bits are expected");
        net_prefix_format(&p, entry);
        buf_addf(&text, "%s\"%s\"", i ? "," : "", entry);
    }
    BUF_LIT(&text, "]}}}");
    settings_errors_init(&errors);
    if (text.failed || settings_parse(text.p, text.n, &host, &s, &errors) != PT_ERR_OK)
        abort();
    snap = policy_snapshot_new(s, NULL, 0);
    settings_unref(s);
    settings_errors_done(&errors);
    buf_done(&text);
    return snap;
}

static bool show(void *user, const struct tracking_client *c)
{
    const char *recipients[TRACKING_RECIPIENTS];
    struct policy_past past = { .address = c->address,
                                .mail = c->mail,
                                .tls = c->tls,
                                .size_max = c->size_max,
                                .connections = c->connections,
                                .messages = c->messages,
                                .last_us = c->last_us,
                                .helo = c->helo,
                                .recipients = recipients,
                                .recipient_count = c->recipient_count };

    for (uint8_t i = 0; i < c->recipient_count; i++)
        recipients[i] = c->recipients[i];
    policy_preview_add(user, &past);
    return true;
}

int main(int argc, char **argv)
{
    uint32_t clients = argc > 1 ? (uint32_t)atoi(argv[1]) : 1000000;
    uint32_t entries = argc > 2 ? (uint32_t)atoi(argv[2]) : 10000;
    char folder[] = "/var/tmp/postern-preview-XXXXXX", command[80];
    struct tracking_store_config config = { .directory = folder, .mode = TRACKING_STORE_WRITE };
    struct tracking_store *s = NULL;
    const struct policy_preview_result *r;
    struct policy_snapshot *before = snapshot(0), *after = snapshot(entries);
    struct policy_preview *p = policy_preview_new(before, after, clock_wall_us(), 0, 100);
    int64_t began = clock_mono_ns(), written;

    if (!p || !mkdtemp(folder) || tracking_store_open(&s, &config, NULL, NULL) != PT_ERR_OK)
        return 1;
    fill(s, clients);
    written = clock_mono_ns();
    printf("%u clients written in %.2f s\n", clients, (double)(written - began) / 1e9);
    if (tracking_store_clients(s, show, p, NULL) != PT_ERR_OK)
        return 1;
    r = policy_preview_end(p);
    printf("%llu clients asked about in %.2f s: %llu would be refused\n",
           (unsigned long long)r->clients, (double)(clock_mono_ns() - written) / 1e9,
           (unsigned long long)r->refused.clients);
    tracking_store_close(s);
    policy_preview_free(p);
    policy_snapshot_unref(before);
    policy_snapshot_unref(after);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}
