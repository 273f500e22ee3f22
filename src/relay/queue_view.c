#include "relay/queue_view.h"

#include <stdlib.h>

#include "base/arena.h"
#include "relay/bounce.h"
#include "relay/delivery.h"
#include "relay/outcome.h"
#include "relay/relay_private.h"

/*
 * Every step takes the lock, handles a bounded number of messages after a cursor (an ID), and lets
 * it go. Rows are copied into an arena under the lock and shown without it.
 */
enum {
    LOOK_STEP = 500,   /* messages looked at per step */
    SHOW_STEP = 50,    /* rows copied per step */
    WAITING_MAX = 256, /* operations submitted and not yet stored */
    PAGE_MEMORY = 64 << 20,
};

/* ---- which messages ---- */

static bool is_destination(const struct relay_dest *d, struct str name)
{
    return str_eq_nocase(str_of(d->key), name) ||
           (d->kind != RELAY_DEST_HOPS && str_eq_nocase(str_of(d->domain), name));
}

static bool goes_to(const struct relay_item *item, struct str destination)
{
    for (const struct relay_group *g = item->groups; g; g = g->sibling)
        if (is_destination(g->dest, destination))
            return true;
    return false;
}

static bool has_recipient(const struct spool_message *m, struct str address)
{
    for (uint32_t i = 0; i < m->recipient_count; i++)
        if (str_eq_nocase(m->recipients[i].address, address))
            return true;
    return false;
}

static bool is_sender(const struct spool_message *m, struct str sender)
{
    if (str_eq(sender, STR("<>")))
        sender.n = 0;
    return str_eq_nocase(m->reverse_path, sender);
}

static bool matches(const struct relay_item *item, const struct relay_view_filter *f)
{
    const struct spool_message *m = item->message;

    return !(f->held && !(m->flags & SPOOL_HELD)) &&
           !(f->received_before_us && m->received_us >= f->received_before_us) &&
           !(f->sender.p && !is_sender(m, f->sender)) &&
           !(f->recipient.p && !has_recipient(m, f->recipient)) &&
           !(f->destination.p && !goes_to(item, f->destination));
}

static bool matches_all(const struct relay_view_filter *f)
{
    return !f->held && !f->received_before_us && !f->sender.p && !f->recipient.p &&
           !f->destination.p;
}

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
        if (!matches(item, f))
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
                n += matches(item, f);
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

/* ---- an administrator's hand ---- */

/* Groups to be given up, handed to a loop. */
struct give_up {
    struct mail mail;
    struct relay_loop *rl;
    uint32_t count;
    struct relay_group *groups[RELAY_PULL_MAX];
};

static void on_give_up(struct mail *mail)
{
    struct give_up *job = PT_CONTAINER_OF(mail, struct give_up, mail);
    struct relay_via via = { 0 };
    struct relay_result result = {
        .state = SPOOL_FAILED,
        .reply = STR("5.0.0 given up by the administrator"),
    };

    for (uint32_t i = 0; i < job->count; i++)
        relay_outcome_all(job->rl, job->groups[i], &result, &via);
    free(job);
}

/* Under the lock; the job that it returns is to be posted without it. */
static struct give_up *take_for_bounce(struct relay *r, struct relay_item *item)
{
    struct give_up *job = r->loops[0] ? calloc(1, sizeof *job) : NULL;

    if (!job)
        return NULL;
    job->rl = r->loops[0];
    job->mail.run = on_give_up;
    job->count = relay_sched_take(&r->sched, item, job->groups, RELAY_PULL_MAX);
    return job;
}

/* What one message needs once the lock is let go. */
struct aftermath {
    struct spool_message *message; /* a reference, with `kind` to be stored */
    enum spool_op_kind kind;
    struct give_up *job;
};

/* Under the lock. True if the message was changed. */
static bool act_on_item(struct relay *r, struct relay_item *item, enum relay_view_action action,
                        struct aftermath *after)
{
    bool changed = true;

