#include <string.h>

#include "../../sim/sim_disk.h"
#include "check.h"
#include "spool_kit.h"

/* What the spool does when the disk is full or fails, and that it mends itself. */

enum { SEGMENT = 64 << 10 };

struct fixture {
    struct sim_disk *disk;
    struct spool_config config;
    struct kit_found found;
    struct spool *spool;
};

static void open_spool(struct fixture *f)
{
    struct pt_fault fault;

    kit_forget(&f->found);
    if (spool_open(&f->spool, &f->config, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    kit_load(f->spool);
}

static int set_up(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    f.disk = sim_disk_new(1);
    f.config = (struct spool_config){
        .directory = "spool",
        .disk = sim_disk_face(f.disk),
        .segment_size = SEGMENT,
        .now_us = 1000000,
        .manual = true,
        .recovered = kit_on_recovered,
        .damaged = kit_on_damaged,
        .ctx = &f.found,
    };
    open_spool(&f);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    kit_forget(&f->found);
    spool_close(f->spool);
    sim_disk_free(f->disk);
    return 0;
}

static void pass_time(struct fixture *f)
{
    kit_now_us += 2000000;
    while (spool_turn(f->spool, kit_now_us)) {
    }
}

static void power_off_and_on(struct fixture *f)
{
    sim_disk_stop(f->disk);
    pass_time(f);
    spool_close(f->spool);
    sim_disk_restart(f->disk, true);
    open_spool(f);
}

static struct spool_stats stats_of(struct fixture *f)
{
    struct spool_stats stats;

    spool_get_stats(f->spool, &stats);
    return stats;
}

static void a_full_disk_refuses_messages_and_takes_outcomes(void **state)
{
    struct fixture *f = *state;
    struct spool_message *kept[200];
    uint32_t count = 0;
    enum pt_err err;

    sim_disk_capacity(f->disk, 6 * SEGMENT);
    for (;;) {
        struct spool_message *m = kit_message(f->spool, 3000, 1);

        assert_true(count < PT_ARRAY_LEN(kept));
        err = kit_keep(f->spool, m);
        if (err) {
            spool_message_unref(m);
            break;
        }
        kept[count++] = m;
    }
    assert_int_equal(err, PT_ERR_NOSPACE);
    /* 6 segments, one of them the reserve; some 15 messages in each. */
    assert_true(count > 5 * 10);
    assert_true(sim_disk_used(f->disk) <= 6 * SEGMENT);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(kit_outcome(f->spool, kept[i], 0, SPOOL_DELIVERED, "", NULL), PT_ERR_OK);
        spool_message_unref(kept[i]);
    }
    /* What was delivered has made room: it goes on by itself. */
    pass_time(f);
    assert_true(stats_of(f).accepting);
    assert_int_equal(stats_of(f).fault.err, PT_ERR_OK);
    for (int i = 0; i < 40; i++) {
        struct spool_message *m = kit_message(f->spool, 3000, 1);

        assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
        spool_message_unref(m);
    }
}

static void what_a_failed_sync_refused_never_comes_back(void **state)
{
    struct fixture *f = *state;
    struct spool_message *before = kit_message(f->spool, 1000, 1);
    struct spool_message *refused = kit_message(f->spool, 1000, 1);
    struct spool_message *after = kit_message(f->spool, 1000, 1);
    uint64_t first = before->id, last = after->id;

    assert_int_equal(kit_keep(f->spool, before), PT_ERR_OK);
    sim_disk_fail_in(f->disk, 2, 1); /* the write goes well, the sync does not */
    assert_int_not_equal(kit_keep(f->spool, refused), PT_ERR_OK);
    assert_true(stats_of(f).accepting);
    assert_int_equal(kit_keep(f->spool, after), PT_ERR_OK);
    spool_message_unref(before);
    spool_message_unref(refused);
    spool_message_unref(after);
    power_off_and_on(f);
    assert_int_equal(f->found.count, 2);
    assert_true(f->found.messages[0]->id == first && f->found.messages[1]->id == last);
    assert_int_equal(f->found.damages, 0);
}

static void a_refused_message_may_be_tried_again(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 1000, 1);

    sim_disk_fail_in(f->disk, 1, 1);
    assert_int_not_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
    power_off_and_on(f);
    assert_int_equal(f->found.count, 1);
    assert_int_equal(kit_check(f->spool, f->found.messages[0]), PT_ERR_OK);
}

static void an_outcome_and_its_bounce_fail_together(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 1000, 2);
    struct spool_message *bounce = kit_message(f->spool, 1000, 1);

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    sim_disk_fail_in(f->disk, 2, 1);
    assert_int_not_equal(kit_outcome(f->spool, m, 0, SPOOL_FAILED, "no", bounce), PT_ERR_OK);
    /* And may be tried again, with the same bounce. */
    assert_int_equal(kit_outcome(f->spool, m, 0, SPOOL_FAILED, "no", bounce), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, m, 1, SPOOL_DELIVERED, "", NULL), PT_ERR_OK);
    assert_int_equal(kit_check(f->spool, m), PT_ERR_NOTFOUND);
    assert_int_equal(kit_check(f->spool, bounce), PT_ERR_OK);
    spool_message_unref(m);
    spool_message_unref(bounce);
}

static void a_dead_disk_is_waited_for(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 1000, 1);

    sim_disk_fail_one_in(f->disk, 1);
    assert_int_not_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_false(stats_of(f).accepting);
    assert_int_not_equal(stats_of(f).fault.err, PT_ERR_OK);
    pass_time(f);
    assert_int_not_equal(kit_keep(f->spool, m), PT_ERR_OK);
    sim_disk_fail_one_in(f->disk, 0);
    pass_time(f);
    assert_true(stats_of(f).accepting);
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
}

static void a_large_file_that_fails_is_an_error(void **state)
{
    struct fixture *f = *state;

    for (uint64_t call = 1; call <= 5; call++) {
        sim_disk_fail_in(f->disk, call, 1);
        assert_null(kit_large(f->spool, 5000));
    }
    sim_disk_fail_in(f->disk, 0, 0);
    assert_true(sim_disk_used(f->disk) % SEGMENT == 0); /* none is left over */
}

static void lazy_operations_wait_a_second_at_most(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 1000, 1);
    struct spool_op op = { .kind = SPOOL_OP_DELETE, .message = m, .lazy = true };

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    op.done = kit_nothing_done;
    op.result = PT_ERR_BUSY;
    spool_submit(f->spool, &op);
    while (spool_turn(f->spool, kit_now_us)) {
    }
    assert_int_equal(op.result, PT_ERR_BUSY);
    while (spool_turn(f->spool, kit_now_us + 999999)) {
    }
    assert_int_equal(op.result, PT_ERR_BUSY);
    assert_true(spool_turn(f->spool, kit_now_us + 1000000));
    assert_int_equal(op.result, PT_ERR_OK);
    spool_message_unref(m);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_full_disk_refuses_messages_and_takes_outcomes),
        TEST(what_a_failed_sync_refused_never_comes_back),
        TEST(a_refused_message_may_be_tried_again),
        TEST(an_outcome_and_its_bounce_fail_together),
        TEST(a_dead_disk_is_waited_for),
        TEST(a_large_file_that_fails_is_an_error),
        TEST(lazy_operations_wait_a_second_at_most),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
