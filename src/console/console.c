/*
 * console: where it listens, its routes, and what every answer has.
 */
#include "console/console.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "console/files.h"
#include "console/inner.h"
#include "http/client.h"

enum {
    WORKERS = 8,
    WAITING = 128,
    LOGINS = 2, /* at 19 MiB and 25 ms each */
    LOGINS_WAITING = 16,
    GATEWAY_TIMEOUT_MS = 5000,
    STRANGER_DEADLINE_MS = 30000,
    KNOWN_DEADLINE_MS = 310000,
    STRANGER_BODY = 64 * 1024,
    HELPER_BODY = 4 * 1024 * 1024,
    SMALL = 64 * 1024,
    PASSED_BODY = 256 * 1024 * 1024, /* no shorter than what the gateway takes */
};

enum pt_err console_refresh(struct console *c)
{
    struct accounts fresh = { 0 };
    enum pt_err err = PT_ERR_OK;
    bool changed;

    pthread_mutex_lock(&c->refresh_lock);
    changed = c->accounts_err || !accounts_are_current(&c->accounts, c->state_directory);
    if (changed) {
        err = accounts_load(&fresh, c->state_directory, &c->accounts_fault);
        if (err)
            log_text(LOG_ERROR, "console", "%s", c->accounts_fault.text);
        c->accounts_err = err;
    }
    if (changed && !err) {
        struct accounts former;

        pthread_mutex_lock(&c->lock);
        former = c->accounts;
        c->accounts = fresh;
        pthread_mutex_unlock(&c->lock);
        accounts_done(&former);
    }
    pthread_mutex_unlock(&c->refresh_lock);
    return err;
}

/* ---- what every request and answer has ---- */

/* The authority of an Origin, without its scheme; a proxy in front may have another one. */
static struct str authority(struct str origin)
{
    ptrdiff_t slash = str_find(origin, '/', 0);

    return slash < 0 || (size_t)slash + 2 > origin.n ? origin : str_from(origin, (size_t)slash + 2);
}

/* A page of another site that makes a browser send something. Programs send neither header. */
static bool is_from_elsewhere(const struct http_exchange *x)
{
    struct str site = http_request_header(x->request, "sec-fetch-site");
    struct str origin = http_request_header(x->request, "origin");

    if (x->request->method == HTTP_METHOD_GET || x->request->method == HTTP_METHOD_HEAD)
        return false;
    if (site.p)
        return !str_eq(site, STR("same-origin")) && !str_eq(site, STR("none"));
    return origin.p && !str_eq_nocase(authority(origin), http_request_header(x->request, "host"));
}

/* The page has its own files and talks to its own origin; nothing inline, nothing of others, and no
 * text becomes markup (PatternFly's pictures in style sheets are data: URLs). */
#define COMMON_HEAD                                                                                \
    "Content-Security-Policy: default-src 'none'; script-src 'self'; style-src 'self'; "           \
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "              \
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'\r\n"         \
    "Referrer-Policy: no-referrer\r\n"                                                             \
    "X-Frame-Options: DENY\r\n"                                                                    \
    "Cross-Origin-Resource-Policy: same-origin\r\n"                                                \
    "Cross-Origin-Opener-Policy: same-origin\r\n"

static const char plain_head[] = COMMON_HEAD;
static const char secure_head[] = COMMON_HEAD "Strict-Transport-Security: max-age=31536000\r\n";

static bool before(struct http_exchange *x)
{
    if (!is_from_elsewhere(x))
        return true;
    http_problem(x, 403, "The request comes from a page of another site.");
    return false;
}

/* Strangers send a log-in at most; only administrators send lists and settings. */
static size_t body_max(struct http_exchange *x, size_t route_max)
{
    enum account_role role = route_max > STRANGER_BODY ? who_seems(x) : ROLE_NONE;

    if (role == ROLE_NONE)
        return PT_MIN(route_max, (size_t)STRANGER_BODY);
    x->deadline_ms = KNOWN_DEADLINE_MS;
    return role == ROLE_ADMINISTRATOR ? route_max : PT_MIN(route_max, (size_t)HELPER_BODY);
}

/* Addresses cannot be rebound to us by somebody's DNS, names can: only our own are answered. */
static bool host_allowed(void *ctx, struct str host)
{
    const struct console *c = ctx;
    struct net_addr address;
    char name[256] = "";

    if (host.n > 2 && host.p[0] == '[')
        host = (struct str){ host.p + 1, host.n - 2 };
    if (net_addr_parse(host, &address) || str_eq_nocase(host, STR("localhost")))
        return true;
    if (!c->secure)
        return false;
    PT_IGNORE(gethostname(name, sizeof name - 1), "then it has none");
    return secure_has_name(c->secure, host) || str_eq_nocase(host, str_of(name));
}

/* ---- health ---- */

static void get_healthz(struct http_exchange *x)
{
    http_answer_text(x, 200, "application/json", STR("{\"status\":\"ok\"}\n"));
    http_exchange_finish(x);
}

