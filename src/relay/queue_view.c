#include "relay/queue_view.h"

#include "base/arena.h"
#include "relay/queue_filter.h"

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

static void describe_recipient(struct relay_view_recipient *to, const struct spool_recipient *from,
                               struct arena *a)
{
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
    };
}

/* What the group knows beyond the recipient: where it goes, and what it waits for. */
static void describe_place(struct relay_view_recipient *to, const struct relay_group *g,
                           struct str destination, struct arena *a)
{
    bool rests = relay_dest_rests(g->dest);

    to->destination = destination;
    if (g->state == RELAY_GROUP_BUSY) {
        to->state = "delivering";
        return;
    }
    if (g->state == RELAY_GROUP_DEFERRED)
        to->next_attempt_us = g->due.at_us;
    if (rests && g->state != RELAY_GROUP_HELD)
        to->next_attempt_us = PT_MAX(to->next_attempt_us, g->dest->rest.at_us);
    if (rests && !to->reply.n)
        to->reply = arena_str(a, str_of(g->dest->error));
    if (str_eq(str_of(to->state), STR("queued")) && (to->attempts || to->next_attempt_us))
        to->state = "deferred";
}

static struct row *copy_row(const struct relay_item *item, struct arena *a)
{
    const struct spool_message *m = item->message;
    struct row *row = arena_zalloc(a, sizeof *row);
    struct relay_view_recipient *rcpts = arena_zalloc(a, m->recipient_count * sizeof *rcpts + 1);

    if (!row || !rcpts)
        return NULL;
    for (uint32_t i = 0; i < m->recipient_count; i++)
        describe_recipient(&rcpts[i], &m->recipients[i], a);
    for (const struct relay_group *g = item->groups; g; g = g->sibling) {
        struct str destination = arena_str(a, str_of(g->dest->key));

        for (uint32_t i = 0; i < g->count; i++)
            describe_place(&rcpts[g->indexes[i]], g, destination, a);
    }
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
        .recipient_count = m->recipient_count,
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
    p->first = NULL;
    p->end = &p->first;
    relay_lock(r);
    for (uint32_t looked = 0; looked < LOOK_STEP && max; looked++) {
        struct relay_item *item = relay_sched_after(&r->sched, p->cursor);
        struct row *row;

        if (!item) {
            p->at_end = true;
            break;
        }
        p->cursor = item->id;
        if (!relay_view_matches(item, f))
            continue;
        row = copy_row(item, &p->arena);
        if (!row) {
            p->failed = true;
            break;
        }
        *p->end = row;
        p->end = &row->next;
        max--;
    }
    relay_unlock(r);
}

static bool matches_all(const struct relay_view_filter *f)
{
    return !f->held && !f->received_before_us && !f->sender.p && !f->recipient.p &&
           !f->destination.p;
}

static uint64_t count_matches(struct relay *r, const struct relay_view_filter *f)
{
    uint64_t cursor = 0, n = 0;
    bool more = true;

    while (more) {
        relay_lock(r);
        if (matches_all(f)) {
            n = r->sched.messages;
            more = false;
        }
        for (uint32_t looked = 0; looked < LOOK_STEP && more; looked++) {
            struct relay_item *item = relay_sched_after(&r->sched, cursor);

            more = item != NULL;
            if (item) {
                cursor = item->id;
                n += relay_view_matches(item, f);
            }
        }
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

enum pt_err relay_view_show(struct relay *r, uint64_t id, relay_view_fn *fn, void *user)
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
    else if (!(row = copy_row(item, &a)))
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
    return d->connections || relay_dest_rests(d) || d->lists[RELAY_GROUP_READY].count ||
           d->lists[RELAY_GROUP_DEFERRED].count || d->lists[RELAY_GROUP_BUSY].count ||
           d->lists[RELAY_GROUP_HELD].count;
}

static struct dest_row *copy_dest(const struct relay_dest *d, struct arena *a)
{
    struct dest_row *row = arena_zalloc(a, sizeof *row);

    if (!row)
        return NULL;
    row->d = (struct relay_view_destination){
        .name = arena_str(a, str_of(d->key)).p,
        .ready = d->lists[RELAY_GROUP_READY].count,
        .deferred = d->lists[RELAY_GROUP_DEFERRED].count,
        .busy = d->lists[RELAY_GROUP_BUSY].count,
        .held = d->lists[RELAY_GROUP_HELD].count,
        .connections = d->connections,
        .limit = d->limit,
        .rests_until_us = relay_dest_rests(d) ? d->rest.at_us : 0,
        .error = arena_str(a, str_of(d->error)).p,
        .error_at_us = d->error_at_us,
    };
    return row->d.name && row->d.error ? row : NULL;
}

enum pt_err relay_view_destinations(struct relay *r, relay_view_destination_fn *fn, void *user)
{
    struct dest_row *first = NULL, **end = &first;
    struct arena a;
    bool failed = false;

    arena_init(&a, PAGE_MEMORY);
    relay_lock(r);
    for (struct relay_dest *d = relay_dest_next(&r->sched.dests, NULL); d && !failed;
         d = relay_dest_next(&r->sched.dests, d)) {
        struct dest_row *row;

        if (!is_worth_showing(d))
            continue;
        row = copy_dest(d, &a);
        failed = !row;
        if (row) {
            *end = row;
            end = &row->next;
        }
    }
    relay_unlock(r);
    for (struct dest_row *row = first; row && !failed; row = row->next)
        if (!fn(user, &row->d))
            break;
    arena_done(&a);
    return failed ? PT_ERR_NOMEM : PT_ERR_OK;
}
