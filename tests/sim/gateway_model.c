#include "gateway_model.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gateway_world.h"
#include "smtp/envelope.h"

/*
 * The model learns of operations where the relay and the clients hand them to the spool: the linker
 * puts __wrap_spool_submit() in between.
 */

void __real_spool_submit(struct spool *s, struct spool_op *first);
void __wrap_spool_submit(struct spool *s, struct spool_op *first);

static bool is_final(uint8_t state)
{
    return state == SPOOL_DELIVERED || state == SPOOL_FAILED;
}

static bool all_ended(const struct sim_mail *m)
{
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (!is_final(m->rcpts[i].end))
            return false;
    return true;
}

/* Promised, and not done with. */
static bool is_kept(const struct sim_mail *m)
{
    return m->accepted && !m->deleted && !all_ended(m);
}

/* What the sender has to hear of a recipient that ends like this (RFC 3461 5.2). */
static enum tell due_tell(const struct sim_mail *m, const struct sim_rcpt *r, uint8_t end)
{
    if (m->null_path)
        return TELL_NOTHING;
    if (end == SPOOL_FAILED && (r->notify == 0 || r->notify & SMTP_NOTIFY_FAILURE))
        return TELL_FAILED;
    if (end == SPOOL_DELIVERED && r->notify & SMTP_NOTIFY_SUCCESS && !r->next_hop_tells)
        return TELL_RELAYED;
    return TELL_NOTHING;
}

struct sim_mail *model_find(uint64_t id)
{
    for (unsigned i = world->model.count; i-- > 0;)
        if (world->model.mails[i]->id == id)
            return world->model.mails[i];
    return NULL;
}

/* ---- messages ---- */

static void copy_address(char out[48], struct str s)
{
    pt_assert(s.n < 48);
    memcpy(out, s.p, s.n);
    out[s.n] = 0;
}

struct sim_mail *model_add(struct spool_message *m, unsigned serial, char *content)
{
    struct sim_mail *mail = calloc(1, sizeof *mail);

    pt_assert(mail && world->model.count < MAILS_MAX && m->recipient_count <= RCPTS_MAX);
    /* A notice may have had its ID for some time. */
    if (model_find(m->id) || (m->id <= world->model.highest_id && !(m->flags & SPOOL_OWN)))
        world_fail("message ID %" PRIu64 " given twice", m->id);
    world->model.highest_id = PT_MAX(world->model.highest_id, m->id);
    mail->id = m->id;
    mail->serial = serial;
    mail->content = content;
    mail->size = m->size;
    mail->received_us = m->received_us;
    mail->null_path = !m->reverse_path.n;
    mail->has_8bit = m->flags & SPOOL_8BIT;
    mail->own = m->flags & SPOOL_OWN;
    copy_address(mail->reverse_path, m->reverse_path);
    mail->rcpt_count = m->recipient_count;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        struct sim_rcpt *r = &mail->rcpts[i];

        copy_address(r->address, m->recipients[i].address);
        r->notify = m->recipients[i].notify;
        r->domain = (unsigned)(strchr(r->address, '@')[2] - '0');
        r->may_again = true;
    }
    world->model.mails[world->model.count++] = mail;
    return mail;
}

static char *octets_of(const struct block_chain *c)
{
    char *octets = malloc(c->size + 1);

    pt_assert(octets);
    block_chain_copy(c, 0, octets, c->size);
    octets[c->size] = 0;
    return octets;
}

static bool names(const struct sim_mail *notice, const struct sim_rcpt *r)
{
    char field[96];

    snprintf(field, sizeof field, "\nFinal-Recipient: rfc822; %s\r\n", r->address);
    return strstr(notice->content, field) != NULL;
}

/* A notice says whom it is about; nobody else, and nobody twice. Whether it is time to tell of a
 * delay is the relay's to decide; to whom, and how often, is not. */
