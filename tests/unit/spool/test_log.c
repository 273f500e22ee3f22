#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "spool/disk.h"
#include "spool_kit.h"

/* The log on the real disk, one operation at a time. */

struct fixture {
    char *directory;
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

static void reopen(struct fixture *f)
{
    spool_close(f->spool);
    open_spool(f);
}

static int set_up(void **state)
{
    static struct fixture f;

    memset(&f, 0, sizeof f);
    f.directory = check_folder_new();
    f.config = (struct spool_config){
        .directory = f.directory,
        .disk = disk_real(),
        .segment_size = 256 << 10,
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

    spool_close(f->spool);
    kit_forget(&f->found);
    check_folder_remove(f->directory);
    return 0;
}

static void a_message_comes_back_whole(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 5000, 3), *back;
    uint64_t id = m->id;

    m->flags = SPOOL_8BIT | SPOOL_SMTPUTF8;
    m->ret = 2;
    m->envid = arena_str(&m->arena, STR("envid+2B"));
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_check(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
    reopen(f);
    assert_int_equal(f->found.count, 1);
    back = f->found.messages[0];
    assert_true(back->id == id);
    assert_int_equal(back->flags, SPOOL_8BIT | SPOOL_SMTPUTF8);
    assert_int_equal(back->ret, 2);
    assert_true(str_eq(back->envid, STR("envid+2B")));
    assert_true(str_eq(back->reverse_path, STR("sender@example.org")));
    assert_int_equal(back->recipient_count, 3);
    assert_true(str_eq(back->recipients[2].address, STR("recipient2@example.com")));
    assert_int_equal(back->recipients[2].notify, 2);
    assert_int_equal(kit_check(f->spool, back), PT_ERR_OK);
    assert_int_equal(f->found.damages, 0);
}

static void outcomes_come_back_and_the_last_one_ends_it(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 100, 2), *back;

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, m, 1, SPOOL_QUEUED, "later", NULL), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, m, 0, SPOOL_DELIVERED, "taken", NULL), PT_ERR_OK);
    spool_message_unref(m);
    reopen(f);
    assert_int_equal(f->found.count, 1);
    back = f->found.messages[0];
    assert_int_equal(back->recipients[0].state, SPOOL_DELIVERED);
    assert_int_equal(back->recipients[1].state, SPOOL_QUEUED);
    assert_int_equal(back->recipients[1].attempts, 3);
    assert_true(back->recipients[1].delay_told);
    assert_false(back->recipients[0].delay_told);
    assert_int_equal(back->recipients[1].code, 451);
    assert_true(back->recipients[1].next_attempt_us == 77);
    assert_true(str_eq(back->recipients[1].reply, STR("later")));
    assert_int_equal(kit_outcome(f->spool, back, 1, SPOOL_FAILED, "no", NULL), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, back, 1, SPOOL_FAILED, "no", NULL), PT_ERR_NOTFOUND);
    assert_int_equal(kit_check(f->spool, back), PT_ERR_NOTFOUND);
    reopen(f);
    assert_int_equal(f->found.count, 0);
}

static void a_bounce_is_kept_with_the_outcome(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 100, 1);
    struct spool_message *bounce = kit_message(f->spool, 900, 1);
    uint64_t id = bounce->id;

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, m, 0, SPOOL_FAILED, "no", bounce), PT_ERR_OK);
    spool_message_unref(m);
    spool_message_unref(bounce);
    reopen(f);
    assert_int_equal(f->found.count, 1);
    assert_true(f->found.messages[0]->id == id);
    assert_int_equal(kit_check(f->spool, f->found.messages[0]), PT_ERR_OK);
}

static void held_deleted_released(void **state)
{
    struct fixture *f = *state;
    struct spool_message *a = kit_message(f->spool, 10, 1), *b = kit_message(f->spool, 10, 1);
    struct spool_message *c = kit_message(f->spool, 0, 1);

    assert_int_equal(kit_keep(f->spool, a), PT_ERR_OK);
    assert_int_equal(kit_keep(f->spool, b), PT_ERR_OK);
    assert_int_equal(kit_keep(f->spool, c), PT_ERR_OK);
    assert_int_equal(kit_do(f->spool, SPOOL_OP_HOLD, a), PT_ERR_OK);
    assert_int_equal(kit_do(f->spool, SPOOL_OP_HOLD, c), PT_ERR_OK);
    assert_int_equal(kit_do(f->spool, SPOOL_OP_RELEASE, c), PT_ERR_OK);
    assert_int_equal(kit_do(f->spool, SPOOL_OP_DELETE, b), PT_ERR_OK);
    spool_message_unref(a);
    spool_message_unref(b);
    spool_message_unref(c);
    reopen(f);
    assert_int_equal(f->found.count, 2);
    assert_int_equal(f->found.messages[0]->flags, SPOOL_HELD);
    assert_int_equal(f->found.messages[1]->flags, 0);
    assert_int_equal(kit_check(f->spool, f->found.messages[1]), PT_ERR_OK);
}

