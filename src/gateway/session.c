#include "gateway/session.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "gateway/asking.h"
#include "gateway/converse.h"
#include "gateway/loop.h"
#include "gateway/replies.h"
#include "gateway/secure.h"
#include "gateway/transaction.h"
#include "tls/connection.h"

/*
 * Reading, writing and ending. What is said is converse.c's affair.
 *
 * Output gathers in the loop's buffer while a session's input is used, and goes out in one write.
 * What the socket does not take is kept; until it is gone, the session's input is not read, so a
 * client that does not read its replies cannot make us keep more than one round of them.
 */
enum {
    SPARE_MAX = 256,
    KEPT_MAX = 64 << 10,
    UNSENT_MAX = 2 << 20,
};

/* ---- beginning and end ---- */

static struct session *get(struct gateway_loop *l)
{
    struct session *s = l->spare;

    if (s) {
        l->spare = s->next;
        l->spare_count--;
    } else {
        s = malloc(sizeof *s);
    }
    if (s)
        memset(s, 0, sizeof *s);
    return s;
}

static void put(struct gateway_loop *l, struct session *s)
{
    if (l->spare_count == SPARE_MAX) {
        free(s);
        return;
    }
    s->next = l->spare;
    l->spare = s;
    l->spare_count++;
}

void session_free_spare(struct gateway_loop *l)
{
    while (l->spare) {
        struct session *next = l->spare->next;

        free(l->spare);
        l->spare = next;
    }
    l->spare_count = 0;
}

static void log_end_of(const struct session *s, const char *how)
{
    char client[NET_ENDPOINT_SIZE];
    struct log_line line;

    net_endpoint_format(&s->client, client);
    log_begin(&line, LOG_INFO, "disconnected");
    log_cstr(&line, "client", client);
    log_str(&line, "helo", smtp_server_helo(&s->smtp));
    log_u64(&line, "messages", s->messages);
    log_u64(&line, "duration_ms",
            (uint64_t)(net_loop_now(s->loop->loop) - s->started_ns) / 1000000);
    log_cstr(&line, "how", s->how ? s->how : how);
    log_end(&line);
}

/* Everything but the socket: the slot is given back before the client can see the close. */
static void detach(struct session *s)
{
    struct gateway_loop *l = s->loop;

    secure_drop(s);
    asking_drop(s->asking);
    transaction_abandon(s->transaction);
    smtp_server_done(&s->smtp);
    free(s->kept);
    free(s->farewell);
    budget_give(&l->gateway->memory, s->kept_n);
    if (s->unsent) {
        budget_give(&l->gateway->memory, s->unsent->n);
        buf_done(s->unsent);
        free(s->unsent);
    }
    if (s->prev)
        s->prev->next = s->next;
    else
        l->sessions = s->next;
    if (s->next)
        s->next->prev = s->prev;
    else
        l->newest = s->prev;
    limits_ended(l, &s->client.addr, s->counted);
    gateway_live_session_gone(l, s);
    net_watch_close(&s->watch);
}

void session_close(struct session *s)
{
    struct gateway_loop *l = s->loop;
    struct net_stream stream = s->stream;

    log_end_of(s, s->lost ? "lost" : "closed");
    detach(s);
    put(l, s);
    gateway_loop_session_gone(l);
    net_stream_close(&stream);
}

/* The last reply is out. A client with input of its own under way must still be able to read it. */
static void close_gently(struct session *s, bool quit)
{
    struct gateway_loop *l = s->loop;
    struct net_stream stream = s->stream;

    if (quit) {
        session_close(s);
        return;
    }
    log_end_of(s, "ended");
    detach(s);
    put(l, s);
    gateway_loop_session_gone(l);
    net_linger_take(l->linger, net_stream_leave(&stream));
}

/* ---- writing ---- */

static bool keep_unsent(struct session *s, struct str octets)
{
    if (!s->unsent) {
        s->unsent = malloc(sizeof *s->unsent);
        if (!s->unsent)
            return false;
        buf_init(s->unsent, UNSENT_MAX);
    }
    /* A client that does not read has no claim to memory that others need. */
    if (!budget_take(&s->loop->gateway->memory, octets.n))
        return false;
    buf_add_str(s->unsent, octets);
    if (!s->unsent->failed)
        return true;
    budget_give(&s->loop->gateway->memory, octets.n);
    return false;
}

void session_fail(struct session *s)
{
    buf_clear(&s->loop->out);
    s->lost = true;
    session_close(s);
}

static bool fail(struct session *s)
{
    session_fail(s);
    return false;
}

/* Writes the loop's output. False: the session is gone. */
static bool flush(struct session *s)
{
    struct buf *out = &s->loop->out;
    size_t sent = 0;

    if (out->failed)
        return fail(s);
    if (out->n && !s->unsent) {
        struct iovec iov = { out->p, out->n };
        ssize_t n = net_stream_writev(&s->stream, &iov, 1);

        if (n == NET_STREAM_ERROR)
            return fail(s);
        sent = n > 0 ? (size_t)n : 0;
    }
    s->octets_out += out->n;
    if (sent < out->n && !keep_unsent(s, str_from(buf_str(out), sent)))
        return fail(s);
    buf_clear(out);
    return true;
}

