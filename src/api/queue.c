/*
 * api/queue: what is in the queue, and an administrator's hand on it.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/msgid.h"

enum {
    PAGE = 100,
    PAGE_MAX = 1000,
    LISTED_RECIPIENTS = 20,
    SHOWN_RECIPIENTS = 1000,
    SHOWN_RECIPIENTS_MAX = 5000,
    IDS_MAX = 10000,
    IDS_TOLD = 80
};

/* ---- one message ---- */

static json_t *recipient_json(const struct api_recipient *r)
{
    json_t *v = json_object();

    api_json_set(&v, "address", api_json_str(r->address));
    api_json_set(&v, "state", json_string(r->state));
    api_json_set(&v, "destination", r->destination.n ? api_json_str(r->destination) : json_null());
    api_json_set(&v, "attempts", json_integer(r->attempts));
    api_json_set(&v, "next_attempt", api_json_time(r->next_attempt_us));
    api_json_set(&v, "code", r->code ? json_integer(r->code) : json_null());
    api_json_set(&v, "reply", r->reply.n ? api_json_str(r->reply) : json_null());
    api_json_set(&v, "redirected_to", r->redirected.n ? api_json_str(r->redirected) : json_null());
    api_json_set(&v, "suspended", json_boolean(r->suspended));
    return v;
}

static json_t *message_json(const struct api_message *m)
{
    json_t *v = json_object(), *recipients = json_array();
    char id[MSGID_SIZE];

    msgid_format(m->id, id);
    for (uint32_t i = 0; i < m->recipient_count; i++)
        api_json_add(&recipients, recipient_json(&m->recipients[i]));
    api_json_set(&v, "id", json_string(id));
    api_json_set(&v, "received", api_json_time(m->received_us));
    api_json_set(&v, "size", json_integer((json_int_t)m->size));
    api_json_set(&v, "held", json_boolean(m->held));
    api_json_set(&v, "own", json_boolean(m->own));
    api_json_set(&v, "sender", api_json_str(m->reverse_path));
    api_json_set(&v, "client", m->client.n ? api_json_str(m->client) : json_null());
    api_json_set(&v, "helo", m->helo.n ? api_json_str(m->helo) : json_null());
    api_json_set(&v, "recipient_count", json_integer(m->recipients_total));
    api_json_set(&v, "waiting_count", json_integer(m->recipients_waiting));
    api_json_set(&v, "recipients", recipients);
    return v;
}

bool api_queue_is_loading(struct http_exchange *x)
{
    struct api *a = api_of(x);

    return a->deps.queue_loading(a->deps.ctx);
}

/* What went wrong with the queue. */
void api_queue_problem(struct http_exchange *x, enum pt_err err, const char *detail)
{
    if (err == PT_ERR_NOTFOUND && !*detail)
        detail = "There is no message with that ID in the queue.";
    if (err == PT_ERR_AGAIN && !*detail)
        detail = api_queue_is_loading(x)
                     ? "The messages of before the start are still being loaded; try again soon."
                     : "The queue is not to be had now; see the status for why.";
    api_problem(x, err, detail);
    if (err == PT_ERR_AGAIN)
        http_header_add(x, "Retry-After", "1");
}

/* ---- the list ---- */

struct listing {
    json_t *items;
    uint32_t shown, limit;
    uint64_t last;
    bool more;
};

static bool list_one(void *user, const struct api_message *m)
{
    struct listing *l = user;

    if (l->shown == l->limit) {
        l->more = true;
        return false;
    }
    api_json_add(&l->items, message_json(m));
    l->last = m->id;
    l->shown++;
    return l->items != NULL;
}

static bool read_state(struct http_exchange *x, enum api_queue_state *out)
{
    static const char *const names[] = {
        [API_QUEUE_ANY] = "",
        [API_QUEUE_QUEUED] = "queued",
        [API_QUEUE_DEFERRED] = "deferred",
        [API_QUEUE_DELIVERING] = "delivering",
        [API_QUEUE_IN_DOUBT] = "in_doubt",
        [API_QUEUE_HELD] = "held",
    };
    struct str state = http_exchange_query(x, "state");

    *out = http_exchange_query_flag(x, "held") ? API_QUEUE_HELD : API_QUEUE_ANY;
    if (!state.p)
        return true;
    for (unsigned i = API_QUEUE_QUEUED; i < PT_ARRAY_LEN(names); i++)
        if (str_eq_nocase(state, str_of(names[i]))) {
            *out = (enum api_queue_state)i;
            return true;
        }
    http_problem(x, 400, "state must be queued, deferred, delivering, in_doubt or held.");
    return false;
}