static enum pt_err send_to(struct spool *s, struct spool_message *m, uint32_t recipient,
                           const char *next_hop)
{
    const struct spool_route r = { recipient, str_of(next_hop) };

    return kit_route(s, m, &r, 1);
}

static const char *sent_to(const struct spool_message *m, uint32_t recipient)
{
    static char text[80];
    struct str to = m->next_hops ? m->next_hops[recipient] : STR_NULL;

    snprintf(text, sizeof text, "%.*s", STR_FMT(to));
    return text;
}

static void recipients_are_sent_elsewhere_and_back(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 10, 3), *plain = kit_message(f->spool, 10, 2);

    assert_int_equal(send_to(f->spool, m, 0, "a.example:25"), PT_ERR_NOTFOUND);
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_keep(f->spool, plain), PT_ERR_OK);
    assert_int_equal(send_to(f->spool, m, 3, "a.example:25"), PT_ERR_INVALID);
    assert_int_equal(send_to(f->spool, m, 0, "a.example:25"), PT_ERR_OK);
    assert_int_equal(send_to(f->spool, m, 1, "b.example:25"), PT_ERR_OK);
    assert_int_equal(send_to(f->spool, m, 2, "b.example:25"), PT_ERR_OK);
    assert_int_equal(send_to(f->spool, m, 1, ""), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, m, 2, SPOOL_QUEUED, "later", NULL), PT_ERR_OK);
    spool_message_unref(m);
    spool_message_unref(plain);
    for (unsigned turn = 0; turn < 2; turn++) {
        reopen(f);
        assert_int_equal(f->found.count, 2);
        m = f->found.messages[0];
        assert_string_equal(sent_to(m, 0), "a.example:25");
        assert_string_equal(sent_to(m, 1), "");
        assert_string_equal(sent_to(m, 2), "b.example:25");
        assert_int_equal(m->recipients[2].attempts, 3);
        assert_null(f->found.messages[1]->next_hops);
    }
    assert_int_equal(send_to(f->spool, m, 0, ""), PT_ERR_OK);
    assert_int_equal(send_to(f->spool, m, 2, "c.example:26"), PT_ERR_OK);
    reopen(f);
    assert_string_equal(sent_to(f->found.messages[0], 0), "");
    assert_string_equal(sent_to(f->found.messages[0], 2), "c.example:26");
}

static void large_content_has_a_file(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_large(f->spool, 1234567);
    struct spool_message *orphan = kit_large(f->spool, 65536);
    struct spool_message *back;

    assert_non_null(m);
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_check(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
    spool_message_unref(orphan);
    reopen(f);
    assert_int_equal(f->found.count, 1);
    back = f->found.messages[0];
    assert_int_equal(kit_check(f->spool, back), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, back, 0, SPOOL_DELIVERED, "", NULL), PT_ERR_OK);
    reopen(f);
    assert_int_equal(f->found.count, 0);
}

static void a_large_file_that_is_gone_is_told(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_large(f->spool, 70000);
    char path[600];

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    /* The file's ID was drawn right after the message's. */
    snprintf(path, sizeof path, "%s/large/%016llx.eml", f->directory,
             (unsigned long long)m->id + 1);
    spool_message_unref(m);
    assert_int_equal(unlink(path), 0);
    reopen(f);
    assert_int_equal(f->found.count, 0);
    assert_int_equal(f->found.damages, 1);
}

static void segments_are_used_again(void **state)
{
    struct fixture *f = *state;
    struct spool_message *waits = kit_message(f->spool, 3000, 1), *back;
    struct spool_stats stats;

    assert_int_equal(kit_keep(f->spool, waits), PT_ERR_OK);
    assert_int_equal(kit_outcome(f->spool, waits, 0, SPOOL_IN_DOUBT, "hm", NULL), PT_ERR_OK);
    for (int i = 0; i < 1000; i++) {
        struct spool_message *m = kit_message(f->spool, 4000, 1);

        assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
        assert_int_equal(kit_outcome(f->spool, m, 0, SPOOL_DELIVERED, "", NULL), PT_ERR_OK);
        spool_message_unref(m);
    }
    assert_int_equal(kit_check(f->spool, waits), PT_ERR_OK);
    spool_get_stats(f->spool, &stats);
    assert_int_equal(stats.messages, 1);
    assert_true(stats.segments < 8);
    spool_message_unref(waits);
    reopen(f);
    assert_int_equal(f->found.count, 1);
    back = f->found.messages[0];
    assert_int_equal(back->recipients[0].state, SPOOL_IN_DOUBT);
    assert_true(str_eq(back->recipients[0].reply, STR("hm")));
    assert_true(back->recipients[0].delay_told);
    assert_int_equal(kit_check(f->spool, back), PT_ERR_OK);
    assert_int_equal(f->found.damages, 0);
}

