/*
 * api/api: the routes, and the thread that serves them.
 */
#include "api/api.h"

#include <stdio.h>
#include <stdlib.h>

#include "api/resources.h"
#include "base/block.h"
#include "base/log.h"

enum {
    JOB_THREADS = 2,
    JOBS_WAITING = 256,
    SMALL = 64 * 1024,
    IDS = 1024 * 1024,
    LIST_FILE = 64 * 1024 * 1024,
    LIST_PATCH = 16 * 1024 * 1024,
    UPLOAD = 4 * 1024 * 1024,
    LAST_TURNS = 50,
    LAST_TURN_MS = 20
};

#define V1 "/api/v1"

#define CHANGE "dry_run preview comment confirm_within"
#define PAGE "limit cursor"
#define QUEUE_FILTER "destination sender recipient state held older_than newer_than order "
#define IMPORT "replace valid_only confirm " CHANGE

const struct http_route api_routes[] = {
    { HTTP_METHOD_GET, V1 "/settings", api_settings_get, 0, "lists",
      "the settings in force; the ETag is their revision. With lists=false without the deny and "
      "the permit list" },
    { HTTP_METHOD_PUT, V1 "/settings", api_settings_put, SETTINGS_DOCUMENT_MAX, CHANGE,
      "put a whole document into force" },
    { HTTP_METHOD_PATCH, V1 "/settings", api_settings_patch, SETTINGS_DOCUMENT_MAX, CHANGE,
      "change a part: a merge patch (RFC 7396), in which deny_list and permit_list may be { add, "
      "remove, file: { text, replace, valid_only } } in place of the whole list",
      "application/merge-patch+json application/json" },
    { HTTP_METHOD_GET, V1 "/settings/confirm", api_confirm_get, 0, NULL,
      "the change that waits to be confirmed" },
    { HTTP_METHOD_POST, V1 "/settings/confirm", api_confirm_post, SMALL, NULL, "keep it" },
    { HTTP_METHOD_DELETE, V1 "/settings/confirm", api_confirm_delete, 0, NULL, "go back now" },
    { HTTP_METHOD_GET, V1 "/settings/revisions", api_revisions_get, 0, PAGE,
      "the revisions, newest first" },
    { HTTP_METHOD_GET, V1 "/settings/revisions/{revision}", api_revision_get, 0, NULL,
      "one revision with its document" },
    { HTTP_METHOD_POST, V1 "/settings/revisions/{revision}/restore", api_revision_restore, SMALL,
      CHANGE, "put a former revision into force again, as a new one" },
    { HTTP_METHOD_GET, V1 "/interfaces", api_interfaces_get, 0, NULL,
      "the addresses of this host" },
    { HTTP_METHOD_GET, V1 "/connections/lists/deny", api_list_get, 0, "q sort order " PAGE,
      "the deny list in pages, with hits; as text/plain the whole list in the file format", NULL,
      "application/json text/plain" },
    { HTTP_METHOD_POST, V1 "/connections/lists/deny", api_list_import, LIST_FILE, IMPORT,
      "import a list file", "text/plain" },
    { HTTP_METHOD_PATCH, V1 "/connections/lists/deny", api_list_patch, LIST_PATCH, CHANGE,
      "add and remove single entries" },
    { HTTP_METHOD_GET, V1 "/connections/lists/permit", api_list_get, 0, "q sort order " PAGE,
      "the permit list in pages, with hits; as text/plain the whole list in the file format", NULL,
      "application/json text/plain" },
    { HTTP_METHOD_POST, V1 "/connections/lists/permit", api_list_import, LIST_FILE, IMPORT,
      "import a list file", "text/plain" },
    { HTTP_METHOD_PATCH, V1 "/connections/lists/permit", api_list_patch, LIST_PATCH, CHANGE,
      "add and remove single entries" },
    { HTTP_METHOD_GET, V1 "/message_rules/relay_domains", api_list_get, 0, "q " PAGE,
      "the relay domains in pages; as text/plain all of them, a line each", NULL,
      "application/json text/plain" },
    { HTTP_METHOD_POST, V1 "/message_rules/relay_domains", api_domains_import, LIST_FILE, IMPORT,
      "import a file of domains", "text/plain" },
    { HTTP_METHOD_POST, V1 "/connections/test", api_connections_test, SMALL, NULL,
      "would this client be let in, and which entry decides" },
    { HTTP_METHOD_POST, V1 "/connections/preview", api_settings_preview, SETTINGS_DOCUMENT_MAX,
      "limit",
      "which clients of the last days would be refused or let in under a draft: a merge patch (RFC "
      "7396) of the settings",
      "application/merge-patch+json application/json" },
    { HTTP_METHOD_GET, V1 "/connections/live", api_live_get, 0, "address " PAGE,
      "the clients that are connected now, the oldest first" },
    { HTTP_METHOD_GET, V1 "/connections/live/{id}", api_live_item_get, 0, NULL, "one of them" },
    { HTTP_METHOD_DELETE, V1 "/connections/live/{id}", api_live_item_delete, 0, "now",
      "disconnect it: between two commands, or with now at once" },
    { HTTP_METHOD_GET, V1 "/connections/bans", api_bans_get, 0, PAGE,
      "who is kept out for a while, the next to end first" },
    { HTTP_METHOD_POST, V1 "/connections/bans", api_ban_set, SMALL, NULL,
      "keep an address out: { \"address\", \"minutes\", \"comment\" }" },
    { HTTP_METHOD_GET, V1 "/connections/bans/{address}", api_ban_get, 0, NULL,
      "the ban that an address is under" },
    { HTTP_METHOD_DELETE, V1 "/connections/bans/{address}", api_ban_lift, 0, NULL,
      "let it in again" },
    { HTTP_METHOD_GET, V1 "/connections/limits", api_limits_get, 0, "limit",
      "what limits have refused and, watched only, would have: by rule and by client" },
    { HTTP_METHOD_POST, V1 "/explain", api_explain_post, SETTINGS_DOCUMENT_MAX, NULL,
      "what would become of such a client, rule by rule: { \"address\", \"helo\", \"from\", "
      "\"to\", \"tls\", \"draft\" or \"patch\" }; or what a reference stands for: { \"ref\" }" },
    { HTTP_METHOD_POST, V1 "/routes/test", api_route_test, SETTINGS_DOCUMENT_MAX, NULL,
      "where would mail for an address (or a domain) go, and why: { \"address\", \"draft\" }" },
    { HTTP_METHOD_GET, V1 "/queue", api_queue_get, 0, QUEUE_FILTER PAGE,
      "the messages in the queue: oldest first, or order=newest; older_than and newer_than are "
      "times "
      "such as 90s, 30m, 2h, 5d; state is queued, deferred, delivering, in_doubt or held" },
    { HTTP_METHOD_POST, V1 "/queue/retry", api_queue_many_retry, IDS, NULL,
      "try messages again now" },
    { HTTP_METHOD_POST, V1 "/queue/hold", api_queue_many_hold, IDS, NULL, "keep messages back" },
    { HTTP_METHOD_POST, V1 "/queue/release", api_queue_many_release, IDS, NULL,
      "let held messages go" },
    { HTTP_METHOD_POST, V1 "/queue/delete", api_queue_many_delete, IDS, NULL, "remove messages" },
    { HTTP_METHOD_POST, V1 "/queue/bounce", api_queue_many_bounce, IDS, NULL,
      "give messages up and tell their senders" },
    { HTTP_METHOD_POST, V1 "/queue/redirect", api_queue_redirect, IDS, NULL,
      "send queued mail to another next hop than the routes lead to: exactly one of ids, "
      "destination and all, and either to (HOST or HOST:PORT) or undo (true); what the routes "
      "demand is demanded there" },
    { HTTP_METHOD_GET, V1 "/queue/suspensions", api_suspensions_get, 0, NULL,
      "the suspended destinations" },
    { HTTP_METHOD_POST, V1 "/queue/suspend", api_destination_suspend, SMALL, NULL,
      "hand nothing to a destination: { \"destination\", \"reason\", \"for_seconds\" or "
      "\"until\" }; without a time until it is resumed" },
    { HTTP_METHOD_POST, V1 "/queue/resume", api_destination_resume, SMALL, NULL,
      "let a suspended destination go on: { \"destination\" }" },
    { HTTP_METHOD_GET, V1 "/queue/{id}", api_queue_item_get, 0, "limit recipient",
      "one message with its recipients, 1000 at a time: the next ones from number next_recipient" },
    { HTTP_METHOD_DELETE, V1 "/queue/{id}", api_queue_item_delete, 0, NULL, "remove it" },
    { HTTP_METHOD_GET, V1 "/queue/{id}/content", api_queue_content, 0, NULL,
      "the message as it was received", NULL, "message/rfc822" },
    { HTTP_METHOD_POST, V1 "/queue/{id}/retry", api_queue_item_retry, SMALL, NULL,
      "try it again now" },
    { HTTP_METHOD_POST, V1 "/queue/{id}/hold", api_queue_item_hold, SMALL, NULL, "keep it back" },
    { HTTP_METHOD_POST, V1 "/queue/{id}/release", api_queue_item_release, SMALL, NULL,
      "let it go" },
    { HTTP_METHOD_POST, V1 "/queue/{id}/bounce", api_queue_item_bounce, SMALL, NULL,
      "give it up and tell the sender" },
    { HTTP_METHOD_GET, V1 "/audit", api_audit_get, 0, "since until actor action " PAGE,
      "who did what, newest first" },
    { HTTP_METHOD_POST, V1 "/audit", api_audit_post, SMALL, NULL,
      "write down what the console has done; for its own user alone" },
    { HTTP_METHOD_GET, V1 "/tls/certificates", api_certificates_get, 0, NULL,
      "the uploaded certificates" },
    { HTTP_METHOD_POST, V1 "/tls/certificates", api_certificates_post, UPLOAD, NULL,
      "check and stage a certificate; naming it in the settings puts it into force" },
    { HTTP_METHOD_GET, V1 "/tls/certificates/{id}", api_certificate_get, 0, NULL,
      "one of them, with what is to be said about it" },
    { HTTP_METHOD_DELETE, V1 "/tls/certificates/{id}", api_certificate_delete, 0, NULL,
      "remove one that is not in use" },
    { HTTP_METHOD_GET, V1 "/tls/server", api_tls_server_get, 0, NULL,
      "what is configured, and what a handshake with the listener really shows" },
    { HTTP_METHOD_PUT, V1 "/tls/server", api_tls_server_put, UPLOAD, CHANGE,
      "upload a certificate and put it into force in one step" },
    { HTTP_METHOD_POST, V1 "/tls/check", api_tls_check, SMALL, NULL,
      "what a delivery to next_hop (HOST or HOST:PORT) would find now: STARTTLS, version, cipher, "
      "certificate, and whether the routes' demands are met; with domain, that domain's route" },
    { HTTP_METHOD_GET, V1 "/status", api_status_get, 0, NULL, "how the gateway is now" },
    { HTTP_METHOD_POST, V1 "/log/flush", api_log_flush, SMALL, NULL,
      "write to the disk what the log still holds in memory", NULL, "" },
    { HTTP_METHOD_GET, V1 "/events", api_events_get, 0, "types",
      "what happens, as it happens (server-sent events): how settings, pending, status, "
      "connections "
      "and queue are now and when they change; message and refusal, what the log says; missed",
      NULL, "text/event-stream" },
    { HTTP_METHOD_GET, V1 "/openapi.json", api_openapi_get, 0, NULL, "this description" },
    { HTTP_METHOD_GET, "/metrics", api_metrics_get, 0, NULL, "the numbers, for Prometheus", NULL,
      "text/plain" },
    { HTTP_METHOD_GET, "/healthz", api_healthz, 0, NULL, "does this process answer" },
    { HTTP_METHOD_GET, "/readyz", api_readyz, 0, NULL, "can mail come in" },
};

