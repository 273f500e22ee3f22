#include <stdlib.h>

#include "base/log.h"
#include "relay/outcome.h"
#include "relay/queue_filter.h"
#include "relay/redirect.h"

/* An administrator's hand on the queue: one message at a time, the lock let go between them. */

enum { WAITING_MAX = 256 }; /* operations submitted and not yet stored */

enum { RECIPIENTS_LOGGED_MAX = 4096 };

enum { TAKE_MAX = 64 }; /* groups taken at a time */

/* Groups that were taken into delivery for an action. */
struct taken {
    struct mail mail;
    struct relay_loop *rl;
    struct relay_outcome_wait *wait;
    uint32_t count;
    struct relay_group *groups[TAKE_MAX];
};

/* On a loop. */
static void on_give_up(struct mail *mail)
{
    struct taken *job = PT_CONTAINER_OF(mail, struct taken, mail);

    for (uint32_t i = 0; i < job->count; i++)
        relay_outcome_given_up(job->rl, job->groups[i],
                               "5.0.0 given up by the administrator of this mail system",
                               job->wait);
    free(job);
}

/* What one message needs once the lock is let go. */
struct aftermath {
    struct spool_message *message; /* a reference, with `kind` to be stored */
    enum spool_op_kind kind;
    struct taken *taken;
    uint32_t *redirected; /* recipients, on the heap */
    uint32_t redirected_count;
};

/* One call of relay_view_act(). */
struct act {
    struct relay *r;
    enum relay_view_action action;
    struct relay_redirect redirect;
    struct taken *taken; /* room for the next message's groups */
    struct relay_outcome_wait wait;
    uint64_t count;
    enum pt_err err;
};

/* Under the lock. */
static bool take_for_bounce(struct act *a, struct relay_item *item, struct aftermath *after)
{
    struct relay *r = a->r;
    struct taken *job = a->taken;

    if (!r->loops[0])
        return false;
    job->rl = r->loops[0];
    job->count = relay_sched_take(&r->sched, item, job->groups, TAKE_MAX);
    after->taken = job;
    return job->count > 0;
}

static bool take_for_retry(struct act *a, struct relay_item *item, struct aftermath *after)
{
    struct taken *job = a->taken;
    bool waits;

    job->count = relay_sched_retry(&a->r->sched, item, job->groups, TAKE_MAX, &waits);
    after->taken = job;
    return waits;
}

/* Under the lock. True if the message was changed. */
static bool act_on_item(struct act *a, struct relay_item *item, struct aftermath *after)
{
    struct relay *r = a->r;
    bool changed = true;

    switch (a->action) {
    case RELAY_VIEW_RETRY:
        return take_for_retry(a, item, after);
    case RELAY_VIEW_BOUNCE:
        return take_for_bounce(a, item, after);
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
    case RELAY_VIEW_REDIRECT:
        after->kind = SPOOL_OP_ROUTE;
        after->redirected = relay_sched_redirect(&r->sched, item, &a->redirect, relay_now(r),
                                                 &after->redirected_count);
        changed = after->redirected != NULL;
        break;
    }
    if (changed)
        after->message = spool_message_ref(item->message);
    if (a->action == RELAY_VIEW_DELETE)
        relay_sched_delete(&r->sched, item);
    return changed;
}

static void post_give_up(struct act *a, struct taken *job)
{
    job->wait = &a->wait;
    job->mail.run = on_give_up;
    for (uint32_t i = 0; i < job->count; i++)
        relay_outcome_wait_add(&a->wait);
    a->taken = NULL; /* the loop frees it */
    net_loop_post(job->rl->loop, &job->mail);
}

static void submit_due_now(struct act *a, struct taken *job)
{
    for (uint32_t i = 0; i < job->count; i++) {
        if (relay_outcome_due_now(a->r, job->groups[i], &a->wait))
            continue;
        relay_lock(a->r);
        relay_sched_put_back(&a->r->sched, job->groups[i]); /* due all the same */
        relay_unlock(a->r);
        a->err = PT_ERR_NOMEM;
    }
}

