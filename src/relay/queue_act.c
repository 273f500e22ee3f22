#include <stdlib.h>

#include "relay/outcome.h"
#include "relay/queue_filter.h"

/* An administrator's hand on the queue: one message at a time, the lock let go between them. */

enum { WAITING_MAX = 256 }; /* operations submitted and not yet stored */

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
    while (d && !relay_view_is_destination(d, name))
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
            if (relay_view_matches(item, f))
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
