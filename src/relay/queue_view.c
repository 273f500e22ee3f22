#include "relay/queue_view.h"

#include "base/arena.h"
#include "relay/queue_filter.h"
#include "relay/suspend.h"

/*
 * Every step takes the lock, handles a bounded number of messages after a cursor (an ID), and lets
 * it go. Rows are copied into an arena under the lock and shown without it.
 */
enum {
    SHOW_STEP = 50, /* rows copied per step */
    PAGE_MEMORY = 64 << 20,
};

/* ---- copying rows ---- */

struct row {
    struct row *next;
    struct relay_view_message m;
};

/* Which recipients a row shows. */
struct window {
    uint32_t first, max; /* by number */
    bool waiting_first;  /* instead: those that wait, then the others */
};

static void describe_recipient(struct relay_view_recipient *to, const struct spool_message *m,
                               uint32_t index, struct arena *a)
{
    const struct spool_recipient *from = &m->recipients[index];
    static const char *const names[] = {
        [SPOOL_QUEUED] = "queued",
        [SPOOL_DELIVERED] = "delivered",
        [SPOOL_FAILED] = "failed",
        [SPOOL_IN_DOUBT] = "in_doubt",
    };

    *to = (struct relay_view_recipient){
        .address = arena_str(a, from->address),
        .state = names[from->state],
        .attempts = from->attempts,
        .code = from->code,
        .reply = arena_str(a, from->reply),
        .redirected = m->next_hops ? arena_str(a, m->next_hops[index]) : STR_NULL,
    };
}

/* What the group knows beyond the recipient: where it goes, and what it waits for. */
static void describe_place(struct relay_view_recipient *to, const struct relay_group *g,
                           const struct spool_recipient *from, struct str destination,
                           struct arena *a)
{
    static const char *const names[RELAY_VIEW_STATES] = {
        [RELAY_VIEW_QUEUED] = "queued",
        [RELAY_VIEW_DEFERRED] = "deferred",
        [RELAY_VIEW_DELIVERING] = "delivering",
        [RELAY_VIEW_IN_DOUBT] = "in_doubt",
    };
    bool rests = relay_dest_rests(g->dest);

    to->destination = destination;
    to->state = names[relay_view_state_of(g, from)];
    if (g->state == RELAY_GROUP_BUSY)
        return;
    if (g->state == RELAY_GROUP_DEFERRED)
        to->next_attempt_us = g->due.at_us;
    if (rests && g->state != RELAY_GROUP_HELD)
        to->next_attempt_us = PT_MAX(to->next_attempt_us, g->dest->rest.at_us);
    if (rests && !to->reply.n)
        to->reply = arena_str(a, str_of(g->dest->error));
    if (g->dest->suspension && g->state != RELAY_GROUP_HELD) {
        to->suspended = true;
        to->next_attempt_us = PT_MAX(to->next_attempt_us, g->dest->suspension->until_us);
    }
}

/* ---- the recipients of a row ---- */

static bool is_done(const struct spool_recipient *r)
{
    return r->state == SPOOL_DELIVERED || r->state == SPOOL_FAILED;
}

/* Those of the groups, up to the window's end. */
static uint32_t fill_waiting(const struct relay_item *item, const struct window *w,
                             struct relay_view_recipient *out, struct arena *a)
{
    const struct spool_recipient *all = item->message->recipients;
    uint32_t n = 0;

    for (const struct relay_group *g = item->groups; g && n < w->max; g = g->sibling) {
        struct str destination = arena_str(a, str_of(g->dest->key));

        for (uint32_t i = 0; i < g->count && n < w->max; i++, n++) {
            describe_recipient(&out[n], item->message, g->indexes[i], a);
            describe_place(&out[n], g, &all[g->indexes[i]], destination, a);
        }
    }
    return n;
}

static uint32_t fill_waiting_first(const struct relay_item *item, const struct window *w,
                                   struct relay_view_recipient *out, struct arena *a)
{
    const struct spool_message *m = item->message;
    uint32_t n = fill_waiting(item, w, out, a);

    for (uint32_t i = 0; i < m->recipient_count && n < w->max; i++)
        if (is_done(&m->recipients[i]))
            describe_recipient(&out[n++], m, i, a);
    return n;
}

