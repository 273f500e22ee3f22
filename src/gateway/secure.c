#include "gateway/secure.h"

#include <stdlib.h>
#include <sys/socket.h>

#include "gateway/loop.h"
#include "gateway/session.h"
#include "tls/handshake.h"

/* A handshake takes two or three round trips; whoever needs longer holds a place. */
enum { HANDSHAKE_SECONDS = 30 };

struct secure {
    struct tls_handshake handshake;
    struct session *session;
    bool begun;
};

static void on_done(struct tls_handshake *h)
{
    struct secure *secure = PT_CONTAINER_OF(h, struct secure, handshake);
    struct session *s = secure->session;
    struct pt_fault fault = h->fault;

    fault.err = h->result;
    if (fault.err == PT_ERR_OK) {
        tls_stream(&s->stream, h->connection, h->fd);
        h->connection = NULL;
    }
    secure_drop(s);
    session_secured(s, &fault);
}

bool secure_prepare(struct session *s)
{
    struct tls_handshaker *handshaker = s->loop->gateway->handshaker;
    uint64_t peer = tls_handshake_peer(&s->client.addr);
    struct secure *secure;

    if (!s->loop->tls || !tls_handshaker_take(handshaker, peer))
        return false;
    secure = calloc(1, sizeof *secure);
    if (secure)
        secure->handshake.connection = tls_connection_accept(s->loop->tls, s->stream.fd);
    if (!secure || !secure->handshake.connection) {
        free(secure);
        tls_handshaker_give(handshaker, peer);
        return false;
    }
    secure->session = s;
    secure->handshake.fd = s->stream.fd;
    secure->handshake.peer = peer;
    secure->handshake.timeout_ns = HANDSHAKE_SECONDS * INT64_C(1000000000);
    secure->handshake.home = s->loop->loop;
    secure->handshake.done = on_done;
    s->secure = secure;
    return true;
}

void secure_begin(struct session *s)
{
    net_watch_want(&s->watch, 0);
    s->secure->begun = true;
    tls_handshake_begin(s->loop->gateway->handshaker, &s->secure->handshake);
}

bool secure_under_way(const struct session *s)
{
    return s->secure && s->secure->begun;
}

void secure_hurry(struct session *s)
{
    shutdown(s->stream.fd, SHUT_RDWR);
}

void secure_drop(struct session *s)
{
    struct secure *secure = s->secure;

    if (!secure)
        return;
    if (!secure->begun)
        tls_handshaker_give(s->loop->gateway->handshaker, secure->handshake.peer);
    tls_connection_free(secure->handshake.connection);
    free(secure);
    s->secure = NULL;
}
