#include "http/server.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "http/conn.h"
#include "http/socket.h"
#include "net/linger.h"

enum { ACCEPTS_PER_TURN = 32, ACCEPT_PAUSE_MS = 500, LOST_MS = 60000 };
enum { GROUPS_MAX = 256 };
enum { TURNED_AWAY_MAX = 32, TURNED_AWAY_SECONDS = 5 };

struct http_listener {
    struct http_server *server;
    struct http_listener *next;
    struct net_watch watch;
    struct net_timer pause; /* after running out of descriptors */
    int fd;
    bool is_unix;
    char *path; /* to be removed at the end; NULL: not ours */
};

struct http_server *http_server_new(const struct http_server_config *config)
{
    struct http_server *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->config = *config;
    if (!s->config.max_connections)
        s->config.max_connections = 64;
    if (!s->config.deadline_ms)
        s->config.deadline_ms = 60000;
    if (!s->config.idle_ms)
        s->config.idle_ms = 15000;
    s->linger = net_linger_new(s->config.loop, TURNED_AWAY_MAX, TURNED_AWAY_SECONDS);
    if (!s->linger) {
        free(s);
        return NULL;
    }
    return s;
}

static void close_listeners(struct http_server *s)
{
    while (s->listeners) {
        struct http_listener *l = s->listeners;

        s->listeners = l->next;
        net_timer_stop(&l->pause);
        net_watch_close(&l->watch);
        PT_IGNORE(close(l->fd), "nothing left to lose");
        if (l->path)
            PT_IGNORE(unlink(l->path), "a stale socket is replaced at the next start");
        free(l->path);
        free(l);
    }
}

void http_server_stop(struct http_server *s)
{
    struct http_conn *next;

    s->stopping = true;
    close_listeners(s);
    for (struct http_conn *c = s->first; c; c = next) {
        next = c->next;
        if (http_conn_idle(c))
            http_conn_close(c);
    }
}

void http_server_free(struct http_server *s)
{
    if (!s)
        return;
    close_listeners(s);
    while (s->first)
        http_conn_close(s->first);
    /* Exchanges that were with another thread come back through the mailbox. */
    while (atomic_load(&s->live) > 0)
        net_loop_turn(s->config.loop, 100);
    net_linger_free(s->linger);
    free(s);
}

unsigned http_server_connections(const struct http_server *s)
{
    return s->connections;
}

bool http_peer_is_ours(uint32_t uid, uint32_t gid)
{
    return uid == 0 || uid == geteuid() || gid == getegid();
}

/* ---- accepting ---- */

/* A short answer to somebody who gets no connection. Written once, without waiting. */
static void turn_away(struct http_server *s, int fd, unsigned status, const char *detail)
{
    char text[512];
    struct buf body;
    int n;

    buf_init(&body, 256);
    http_problem_write(&body, status, detail);
    n = snprintf(text, sizeof text,
                 "HTTP/1.1 %u %s\r\nContent-Type: application/problem+json\r\n"
                 "Content-Length: %zu\r\nConnection: close\r\n\r\n%.*s",
                 status, http_status_text(status), body.n, (int)body.n, body.p ? body.p : "");
    buf_done(&body);
    if (n > 0 && (size_t)n < sizeof text)
        PT_IGNORE(send(fd, text, (size_t)n, MSG_NOSIGNAL) < 0, "it is turned away in any case");
    /* It may still be sending: a close now would cost it the answer. */
    net_linger_take(s->linger, fd);
}

/* Room for one more, if need be by closing the connection that has been idle longest; or else one
 * that has not told its request yet, the oldest first: whoever opens many and says little keeps
 * nobody out. */
static bool make_room(struct http_server *s)
{
    struct http_conn *slow = NULL;

    if (s->connections < s->config.max_connections)
        return true;
    for (struct http_conn *c = s->first; c; c = c->next) {
        if (http_conn_idle(c)) {
            http_conn_close(c);
            return true;
        }
        if (!slow && c->state == CONN_READING)
            slow = c;
    }
    if (slow)
        http_conn_close(slow);
    return slow != NULL;
}

/* By its user or main group, or by another group it belongs to: an administrator becomes one by
 * being added to the group of the service. */
static bool may_ask(struct http_server *s, int fd, const struct ucred *peer)
{
    bool (*allowed)(void *, uint32_t, uint32_t) = s->config.peer_allowed;
    gid_t groups[GROUPS_MAX];
    socklen_t n = sizeof groups;

    if (allowed ? allowed(s->config.ctx, peer->uid, peer->gid)
                : http_peer_is_ours(peer->uid, peer->gid))
        return true;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &n) != 0)
        return false;
    for (size_t i = 0; i < n / sizeof *groups; i++)
        if (allowed ? allowed(s->config.ctx, peer->uid, groups[i])
                    : http_peer_is_ours(peer->uid, groups[i]))
            return true;
    return false;
}

