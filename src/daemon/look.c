#include "daemon/look.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/loop.h"
#include "net/stream.h"
#include "smtp/client.h"

enum { OUT_MAX = 4096 };

/* One connection, in blocking steps with one deadline for all. */
struct talk {
    struct look *look;
    struct net_stream stream;
    struct smtp_client *client;
    struct buf out;
    int64_t until_ns;
    char in[16384];
};

static bool wait_for(struct talk *t, unsigned wanted)
{
    int64_t left = (t->until_ns - clock_mono_ns()) / 1000000;
    struct pollfd p = { t->stream.fd, wanted & NET_READ ? POLLIN : POLLOUT, 0 };

    return left > 0 && poll(&p, 1, (int)left) == 1;
}

static bool dial(struct talk *t)
{
    char name[NET_ENDPOINT_SIZE];
    const struct net_addr *source = &t->look->source;
    bool fits = source->family != NET_NONE && source->family == t->look->to.addr.family;
    int sys_errno = net_stream_connect(&t->stream, &t->look->to, fits ? source : NULL);

    if (!sys_errno && !wait_for(t, NET_WRITE))
        sys_errno = ETIMEDOUT;
    if (!sys_errno)
        sys_errno = net_stream_connected(&t->stream);
    if (!sys_errno)
        return true;
    net_endpoint_format(&t->look->to, name);
    snprintf(t->look->error, sizeof t->look->error, "%s: %s", name, strerrordesc_np(sys_errno));
    return false;
}

static void say(struct talk *t)
{
    while (t->out.n) {
        struct iovec v = { t->out.p, t->out.n };
        ssize_t n = net_stream_writev(&t->stream, &v, 1);

        if (n == NET_STREAM_AGAIN && wait_for(t, NET_WRITE))
            continue;
        if (n < 0) {
            smtp_client_lost(t->client, STR("the connection was lost"));
            return;
        }
        buf_drop(&t->out, (size_t)n);
    }
}

/* The octets that came; an empty string once the machine was told that none will. */
static struct str hear(struct talk *t)
{
    for (;;) {
        ssize_t n = net_stream_read(&t->stream, t->in, sizeof t->in);

        if (n > 0)
            return (struct str){ t->in, (size_t)n };
        if (n == NET_STREAM_AGAIN && wait_for(t, NET_READ))
            continue;
        smtp_client_lost(t->client, n == NET_STREAM_AGAIN ? STR("connection timed out")
                                    : n == 0 ? STR("the other side closed the connection")
                                             : STR("the connection was lost"));
        return STR("");
    }
}

static void keep(struct look *l, struct tls_connection *c)
{
    struct tls_info info;

    tls_connection_info(c, &info);
    l->secured = true;
    l->verified = info.verified;
    snprintf(l->version, sizeof l->version, "%s", info.version);
    snprintf(l->cipher, sizeof l->cipher, "%s", info.cipher);
    snprintf(l->subject, sizeof l->subject, "%s", info.subject);
    snprintf(l->unverified, sizeof l->unverified, "%s", info.unverified);
    l->certificate = tls_connection_peer(c);
}

/* The stream is over TLS afterwards, or the machine knows that it will not be. */
static void shake_hands(struct talk *t)
{
    struct look *l = t->look;
    struct pt_fault fault = { .err = PT_ERR_OK };
    struct tls_connection *c =
        tls_connection_connect(l->client, t->stream.fd, l->name, STR("a look"));
    enum pt_err err = c ? PT_ERR_AGAIN : pt_fault_set(&fault, PT_ERR_NOMEM, "out of memory");
    unsigned wanted;

    while (err == PT_ERR_AGAIN &&
           (err = tls_connection_handshake(c, &wanted, &fault)) == PT_ERR_AGAIN)
        if (!wait_for(t, wanted))
            err = pt_fault_set(&fault, PT_ERR_TIMEOUT, "the TLS handshake does not end");
    if (err == PT_ERR_OK) {
        keep(l, c);
        tls_stream(&t->stream, c, t->stream.fd);
        smtp_client_secured(t->client, &t->out);
        return;
    }
    tls_connection_free(c);
    l->refused = err == PT_ERR_DENIED;
    snprintf(l->error, sizeof l->error, "%s", fault.text);
    smtp_client_lost(t->client, STR("no TLS"));
}

/* Until the machine has nothing more to say. */
static void converse(struct talk *t)
{
    struct look *l = t->look;
    struct str in = STR("");

    for (;;) {
        enum smtp_client_event event = smtp_client_step(t->client, &in, &t->out);

        l->starttls |= smtp_client_peer(t->client)->starttls;
        l->greeted |= l->starttls;
        switch (event) {
        case SMTP_CLIENT_MORE:
            say(t);
            in = smtp_client_state(t->client) == SMTP_CLIENT_STATE_CLOSED ? in : hear(t);
            break;
        case SMTP_CLIENT_STARTTLS_EVENT:
            l->greeted = true;
            shake_hands(t);
            break;
        case SMTP_CLIENT_READY_EVENT:
            l->greeted = true;
            smtp_client_quit(t->client, &t->out);
            break;
        default:
            say(t);
            return;
        }
    }
}

static void explain(struct talk *t)
{
    const struct smtp_client_result *ending = smtp_client_ending(t->client);
    struct look *l = t->look;

    if (ending->outcome == SMTP_CLIENT_SENT || l->error[0])
        return;
    l->greeted |= smtp_client_status(0, ending->text, (uint8_t[3]){ 0 }) &&
                  str_starts_nocase(ending->text, STR("4.7.4"));
    l->secured = false; /* what began well did not last */
    snprintf(l->error, sizeof l->error, "%.*s", STR_FMT(ending->text));
}

void look_at(struct look *l)
{
    struct talk *t = calloc(1, sizeof *t);
    struct smtp_client_config config = {
        .hostname = l->hostname,
        .flags = SMTP_CLIENT_TLS_ONLY | (l->lmtp ? SMTP_CLIENT_LMTP : 0u),
    };

    l->error[0] = 0;
    if (t)
        t->client = smtp_client_new(&config);
    if (!t || !t->client) {
        snprintf(l->error, sizeof l->error, "out of memory");
        free(t);
        return;
    }
    t->look = l;
    t->stream.fd = -1;
    t->until_ns = clock_mono_ns() + l->patience_ms * INT64_C(1000000);
    buf_init(&t->out, OUT_MAX);
    if (dial(t)) {
        converse(t);
        explain(t);
    }
    if (t->stream.fd >= 0)
        net_stream_close(&t->stream);
    smtp_client_free(t->client);
    buf_done(&t->out);
    free(t);
}

void look_done(struct look *l)
{
    tls_certificate_unref(l->certificate);
    l->certificate = NULL;
}