static void check_notice(struct flight *f)
{
    const char *at = f->notice->content;
    unsigned named = 0, due = 0;

    for (uint32_t i = 0; i < f->count; i++) {
        const struct sim_rcpt *r = &f->mail->rcpts[f->index[i]];
        bool named_here = names(f->notice, r);

        if (!is_final(f->state[i]) && named_here)
            f->tell[i] = TELL_DELAYED;
        if (named_here != (f->tell[i] != TELL_NOTHING))
            world_fail("a notice %s %s", named_here ? "names" : "does not name", r->address);
        if (f->tell[i] == TELL_DELAYED && r->notify && !(r->notify & SMTP_NOTIFY_DELAY))
            world_fail("a notice that %s waits, and nobody asked for it", r->address);
        due += named_here;
    }
    while ((at = strstr(at, "\nFinal-Recipient:"))) {
        named++;
        at++;
    }
    if (named != due || !due)
        world_fail("a notice about %u recipients names %u", due, named);
    if (f->mail->null_path)
        world_fail("a notice to nobody");
    if (strcmp(f->notice->rcpts[0].address, f->mail->reverse_path) != 0 || !f->notice->null_path)
        world_fail("a notice to %s, not to the sender", f->notice->rcpts[0].address);
}

/* ---- outcomes as they are decided ---- */

static bool may_fail(const struct sim_mail *m, const struct sim_rcpt *r)
{
    if (r->may_fail || m->bounce_asked)
        return true;
    if (m->null_path && world->model.null_mail_refused)
        return true;
    if (wall_us() - m->received_us >= world->retry.life_us || world->jumped)
        return true;
    for (unsigned i = 0; i < HOPS; i++) {
        const struct sim_hop *h = &world->hops[i];

        if ((m->has_8bit && h->lacks_8bit) || (h->smallest_size && m->size > h->smallest_size))
            return true;
    }
    return false;
}

/* Two loops may hand over what they decided about one recipient within one moment in either order;
 * a deferral behind its end is nothing to the spool. */
static void check_decision(struct sim_mail *m, struct sim_rcpt *r, const struct spool_outcome *o)
{
    if (!is_final(o->state) && is_final(r->decided))
        return;
    if (is_final(r->end))
        world_fail("%s has ended and gets another outcome", r->address);
    if (is_final(r->decided) && r->decided != o->state)
        world_fail("%s has two outcomes", r->address);
    if (o->state == SPOOL_DELIVERED && !r->confirmed)
        world_fail("%s counts as delivered, and no next hop said so", r->address);
    if (o->state == SPOOL_FAILED && r->confirmed)
        world_fail("%s is delivered and counts as failed", r->address);
    if (o->state == SPOOL_FAILED && !is_final(r->decided) && !may_fail(m, r))
        world_fail("%s failed without a reason: %.*s", r->address, (int)o->reply.n, o->reply.p);
    if (o->reply.n && memmem(o->reply.p, o->reply.n, "is damaged", 10))
        world_fail("%s is taken for damaged", r->address);
    if (is_final(o->state))
        r->decided = o->state;
    else if (r->confirmed && !disk_has_trouble()) /* else it may have been decided long ago */
        world_fail("%s is delivered and counts as deferred", r->address);
    if (o->state == SPOOL_IN_DOUBT)
        world->model.in_doubt++;
}

/* Was it submitted before, and could not be stored? Then it was decided earlier. */
static bool comes_again(const struct spool_op *op)
{
    struct model *m = &world->model;

    for (unsigned i = 0; i < m->unsaved_count; i++)
        if (m->unsaved[i] == op) {
            m->unsaved[i] = m->unsaved[--m->unsaved_count];
            return true;
        }
    return false;
}

static void note_outcomes(struct flight *f, const struct spool_op *op)
{
    bool due = false, again = comes_again(op);

    pt_assert(op->outcome_count <= FLIGHT_RCPTS);
    f->count = op->outcome_count;
    for (uint32_t i = 0; i < f->count; i++) {
        struct sim_rcpt *r = &f->mail->rcpts[op->outcomes[i].recipient];

        f->index[i] = op->outcomes[i].recipient;
        f->state[i] = op->outcomes[i].state;
        if (!again)
            check_decision(f->mail, r, &op->outcomes[i]);
        f->tell[i] = (uint8_t)due_tell(f->mail, r, f->state[i]);
        due = due || f->tell[i];
    }
    if (due && !op->bounce)
        world_fail("message %" PRIu64 ": a notice is due and not made", f->mail->id);
    if (!op->bounce)
        return;
    f->notice = model_find(op->bounce->id);
    if (!f->notice)
        f->notice = model_add(op->bounce, 0, octets_of(&op->bounce->content));
    f->notice->submitted = true;
    check_notice(f);
}

