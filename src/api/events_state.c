/*
 * api/events_state: what a page shows all the time, as it is now: compared once a second while
 * somebody listens, and told where it differs.
 */
#include <stdlib.h>

#include "api/resources.h"

static json_t *pending_json(struct api *a)
{
    struct settings_pending p = { 0 };
    json_t *v;

    a->deps.settings_pending(a->deps.ctx, &p);
    if (!p.revision)
        return json_null();
    v = json_object();
    api_json_set(&v, "revision", json_integer((json_int_t)p.revision));
    api_json_set(&v, "before", json_integer((json_int_t)p.before));
    api_json_set(&v, "confirm_by", api_json_time(p.confirm_by_us));
    return v;
}

static json_t *status_json(const struct api_status *s, const struct settings *settings)
{
    json_t *v = json_object();

    api_json_set(&v, "health", json_string(api_health(s, settings)));
    api_json_set(&v, "accepting", json_boolean(s->spool.accepting));
    api_json_set(&v, "warnings", api_warnings_json(s));
    return v;
}

static json_t *connections_json(const struct api_status *s)
{
    json_t *v = json_object();

    api_json_set(&v, "now", json_integer((json_int_t)s->sessions));
    api_json_set(&v, "total", json_integer((json_int_t)s->sessions_total));
    return v;
}

struct sums {
    uint64_t ready, deferred, busy, held;
};

static void add_destination(void *user, const struct api_destination *d)
{
    struct sums *sums = user;

    sums->ready += d->ready;
    sums->deferred += d->deferred;
    sums->busy += d->busy;
    sums->held += d->held;
}

static json_t *queue_json(struct api *a, const struct api_status *s)
{
    struct sums sums = { 0 };
    json_t *v = json_object();

    a->deps.queue_destinations(a->deps.ctx, add_destination, &sums);
    api_json_set(&v, "messages", json_integer((json_int_t)s->spool.messages));
    api_json_set(&v, "ready", json_integer((json_int_t)sums.ready));
    api_json_set(&v, "deferred", json_integer((json_int_t)sums.deferred));
    api_json_set(&v, "delivering", json_integer((json_int_t)sums.busy));
    api_json_set(&v, "held", json_integer((json_int_t)sums.held));
    api_json_set(&v, "accepted", json_integer((json_int_t)s->messages_accepted));
    api_json_set(&v, "delivered", json_integer((json_int_t)s->messages_delivered));
    return v;
}

static json_t *settings_json(const struct settings *settings)
{
    json_t *v = json_object();

    api_json_set(&v, "revision",
                 settings ? json_integer((json_int_t)settings->revision) : json_null());
    return v;
}

void api_event_states(struct api *a, char *out[EVENT_STATES])
{
    struct settings *settings = a->deps.settings_current(a->deps.ctx);
    struct api_status *s = calloc(1, sizeof *s);
    json_t *states[EVENT_STATES] = { NULL };

    if (s) {
        a->deps.status(a->deps.ctx, s);
        states[EVENT_SETTINGS] = settings_json(settings);
        states[EVENT_PENDING] = pending_json(a);
        states[EVENT_STATUS] = status_json(s, settings);
        states[EVENT_CONNECTIONS] = connections_json(s);
        states[EVENT_QUEUE] = queue_json(a, s);
    }
    for (unsigned type = 0; type < EVENT_STATES; type++) {
        out[type] = states[type] ? json_dumps(states[type], JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
        json_decref(states[type]);
    }
    free(s);
    settings_unref(settings);
}
