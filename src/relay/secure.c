#include "relay/secure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "relay/clients.h"
#include "relay/connection_private.h"
#include "tls/handshake.h"

/* With whom TLS failed is talked to in clear for so long, lest each message fail first. */
static const int64_t in_clear_us = 600 * INT64_C(1000000);

struct relay_secure {
    struct tls_handshake handshake;
    struct relay_conn *conn;
};

static const char *const demands[] = {
    [SETTINGS_ROUTE_TLS_DEFAULT] = "default",
    [SETTINGS_ROUTE_TLS_NONE] = "none",
    [SETTINGS_ROUTE_TLS_OPPORTUNISTIC] = "opportunistic",
    [SETTINGS_ROUTE_TLS_ENCRYPT] = "encrypt",
    [SETTINGS_ROUTE_TLS_VERIFY] = "verify",
};

static bool is_strict(const struct relay_conn *conn)
{
    return conn->demand >= SETTINGS_ROUTE_TLS_ENCRYPT;
}

/* ---- before the greeting ---- */

static uint8_t demand_of(const struct relay *r, const struct relay_dest *d)
{
    /* The settings see to it; a password goes over TLS whatever they say. */
    if (d->user && d->tls < SETTINGS_ROUTE_TLS_ENCRYPT)
        return SETTINGS_ROUTE_TLS_ENCRYPT;
    if (d->tls != SETTINGS_ROUTE_TLS_DEFAULT)
        return d->tls;
    return atomic_load_explicit(&r->outgoing_tls, memory_order_relaxed)
               ? SETTINGS_ROUTE_TLS_OPPORTUNISTIC
               : SETTINGS_ROUTE_TLS_NONE;
}

/* Takes a reference to the context, and says whether TLS is known to fail here. */
static bool look_up(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;
    int64_t now_us = relay_now(r);
    struct tls_client *client = NULL;
    bool failed_lately;

    relay_lock(r);
    if (r->clients && r->config.handshaker)
        client =
            relay_clients_find(r->clients, (enum settings_route_tls)conn->demand, conn->dest->ca);
    if (client)
        conn->tls = tls_client_ref(client);
    failed_lately = relay_dest_is_clear(conn->dest, conn->endpoint, now_us);
    relay_unlock(r);
    return failed_lately || conn->clear_endpoint == conn->endpoint;
}

bool relay_secure_prepare(struct relay_conn *conn, unsigned *flags)
{
    bool failed_lately;

    conn->demand = demand_of(conn->rl->relay, conn->dest);
    conn->ready = conn->tls_failed = conn->tls_avoided = false;
    if (conn->demand == SETTINGS_ROUTE_TLS_NONE)
        return true;
    failed_lately = look_up(conn);
    if (is_strict(conn)) {
        *flags |= SMTP_CLIENT_TLS_ONLY;
        if (!conn->tls)
            snprintf(conn->reason, sizeof conn->reason,
                     "4.7.5 the route demands TLS \"%s\", which cannot be begun now%s%s: see "
                     "\"postern status\"",
                     demands[conn->demand], conn->dest->ca ? ", for want of its CA " : "",
                     conn->dest->ca ? conn->dest->ca : "");
        return conn->tls != NULL;
    }
    conn->tls_avoided = failed_lately || !conn->tls;
    if (!conn->tls_avoided)
        *flags |= SMTP_CLIENT_TLS;
    return true;
}

/* ---- the handshake ---- */

static void note_done(struct relay_conn *conn)
{
    struct relay_counters *c = &conn->rl->relay->counters;
    struct tls_info info;

    if (!tls_stream_info(&conn->stream, &info))
        return;
    relay_count(&c->tls_handshakes, 1);
    if (info.verified)
        relay_count(&c->tls_verified, 1);
    if (info.resumed)
        relay_count(&c->tls_resumed, 1);
}

static void on_done(struct tls_handshake *h)
{
    struct relay_secure *secure = PT_CONTAINER_OF(h, struct relay_secure, handshake);
    struct relay_conn *conn = secure->conn;

    conn->secure = NULL;
    conn->progress = true;
    if (h->result == PT_ERR_OK) {
        tls_stream(&conn->stream, h->connection, h->fd);
        h->connection = NULL;
        note_done(conn);
    } else {
        relay_count(&conn->rl->relay->counters.tls_failures, 1);
        conn->tls_failed = true;
        conn->timed_out = h->result == PT_ERR_TIMEOUT;
        snprintf(conn->tls_failure, sizeof conn->tls_failure, "%s", h->fault.text);
    }
    if (conn->aborting)
        smtp_client_lost(conn->client, STR("the gateway stops"));
    else if (h->result == PT_ERR_OK)
        smtp_client_secured(conn->client, &conn->out);
    else
        smtp_client_lost(conn->client, str_of(h->fault.text));
    tls_connection_free(h->connection);
    free(secure);
    relay_conn_run(conn, STR_NULL);
}

/* The name that goes into SNI and is expected in the certificate: of an address literal, the
 * address. */
static struct str name_of(const struct relay_conn *conn)
{
    struct str host = str_of(conn->host);

    if (host.n < 2 || host.p[0] != '[')
        return host;
    host = (struct str){ host.p + 1, host.n - 2 };
    return str_starts_nocase(host, STR("IPv6:")) ? str_from(host, 5) : host;
}

