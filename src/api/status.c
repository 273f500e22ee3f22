/*
 * api/status: how the gateway is, and small questions about the host.
 */
#include <stdlib.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/log.h"
#include "net/host.h"

enum { INTERFACES_MAX = 1024 };

/* ---- status ---- */

static json_t *listeners_json(const struct api_status *s)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < s->listener_count; i++) {
        json_t *v = json_object();

        api_json_set(&v, "address", json_string(s->listeners[i].address));
        api_json_set(&v, "listening", json_boolean(s->listeners[i].listening));
        api_json_set(&v, "error",
                     s->listeners[i].error[0] ? api_json_str(str_of(s->listeners[i].error))
                                              : json_null());
        api_json_add(&list, v);
    }
    return list;
}

static json_t *loading_json(const struct api_status *s)
{
    json_t *v;

    if (!s->spool.loading)
        return json_null();
    v = json_object();
    api_json_set(&v, "loaded", json_integer((json_int_t)s->spool.loaded));
    api_json_set(&v, "of", json_integer((json_int_t)s->spool.found));
    return v;
}

static json_t *spool_json(const struct api_status *s)
{
    json_t *v = json_object();

    api_json_set(&v, "messages", json_integer((json_int_t)s->spool.messages));
    api_json_set(&v, "segments", json_integer((json_int_t)s->spool.segments));
    api_json_set(&v, "free_segments", json_integer((json_int_t)s->spool.free_segments));
    api_json_set(&v, "loading", loading_json(s));
    api_json_set(&v, "accepting", json_boolean(s->spool.accepting));
    api_json_set(&v, "fault",
                 s->spool.fault[0] ? api_json_str(str_of(s->spool.fault)) : json_null());
    api_json_set(&v, "disk_free", json_integer((json_int_t)s->spool.disk_free));
    api_json_set(&v, "disk_size", json_integer((json_int_t)s->spool.disk_size));
    return v;
}

static json_t *memory_json(const struct api_status *s)
{
    json_t *v;

    if (!s->memory.limit)
        return json_null();
    v = json_object();
    api_json_set(&v, "limit", json_integer((json_int_t)s->memory.limit));
    api_json_set(&v, "limited_by", json_string(s->memory.source));
    api_json_set(&v, "resident", json_integer((json_int_t)s->memory.resident));
    api_json_set(&v, "receiving", json_integer((json_int_t)s->memory.receiving));
    api_json_set(&v, "receiving_max", json_integer((json_int_t)s->memory.receiving_max));
    api_json_set(&v, "cached", json_integer((json_int_t)s->memory.cached));
    api_json_set(&v, "cached_max", json_integer((json_int_t)s->memory.cached_max));
    api_json_set(&v, "reading", json_integer((json_int_t)s->memory.reading));
    api_json_set(&v, "reading_max", json_integer((json_int_t)s->memory.reading_max));
    return v;
}

static void add_destination(void *user, const struct api_destination *d)
{
    json_t **list = user, *v = json_object();

    api_json_set(&v, "destination", api_json_str(str_of(d->name)));
    api_json_set(&v, "ready", json_integer((json_int_t)d->ready));
    api_json_set(&v, "deferred", json_integer((json_int_t)d->deferred));
    api_json_set(&v, "delivering", json_integer((json_int_t)d->busy));
    api_json_set(&v, "held", json_integer((json_int_t)d->held));
    api_json_set(&v, "connections", json_integer(d->connections));
    api_json_set(&v, "rests_until", api_json_time(d->rests_until_us));
    api_json_set(&v, "error", d->error && *d->error ? api_json_str(str_of(d->error)) : json_null());
    api_json_set(&v, "suspended", json_boolean(d->suspended));
    api_json_set(&v, "suspended_until", api_json_time(d->suspended_until_us));
    api_json_add(list, v);
}

json_t *api_warnings_json(const struct api_status *s)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < s->warning_count; i++) {
        json_t *v = json_object();

        api_json_set(&v, "text", api_json_str(str_of(s->warnings[i].text)));
        api_json_set(&v, "remedy", api_json_str(str_of(s->warnings[i].remedy)));
        api_json_add(&list, v);
    }
    return list;
}

static json_t *certificates_json(const struct api_status *s)
{
    json_t *list = json_array();
    int64_t now = clock_wall_us();

    for (uint32_t i = 0; i < s->tls.certificate_count; i++) {
        const struct api_status_certificate *c = &s->tls.certificates[i];
        json_t *v = json_object();

        api_json_set(&v, "id", json_string(c->id));
        api_json_set(&v, "kind", json_string(c->ca ? "ca" : "server"));
        api_json_set(&v, "subject", api_json_str(str_of(c->subject)));
        api_json_set(&v, "key_type", json_string(c->key_type));
        api_json_set(&v, "expires", api_json_time(c->not_after_us));
        api_json_set(&v, "days_left", json_integer((c->not_after_us - now) / TLS_DAY_US));
        api_json_add(&list, v);
    }
    return list;
}