static uint64_t octets_of_segments(struct fixture *f)
{
    struct disk *d = f->config.disk;
    uint64_t total = 0;
    char name[32];

    for (unsigned slot = 0; slot < 64; slot++) {
        int directory = d->open_directory(d, f->directory, false), handle;

        snprintf(name, sizeof name, "%08x.seg", slot);
        handle = d->open(d, directory, name, DISK_READ);
        if (handle >= 0) {
            total += (uint64_t)d->size(d, handle);
            d->close(d, handle);
        }
        d->close(d, directory);
    }
    return total;
}

/* Little mail needs little disk; a message that needs more gets it; and a burst makes them larger.
 */
static void segments_grow_when_they_must(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m;

    f->config.segment_first = 64 << 10;
    f->config.segment_size = 1 << 20;
    spool_close(f->spool);
    check_folder_remove(f->directory);
    f->config.directory = f->directory = check_folder_new();
    open_spool(f);
    m = kit_message(f->spool, 3000, 1);
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
    assert_int_equal(octets_of_segments(f), 3 * (64 << 10));
    m = kit_message(f->spool, 300000, 1);
    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    assert_int_equal(kit_check(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
    assert_true(octets_of_segments(f) >= 512 << 10);
    for (int i = 0; i < 1000; i++) {
        m = kit_message(f->spool, 3000, 1);
        assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
        if (i % 50)
            assert_int_equal(kit_do(f->spool, SPOOL_OP_DELETE, m), PT_ERR_OK);
        spool_message_unref(m);
    }
    reopen(f);
    assert_int_equal(f->found.count, 22);
    for (uint32_t i = 0; i < f->found.count; i++)
        assert_int_equal(kit_check(f->spool, f->found.messages[i]), PT_ERR_OK);
}

static void too_big_for_a_segment_is_refused(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 256 << 10, 1);

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_TOOBIG);
    spool_message_unref(m);
}

static void ids_go_on_when_the_clock_goes_back(void **state)
{
    struct fixture *f = *state;
    struct spool_message *m = kit_message(f->spool, 1, 1);
    uint64_t id = m->id;

    assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
    spool_message_unref(m);
    f->config.now_us = 5;
    reopen(f);
    assert_true(spool_new_id(f->spool) > id);
}

static void copy_folder(const char *from, const char *to)
{
    char command[1200];

    snprintf(command, sizeof command, "cp -a %s/. %s", from, to);
    assert_int_equal(system(command), 0);
}

/* A copy of the folder, made earlier, takes the place of what went on since: no ID of that time is
 * given again. The clock tells; if it was set back as well, the margin does, for a million of
 * them. */
static void ids_go_on_after_a_restore_from_a_backup(void **state)
{
    struct fixture *f = *state;
    char *backup = check_folder_new();
    uint64_t last = 0;

    for (int clock_back = 0; clock_back < 2; clock_back++) {
        char *restored = check_folder_new();
        struct spool_message *m = kit_message(f->spool, 1, 1);

        assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
        spool_message_unref(m);
        copy_folder(f->directory, backup);
        for (int i = 0; i < 100; i++) {
            m = kit_message(f->spool, 1, 1);
            last = m->id;
            assert_int_equal(kit_keep(f->spool, m), PT_ERR_OK);
            spool_message_unref(m);
        }
        spool_close(f->spool);
        check_folder_remove(f->directory);
        copy_folder(backup, restored);
        check_folder_remove(backup);
        backup = check_folder_new();
        f->directory = restored;
        f->config.directory = restored;
        f->config.now_us = clock_back ? 5 : (int64_t)last + 1;
        open_spool(f);
        assert_true(spool_new_id(f->spool) > last);
    }
    check_folder_remove(backup);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_message_comes_back_whole),
        TEST(outcomes_come_back_and_the_last_one_ends_it),
        TEST(a_bounce_is_kept_with_the_outcome),
        TEST(held_deleted_released),
        TEST(recipients_are_sent_elsewhere_and_back),
        TEST(large_content_has_a_file),
        TEST(a_large_file_that_is_gone_is_told),
        TEST(segments_are_used_again),
        TEST(segments_grow_when_they_must),
        TEST(too_big_for_a_segment_is_refused),
        TEST(ids_go_on_when_the_clock_goes_back),
        TEST(ids_go_on_after_a_restore_from_a_backup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