/* The number in "10.0.0.7:25"; 0: it is empty. */
static unsigned next_hop_number(struct str text)
{
    static const char head[] = "10.0.0.";
    uint64_t n = 0;

    if (text.n)
        pt_assert(
            text.n > sizeof head + 2 && memcmp(text.p, head, sizeof head - 1) == 0 &&
            str_to_u64((struct str){ text.p + sizeof head - 1, text.n - sizeof head - 2 }, &n));
    return (unsigned)n;
}

static void note_routes(struct flight *f, const struct spool_op *op)
{
    for (uint32_t i = 0; i < op->route_count; i++) {
        pt_assert(op->routes[i].recipient < f->mail->rcpt_count);
        f->routed |= 1u << op->routes[i].recipient;
        f->sent = next_hop_number(op->routes[i].next_hop);
    }
}

static void flight_done(struct spool_op *op);

static void note_submitted(struct spool_op *op)
{
    struct flight *f = calloc(1, sizeof *f);
    struct flight **end = &world->model.flights;

    pt_assert(f);
    f->op = op;
    f->kind = op->kind;
    f->done = op->done;
    f->mail = model_find(op->message->id);
    if (!f->mail)
        world_fail("an operation on a message that nobody sent");
    if (op->kind == SPOOL_OP_MESSAGE)
        f->mail->submitted = true;
    else if (op->kind == SPOOL_OP_OUTCOME)
        note_outcomes(f, op);
    else if (op->kind == SPOOL_OP_ROUTE)
        note_routes(f, op);
    op->done = flight_done;
    while (*end)
        end = &(*end)->next;
    *end = f;
}

void __wrap_spool_submit(struct spool *s, struct spool_op *first)
{
    if (s == world->spool && !world_is_dead())
        for (struct spool_op *op = first; op; op = op->next)
            if (op->kind != SPOOL_OP_COPY) /* the spool's own, when it cleans */
                note_submitted(op);
    __real_spool_submit(s, first);
    world->next_commit_us = PT_MIN(world->next_commit_us, mono_us() + 1000000);
}

/* ---- answers ---- */

static void accept_mail(struct sim_mail *m)
{
    if (m->refused)
        world_fail("message %" PRIu64 " was refused and is there", m->id);
    m->accepted = true;
    m->waits_from_us = mono_us();
    world->model.accepted += !m->own;
}

static void end_rcpt(struct sim_mail *m, struct sim_rcpt *r, uint8_t state)
{
    r->end = r->decided = state;
    world->model.delivered += state == SPOOL_DELIVERED;
    world->model.failed += state == SPOOL_FAILED;
    if (state == SPOOL_DELIVERED && !r->taken)
        world_fail("%s counts as delivered and no next hop has it", r->address);
}

static void count_notice(const struct flight *f)
{
    world->model.notices++;
    for (uint32_t i = 0; i < f->count; i++) {
        struct sim_rcpt *r = &f->mail->rcpts[f->index[i]];

        if (f->tell[i] && r->notices[f->tell[i]]++)
            world_fail("a second notice about %s", r->address);
    }
}

static void durable(struct flight *f)
{
    switch (f->kind) {
    case SPOOL_OP_MESSAGE:
        accept_mail(f->mail);
        break;
    case SPOOL_OP_OUTCOME:
        for (uint32_t i = 0; i < f->count; i++)
            if (is_final(f->state[i]))
                end_rcpt(f->mail, &f->mail->rcpts[f->index[i]], f->state[i]);
        if (f->notice) {
            accept_mail(f->notice);
            count_notice(f);
        }
        break;
    case SPOOL_OP_DELETE:
        if (!f->mail->delete_asked)
            world_fail("message %" PRIu64 " is deleted and nobody asked for it", f->mail->id);
        f->mail->deleted = true;
        break;
    case SPOOL_OP_HOLD:
    case SPOOL_OP_RELEASE:
        f->mail->held = f->kind == SPOOL_OP_HOLD;
        break;
    case SPOOL_OP_ROUTE:
        for (uint32_t i = 0; i < f->mail->rcpt_count; i++)
            if (f->routed & 1u << i)
                f->mail->rcpts[i].sent = f->sent;
        break;
    case SPOOL_OP_COPY:
        break;
    }
}

static bool may_be_gone(const struct flight *f)
{
    if (!is_kept(f->mail))
        return true;
    for (const struct flight *g = world->model.flights; g; g = g->next)
        if (g != f && g->mail == f->mail)
            return true;
    return false;
}

