#include <errno.h>
#include <string.h>

#include "relay/asking.h"
#include "relay/auth.h"
#include "relay/connection_private.h"
#include "relay/secure.h"

/*
 * The talk with the next hop.
 *
 * What goes out is, in order: `out` up to `cut`, the slices of the content that is being sent, and
 * the rest of `out` (the next MAIL) once the content is described to its end. One sendmsg() carries
 * as much of it as the socket takes; nothing is copied.
 */

enum { WRITE_IOV_MAX = RELAY_IOV_MAX + 2 };

/* ---- writing ---- */

/* Removes `n` octets that the socket has taken. */
static void took(struct relay_conn *conn, size_t n)
{
    size_t head = conn->sending ? conn->cut : conn->out.n;
    size_t part = PT_MIN(n, head);

    buf_drop(&conn->out, part);
    n -= part;
    if (!conn->sending)
        return;
    conn->cut -= part;
    while (n && conn->slice_first < conn->slice_count) {
        struct iovec *v = &conn->slices[conn->slice_first];

        part = PT_MIN(n, v->iov_len);
        v->iov_base = (char *)v->iov_base + part;
        v->iov_len -= part;
        n -= part;
        if (!v->iov_len)
            conn->slice_first++;
    }
    buf_drop(&conn->out, n);
}

static int gather(struct relay_conn *conn, struct iovec iov[WRITE_IOV_MAX])
{
    size_t head = conn->sending ? conn->cut : conn->out.n;
    int n = 0;

    if (head)
        iov[n++] = (struct iovec){ conn->out.p, head };
    if (!conn->sending)
        return n;
    for (int i = conn->slice_first; i < conn->slice_count; i++)
        iov[n++] = conn->slices[i];
    if (conn->sending->all_given && conn->out.n > head)
        iov[n++] = (struct iovec){ conn->out.p + head, conn->out.n - head };
    return n;
}

static void fail_content(struct relay_conn *conn, enum relay_slices why)
{
    static const uint8_t damaged[3] = { 5, 3, 0 }, bare[3] = { 5, 6, 0 }, later[3] = { 4, 3, 0 };
    enum pt_err err = conn->sending->error;

    conn->slice_first = conn->slice_count = 0;
    if (why == RELAY_SLICES_BARE)
        smtp_client_content_fail(conn->client, SMTP_CLIENT_FAILED, bare,
                                 STR("5.6.0 the message has a line that does not end with CRLF"));
    else if (err == PT_ERR_CORRUPT || err == PT_ERR_NOTFOUND)
        smtp_client_content_fail(conn->client, SMTP_CLIENT_FAILED, damaged,
                                 STR("5.3.0 the stored message is damaged and cannot be sent"));
    else
        smtp_client_content_fail(conn->client, SMTP_CLIENT_RETRY, later,
                                 STR("4.3.0 the stored message cannot be read now"));
}

enum flushed { FLUSH_DONE, FLUSH_EVENTS };

/* Describes more of the content when all before is sent; FLUSH_EVENTS: the content failed. */
static enum flushed describe(struct relay_conn *conn)
{
    struct relay_delivery *d = conn->sending;
    enum relay_slices got;

    if (!d || conn->slice_first < conn->slice_count || d->all_given)
        return FLUSH_DONE;
    conn->slice_first = conn->slice_count = 0;
    got = relay_delivery_slices(d, conn->slices, &conn->slice_count, RELAY_IOV_MAX);
    if (got != RELAY_SLICES_BARE && got != RELAY_SLICES_ERROR)
        return FLUSH_DONE;
    fail_content(conn, got);
    return FLUSH_EVENTS;
}

static void content_sent(struct relay_conn *conn)
{
    if (!conn->sending || !conn->sending->all_given || conn->cut ||
        conn->slice_first < conn->slice_count)
        return;
    conn->sending = NULL;
    smtp_client_content_end(conn->client);
}

/* Writes what can be written; FLUSH_EVENTS: the machine has something to say. */
static enum flushed flush(struct relay_conn *conn)
{
    for (;;) {
        struct iovec iov[WRITE_IOV_MAX];
        ssize_t sent;
        int n;

        if (describe(conn) == FLUSH_EVENTS)
            return FLUSH_EVENTS;
        n = gather(conn, iov);
        if (!n)
            break;
        sent = net_stream_writev(&conn->stream, iov, n);
        if (sent == NET_STREAM_AGAIN) {
            conn->blocked = true;
            return FLUSH_DONE;
        }
        if (sent < 0) {
            smtp_client_lost(conn->client, str_of(strerrordesc_np(errno)));
            return FLUSH_EVENTS;
        }
        conn->progress = true;
        took(conn, (size_t)sent);
        content_sent(conn);
    }
    conn->blocked = false;
    relay_auth_sent(conn);
    return FLUSH_DONE;
}

/* ---- events ---- */

static void begin_upcoming(struct relay_conn *conn)
{
    struct relay_delivery *d = conn->upcoming;

    conn->upcoming = NULL;
    d->state = RELAY_DELIVERY_BEGUN;
    d->begun_ns = net_loop_now(conn->rl->loop);
    d->reused = smtp_client_messages(conn->client) > 0;
    d->m.header_8bit = d->m.mail.smtputf8 && relay_delivery_header_8bit(d);
    smtp_client_begin(conn->client, &d->m, &conn->out);
}

/* The next MAIL may go in the write that ends this content; behind a big one nothing waits. */
static void begin_ahead(struct relay_conn *conn)
{
    if (conn->sending && !conn->sending->group->big && !conn->rl->stopping &&
        smtp_client_can_begin(conn->client) && relay_conn_prepare(conn))
        begin_upcoming(conn);
}

