/*
 * api/destinations: suspending a destination, and letting it go again.
 */
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/clock.h"
#include "base/log.h"

enum { REASON_MAX = 255, DAYS_MAX = 366 };

static json_t *suspension_json(const struct api_suspension *s)
{
    json_t *v = json_object();

    api_json_set(&v, "destination", api_json_str(str_of(s->destination)));
    api_json_set(&v, "reason", s->reason[0] ? api_json_str(str_of(s->reason)) : json_null());
    api_json_set(&v, "by", api_json_str(str_of(s->by)));
    api_json_set(&v, "since", api_json_time(s->since_us));
    api_json_set(&v, "until", api_json_time(s->until_us));
    return v;
}

static void add(void *user, const struct api_suspension *s)
{
    api_json_add(user, suspension_json(s));
}

json_t *api_suspensions_json(struct http_exchange *x)
{
    struct api *a = api_of(x);
    json_t *items = json_array();

    if (!a->deps.suspensions(a->deps.ctx, add, &items)) {
        json_decref(items);
        return NULL;
    }
    return items;
}

static void list_job(struct http_exchange *x)
{
    json_t *items = api_suspensions_json(x);
    uint64_t total = json_array_size(items);

    http_answer_json(x, 200, items ? api_json_list(items, NULL, total) : NULL);
}

void api_suspensions_get(struct http_exchange *x)
{
    api_job(x, list_job);
}

/* ---- suspend ---- */

static const char *read_time(const json_t *body, int64_t *out_until_us)
{
    const json_t *seconds = json_object_get(body, "for_seconds");
    const json_t *until = json_object_get(body, "until");
    int64_t now_us = clock_wall_us(), most_us = now_us + DAYS_MAX * INT64_C(86400000000);

    *out_until_us = 0;
    if (json_is_null(seconds))
        seconds = NULL;
    if (json_is_null(until))
        until = NULL;
    if (seconds && until)
        return "one of for_seconds and until is enough.";
    if (seconds && (json_integer_value(seconds) < 1 ||
                    json_integer_value(seconds) > DAYS_MAX * INT64_C(86400)))
        return "for_seconds must be a number from 1 to 31622400.";
    if (seconds)
        *out_until_us = now_us + (int64_t)json_integer_value(seconds) * 1000000;
    if (until && (!json_is_string(until) ||
                  !settings_time_parse(str_of(json_string_value(until)), out_until_us)))
        return "until must be a time such as 2030-01-31T12:00:00Z.";
    if (until && (*out_until_us <= now_us || *out_until_us > most_us))
        return "until must lie in the next 366 days.";
    return NULL;
}

static const char *read_body(const json_t *body, struct api_suspension *out)
{
    const char *key;
    const json_t *reason = json_object_get(body, "reason");
    json_t *value;

    json_object_foreach((json_t *)body, key, value)
    {
        if (strcmp(key, "destination") != 0 && strcmp(key, "reason") != 0 &&
            strcmp(key, "for_seconds") != 0 && strcmp(key, "until") != 0)
            return "The body has destination, reason, and for_seconds or until.";
    }
    out->destination = json_string_value(json_object_get(body, "destination"));
    out->reason = json_is_string(reason) ? json_string_value(reason) : "";
    if (!out->destination || !*out->destination)
        return "destination must be the name of one.";
    if ((reason && !json_is_string(reason) && !json_is_null(reason)) ||
        strlen(out->reason) > REASON_MAX)
        return "reason must be a text of at most 255 octets.";
    return read_time(body, &out->until_us);
}

static void problem(struct http_exchange *x, enum pt_err err, const struct pt_fault *fault)
{
    if (err == PT_ERR_INVALID)
        http_problem(x, 409, "%s", fault->text);
    else
        api_queue_problem(x, err, fault->text);
}

static void suspend(struct http_exchange *x, const struct api_suspension *s)
{
    struct api *a = api_of(x);
    char name[API_DESTINATION_NAME];
    struct api_suspension done = *s;
    struct pt_fault fault = { 0 };
    enum pt_err err;
    uint64_t row;

    if (!api_audit_begin(x, "queue.suspend", str_of(s->destination), &row))
        return;
    err = a->deps.destination_suspend(a->deps.ctx, s, name, &fault);
    if (err) {
        api_audit_end(x, row, err, str_of(fault.text));
        problem(x, err, &fault);
        return;
    }
    api_audit_end(x, row, PT_ERR_OK, str_of(s->reason));
    done.destination = name;
    done.since_us = clock_wall_us();
    http_answer_json(x, 200, suspension_json(&done));
}

static void suspend_job(struct http_exchange *x)
{
    json_t *body = http_exchange_json(x, NULL);
    struct api_suspension s = { 0 };
    char author[API_AUTHOR_SIZE];
    const char *why;

    if (!body)
        return;
    why = read_body(body, &s);
    api_author(x, author);
    s.by = author;
    if (why)
        http_problem(x, 400, "%s", why);
    else
        suspend(x, &s);
    json_decref(body);
}

void api_destination_suspend(struct http_exchange *x)
{
    api_job(x, suspend_job);
}

/* ---- resume ---- */

static void resume(struct http_exchange *x, struct str destination)
{
    struct api *a = api_of(x);
    char name[API_DESTINATION_NAME], author[API_AUTHOR_SIZE];
    struct pt_fault fault = { 0 };
    struct log_line line;
    json_t *body;
    enum pt_err err;
    uint64_t row;

    if (!api_audit_begin(x, "queue.resume", destination, &row))
        return;
    err = a->deps.destination_resume(a->deps.ctx, destination, name, &fault);
    api_audit_end(x, row, err, str_of(fault.text));
    if (err) {
        problem(x, err, &fault);
        return;
    }
    api_author(x, author);
    log_begin(&line, LOG_INFO, "resumed");
    log_cstr(&line, "destination", name);
    log_cstr(&line, "by", author);
    log_end(&line);
    body = json_object();
    api_json_set(&body, "destination", api_json_str(str_of(name)));
    http_answer_json(x, 200, body);
}

static void resume_job(struct http_exchange *x)
{
    json_t *body = http_exchange_json(x, NULL);
    const char *destination = json_string_value(json_object_get(body, "destination"));

    if (!body)
        return;
    if (json_object_size(body) != 1 || !destination || !*destination)
        http_problem(x, 400, "The body must be { \"destination\": … }.");
    else
        resume(x, str_of(destination));
    json_decref(body);
}

void api_destination_resume(struct http_exchange *x)
{
    api_job(x, resume_job);
}
