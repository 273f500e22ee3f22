#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"
#include "base/clock.h"
#include "daemon/certificates_api.h"
#include "daemon/confirm.h"
#include "daemon/limits_api.h"
#include "daemon/metrics.h"
#include "daemon/names_api.h"
#include "daemon/process.h"
#include "daemon/status.h"
#include "daemon/suspensions.h"
#include "daemon/tls_check.h"
#include "daemon/tracking_api.h"
#include "daemon/version.h"
#include "gateway/live_view.h"
#include "relay/queue_view.h"

/*
 * What the API is given of the rest of the gateway. Job threads: all of it may wait.
 */

/* ---- settings ---- */

static struct settings *settings_current(void *ctx)
{
    struct process *p = ctx;

    return control_current(&p->control);
}

static void settings_pending(void *ctx, struct settings_pending *out)
{
    struct process *p = ctx;

    confirm_pending(&p->control, out);
}

static enum pt_err settings_confirm(void *ctx, bool revert, const struct settings_audit *audit,
                                    uint64_t *out_revision, struct pt_fault *fault)
{
    struct process *p = ctx;

    return revert ? confirm_revert(&p->control, audit, out_revision, fault)
                  : confirm_now(&p->control, audit, out_revision, fault);
}

static enum pt_err settings_apply(void *ctx, const struct api_change *change,
                                  struct api_change_result *out, struct pt_fault *fault)
{
    struct process *p = ctx;

    return control_change(&p->control, change, out, fault);
}

static struct policy_snapshot *snapshot(void *ctx)
{
    struct process *p = ctx;

    return control_snapshot(&p->control);
}

static void entry_hits(void *ctx, enum policy_which which, const struct net_prefix *entry,
                       uint64_t *out_hits, int64_t *out_last_us)
{
    struct process *p = ctx;

    *out_hits = 0;
    *out_last_us = 0;
    if (atomic_load(&p->serving))
        gateway_entry_hits(p->gateway,
                           which == POLICY_WHICH_DENY ? POLICY_LIST_DENY : POLICY_LIST_PERMIT,
                           entry, out_hits, out_last_us);
}

static void test_address(void *ctx, const struct net_addr *address, struct api_decision *out)
{
    struct process *p = ctx;
    struct policy_snapshot *snapshot = control_snapshot(&p->control);
    char room[SETTINGS_ENTRY_SIZE];
    const char *entry, *comment;
    struct policy_verdict v;

    *out = (struct api_decision){ .accept = false };
    if (!snapshot)
        return; /* without settings nobody is let in */
    policy_verdict_init(&v, false);
    policy_test_address(snapshot, address, clock_wall_us(), &v);
    out->accept = v.action == POLICY_ACCEPT;
    out->list = v.list == POLICY_LIST_DENY     ? "deny"
                : v.list == POLICY_LIST_PERMIT ? "permit"
                                               : NULL;
    entry = policy_entry_text(snapshot, v.list, v.entry, room);
    comment = policy_entry_comment(snapshot, v.list, v.entry);
    snprintf(out->entry, sizeof out->entry, "%s", entry ? entry : "");
    snprintf(out->comment, sizeof out->comment, "%s", comment ? comment : "");
    policy_snapshot_unref(snapshot);
}

/* ---- queue ---- */

/* To be asked before the queue is: what is not in it then may only be not known yet. */
static bool queue_loading(void *ctx)
{
    struct process *p = ctx;
    struct spool_stats s = { .loading = false };

    if (atomic_load(&p->serving))
        spool_get_stats(p->spool, &s);
    return s.loading;
}

struct showing {
    api_message_fn *show;
    void *user;
};

