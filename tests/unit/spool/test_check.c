#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/msgid.h"
#include "check.h"
#include "spool/check.h"
#include "spool_kit.h"

/* Looking at a spool whose gateway is down. */

struct fixture {
    char *directory;
    char *target;
    uint64_t small, large;
};

static int set_up(void **state)
{
    static struct fixture f;
    struct spool_config config = {
        .disk = disk_real(), .segment_size = 256 << 10, .now_us = 1000000, .manual = true
    };
    struct spool_message *m;
    struct spool *s;

    f.directory = check_folder_new();
    f.target = check_folder_new();
    config.directory = f.directory;
    assert_int_equal(spool_open(&s, &config, NULL), PT_ERR_OK);
    m = kit_message(s, 3000, 2);
    f.small = m->id;
    assert_int_equal(kit_keep(s, m), PT_ERR_OK);
    assert_int_equal(kit_outcome(s, m, 1, SPOOL_QUEUED, "4.2.0 later", NULL), PT_ERR_OK);
    spool_message_unref(m);
    m = kit_large(s, 200000);
    f.large = m->id;
    assert_int_equal(kit_keep(s, m), PT_ERR_OK);
    spool_message_unref(m);
    m = kit_message(s, 10, 1);
    assert_int_equal(kit_keep(s, m), PT_ERR_OK);
    assert_int_equal(kit_do(s, SPOOL_OP_DELETE, m), PT_ERR_OK);
    spool_message_unref(m);
    spool_close(s);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    check_folder_remove(f->directory);
    check_folder_remove(f->target);
    return 0;
}

static void check_finds_all_well_and_changes_nothing(void **state)
{
    struct fixture *f = *state;
    struct spool_check c;

    for (int again = 0; again < 2; again++) {
        assert_int_equal(spool_check(f->directory, disk_real(), NULL, NULL, &c, NULL), PT_ERR_OK);
        assert_int_equal(c.messages, 2);
        assert_int_equal(c.octets, 203000);
        assert_int_equal(c.damaged, 0);
        assert_int_equal(c.reports, 0);
    }
}

static uint64_t told;

static void tell(void *ctx, uint64_t id, const struct pt_fault *fault)
{
    told = id;
    assert_int_equal(fault->err, PT_ERR_CORRUPT);
}

static void damage_large(struct fixture *f)
{
    char path[600];
    int fd;

    /* Its ID was drawn right after the message's own. */
    snprintf(path, sizeof path, "%s/large/%016llx.eml", f->directory,
             (unsigned long long)f->large + 1);
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "\xFF", 1, 150000), 1);
    close(fd);
}

static void check_tells_what_is_lost(void **state)
{
    struct fixture *f = *state;
    struct spool_check c;

    damage_large(f);
    assert_int_equal(spool_check(f->directory, disk_real(), tell, NULL, &c, NULL), PT_ERR_OK);
    assert_int_equal(c.damaged, 1);
    assert_true(told == f->large);
}

static void check_content(struct fixture *f, uint64_t id, size_t size)
{
    char name[64], text[MSGID_SIZE];
    char *octets;
    size_t n;

    msgid_format(id, text);
    snprintf(name, sizeof name, "%s.eml", text);
    octets = check_file_read(f->target, name, &n);
    assert_int_equal(n, size);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(octets[i], kit_octet(id, i));
    free(octets);
}

static void export_writes_every_message(void **state)
{
    struct fixture *f = *state;
    struct spool_check c;
    char *lines;
    size_t n;

    assert_int_equal(spool_export(f->directory, disk_real(), f->target, NULL, NULL, &c, NULL),
                     PT_ERR_OK);
    assert_int_equal(c.messages, 2);
    check_content(f, f->small, 3000);
    check_content(f, f->large, 200000);
    lines = check_file_read(f->target, "envelopes.jsonl", &n);
    assert_non_null(strstr(lines, "\"reverse_path\":\"sender@example.org\""));
    assert_non_null(strstr(lines, "\"reply\":\"4.2.0 later\""));
    free(lines);
    /* Nothing is written over. */
    assert_int_equal(spool_export(f->directory, disk_real(), f->target, NULL, NULL, &c, NULL),
                     PT_ERR_EXISTS);
}

static void export_passes_over_what_is_lost(void **state)
{
    struct fixture *f = *state;
    struct spool_check c;

    damage_large(f);
    assert_int_equal(spool_export(f->directory, disk_real(), f->target, tell, NULL, &c, NULL),
                     PT_ERR_OK);
    assert_int_equal(c.damaged, 1);
    check_content(f, f->small, 3000);
}

static void a_spool_that_is_not_there_is_not_made(void **state)
{
    struct fixture *f = *state;
    struct spool_check c;
    char path[600];

    snprintf(path, sizeof path, "%s/none", f->target);
    assert_int_equal(spool_check(path, disk_real(), NULL, NULL, &c, NULL), PT_ERR_NOTFOUND);
    assert_int_not_equal(access(path, F_OK), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(check_finds_all_well_and_changes_nothing),
        TEST(check_tells_what_is_lost),
        TEST(export_writes_every_message),
        TEST(export_passes_over_what_is_lost),
        TEST(a_spool_that_is_not_there_is_not_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
