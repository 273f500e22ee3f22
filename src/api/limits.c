/*
 * api/limits: temporary bans, and what limits have refused or would refuse.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "api/resources.h"
#include "base/clock.h"

enum { PAGE = 100, PAGE_MAX = 1000, MINUTES_DEFAULT = 60, MINUTES_MAX = 43200 };

static const char *kind_name(uint8_t kind)
{
    static const char *const names[] = { "shadow", "automatic", "set" };

    return names[PT_MIN(kind, (uint8_t)ACCESS_BAN_SET)];
}

static json_t *prefix_json(const struct net_prefix *p)
{
    char text[NET_PREFIX_SIZE];

    net_prefix_format(p, text);
    return json_string(text);
}

static json_t *ban_json(const struct access_ban *ban)
{
    json_t *v = json_object();

    api_json_set(&v, "client", prefix_json(&ban->client));
    api_json_set(&v, "kind", json_string(kind_name(ban->kind)));
    api_json_set(&v, "since", api_json_time(ban->since_us));
    api_json_set(&v, "until", api_json_time(ban->until_us));
    api_json_set(&v, "failures",
                 ban->kind == ACCESS_BAN_SET ? json_null() : json_integer(ban->failures));
    api_json_set(&v, "comment", ban->note[0] ? api_json_str(str_of(ban->note)) : json_null());
    return v;
}

/* ---- bans: the list ---- */

static int by_end(const void *a, const void *b)
{
    const struct access_ban *x = a, *y = b;

    return (x->until_us > y->until_us) - (x->until_us < y->until_us);
}

static void bans_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct access_ban *bans = calloc(ACCESS_BANS_MAX, sizeof *bans);
    json_t *items = json_array(), *next = NULL;
    uint64_t cursor;
    uint32_t limit, count;
    char text[16];

    if (!bans || !api_query_limit(x, PAGE, PAGE_MAX, &limit)) {
        if (!bans)
            api_problem(x, PT_ERR_NOMEM, NULL);
    } else if (!http_exchange_query_u64(x, "cursor", 0, &cursor)) {
        http_problem(x, 400, "cursor must be one that this list gave.");
    } else {
        count = a->deps.bans(a->deps.ctx, bans, ACCESS_BANS_MAX);
        qsort(bans, count, sizeof *bans, by_end);
        for (uint64_t i = cursor; i < count && i < cursor + limit; i++)
            api_json_add(&items, ban_json(&bans[i]));
        snprintf(text, sizeof text, "%" PRIu64, cursor + limit);
        if (cursor < count && limit < count - cursor)
            next = json_string(text);
        http_answer_json(x, 200, api_json_list(json_incref(items), next, count));
    }
    json_decref(items);
    free(bans);
}

void api_bans_get(struct http_exchange *x)
{
    api_job(x, bans_job);
}

/* ---- setting and lifting ---- */

static bool refuse(struct http_exchange *x, const char *pointer, const char *detail)
{
    json_t *errors = json_array(), *error = json_object();

    api_json_set(&error, "pointer", json_string(pointer));
    api_json_set(&error, "detail", json_string(detail));
    api_json_add(&errors, error);
    http_problem_errors(x, 422, "This is no ban that could be set.", errors);
    return false;
}

static bool is_known(const char *key)
{
    return strcmp(key, "address") == 0 || strcmp(key, "minutes") == 0 ||
           strcmp(key, "comment") == 0;
}

/* False: answered. */
static bool read_ban(struct http_exchange *x, json_t *body, struct access_ban *out)
{
    const char *address = json_string_value(json_object_get(body, "address"));
    const json_t *minutes = json_object_get(body, "minutes"),
                 *comment = json_object_get(body, "comment");
    json_int_t n = minutes ? json_integer_value(minutes) : MINUTES_DEFAULT;
    struct net_addr client;
    char pointer[64];
    const char *key;
    json_t *value;

    json_object_foreach(body, key, value)
    {
        snprintf(pointer, sizeof pointer, "/%.60s", key);
        if (!is_known(key))
            return refuse(x, pointer, "unknown key");
    }
    if (!address || !net_addr_parse(str_of(address), &client))
        return refuse(x, "/address",
                      "must be one IPv4 or IPv6 address; groups belong on the deny list");
    if ((minutes && !json_is_integer(minutes)) || n < 1 || n > MINUTES_MAX)
        return refuse(x, "/minutes", "must be a whole number from 1 to 43200");
    if (comment && (!json_is_string(comment) || json_string_length(comment) >= ACCESS_BAN_NOTE))
        return refuse(x, "/comment", "must be a string of up to 120 octets");
    *out = (struct access_ban){ .client = access_client_of(&client),
                                .kind = ACCESS_BAN_SET,
                                .since_us = clock_wall_us() };
    out->until_us = out->since_us + n * INT64_C(60000000);
    if (comment)
        memcpy(out->note, json_string_value(comment), json_string_length(comment));
    return true;
}