static uint32_t fill_in_order(const struct relay_item *item, const struct window *w,
                              struct relay_view_recipient *out, struct arena *a)
{
    const struct spool_message *m = item->message;
    uint32_t n = PT_MIN(w->max, m->recipient_count - w->first);

    for (uint32_t i = 0; i < n; i++)
        describe_recipient(&out[i], m, w->first + i, a);
    for (const struct relay_group *g = item->groups; g; g = g->sibling) {
        struct str destination = arena_str(a, str_of(g->dest->key));

        for (uint32_t i = 0; i < g->count; i++) {
            uint32_t at = g->indexes[i] - w->first; /* wraps round below the first */

            if (at < n)
                describe_place(&out[at], g, &m->recipients[g->indexes[i]], destination, a);
        }
    }
    return n;
}

static uint32_t count_waiting(const struct relay_item *item)
{
    uint32_t n = 0;

    for (const struct relay_group *g = item->groups; g; g = g->sibling)
        n += g->count;
    return n;
}

static struct row *copy_row(const struct relay_item *item, struct window w, struct arena *a)
{
    const struct spool_message *m = item->message;
    struct row *row = arena_zalloc(a, sizeof *row);
    struct relay_view_recipient *rcpts;

    w.first = PT_MIN(w.first, m->recipient_count);
    w.max = PT_MIN(w.max ? w.max : UINT32_MAX, m->recipient_count - w.first);
    rcpts = arena_zalloc(a, w.max * sizeof *rcpts + 1);
    if (!row || !rcpts)
        return NULL;
    row->m = (struct relay_view_message){
        .id = m->id,
        .received_us = m->received_us,
        .size = m->size,
        .held = m->flags & SPOOL_HELD,
        .own = m->flags & SPOOL_OWN,
        .reverse_path = arena_str(a, m->reverse_path),
        .client = arena_str(a, m->client),
        .helo = arena_str(a, m->helo),
        .recipients = rcpts,
        .recipient_count = w.waiting_first ? fill_waiting_first(item, &w, rcpts, a)
                                           : fill_in_order(item, &w, rcpts, a),
        .first_recipient = w.first,
        .recipients_total = m->recipient_count,
        .recipients_waiting = count_waiting(item),
    };
    return row;
}

/* ---- list and show ---- */

struct page {
    struct arena arena;
    struct row *first, **end;
    uint64_t cursor;
    bool at_end;
    bool failed;
};

/* Copies the next rows that match, at most `max`. */
static void fill_page(struct relay *r, struct page *p, const struct relay_view_filter *f,
                      uint32_t max)
{
    struct window w = { .max = f->recipients_max, .waiting_first = f->recipients_max != 0 };
    uint32_t looks = LOOK_STEP;
    struct relay_item *item;

    p->first = NULL;
    p->end = &p->first;
    relay_lock(r);
    while (max-- && (item = relay_view_next(r, f, &p->cursor, &looks, &p->at_end))) {
        struct row *row = copy_row(item, w, &p->arena);

        if (!row) {
            p->failed = true;
            break;
        }
        *p->end = row;
        p->end = &row->next;
    }
    relay_unlock(r);
}

static bool matches_all(const struct relay_view_filter *f)
{
    return !f->state && !f->received_before_us && !f->received_after_us && !f->sender.p &&
           !f->recipient.p && !f->destination.p;
}

static uint64_t count_matches(struct relay *r, const struct relay_view_filter *f)
{
    uint64_t cursor = 0, n = 0;
    bool at_end = false;

    while (!at_end) {
        uint32_t looks = LOOK_STEP;

        relay_lock(r);
        if (matches_all(f)) {
            n = r->sched.messages;
            at_end = true;
        }
        while (!at_end && relay_view_next(r, f, &cursor, &looks, &at_end))
            n++;
        relay_unlock(r);
    }
    return n;
}

enum pt_err relay_view_list(struct relay *r, const struct relay_view_filter *filter,
                            relay_view_fn *fn, void *user, uint64_t *out_total)
{
    struct page p = { .cursor = filter->after };
    uint32_t left = filter->limit ? filter->limit : UINT32_MAX;
    bool wanted = true;

    while (!p.at_end && !p.failed && left && wanted) {
        arena_init(&p.arena, PAGE_MEMORY);
        fill_page(r, &p, filter, PT_MIN(left, (uint32_t)SHOW_STEP));
        for (struct row *row = p.first; row && wanted; row = row->next) {
            wanted = fn(user, &row->m);
            left--;
        }
        arena_done(&p.arena);
    }
    if (p.failed)
        return PT_ERR_NOMEM;
    if (out_total)
        *out_total = count_matches(r, filter);
    return PT_ERR_OK;
}