/* Part of the message's life, however it was selected. */
static void log_redirected(const struct act *a, const struct aftermath *after)
{
    const struct spool_recipient *all = after->message->recipients;
    struct log_line l;
    struct buf names;

    buf_init(&names, RECIPIENTS_LOGGED_MAX);
    for (uint32_t i = 0; i < after->redirected_count; i++) {
        if (i)
            buf_add_char(&names, ',');
        buf_add_str(&names, all[after->redirected[i]].address);
    }
    log_begin(&l, LOG_INFO, a->redirect.next_hop.n ? "redirected" : "redirect_undone");
    log_id(&l, after->message->id);
    log_str(&l, "recipients", buf_str(&names));
    if (a->redirect.next_hop.n)
        log_str(&l, "next_hop", a->redirect.next_hop);
    log_end(&l);
    buf_done(&names);
}

static void finish(struct act *a, struct aftermath *after)
{
    if (after->taken && after->taken->count && a->action == RELAY_VIEW_BOUNCE)
        post_give_up(a, after->taken);
    else if (after->taken)
        submit_due_now(a, after->taken);
    if (after->redirected &&
        !relay_outcome_submit_routes(a->r, after->message, after->redirected,
                                     after->redirected_count, a->redirect.next_hop, &a->wait))
        a->err = PT_ERR_NOMEM;
    if (after->message && !after->redirected &&
        !relay_outcome_submit_kind(a->r, after->message, after->kind, &a->wait))
        a->err = PT_ERR_NOMEM;
    if (after->redirected)
        log_redirected(a, after);
    free(after->redirected);
    spool_message_unref(after->message);
    relay_outcome_wait(&a->wait, WAITING_MAX);
}

static bool make_room(struct act *a)
{
    if (!a->taken)
        a->taken = calloc(1, sizeof *a->taken);
    if (!a->taken)
        a->err = PT_ERR_NOMEM;
    return a->taken != NULL;
}

/* False: there is no such message. */
static bool act_on_id(struct act *a, uint64_t id)
{
    struct relay *r = a->r;
    struct relay_item *item = NULL;
    bool more = true, changed = false;

    while (more && make_room(a)) {
        struct aftermath after = { 0 };

        relay_lock(r);
        item = relay_sched_find(&r->sched, id);
        if (item && atomic_load_explicit(&item->deleted, memory_order_relaxed))
            item = NULL;
        if (item && act_on_item(a, item, &after))
            changed = true;
        relay_unlock(r);
        more = after.taken && after.taken->count == TAKE_MAX;
        finish(a, &after);
    }
    a->count += changed;
    return item || changed;
}

static bool destination_exists(struct relay *r, struct str name)
{
    bool exists;

    relay_lock(r);
    exists = relay_view_find_destination(r, name) != NULL;
    relay_unlock(r);
    return exists;
}

/* The next message of the selection, by ID; 0: none. */
static uint64_t next_id(struct relay *r, uint64_t after, const struct relay_view_filter *f)
{
    uint64_t found = 0;
    bool at_end = false;

    while (!at_end && !found) {
        uint32_t looks = LOOK_STEP;
        struct relay_item *item;

        relay_lock(r);
        item = relay_view_next(r, f, &after, &looks, &at_end);
        if (item)
            found = item->id;
        relay_unlock(r);
    }
    return found;
}

/* All that is there now: the notices that this makes are not meant. */
static void act_on_all(struct act *a, struct str destination)
{
    bool undo = a->action == RELAY_VIEW_REDIRECT && !a->redirect.next_hop.n;
    /* What would go there by the routes is found by looking at each. */
    struct relay_view_filter f = { .destination = undo ? STR_NULL : destination };
    uint64_t id = 0, end = spool_new_id(a->r->spool);

    if (destination.p && !undo && !destination_exists(a->r, destination)) {
        a->err = PT_ERR_NOTFOUND;
        return;
    }
    while (!a->err && (id = next_id(a->r, id, &f)) && id < end)
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
    struct act a = { .r = r,
                     .action = action,
                     .redirect = { selection->destination, selection->next_hop } };

    relay_outcome_wait_init(&a.wait);
    if (selection->all)
        act_on_all(&a, STR_NULL);
    else if (selection->destination.p)
        act_on_all(&a, selection->destination);
    else
        act_on_ids(&a, selection->ids, selection->id_count);
    wake(r);
    relay_outcome_wait(&a.wait, 0);
    if (action == RELAY_VIEW_RETRY)
        wake(r); /* now they are ready */
    free(a.taken);
    *out_count = a.count;
    return a.err ? a.err : relay_outcome_wait_done(&a.wait);
}