/* Sessions are resumed only under the same demand. */
static struct tls_connection *connection_of(struct relay_conn *conn)
{
    char peer[sizeof conn->peer + 300];

    snprintf(peer, sizeof peer, "%s %s %s", conn->peer, demands[conn->demand], conn->host);
    return tls_connection_connect(conn->tls, conn->stream.fd, name_of(conn), str_of(peer));
}

bool relay_secure_begin(struct relay_conn *conn)
{
    const struct relay_config *config = &conn->rl->relay->config;
    struct relay_secure *secure;
    uint32_t limit_ms = smtp_client_time_limit(conn->client) * 1000;

    if (!config->handshaker || !tls_handshaker_take(config->handshaker, 0))
        return false;
    secure = calloc(1, sizeof *secure);
    if (secure)
        secure->handshake.connection = connection_of(conn);
    if (!secure || !secure->handshake.connection) {
        free(secure);
        tls_handshaker_give(config->handshaker, 0);
        return false;
    }
    secure->conn = conn;
    secure->handshake.fd = conn->stream.fd;
    secure->handshake.timeout_ns =
        INT64_C(1000000) * (config->silence_ms ? config->silence_ms : limit_ms);
    secure->handshake.home = conn->rl->loop;
    secure->handshake.done = on_done;
    conn->secure = secure;
    conn->deadline_ns = 0;
    net_watch_want(&conn->watch, 0);
    tls_handshake_begin(config->handshaker, &secure->handshake);
    return true;
}

void relay_secure_hurry(struct relay_conn *conn)
{
    shutdown(conn->stream.fd, SHUT_RDWR);
}

/* ---- when it was not to be ---- */

/* TLS failed, or what was said under it was lost before anything came of it: some peers refuse a
 * client only then (RFC 8446 section 4.4.2). */
static bool tls_is_to_blame(const struct relay_conn *conn)
{
    const struct smtp_client_result *ending = smtp_client_ending(conn->client);
    struct tls_info info;

    if (conn->tls_failed)
        return true;
    return !conn->ready && !ending->code && tls_stream_info(&conn->stream, &info);
}

static void log_failed(const struct relay_conn *conn, const char *reason)
{
    struct log_line l;

    log_begin(&l, LOG_WARN, "tls_fallback");
    log_cstr(&l, "destination", conn->dest->key);
    log_cstr(&l, "next_hop", conn->host);
    log_cstr(&l, "peer", conn->peer);
    log_cstr(&l, "reason", reason);
    log_cstr(&l, "text", "it is tried again in clear, since TLS is opportunistic here");
    log_end(&l);
}

bool relay_secure_falls_back(struct relay_conn *conn)
{
    struct relay *r = conn->rl->relay;
    const struct smtp_client_result *ending = smtp_client_ending(conn->client);
    char lost[RELAY_ERROR_SIZE];

    if (conn->demand != SETTINGS_ROUTE_TLS_OPPORTUNISTIC || conn->rl->stopping ||
        !tls_is_to_blame(conn))
        return false;
    snprintf(lost, sizeof lost, "%.*s", STR_FMT(ending->text));
    log_failed(conn, conn->tls_failed ? conn->tls_failure : lost);
    relay_count(&r->counters.tls_fallbacks, 1);
    conn->clear_endpoint = conn->endpoint;
    relay_lock(r);
    relay_dest_mark_clear(conn->dest, conn->endpoint, relay_now(r) + in_clear_us);
    relay_unlock(r);
    return true;
}

void relay_secure_explain(struct relay_conn *conn)
{
    static const struct str no_tls = { "4.7.4 ", 6 };
    const struct smtp_client_result *ending = smtp_client_ending(conn->client);
    struct str why = ending->text;
    char name[RELAY_DIAL_NAME_SIZE];
    bool offered = conn->tls_failed;

    if (!is_strict(conn) || (!offered && (ending->code || !str_starts_nocase(why, no_tls))))
        return;
    relay_count(&conn->rl->relay->counters.tls_unmet, 1);
    why = offered ? str_of(conn->tls_failure) : str_from(why, no_tls.n);
    relay_dial_name(conn, name);
    snprintf(conn->reason, sizeof conn->reason,
             "%s %s: %.*s (the route demands \"%s\": mend the next hop%s, or change the route; "
             "\"postern tls check\" shows more)",
             offered ? "4.7.5" : "4.7.4", name, STR_FMT(why), demands[conn->demand],
             conn->demand == SETTINGS_ROUTE_TLS_VERIFY ? ", name its CA" : "");
}

/* ---- telling ---- */

void relay_secure_tell(struct relay_conn *conn, struct relay_via *out)
{
    if (conn->stream.fd < 0)
        return;
    out->secured = tls_stream_info(&conn->stream, &out->tls);
    if (out->secured || conn->demand != SETTINGS_ROUTE_TLS_OPPORTUNISTIC || !conn->client)
        return;
    out->clear = conn->tls_avoided                          ? "TLS failed lately"
                 : smtp_client_peer(conn->client)->starttls ? "STARTTLS was refused"
                                                            : "STARTTLS is not offered";
}

void relay_secure_drop(struct relay_conn *conn)
{
    if (conn->secure) {
        tls_connection_free(conn->secure->handshake.connection);
        free(conn->secure);
        conn->secure = NULL;
    }
    tls_client_unref(conn->tls);
    conn->tls = NULL;
}
