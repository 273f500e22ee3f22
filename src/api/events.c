/*
 * api/events: what happens, told as it happens (server-sent events).
 *
 * Messages and refusals are what the log says of them: while somebody listens its lines go into a
 * ring too, under the log's lock, which costs a copy; when nobody does it costs nothing. What has a
 * state (settings, queue, …) is looked at once a second and told where it differs. Readers are
 * positions in the ring: a slow one holds up nobody, and is told what it has missed. For a minute
 * after the last one has left the ring goes on, so that a page can come back without a gap.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/resources.h"
#include "base/log.h"
#include "base/rng.h"

enum {
    READERS_MAX = 64,
    RING_OCTETS = 1024 * 1024,
    RING_EVENTS = 4096,
    PIECE = 64 * 1024,
    PUSH_MS = 50,
    LOOK_MS = 1000,
    BEAT_MS = 15000,
    LINGER_MS = 60000,
    EPOCH_SIZE = 17,
};

struct reader {
    struct http_exchange *x;
    struct api_events *events;
    struct reader *prev, *next;
    struct event_cursor cursor;
    unsigned mask;
    bool waiting; /* could take more */
};

struct api_events {
    struct api *api;
    pthread_mutex_t lock; /* around these; taken under the log's, so nothing is logged under it */
    struct event_ring *ring; /* NULL: nobody has listened lately */
    char *states[EVENT_STATES];
    bool posted; /* `woken` is under way */
    bool hurry;  /* look now: the settings changed */

    /* On the loop's thread. */
    struct mail woken, looked;
    struct http_task task;
    struct net_timer push, look, beat, linger;
    struct reader *first;
    unsigned count;
    bool pushing, looking;
    char epoch[EPOCH_SIZE]; /* of the ring's numbers */
};

/* ---- from the log ---- */

static bool is_refusal(const char *event)
{
    static const char *const refusals[] = { "refused", "refused_more", "rejected", "banned",
                                            "would_ban" };

    for (size_t i = 0; i < PT_ARRAY_LEN(refusals); i++)
        if (strcmp(event, refusals[i]) == 0)
            return true;
    return false;
}

static void on_line(void *ctx, const char *event, bool has_id, struct str line)
{
    struct api_events *e = ctx;
    bool settings = strncmp(event, "settings", sizeof "settings" - 1) == 0;
    bool refusal = is_refusal(event);

    if (!has_id && !settings && !refusal)
        return;
    pthread_mutex_lock(&e->lock);
    if (has_id || refusal)
        event_ring_add(e->ring, has_id ? EVENT_MESSAGE : EVENT_REFUSAL, line);
    e->hurry |= settings;
    if (!e->posted) {
        e->posted = true;
        net_loop_post(e->api->loop, &e->woken);
    }
    pthread_mutex_unlock(&e->lock);
}

/* ---- to a reader ---- */

static void add_event(struct buf *out, const char *epoch, const struct event *ev)
{
    buf_addf(out, "id: %s-%llu\nevent: %s\ndata: ", epoch, (unsigned long long)ev->number,
             event_type_name(ev->type));
    buf_add_str(out, ev->text[0]);
    buf_add_str(out, ev->text[1]);
    BUF_LIT(out, "\n\n");
}

/* Gives what there is to one that waits. It may be gone afterwards. */
static void supply(struct reader *r)
{
    struct api_events *e = r->events;
    struct buf *body = &r->x->response.body;
    struct event ev;
    uint64_t missed;

    pthread_mutex_lock(&e->lock);
    missed = event_ring_missed(e->ring, &r->cursor, r->mask);
    if (missed)
        buf_addf(body, "event: missed\ndata: {\"count\":%llu}\n\n", (unsigned long long)missed);
    while (body->n < PIECE && event_ring_read(e->ring, &r->cursor, r->mask, &ev))
        add_event(body, e->epoch, &ev);
    pthread_mutex_unlock(&e->lock);
    if (!body->n)
        return;
    r->waiting = false;
    http_exchange_finish(r->x);
}

static void more(struct http_exchange *x)
{
    struct reader *r = x->user;

    r->waiting = true;
    supply(r);
}