static void on_content(struct relay_conn *conn)
{
    struct relay_delivery *d =
        PT_CONTAINER_OF(smtp_client_subject(conn->client), struct relay_delivery, m);

    pt_assert(!conn->sending);
    relay_delivery_start(d, smtp_client_way(conn->client));
    conn->sending = d;
    conn->cut = conn->out.n;
    conn->slice_first = conn->slice_count = 0;
    begin_ahead(conn);
}

static void on_ready(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;

    conn->ready = true;
    if (conn->established)
        return;
    conn->established = true;
    if (conn->asking) {
        relay_asking_ready(conn);
        return;
    }
    relay_lock(r);
    relay_sched_connected(&r->sched, conn->dest);
    relay_unlock(r);
}

/* In READY with nothing more to read: begins the next message (true), waits for it, or rests. */
static bool on_quiet(struct relay_conn *conn)
{
    if (smtp_client_state(conn->client) != SMTP_CLIENT_STATE_READY ||
        conn->phase != RELAY_CONN_TALKING || conn->aborting)
        return false;
    if (conn->asking)
        return relay_asking_quiet(conn);
    if (!smtp_client_can_begin(conn->client) || conn->rl->stopping) {
        relay_conn_quit(conn);
        return true;
    }
    if (relay_conn_prepare(conn)) {
        begin_upcoming(conn);
        return true;
    }
    if (!conn->upcoming && conn->yields) {
        relay_conn_quit(conn);
        return true;
    }
    if (!conn->upcoming)
        relay_conn_go_idle(conn);
    return false;
}

/* Acts on events until there are none; false: the connection is gone, or given away for a TLS
 * handshake. */
static bool act(struct relay_conn *conn, struct str *in)
{
    for (;;) {
        switch (smtp_client_step(conn->client, in, &conn->out)) {
        case SMTP_CLIENT_MORE:
            if (on_quiet(conn))
                continue;
            return true;
        case SMTP_CLIENT_READY_EVENT:
            on_ready(conn);
            break;
        case SMTP_CLIENT_CONTENT_EVENT:
            on_content(conn);
            break;
        case SMTP_CLIENT_DONE_EVENT:
            if (conn->asking)
                relay_asking_done(conn);
            else
                relay_conn_take_results(conn, PT_CONTAINER_OF(smtp_client_subject(conn->client),
                                                              struct relay_delivery, m));
            break;
        case SMTP_CLIENT_STARTTLS_EVENT:
            if (relay_secure_begin(conn))
                return false;
            smtp_client_lost(conn->client, STR("no TLS handshake can be begun now"));
            break;
        case SMTP_CLIENT_CLOSE_EVENT:
            relay_conn_ended(conn);
            return false;
        }
    }
}

static void watch(struct relay_conn *conn)
{
    int64_t limit_ms = (int64_t)smtp_client_time_limit(conn->client) * 1000;
    int64_t silence_ms =
        conn->asking ? relay_asking_silence_ms(conn) : (int64_t)conn->rl->relay->config.silence_ms;

    net_watch_want(&conn->watch, NET_READ | (conn->blocked ? NET_WRITE : 0u));
    if (net_stream_pending(&conn->stream))
        net_watch_fire(&conn->watch);
    if (conn->phase == RELAY_CONN_IDLE)
        return; /* since it became idle */
    if (conn->progress)
        relay_conn_set_deadline(conn, silence_ms ? silence_ms : limit_ms);
    conn->progress = false;
}

void relay_conn_run(struct relay_conn *conn, struct str in)
{
    struct relay_loop *rl = conn->rl;

    do {
        if (!act(conn, &in))
            return;
    } while (flush(conn) == FLUSH_EVENTS);
    watch(conn);
    if (rl->stopping)
        relay_conn_stop(conn, false);
}

void relay_conn_lost(struct relay_conn *conn, const char *reason)
{
    smtp_client_lost(conn->client, str_of(reason));
    relay_conn_run(conn, STR_NULL);
}

/* ---- reading ---- */

static void on_readable(struct relay_conn *conn)
{
    struct relay_loop *rl = conn->rl;
    ssize_t got = net_stream_read(&conn->stream, rl->buffer, sizeof rl->buffer);

    if (got == NET_STREAM_AGAIN)
        return;
    if (got < 0) {
        relay_conn_lost(conn, strerrordesc_np(errno));
    } else if (got == 0) {
        relay_conn_lost(conn, "the next hop closed the connection");
    } else {
        conn->progress = true;
        relay_conn_run(conn, (struct str){ rl->buffer, (size_t)got });
    }
}

static void on_io(struct net_watch *w, unsigned ready)
{
    struct relay_conn *conn = PT_CONTAINER_OF(w, struct relay_conn, watch);

    /* Reading first: what it says may make writing pointless. Level-triggered, so what is left
     * comes again. */
    if (ready & NET_READ)
        on_readable(conn);
    else
        relay_conn_run(conn, STR_NULL);
}

void relay_conn_talk(struct relay_conn *conn)
{
    net_watch_init(&conn->watch, conn->rl->loop, conn->stream.fd, on_io);
    conn->progress = true;
    relay_conn_run(conn, STR_NULL);
}

void relay_conn_content_ready(struct relay_conn *conn)
{
    if (!conn->client || conn->secure)
        return; /* still dialling; it will be found */
    conn->progress = true;
    if (conn->upcoming && conn->sending)
        begin_ahead(conn);
    relay_conn_run(conn, STR_NULL);
}