static void unlink_flight(struct flight *f)
{
    struct flight **at = &world->model.flights;

    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
}

/* The spool writes again: what it could not write has been cut off durably. */
static void settle_maybes(void)
{
    struct flight **at = &world->model.flights;

    while (*at) {
        struct flight *f = *at;

        if (!f->maybe) {
            at = &f->next;
            continue;
        }
        if (f->kind == SPOOL_OP_MESSAGE) {
            f->mail->refused = true;
            f->mail->maybe = false;
        }
        *at = f->next;
        free(f);
    }
}

static void refused(struct flight *f, enum pt_err result)
{
    struct spool_stats stats;

    if (result == PT_ERR_NOTFOUND) {
        if (f->kind == SPOOL_OP_MESSAGE || !may_be_gone(f))
            world_fail("message %" PRIu64 ": not found, but it is there", f->mail->id);
    } else if (!disk_has_trouble()) {
        world_fail("message %" PRIu64 ": operation %d refused without a reason: %s", f->mail->id,
                   (int)f->kind, pt_err_text(result));
    }
    if (f->kind == SPOOL_OP_OUTCOME && result != PT_ERR_NOTFOUND) {
        pt_assert(world->model.unsaved_count < UNSAVED_MAX);
        world->model.unsaved[world->model.unsaved_count++] = f->op;
    }
    spool_get_stats(world->spool, &stats);
    f->maybe = f->op->wrote && !stats.accepting;
    if (f->kind == SPOOL_OP_MESSAGE && !f->maybe)
        f->mail->refused = true;
    if (f->kind == SPOOL_OP_MESSAGE && f->maybe)
        f->mail->maybe = true;
}

static void check_durable(const struct flight *f);

static void flight_done(struct spool_op *op)
{
    struct flight *f = world->model.flights;
    void (*done)(struct spool_op * op);

    while (f->op != op || f->maybe)
        f = f->next;
    done = f->done;
    op->done = done;
    world_note(4000 + (uint64_t)op->result);
    if (world_is_dead()) { /* nobody hears it */
        f->op = NULL;
        done(op);
        return;
    }
    if (op->result == PT_ERR_OK) {
        durable(f);
        check_durable(f);
    } else {
        refused(f, op->result);
    }
    if (!f->maybe) {
        unlink_flight(f);
        free(f);
    } else {
        f->op = NULL;
    }
    done(op);
}

/* ---- durable at the moment of the answer ---- */

struct look {
    uint64_t id;
    bool there;
};

static void look_found(void *ctx, struct spool_message *const *messages, uint32_t count)
{
    struct look *look = ctx;

    for (uint32_t i = 0; i < count; i++)
        look->there = look->there || messages[i]->id == look->id;
}

static void look_damaged(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    (void)ctx;
    (void)id;
    (void)fault;
}

/* Would it be there if the power failed now, and all that is not synced with it? */
static void check_durable(const struct flight *f)
{
    struct sim_disk *kept;
    struct spool_config config = world->spool_config;
    struct spool *spool;
    struct pt_fault fault;
    struct look look = { .id = f->notice ? f->notice->id : f->mail->id };

    if ((f->kind != SPOOL_OP_MESSAGE && !f->notice) || !one_in(6))
        return;
    world->model.durable_checks++;
    kept = sim_disk_kept(world->disk);
    config.disk = sim_disk_face(kept);
    config.read_only = true;
    config.committed = NULL;
    config.recovered = look_found;
    config.damaged = look_damaged;
    config.ctx = &look;
    if (spool_open(&spool, &config, &fault) != PT_ERR_OK)
        world_fail("at the moment of the answer the disk cannot be read: %s", fault.text);
    spool_close(spool);
    sim_disk_free(kept);
    if (!look.there)
        world_fail("message %" PRIu64 " is answered and not durable", look.id);
}

/* ---- start ---- */

void model_found(struct spool_message *m)
{
    struct sim_mail *mail = model_find(m->id);

    if (!mail)
        world_fail("message %" PRIu64 " was never submitted", m->id);
    if (mail->found)
        world_fail("message %" PRIu64 " is found twice", m->id);
    mail->found = spool_message_ref(m);
}

