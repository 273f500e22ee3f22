#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "gateway/live_view.h"
#include "gateway/loop.h"
#include "gateway/session.h"
#include "gateway/transaction.h"
#include "tls/connection.h"

/*
 * Each loop gets a walk: a mail that reads its list of sessions, which is in the order of IDs, a
 * slice at a time, and posts itself again until the end. A session that goes away meanwhile moves
 * the walks that stand on it on. The last walk to end wakes the one who asked.
 */
enum { SLICE = 1000 };

struct question {
    const struct gateway_live_filter *filter;
    uint64_t only; /* one session; 0: all */
    bool disconnect, now;
    uint32_t max;

    pthread_mutex_t lock;
    pthread_cond_t answered;
    unsigned walking;
};

struct live_walk {
    struct mail mail;
    struct question *question;
    struct gateway_loop *loop;
    struct live_walk *next;
    struct session *at;
    bool begun, found, gone;
    uint64_t total;
    uint32_t count;
    struct gateway_live *rows; /* question->max */
};

/* ---- on a loop ---- */

static const char *ends(const struct session *s)
{
    switch ((enum session_ending)s->ending) {
    case SESSION_NOT_PERMITTED:
        return "connection control";
    case SESSION_DISCONNECTED:
        return "an administrator";
    case SESSION_SHUT_DOWN:
        return "shutting down";
    case SESSION_GOES_ON:
        break;
    }
    return NULL;
}

static void describe_tls(const struct session *s, struct gateway_live *out)
{
    struct tls_info info;

    if (!tls_stream_info(&s->stream, &info))
        return;
    snprintf(out->tls_version, sizeof out->tls_version, "%s", info.version);
    snprintf(out->tls_cipher, sizeof out->tls_cipher, "%s", info.cipher);
    snprintf(out->tls_subject, sizeof out->tls_subject, "%s", info.subject);
    snprintf(out->tls_unverified, sizeof out->tls_unverified, "%s", info.unverified);
}

static void describe(const struct session *s, int64_t now, struct gateway_live *out)
{
    struct str helo = smtp_server_helo(&s->smtp);
    size_t n = PT_MIN(helo.n, sizeof out->helo - 1);

    *out = (struct gateway_live){
        .id = s->id,
        .client = s->client,
        .since_us = clock_wall_us() - (now - s->started_ns) / 1000,
        .state = session_doing(s),
        .ends = ends(s),
        .esmtp = smtp_server_esmtp(&s->smtp),
        .messages = s->messages,
        .octets_in = s->octets_in,
        .octets_out = s->octets_out,
        .content = smtp_server_size(&s->smtp),
        .idle_seconds = (uint32_t)((now - s->patience.heard_ns) / 1000000000),
    };
    if (n)
        memcpy(out->helo, helo.p, n);
    describe_tls(s, out);
}

static bool matches(const struct question *q, const struct session *s)
{
    if (q->only)
        return s->id == q->only;
    return q->filter->address.addr.family == NET_NONE ||
           net_prefix_has(&q->filter->address, &s->client.addr);
}

static void visit(struct live_walk *w, struct session *s)
{
    const struct question *q = w->question;

    w->total++;
    if (q->disconnect) {
        w->found = true;
        w->gone = session_disconnect(s, q->now);
    } else if ((q->only || s->id > q->filter->after) && w->count < q->max) {
        describe(s, net_loop_now(w->loop->loop), &w->rows[w->count++]);
    }
}

static void end_walk(struct live_walk *w)
{
    struct question *q = w->question;
    struct live_walk **at = &w->loop->walks;

    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    pthread_mutex_lock(&q->lock);
    if (--q->walking == 0)
        pthread_cond_signal(&q->answered);
    pthread_mutex_unlock(&q->lock);
}

static void on_walk(struct mail *mail)
{
    struct live_walk *w = PT_CONTAINER_OF(mail, struct live_walk, mail);

    if (!w->begun) {
        w->begun = true;
        w->at = w->loop->sessions;
        w->next = w->loop->walks;
        w->loop->walks = w;
    }
    for (int i = 0; w->at && i < SLICE; i++) {
        struct session *s = w->at;

        w->at = s->next;
        if (matches(w->question, s))
            visit(w, s);
    }
    if (w->at)
        net_loop_post(w->loop->loop, &w->mail);
    else
        end_walk(w);
}

