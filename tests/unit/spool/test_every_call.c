#include <errno.h>
#include <string.h>

#include "../../sim/sim_disk.h"
#include "check.h"
#include "spool_kit.h"

/*
 * One life of a spool (messages, outcomes, a bounce, large content, cleaning, a restart under which
 * new mail comes in while the old is loaded), lived again for every disk call in it: that call
 * fails, or the machine stops there. Whatever was answered holds, each time.
 */

enum { SEGMENT = 64 << 10, KEPT_MAX = 200, CALLS_MAX = 5000 };

enum what { EIO_THERE, ENOSPC_THERE, SHORT_THERE, STOP_THERE };

/* What was answered about a message. */
struct kept {
    uint64_t id;
    struct spool_message *m; /* NULL: this run of the spool does not know it */
    bool present, held, deferred;
    bool either; /* an answer was not heard, or said that it cannot be told */
};

struct life {
    struct disk disk; /* what the spool sees: counts, and fails the one call */
    struct sim_disk *sim;
    struct disk *under;
    enum what what;
    uint64_t calls, at;
    bool happened, read_failed;

    struct spool_config config;
    struct spool *spool;
    struct kit_found found;
    struct kept kept[KEPT_MAX];
    uint32_t count;
};

static struct life life;

/* ---- the disk ---- */

static int error_of(enum what what)
{
    return what == ENOSPC_THERE ? -ENOSPC : -EIO;
}

static bool is_now(void)
{
    life.happened |= ++life.calls == life.at;
    return life.calls == life.at;
}

/* A call that only looks. A full disk is no reason for it to fail, nor a short write. */
static bool look_fails(void)
{
    bool now = is_now() && life.what == EIO_THERE;

    life.read_failed |= now;
    return now;
}

/* A call that changes something, made by `call`, which gives the result. */
static int64_t change(int64_t result, bool now)
{
    if (!now || life.what == STOP_THERE || life.what == SHORT_THERE || result >= 0)
        return result;
    return error_of(life.what);
}

static bool before_change(void)
{
    bool now = is_now();

    if (now && life.what == STOP_THERE)
        sim_disk_crash_in(life.sim, 1);
    else if (now && life.what != SHORT_THERE)
        sim_disk_fail_in(life.sim, 1, 1);
    return now;
}

static int d_open(struct disk *d, int directory, const char *name, enum disk_open how)
{
    bool now;

    if (how != DISK_CREATE)
        return look_fails() ? -EIO : life.under->open(life.under, directory, name, how);
    now = before_change();
    return (int)change(life.under->open(life.under, directory, name, how), now);
}

static int d_open_directory(struct disk *d, const char *path, bool make)
{
    return look_fails() ? -EIO : life.under->open_directory(life.under, path, make);
}

static int d_open_subdirectory(struct disk *d, int directory, const char *name, bool make)
{
    return look_fails() ? -EIO : life.under->open_subdirectory(life.under, directory, name, make);
}

static int d_open_nameless(struct disk *d, int directory)
{
    return look_fails() ? -EIO : life.under->open_nameless(life.under, directory);
}

static void d_close(struct disk *d, int handle)
{
    life.under->close(life.under, handle);
}

static int64_t d_read(struct disk *d, int handle, const struct iovec *iov, int n, uint64_t offset)
{
    return look_fails() ? -EIO : life.under->read(life.under, handle, iov, n, offset);
}

static int64_t d_write(struct disk *d, int handle, const struct iovec *iov, int n, uint64_t offset)
{
    bool now = before_change();

    if (now && life.what == SHORT_THERE) {
        struct iovec first = { iov[0].iov_base, 1 + iov[0].iov_len / 2 };

        first.iov_len = PT_MIN(first.iov_len, iov[0].iov_len);
        return life.under->write(life.under, handle, &first, 1, offset);
    }
    return change(life.under->write(life.under, handle, iov, n, offset), now);
}

static int d_sync(struct disk *d, int handle)
{
    bool now = before_change();

    return (int)change(life.under->sync(life.under, handle), now);
}

static int d_forget(struct disk *d, int handle)
{
    return look_fails() ? -EIO : life.under->forget(life.under, handle);
}

static int64_t d_size(struct disk *d, int handle)
{
    return look_fails() ? -EIO : life.under->size(life.under, handle);
}

static int d_link(struct disk *d, int handle, int directory, const char *name)
{
    bool now = before_change();

    return (int)change(life.under->link(life.under, handle, directory, name), now);
}

static int d_rename(struct disk *d, int directory, const char *from, const char *to)
{
    bool now = before_change();

    return (int)change(life.under->rename(life.under, directory, from, to), now);
}

static int d_unlink(struct disk *d, int directory, const char *name)
{
    bool now = before_change();

    return (int)change(life.under->unlink(life.under, directory, name), now);
}