static void welcome(struct http_listener *l, int fd, const struct net_endpoint *from)
{
    struct http_server *s = l->server;
    struct ucred peer = { .uid = UINT32_MAX };
    struct net_stream stream;
    socklen_t n = sizeof peer;

    if (l->is_unix) {
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) != 0 || !may_ask(s, fd, &peer)) {
            turn_away(s, fd, 403, "Only root and the user or group of the service may ask here.");
            return;
        }
    }
    if (!l->is_unix) {
        int one = 1;
        unsigned lost = LOST_MS;

        PT_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), "only slower");
        /* A stream of events to a host that has gone would live on for a quarter of an hour. */
        PT_IGNORE(setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &lost, sizeof lost),
                  "found out later");
    }
    if (!make_room(s)) {
        turn_away(s, fd, 503, "Too many connections.");
        return;
    }
    if (!l->is_unix && s->config.accepted) {
        s->config.accepted(s->config.ctx, fd, from);
        return;
    }
    net_stream_socket(&stream, fd);
    http_conn_start(s, &stream, &(struct http_peer){ peer.uid, peer.pid, *from });
}

static void on_pause_over(struct net_timer *t)
{
    net_watch_want(&PT_CONTAINER_OF(t, struct http_listener, pause)->watch, NET_READ);
}

static void on_connect(struct net_watch *w, unsigned ready)
{
    struct http_listener *l = PT_CONTAINER_OF(w, struct http_listener, watch);

    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage sa = { 0 };
        struct net_endpoint from = { 0 };
        socklen_t n = sizeof sa;
        int fd = accept4(l->fd, (struct sockaddr *)&sa, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (fd >= 0) {
            if (!net_from_sockaddr((struct sockaddr *)&sa, &from))
                from = (struct net_endpoint){ 0 };
            welcome(l, fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            net_watch_want(&l->watch, 0);
            net_timer_start(&l->pause, (int64_t)ACCEPT_PAUSE_MS * 1000000);
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

/* Takes fd and path. */
static enum pt_err add_listener(struct http_server *s, int fd, char *path, struct pt_fault *fault)
{
    struct sockaddr_storage sa = { 0 };
    socklen_t n = sizeof sa;
    struct http_listener *l = calloc(1, sizeof *l);

    if (!l) {
        PT_IGNORE(close(fd), "never used");
        free(path);
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    }
    PT_IGNORE(getsockname(fd, (struct sockaddr *)&sa, &n), "the family stays unknown: not Unix");
    l->server = s;
    l->fd = fd;
    l->is_unix = sa.ss_family == AF_UNIX;
    l->path = path;
    l->next = s->listeners;
    s->listeners = l;
    net_watch_init(&l->watch, s->config.loop, fd, on_connect);
    net_timer_init(&l->pause, s->config.loop, on_pause_over);
    net_watch_want(&l->watch, NET_READ);
    return PT_ERR_OK;
}

enum pt_err http_server_listen_unix(struct http_server *s, const char *path, unsigned mode,
                                    struct pt_fault *fault)
{
    char *copy = str_dup(str_of(path));
    enum pt_err err;
    int fd;

    if (!copy)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    err = http_listen_unix(path, mode, &fd, fault);
    if (err) {
        free(copy);
        return err;
    }
    return add_listener(s, fd, copy, fault);
}

enum pt_err http_server_listen_tcp(struct http_server *s, const struct net_endpoint *at,
                                   uint16_t *out_port, struct pt_fault *fault)
{
    struct sockaddr_storage sa;
    socklen_t n = sizeof sa;
    struct net_endpoint bound;
    int fd;
    enum pt_err err = http_listen_tcp(at, &fd, fault);

    if (err)
        return err;
    if (out_port && getsockname(fd, (struct sockaddr *)&sa, &n) == 0 &&
        net_from_sockaddr((struct sockaddr *)&sa, &bound))
        *out_port = bound.port;
    return add_listener(s, fd, NULL, fault);
}

enum pt_err http_server_listen_fd_take(struct http_server *s, int fd, struct pt_fault *fault)
{
    return add_listener(s, fd, NULL, fault);
}

void http_server_serve_take(struct http_server *s, int fd)
{
    struct net_stream stream;

    net_stream_socket(&stream, fd);
    http_conn_start(s, &stream, &(struct http_peer){ .uid = UINT32_MAX });
}

void http_server_serve_stream_take(struct http_server *s, const struct net_stream *stream,
                                   const struct net_endpoint *peer)
{
    struct net_stream mine = *stream;

    if (s->stopping || !make_room(s))
        net_stream_close(&mine);
    else
        http_conn_start(s, &mine, &(struct http_peer){ .uid = UINT32_MAX, .endpoint = *peer });
}