/* A large message that was answered with an error by a spool that could not write may have found
 * its way to the disk, and its file was dropped. Nothing else is ever damaged here. */
void model_damaged(uint64_t id, const struct pt_fault *fault)
{
    struct sim_mail *m = model_find(id);

    if (!m || m->accepted || !m->submitted)
        world_fail("taken for bit-rot: %s", fault->text);
}

void model_forget_found(void)
{
    for (unsigned i = 0; i < world->model.count; i++) {
        spool_message_unref(world->model.mails[i]->found);
        world->model.mails[i]->found = NULL;
    }
}

/* What an operation that was not answered would have made of the recipient; QUEUED: nothing. */
static uint8_t possible_end(const struct sim_mail *m, uint32_t rcpt)
{
    for (const struct flight *f = world->model.flights; f; f = f->next)
        for (uint32_t i = 0; f->mail == m && i < f->count; i++)
            if (f->index[i] == rcpt && is_final(f->state[i]))
                return f->state[i];
    return SPOOL_QUEUED;
}

static bool in_flight(const struct sim_mail *m, enum spool_op_kind kind)
{
    for (const struct flight *f = world->model.flights; f; f = f->next)
        if ((f->mail == m && f->kind == kind) || (kind == SPOOL_OP_MESSAGE && f->notice == m))
            return true;
    return false;
}

static void judge_absent(struct sim_mail *m)
{
    bool deleting = in_flight(m, SPOOL_OP_DELETE);

    if (!is_kept(m)) {
        if (m->submitted && !m->accepted)
            m->refused = true;
        return;
    }
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct sim_rcpt *r = &m->rcpts[i];
        uint8_t end = possible_end(m, i);

        if (is_final(r->end) || deleting)
            continue;
        if (!is_final(end))
            world_fail("message %" PRIu64 " is lost: %s has not ended", m->id, r->address);
        end_rcpt(m, r, end);
    }
    m->deleted = m->deleted || !all_ended(m);
}

static void judge_rcpt(struct sim_mail *m, uint32_t i)
{
    struct sim_rcpt *r = &m->rcpts[i];
    uint8_t state = m->found->recipients[i].state;

    if (is_final(r->end) && state != r->end)
        world_fail("%s has ended (%u) and is found as %u", r->address, r->end, state);
    if (!is_final(r->end) && is_final(state)) {
        if (possible_end(m, i) != state)
            world_fail("%s is found with an outcome that nobody decided", r->address);
        end_rcpt(m, r, state);
    }
}

/* Where it was sent it still is, unless that is just being changed. */
static void judge_routes(struct sim_mail *m)
{
    bool changing = in_flight(m, SPOOL_OP_ROUTE);

    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct str text = m->found->next_hops ? m->found->next_hops[i] : STR_NULL;
        unsigned sent = next_hop_number(text);

        if (sent != m->rcpts[i].sent && !changing)
            world_fail("%s was sent to next hop %u and is found as sent to %u", m->rcpts[i].address,
                       m->rcpts[i].sent, sent);
        m->rcpts[i].sent = sent;
    }
}

static void judge_found(struct sim_mail *m)
{
    const struct spool_message *found = m->found;

    if (!m->accepted && !in_flight(m, SPOOL_OP_MESSAGE))
        world_fail("message %" PRIu64 " was refused and is found", m->id);
    if (m->deleted || (m->accepted && all_ended(m)))
        world_fail("message %" PRIu64 " is done with and is found", m->id);
    if (found->size != m->size || found->recipient_count != m->rcpt_count ||
        !str_eq(found->reverse_path, str_of(m->reverse_path)))
        world_fail("message %" PRIu64 " is found with another envelope", m->id);
    if (!m->accepted)
        accept_mail(m);
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        if (!str_eq(found->recipients[i].address, str_of(m->rcpts[i].address)) ||
            found->recipients[i].notify != m->rcpts[i].notify)
            world_fail("%s is found as another recipient", m->rcpts[i].address);
        judge_rcpt(m, i);
    }
    judge_routes(m);
    if (((found->flags & SPOOL_HELD) != 0) != m->held && !in_flight(m, SPOOL_OP_HOLD) &&
        !in_flight(m, SPOOL_OP_RELEASE))
        world_fail("message %" PRIu64 " is%s held, and was%s", m->id, m->held ? " not" : "",
                   m->held ? "" : " not");
    m->held = found->flags & SPOOL_HELD;
}

