/*
 * api/queue: what is in the queue, and an administrator's hand on it.
 */
#include <stdlib.h>

#include "api/resources.h"
#include "base/log.h"
#include "base/msgid.h"

enum { IDS_TOLD = 80 };
enum { PAGE = 100, PAGE_MAX = 1000, LISTED_RECIPIENTS = 20, IDS_MAX = 10000 };

/* ---- one message ---- */

static json_t *recipient_json(const struct api_recipient *r)
{
    json_t *v = json_object();

    api_json_set(&v, "address", api_json_str(str_of(r->address)));
    api_json_set(&v, "state", json_string(r->state));
    api_json_set(&v, "destination",
                 r->destination ? api_json_str(str_of(r->destination)) : json_null());
    api_json_set(&v, "attempts", json_integer(r->attempts));
    api_json_set(&v, "next_attempt", api_json_time(r->next_attempt_us));
    api_json_set(&v, "code", r->code ? json_integer(r->code) : json_null());
    api_json_set(&v, "reply", r->reply.n ? api_json_str(r->reply) : json_null());
    return v;
}

/* `most`: of so many recipients. */
static json_t *message_json(const struct api_message *m, uint32_t most)
{
    json_t *v = json_object(), *recipients = json_array();
    char id[MSGID_SIZE];

    msgid_format(m->id, id);
    for (uint32_t i = 0; i < m->recipient_count && i < most; i++)
        api_json_add(&recipients, recipient_json(&m->recipients[i]));
    api_json_set(&v, "id", json_string(id));
    api_json_set(&v, "received", api_json_time(m->received_us));
    api_json_set(&v, "size", json_integer((json_int_t)m->size));
    api_json_set(&v, "held", json_boolean(m->held));
    api_json_set(&v, "own", json_boolean(m->own));
    api_json_set(&v, "sender", api_json_str(m->reverse_path));
    api_json_set(&v, "client", m->client.n ? api_json_str(m->client) : json_null());
    api_json_set(&v, "helo", m->helo.n ? api_json_str(m->helo) : json_null());
    api_json_set(&v, "recipient_count", json_integer(m->recipient_count));
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
    api_json_add(&l->items, message_json(m, LISTED_RECIPIENTS));
    l->last = m->id;
    l->shown++;
    return l->items != NULL;
}

static void list_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    struct api_queue_filter filter = {
        .destination = http_exchange_query(x, "destination"),
        .sender = http_exchange_query(x, "sender"),
        .recipient = http_exchange_query(x, "recipient"),
        .held = http_exchange_query_flag(x, "held"),
    };
    struct str cursor = http_exchange_query(x, "cursor");
    struct listing l = { 0 };
    char next[MSGID_SIZE];
    uint64_t total = 0;
    bool loading = api_queue_is_loading(x); /* before, so that a list said to be whole is whole */
    json_t *body;
    enum pt_err err;

    if (!api_query_limit(x, PAGE, PAGE_MAX, &filter.limit))
        return;
    if (cursor.p && !msgid_parse(cursor, &filter.after)) {
        http_problem(x, 400, "cursor must be one that this list gave.");
        return;
    }
    l.limit = filter.limit++; /* one more tells whether there is a next page */
    l.items = json_array();
    err = a->deps.queue_list(a->deps.ctx, &filter, list_one, &l, &total);
    if (err) {
        json_decref(l.items);
        api_queue_problem(x, err, "");
        return;
    }
    msgid_format(l.last, next);
    body = api_json_list(l.items, l.more ? json_string(next) : NULL, total);
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
    *(json_t **)user = message_json(m, UINT32_MAX);
    return true;
}

static void show_job(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *body = NULL;
    uint64_t id;
    enum pt_err err;

    if (!api_param_id(x, &id))
        return;
    err = a->deps.queue_show(a->deps.ctx, id, show_one, &body);
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
    [API_QUEUE_BOUNCE] = "queue.bounce",
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
        api_queue_problem(x, err, fault.text);
        return;
    }
    snprintf(told, sizeof told, "%llu message%s", (unsigned long long)count, count == 1 ? "" : "s");
    api_audit_end(x, row, PT_ERR_OK, str_of(told));
    if (count)
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