static bool show_message(void *user, const struct relay_view_message *m)
{
    const struct showing *s = user;
    struct api_recipient *rows = calloc(m->recipient_count + 1u, sizeof *rows);
    bool go_on;

    if (!rows)
        return false;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        const struct relay_view_recipient *r = &m->recipients[i];

        rows[i] = (struct api_recipient){
            .address = r->address,
            .destination = r->destination,
            .state = r->state,
            .attempts = r->attempts,
            .next_attempt_us = r->next_attempt_us,
            .code = r->code,
            .reply = r->reply,
            .redirected = r->redirected,
            .suspended = r->suspended,
        };
    }
    go_on = s->show(s->user, &(struct api_message){
                                 .id = m->id,
                                 .received_us = m->received_us,
                                 .size = m->size,
                                 .held = m->held,
                                 .own = m->own,
                                 .reverse_path = m->reverse_path,
                                 .client = m->client,
                                 .helo = m->helo,
                                 .recipients = rows,
                                 .recipient_count = m->recipient_count,
                                 .first_recipient = m->first_recipient,
                                 .recipients_total = m->recipients_total,
                                 .recipients_waiting = m->recipients_waiting,
                             });
    free(rows);
    return go_on;
}

static enum pt_err queue_list(void *ctx, const struct api_queue_filter *f, api_message_fn *show,
                              void *user, uint64_t *out_total)
{
    static const enum relay_view_state states[] = {
        [API_QUEUE_ANY] = RELAY_VIEW_ANY,           [API_QUEUE_QUEUED] = RELAY_VIEW_QUEUED,
        [API_QUEUE_DEFERRED] = RELAY_VIEW_DEFERRED, [API_QUEUE_DELIVERING] = RELAY_VIEW_DELIVERING,
        [API_QUEUE_IN_DOUBT] = RELAY_VIEW_IN_DOUBT, [API_QUEUE_HELD] = RELAY_VIEW_HELD,
    };
    struct process *p = ctx;
    struct showing s = { show, user };
    struct relay_view_filter filter = {
        .destination = f->destination,
        .sender = f->sender,
        .recipient = f->recipient,
        .state = states[f->state],
        .received_before_us = f->received_before_us,
        .received_after_us = f->received_after_us,
        .newest_first = f->newest_first,
        .after = f->after,
        .limit = f->limit,
        .recipients_max = f->recipients_max,
    };

    if (!atomic_load(&p->serving))
        return PT_ERR_AGAIN;
    return relay_view_list(p->relay, &filter, show_message, &s, out_total);
}

static enum pt_err queue_show(void *ctx, uint64_t id, uint32_t first, uint32_t max,
                              api_message_fn *show, void *user)
{
    struct process *p = ctx;
    struct showing s = { show, user };
    bool loading = queue_loading(p);
    enum pt_err err = PT_ERR_AGAIN;

    if (atomic_load(&p->serving))
        err = relay_view_show(p->relay, id, first, max, show_message, &s);
    return err == PT_ERR_NOTFOUND && loading ? PT_ERR_AGAIN : err;
}

static enum pt_err queue_act(void *ctx, enum api_queue_action action,
                             const struct api_queue_selection *selection, uint64_t *out_count,
                             struct pt_fault *fault)
{
    static const enum relay_view_action actions[] = {
        [API_QUEUE_RETRY] = RELAY_VIEW_RETRY,     [API_QUEUE_HOLD] = RELAY_VIEW_HOLD,
        [API_QUEUE_RELEASE] = RELAY_VIEW_RELEASE, [API_QUEUE_DELETE] = RELAY_VIEW_DELETE,
        [API_QUEUE_BOUNCE] = RELAY_VIEW_BOUNCE,   [API_QUEUE_REDIRECT] = RELAY_VIEW_REDIRECT,
    };
    struct process *p = ctx;
    struct relay_view_selection wanted = {
        .ids = selection->ids,
        .id_count = selection->id_count,
        .destination = selection->destination,
        .all = selection->all,
    };
    bool loading = queue_loading(p);
    char next_hop[RELAY_VIEW_NEXT_HOP];
    enum pt_err err = PT_ERR_AGAIN;

