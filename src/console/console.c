/*
 * console: the web side. For now a page that says where to go on, and the health of the gateway.
 */
#include "console/console.h"

#include <stdio.h>
#include <stdlib.h>

#include "console/page.h"
#include "http/client.h"
#include "http/server.h"
#include "http/work.h"

enum { WORKERS = 2, WAITING = 64, GATEWAY_TIMEOUT_MS = 5000 };

struct console {
    struct net_loop *loop;
    struct http_server *server;
    struct http_work *work;
    void (*ready)(void *ctx, const char *url);
    void *ctx;
    char socket[4200];
    char url[64 + NET_ENDPOINT_SIZE];
    char host[NET_ADDR_SIZE + 2]; /* as it stands in Host, IPv6 in brackets */
    const char *hosts[4];
};

/* ---- what every answer has ---- */

/* The page needs nothing from anywhere: no script, no style sheet but its own, no frame. */
static bool before(struct http_exchange *x)
{
    http_header_add(x, "Content-Security-Policy",
                    "default-src 'none'; style-src " CONSOLE_STYLE_HASH
                    "; base-uri 'none'; form-action 'none'; frame-ancestors 'none'");
    http_header_add(x, "Referrer-Policy", "no-referrer");
    http_header_add(x, "X-Frame-Options", "DENY");
    http_header_add(x, "Cross-Origin-Resource-Policy", "same-origin");
    return true;
}

/* ---- pages ---- */

static void get_page(struct http_exchange *x)
{
    http_answer_text(x, 200, "text/html; charset=utf-8", str_of(console_page));
    http_exchange_finish(x);
}

static void get_healthz(struct http_exchange *x)
{
    http_answer_text(x, 200, "application/json", STR("{\"status\":\"ok\"}\n"));
    http_exchange_finish(x);
}

/* Asks the gateway. Only its status counts; the words are ours. */
static void readyz_job(struct http_exchange *x)
{
    struct console *c = x->ctx;
    struct http_client *client = http_client_new(c->socket, GATEWAY_TIMEOUT_MS);
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
    http_work_run(((struct console *)x->ctx)->work, x, readyz_job);
}

/* There are no accounts yet, so nobody is logged in. */
static void unauthorized(struct http_exchange *x)
{
    http_header_add(x, "WWW-Authenticate", "Bearer realm=\"postern\"");
    http_problem(x, 401, "Nobody is logged in.");
    http_exchange_finish(x);
}

#define API_ROUTES(pattern)                                                                        \
    { HTTP_METHOD_GET, pattern, unauthorized, API_BODY, HTTP_QUERY_ANY },                          \
        { HTTP_METHOD_POST, pattern, unauthorized, API_BODY, HTTP_QUERY_ANY },                     \
        { HTTP_METHOD_PUT, pattern, unauthorized, API_BODY, HTTP_QUERY_ANY },                      \
        { HTTP_METHOD_PATCH, pattern, unauthorized, API_BODY, HTTP_QUERY_ANY },                    \
        { HTTP_METHOD_DELETE, pattern, unauthorized, API_BODY, HTTP_QUERY_ANY },                   \
    {                                                                                              \
        HTTP_METHOD_OTHER, pattern, unauthorized, API_BODY, HTTP_QUERY_ANY                         \
    }

enum { API_BODY = 64 * 1024 };

static const struct http_route routes[] = {
    { HTTP_METHOD_GET, "/", get_page },
    { HTTP_METHOD_GET, "/healthz", get_healthz },
    { HTTP_METHOD_GET, "/readyz", get_readyz },
    API_ROUTES("/api/v1"),
    API_ROUTES("/api/v1/{*}"),
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

/* "127.0.0.1:8025", "[::1]:8025", "localhost:8025". */
static enum pt_err parse_listen(const char *listen, struct net_endpoint *out,
                                struct pt_fault *fault)
{
    struct str text = str_of(listen ? listen : CONSOLE_LISTEN_DEFAULT), host;
    size_t colon = text.n;

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
    if (!net_addr_is_loopback(&out->addr))
        return pt_fault_set(fault, PT_ERR_DENIED,
                            "the console listens on loopback only as long as it has no TLS, and "
                            "%.*s is not",
                            (int)host.n, host.p);
    return PT_ERR_OK;
}

enum pt_err console_listen_check(const char *listen, struct pt_fault *fault)
{
    struct net_endpoint at;

    return parse_listen(listen, &at, fault);
}

/* ---- the process ---- */

static enum pt_err make_server(struct console *c, const struct net_endpoint *at,
                               struct pt_fault *fault)
{
    struct http_server_config config = {
        .loop = c->loop,
        .routes = routes,
        .route_count = PT_ARRAY_LEN(routes),
        .ctx = c,
        .hosts = c->hosts,
        .host_count = PT_ARRAY_LEN(c->hosts),
        .max_connections = 256,
        .deadline_ms = 30000,
        .before = before,
    };
    char address[NET_ADDR_SIZE];

    net_addr_format(&at->addr, address);
    snprintf(c->host, sizeof c->host, at->addr.family == NET_IPV6 ? "[%s]" : "%s", address);
    c->hosts[0] = c->host;
    c->hosts[1] = "localhost";
    c->hosts[2] = "127.0.0.1";
    c->hosts[3] = "[::1]";
    c->server = http_server_new(&config);
    return c->server ? PT_ERR_OK : pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
}

static enum pt_err listen_at(struct console *c, const struct console_config *config,
                             struct net_endpoint *at, struct pt_fault *fault)
{
    char text[NET_ENDPOINT_SIZE];
    enum pt_err err;

    if (config->listen_fd >= 0)
        err = http_server_listen_fd_take(c->server, config->listen_fd, fault);
    else
        err = http_server_listen_tcp(c->server, at, &at->port, fault);
    net_endpoint_format(at, text);
    snprintf(c->url, sizeof c->url, "http://%s/", text);
    return err;
}

enum pt_err console_new(struct console **out, const struct console_config *config,
                        struct pt_fault *fault)
{
    struct console *c;
    struct net_endpoint at;
    enum pt_err err = parse_listen(config->listen, &at, fault);
    int n;

    if (err)
        return err;
    c = calloc(1, sizeof *c);
    if (!c)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    c->ready = config->ready;
    c->ctx = config->ctx;
    n = snprintf(c->socket, sizeof c->socket, "%s/api.sock", config->state_directory);
    c->loop = net_loop_new(0);
    c->work = http_work_new(WORKERS, WAITING);
    if (n < 0 || (size_t)n >= sizeof c->socket)
        err = pt_fault_set(fault, PT_ERR_TOOBIG, "the name of the state folder is too long");
    else if (!c->loop || !c->work)
        err = pt_fault_set(fault, PT_ERR_NOMEM, "no descriptors or threads for the console");
    if (!err)
        err = make_server(c, &at, fault);
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
    if (c->ready)
        c->ready(c->ctx, c->url);
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
    if (c->work)
        http_work_stop(c->work);
    http_server_free(c->server);
    http_work_free(c->work);
    net_loop_free(c->loop);
    free(c);
}