/* "90", "90s", "30m", "2h", "5d": the moment so long ago; 0 where it is not given. */
static bool read_age(struct http_exchange *x, const char *name, int64_t *out_us)
{
    static const int64_t seconds[] = { 1, 60, 3600, 86400 };
    struct str text = http_exchange_query(x, name);
    const char *units = "smhd";
    const char *unit = text.n ? strchr(units, ascii_lower(text.p[text.n - 1])) : NULL;
    uint64_t n;

    *out_us = 0;
    if (!text.p)
        return true;
    if (unit && *unit)
        text.n--;
    else
        unit = units;
    if (!str_to_u64(text, &n) || n > 36500u * 86400u) {
        http_problem(x, 400, "%s must be a time such as 90s, 30m, 2h or 5d.", name);
        return false;
    }
    *out_us = clock_wall_us() - (int64_t)n * seconds[unit - units] * 1000000;
    return true;
}

static bool read_order(struct http_exchange *x, bool *out_newest_first)
{
    struct str order = http_exchange_query(x, "order");

    *out_newest_first = str_eq_nocase(order, STR("newest"));
    if (!order.p || *out_newest_first || str_eq_nocase(order, STR("oldest")))
        return true;
    http_problem(x, 400, "order must be oldest or newest.");
    return false;
}

/* A cursor is the last ID shown and, behind a dash, the total that was counted for the first page:
 * counting goes over the whole queue and is not done again for each. */
static bool read_cursor(struct http_exchange *x, uint64_t *out_after, uint64_t *out_total,
                        bool *out_counted)
{
    struct str cursor = http_exchange_query(x, "cursor");
    ptrdiff_t dash = cursor.p ? str_find(cursor, '-', 0) : -1;
    struct str id = dash < 0 ? cursor : str_head(cursor, (size_t)dash);

    *out_counted = dash >= 0;
    if (!cursor.p)
        return true;
    if (msgid_parse(id, out_after) &&
        (dash < 0 || str_to_u64(str_from(cursor, (size_t)dash + 1), out_total)))
        return true;
    http_problem(x, 400, "cursor must be one that this list gave.");
    return false;
}

static json_t *write_cursor(uint64_t last, uint64_t total)
{
    char id[MSGID_SIZE], text[MSGID_SIZE + 24];

    msgid_format(last, id);
    snprintf(text, sizeof text, "%s-%" PRIu64, id, total);
    return json_string(text);
}

static void list_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct api_queue_filter filter = {
        .destination = http_exchange_query(x, "destination"),
        .sender = http_exchange_query(x, "sender"),
        .recipient = http_exchange_query(x, "recipient"),
        .recipients_max = LISTED_RECIPIENTS,
    };
    struct listing l = { 0 };
    uint64_t total = 0;
    bool loading = api_queue_is_loading(x); /* before, so that a list said to be whole is whole */
    json_t *body;
    bool counted;
    enum pt_err err;

    if (!api_query_limit(x, PAGE, PAGE_MAX, &filter.limit) || !read_state(x, &filter.state) ||
        !read_age(x, "older_than", &filter.received_before_us) ||
        !read_age(x, "newer_than", &filter.received_after_us) ||
        !read_order(x, &filter.newest_first) || !read_cursor(x, &filter.after, &total, &counted))
        return;
    l.limit = filter.limit++; /* one more tells whether there is a next page */
    l.items = json_array();
    err = a->deps.queue_list(a->deps.ctx, &filter, list_one, &l, counted ? NULL : &total);
    if (err) {
        json_decref(l.items);
        api_queue_problem(x, err, "");
        return;
    }
    body = api_json_list(l.items, l.more ? write_cursor(l.last, total) : NULL, total);
    api_json_set(&body, "loading", json_boolean(loading));
    http_answer_json(x, 200, body);
}

void api_queue_get(struct http_exchange *x)
{
    api_job(x, list_job);
}

/* ---- one message's resource ---- */

static bool show_one(void *user, const struct api_message *m)
{
    uint32_t next = m->first_recipient + m->recipient_count;
    json_t *v = message_json(m);

    api_json_set(&v, "next_recipient",
                 next < m->recipients_total ? json_integer(next) : json_null());
    *(json_t **)user = v;
    return true;
}