static int d_sync_directory(struct disk *d, int directory)
{
    bool now = before_change();

    return (int)change(life.under->sync_directory(life.under, directory), now);
}

static int d_list(struct disk *d, int directory, int (*each)(void *ctx, const char *name),
                  void *ctx)
{
    return look_fails() ? -EIO : life.under->list(life.under, directory, each, ctx);
}

static void d_random(struct disk *d, void *out, uint64_t n)
{
    life.under->random(life.under, out, n);
}

/* ---- what is answered ---- */

static bool accepting(void)
{
    struct spool_stats stats;

    spool_get_stats(life.spool, &stats);
    return stats.accepting;
}

/* True if it was done. An error means that it was not: unless nobody was there to say so, or the
 * spool cannot write at all. */
static bool answered(struct kept *k, enum pt_err err)
{
    if (sim_disk_crashed(life.sim) || (err != PT_ERR_OK && !accepting())) {
        k->either = true;
        return false;
    }
    if (err != PT_ERR_OK)
        assert_true(life.happened);
    return err == PT_ERR_OK;
}

static struct kept *keep(struct spool_message *m)
{
    struct kept *k = &life.kept[life.count++];

    assert_true(life.count <= KEPT_MAX);
    *k = (struct kept){ .id = m->id, .m = m };
    k->present = answered(k, kit_keep(life.spool, m));
    return k;
}

static void outcome(struct kept *k, enum spool_state state, struct spool_message *bounce)
{
    struct kept *b = NULL;
    bool done;

    if (!k->m || !k->present) {
        spool_message_unref(bounce);
        return;
    }
    if (bounce) {
        b = &life.kept[life.count++];
        *b = (struct kept){ .id = bounce->id, .m = bounce };
    }
    done = answered(k, kit_outcome(life.spool, k->m, 0, state, "what it said", bounce));
    if (b) {
        b->present = done;
        b->either = k->either;
    }
    if (!done)
        return;
    if (state == SPOOL_QUEUED)
        k->deferred = true;
    else
        k->present = false;
}

static void act(struct kept *k, enum spool_op_kind kind)
{
    if (!k->m || !k->present || !answered(k, kit_do(life.spool, kind, k->m)))
        return;
    if (kind == SPOOL_OP_DELETE)
        k->present = false;
    else
        k->held = kind == SPOOL_OP_HOLD;
}

/* ---- the life ---- */

static void pass_time(void)
{
    for (int i = 0; i < 3; i++) {
        kit_now_us += 2000000;
        while (spool_turn(life.spool, kit_now_us)) {
        }
    }
}

static struct kept *keep_large(uint64_t size)
{
    struct spool_message *m = kit_large(life.spool, size);

    if (!m)
        assert_true(life.happened);
    return m ? keep(m) : NULL;
}

static void first_days(void)
{
    struct kept *large = keep_large(150000), *gone = keep_large(70000);

    for (int i = 0; i < 70; i++) {
        struct kept *k = keep(kit_message(life.spool, 3000, 1));

        if (i % 10 == 3)
            outcome(k, SPOOL_QUEUED, NULL);
        else if (i % 10 == 5)
            outcome(k, SPOOL_FAILED, kit_message(life.spool, 500, 1));
        else if (i % 10 == 6)
            act(k, SPOOL_OP_HOLD);
        else if (i % 10 == 7)
            act(k, SPOOL_OP_DELETE);
        else if (i % 10)
            outcome(k, SPOOL_DELIVERED, NULL);
    }
    if (large)
        outcome(large, SPOOL_QUEUED, NULL);
    if (gone)
        outcome(gone, SPOOL_DELIVERED, NULL);
    pass_time();
}

static void let_go(void)
{
    for (uint32_t i = 0; i < life.count; i++) {
        spool_message_unref(life.kept[i].m);
        life.kept[i].m = NULL;
    }
    kit_forget(&life.found);
}

/* The first time it may fail, if the disk did. */
static void open_spool(void)
{
    struct pt_fault fault = { .err = PT_ERR_OK };

    if (spool_open(&life.spool, &life.config, &fault) == PT_ERR_OK)
        return;
    assert_true(life.happened);
    if (sim_disk_crashed(life.sim))
        sim_disk_restart(life.sim, true);
    if (spool_open(&life.spool, &life.config, &fault) != PT_ERR_OK)
        fail_msg("call %d: %s", (int)life.at, fault.text);
}

static void recognise(void)
{
    for (uint32_t f = 0; f < life.found.count; f++)
        for (uint32_t i = 0; i < life.count; i++)
            if (life.kept[i].id == life.found.messages[f]->id && !life.kept[i].m)
                life.kept[i].m = spool_message_ref(life.found.messages[f]);
}