const size_t api_route_count = PT_ARRAY_LEN(api_routes);

static void *serve(void *ctx)
{
    struct api *a = ctx;

    net_loop_run(a->loop);
    block_thread_done();
    return NULL;
}

/* Its own people, and the console's user. */
static bool peer_allowed(void *ctx, uint32_t uid, uint32_t gid)
{
    const struct api *a = ctx;

    return http_peer_is_ours(uid, gid) || uid == a->deps.console_uid;
}

static enum pt_err start(struct api *a, struct pt_fault *fault)
{
    struct http_server_config config = {
        .loop = a->loop,
        .routes = api_routes,
        .route_count = PT_ARRAY_LEN(api_routes),
        .ctx = a,
        .peer_allowed = peer_allowed,
        .max_connections = 128,
        /* Those who ask are trusted, and a million messages take their time. */
        .deadline_ms = 300000,
    };
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/api.sock", a->deps.state_directory);
    enum pt_err err;

    if (n < 0 || (size_t)n >= sizeof path)
        return pt_fault_set(fault, PT_ERR_TOOBIG, "the name of the state folder is too long");
    a->server = http_server_new(&config);
    if (!a->server)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    err = http_server_listen_unix(a->server, path, 0660, fault);
    if (err)
        return err;
    if (pthread_create(&a->thread, NULL, serve, a) != 0)
        return pt_fault_set(fault, PT_ERR_NOMEM, "no thread for the API");
    a->running = true;
    return PT_ERR_OK;
}

