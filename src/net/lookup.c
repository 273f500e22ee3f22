#include <arpa/nameser.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "net/resolver_private.h"

/*
 * What a query becomes: first the MX set, where asked for, then A and AAAA of each host side by
 * side. The last answer ends it, or its time; once a host has an address, the others have a quarter
 * of the time left, lest one name server that is down holds up mail for hosts that are known.
 */

/* ---- ending ---- */

static void deliver(struct mail *mail)
{
    struct net_query *q = PT_CONTAINER_OF(mail, struct net_query, mail);

    q->done(q);
}

void net_query_answer(struct net_query *q, enum pt_err result)
{
    q->result = result;
    if (result == PT_ERR_OK)
        q->reason[0] = 0;
    q->mail.run = deliver;
    net_loop_post(q->reply_to, &q->mail);
}

/* How much a failure says: forged beats unanswered, which leaves hope, beats "there is none". */
static int rank(enum pt_err err)
{
    switch (err) {
    case PT_ERR_OK:
        return 0;
    case PT_ERR_NOTFOUND:
        return 1;
    case PT_ERR_CORRUPT:
        return 3;
    default:
        return 2;
    }
}

static void note_failure(struct net_query *q, enum pt_err err, const char *what, const char *why)
{
    if (rank(err) <= rank(q->result))
        return;
    q->result = err;
    snprintf(q->reason, sizeof q->reason, "%.100s: %.280s", what, why);
}

/* What libunbound has to say in place of an answer. */
static void note_error(struct net_query *q, int err, const char *name)
{
    if (err == UB_SYNTAX)
        note_failure(q, PT_ERR_NOTFOUND, name, "this cannot be a name in the DNS");
    else
        note_failure(q, PT_ERR_AGAIN, name, err ? ub_strerror(err) : "no answer from the DNS");
}

static void finish(struct net_lookup *l, enum pt_err result)
{
    struct net_query *q = l->query;
    struct net_resolver *r = l->resolver;

    if (l->prev)
        l->prev->next = l->next;
    else
        r->lookups = l->next;
    if (l->next)
        l->next->prev = l->prev;
    r->lookup_count--;
    l->context->pending--;
    if (l->context == r->contexts)
        net_health_ended(r, q, result);
    free(l);
    net_query_answer(q, result);
}

static bool fill_targets(struct net_lookup *l)
{
    struct net_query *q = l->query;
    struct net_target *all = calloc(NET_TARGETS_MAX, sizeof *all);

    if (!all)
        return false;
    q->target_count = net_exchangers_targets(&l->hosts, all);
    q->targets = realloc(all, (q->target_count + 1) * sizeof *all);
    if (!q->targets)
        q->targets = all;
    return true;
}

static void end_with_what_is_known(struct net_lookup *l)
{
    struct net_query *q = l->query;

    if (l->enough) {
        finish(l, PT_ERR_OK);
        return;
    }
    if (!fill_targets(l)) {
        note_failure(q, PT_ERR_AGAIN, q->name, "out of memory");
        finish(l, q->result);
        return;
    }
    if (q->target_count == 0)
        note_failure(q, PT_ERR_NOTFOUND, q->name, "no address in the DNS");
    finish(l, q->target_count > 0 ? PT_ERR_OK : q->result);
}

static void answered(struct net_lookup *l)
{
    if (--l->open == 0)
        end_with_what_is_known(l);
}

void net_lookup_give_up(struct net_lookup *l)
{
    char text[64];

    snprintf(text, sizeof text, "the DNS did not answer within %u seconds",
             (l->context->limit_ms + 999) / 1000);
    for (unsigned i = 0; i < l->question_count; i++) {
        struct net_question *question = &l->questions[i];

        if (!question->open)
            continue;
        PT_IGNORE(ub_cancel(l->context->ub, question->id), "its answer was not yet called for");
        note_failure(
            l->query, PT_ERR_AGAIN,
            question->type == ns_t_mx ? l->query->name : l->hosts.list[question->host].name, text);
    }
    end_with_what_is_known(l);
}

/* ---- asking ---- */

static void on_answer(void *ctx, int err, struct ub_result *r);

static void ask(struct net_lookup *l, unsigned host, const char *name, int type)
{
    struct net_question *question = &l->questions[l->question_count++];
    int rc;

    *question = (struct net_question){ .lookup = l, .open = true, .host = host, .type = type };
    l->open++;
    rc = ub_resolve_async(l->context->ub, name, type, ns_c_in, question, on_answer, &question->id);
    if (rc) {
        question->open = false;
        note_error(l->query, rc, name);
        answered(l);
    }
}