/* ---- how long the client is waited for ---- */

static enum patience_of middle_of(const struct session *s)
{
    if (s->unsent || smtp_server_in_content(&s->smtp))
        return PATIENCE_BULK;
    return smtp_server_in_line(&s->smtp) ? PATIENCE_LINE : PATIENCE_NOTHING;
}

/* Something of ours is to come first: what the client sends meanwhile is kept. */
static bool keeps(const struct session *s)
{
    return s->phase == SESSION_COMMITTING || s->phase == SESSION_ASKING;
}

/* `octets` went one way or the other; `completed`: something was answered. */
static void moved(struct session *s, size_t octets, bool completed)
{
    int64_t now = net_loop_now(s->loop->loop);

    patience_moved(&s->patience, octets, middle_of(s), completed, now);
    if (keeps(s) || s->phase == SESSION_BEHIND)
        patience_pause(&s->patience, now);
    else
        patience_resume(&s->patience, now);
}

/* ---- which way the descriptor is watched ---- */

static void watch(struct session *s)
{
    unsigned want = s->unsent ? NET_WRITE : 0u;

    if (s->no_more) {
        net_watch_want(&s->watch, want);
        return;
    }
    /* While the spool works on its message the client usually is silent: the watch stays as it is,
     * and what comes all the same is kept, up to a limit. */
    if (s->phase == SESSION_OPEN && !s->unsent)
        want |= NET_READ;
    if (keeps(s) && s->kept_n < (gateway_memory_is_tight(s->loop->gateway) ? 1 : KEPT_MAX))
        want |= NET_READ;
    net_watch_want(&s->watch, want);
    if (want & NET_READ && net_stream_pending(&s->stream))
        net_watch_fire(&s->watch);
}

/* ---- reading ---- */

static bool keep_input(struct session *s, struct str in)
{
    char *more;

    if (in.n == 0)
        return true;
    more = realloc(s->kept, s->kept_n + in.n);
    if (!more)
        return false;
    memcpy(more + s->kept_n, in.p, in.n);
    s->kept = more;
    s->kept_n += (uint32_t)in.n;
    budget_force(&s->loop->gateway->memory, in.n);
    return true;
}

/* What is read must find a place: in the message at hand, or kept. */
static size_t read_max(const struct session *s)
{
    if (s->transaction && s->phase == SESSION_OPEN && smtp_server_in_content(&s->smtp))
        return transaction_room(s->transaction);
    return gateway_memory_is_tight(s->loop->gateway) ? TRANSACTION_READ_LEAST : GATEWAY_INPUT_SIZE;
}

/* Lets the machine use the input, writes what it answered. The session may be gone afterwards. */
static void use(struct session *s, struct str in)
{
    struct converse_result r = converse(s, in);
    bool answered = s->loop->out.n > 0;

    if (!flush(s))
        return;
    moved(s, in.n, answered);
    if (r.closing) {
        s->phase = SESSION_CLOSING;
        if (!s->unsent) {
            close_gently(s, r.quit);
            return;
        }
    } else if (!keep_input(s, r.rest)) {
        fail(s);
        return;
    }
    if (r.securing && !s->unsent) {
        secure_begin(s);
        return;
    }
    if (s->no_more && s->phase == SESSION_OPEN && !s->unsent) {
        s->lost = smtp_server_in_transaction(&s->smtp);
        session_close(s);
        return;
    }
    watch(s);
}

/* Uses what was kept while nothing could be used. */
static void use_kept(struct session *s)
{
    struct gateway *g = s->loop->gateway;
    char *kept = s->kept;
    struct str in = { kept ? kept : "", s->kept_n };

    s->kept = NULL;
    s->kept_n = 0;
    use(s, in);
    free(kept);
    budget_give(&g->memory, in.n);
}

/* The client has closed its side. A pipe that sends a whole session and closes is answered. */
static void ended(struct session *s)
{
    s->no_more = true;
    if (s->phase == SESSION_OPEN && !s->unsent) {
        s->lost = smtp_server_in_transaction(&s->smtp);
        session_close(s);
    } else {
        watch(s);
    }
}

/* As much as there is and finds a place; a TLS record is less than that. */
static ssize_t read_some(struct session *s)
{
    char *input = s->loop->input;
    size_t max = read_max(s), n = 0;
    ssize_t got;

    do {
        got = net_stream_read(&s->stream, input + n, max - n);
        n += got > 0 ? (size_t)got : 0;
    } while (got > 0 && n < max && net_stream_pending(&s->stream));
    return n ? (ssize_t)n : got;
}

static void readable(struct session *s)
{
    struct gateway_loop *l = s->loop;
    ssize_t n = read_some(s);

    if (n == NET_STREAM_AGAIN)
        return;
    if (n == 0) {
        ended(s);
        return;
    }
    if (n < 0) {
        fail(s);
        return;
    }
    s->octets_in += (uint64_t)n;
    if (s->phase == SESSION_OPEN) {
        use(s, (struct str){ l->input, (size_t)n });
        return;
    }
    if (keep_input(s, (struct str){ l->input, (size_t)n }))
        watch(s);
    else
        fail(s);
}

