#include "spool/file.h"
#include "spool/internal.h"

/*
 * What becomes of a batch's operations: true once it is durable, or as if they had never been.
 */

static void apply_outcomes(struct spool_message *m, const struct spool_op *op)
{
    struct spool_states *states = m->place.states;

    for (uint32_t i = 0; i < op->outcome_count; i++) {
        const struct spool_outcome *o = &op->outcomes[i];
        struct format_state *was = &states->of[o->recipient];

        was->settling = false;
        if (spool_state_is_final(was->state)) /* and stays it */
            continue;
        if (spool_state_is_final(o->state))
            m->place.left--;
        PT_IGNORE(!spool_states_set(states, o), "only a copy's reply text would be lost");
    }
    m->place.settling = 0;
}

static void apply_end(struct spool *s, struct spool_message *m)
{
    space_remove(s, m);
    m->place.life = LIFE_GONE;
    if (m->file)
        spool_file_remove(m->file);
    s->stats.messages--;
    spool_message_unref(m);
}

static void apply_copy(struct spool *s, struct spool_copy *c)
{
    struct spool_message *m = c->op.message;

    if (m->place.life != LIFE_KEPT) /* ended in the same batch: the DONE refers to the old one */
        return;
    space_remove(s, m);
    m->place.segment = c->place.segment;
    m->place.offset = c->place.offset;
    m->place.meta = c->place.meta;
    m->place.content = c->place.content;
    m->place.content_crc = c->place.content_crc;
    m->place.generation++;
    space_add(s, m);
}

static void apply_message(struct spool *s, struct spool_message *m)
{
    m->place.life = LIFE_KEPT;
    if (m->file)
        m->file->adopted = true;
    spool_message_ref(m);
    space_add(s, m);
    s->stats.messages++;
}

static void apply_op(struct spool *s, struct spool_op *op)
{
    struct spool_message *m = op->message;

    op->result = PT_ERR_OK;
    if (op->wrote == WROTE_DONE) {
        apply_end(s, m);
        return;
    }
    switch (op->kind) {
    case SPOOL_OP_OUTCOME:
        if (m->place.life == LIFE_KEPT)
            apply_outcomes(m, op);
        break;
    case SPOOL_OP_HOLD:
        m->place.flags |= SPOOL_HELD;
        break;
    case SPOOL_OP_RELEASE:
        m->place.flags &= ~(uint32_t)SPOOL_HELD;
        break;
    case SPOOL_OP_ROUTE:
        for (uint32_t i = 0; i < op->route_count && m->place.life == LIFE_KEPT; i++)
            spool_states_route(m->place.states, &op->routes[i]);
        break;
    case SPOOL_OP_COPY:
        apply_copy(s, PT_CONTAINER_OF(op, struct spool_copy, op));
        break;
    case SPOOL_OP_MESSAGE:
    case SPOOL_OP_DELETE:
        break;
    }
}

void batch_apply(struct spool *s)
{
    struct spool_batch *b = &s->batch;

    b->segment->end = b->at;
    for (uint32_t i = 0; i < b->message_count; i++)
        apply_message(s, b->messages[i]);
    for (struct spool_op *op = b->first; op; op = op->next)
        apply_op(s, op);
}

static void undo_op(struct spool_op *op, enum pt_err err)
{
    struct spool_message *m = op->message;

    op->result = err;
    m->place.settling = 0;
    if (m->place.life == LIFE_LEAVING)
        m->place.life = LIFE_KEPT;
    if (op->kind == SPOOL_OP_OUTCOME && m->place.states)
        for (uint32_t i = 0; i < op->outcome_count; i++)
            m->place.states->of[op->outcomes[i].recipient].settling = false;
}

void batch_undo(struct spool *s)
{
    struct spool_batch *b = &s->batch;
    enum pt_err err = pt_err_from_errno(-b->error);

    b->segment->end = b->start;
    b->segment->cut = true;
    if (!b->segment->entries.failed)
        b->segment->entries.n = b->entries_before;
    for (uint32_t i = 0; i < b->message_count; i++)
        b->messages[i]->place = (struct spool_place){ .life = LIFE_NEW };
    for (struct spool_op *op = b->first; op; op = op->next)
        undo_op(op, err);
}
