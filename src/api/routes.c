/*
 * api/routes: where would mail for an address go, and why; today or under a draft of the settings.
 */
#include <string.h>

#include "api/resources.h"

static json_t *text_or_null(const char *text)
{
    return text && *text ? api_json_str(str_of(text)) : json_null();
}

static json_t *number_or_null(uint64_t n)
{
    return n ? json_integer((json_int_t)n) : json_null();
}

static json_t *addresses_json(const struct relay_route_hop *hop)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < hop->address_count; i++) {
        const struct relay_route_address *a = &hop->addresses[i];
        json_t *v = json_object();

        api_json_set(&v, "address", json_string(a->text));
        api_json_set(&v, "skipped", text_or_null(a->skipped));
        api_json_set(&v, "failed_until", api_json_time(a->failed_until_us));
        api_json_set(&v, "tls_failed", json_boolean(a->tls_failed));
        api_json_add(&list, v);
    }
    return list;
}

static json_t *hops_json(const struct relay_route_view *r)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < r->hop_count; i++) {
        const struct relay_route_hop *hop = &r->hops[i];
        json_t *v = json_object();

        api_json_set(&v, "host", api_json_str(str_of(hop->host)));
        api_json_set(&v, "port", json_integer(hop->port));
        api_json_set(&v, r->asked_dns ? "preference" : "order",
                     hop->ordered ? json_integer(hop->order) : json_null());
        api_json_set(&v, "weight", number_or_null(hop->weight));
        api_json_set(&v, "validated", hop->looked_up ? json_boolean(hop->secure) : json_null());
        api_json_set(&v, "error", text_or_null(hop->error));
        api_json_set(&v, "addresses", addresses_json(hop));
        api_json_add(&list, v);
    }
    return list;
}

static json_t *route_json(const struct relay_route_view *r)
{
    json_t *v = json_object();

    if (!r->route) {
        json_decref(v);
        return json_null();
    }
    api_json_set(&v, "domain", api_json_str(str_of(r->route)));
    api_json_set(&v, "via", json_string(r->via));
    api_json_set(&v, "tls", json_string(r->tls));
    api_json_set(&v, "tls_from", json_string(r->tls_from));
    api_json_set(&v, "ca", text_or_null(r->ca));
    api_json_set(&v, "user", text_or_null(r->user));
    api_json_set(&v, "protocol", json_string(r->protocol));
    api_json_set(&v, "source", text_or_null(r->source));
    api_json_set(&v, "max_concurrency", json_integer(r->max_concurrency));
    api_json_set(&v, "max_messages_per_minute", number_or_null(r->max_messages_per_minute));
    api_json_set(&v, "max_message_size", number_or_null(r->max_message_size));
    return v;
}

static json_t *others_json(const struct relay_route_view *r)
{
    json_t *list = json_array();

    for (uint32_t i = 0; i < r->other_count; i++) {
        json_t *v = json_object();

        api_json_set(&v, "domain", api_json_str(str_of(r->others[i].domain)));
        api_json_set(&v, "why_not", json_string(r->others[i].why));
        api_json_add(&list, v);
    }
    return list;
}

/* How it is now; nothing of it is known of a destination without mail. */
static json_t *state_json(const struct relay_route_view *r)
{
    json_t *v = json_object();

    api_json_set(&v, "ready", json_integer((json_int_t)r->ready));
    api_json_set(&v, "deferred", json_integer((json_int_t)r->deferred));
    api_json_set(&v, "delivering", json_integer((json_int_t)r->busy));
    api_json_set(&v, "held", json_integer((json_int_t)r->held));
    api_json_set(&v, "redirected", json_integer((json_int_t)r->redirected));
    api_json_set(&v, "connections", json_integer(r->connections));
    api_json_set(&v, "connections_limit", number_or_null(r->limit));
    api_json_set(&v, "rests_until", api_json_time(r->rests_until_us));
    api_json_set(&v, "error", text_or_null(r->error));
    api_json_set(&v, "error_at", api_json_time(r->error ? r->error_at_us : 0));
    return v;
}

static json_t *suspension_json(const struct relay_route_view *r)
{
    json_t *v = json_object();

    if (!r->suspended) {
        json_decref(v);
        return json_null();
    }
    api_json_set(&v, "reason", text_or_null(r->suspended_reason));
    api_json_set(&v, "by", text_or_null(r->suspended_by));
    api_json_set(&v, "until", api_json_time(r->suspended_until_us));
    return v;
}

static void show(void *user, const struct relay_route_view *r)
{
    static const char *const fates[] = { "goes", "waits", "returned" };
    json_t **v = user;

    api_json_set(v, "domain", api_json_str(str_of(r->domain)));
    api_json_set(v, "fate", json_string(fates[r->fate]));
    api_json_set(v, "text", text_or_null(r->text));
    api_json_set(v, "route", route_json(r));
    api_json_set(v, "other_routes", others_json(r));
    api_json_set(v, "destination", api_json_str(str_of(r->destination)));
    api_json_set(v, "dns",
                 r->asked_dns ? json_pack("{s:b, s:I}", "validated", r->dns_secure, "ttl",
                                          (json_int_t)r->dns_ttl)
                              : json_null());
    api_json_set(v, "next_hops", hops_json(r));
    api_json_set(v, "suspended", suspension_json(r));
    api_json_set(v, "queue", state_json(r));
}

static void test(struct http_exchange *x, const char *address, const struct policy_snapshot *draft)
{
    struct api *a = api_of(x);
    const struct settings *s = draft ? policy_snapshot_settings(draft) : NULL;
    json_t *v = json_object();
    enum pt_err err;

    api_json_set(&v, "address", json_string(address));
    api_json_set(&v, "draft", json_boolean(draft != NULL));
    err = a->deps.route_test(a->deps.ctx, str_of(address), s, show, &v);
    if (err == PT_ERR_OK) {
        http_answer_json(x, 200, v);
        return;
    }
    json_decref(v);
    if (err == PT_ERR_INVALID)
        http_problem(x, 422, "address must be one of a mailbox, or a domain.");
    else
        api_queue_problem(x, err, "");
}

static void test_job(struct http_exchange *x)
{
    json_t *body = http_exchange_json(x, NULL);
    const char *address = json_string_value(json_object_get(body, "address"));
    const json_t *draft = json_object_get(body, "draft");
    struct policy_snapshot *snap = NULL;
    bool has_draft = draft && !json_is_null(draft);

    if (!body)
        return;
    if (!address || json_object_size(body) != 1u + (draft != NULL) ||
        (has_draft && !json_is_object(draft))) {
        http_problem(x, 422, "The body must be { \"address\": … }, and \"draft\" if you like.");
    } else {
        if (has_draft)
            snap = api_draft_snapshot(x, draft);
        if (snap || !has_draft)
            test(x, address, snap);
    }
    policy_snapshot_unref(snap);
    json_decref(body);
}

void api_route_test(struct http_exchange *x)
{
    api_job(x, test_job);
}