/* New mail among the loading of the old, and what was loaded goes on its way. */
static void second_days(void)
{
    for (int i = 0; i < 4; i++) {
        PT_IGNORE(spool_turn(life.spool, kit_now_us), "a piece may be due");
        keep(kit_message(life.spool, 2000, 1));
    }
    kit_load(life.spool);
    recognise();
    for (uint32_t i = 0; i < life.count; i += 2)
        outcome(&life.kept[i], i % 4 ? SPOOL_DELIVERED : SPOOL_QUEUED, NULL);
    pass_time();
}

static void close_spool(bool crash)
{
    if (crash)
        sim_disk_stop(life.sim);
    let_go();
    spool_close(life.spool);
    if (crash || sim_disk_crashed(life.sim))
        sim_disk_restart(life.sim, true);
}

static void judge(const struct kept *k)
{
    if (!k->m) {
        if (k->present && !k->either)
            fail_msg("call %d, %d: message %d is lost", (int)life.at, (int)life.what, (int)k->id);
        return;
    }
    if (!k->present && !k->either)
        fail_msg("call %d, %d: message %d should not be", (int)life.at, (int)life.what, (int)k->id);
    if (kit_check(life.spool, k->m) != PT_ERR_OK)
        fail_msg("call %d, %d: message %d is damaged", (int)life.at, (int)life.what, (int)k->id);
    if (k->either)
        return;
    assert_int_equal((k->m->flags & SPOOL_HELD) != 0, k->held);
    assert_int_equal(k->m->recipients[0].attempts, k->deferred ? 3 : 0);
}

static void judge_all(void)
{
    struct spool_message *m;
    uint64_t highest = 0;

    life.at = 0;
    sim_disk_fail_in(life.sim, 0, 0);
    life.found.damages = 0;
    open_spool();
    kit_load(life.spool);
    recognise();
    assert_int_equal(life.found.damages, 0);
    for (uint32_t i = 0; i < life.count; i++) {
        judge(&life.kept[i]);
        highest = PT_MAX(highest, life.kept[i].id);
    }
    assert_true(spool_new_id(life.spool) > highest);
    m = kit_message(life.spool, 10, 1);
    assert_int_equal(kit_keep(life.spool, m), PT_ERR_OK);
    spool_message_unref(m);
    close_spool(false);
}

/* False: there is no such call in this life. */
static bool live(enum what what, uint64_t at)
{
    memset(&life, 0, sizeof life);
    life.sim = sim_disk_new(at);
    life.under = sim_disk_face(life.sim);
    life.what = what;
    life.at = at;
    life.disk = (struct disk){
        .open_directory = d_open_directory,
        .open_subdirectory = d_open_subdirectory,
        .open = d_open,
        .open_nameless = d_open_nameless,
        .close = d_close,
        .read = d_read,
        .write = d_write,
        .sync = d_sync,
        .forget = d_forget,
        .size = d_size,
        .link = d_link,
        .rename = d_rename,
        .unlink = d_unlink,
        .sync_directory = d_sync_directory,
        .list = d_list,
        .random = d_random,
    };
    life.config = (struct spool_config){
        .directory = "spool",
        .disk = &life.disk,
        .segment_size = SEGMENT,
        .now_us = 1000000,
        .manual = true,
        .load_piece = 3,
        .recovered = kit_on_recovered,
        .damaged = kit_on_damaged,
        .ctx = &life.found,
    };
    open_spool();
    first_days();
    if (!sim_disk_crashed(life.sim))
        assert_true(accepting());
    close_spool(false);
    open_spool();
    second_days();
    if (!sim_disk_crashed(life.sim))
        assert_true(accepting());
    if (life.found.damages && !sim_disk_crashed(life.sim))
        assert_true(life.read_failed);
    close_spool(true);
    {
        uint64_t happened = life.happened;

        judge_all();
        sim_disk_free(life.sim);
        return happened;
    }
}

static void every(enum what what)
{
    uint64_t at = 1;

    while (live(what, at))
        at++;
    print_message("%llu calls\n", (unsigned long long)at - 1);
    assert_true(at > 300 && at < CALLS_MAX);
}

static void any_call_may_fail_with_eio(void **state)
{
    every(EIO_THERE);
}

static void any_call_may_fail_with_enospc(void **state)
{
    every(ENOSPC_THERE);
}

static void any_write_may_be_short(void **state)
{
    every(SHORT_THERE);
}

static void the_machine_may_stop_at_any_call(void **state)
{
    every(STOP_THERE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_call_may_fail_with_eio),
        cmocka_unit_test(any_call_may_fail_with_enospc),
        cmocka_unit_test(any_write_may_be_short),
        cmocka_unit_test(the_machine_may_stop_at_any_call),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
