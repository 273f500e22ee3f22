#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/spool/spool_kit.h"
#include "spool_world.h"

/*
 * The spool on a simulated disk, crashed again and again: spool_sim [--seed N] [--points N]
 *
 * A world is one disk with its own seed. Random operations run on it until the machine stops at a
 * random disk call (in some worlds calls fail as well, or the disk is full). What was not synced is
 * lost at random, the spool is opened again, perhaps crashes in that too, and then everything it
 * says is compared with what it had answered:
 *
 *   - every message whose operation was done with OK is there, whole, with its outcomes;
 *   - nothing is there that was refused, deleted, done with or never submitted;
 *   - of the operations not answered before the crash, a part submitted first has happened and the
 *     rest has not; an outcome and its bounce share one fate;
 *   - message IDs only rise; nothing is taken for bit-rot.
 *
 * The first thing wrong ends the program, with the command that repeats it.
 */

static struct world *current;

void world_fail(const struct world *w, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "spool_sim: ");
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr,
            "\nat point %u of its world; to repeat: spool_sim --seed %" PRIu64 " --points %u\n",
            w->points, w->seed, POINTS_PER_WORLD);
    abort();
}

static uint64_t below(struct world *w, uint64_t n)
{
    return rng_below(&w->rng, n);
}

static bool one_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

/* ---- answers ---- */

static void release(struct sim_message *m)
{
    spool_message_unref(m->object);
    m->object = NULL;
}

static void answered_well(struct sim_op *op)
{
    struct sim_message *m = op->message;

    state_apply(&m->known, op, m);
    if (!m->known.present) {
        m->finished = true;
        release(m);
    }
    if (op->bounce)
        state_apply(&op->bounce->known, op, op->bounce);
}

/* An operation submitted before is under way that may end the message. */
static bool may_be_ending(const struct world *w, const struct sim_op *op)
{
    for (unsigned i = 0; i < w->op_count && w->ops[i] != op; i++)
        if (w->ops[i]->open && w->ops[i]->era == op->era && w->ops[i]->message == op->message)
            return true;
    return false;
}

static void answered_badly(struct world *w, struct sim_op *op)
{
    struct sim_message *created = op->op.kind == SPOOL_OP_MESSAGE ? op->message : op->bounce;
    struct spool_stats stats;

    if (!w->faults && op->op.result != PT_ERR_NOTFOUND)
        world_fail(w, "message %" PRIu64 ": operation %d refused without a reason: %s",
                   op->message->id, (int)op->op.kind, pt_err_text(op->op.result));
    if (op->op.result == PT_ERR_NOTFOUND && op->message->known.present && !may_be_ending(w, op))
        world_fail(w, "message %" PRIu64 ": not found, but it is there", op->message->id);
    spool_get_stats(w->spool, &stats);
    op->maybe = op->op.wrote && !stats.accepting;
    if (created && !op->maybe) {
        created->finished = true;
        release(created);
    }
}

static void on_done(struct spool_op *o)
{
    struct sim_op *op = PT_CONTAINER_OF(o, struct sim_op, op);
    struct world *w = current;

    if (!sim_disk_crashed(w->disk)) { /* else nobody is there to hear it */
        op->open = false;
        if (op->op.result == PT_ERR_OK)
            answered_well(op);
        else
            answered_badly(w, op);
    }
    spool_message_unref(op->op.message);
    spool_message_unref(op->op.bounce);
}

/* The spool writes again: what it could not write has been cut off durably. */
static void settle_maybes(struct world *w)
{
    struct spool_stats stats;

    spool_get_stats(w->spool, &stats);
    if (!stats.accepting || sim_disk_crashed(w->disk))
        return;
    for (unsigned i = 0; i < w->op_count; i++) {
        struct sim_op *op = w->ops[i];
        struct sim_message *created = op->op.kind == SPOOL_OP_MESSAGE ? op->message : op->bounce;

        if (op->era != w->era) /* what became of it is being found out */
            continue;
        if (op->maybe && created) {
            created->finished = true;
            release(created);
        }
        op->maybe = false;
    }
}

