#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "spool_world.h"

/*
 * What may be found after a crash, and whether it was.
 */

static bool final(uint8_t state)
{
    return state == SPOOL_DELIVERED || state == SPOOL_FAILED;
}

static void apply_outcomes(struct state *to, const struct sim_op *op, uint32_t recipients)
{
    bool left = false;

    for (uint32_t i = 0; i < op->op.outcome_count; i++) {
        const struct spool_outcome *o = &op->outcomes[i];

        if (final(to->state[o->recipient]))
            continue;
        to->state[o->recipient] = o->state;
        to->serial[o->recipient] = op->serial;
    }
    for (uint32_t i = 0; i < recipients; i++)
        left = left || !final(to->state[i]);
    if (!left)
        to->present = false;
}

void state_apply(struct state *to, const struct sim_op *op, const struct sim_message *m)
{
    if (m == op->bounce || op->op.kind == SPOOL_OP_MESSAGE)
        to->present = true;
    else if (op->op.kind == SPOOL_OP_OUTCOME)
        apply_outcomes(to, op, m->recipients);
    else if (op->op.kind == SPOOL_OP_DELETE)
        to->present = false;
    else if (op->op.kind == SPOOL_OP_ROUTE)
        for (uint32_t i = 0; i < op->op.route_count; i++)
            to->sent[op->routes[i].recipient] = op->next_hop[0] ? op->serial : 0;
    else
        to->held = op->op.kind == SPOOL_OP_HOLD;
}

/* From "h7.example:25". */
static uint32_t sent_by(const struct spool_message *found, uint32_t i)
{
    struct str text = found->next_hops ? found->next_hops[i] : STR_NULL;
    uint64_t serial = 0;
    ptrdiff_t dot = str_find(text, '.', 0);

    if (text.n)
        pt_assert(dot > 1 && str_to_u64((struct str){ text.p + 1, (size_t)dot - 1 }, &serial) &&
                  serial);
    return (uint32_t)serial;
}

static struct state state_of(const struct spool_message *found)
{
    struct state s = { .present = found != NULL };

    if (!found)
        return s;
    s.held = found->flags & SPOOL_HELD;
    for (uint32_t i = 0; i < found->recipient_count; i++) {
        s.state[i] = found->recipients[i].state;
        s.serial[i] = found->recipients[i].attempts;
        s.sent[i] = sent_by(found, i);
    }
    return s;
}

static bool same(const struct state *a, const struct state *b)
{
    return a->present == b->present &&
           (!a->present ||
            (a->held == b->held && memcmp(a->state, b->state, sizeof a->state) == 0 &&
             memcmp(a->serial, b->serial, sizeof a->serial) == 0 &&
             memcmp(a->sent, b->sent, sizeof a->sent) == 0));
}

static const char *show(const struct state *s)
{
    static char text[4][200];
    static unsigned next;
    char *to = text[next++ % 4];

    if (!s->present)
        return "absent";
    snprintf(to, sizeof text[0], "%s, %u by %u, %u by %u, %u by %u, sent by %u %u %u",
             s->held ? "held" : "there", s->state[0], s->serial[0], s->state[1], s->serial[1],
             s->state[2], s->serial[2], s->sent[0], s->sent[1], s->sent[2]);
    return to;
}

/* It is about the message, and what became of it is not known yet. */
static bool speaks_of(const struct sim_op *op, const struct sim_message *m)
{
    return (op->message == m && !op->settled) || (op->bounce == m && !op->bounce_settled);
}

static bool concerns(const struct sim_op *op, const struct sim_message *m)
{
    return op->open && speaks_of(op, m);
}

/* The state after the last batch that could be neither written nor cut off. Earlier such batches
 * were cut off when the spool could write again, if only for a moment. */
static bool maybes_explain(const struct world *w, const struct sim_message *m,
                           const struct state *found)
{
    for (unsigned from = 0; from < w->op_count; from++) {
        struct state expected = m->known;

        if (!w->ops[from]->maybe || !speaks_of(w->ops[from], m))
            continue;
        for (unsigned i = from; i < w->op_count; i++)
            if (w->ops[i]->maybe && speaks_of(w->ops[i], m))
                state_apply(&expected, w->ops[i], m);
        if (same(found, &expected))
            return true;
    }
    return false;
}

static void note_fate(struct sim_op *op, const struct sim_message *m, int happened)
{
    if (op->bounce == m)
        op->bounce_happened = happened;
    else
        op->happened = happened;
}

/* The state found must be the one known, with the first so many of the open operations. Where two
 * numbers of them give one state, which it was cannot be told. */
void world_judge(struct world *w, struct sim_message *m)
{
    struct state found = state_of(m->found), expected = m->known;
    unsigned fits = same(&found, &expected), ambiguous = 0, at = 0, n = 0;

    for (unsigned i = 0; i < w->op_count; i++) {
        if (!concerns(w->ops[i], m))
            continue;
        n++;
        if (expected.present || w->ops[i]->bounce == m || w->ops[i]->op.kind == SPOOL_OP_MESSAGE)
            state_apply(&expected, w->ops[i], m);
        if (same(&found, &expected)) {
            ambiguous += fits;
            at = fits ? at : n;
            fits = 1;
        }
    }
    if (maybes_explain(w, m, &found)) {
        ambiguous += fits;
        at = fits ? at : 0;
        fits = 1;
    }
    /* The one exception (see on_damaged()) a start later: it was lost for want of its file, and the
     * removal of that file was itself lost with the power. */
    if (m->file_dropped && !m->known.present && found.present)
        fits = ambiguous = 1;
    if (!fits) {
        for (unsigned i = 0; i < w->op_count; i++)
            if (w->ops[i]->message == m || w->ops[i]->bounce == m)
                fprintf(stderr, "operation %u, kind %d: %s, %s\n", w->ops[i]->serial,
                        (int)w->ops[i]->op.kind, w->ops[i]->open ? "not answered" : "answered",
                        pt_err_text(w->ops[i]->op.result));
        world_fail(w, "message %" PRIu64 ": found (%s), known (%s), with %u open operations (%s)",
                   m->id, show(&found), show(&m->known), n, show(&expected));
    }
    n = 0;
    for (unsigned i = 0; i < w->op_count; i++)
        if (concerns(w->ops[i], m))
            note_fate(w->ops[i], m, ambiguous ? -1 : n++ < at);
    for (unsigned i = 0; i < w->op_count; i++) {
        w->ops[i]->settled |= w->ops[i]->message == m;
        w->ops[i]->bounce_settled |= w->ops[i]->bounce == m;
    }
    m->known = found;
    m->judged = true;
}

void world_judge_order(const struct world *w)
{
    unsigned era = 0;
    bool ended = false;

    for (unsigned i = 0; i < w->op_count; i++) {
        const struct sim_op *op = w->ops[i];

        if (!op->open || op->era == w->era)
            continue;
        ended = ended && op->era == era;
        era = op->era;
        if (op->bounce && op->happened >= 0 && op->bounce_happened >= 0 &&
            op->happened != op->bounce_happened)
            world_fail(w, "message %" PRIu64 ": the outcome %s, its bounce %s", op->message->id,
                       op->happened ? "is there" : "is not there",
                       op->bounce_happened ? "is" : "is not");
        if (op->happened == 1 && ended)
            world_fail(w, "message %" PRIu64 ": a later operation without an earlier one",
                       op->message->id);
        ended = ended || op->happened == 0;
    }
}