static void set_ban(struct http_exchange *x, const struct access_ban *ban)
{
    struct api *a = api_of(x);
    char client[NET_PREFIX_SIZE], until[CLOCK_RFC3339_SIZE];
    enum pt_err err;
    uint64_t row;

    net_prefix_format(&ban->client, client);
    clock_rfc3339(ban->until_us, until);
    if (!api_audit_begin(x, "ban.set", str_of(client), &row))
        return;
    err = a->deps.ban_set(a->deps.ctx, ban);
    api_audit_end(x, row, err, str_of(until));
    if (err == PT_ERR_NOSPACE)
        http_problem(x, 409, "There are too many bans already; use the deny list.");
    else if (err)
        api_problem(x, err, NULL);
    else
        http_answer_json(x, 200, ban_json(ban));
}

static void set_job(struct http_exchange *x)
{
    json_t *body = http_exchange_json(x, NULL);
    struct access_ban ban;

    if (body && read_ban(x, body, &ban))
        set_ban(x, &ban);
    json_decref(body);
}

void api_ban_set(struct http_exchange *x)
{
    api_job(x, set_job);
}

/* The address of the path; false: answered. */
static bool read_address(struct http_exchange *x, struct net_addr *out)
{
    if (net_addr_parse(http_exchange_param(x, "address"), out))
        return true;
    http_problem(x, 404, "This is no address, so no ban is for it.");
    return false;
}

static void show_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct policy_explain_ask ask;
    struct net_addr client;

    if (!read_address(x, &client))
        return;
    a->deps.client(a->deps.ctx, &client, clock_wall_us(), &ask);
    if (ask.banned)
        http_answer_json(x, 200, ban_json(&ask.ban));
    else
        http_problem(x, 404, "There is no ban for this address.");
}

void api_ban_get(struct http_exchange *x)
{
    api_job(x, show_job);
}

static void lift_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct str text = http_exchange_param(x, "address");
    struct net_addr client;
    json_t *v;
    uint64_t row;
    bool was;

    if (!read_address(x, &client))
        return;
    if (!api_audit_begin(x, "ban.lift", text, &row))
        return;
    was = a->deps.ban_lift(a->deps.ctx, &client);
    api_audit_end(x, row, was ? PT_ERR_OK : PT_ERR_NOTFOUND, STR_NULL);
    if (!was) {
        http_problem(x, 404, "There is no ban for this address.");
        return;
    }
    v = json_object();
    api_json_set(&v, "lifted", json_true());
    http_answer_json(x, 200, v);
}

void api_ban_lift(struct http_exchange *x)
{
    api_job(x, lift_job);
}

/* ---- what limits do ---- */

static void add_rule(void *user, const struct api_limit_rule *r)
{
    json_t **rules = user, *v = json_object();

    api_json_set(&v, "rule", json_string(r->rule));
    api_json_set(&v, "mode", json_string(r->mode));
    api_json_set(&v, "refused", json_integer((json_int_t)r->refused));
    api_json_set(&v, "shadow", json_integer((json_int_t)r->shadow));
    api_json_add(rules, v);
}

static json_t *client_json(const struct api_limit_client *c)
{
    json_t *v = json_object();

    api_json_set(&v, "client", prefix_json(&c->client));
    api_json_set(&v, "rule", json_string(c->rule));
    api_json_set(&v, "count", json_integer((json_int_t)c->count));
    api_json_set(&v, "first", api_json_time(c->first_us));
    api_json_set(&v, "last", api_json_time(c->last_us));
    return v;
}

static void limits_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *rules = json_array(), *items = json_array(), *v;
    struct api_limit_client *rows = NULL;
    uint32_t limit, count;

    if (!api_query_limit(x, PAGE, PAGE_MAX, &limit)) {
        json_decref(rules);
        json_decref(items);
        return;
    }
    a->deps.limit_rules(a->deps.ctx, add_rule, &rules);
    count = a->deps.limit_clients(a->deps.ctx, &rows);
    for (uint32_t i = 0; i < PT_MIN(limit, count); i++)
        api_json_add(&items, client_json(&rows[i]));
    free(rows);
    v = api_json_list(items, NULL, count);
    api_json_set(&v, "rules", rules);
    http_answer_json(x, 200, v);
}

void api_limits_get(struct http_exchange *x)
{
    api_job(x, limits_job);
}