    if (selection->next_hop.p && atomic_load(&p->serving)) {
        const char *wrong = relay_view_next_hop(p->relay, selection->next_hop, next_hop);

        if (wrong)
            return pt_fault_set(fault, PT_ERR_INVALID, "%s", wrong);
        wanted.next_hop = str_of(next_hop);
    }
    /* One message may be known already; of several, or all, none must be passed over. */
    if (atomic_load(&p->serving) && (!loading || selection->id_count == 1))
        err = relay_view_act(p->relay, actions[action], &wanted, out_count);
    if (loading && (err == PT_ERR_NOTFOUND || err == PT_ERR_AGAIN))
        return PT_ERR_AGAIN; /* the API has the words */
    if (err == PT_ERR_NOTFOUND)
        pt_fault_set(fault, err,
                     selection->id_count ? "there is no such message in the queue"
                                         : "there is no such destination in the queue");
    else if (err != PT_ERR_OK)
        pt_fault_set(fault, err, "%s", pt_err_text(err));
    return err;
}

/* ---- content ---- */

struct waiting_read {
    struct spool_read read;
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    bool done;
};

static void read_done(struct spool_read *r)
{
    struct waiting_read *w = PT_CONTAINER_OF(r, struct waiting_read, read);

    pthread_mutex_lock(&w->lock);
    w->done = true;
    pthread_cond_signal(&w->done_cond);
    pthread_mutex_unlock(&w->lock);
}

static enum pt_err queue_content(void *ctx, uint64_t id, uint64_t offset, uint32_t max,
                                 struct block_chain *out)
{
    struct process *p = ctx;
    bool loading = queue_loading(p);
    struct spool_message *m =
        atomic_load(&p->serving) ? relay_view_message_ref(p->relay, id) : NULL;
    struct waiting_read w = { .lock = PTHREAD_MUTEX_INITIALIZER,
                              .done_cond = PTHREAD_COND_INITIALIZER };

    if (!m)
        return loading ? PT_ERR_AGAIN : PT_ERR_NOTFOUND;
    w.read =
        (struct spool_read){ .message = m, .offset = offset, .length = max, .done = read_done };
    spool_read(p->spool, &w.read);
    pthread_mutex_lock(&w.lock);
    while (!w.done)
        pthread_cond_wait(&w.done_cond, &w.lock);
    pthread_mutex_unlock(&w.lock);
    pthread_mutex_destroy(&w.lock);
    pthread_cond_destroy(&w.done_cond);
    spool_message_unref(m);
    if (w.read.result == PT_ERR_OK)
        block_chain_move(out, &w.read.content);
    block_chain_done(&w.read.content);
    return w.read.result;
}

/* ---- destinations ---- */

struct showing_destinations {
    void (*show)(void *user, const struct api_destination *d);
    void *user;
};

static bool show_destination(void *user, const struct relay_view_destination *d)
{
    const struct showing_destinations *s = user;

    s->show(s->user, &(struct api_destination){
                         .name = d->name,
                         .ready = d->ready,
                         .deferred = d->deferred,
                         .busy = d->busy,
                         .held = d->held,
                         .connections = d->connections,
                         .rests_until_us = d->rests_until_us,
                         .error = d->error,
                         .suspended = d->suspended,
                         .suspended_until_us = d->suspended_until_us,
                     });
    return true;
}

static void queue_destinations(void *ctx, void (*show)(void *user, const struct api_destination *d),
                               void *user)
{
    struct process *p = ctx;
    struct showing_destinations s = { show, user };

    if (!atomic_load(&p->serving))
        return;
    PT_IGNORE(relay_view_destinations(p->relay, show_destination, &s) != PT_ERR_OK,
              "what could be shown was");
}

static enum pt_err queue_moves(void *ctx, const struct settings *before,
                               const struct settings *after, relay_move_fn *show, void *user,
                               uint64_t *out_more)
{
    struct process *p = ctx;

    *out_more = 0;
    return atomic_load(&p->serving) ? relay_moves(p->relay, before, after, show, user, out_more)
                                    : PT_ERR_OK;
}

static enum pt_err route_test(void *ctx, struct str address, const struct settings *draft,
                              relay_route_fn *show, void *user)
{
    struct process *p = ctx;

    return atomic_load(&p->serving)
               ? relay_route_test(p->relay, p->control.resolver, address, draft, show, user)
               : PT_ERR_AGAIN;
}

/* ---- live connections ---- */