/* What clients are offered. "certificates" are those in force; what was only uploaded is at
 * /tls/certificates. */
static json_t *tls_json(const struct api_status *s, const struct settings *settings)
{
    json_t *v = json_object();
    bool incoming = settings && settings->tls.incoming;
    bool required = settings && settings->tls.incoming_required;

    api_json_set(&v, "incoming", json_string(required ? "required" : incoming ? "offered" : "off"));
    api_json_set(&v, "implicit_port",
                 settings && settings->tls.implicit_port ? json_integer(settings->tls.implicit_port)
                                                         : json_null());
    api_json_set(&v, "certificates", certificates_json(s));
    api_json_set(&v, "handshakes", json_integer((json_int_t)s->tls.handshakes));
    api_json_set(&v, "failed_handshakes", json_integer((json_int_t)s->tls.failed_handshakes));
    api_json_set(&v, "handshakes_now", json_integer(s->tls.handshakes_now));
    api_json_set(&v, "messages", json_integer((json_int_t)s->tls.messages));
    api_json_set(&v, "alarm", s->tls.alarm[0] ? api_json_str(str_of(s->tls.alarm)) : json_null());
    return v;
}

/* NULL when mail can come in, else why not. */
static const char *not_ready(const struct api_status *s)
{
    if (!s->spool.accepting)
        return "The spool accepts no messages.";
    for (uint32_t i = 0; i < s->listener_count; i++)
        if (s->listeners[i].listening)
            return NULL;
    return "No listener is open.";
}

const char *api_health(const struct api_status *s, const struct settings *settings)
{
    bool closed = !settings;

    for (uint32_t i = 0; i < s->listener_count; i++)
        closed |= !s->listeners[i].listening;
    for (uint32_t i = 0; i < s->warning_count; i++)
        closed |= s->warnings[i].red;
    if (not_ready(s) || closed || s->spool.fault[0])
        return "red";
    return s->warning_count || log_dropped() ? "yellow" : "green";
}

static json_t *counters_json(const char *a, uint64_t a_value, const char *b, uint64_t b_value)
{
    json_t *v = json_object();

    api_json_set(&v, a, json_integer((json_int_t)a_value));
    if (b)
        api_json_set(&v, b, json_integer((json_int_t)b_value));
    return v;
}

/* "limit" is what the settings say, "system_limit" what the system leaves room for: the smaller of
 * the two is in force. */
static json_t *sessions_json(const struct api_status *s, const struct settings *settings)
{
    json_t *v = counters_json("now", s->sessions, "total", s->sessions_total);
    uint32_t limit = settings ? settings->interface.max_connections : 0;

    api_json_set(&v, "limit", limit ? json_integer(limit) : json_null());
    api_json_set(&v, "system_limit",
                 s->sessions_system ? json_integer((json_int_t)s->sessions_system) : json_null());
    return v;
}

static void status_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct settings *settings = a->deps.settings_current(a->deps.ctx);
    struct api_status *s = calloc(1, sizeof *s);
    json_t *v = json_object(), *destinations = json_array();
    int64_t now = clock_wall_us();

    if (s) {
        a->deps.status(a->deps.ctx, s);
        a->deps.queue_destinations(a->deps.ctx, add_destination, &destinations);
        api_json_set(&v, "health", json_string(api_health(s, settings)));
        api_json_set(&v, "version", json_string(a->deps.version));
        api_json_set(&v, "hostname",
                     settings ? api_json_str(str_of(settings->identity.hostname)) : json_null());
        api_json_set(&v, "revision",
                     settings ? json_integer((json_int_t)settings->revision) : json_null());
        api_json_set(&v, "started", api_json_time(a->deps.started_us));
        api_json_set(&v, "uptime_seconds", json_integer((now - a->deps.started_us) / 1000000));
        api_json_set(&v, "pending", api_pending_json(x));
        api_json_set(&v, "listeners", listeners_json(s));
        api_json_set(&v, "sessions", sessions_json(s, settings));
        api_json_set(
            &v, "messages",
            counters_json("accepted", s->messages_accepted, "delivered", s->messages_delivered));
        api_json_set(&v, "tls", tls_json(s, settings));
        api_json_set(&v, "spool", spool_json(s));
        api_json_set(&v, "memory", memory_json(s));
        api_json_set(&v, "queue", destinations);
        api_json_set(&v, "suspensions", api_suspensions_json(x));
        api_json_set(&v, "log", counters_json("dropped", log_dropped(), NULL, 0));
        api_json_set(&v, "warnings", api_warnings_json(s));
        http_answer_json(x, 200, v);
    } else {
        json_decref(v);
        json_decref(destinations);
        api_problem(x, PT_ERR_NOMEM, NULL);
    }
    free(s);
    settings_unref(settings);
}