static void turn(struct world *w)
{
    w->now_us += (int64_t)below(w, 400000);
    while (spool_turn(w->spool, w->now_us))
        settle_maybes(w);
}

/* ---- operations ---- */

static struct sim_message *add_message(struct world *w, struct spool_message *object)
{
    struct sim_message *m = calloc(1, sizeof *m);

    pt_assert(m && w->message_count < MESSAGES_MAX);
    if (object->id <= w->highest_id)
        world_fail(w, "message ID %" PRIu64 " given twice", object->id);
    w->highest_id = object->id;
    m->id = object->id;
    m->size = object->size;
    m->recipients = object->recipient_count;
    m->object = object;
    w->messages[w->message_count++] = m;
    return m;
}

static struct sim_message *new_message(struct world *w)
{
    uint32_t recipients = 1 + (uint32_t)(one_in(w, 3) ? below(w, RECIPIENTS_MAX) : 0);
    struct spool_message *object;

    if (one_in(w, 20))
        object = kit_large(w->spool, below(w, 4) * 65536 + below(w, 3));
    else
        object =
            kit_message(w->spool, one_in(w, 15) ? below(w, 30000) : below(w, 5000), recipients);
    return object ? add_message(w, object) : NULL;
}

static struct sim_message *some_living(struct world *w)
{
    unsigned n = w->message_count, from;

    if (n == 0)
        return NULL;
    from = (unsigned)below(w, n);
    for (unsigned i = 0; i < n; i++) {
        struct sim_message *m = w->messages[(from + i) % n];

        if (m->known.present && m->object)
            return m;
    }
    return NULL;
}

static unsigned living(const struct world *w)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->message_count; i++)
        n += !w->messages[i]->finished;
    return n;
}

static struct sim_op *new_op(struct world *w, enum spool_op_kind kind, struct sim_message *m)
{
    struct sim_op *op = calloc(1, sizeof *op);

    pt_assert(op && w->op_count < OPS_MAX);
    op->op.kind = kind;
    op->op.message = spool_message_ref(m->object);
    op->op.done = on_done;
    op->op.lazy = one_in(w, 3);
    op->message = m;
    op->serial = ++w->serial;
    op->era = w->era;
    op->open = true;
    w->ops[w->op_count++] = op;
    return op;
}

static void submit_outcome(struct world *w, struct sim_message *m)
{
    struct sim_op *op = new_op(w, SPOOL_OP_OUTCOME, m);
    uint32_t first = (uint32_t)below(w, m->recipients);
    uint32_t count = 1 + (uint32_t)below(w, m->recipients - first);

    for (uint32_t i = 0; i < count; i++)
        op->outcomes[i] = (struct spool_outcome){
            .recipient = first + i,
            .state = (uint8_t)below(w, 4),
            .code = 450,
            .attempts = op->serial,
            .next_attempt_us = w->now_us,
            .reply = one_in(w, 2) ? STR("4.0.0 not now") : STR_NULL,
        };
    op->op.outcomes = op->outcomes;
    op->op.outcome_count = count;
    if (one_in(w, 4))
        op->bounce = new_message(w);
    if (op->bounce)
        op->op.bounce = spool_message_ref(op->bounce->object);
    spool_submit(w->spool, &op->op);
}

/* Elsewhere, or back. */
static void submit_route(struct world *w, struct sim_message *m)
{
    struct sim_op *op = new_op(w, SPOOL_OP_ROUTE, m);
    uint32_t first = (uint32_t)below(w, m->recipients);
    uint32_t count = 1 + (uint32_t)below(w, m->recipients - first);

    if (!one_in(w, 3))
        snprintf(op->next_hop, sizeof op->next_hop, "h%u.example:25", (unsigned)op->serial);
    for (uint32_t i = 0; i < count; i++)
        op->routes[i] = (struct spool_route){ first + i, str_of(op->next_hop) };
    op->op.routes = op->routes;
    op->op.route_count = count;
    spool_submit(w->spool, &op->op);
}