static void writable(struct session *s)
{
    struct iovec iov = { s->unsent->p, s->unsent->n };
    ssize_t n = net_stream_writev(&s->stream, &iov, 1);

    if (n == NET_STREAM_AGAIN)
        return;
    if (n < 0) {
        fail(s);
        return;
    }
    buf_drop(s->unsent, (size_t)n);
    moved(s, (size_t)n, false);
    budget_give(&s->loop->gateway->memory, (uint64_t)n);
    if (s->unsent->n)
        return;
    buf_done(s->unsent);
    free(s->unsent);
    s->unsent = NULL;
    if (s->phase == SESSION_CLOSING)
        close_gently(s, false);
    else if (s->phase == SESSION_OPEN)
        use_kept(s);
    else if (s->phase == SESSION_SECURING)
        secure_begin(s);
    else
        watch(s);
}

static void on_ready(struct net_watch *w, unsigned ready)
{
    struct session *s = PT_CONTAINER_OF(w, struct session, watch);

    if (ready & NET_WRITE && s->unsent)
        writable(s);
    else if (ready & NET_READ)
        readable(s);
}

static void greet(struct session *s)
{
    smtp_server_greet(&s->smtp, &s->loop->out);
    if (flush(s))
        watch(s);
}

void session_start(struct gateway_loop *l, int fd, const struct net_endpoint *peer, bool tls,
                   uint8_t counted)
{
    struct session *s = get(l);

    if (!s) {
        atomic_fetch_sub(&l->gateway->sessions, 1);
        limits_ended(l, &peer->addr, counted);
        close(fd);
        return;
    }
    s->loop = l;
    s->client = *peer;
    s->counted = counted;
    s->id = atomic_fetch_add_explicit(&l->gateway->next_session, 1, memory_order_relaxed);
    s->started_ns = net_loop_now(l->loop);
    patience_init(&s->patience, s->started_ns);
    net_stream_socket(&s->stream, fd);
    net_watch_init(&s->watch, l->loop, fd, on_ready);
    s->prev = l->newest;
    if (l->newest)
        l->newest->next = s;
    else
        l->sessions = s;
    l->newest = s;
    gateway_loop_session_added(l);
    smtp_server_init(&s->smtp, &l->config, tls);
    if (!tls) {
        greet(s);
    } else if (secure_prepare(s)) {
        s->phase = SESSION_SECURING;
        secure_begin(s);
    } else {
        session_close(s);
    }
}

/* ---- what happens to it from outside ---- */

void session_log_tls(const struct session *s, struct log_line *line)
{
    struct tls_info info;

    if (!tls_stream_info(&s->stream, &info))
        return;
    log_cstr(line, "tls", info.version);
    log_cstr(line, "cipher", info.cipher);
    if (!info.subject[0])
        return;
    log_cstr(line, "certificate", info.subject);
    log_cstr(line, "verified", info.verified ? "yes" : info.unverified);
}

static void log_secured(const struct session *s, const struct pt_fault *fault)
{
    char client[NET_ENDPOINT_SIZE];
    struct log_line line;

    net_endpoint_format(&s->client, client);
    log_begin(&line, LOG_INFO, fault->err == PT_ERR_OK ? "tls" : "tls_failed");
    log_cstr(&line, "client", client);
    if (fault->err == PT_ERR_OK)
        session_log_tls(s, &line);
    else
        log_cstr(&line, "reason", fault->text);
    log_end(&line);
}

void session_secured(struct session *s, const struct pt_fault *fault)
{
    s->phase = SESSION_OPEN;
    patience_resume(&s->patience, net_loop_now(s->loop->loop));
    log_secured(s, fault);
    if (fault->err != PT_ERR_OK) {
        GATEWAY_COUNT(s->loop->counters.failed_handshakes, 1);
        limits_failed(s, 1);
        s->lost = true;
        session_close(s);
        return;
    }
    GATEWAY_COUNT(s->loop->counters.handshakes, 1);
    if (!smtp_server_tls(&s->smtp)) {
        smtp_server_tls_started(&s->smtp);
        watch(s);
    } else {
        greet(s);
    }
}

void session_committed(struct session *s, enum pt_err result)
{
    s->phase = SESSION_OPEN;
    patience_resume(&s->patience, net_loop_now(s->loop->loop));
    converse_committed(s, result);
    use_kept(s);
}

void session_asked(struct session *s)
{
    s->phase = SESSION_OPEN;
    patience_resume(&s->patience, net_loop_now(s->loop->loop));
    converse_asked(s);
    asking_drop(s->asking);
    s->asking = NULL;
    use_kept(s);
}

void session_resume(struct session *s)
{
    if (s->phase != SESSION_BEHIND)
        return;
    s->phase = SESSION_OPEN;
    patience_resume(&s->patience, net_loop_now(s->loop->loop));
    use_kept(s);
}

void session_say_and_close(struct session *s)
{
    s->phase = SESSION_CLOSING;
    if (!flush(s))
        return;
    if (s->unsent)
        watch(s);
    else
        close_gently(s, false);
}
