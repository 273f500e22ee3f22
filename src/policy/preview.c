/*
 * A client is asked about in the order of a session; the first question that is answered otherwise
 * is the one that is told. Of each side the rows with the most traffic are kept in a heap whose
 * root has the least.
 */
#include "policy/preview_view.h"

#include <stdio.h>
#include <stdlib.h>

#include "policy/policy.h"

struct side {
    struct policy_preview_row *rows;
    uint32_t count;
    uint64_t clients, connections, messages;
};

struct policy_preview {
    struct policy_snapshot *before, *after;
    int64_t now_us, since_us;
    uint32_t rows_max;
    struct side refused, let_in;
    struct policy_preview_result result;
};

/* ---- life ---- */

struct policy_preview *policy_preview_new(const struct policy_snapshot *before,
                                          const struct policy_snapshot *after, int64_t now_us,
                                          int64_t since_us, uint32_t rows_max)
{
    struct policy_preview *p = calloc(1, sizeof *p);

    if (!p)
        return NULL;
    p->before = policy_snapshot_ref(before);
    p->after = policy_snapshot_ref(after);
    p->now_us = now_us;
    p->since_us = since_us;
    p->rows_max = rows_max;
    p->refused.rows = calloc(rows_max ? rows_max : 1, sizeof *p->refused.rows);
    p->let_in.rows = calloc(rows_max ? rows_max : 1, sizeof *p->let_in.rows);
    if (p->refused.rows && p->let_in.rows)
        return p;
    policy_preview_free(p);
    return NULL;
}

void policy_preview_free(struct policy_preview *p)
{
    if (!p)
        return;
    free(p->refused.rows);
    free(p->let_in.rows);
    policy_snapshot_unref(p->before);
    policy_snapshot_unref(p->after);
    free(p);
}

/* ---- rows ---- */

static uint64_t traffic(uint64_t connections, uint64_t messages)
{
    return connections + messages;
}

static uint64_t traffic_of(const struct policy_preview_row *r)
{
    return traffic(r->connections, r->messages);
}

static void swap(struct policy_preview_row *a, struct policy_preview_row *b)
{
    struct policy_preview_row c = *a;

    *a = *b;
    *b = c;
}