static void submit(struct world *w)
{
    struct sim_message *m = some_living(w);
    uint64_t what = below(w, 100);

    if (!m || (what < 50 && living(w) < LIVING_MAX)) {
        m = new_message(w);
        if (m)
            spool_submit(w->spool, &new_op(w, SPOOL_OP_MESSAGE, m)->op);
    } else if (what < 77) {
        submit_outcome(w, m);
    } else if (what < 85) {
        submit_route(w, m);
    } else if (what < 90) {
        spool_submit(w->spool, &new_op(w, SPOOL_OP_DELETE, m)->op);
    } else if (what < 95) {
        spool_submit(w->spool, &new_op(w, one_in(w, 2) ? SPOOL_OP_HOLD : SPOOL_OP_RELEASE, m)->op);
    } else if (kit_check(w->spool, m->object) != PT_ERR_OK && !sim_disk_crashed(w->disk) &&
               m->known.present) {
        world_fail(w, "message %" PRIu64 " cannot be read back", m->id);
    }
}

/* ---- after a crash ---- */

static struct sim_message *find(struct world *w, uint64_t id)
{
    for (unsigned i = 0; i < w->message_count; i++)
        if (w->messages[i]->id == id)
            return w->messages[i];
    world_fail(w, "message %" PRIu64 " was never submitted", id);
    return NULL;
}

static void adopt(struct world *w, struct sim_message *m)
{
    m->object = m->found;
    m->found = NULL;
    if (!m->object) {
        m->finished = true;
        return;
    }
    m->finished = false;
    if (m->object->size != m->size || m->object->recipient_count != m->recipients)
        world_fail(w, "message %" PRIu64 " has another envelope", m->id);
    if (kit_check(w->spool, m->object) != PT_ERR_OK)
        world_fail(w, "message %" PRIu64 " is not whole", m->id);
}

/* Each is compared as it comes; from then on the world goes on with it while others load. */
static void on_recovered(void *ctx, struct spool_message *const *objects, uint32_t count)
{
    struct world *w = ctx;

    if (sim_disk_crashed(w->disk)) /* nobody is there to hear it */
        return;
    for (uint32_t i = 0; i < count; i++) {
        struct sim_message *m = find(w, objects[i]->id);

        if (!m->before || m->judged)
            world_fail(w, "message %" PRIu64 " found twice", m->id);
        m->found = spool_message_ref(objects[i]);
        world_judge(w, m);
        adopt(w, m);
    }
}

static bool answered_maybe(const struct world *w, const struct sim_message *m)
{
    for (unsigned i = 0; i < w->op_count; i++)
        if (w->ops[i]->maybe && (w->ops[i]->message == m || w->ops[i]->bounce == m))
            return true;
    return false;
}

/* The one damage there may be: a message answered with an error by a spool that could not write
 * found its way to the disk, and its file was dropped. It is told until the segment is freed. */
static void on_damaged(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    const struct world *w = ctx;

    if (sim_disk_crashed(w->disk))
        return;
    for (unsigned i = 0; i < w->message_count; i++) {
        struct sim_message *m = w->messages[i];

        if (m->id != id)
            continue;
        m->file_dropped = m->file_dropped || answered_maybe(w, m);
        if (m->file_dropped)
            return;
    }
    world_fail(w, "taken for bit-rot: %s", fault->text);
}

/* Those that came before the last start. */
static void forget_ops(struct world *w)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < w->op_count; i++) {
        if (w->ops[i]->era == w->era)
            w->ops[kept++] = w->ops[i];
        else
            free(w->ops[i]);
    }
    w->op_count = kept;
}