static void show_connection(const struct gateway_live *l, api_connection_fn *show, void *user)
{
    show(user, &(struct api_connection){
                   .id = l->id,
                   .client = l->client,
                   .since_us = l->since_us,
                   .state = l->state,
                   .ends = l->ends,
                   .helo = l->helo,
                   .esmtp = l->esmtp,
                   .tls_version = l->tls_version[0] ? l->tls_version : NULL,
                   .tls_cipher = l->tls_cipher[0] ? l->tls_cipher : NULL,
                   .tls_subject = l->tls_subject,
                   .tls_unverified = l->tls_unverified,
                   .messages = l->messages,
                   .octets_in = l->octets_in,
                   .octets_out = l->octets_out,
                   .content = l->content,
                   .idle_seconds = l->idle_seconds,
               });
}

static enum pt_err connections_list(void *ctx, const struct api_connection_filter *f,
                                    api_connection_fn *show, void *user, uint64_t *out_total)
{
    struct process *p = ctx;
    struct gateway_live_filter filter = { .address = f->address, .after = f->after };
    struct gateway_live *rows;
    uint32_t count = 0;
    enum pt_err err;

    if (!atomic_load(&p->serving))
        return PT_ERR_AGAIN;
    rows = calloc(f->limit, sizeof *rows);
    if (!rows)
        return PT_ERR_NOMEM;
    err = gateway_live_list(p->gateway, &filter, rows, f->limit, &count, out_total);
    for (uint32_t i = 0; err == PT_ERR_OK && i < count; i++)
        show_connection(&rows[i], show, user);
    free(rows);
    return err;
}

static enum pt_err connection_show(void *ctx, uint64_t id, api_connection_fn *show, void *user)
{
    struct process *p = ctx;
    struct gateway_live l;
    enum pt_err err = PT_ERR_AGAIN;

    if (atomic_load(&p->serving))
        err = gateway_live_show(p->gateway, id, &l);
    if (err == PT_ERR_OK)
        show_connection(&l, show, user);
    return err;
}

static enum pt_err connection_end(void *ctx, uint64_t id, bool now, bool *out_gone)
{
    struct process *p = ctx;

    return atomic_load(&p->serving) ? gateway_live_disconnect(p->gateway, id, now, out_gone)
                                    : PT_ERR_AGAIN;
}

static void status(void *ctx, struct api_status *out)
{
    process_status(ctx, out);
}

static void metrics(void *ctx, struct buf *out)
{
    process_metrics(ctx, out);
}

void process_api_deps(struct process *p, struct api_deps *deps)
{
    *deps = (struct api_deps){
        .ctx = p,
        .state_directory = p->state.dir,
        .version = POSTERN_VERSION,
        .started_us = p->started_us,
        .settings_current = settings_current,
        .settings_apply = settings_apply,
        .settings_pending = settings_pending,
        .settings_confirm = settings_confirm,
        .queue_loading = queue_loading,

        .snapshot = snapshot,
        .entry_hits = entry_hits,
        .queue_list = queue_list,
        .queue_show = queue_show,
        .queue_act = queue_act,
        .queue_content = queue_content,
        .queue_destinations = queue_destinations,
        .queue_moves = queue_moves,
        .route_test = route_test,
        .destination_suspend = suspensions_add,
        .destination_resume = suspensions_end,
        .suspensions = suspensions_each,
        .connections_list = connections_list,
        .connection_show = connection_show,
        .connection_end = connection_end,
        .status = status,
        .metrics = metrics,
        .tls_upload = certificates_upload,
        .tls_each = certificates_each,
        .tls_remove = certificates_remove,
        .tls_served = certificates_served,
        .tls_check = tls_check,
        .refusal_find = tracking_refusal_find,
        .clients_each = tracking_clients_each,
        .test_address = test_address,
        .client = limits_client,
        .look_up = names_look_up,
        .draft_snapshot = limits_draft_snapshot,
        .bans = limits_bans,
        .ban_set = limits_ban_set,
        .ban_lift = limits_ban_lift,
        .limit_rules = limits_rules,
        .limit_clients = limits_clients,
    };
}