/* Asks the gateway. Only its status counts; the words are ours. */
static void readyz_job(struct http_exchange *x)
{
    struct http_client *client = http_client_new(console_of(x)->socket, GATEWAY_TIMEOUT_MS);
    struct http_call call = { .method = "GET", .target = "/readyz" };
    struct http_reply reply;
    enum pt_err err = client ? http_client_call(client, &call, &reply, NULL) : PT_ERR_NOMEM;

    if (err)
        http_problem(x, 503, "The gateway does not answer.");
    else if (reply.status != 200)
        http_problem(x, 503, "The gateway is not ready to take mail.");
    else
        http_answer_text(x, 200, "application/json", STR("{\"status\":\"ready\"}\n"));
    if (!err)
        http_reply_done(&reply);
    http_client_free(client);
}

static void get_readyz(struct http_exchange *x)
{
    http_work_run(console_of(x)->work, x, readyz_job);
}

/* ---- routes ---- */

#define V1 "/api/v1"
#define ANY HTTP_QUERY_ANY
#define PASS_ONE(method, pattern, max)                                                             \
    {                                                                                              \
        method, pattern, pass_on, max, ANY, .streams = true                                        \
    }
#define PASS(pattern)                                                                              \
    PASS_ONE(HTTP_METHOD_GET, pattern, SMALL), PASS_ONE(HTTP_METHOD_POST, pattern, PASSED_BODY),   \
        PASS_ONE(HTTP_METHOD_PUT, pattern, PASSED_BODY),                                           \
        PASS_ONE(HTTP_METHOD_PATCH, pattern, PASSED_BODY),                                         \
        PASS_ONE(HTTP_METHOD_DELETE, pattern, SMALL), PASS_ONE(HTTP_METHOD_OTHER, pattern, SMALL)

static const struct http_route routes[] = {
    { HTTP_METHOD_GET, "/healthz", get_healthz },
    { HTTP_METHOD_GET, "/readyz", get_readyz },
    { HTTP_METHOD_GET, "/metrics", pass_on, .streams = true },
    { HTTP_METHOD_POST, V1 "/login", login_post, SMALL, ANY },
    { HTTP_METHOD_POST, V1 "/logout", logout_post, SMALL, ANY },
    { HTTP_METHOD_GET, V1 "/me", me_get, SMALL, ANY },
    { HTTP_METHOD_PUT, V1 "/me/password", me_password_put, SMALL, ANY },
    { HTTP_METHOD_POST, V1 "/me/second-factor", second_post, SMALL, ANY },
    { HTTP_METHOD_PUT, V1 "/me/second-factor", second_put, SMALL, ANY },
    { HTTP_METHOD_DELETE, V1 "/me/second-factor", second_delete, SMALL, ANY },
    { HTTP_METHOD_GET, V1 "/admins", admins_get, SMALL, ANY },
    { HTTP_METHOD_POST, V1 "/admins", admins_post, SMALL, ANY },
    { HTTP_METHOD_PATCH, V1 "/admins/{name}", admin_patch, SMALL, ANY },
    { HTTP_METHOD_DELETE, V1 "/admins/{name}", admin_delete, SMALL, ANY },
    { HTTP_METHOD_GET, V1 "/tokens", tokens_get, SMALL, ANY },
    { HTTP_METHOD_POST, V1 "/tokens", tokens_post, SMALL, ANY },
    { HTTP_METHOD_DELETE, V1 "/tokens/{id}", token_delete, SMALL, ANY },
    { HTTP_METHOD_GET, V1 "/setup", setup_get, SMALL, "token" },
    { HTTP_METHOD_POST, V1 "/setup", setup_post, SMALL, ANY },
    { HTTP_METHOD_GET, V1 "/openapi.json", describe_get, SMALL },
    PASS(V1),
    PASS(V1 "/{*}"),
    { HTTP_METHOD_GET, "/{*}", console_file_get, 0, ANY },
};

/* ---- where to listen ---- */

static bool parse_port(struct str text, uint16_t *out)
{
    uint64_t port;

    if (text.n == 0 || text.n > 5 || !str_to_u64(text, &port) || port > 65535)
        return false;
    *out = (uint16_t)port;
    return true;
}

/* "127.0.0.1:8025", "[::1]:8025", "localhost:8025", "https://127.0.0.1:8025". */
static enum pt_err parse_listen(const char *listen, struct net_endpoint *out, bool *out_secure,
                                struct pt_fault *fault)
{
    struct str text = str_of(listen ? listen : CONSOLE_LISTEN_DEFAULT), host;
    bool secure = str_starts_nocase(text, STR("https://"));
    size_t colon;

    if (secure)
        text = str_from(text, sizeof "https://" - 1);
    colon = text.n;
    while (colon > 0 && text.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || !parse_port(str_from(text, colon), &out->port))
        return pt_fault_set(fault, PT_ERR_INVALID, "%s is not HOST:PORT, like %s", text.p,
                            CONSOLE_LISTEN_DEFAULT);
    host = str_head(text, colon - 1);
    if (str_eq_nocase(host, STR("localhost")))
        host = STR("127.0.0.1");
    if (host.n > 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){ host.p + 1, host.n - 2 };
    if (!net_addr_parse(host, &out->addr))
        return pt_fault_set(fault, PT_ERR_INVALID, "%.*s is not an IP address", (int)host.n,
                            host.p);
    /* Passwords go over the wire only under TLS. */
    *out_secure = secure || !net_addr_is_loopback(&out->addr);
    return PT_ERR_OK;
}

