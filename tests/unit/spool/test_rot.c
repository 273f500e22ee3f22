#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "check.h"
#include "spool/disk.h"
#include "spool/format.h"
#include "spool_kit.h"

/*
 * Bit-rot: an octet of what was durable changes. It is reported, costs at most the message it hit,
 * and never gives anything that was not kept.
 */

enum { SEGMENT = 128 << 10, MESSAGES = 24, FOOTER_FROM = SEGMENT - 4096 };

struct fixture {
    char *directory;
    struct spool_config config;
    struct kit_found found;
    struct spool *spool;
    uint64_t ids[MESSAGES];
    char segment[SEGMENT]; /* the one segment with messages, as it was left */
    char path[512];
    uint64_t end;
};

/* Nothing here is about power: syncs would only take time. */
static int no_sync(struct disk *d, int handle)
{
    return 0;
}

static struct disk *hasty_disk(void)
{
    static struct disk d;

    d = *disk_real();
    d.sync = d.sync_directory = d.forget = no_sync;
    return &d;
}

static enum pt_err try_open(struct fixture *f)
{
    enum pt_err err;

    kit_forget(&f->found);
    err = spool_open(&f->spool, &f->config, NULL);
    if (err == PT_ERR_OK)
        kit_load(f->spool);
    return err;
}

/* Puts the segment as it was, apart from what the caller did to `octets`, alone into a new spool.
 */
static void lay_out(struct fixture *f, const char *octets)
{
    int fd;

    check_folder_remove(f->directory);
    f->directory = check_folder_new();
    f->config.directory = f->directory;
    snprintf(f->path, sizeof f->path, "%s/00000000.seg", f->directory);
    fd = open(f->path, O_WRONLY | O_CREAT, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, octets, SEGMENT), SEGMENT);
    close(fd);
}

static void read_segment(struct fixture *f)
{
    struct stat st;
    DIR *dir = opendir(f->directory);
    struct dirent *entry;

    while ((entry = readdir(dir))) {
        char path[512];
        char octets[SEGMENT];
        struct format_header h;
        int fd;

        if (!strstr(entry->d_name, ".seg"))
            continue;
        snprintf(path, sizeof path, "%s/%s", f->directory, entry->d_name);
        fd = open(path, O_RDONLY);
        assert_int_equal(fstat(fd, &st), 0);
        assert_int_equal(read(fd, octets, SEGMENT), SEGMENT);
        close(fd);
        assert_int_equal(format_header_read(octets, &h), FORMAT_HEADER_OK);
        if (h.in_use && memcmp(octets + SEGMENT - FORMAT_TRAILER_SIZE, "PTRNFOOT", 8) == 0)
            memcpy(f->segment, octets, SEGMENT);
    }
    closedir(dir);
}

static int set_up(void **state)
{
    static struct fixture f;
    struct format_trailer t;

    memset(&f, 0, sizeof f);
    f.directory = check_folder_new();
    f.config = (struct spool_config){
        .directory = f.directory,
        .disk = hasty_disk(),
        .segment_size = SEGMENT,
        .now_us = 1000000,
        .manual = true,
        .recovered = kit_on_recovered,
        .damaged = kit_on_damaged,
        .ctx = &f.found,
    };
    assert_int_equal(try_open(&f), PT_ERR_OK);
    for (int i = 0; i < MESSAGES; i++) {
        struct spool_message *m = kit_message(f.spool, 1500, 1);

        f.ids[i] = m->id;
        assert_int_equal(kit_keep(f.spool, m), PT_ERR_OK);
        spool_message_unref(m);
    }
    spool_close(f.spool);
    read_segment(&f);
    assert_true(format_trailer_read(f.segment + SEGMENT - FORMAT_TRAILER_SIZE, &t));
    f.end = t.end;
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;

    kit_forget(&f->found);
    check_folder_remove(f->directory);
    return 0;
}

/* How many of the messages are there and whole; fails on one that was never kept. */
static unsigned count_whole(struct fixture *f, unsigned *corrupt)
{
    unsigned whole = 0;

    *corrupt = 0;
    for (uint32_t i = 0; i < f->found.count; i++) {
        enum pt_err err = kit_check(f->spool, f->found.messages[i]);
        int known = 0;

        for (int k = 0; k < MESSAGES; k++)
            known = known || f->ids[k] == f->found.messages[i]->id;
        assert_true(known);
        assert_true(err == PT_ERR_OK || err == PT_ERR_CORRUPT);
        whole += err == PT_ERR_OK;
        *corrupt += err == PT_ERR_CORRUPT;
    }
    return whole;
}

