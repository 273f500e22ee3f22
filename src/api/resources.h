#pragma once
#include <pthread.h>

#include "api/api.h"
#include "api/audit.h"
#include "api/event_ring.h"
#include "http/server.h"
#include "http/work.h"
#include "policy/list_view.h"
#include "policy/preview_view.h"

/*
 * api/resources: the handlers behind the routes; private to this room.
 *
 * A handler runs on the API's loop and hands over to a job thread with api_job(); what is named
 * "…_job" runs there and may wait.
 */

struct api {
    struct api_deps deps;
    struct net_loop *loop;
    struct http_server *server;
    struct http_work *work;
    pthread_mutex_t settings_lock; /* one change at a time */
    pthread_mutex_t audit_lock;
    struct settings_store *audit; /* under audit_lock; NULL: not opened yet */
    struct api_events *events;
    pthread_t thread;
    bool running;
};

/* The routes (api.c), which are also what the OpenAPI description is made from. */
extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* settings.c, revisions.c */
void api_settings_get(struct http_exchange *x);
void api_settings_put(struct http_exchange *x);
void api_settings_patch(struct http_exchange *x);
void api_settings_preview(struct http_exchange *x);
void api_confirm_get(struct http_exchange *x);
void api_confirm_post(struct http_exchange *x);
void api_confirm_delete(struct http_exchange *x);
void api_revisions_get(struct http_exchange *x);
void api_revision_get(struct http_exchange *x);
void api_revision_restore(struct http_exchange *x);

/* What handlers of parts of the settings share. */

/* If-Match (RFC 9110 section 13.1.1) against the revision in force: what the change must expect.
 * False: 412 was answered. */
PT_NODISCARD bool api_if_match(struct http_exchange *x, uint64_t current, uint64_t *out_expected);

void api_set_etag(struct http_exchange *x, uint64_t revision);
uint64_t api_revision_in_force(struct http_exchange *x); /* 0: none is */

/* [{ "pointer", "detail" }] */
json_t *api_problems_json(const struct settings_problem *problems, uint32_t count);

/* What waits to be confirmed, or null. */
json_t *api_pending_json(struct http_exchange *x);

/* A body beyond what an answer may hold becomes a 500 that says where to look instead. */
void api_check_size(struct http_exchange *x);

/* The answer to a document with errors. */
void api_answer_refused(struct http_exchange *x, const struct settings_errors *e);

/* Carries a change out for whoever asks, with `comment` and `dry_run` of the query, and answers.
 * What was done is told in `body`, an object, which is taken; more members may be in it.
 * `again`: a conflict is tried once more, and so no refusal yet. */
void api_settings_change(struct http_exchange *x, struct api_change *change, json_t *body,
                         bool again);

/* patched.c: the settings in force, changed by a patch. */
struct api_patched {
    char why[200];  /* the first thing that was wrong, for the audit log */
    char *document; /* whole, in the stored form */
    struct settings_list *deny_list, *permit_list; /* references; NULL: as in the document */
    json_t *lists;                                 /* what was done to them, or NULL */
};

/* `out` is to be done with also where it is false: answered. */
PT_NODISCARD bool api_settings_patched(struct http_exchange *x, const struct policy_snapshot *snap,
                                       struct str patch, struct api_patched *out);
void api_patched_done(struct api_patched *p);

/* lists.c, lists_change.c */
/* A change of a list in the making. */
struct api_list_change {
    const struct policy_snapshot *snap; /* that it is made from */
    bool again;                         /* a conflict is tried once more */
};

/* Runs `attempt` on the snapshot in force, and again where somebody else was faster. */
void api_list_change_with(struct http_exchange *x,
                          void (*attempt)(struct http_exchange *x,
                                          const struct api_list_change *by));

/* Puts the list into force. `body` tells what was done, and is taken. */
void api_list_change(struct http_exchange *x, const struct api_list_change *by,
                     const struct settings_list *list, unsigned confirmed, const char *comment,
                     json_t *body);

/* In the audit log: what was asked for and came to nothing. */
void api_list_refused(struct http_exchange *x, const char *why);

/* One line of a file, numbered from 1, with what stands there; `reason`: why it cannot be read,
 * NULL: it can. A new object, or NULL. */
json_t *api_list_line(unsigned line, struct str text, const char *reason);

/* Answers 422: `count` lines cannot be read, `errors` (a new reference) tells them. */
void api_list_refuse_file(struct http_exchange *x, uint32_t count, json_t *errors);

/* True if the body is text; otherwise it is answered. */
bool api_list_is_text(struct http_exchange *x);

/* domains.c */
void api_domains_import(struct http_exchange *x);

void api_list_get(struct http_exchange *x);
void api_list_import(struct http_exchange *x);
void api_list_patch(struct http_exchange *x);

/* lists_sort.c: what "q" finds, in the order that "sort" and "order" ask for, as indexes into the
 * list. The caller frees *out. False: answered. */
PT_NODISCARD bool api_list_sort(struct http_exchange *x, const struct settings_list *list,
                                uint32_t **out, uint32_t *out_count);

/* The list that the route names. */
enum policy_which api_list_which(const struct http_exchange *x);

/* A reference to the snapshot in force, or NULL: 503 was answered. */
struct policy_snapshot *api_list_snapshot(struct http_exchange *x);