static void on_push(struct net_timer *t)
{
    struct api_events *e = PT_CONTAINER_OF(t, struct api_events, push);
    struct reader *next;

    e->pushing = false;
    for (struct reader *r = e->first; r; r = next) {
        next = r->next;
        if (r->waiting)
            supply(r);
    }
}

/* What comes close together goes out together. */
static void push_soon(struct api_events *e)
{
    if (e->pushing || !e->first)
        return;
    e->pushing = true;
    net_timer_start(&e->push, PUSH_MS * 1000000LL);
}

/* A sign of life, by which both sides find out that the other has gone. */
static void on_beat(struct net_timer *t)
{
    struct api_events *e = PT_CONTAINER_OF(t, struct api_events, beat);
    struct reader *next;

    for (struct reader *r = e->first; r; r = next) {
        next = r->next;
        if (!r->waiting)
            continue;
        r->waiting = false;
        BUF_LIT(&r->x->response.body, ":\n\n");
        http_exchange_finish(r->x);
    }
    if (e->first)
        net_timer_start(t, BEAT_MS * 1000000LL);
}

/* ---- what has a state ---- */

static void look_job(struct http_task *t)
{
    struct api_events *e = PT_CONTAINER_OF(t, struct api_events, task);
    char *now[EVENT_STATES];

    api_event_states(e->api, now);
    pthread_mutex_lock(&e->lock);
    for (unsigned type = 0; type < EVENT_STATES; type++) {
        char *then = e->states[type];

        if (!e->ring || !now[type] || (then && strcmp(now[type], then) == 0))
            continue;
        event_ring_add(e->ring, (enum event_type)type, str_of(now[type]));
        e->states[type] = now[type];
        now[type] = then;
    }
    pthread_mutex_unlock(&e->lock);
    for (unsigned type = 0; type < EVENT_STATES; type++)
        free(now[type]);
    net_loop_post(e->api->loop, &e->looked);
}

static void look_now(struct api_events *e)
{
    if (e->looking || !e->first)
        return;
    e->looking = http_work_add(e->api->work, &e->task);
    if (!e->looking)
        net_timer_start(&e->look, LOOK_MS * 1000000LL);
}

static void on_look(struct net_timer *t)
{
    look_now(PT_CONTAINER_OF(t, struct api_events, look));
}

static void on_looked(struct mail *mail)
{
    struct api_events *e = PT_CONTAINER_OF(mail, struct api_events, looked);

    e->looking = false;
    push_soon(e);
    if (e->first)
        net_timer_start(&e->look, LOOK_MS * 1000000LL);
}

static void on_woken(struct mail *mail)
{
    struct api_events *e = PT_CONTAINER_OF(mail, struct api_events, woken);
    bool hurry;

    pthread_mutex_lock(&e->lock);
    hurry = e->hurry;
    e->hurry = e->posted = false;
    pthread_mutex_unlock(&e->lock);
    push_soon(e);
    if (hurry)
        look_now(e);
}

/* ---- beginning and end ---- */

static void forget_states(struct api_events *e)
{
    for (unsigned type = 0; type < EVENT_STATES; type++) {
        free(e->states[type]);
        e->states[type] = NULL;
    }
}

static void close_ring(struct api_events *e)
{
    log_tap(NULL, NULL);
    pthread_mutex_lock(&e->lock);
    event_ring_free(e->ring);
    e->ring = NULL;
    pthread_mutex_unlock(&e->lock);
}

static void on_linger(struct net_timer *t)
{
    close_ring(PT_CONTAINER_OF(t, struct api_events, linger));
}

static bool open_ring(struct api_events *e)
{
    struct event_ring *ring;
    struct rng rng;

    if (e->ring)
        return true;
    rng_seed_from_system(&rng);
    snprintf(e->epoch, sizeof e->epoch, "%016llx", (unsigned long long)rng_next(&rng));
    ring = event_ring_new(RING_OCTETS, RING_EVENTS);
    pthread_mutex_lock(&e->lock);
    e->ring = ring;
    pthread_mutex_unlock(&e->lock);
    if (ring)
        log_tap(on_line, e);
    return ring != NULL;
}