/* An outcome and its notice are one. */
static void judge_notice(const struct flight *f)
{
    bool happened = true;

    if (!f->notice || (!f->mail->found && in_flight(f->mail, SPOOL_OP_DELETE)))
        return;
    for (uint32_t i = 0; i < f->count && f->mail->found; i++) {
        const struct spool_recipient *r = &f->mail->found->recipients[f->index[i]];

        if (is_final(f->state[i]))
            happened = r->state == f->state[i];
        else if (f->tell[i])
            happened = r->delay_told;
    }
    if (happened != (f->notice->found != NULL))
        world_fail("message %" PRIu64 ": the outcome is%s there, its notice is%s", f->mail->id,
                   happened ? "" : " not", f->notice->found ? "" : " not");
}

static void forget_flights(void)
{
    while (world->model.flights) {
        struct flight *f = world->model.flights;

        world->model.flights = f->next;
        free(f);
    }
}

/* What comes now may repeat what was not durable when the process ended. */
static void begin_again(struct sim_mail *m)
{
    m->waits_from_us = mono_us();
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct sim_rcpt *r = &m->rcpts[i];

        if (is_final(r->end))
            continue;
        r->decided = SPOOL_QUEUED;
        r->confirmed = false;
        r->may_again = true;
        r->lost_us = 0;
    }
}

void model_judge(void)
{
    struct model *model = &world->model;

    model->unsaved_count = 0;
    for (struct flight *f = model->flights; f; f = f->next)
        judge_notice(f);
    for (struct flight *f = model->flights; f; f = f->next)
        if (f->notice && f->notice->found)
            count_notice(f);
    for (unsigned i = 0; i < model->count; i++) {
        if (model->mails[i]->found)
            judge_found(model->mails[i]);
        else
            judge_absent(model->mails[i]);
    }
    forget_flights();
    for (unsigned i = 0; i < model->count; i++)
        begin_again(model->mails[i]);
    model_forget_found();
}

void model_check_orderly(void)
{
    if (world->model.flights)
        world_fail("an operation on message %" PRIu64 " was never answered",
                   world->model.flights->mail->id);
    for (unsigned i = 0; i < world->model.count; i++) {
        const struct sim_mail *m = world->model.mails[i];

        for (uint32_t k = 0; is_kept(m) && k < m->rcpt_count; k++)
            if (m->rcpts[k].confirmed && !is_final(m->rcpts[k].end))
                world_fail("%s is delivered, and the spool never heard of it", m->rcpts[k].address);
    }
}

/* ---- next hops ---- */

static struct sim_rcpt *rcpt_of(struct sim_mail *m, const char *address)
{
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (strcmp(m->rcpts[i].address, address) == 0)
            return &m->rcpts[i];
    return NULL;
}

/* By what it holds: nothing else of it is the client's own. */
static struct sim_mail *mail_of(const char *content, size_t n)
{
    for (unsigned i = 0; i < world->model.count; i++) {
        struct sim_mail *m = world->model.mails[i];

        if (m->size == n && memcmp(m->content, content, n) == 0)
            return m;
    }
    world_fail("a next hop has %zu octets that nobody sent: %.60s", n, n ? content : "");
}

/* The last attempt comes before the end of a message's life, whatever else is planned. */
static bool near_its_end(const struct sim_mail *m, const struct sim_rcpt *r)
{
    return r->lost_us + world->wall_offset_us + world->retry.in_doubt_us >=
           m->received_us + world->retry.life_us;
}

static void take_one(struct sim_mail *m, struct sim_rcpt *r)
{
    if (is_final(r->end))
        world_fail("%s has ended and is delivered", r->address);
    if (!r->may_again)
        world_fail("%s is delivered again, outside the documented window", r->address);
    if (r->lost_us && !world->jumped && !m->touched && !near_its_end(m, r) &&
        mono_us() - r->lost_us < world->retry.in_doubt_us)
        world_fail("%s is in doubt and delivered again at once", r->address);
    r->taken++;
    r->confirmed = r->may_again = false;
    world->model.taken++;
}