/* queue.c */
bool api_queue_is_loading(struct http_exchange *x);
/* What went wrong with the queue; `detail` "": said in words of its own. */
void api_queue_problem(struct http_exchange *x, enum pt_err err, const char *detail);
void api_queue_get(struct http_exchange *x);
void api_queue_item_get(struct http_exchange *x);
void api_queue_item_delete(struct http_exchange *x);
void api_queue_item_retry(struct http_exchange *x);
void api_queue_item_hold(struct http_exchange *x);
void api_queue_item_release(struct http_exchange *x);
void api_queue_item_bounce(struct http_exchange *x);
void api_queue_many_retry(struct http_exchange *x);
void api_queue_many_hold(struct http_exchange *x);
void api_queue_many_release(struct http_exchange *x);
void api_queue_many_delete(struct http_exchange *x);
void api_queue_many_bounce(struct http_exchange *x);
void api_queue_redirect(struct http_exchange *x);

/* destinations.c */
void api_suspensions_get(struct http_exchange *x);
void api_destination_suspend(struct http_exchange *x);
void api_destination_resume(struct http_exchange *x);
json_t *api_suspensions_json(struct http_exchange *x); /* a list; NULL: memory is short */

/* content.c */
void api_queue_content(struct http_exchange *x);

/* status.c */
void api_status_get(struct http_exchange *x);
void api_healthz(struct http_exchange *x);
void api_metrics_get(struct http_exchange *x);
void api_readyz(struct http_exchange *x);
void api_log_flush(struct http_exchange *x);
void api_interfaces_get(struct http_exchange *x);
void api_connections_test(struct http_exchange *x);

/* "green", "yellow" or "red". */
const char *api_health(const struct api_status *s, const struct settings *settings);
json_t *api_warnings_json(const struct api_status *s);

/* events.c */
void api_events_get(struct http_exchange *x);
PT_NODISCARD bool api_events_init(struct api *a);
/* Hangs up; on the loop's thread, or behind its end. */
void api_events_stop(struct api *a);
/* Behind the server's and the pool's end. */
void api_events_done(struct api *a);

/* events_state.c: each kind of state as it is now, as JSON for free(); NULL: not to be had. A job
 * thread. */
void api_event_states(struct api *a, char *out[EVENT_STATES]);

/* live.c */
void api_live_get(struct http_exchange *x);
void api_live_item_get(struct http_exchange *x);
void api_live_item_delete(struct http_exchange *x);
/* tls.c */
void api_certificates_get(struct http_exchange *x);
void api_certificates_post(struct http_exchange *x);
void api_certificate_get(struct http_exchange *x);
void api_certificate_delete(struct http_exchange *x);
void api_tls_server_get(struct http_exchange *x);
void api_tls_server_put(struct http_exchange *x);
json_t *api_certificate_info_json(const struct tls_certificate_info *i);

/* tls_check.c */
void api_tls_check(struct http_exchange *x);

/* explain.c */
void api_explain_post(struct http_exchange *x);

/* The snapshot of a draft that could be put into force, checked as a dry run is; what must be
 * confirmed counts as confirmed, since nothing is done. NULL: answered. */
struct policy_snapshot *api_draft_snapshot(struct http_exchange *x, const json_t *draft);

/* routes.c */
void api_route_test(struct http_exchange *x);

/* explain_ref.c: what the reference in a refusal stands for; answers. A job thread. */
void api_explain_ref(struct http_exchange *x, struct str ref);

/* limits.c */
void api_bans_get(struct http_exchange *x);
void api_ban_set(struct http_exchange *x);
void api_ban_get(struct http_exchange *x);
void api_ban_lift(struct http_exchange *x);
void api_limits_get(struct http_exchange *x);
/* preview.c */

/* Whom the second would refuse or let in, of the clients of the last days; NULL: memory is short.
 */
json_t *api_preview_json(struct http_exchange *x, const struct policy_snapshot *before,
                         const struct policy_snapshot *after);

/* Adds a warning where the second locks out who asks, or everybody. */
void api_preview_warn(struct http_exchange *x, const struct policy_snapshot *before,
                      const struct policy_snapshot *after, json_t **warnings);

/* openapi.c */
void api_openapi_get(struct http_exchange *x);

/* ---- helpers (values.c) ---- */

static inline struct api *api_of(const struct http_exchange *x)
{
    return x->ctx;
}

/* Goes on on a job thread; the exchange is finished when `job` returns. */
void api_job(struct http_exchange *x, void (*job)(struct http_exchange *x));

/* Who asks, for history and log: api_actor_of()'s name. */
#define API_AUTHOR_SIZE SETTINGS_AUDIT_ACTOR_MAX
void api_author(const struct http_exchange *x, char out[API_AUTHOR_SIZE]);

/* A JSON string; what is no UTF-8 becomes U+FFFD. NULL only without memory. */
json_t *api_json_str(struct str octets);

/* A time as RFC 3339 text; null for 0. */
json_t *api_json_time(int64_t wall_us);

/* Sets a member and takes the value; a NULL value (no memory) spoils *object to NULL, so that
 * http_answer_json() says so. */
void api_json_set(json_t **object, const char *key, json_t *value);

/* The same at the end of an array. */
void api_json_add(json_t **array, json_t *value);

/* { "items", "next", "total" }; takes items and next (NULL: null). */
json_t *api_json_list(json_t *items, json_t *next, uint64_t total);

/* A message's ID from the path; false: 404 was answered. */
PT_NODISCARD bool api_param_id(struct http_exchange *x, uint64_t *out);

/* `limit` of the query, 1 to `max`; false: 400 was answered. */
PT_NODISCARD bool api_query_limit(struct http_exchange *x, uint32_t fallback, uint32_t max,
                                  uint32_t *out);

/* Answers with the problem that fits an error of the gateway. */
void api_problem(struct http_exchange *x, enum pt_err err, const char *detail);