static void reader_free(void *user)
{
    struct reader *r = user;
    struct api_events *e = r->events;

    *(r->prev ? &r->prev->next : &e->first) = r->next;
    if (r->next)
        r->next->prev = r->prev;
    free(r);
    if (--e->count)
        return;
    net_timer_stop(&e->look);
    net_timer_stop(&e->beat);
    net_timer_start(&e->linger, LINGER_MS * 1000000LL);
    /* Who comes next is told all of them. */
    pthread_mutex_lock(&e->lock);
    forget_states(e);
    pthread_mutex_unlock(&e->lock);
}

static struct reader *reader_new(struct http_exchange *x, struct api_events *e, unsigned mask)
{
    struct reader *r = calloc(1, sizeof *r);

    if (!r || !open_ring(e)) {
        free(r);
        return NULL;
    }
    r->x = x;
    r->events = e;
    r->mask = mask;
    r->next = e->first;
    if (r->next)
        r->next->prev = r;
    e->first = r;
    e->count++;
    x->user = r;
    x->user_free = reader_free;
    x->on_loop = true;
    return r;
}

/* Where the reader begins: behind the event it saw last, or with everything as it is now. */
static void begin(struct reader *r, struct str last)
{
    struct api_events *e = r->events;
    struct buf *body = &r->x->response.body;
    size_t n = strlen(e->epoch);
    uint64_t number;

    BUF_LIT(body, "retry: 3000\n\n");
    pthread_mutex_lock(&e->lock);
    if (last.n > n && last.p[n] == '-' && memcmp(last.p, e->epoch, n) == 0 &&
        str_to_u64(str_from(last, n + 1), &number) &&
        event_cursor_behind(e->ring, number, &r->cursor)) {
        pthread_mutex_unlock(&e->lock);
        return;
    }
    if (last.n)
        BUF_LIT(body, "event: missed\ndata: {\"count\":null}\n\n");
    event_cursor_now(e->ring, &r->cursor);
    for (unsigned type = 0; type < EVENT_STATES; type++)
        if (e->states[type] && (r->mask & (1u << type)))
            buf_addf(body, "event: %s\ndata: %s\n\n", event_type_name((enum event_type)type),
                     e->states[type]);
    pthread_mutex_unlock(&e->lock);
}

void api_events_get(struct http_exchange *x)
{
    struct api_events *e = api_of(x)->events;
    struct str types = http_exchange_query(x, "types");
    unsigned mask = EVENT_ALL;
    struct reader *r;

    if (types.p && !event_types_parse(types, &mask)) {
        http_problem(x, 400,
                     "types must be some of settings, pending, status, connections, queue, message "
                     "and refusal, with commas between them.");
    } else if (e->count == READERS_MAX) {
        http_header_add(x, "Retry-After", "30");
        http_problem(x, 503, "%d listen to the events already.", READERS_MAX);
    } else if ((r = reader_new(x, e, mask)) == NULL) {
        api_problem(x, PT_ERR_NOMEM, NULL);
    } else {
        http_answer_text(x, 200, "text/event-stream", STR(""));
        begin(r, http_request_header(x->request, "last-event-id"));
        x->response.total = HTTP_ENDLESS;
        x->response.more = more;
        if (e->count == 1) {
            net_timer_stop(&e->linger);
            net_timer_start(&e->beat, BEAT_MS * 1000000LL);
            look_now(e);
        }
    }
    http_exchange_finish(x);
}

bool api_events_init(struct api *a)
{
    struct api_events *e = a->events = calloc(1, sizeof *e);

    if (!e)
        return false;
    e->api = a;
    pthread_mutex_init(&e->lock, NULL);
    e->woken.run = on_woken;
    e->looked.run = on_looked;
    e->task.run = look_job;
    net_timer_init(&e->push, a->loop, on_push);
    net_timer_init(&e->look, a->loop, on_look);
    net_timer_init(&e->beat, a->loop, on_beat);
    net_timer_init(&e->linger, a->loop, on_linger);
    return true;
}

void api_events_stop(struct api *a)
{
    struct api_events *e = a->events;

    if (!e)
        return;
    while (e->first)
        http_exchange_hang_up(e->first->x);
    net_timer_stop(&e->push);
    net_timer_stop(&e->look);
    net_timer_stop(&e->beat);
    net_timer_stop(&e->linger);
    close_ring(e);
}

void api_events_done(struct api *a)
{
    if (!a->events)
        return;
    pthread_mutex_destroy(&a->events->lock);
    free(a->events);
    a->events = NULL;
}
