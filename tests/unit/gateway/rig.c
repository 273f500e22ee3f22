#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "settings/schema.h"

static struct failing_disk *the_disk;

static int64_t failing_write(struct disk *d, int handle, const struct iovec *iov, int n,
                             uint64_t offset)
{
    (void)d;
    while (the_disk->wait)
        usleep(1000);
    return the_disk->fail_writes ? -the_disk->fail_writes
                                 : disk_real()->write(disk_real(), handle, iov, n, offset);
}

static void on_committed(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct rig *r = ctx;

    for (uint32_t i = 0; i < count; i++) {
        spool_message_unref(r->committed);
        r->committed = spool_message_ref(messages[i]);
    }
    r->committed_count += count;
}

/* `listener` NULL: none. */
void rig_publish_on(struct rig *r, const char *document, struct gateway_listener *listener)
{
    struct settings_host host = { .hostname = "gw.test", .confirmed = SETTINGS_CONFIRM_ALL };
    struct settings_errors errors;
    struct policy_snapshot *snapshot;
    struct settings *s = NULL;

    settings_errors_init(&errors);
    assert_int_equal(settings_parse(document, strlen(document), &host, &s, &errors), PT_ERR_OK);
    snapshot = policy_snapshot_new(s, NULL, 0);
    assert_non_null(snapshot);
    gateway_publish(r->gateway, snapshot, NULL, &listener, listener ? 1 : 0);
    policy_snapshot_unref(snapshot);
    settings_unref(s);
    settings_errors_done(&errors);
    net_loop_turn(r->loop, 0);
}

void rig_publish(struct rig *r, const char *document)
{
    rig_publish_on(r, document, r->listener);
}

static int set_up_with(void **state, uint64_t memory_max)
{
    struct rig *r = calloc(1, sizeof *r);
    struct net_endpoint any = { { .family = NET_IPV4, .octets = { 127, 0, 0, 1 } }, 0 };
    struct net_listener l;

    snprintf(r->directory, sizeof r->directory, "/tmp/postern-gateway-XXXXXX");
    assert_non_null(mkdtemp(r->directory));
    r->disk.disk = *disk_real();
    r->disk.disk.write = failing_write;
    the_disk = &r->disk;
    assert_int_equal(spool_open(&r->spool,
                                &(struct spool_config){ .directory = r->directory,
                                                        .disk = &r->disk.disk,
                                                        .segment_size = 16 << 20,
                                                        .now_us = 1800000000000000,
                                                        .committed = on_committed,
                                                        .ctx = r },
                                NULL),
                     PT_ERR_OK);
    r->loop = net_loop_new(0);
    r->gateway = gateway_new(
        &(struct gateway_config){ .spool = r->spool, .loops = 1, .memory_max = memory_max });
    r->gateway_loop = gateway_loop_new(r->gateway, r->loop);
    assert_int_equal(net_listener_open(&l, &any, NULL), PT_ERR_OK);
    r->listener = gateway_listener_new(&l);
    rig_publish(r, "{}");
    *state = r;
    return 0;
}

int rig_set_up(void **state)
{
    return set_up_with(state, 64 << 20);
}

/* Enough for one transaction, and no convenience. */
int rig_set_up_narrow(void **state)
{
    return set_up_with(state, 24 << 10);
}

/* A message may take 64 KiB of it, and not a megabyte. */
int rig_set_up_tight(void **state)
{
    return set_up_with(state, 192 << 10);
}

int rig_tear_down(void **state)
{
    struct rig *r = *state;
    char command[128];

    spool_message_unref(r->committed);
    spool_close(r->spool);
    net_loop_turn(r->loop, 0);
    gateway_loop_free(r->gateway_loop);
    gateway_free(r->gateway);
    gateway_listener_unref(r->listener);
    net_loop_free(r->loop);
    snprintf(command, sizeof command, "rm -rf %s", r->directory);
    assert_int_equal(system(command), 0);
    free(r);
    return 0;
}

/* ---- a client ---- */

int rig_dial(struct rig *r)
{
    struct sockaddr_storage sa;
    socklen_t n = net_to_sockaddr(&r->listener->listener.endpoint, &sa);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    assert_int_equal(connect(fd, (struct sockaddr *)&sa, n), 0);
    assert_int_equal(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
    return fd;
}

void rig_say(struct rig *r, int fd, const char *octets, size_t n)
{
    while (n) {
        ssize_t sent = send(fd, octets, n, MSG_NOSIGNAL);

        if (sent > 0) {
            octets += sent;
            n -= (size_t)sent;
        }
        net_loop_turn(r->loop, sent > 0 ? 0 : 50);
    }
}

static bool ends_a_reply(const char *text)
{
    const char *line = text, *next;

    while ((next = strstr(line, "\r\n")) && next[2])
        line = next + 2;
    return next && strlen(line) > 4 && line[3] == ' ';
}

/* Turns the loop until the gateway has sent `replies` whole replies or closed; "" if it closed
 * without a word. */
const char *rig_hear(struct rig *r, int fd)
{
    static char text[65536];
    size_t n = 0;

    text[0] = 0;
    for (int i = 0; i < 400; i++) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);

        if (got == 0)
            return text;
        if (got > 0) {
            n += (size_t)got;
            text[n] = 0;
            if (ends_a_reply(text))
                return text;
        }
        net_loop_turn(r->loop, 25);
    }
    fail_msg("no reply; so far: %s", text);
    return text;
}

void rig_expect(struct rig *r, int fd, const char *start)
{
    const char *got = rig_hear(r, fd);

    if (strncmp(got, start, strlen(start)) != 0)
        fail_msg("expected \"%s\", got \"%s\"", start, got);
}

void rig_ask(struct rig *r, int fd, const char *line, const char *start)
{
    rig_say(r, fd, line, strlen(line));
    rig_expect(r, fd, start);
}

int rig_greeted(struct rig *r)
{
    int fd = rig_dial(r);

    rig_expect(r, fd, "220 gw.test ");
    rig_ask(r, fd, "EHLO c.test\r\n", "250-gw.test");
    return fd;
}

int rig_at_data(struct rig *r)
{
    int fd = rig_greeted(r);

    rig_ask(r, fd, "MAIL FROM:<a@c.test>\r\n", "250 2.1.0");
    rig_ask(r, fd, "RCPT TO:<b@example.org>\r\n", "250 2.1.5");
    rig_ask(r, fd, "DATA\r\n", "354");
    return fd;
}

uint64_t rig_sessions(struct rig *r)
{
    struct gateway_stats s;

    gateway_get_stats(r->gateway, &s);
    return s.sessions;
}