static void forget_finished(struct world *w)
{
    unsigned kept = 0;

    for (unsigned i = 0; i < w->message_count; i++) {
        /* Some of the finished are remembered, so that a ghost is known for what it is. */
        if (w->messages[i]->finished && i + 2000 < w->message_count)
            free(w->messages[i]);
        else
            w->messages[kept++] = w->messages[i];
    }
    w->message_count = kept;
}

/* All are loaded: what was not found is not there. */
static void verify(struct world *w)
{
    sim_disk_crash_in(w->disk, 0);
    for (unsigned i = 0; i < w->message_count; i++) {
        struct sim_message *m = w->messages[i];

        if (!m->before || m->judged)
            continue;
        world_judge(w, m);
        adopt(w, m);
    }
    world_judge_order(w);
    forget_ops(w);
    forget_finished(w);
}

static void let_go(struct world *w)
{
    for (unsigned i = 0; i < w->message_count; i++) {
        spool_message_unref(w->messages[i]->found);
        w->messages[i]->found = NULL;
        release(w->messages[i]);
    }
}

/* ---- rounds ---- */

static bool is_loading(const struct world *w)
{
    struct spool_stats stats;

    spool_get_stats(w->spool, &stats);
    return stats.loading;
}

static void stop(struct world *w, bool orderly)
{
    if (!orderly)
        sim_disk_stop(w->disk);
    w->now_us += 5000000; /* lazy ones too are answered before their messages are let go */
    if (!is_loading(w))   /* else it is left in the middle of it */
        turn(w);
    let_go(w);
    spool_close(w->spool);
    let_go(w); /* a last piece was loaded */
    w->spool = NULL;
    w->points++;
    sim_disk_restart(w->disk, !one_in(w, 4));
}

static void begin_era(struct world *w)
{
    w->era++;
    for (unsigned i = 0; i < w->message_count; i++) {
        w->messages[i]->before = true;
        w->messages[i]->judged = false;
    }
}

/* Mail goes on while what was there is loaded. False: that was interrupted, and the spool is
 * closed.
 */
static bool load(struct world *w)
{
    bool busy = one_in(w, 2);

    while (is_loading(w) && !sim_disk_crashed(w->disk)) {
        if (busy && one_in(w, 2))
            submit(w);
        w->now_us += (int64_t)below(w, 400000);
        PT_IGNORE(spool_turn(w->spool, w->now_us), "there is time");
        settle_maybes(w);
        if (busy && one_in(w, 30) && is_loading(w)) {
            stop(w, true);
            return false;
        }
    }
    if (!sim_disk_crashed(w->disk))
        return true;
    stop(w, false);
    return false;
}

/* Opens, however often that crashes too. */
static void open_again(struct world *w)
{
    struct pt_fault fault;

    for (unsigned tries = 0;; tries++) {
        if (one_in(w, 3) && tries < 3)
            sim_disk_crash_in(w->disk, 1 + below(w, 60));
        if (w->faults && one_in(w, 2) && tries < 3)
            sim_disk_fail_one_in(w->disk, 2 + below(w, 20));
        /* The clock may have been set back. */
        w->config.now_us = one_in(w, 4) ? 1 + (int64_t)below(w, 1000000) : w->now_us + 1;
        if (spool_open(&w->spool, &w->config, &fault) == PT_ERR_OK)
            break;
        let_go(w);
        if (sim_disk_crashed(w->disk)) {
            w->points++;
            sim_disk_restart(w->disk, !one_in(w, 4));
        } else if (!w->faults) {
            world_fail(w, "cannot be opened: %s", fault.text);
        } else if (tries > 3) {
            world_fail(w, "cannot be opened although the disk works: %s", fault.text);
        } else {
            sim_disk_restart(w->disk, false);
        }
        sim_disk_fail_one_in(w->disk, 0);
    }
    sim_disk_fail_one_in(w->disk, 0);
    begin_era(w);
    if (one_in(w, 3) && !sim_disk_crashed(w->disk))
        sim_disk_crash_in(w->disk, 1 + below(w, 40));
    if (load(w))
        verify(w);
    else
        open_again(w);
}