static void show_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *body = NULL;
    uint64_t id, first;
    uint32_t most;
    enum pt_err err;

    if (!api_param_id(x, &id) || !api_query_limit(x, SHOWN_RECIPIENTS, SHOWN_RECIPIENTS_MAX, &most))
        return;
    if (!http_exchange_query_u64(x, "recipient", 0, &first) || first > UINT32_MAX) {
        http_problem(x, 400, "recipient must be the number of one: next_recipient.");
        return;
    }
    err = a->deps.queue_show(a->deps.ctx, id, (uint32_t)first, most, show_one, &body);
    if (err)
        api_queue_problem(x, err, "");
    else
        http_answer_json(x, 200, body);
}

void api_queue_item_get(struct http_exchange *x)
{
    api_job(x, show_job);
}

/* ---- an administrator's hand ---- */

/* The hand of an administrator is part of a message's life. */
static void log_act(struct http_exchange *x, enum api_queue_action action,
                    const struct api_queue_selection *selection, uint64_t count)
{
    static const char *const events[] = {
        [API_QUEUE_RETRY] = "retried",    [API_QUEUE_HOLD] = "held",
        [API_QUEUE_RELEASE] = "released", [API_QUEUE_DELETE] = "deleted",
        [API_QUEUE_BOUNCE] = "given_up",
    };
    /* Of several IDs some may be gone: then nobody knows which. */
    bool each = selection->ids && count == selection->id_count;
    uint32_t lines = each ? selection->id_count : 1;
    char author[API_AUTHOR_SIZE];
    struct log_line line;

    api_author(x, author);
    for (uint32_t i = 0; i < lines; i++) {
        log_begin(&line, LOG_INFO, events[action]);
        if (each)
            log_id(&line, selection->ids[i]);
        if (selection->destination.n)
            log_str(&line, "destination", selection->destination);
        if (!each)
            log_u64(&line, "messages", count);
        log_cstr(&line, "by", author);
        log_end(&line);
    }
}

static const char *const action_names[] = {
    [API_QUEUE_RETRY] = "queue.retry",     [API_QUEUE_HOLD] = "queue.hold",
    [API_QUEUE_RELEASE] = "queue.release", [API_QUEUE_DELETE] = "queue.delete",
    [API_QUEUE_BOUNCE] = "queue.bounce",   [API_QUEUE_REDIRECT] = "queue.redirect",
};

/* "all", "destination D", or the IDs, as far as they fit. */
static void describe(const struct api_queue_selection *s, struct buf *out)
{
    char id[MSGID_SIZE];

    if (s->all)
        BUF_LIT(out, "all");
    if (s->destination.n) {
        BUF_LIT(out, "destination ");
        buf_add_str(out, s->destination);
    }
    for (uint32_t i = 0; i < s->id_count && i < IDS_TOLD; i++) {
        msgid_format(s->ids[i], id);
        buf_addf(out, "%s%s", i ? " " : "", id);
    }
    if (s->id_count > IDS_TOLD)
        buf_addf(out, " and %u more", (unsigned)(s->id_count - IDS_TOLD));
    if (s->next_hop.n) {
        BUF_LIT(out, " to ");
        buf_add_str(out, s->next_hop);
    }
}

static void carry_out(struct http_exchange *x, enum api_queue_action action,
                      const struct api_queue_selection *selection, uint64_t row)
{
    struct api *a = api_of(x);
    struct pt_fault fault = { 0 };
    uint64_t count = 0;
    char told[sizeof fault.text];
    json_t *body;
    enum pt_err err = a->deps.queue_act(a->deps.ctx, action, selection, &count, &fault);

    if (err) {
        api_audit_end(x, row, err, str_of(fault.text));
        if (err == PT_ERR_INVALID && action == API_QUEUE_REDIRECT)
            http_problem(x, 400, "to %s.", fault.text);
        else
            api_queue_problem(x, err, fault.text);
        return;
    }
    snprintf(told, sizeof told, "%llu message%s", (unsigned long long)count, count == 1 ? "" : "s");
    api_audit_end(x, row, PT_ERR_OK, str_of(told));
    if (count && action != API_QUEUE_REDIRECT) /* that one is logged for each message */
        log_act(x, action, selection, count);
    body = json_object();
    api_json_set(&body, "count", json_integer((json_int_t)count));
    http_answer_json(x, 200, body);
}

static void act(struct http_exchange *x, enum api_queue_action action,
                const struct api_queue_selection *selection)
{
    struct buf target;
    uint64_t row;

    buf_init(&target, 2048);
    describe(selection, &target);
    if (api_audit_begin(x, action_names[action], buf_str(&target), &row))
        carry_out(x, action, selection, row);
    buf_done(&target);
}

static void act_on_one(struct http_exchange *x, enum api_queue_action action)
{
    uint64_t id;

    if (api_param_id(x, &id))
        act(x, action, &(struct api_queue_selection){ .ids = &id, .id_count = 1 });
}