enum pt_err api_new(struct api **out, const struct api_deps *deps, struct pt_fault *fault)
{
    struct api *a = calloc(1, sizeof *a);
    enum pt_err err;

    if (!a)
        return pt_fault_set(fault, PT_ERR_NOMEM, "out of memory");
    a->deps = *deps;
    pthread_mutex_init(&a->settings_lock, NULL);
    pthread_mutex_init(&a->audit_lock, NULL);
    a->loop = net_loop_new(0);
    a->work = http_work_new(JOB_THREADS, JOBS_WAITING);
    if (!a->loop || !a->work || !api_events_init(a))
        err = pt_fault_set(fault, PT_ERR_NOMEM, "no descriptors or threads for the API");
    else
        err = start(a, fault);
    if (err) {
        api_free(a);
        return err;
    }
    *out = a;
    return PT_ERR_OK;
}

void api_free(struct api *a)
{
    if (!a)
        return;
    if (a->running) {
        net_loop_stop(a->loop);
        pthread_join(a->thread, NULL);
    }
    /* The jobs under way come back through the loop's mailbox and are answered here. */
    if (a->work)
        http_work_stop(a->work);
    api_events_stop(a);
    if (a->server)
        http_server_stop(a->server);
    for (int i = 0; a->running && i < LAST_TURNS && http_server_connections(a->server); i++)
        net_loop_turn(a->loop, LAST_TURN_MS);
    http_server_free(a->server);
    http_work_free(a->work);
    api_events_done(a);
    net_loop_free(a->loop);
    settings_store_close(a->audit);
    pthread_mutex_destroy(&a->audit_lock);
    pthread_mutex_destroy(&a->settings_lock);
    free(a);
}