void model_taken(unsigned hop, const char *from, char (*to)[48], unsigned count,
                 const char *content, size_t n, struct sim_rcpt **out)
{
    struct sim_mail *m = mail_of(content, n);

    if (strcmp(from, m->reverse_path) != 0)
        world_fail("message %" PRIu64 " comes from %s", m->id, from);
    if (!m->accepted)
        world_fail("message %" PRIu64 " was not accepted and is delivered", m->id);
    for (unsigned i = 0; i < count; i++) {
        out[i] = rcpt_of(m, to[i]);
        if (!out[i])
            world_fail("message %" PRIu64 " is delivered to %s", m->id, to[i]);
        take_one(m, out[i]);
    }
    (void)hop;
}

void model_confirmed(struct sim_rcpt *r, bool next_hop_tells)
{
    r->confirmed = true;
    r->next_hop_tells = next_hop_tells;
    r->lost_us = 0;
}

void model_lost(struct sim_rcpt *r, int64_t since_us)
{
    r->may_again = true;
    r->lost_us = since_us;
}

void model_refused(const char *address)
{
    for (unsigned i = 0; i < world->model.count; i++) {
        struct sim_rcpt *r = rcpt_of(world->model.mails[i], address);

        if (r)
            r->may_fail = true;
    }
}

void model_mail_refused(const char *reverse_path)
{
    for (unsigned i = 0; i < world->model.count; i++) {
        struct sim_mail *m = world->model.mails[i];

        if (reverse_path[0] && strcmp(m->reverse_path, reverse_path) == 0)
            for (uint32_t k = 0; k < m->rcpt_count; k++)
                m->rcpts[k].may_fail = true;
    }
    if (!reverse_path[0])
        world->model.null_mail_refused = true;
}

/* ---- always ---- */

/* A next hop that never does anything wrong has its mail soon, whatever others do. */
static void check_punctual(const struct sim_mail *m)
{
    enum { SOON_US = 60 * 1000000 };

    if (m->touched || m->held || world->rerouted || world->jumped || disk_has_trouble() ||
        mono_us() - m->waits_from_us < SOON_US)
        return;
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (!is_final(m->rcpts[i].end) && !is_final(m->rcpts[i].decided) && !m->rcpts[i].taken &&
            domain_is_saintly(m->rcpts[i].domain))
            world_fail("%s waits, and its next hop does nothing wrong", m->rcpts[i].address);
}

void model_check(void)
{
    struct relay_stats relay;
    struct spool_stats spool;
    unsigned kept = 0, deleted = 0;

    if (!world->spool || world_is_dead())
        return;
    spool_get_stats(world->spool, &spool);
    if (spool.accepting)
        settle_maybes();
    relay_get_stats(world->relay, &relay);
    for (unsigned i = 0; i < world->model.count; i++) {
        deleted += world->model.mails[i]->deleted;
        if (!is_kept(world->model.mails[i]))
            continue;
        kept++;
        check_punctual(world->model.mails[i]);
    }
    if (world->model.flights || relay.unsaved)
        return;
    if (spool.messages != kept)
        world_fail("the spool keeps %" PRIu64 " messages, not %u", spool.messages, kept);
    if (relay.messages > kept + deleted) /* what is deleted in delivery stays until that ends */
        world_fail("%" PRIu64 " messages are queued, not %u", relay.messages, kept);
}

bool model_drained(void)
{
    for (unsigned i = 0; i < world->model.count; i++)
        if (is_kept(world->model.mails[i]))
            return false;
    return !world->model.flights;
}

void model_check_end(void)
{
    for (unsigned i = 0; i < world->model.count; i++) {
        struct sim_mail *m = world->model.mails[i];

        if (!m->accepted || m->deleted)
            continue;
        for (uint32_t k = 0; k < m->rcpt_count; k++) {
            const struct sim_rcpt *r = &m->rcpts[k];
            enum tell due = due_tell(m, r, r->end);

            if (!is_final(r->end))
                world_fail("%s has not ended", r->address);
            if (r->notices[TELL_FAILED] != (due == TELL_FAILED) ||
                r->notices[TELL_RELAYED] != (due == TELL_RELAYED))
                world_fail("%s: %u notices that it failed, %u that it is relayed", r->address,
                           r->notices[TELL_FAILED], r->notices[TELL_RELAYED]);
        }
    }
}

void model_free(void)
{
    model_forget_found();
    forget_flights();
    for (unsigned i = 0; i < world->model.count; i++) {
        free(world->model.mails[i]->content);
        free(world->model.mails[i]);
    }
    world->model.count = 0;
}