/* { "ids": […] }; the caller frees *out. */
static const char *read_ids(const json_t *list, uint64_t **out, uint32_t *out_count)
{
    size_t n = json_array_size(list), i;
    uint64_t *ids;
    json_t *v;

    if (!json_is_array(list) || n == 0 || n > IDS_MAX)
        return "ids must be a list of 1 to 10000 message IDs.";
    ids = calloc(n, sizeof *ids);
    if (!ids)
        return "out of memory";
    json_array_foreach(list, i, v)
    {
        if (!json_is_string(v) || !msgid_parse(str_of(json_string_value(v)), &ids[i])) {
            free(ids);
            return "ids has an element that is no message ID.";
        }
    }
    *out = ids;
    *out_count = (uint32_t)n;
    return NULL;
}

/* Exactly one of "ids", "destination", "all". NULL, or what is wrong. */
static const char *read_selection(const json_t *body, struct api_queue_selection *s,
                                  uint64_t **out_ids)
{
    const json_t *ids = json_object_get(body, "ids");
    const json_t *destination = json_object_get(body, "destination");
    const json_t *all = json_object_get(body, "all");

    if (json_object_size(body) != 1 || !(ids || destination || all))
        return "The body must have exactly one of ids, destination and all.";
    if (ids) {
        const char *why = read_ids(ids, out_ids, &s->id_count);

        s->ids = *out_ids;
        return why;
    }
    if (destination && json_string_length(destination) == 0)
        return "destination must be the name of one.";
    if (destination)
        s->destination = str_of(json_string_value(destination));
    if (all && !json_is_true(all))
        return "all must be true.";
    s->all = all != NULL;
    return NULL;
}

static void act_on_many(struct http_exchange *x, enum api_queue_action action)
{
    struct api_queue_selection selection = { 0 };
    json_t *body = http_exchange_json(x, NULL);
    uint64_t *ids = NULL;
    const char *why;

    if (!body)
        return;
    why = read_selection(body, &selection, &ids);
    if (why)
        http_problem(x, 400, "%s", why);
    else
        act(x, action, &selection);
    free(ids);
    json_decref(body);
}

/* One pair of handlers for each action. */
#define ACTION(name, action)                                                                       \
    static void name##_one_job(struct http_exchange *x)                                            \
    {                                                                                              \
        act_on_one(x, action);                                                                     \
    }                                                                                              \
    void api_queue_item_##name(struct http_exchange *x)                                            \
    {                                                                                              \
        api_job(x, name##_one_job);                                                                \
    }                                                                                              \
    static void name##_many_job(struct http_exchange *x)                                           \
    {                                                                                              \
        act_on_many(x, action);                                                                    \
    }                                                                                              \
    void api_queue_many_##name(struct http_exchange *x)                                            \
    {                                                                                              \
        api_job(x, name##_many_job);                                                               \
    }

ACTION(retry, API_QUEUE_RETRY)
ACTION(hold, API_QUEUE_HOLD)
ACTION(release, API_QUEUE_RELEASE)
ACTION(delete, API_QUEUE_DELETE)
ACTION(bounce, API_QUEUE_BOUNCE)

/* Beside the selection either "to" or "undo"; both are taken out of the body. */
static const char *read_next_hop(json_t *body, struct api_queue_selection *s, json_t **out_to)
{
    json_t *to = json_object_get(body, "to"), *undo = json_object_get(body, "undo");

    if ((to != NULL) == (undo != NULL))
        return "The body must have either to or undo.";
    if (to && json_string_length(to) == 0)
        return "to must be the next hop, HOST or HOST:PORT.";
    if (undo && !json_is_true(undo))
        return "undo must be true.";
    *out_to = json_incref(to);
    if (to)
        s->next_hop = str_of(json_string_value(to));
    json_object_del(body, "to");
    json_object_del(body, "undo");
    return NULL;
}

static void redirect_job(struct http_exchange *x)
{
    struct api_queue_selection selection = { 0 };
    json_t *body = http_exchange_json(x, NULL), *to = NULL;
    uint64_t *ids = NULL;
    const char *why;

    if (!body)
        return;
    why = read_next_hop(body, &selection, &to);
    if (!why)
        why = read_selection(body, &selection, &ids);
    if (why)
        http_problem(x, 400, "%s", why);
    else
        act(x, API_QUEUE_REDIRECT, &selection);
    free(ids);
    json_decref(to);
    json_decref(body);
}

void api_queue_redirect(struct http_exchange *x)
{
    api_job(x, redirect_job);
}