enum pt_err console_listen_check(const char *listen, struct pt_fault *fault)
{
    struct net_endpoint at;
    bool secure;

    return parse_listen(listen, &at, &secure, fault);
}

/* ---- the process ---- */

/* What a browser can open; for a wildcard this host's name. */
static void make_url(struct console *c, const struct net_endpoint *at)
{
    char text[NET_ENDPOINT_SIZE], host[256] = "";
    static const uint8_t none[16];

    net_endpoint_format(at, text);
    if (memcmp(at->addr.octets, none, sizeof none) == 0 &&
        gethostname(host, sizeof host - 1) == 0 && host[0])
        snprintf(c->url, sizeof c->url, "https://%s:%u/", host, at->port);
    else
        snprintf(c->url, sizeof c->url, "http%s://%s/", c->secure ? "s" : "", text);
}

static enum pt_err listen_at(struct console *c, const struct console_config *config,
                             struct net_endpoint *at, struct pt_fault *fault)
{
    struct http_server_config server = {
        .loop = c->loop,
        .routes = routes,
        .route_count = PT_ARRAY_LEN(routes),
        .ctx = c,
        .host_allowed = host_allowed,
        .body_max = body_max,
        .accepted = c->secure ? secure_accepted : NULL,
        .max_connections = 256,
        .deadline_ms = STRANGER_DEADLINE_MS,
        .before = before,
        .common_head = c->secure ? secure_head : plain_head,
    };
    enum pt_err err;

    c->server = http_server_new(&server);
    if (!c->server)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    if (config->listen_fd >= 0)
        err = http_server_listen_fd_take(c->server, config->listen_fd, fault);
    else
        err = http_server_listen_tcp(c->server, at, &at->port, fault);
    make_url(c, at);
    return err;
}

static enum pt_err set_up(struct console *c, const struct console_config *config,
                          struct pt_fault *fault)
{
    int n = snprintf(c->state_directory, sizeof c->state_directory, "%s", config->state_directory);
    int m = snprintf(c->socket, sizeof c->socket, "%s/api.sock", config->state_directory);

    if (n < 0 || (size_t)n >= sizeof c->state_directory || m < 0 || (size_t)m >= sizeof c->socket)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the name of the state folder is too long");
    c->loop = net_loop_new(0);
    c->work = http_work_new(WORKERS, WAITING);
    c->logins = http_work_new(LOGINS, LOGINS_WAITING);
    c->sessions = sessions_new();
    c->throttle = throttle_new();
    if (!c->loop || !c->work || !c->logins || !c->sessions || !c->throttle)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no memory or threads for the console");
    streams_init(c);
    accounts_secret(c->setup_token);
    /* Damaged accounts keep people out, not the console down: it says so at each log-in. */
    c->accounts = (struct accounts){ .next = 1, .stamp.size = UINT64_MAX };
    PT_IGNORE(console_refresh(c), "logged");
    return PT_ERR_OK;
}

enum pt_err console_new(struct console **out, const struct console_config *config,
                        struct pt_fault *fault)
{
    struct console *c;
    struct net_endpoint at;
    bool secure;
    enum pt_err err = parse_listen(config->listen, &at, &secure, fault);

    if (err)
        return err;
    c = calloc(1, sizeof *c);
    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->refresh_lock, NULL);
    c->ready = config->ready;
    c->ctx = config->ctx;
    err = set_up(c, config, fault);
    if (!err && secure)
        err = secure_new(&c->secure, c, &at, fault);
    if (!err)
        err = listen_at(c, config, &at, fault);
    if (err) {
        console_free(c);
        return err;
    }
    *out = c;
    return PT_ERR_OK;
}

void console_run(struct console *c)
{
    char setup_url[sizeof c->url + ACCOUNT_SECRET_SIZE + 16];

    snprintf(setup_url, sizeof setup_url, "%ssetup?token=%s", c->url, c->setup_token);
    if (c->ready)
        c->ready(c->ctx, c->url, c->accounts_err || c->accounts.count ? NULL : setup_url);
    net_loop_run(c->loop);
}

void console_stop(struct console *c)
{
    net_loop_stop(c->loop);
}

void console_free(struct console *c)
{
    if (!c)
        return;
    streams_stop(c);
    if (c->server)
        http_server_stop(c->server);
    if (c->work)
        http_work_stop(c->work);
    if (c->logins)
        http_work_stop(c->logins);
    secure_stop(c->secure);
    if (c->loop)
        net_loop_turn(c->loop, 0);
    http_server_free(c->server);
    secure_free(c->secure);
    http_work_free(c->work);
    http_work_free(c->logins);
    sessions_free(c->sessions);
    throttle_free(c->throttle);
    accounts_done(&c->accounts);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->refresh_lock);
    net_loop_free(c->loop);
    sodium_memzero(c, sizeof *c);
    free(c);
}