enum pt_err relay_view_show(struct relay *r, uint64_t id, uint32_t first, uint32_t max,
                            relay_view_fn *fn, void *user)
{
    enum pt_err err = PT_ERR_OK;
    struct arena a;
    struct relay_item *item;
    struct row *row = NULL;

    arena_init(&a, PAGE_MEMORY);
    relay_lock(r);
    item = relay_sched_find(&r->sched, id);
    if (!item)
        err = PT_ERR_NOTFOUND;
    else if (!(row = copy_row(item, (struct window){ .first = first, .max = max }, &a)))
        err = PT_ERR_NOMEM;
    relay_unlock(r);
    if (row)
        PT_IGNORE(fn(user, &row->m), "there is only one");
    arena_done(&a);
    return err;
}

struct spool_message *relay_view_message_ref(struct relay *r, uint64_t id)
{
    struct relay_item *item;
    struct spool_message *m = NULL;

    relay_lock(r);
    item = relay_sched_find(&r->sched, id);
    if (item)
        m = spool_message_ref(item->message);
    relay_unlock(r);
    return m;
}

/* ---- destinations ---- */

struct dest_row {
    struct dest_row *next;
    struct relay_view_destination d;
};

static bool is_worth_showing(const struct relay_dest *d)
{
    return d->connections || relay_dest_rests(d) || d->suspension || !relay_dest_is_empty(d);
}

static struct dest_row *copy_dest(const struct relay_dest *d, struct arena *a)
{
    struct dest_row *row = arena_zalloc(a, sizeof *row);

    if (!row)
        return NULL;
    row->d = (struct relay_view_destination){
        .name = arena_str(a, str_of(d->key)).p,
        .ready = relay_dest_ready(d),
        .deferred = relay_dest_deferred(d),
        .busy = d->lists[RELAY_GROUP_BUSY].count,
        .held = d->lists[RELAY_GROUP_HELD].count,
        .connections = d->connections,
        .limit = d->limit,
        .rests_until_us = relay_dest_rests(d) ? d->rest.at_us : 0,
        .error = arena_str(a, str_of(d->error)).p,
        .error_at_us = d->error_at_us,
        .suspended = d->suspension != NULL,
        .suspended_until_us = d->suspension ? d->suspension->until_us : 0,
    };
    return row->d.name && row->d.error ? row : NULL;
}

/* Copies those of the next buckets that are worth showing. */
static struct dest_row *copy_dests(struct relay *r, uint32_t *bucket, struct arena *a, bool *failed)
{
    struct dest_row *first = NULL, **end = &first;

    relay_lock(r);
    for (uint32_t n = 0; n < LOOK_STEP && *bucket < r->sched.dests.bucket_count; n++) {
        struct relay_dest *d = relay_dest_in_bucket(&r->sched.dests, (*bucket)++);

        for (; d && !*failed; d = d->hash_next) {
            if (!is_worth_showing(d))
                continue;
            *end = copy_dest(d, a);
            *failed = !*end;
            if (*end)
                end = &(*end)->next;
        }
    }
    relay_unlock(r);
    return first;
}

static bool is_last_bucket(struct relay *r, uint32_t bucket)
{
    bool last;

    relay_lock(r);
    last = bucket >= r->sched.dests.bucket_count;
    relay_unlock(r);
    return last;
}

enum pt_err relay_view_destinations(struct relay *r, relay_view_destination_fn *fn, void *user)
{
    uint32_t bucket = 0;
    bool failed = false, wanted = true;

    while (wanted && !failed && !is_last_bucket(r, bucket)) {
        struct arena a;

        arena_init(&a, PAGE_MEMORY);
        for (struct dest_row *row = copy_dests(r, &bucket, &a, &failed); row && wanted && !failed;
             row = row->next)
            wanted = fn(user, &row->d);
        arena_done(&a);
    }
    return failed ? PT_ERR_NOMEM : PT_ERR_OK;
}