static void sift_up(struct side *s, uint32_t at)
{
    while (at > 0 && traffic_of(&s->rows[at]) < traffic_of(&s->rows[(at - 1) / 2])) {
        swap(&s->rows[at], &s->rows[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void sift_down(struct side *s)
{
    uint32_t at = 0;

    for (;;) {
        uint32_t least = at;

        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < s->count; child++)
            if (traffic_of(&s->rows[child]) < traffic_of(&s->rows[least]))
                least = child;
        if (least == at)
            return;
        swap(&s->rows[at], &s->rows[least]);
        at = least;
    }
}

/* Where the row of such a client goes; NULL: it has too little traffic. */
static struct policy_preview_row *place(struct policy_preview *p, struct side *s, uint64_t amount)
{
    if (s->count < p->rows_max)
        return &s->rows[s->count];
    return s->count && traffic_of(&s->rows[0]) < amount ? &s->rows[0] : NULL;
}

static void placed(struct side *s, const struct policy_preview_row *row)
{
    if (row == &s->rows[s->count])
        sift_up(s, s->count++);
    else
        sift_down(s);
}

static int by_traffic(const void *a, const void *b)
{
    const struct policy_preview_row *x = a, *y = b;
    uint64_t m = traffic_of(x), n = traffic_of(y);

    if (m != n)
        return m < n ? 1 : -1;
    return memcmp(&x->address, &y->address, sizeof x->address);
}

static void copy(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text ? text : "");
}

static void tell(const struct policy_snapshot *snap, const struct policy_verdict *v,
                 struct policy_preview_row *row)
{
    char room[SETTINGS_ENTRY_SIZE];

    row->rule = policy_rule_name((enum policy_rule)v->rule);
    row->list = policy_list_name(v->list);
    copy(row->entry, sizeof row->entry, policy_entry_text(snap, v->list, v->entry, room));
    copy(row->comment, sizeof row->comment, policy_entry_comment(snap, v->list, v->entry));
    row->code = v->reply.code;
    snprintf(row->reply, sizeof row->reply, "%.*s", STR_FMT(v->reply.text));
}

/* ---- asking ---- */

/* A question and its answers under both settings. */
struct asked {
    struct policy_verdict before, after;
};

typedef void question_fn(const struct policy_snapshot *snap, const struct policy_facts *facts,
                         struct policy_verdict *v);

/* True: the answers differ. */
static bool ask(const struct policy_preview *p, question_fn *question,
                const struct policy_facts *facts, struct asked *a)
{
    question(p->before, facts, &a->before);
    question(p->after, facts, &a->after);
    return (a->before.action == POLICY_ACCEPT) != (a->after.action == POLICY_ACCEPT);
}

static bool both_refuse(const struct asked *a)
{
    return a->before.action != POLICY_ACCEPT && a->after.action != POLICY_ACCEPT;
}

static void count_seen(struct policy_preview *p, const struct policy_past *past,
                       const struct asked *a)
{
    p->result.clients++;
    if (past->last_us < p->since_us)
        return;
    p->result.seen++;
    p->result.seen_refused_before += a->before.action != POLICY_ACCEPT;
    p->result.seen_refused_after += a->after.action != POLICY_ACCEPT;
}

static void differs(struct policy_preview *p, const struct policy_past *past, const struct asked *a,
                    const char *command, const char *recipient)
{
    bool refused = a->after.action != POLICY_ACCEPT;
    struct side *s = refused ? &p->refused : &p->let_in;
    struct policy_preview_row *row = place(p, s, traffic(past->connections, past->messages));

    s->clients++;
    s->connections += past->connections;
    s->messages += past->messages;
    if (!row)
        return;
    *row = (struct policy_preview_row){ .address = past->address,
                                        .connections = past->connections,
                                        .messages = past->messages,
                                        .refusals = past->refusals,
                                        .last_us = past->last_us,
                                        .command = command };
    copy(row->helo, sizeof row->helo, past->helo);
    copy(row->recipient, sizeof row->recipient, recipient);
    tell(refused ? p->after : p->before, refused ? &a->after : &a->before, row);
    placed(s, row);
}

static bool ask_recipients(struct policy_preview *p, const struct policy_past *past,
                           struct policy_facts *facts, struct asked *a)
{
    char address[POLICY_PREVIEW_NAME + 8];

    facts->recipients = past->recipients_max ? past->recipients_max - 1 : 0;
    for (uint32_t i = 0; i < past->recipient_count; i++) {
        int n = snprintf(address, sizeof address, "x@%s", past->recipients[i]);

        facts->recipient = (struct str){ address, (size_t)n };
        if (n > 0 && (size_t)n < sizeof address && ask(p, policy_rcpt, facts, a)) {
            differs(p, past, a, "RCPT", past->recipients[i]);
            return true;
        }
    }
    return false;
}

void policy_preview_add(struct policy_preview *p, const struct policy_past *past)
{
    struct policy_facts facts = { .client = past->address,
                                  .now_us = p->now_us,
                                  .tls = past->tls,
                                  .messages = past->messages_max ? past->messages_max - 1 : 0,
                                  .size = past->size_max,
                                  .helo = str_of(past->helo) };
    struct asked a;

    policy_verdict_init(&a.before, false);
    policy_verdict_init(&a.after, false);
    if (ask(p, policy_connect, &facts, &a)) {
        count_seen(p, past, &a);
        differs(p, past, &a, NULL, NULL);
        return;
    }
    count_seen(p, past, &a);
    if (both_refuse(&a) || !past->mail)
        return;
    if (ask(p, policy_mail, &facts, &a)) {
        differs(p, past, &a, "MAIL", NULL);
        return;
    }
    if (!both_refuse(&a))
        PT_IGNORE(ask_recipients(p, past, &facts, &a), "it is counted");
}

static struct policy_preview_side finish(struct side *s)
{
    qsort(s->rows, s->count, sizeof *s->rows, by_traffic);
    return (struct policy_preview_side){ .clients = s->clients,
                                         .connections = s->connections,
                                         .messages = s->messages,
                                         .rows = s->rows,
                                         .count = s->count };
}

const struct policy_preview_result *policy_preview_end(struct policy_preview *p)
{
    p->result.refused = finish(&p->refused);
    p->result.let_in = finish(&p->let_in);
    return &p->result;
}

bool policy_preview_refuses(const struct policy_snapshot *snap, const struct net_addr *client,
                            int64_t now_us, struct policy_preview_row *out)
{
    const struct policy_facts facts = { .client = *client, .now_us = now_us };
    struct policy_verdict v;

    policy_verdict_init(&v, false);
    policy_connect(snap, &facts, &v);
    if (out) {
        *out = (struct policy_preview_row){ .address = *client };
        tell(snap, &v, out);
    }
    return v.action != POLICY_ACCEPT;
}