static void disturb(struct world *w)
{
    if (!w->faults)
        return;
    if (one_in(w, 2))
        sim_disk_fail_one_in(w->disk, 2 + below(w, 40));
    else
        sim_disk_fail_in(w->disk, 1 + below(w, 60), 1 + below(w, 30));
}

/* Once the disk works again, so does the spool, by itself. */
static void expect_mended(struct world *w)
{
    struct spool_stats stats;

    sim_disk_fail_one_in(w->disk, 0);
    sim_disk_fail_in(w->disk, 0, 0);
    for (int i = 0; i < 4; i++) {
        w->now_us += 2000000;
        turn(w);
    }
    spool_get_stats(w->spool, &stats);
    if (!sim_disk_crashed(w->disk) && !stats.accepting)
        world_fail(w, "not accepting although the disk works: %s", stats.fault.text);
}

static void run_round(struct world *w)
{
    uint64_t operations = 1 + below(w, 120);

    sim_disk_crash_in(w->disk, one_in(w, 5) ? 0 : 1 + below(w, 200));
    disturb(w);
    for (uint64_t i = 0; i < operations && !sim_disk_crashed(w->disk); i++) {
        submit(w);
        if (one_in(w, 4))
            turn(w);
    }
    if (w->faults && one_in(w, 2) && !sim_disk_crashed(w->disk))
        expect_mended(w);
    stop(w, !sim_disk_crashed(w->disk) && one_in(w, 3));
    sim_disk_fail_one_in(w->disk, 0);
    sim_disk_fail_in(w->disk, 0, 0);
    open_again(w);
}

static unsigned run_world(uint64_t seed)
{
    struct world *w = calloc(1, sizeof *w);
    unsigned points;

    pt_assert(w);
    current = w;
    w->seed = seed;
    rng_seed(&w->rng, seed);
    w->disk = sim_disk_new(seed);
    sim_disk_nameless(w->disk, !one_in(w, 4));
    w->faults = one_in(w, 3);
    w->now_us = 1000000;
    w->config = (struct spool_config){
        .directory = "spool",
        .disk = sim_disk_face(w->disk),
        .segment_size = w->seed % 2 ? SEGMENT : 4 * SEGMENT,
        .segment_first = SEGMENT,
        .load_piece = 1 + (uint32_t)below(w, 4),
        .manual = true,
        .recovered = on_recovered,
        .damaged = on_damaged,
        .ctx = w,
    };
    open_again(w);
    while (w->points < POINTS_PER_WORLD)
        run_round(w);
    let_go(w);
    spool_close(w->spool);
    w->era++;
    forget_ops(w);
    while (w->message_count)
        free(w->messages[--w->message_count]);
    sim_disk_free(w->disk);
    points = w->points;
    free(w);
    return points;
}

int main(int argc, char **argv)
{
    uint64_t seed = 1, points = 1000, done = 0;

    for (int i = 1; i + 1 < argc; i += 2) {
        if (strcmp(argv[i], "--seed") == 0)
            seed = strtoull(argv[i + 1], NULL, 10);
        else if (strcmp(argv[i], "--points") == 0)
            points = strtoull(argv[i + 1], NULL, 10);
        else
            return 2;
    }
    for (uint64_t first = seed; done < points; seed++) {
        done += run_world(seed);
        if (done / 100000 != (done - POINTS_PER_WORLD) / 100000 && done > 100000)
            fprintf(stderr, "%" PRIu64 " points, seeds %" PRIu64 " to %" PRIu64 "\n", done, first,
                    seed);
    }
    printf("%" PRIu64 " crash points, all well\n", done);
    return 0;
}