static void damage_one(struct fixture *f, uint64_t at, bool footer)
{
    static char octets[SEGMENT];
    unsigned whole, corrupt;

    memcpy(octets, f->segment, SEGMENT);
    octets[at] ^= 0x20;
    if (!footer)
        memset(octets + FOOTER_FROM, 0, SEGMENT - FOOTER_FROM);
    lay_out(f, octets);
    assert_int_equal(try_open(f), PT_ERR_OK);
    whole = count_whole(f, &corrupt);
    if (whole < MESSAGES - 1 || (whole < MESSAGES && !corrupt && !f->found.damages))
        fail_msg("offset %llu: %u whole, %u corrupt, %u reports", (unsigned long long)at, whole,
                 corrupt, f->found.damages);
    spool_close(f->spool);
}

/* An octet here and there, every part of a frame among them. */
static void one_octet_costs_one_message(void **state)
{
    struct fixture *f = *state;

    for (uint64_t at = FORMAT_DATA; at < f->end; at += 127)
        damage_one(f, at, true);
}

/* The same with the footer gone. Of the last batch it cannot be told whether it was answered: it
 * may be cut in silence. */
static void without_a_footer_too(void **state)
{
    struct fixture *f = *state;

    for (uint64_t at = FORMAT_DATA; at + FORMAT_PAGE < f->end; at += 509)
        damage_one(f, at, false);
}

static void a_whole_page_costs_its_messages(void **state)
{
    struct fixture *f = *state;
    static char octets[SEGMENT];
    unsigned corrupt;

    memcpy(octets, f->segment, SEGMENT);
    memset(octets + FORMAT_DATA + 4 * FORMAT_PAGE, 0xAA, FORMAT_PAGE);
    memset(octets + FOOTER_FROM, 0, SEGMENT - FOOTER_FROM);
    lay_out(f, octets);
    assert_int_equal(try_open(f), PT_ERR_OK);
    assert_int_equal(count_whole(f, &corrupt), MESSAGES - 1);
    assert_true(f->found.damages > 0);
    spool_close(f->spool);
}

static void either_header_copy_will_do(void **state)
{
    struct fixture *f = *state;
    static char octets[SEGMENT];
    unsigned corrupt;

    for (int copy = 0; copy < 2; copy++) {
        memcpy(octets, f->segment, SEGMENT);
        memset(octets + copy * FORMAT_PAGE, 0xFF, FORMAT_PAGE);
        lay_out(f, octets);
        assert_int_equal(try_open(f), PT_ERR_OK);
        assert_int_equal(count_whole(f, &corrupt), MESSAGES);
        spool_close(f->spool);
    }
}

static void the_trailer_stands_in_for_both(void **state)
{
    struct fixture *f = *state;
    static char octets[SEGMENT];
    unsigned corrupt;

    memcpy(octets, f->segment, SEGMENT);
    memset(octets, 0xFF, FORMAT_DATA);
    lay_out(f, octets);
    assert_int_equal(try_open(f), PT_ERR_OK);
    assert_int_equal(count_whole(f, &corrupt), MESSAGES);
    spool_close(f->spool);
}

static void without_any_header_a_segment_is_put_aside(void **state)
{
    struct fixture *f = *state;
    static char octets[SEGMENT];
    char path[512];

    memcpy(octets, f->segment, SEGMENT);
    memset(octets, 0, FORMAT_DATA);
    memset(octets + FOOTER_FROM, 0, SEGMENT - FOOTER_FROM);
    lay_out(f, octets);
    assert_int_equal(try_open(f), PT_ERR_OK);
    assert_int_equal(f->found.count, 0);
    assert_int_equal(f->found.damages, 1);
    spool_close(f->spool);
    snprintf(path, sizeof path, "%s/00000000.damaged", f->directory);
    assert_int_equal(access(path, R_OK), 0);
}

static void another_version_is_left_alone(void **state)
{
    struct fixture *f = *state;
    static char octets[SEGMENT];
    struct pt_fault fault;

    memcpy(octets, f->segment, SEGMENT);
    for (int copy = 0; copy < 2; copy++) {
        char *header = octets + copy * FORMAT_PAGE;

        format_put32(header + 8, 2);
        format_put32(header + 60, crc32c(0, header, 60));
    }
    lay_out(f, octets);
    assert_int_equal(spool_open(&f->spool, &f->config, &fault), PT_ERR_INVALID);
    assert_non_null(strstr(fault.text, "version"));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(one_octet_costs_one_message),     TEST(without_a_footer_too),
        TEST(a_whole_page_costs_its_messages), TEST(either_header_copy_will_do),
        TEST(the_trailer_stands_in_for_both),  TEST(without_any_header_a_segment_is_put_aside),
        TEST(another_version_is_left_alone),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