void api_status_get(struct http_exchange *x)
{
    api_job(x, status_job);
}

void api_healthz(struct http_exchange *x)
{
    http_answer_text(x, 200, "application/json", STR("{\"status\":\"ok\"}\n"));
    http_exchange_finish(x);
}

static void readyz_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct api_status *s = calloc(1, sizeof *s);
    const char *why = "out of memory";

    if (s) {
        a->deps.status(a->deps.ctx, s);
        why = not_ready(s);
    }
    if (why)
        http_problem(x, 503, "%s", why);
    else
        http_answer_text(x, 200, "application/json", STR("{\"status\":\"ready\"}\n"));
    free(s);
}

void api_readyz(struct http_exchange *x)
{
    api_job(x, readyz_job);
}

/* ---- numbers ---- */

static void metrics_job(struct http_exchange *x)
{
    struct api *a = api_of(x);

    http_answer_text(x, 200, "text/plain; version=0.0.4; charset=utf-8", STR(""));
    a->deps.metrics(a->deps.ctx, &x->response.body);
    if (x->response.body.failed)
        http_problem(x, 503, "The answer does not fit in memory.");
}

void api_metrics_get(struct http_exchange *x)
{
    api_job(x, metrics_job);
}

/* ---- the log ---- */

static void flush_job(struct http_exchange *x)
{
    uint64_t row;

    if (!api_audit_begin(x, "log.flush", STR(""), &row))
        return;
    log_flush();
    api_audit_end(x, row, PT_ERR_OK, STR(""));
    http_answer_empty(x, 204);
}

/* For those who read the log's files and want the last moment too. */
void api_log_flush(struct http_exchange *x)
{
    api_job(x, flush_job);
}

/* ---- the addresses of this host ---- */

static void interfaces_job(struct http_exchange *x)
{
    static const char *const scopes[] = {
        [NET_SCOPE_HOST] = "host",
        [NET_SCOPE_LINK] = "link",
        [NET_SCOPE_GLOBAL] = "global",
    };
    struct net_interface *all = calloc(INTERFACES_MAX, sizeof *all);
    uint32_t count = all ? net_host_interfaces(all, INTERFACES_MAX) : 0;
    json_t *items = all ? json_array() : NULL;

    for (uint32_t i = 0; i < count; i++) {
        char text[NET_ADDR_SIZE];
        json_t *v = json_object();

        net_addr_format(&all[i].prefix.addr, text);
        api_json_set(&v, "address", json_string(text));
        api_json_set(&v, "prefix", json_integer(all[i].prefix.length));
        api_json_set(&v, "family",
                     json_string(all[i].prefix.addr.family == NET_IPV4 ? "ipv4" : "ipv6"));
        api_json_set(&v, "interface", api_json_str(str_of(all[i].name)));
        api_json_set(&v, "scope", json_string(scopes[all[i].scope]));
        api_json_set(&v, "loopback", json_boolean(all[i].scope == NET_SCOPE_HOST));
        /* Where the SMTP server can listen: connections.interface.address. */
        api_json_set(&v, "selectable", json_boolean(all[i].scope != NET_SCOPE_LINK));
        api_json_add(&items, v);
    }
    free(all);
    http_answer_json(x, 200, api_json_list(items, NULL, count));
}

void api_interfaces_get(struct http_exchange *x)
{
    api_job(x, interfaces_job);
}

/* ---- would this client be let in? ---- */

static void test_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *body = http_exchange_json(x, NULL), *answer;
    const char *text = json_string_value(json_object_get(body, "address"));
    struct api_decision decision = { 0 };
    struct net_addr address;

    if (!body)
        return;
    if (json_object_size(body) != 1 || !text || !net_addr_parse(str_of(text), &address)) {
        json_t *errors = json_array(), *error = json_object();

        api_json_set(&error, "pointer", json_string("/address"));
        api_json_set(&error, "detail", json_string("must be one IPv4 or IPv6 address"));
        api_json_add(&errors, error);
        http_problem_errors(x, 422, "The body must be { \"address\": … }.", errors);
        json_decref(body);
        return;
    }
    json_decref(body);
    a->deps.test_address(a->deps.ctx, &address, &decision);
    answer = json_object();
    api_json_set(&answer, "decision", json_string(decision.accept ? "accept" : "deny"));
    api_json_set(&answer, "entry",
                 decision.entry[0] ? api_json_str(str_of(decision.entry)) : json_null());
    api_json_set(&answer, "list", decision.list ? json_string(decision.list) : json_null());
    api_json_set(&answer, "comment",
                 decision.comment[0] ? api_json_str(str_of(decision.comment)) : json_null());
    http_answer_json(x, 200, answer);
}

void api_connections_test(struct http_exchange *x)
{
    api_job(x, test_job);
}