void gateway_live_session_gone(struct gateway_loop *l, const struct session *s)
{
    for (struct live_walk *w = l->walks; w; w = w->next)
        if (w->at == s)
            w->at = s->next;
}

/* ---- who asks ---- */

/* NULL: memory is short. */
static struct live_walk *ask(struct gateway *g, struct question *q)
{
    struct live_walk *walks = calloc(g->loop_count, sizeof *walks);
    bool ok = walks;

    for (unsigned i = 0; ok && i < g->loop_count; i++) {
        walks[i] = (struct live_walk){ .mail.run = on_walk, .question = q, .loop = g->loops[i] };
        walks[i].rows = calloc(q->max ? q->max : 1, sizeof(struct gateway_live));
        ok = walks[i].rows;
    }
    if (!ok) {
        for (unsigned i = 0; walks && i < g->loop_count; i++)
            free(walks[i].rows);
        free(walks);
        return NULL;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->answered, NULL);
    q->walking = g->loop_count;
    for (unsigned i = 0; i < g->loop_count; i++)
        net_loop_post(g->loops[i]->loop, &walks[i].mail);
    pthread_mutex_lock(&q->lock);
    while (q->walking)
        pthread_cond_wait(&q->answered, &q->lock);
    pthread_mutex_unlock(&q->lock);
    pthread_mutex_destroy(&q->lock);
    pthread_cond_destroy(&q->answered);
    return walks;
}

static void done(struct gateway *g, struct live_walk *walks)
{
    for (unsigned i = 0; i < g->loop_count; i++)
        free(walks[i].rows);
    free(walks);
}

/* The row with the smallest ID that is left; NULL: none. */
static const struct gateway_live *take_first(struct gateway *g, struct live_walk *walks,
                                             uint32_t *taken)
{
    const struct gateway_live *first = NULL;
    unsigned of = 0;

    for (unsigned i = 0; i < g->loop_count; i++) {
        const struct gateway_live *row = &walks[i].rows[taken[i]];

        if (taken[i] < walks[i].count && (!first || row->id < first->id)) {
            first = row;
            of = i;
        }
    }
    if (first)
        taken[of]++;
    return first;
}

enum pt_err gateway_live_list(struct gateway *g, const struct gateway_live_filter *filter,
                              struct gateway_live *out, uint32_t max, uint32_t *out_count,
                              uint64_t *out_total)
{
    struct question q = { .filter = filter, .max = max };
    uint32_t *taken = calloc(g->loop_count, sizeof *taken);
    struct live_walk *walks = taken ? ask(g, &q) : NULL;
    const struct gateway_live *row;

    if (!walks) {
        free(taken);
        return PT_ERR_NOMEM;
    }
    *out_count = 0;
    *out_total = 0;
    for (unsigned i = 0; i < g->loop_count; i++)
        *out_total += walks[i].total;
    while (*out_count < max && (row = take_first(g, walks, taken)))
        out[(*out_count)++] = *row;
    done(g, walks);
    free(taken);
    return PT_ERR_OK;
}

enum pt_err gateway_live_show(struct gateway *g, uint64_t id, struct gateway_live *out)
{
    struct question q = { .only = id, .max = 1 };
    struct live_walk *walks = ask(g, &q);
    bool found = false;

    if (!walks)
        return PT_ERR_NOMEM;
    for (unsigned i = 0; i < g->loop_count; i++)
        if (walks[i].count) {
            *out = walks[i].rows[0];
            found = true;
        }
    done(g, walks);
    return found ? PT_ERR_OK : PT_ERR_NOTFOUND;
}

enum pt_err gateway_live_disconnect(struct gateway *g, uint64_t id, bool now, bool *out_gone)
{
    struct question q = { .only = id, .disconnect = true, .now = now };
    struct live_walk *walks = ask(g, &q);
    bool found = false;

    if (!walks)
        return PT_ERR_NOMEM;
    for (unsigned i = 0; i < g->loop_count; i++)
        if (walks[i].found) {
            *out_gone = walks[i].gone;
            found = true;
        }
    done(g, walks);
    return found ? PT_ERR_OK : PT_ERR_NOTFOUND;
}