static void ask_addresses(struct net_lookup *l)
{
    l->question_count = 0;
    l->open++; /* so that a question refused at once does not end a lookup half asked */
    for (unsigned i = 0; i < l->hosts.count; i++) {
        struct net_exchanger *h = &l->hosts.list[i];

        if (net_addr_parse(str_of(h->name), &h->addrs[0])) {
            h->addr_count = 1;
            continue;
        }
        ask(l, i, h->name, ns_t_aaaa);
        ask(l, i, h->name, ns_t_a);
    }
    answered(l);
}

/* ---- answers ---- */

/* True if the answer holds data; otherwise the failure is noted, if it is one. */
static bool usable(struct net_query *q, int err, const struct ub_result *r, const char *name)
{
    if (err || !r) {
        note_error(q, err, name);
        return false;
    }
    if (!r->secure)
        q->secure = false;
    if (r->bogus) {
        note_failure(q, PT_ERR_CORRUPT, name,
                     r->why_bogus ? r->why_bogus : "the DNS answer failed validation");
        return false;
    }
    if (r->ttl >= 0 && (uint32_t)r->ttl < q->ttl)
        q->ttl = (uint32_t)r->ttl;
    if (r->rcode != ns_r_noerror && r->rcode != ns_r_nxdomain) {
        /* libunbound tells all trouble of servers by this one code. */
        note_failure(q, PT_ERR_AGAIN, name,
                     "the DNS servers failed (SERVFAIL), refused or did not answer");
        return false;
    }
    if (r->nxdomain) {
        note_failure(q, PT_ERR_NOTFOUND, name, "no such domain");
        return false;
    }
    return r->havedata;
}

static void take_addresses(struct net_lookup *l, struct net_exchanger *h, const struct ub_result *r)
{
    enum net_family family = r->qtype == ns_t_aaaa ? NET_IPV6 : NET_IPV4;
    int64_t now = clock_mono_ns(), soon = now + (l->until_ns - now) / 4;

    for (int i = 0; r->data[i]; i++)
        net_exchanger_read_address(h, family, (const uint8_t *)r->data[i], (size_t)r->len[i]);
    if (h->addr_count > 0 && !l->hurried) {
        l->hurried = true;
        l->until_ns = PT_MIN(l->until_ns, soon);
    }
}

static void take_exchangers(struct net_lookup *l, int err, const struct ub_result *r)
{
    struct net_query *q = l->query;
    bool null_mx = false, mx;

    if (usable(q, err, r, q->name))
        for (int i = 0; r->data[i]; i++)
            net_exchangers_read_mx(&l->hosts, (const uint8_t *)r->data[i], (size_t)r->len[i],
                                   &l->resolver->rng, &null_mx);
    mx = l->hosts.count > 0;
    /* Beside other records a null MX is a mistake to be ignored. */
    q->null_mx = null_mx && l->hosts.count == 0;
    if (q->null_mx) {
        note_failure(q, PT_ERR_NOTFOUND, q->name, "the domain accepts no mail (null MX)");
    } else if (q->result == PT_ERR_OK && l->hosts.count == 0) {
        if (err == 0 && r->havedata)
            note_failure(q, PT_ERR_NOTFOUND, q->name, "no MX record of it names a host");
        else /* no MX: the domain itself is the exchanger (RFC 5321 5.1) */
            net_exchangers_add(&l->hosts, 0, q->name, &l->resolver->rng);
    }
    l->enough = q->kind == NET_QUERY_MAIL && q->result == PT_ERR_OK && mx;
    if (q->result == PT_ERR_OK && !l->enough)
        ask_addresses(l);
}

static void on_answer(void *ctx, int err, struct ub_result *r)
{
    struct net_question *question = ctx;
    struct net_lookup *l = question->lookup;

    question->open = false;
    if (question->type == ns_t_mx) {
        take_exchangers(l, err, r);
    } else {
        struct net_exchanger *h = &l->hosts.list[question->host];

        if (usable(l->query, err, r, h->name))
            take_addresses(l, h, r);
    }
    ub_resolve_free(r);
    answered(l);
}

/* ---- beginning ---- */

void net_lookup_start(struct net_resolver *r, struct net_query *q)
{
    struct net_lookup *l = calloc(1, sizeof *l);

    if (!l) {
        note_failure(q, PT_ERR_AGAIN, q->name, "out of memory");
        net_query_answer(q, q->result);
        return;
    }
    l->resolver = r;
    l->query = q;
    l->context = r->contexts;
    l->until_ns = q->asked_ns + l->context->limit_ms * INT64_C(1000000);
    l->next = r->lookups;
    if (l->next)
        l->next->prev = l;
    r->lookups = l;
    r->lookup_count++;
    l->context->pending++;
    if (q->kind != NET_QUERY_ADDRESSES) {
        ask(l, 0, q->name, ns_t_mx);
    } else {
        net_exchangers_add(&l->hosts, 0, q->name, &r->rng);
        ask_addresses(l);
    }
}