    switch (action) {
    case RELAY_VIEW_RETRY:
        return relay_sched_retry(&r->sched, item, relay_now(r)) > 0;
    case RELAY_VIEW_BOUNCE:
        after->job = take_for_bounce(r, item);
        return after->job && after->job->count;
    case RELAY_VIEW_HOLD:
        after->kind = SPOOL_OP_HOLD;
        changed = relay_sched_hold(&r->sched, item);
        break;
    case RELAY_VIEW_RELEASE:
        after->kind = SPOOL_OP_RELEASE;
        changed = relay_sched_release(&r->sched, item, relay_now(r));
        break;
    case RELAY_VIEW_DELETE:
        after->kind = SPOOL_OP_DELETE;
        break;
    }
    if (changed)
        after->message = spool_message_ref(item->message);
    if (action == RELAY_VIEW_DELETE)
        relay_sched_delete(&r->sched, item);
    return changed;
}

/* One call of relay_view_act(). */
struct act {
    struct relay *r;
    enum relay_view_action action;
    struct relay_outcome_wait wait;
    uint64_t count;
    enum pt_err err;
};

static void finish(struct act *a, struct aftermath *after)
{
    if (after->job)
        net_loop_post(after->job->rl->loop, &after->job->mail);
    if (after->message && !relay_outcome_submit_kind(a->r, after->message, after->kind, &a->wait))
        a->err = PT_ERR_NOMEM;
    spool_message_unref(after->message);
    relay_outcome_wait(&a->wait, WAITING_MAX);
}

/* False: there is no such message. */
static bool act_on_id(struct act *a, uint64_t id)
{
    struct relay *r = a->r;
    struct aftermath after;
    struct relay_item *item;
    bool more, changed = false;

    do {
        after = (struct aftermath){ 0 };
        relay_lock(r);
        item = relay_sched_find(&r->sched, id);
        if (item && atomic_load_explicit(&item->deleted, memory_order_relaxed))
            item = NULL;
        if (item && act_on_item(r, item, a->action, &after))
            changed = true;
        relay_unlock(r);
        more = after.job && after.job->count == RELAY_PULL_MAX;
        finish(a, &after);
    } while (more);
    a->count += changed;
    return item || changed;
}

static bool destination_exists(struct relay *r, struct str name)
{
    struct relay_dest *d;

    relay_lock(r);
    d = relay_dest_next(&r->sched.dests, NULL);
    while (d && !is_destination(d, name))
        d = relay_dest_next(&r->sched.dests, d);
    relay_unlock(r);
    return d != NULL;
}

/* The next message of the selection, by ID; 0: none. */
static uint64_t next_id(struct relay *r, uint64_t after, const struct relay_view_filter *f)
{
    uint64_t found = 0;
    bool more = true;

    while (more && !found) {
        relay_lock(r);
        for (uint32_t looked = 0; looked < LOOK_STEP && more && !found; looked++) {
            struct relay_item *item = relay_sched_after(&r->sched, after);

            more = item != NULL;
            if (!item)
                break;
            after = item->id;
            if (matches(item, f))
                found = item->id;
        }
        relay_unlock(r);
    }
    return found;
}

static void act_on_all(struct act *a, struct str destination)
{
    struct relay_view_filter f = { .destination = destination };
    uint64_t id = 0;

    if (destination.p && !destination_exists(a->r, destination)) {
        a->err = PT_ERR_NOTFOUND;
        return;
    }
    while (!a->err && (id = next_id(a->r, id, &f)))
        PT_IGNORE(act_on_id(a, id), "it may have been delivered meanwhile");
}

static void act_on_ids(struct act *a, const uint64_t *ids, uint32_t count)
{
    for (uint32_t i = 0; i < count && !a->err; i++)
        if (!act_on_id(a, ids[i]) && count == 1)
            a->err = PT_ERR_NOTFOUND;
}

static void wake(struct relay *r)
{
    uint64_t loops;

    relay_lock(r);
    loops = relay_sched_wake(&r->sched);
    relay_unlock(r);
    relay_wake_loops(r, loops);
}

enum pt_err relay_view_act(struct relay *r, enum relay_view_action action,
                           const struct relay_view_selection *selection, uint64_t *out_count)
{
    struct act a = { .r = r, .action = action };

    relay_outcome_wait_init(&a.wait);
    if (selection->all)
        act_on_all(&a, STR_NULL);
    else if (selection->destination.p)
        act_on_all(&a, selection->destination);
    else
        act_on_ids(&a, selection->ids, selection->id_count);
    wake(r);
    relay_outcome_wait(&a.wait, 0);
    *out_count = a.count;
    return a.err ? a.err : relay_outcome_wait_done(&a.wait);
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
