#include "settings/store.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

static char *folder;
static struct pt_fault fault;

static int make_folder(void **state)
{
    (void)state;
    folder = check_folder_new();
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    check_folder_remove(folder);
    return 0;
}

static struct settings_store *opened(enum settings_store_mode mode)
{
    struct settings_store *s = NULL;

    if (settings_store_open(&s, folder, mode, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return s;
}

static struct settings_commit commit_of(const char *document, uint64_t expected)
{
    return (struct settings_commit){ .document = str_of(document),
                                     .author = STR("alice"),
                                     .comment = STR("why"),
                                     .time_us = 1700000000000000,
                                     .expected = expected };
}

static uint64_t committed(struct settings_store *s, const char *document, uint64_t expected)
{
    struct settings_commit c = commit_of(document, expected);
    uint64_t revision = 0;

    if (settings_store_commit(s, &c, &revision, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return revision;
}

static const char *path(void)
{
    static char text[4096];

    snprintf(text, sizeof text, "%s/settings.db", folder);
    return text;
}

static void sql(const char *statement)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path(), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

/* ---- revisions ---- */

static void an_empty_store_has_nothing(void **state)
{
    struct settings_store *s = NULL;
    struct settings_revision r;
    uint64_t head = 7;
    uint32_t count = 7;

    (void)state;
    assert_int_equal(settings_store_open(&s, folder, SETTINGS_STORE_READ, &fault), PT_ERR_NOTFOUND);
    assert_null(s);
    assert_int_equal(access(path(), F_OK), -1);
    s = opened(SETTINGS_STORE_CREATE);
    assert_int_equal(settings_store_head(s, &head, &fault), PT_ERR_OK);
    assert_int_equal(head, 0);
    assert_int_equal(settings_store_current(s, &r, &fault), PT_ERR_NOTFOUND);
    assert_int_equal(settings_store_get(s, 1, &r, &fault), PT_ERR_NOTFOUND);
    assert_int_equal(settings_store_get(s, 0, &r, &fault), PT_ERR_NOTFOUND);
    assert_int_equal(settings_store_get(s, UINT64_MAX, &r, &fault), PT_ERR_NOTFOUND);
    assert_int_equal(settings_store_history(s, 0, 10, NULL, &count, &fault), PT_ERR_OK);
    assert_int_equal(count, 0);
    settings_store_close(s);
    settings_store_close(NULL);
}

static void a_commit_is_there_after_reopening(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_revision r;
    struct stat st;

    (void)state;
    assert_int_equal(committed(s, "{}", 0), 1);
    assert_int_equal(committed(s, "{\"a\":\"\xC3\xA9\"}", 1), 2);
    settings_store_close(s);
    assert_int_equal(stat(path(), &st), 0);
    assert_int_equal(st.st_mode & 07, 0); /* not for everybody */
    s = opened(SETTINGS_STORE_READ);
    assert_int_equal(settings_store_current(s, &r, &fault), PT_ERR_OK);
    assert_int_equal(r.number, 2);
    assert_string_equal(r.document, "{\"a\":\"\xC3\xA9\"}");
    assert_int_equal(r.size, 10);
    assert_string_equal(r.author, "alice");
    assert_string_equal(r.comment, "why");
    assert_true(r.time_us == 1700000000000000);
    assert_int_equal(r.restored_from, 0);
    settings_revision_done(&r);
    assert_int_equal(settings_store_get(s, 1, &r, &fault), PT_ERR_OK);
    assert_string_equal(r.document, "{}");
    settings_revision_done(&r);
    settings_store_close(s);
}

static void nobody_overwrites_what_they_have_not_seen(void **state)
{
    struct settings_store *a = opened(SETTINGS_STORE_CREATE), *b = opened(SETTINGS_STORE_CREATE);
    struct settings_commit c = commit_of("{\"b\":1}", 1);
    uint64_t revision = 77;

    (void)state;
    assert_int_equal(committed(a, "{}", 0), 1);
    assert_int_equal(committed(a, "{\"a\":1}", 1), 2);
    assert_int_equal(settings_store_commit(b, &c, &revision, &fault), PT_ERR_CONFLICT);
    assert_int_equal(revision, 77);
    assert_non_null(strstr(fault.text, "revision 2 is in force, not 1"));
    c.expected = 3;
    assert_int_equal(settings_store_commit(b, &c, &revision, &fault), PT_ERR_CONFLICT);
    c.expected = SETTINGS_REVISION_ANY;
    assert_int_equal(settings_store_commit(b, &c, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 3);
    assert_int_equal(settings_store_head(a, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 3);
    settings_store_close(a);
    settings_store_close(b);
}

static void of_many_processes_one_wins(void **state)
{
    enum { PROCESSES = 8 };
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    pid_t children[PROCESSES];
    int won = 0;

    (void)state;
    assert_int_equal(committed(s, "{}", 0), 1);
    settings_store_close(s);
    for (int i = 0; i < PROCESSES; i++) {
        children[i] = fork();
        if (children[i] == 0) {
            struct settings_commit c = commit_of("{\"x\":1}", 1);
            struct settings_store *mine = opened(SETTINGS_STORE_CREATE);
            uint64_t revision;
            enum pt_err err = settings_store_commit(mine, &c, &revision, &fault);

            settings_store_close(mine);
            _exit(err == PT_ERR_OK ? 0 : err == PT_ERR_CONFLICT ? 1 : 2);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        int status;

        assert_int_equal(waitpid(children[i], &status, 0), children[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
        won += WEXITSTATUS(status) == 0;
    }
    assert_int_equal(won, 1);
}

static void history_comes_in_pages(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_revision page[4];
    uint32_t count;
    char text[40];

    (void)state;
    for (uint64_t i = 0; i < 6; i++) {
        snprintf(text, sizeof text, "{\"n\":%d}", (int)i);
        assert_int_equal(committed(s, text, i), i + 1);
    }
    assert_int_equal(settings_store_history(s, 0, 4, page, &count, &fault), PT_ERR_OK);
    assert_int_equal(count, 4);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(page[i].number, 6 - i);
        assert_null(page[i].document);
        assert_int_equal(page[i].size, 7);
        settings_revision_done(&page[i]);
    }
    assert_int_equal(settings_store_history(s, 3, 4, page, &count, &fault), PT_ERR_OK);
    assert_int_equal(count, 2);
    assert_int_equal(page[0].number, 2);
    settings_revision_done(&page[0]);
    settings_revision_done(&page[1]);
    assert_int_equal(settings_store_history(s, 0, 0, page, &count, &fault), PT_ERR_OK);
    assert_int_equal(count, 0);
    settings_store_close(s);
}

static void a_rollback_is_a_new_revision(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_commit c = commit_of("ignored", 2);
    struct settings_revision r;
    uint64_t revision;

    (void)state;
    committed(s, "{\"old\":1}", 0);
    committed(s, "{\"new\":1}", 1);
    c.comment = STR_NULL;
    assert_int_equal(settings_store_rollback(s, 9, &c, &revision, &fault), PT_ERR_NOTFOUND);
    c.expected = 1;
    assert_int_equal(settings_store_rollback(s, 1, &c, &revision, &fault), PT_ERR_CONFLICT);
    c.expected = 2;
    assert_int_equal(settings_store_rollback(s, 1, &c, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 3);
    assert_int_equal(settings_store_current(s, &r, &fault), PT_ERR_OK);
    assert_string_equal(r.document, "{\"old\":1}");
    assert_string_equal(r.comment, "rollback to revision 1");
    assert_int_equal(r.restored_from, 1);
    settings_revision_done(&r);
    settings_store_close(s);
}

static void texts_are_utf8_and_bounded(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_commit c = commit_of("{}", 0);
    struct settings_revision r;
    uint64_t revision;
    char comment[5001];

    (void)state;
    c.author = STR_NULL;
    assert_int_equal(settings_store_commit(s, &c, &revision, &fault), PT_ERR_INVALID);
    c.author = STR("\xFF");
    assert_int_equal(settings_store_commit(s, &c, &revision, &fault), PT_ERR_INVALID);
    c.author = STR("bob");
    for (size_t i = 0; i < sizeof comment - 1; i++)
        comment[i] = i % 2 ? '\xC3' : i == 0 ? 'x' : '\xA9';
    comment[5000] = 0;
    c.comment = (struct str){ comment, 4999 };
    assert_int_equal(settings_store_commit(s, &c, &revision, &fault), PT_ERR_OK);
    assert_int_equal(settings_store_current(s, &r, &fault), PT_ERR_OK);
    assert_int_equal(strlen(r.comment), 4095); /* a whole character less than 4096 */
    settings_revision_done(&r);
    settings_store_close(s);
}

/* ---- what can be wrong with the file ---- */

static void refused(enum pt_err want, const char *part)
{
    size_t before_n, after_n;
    char *before = check_file_read(folder, "settings.db", &before_n), *after;
    struct settings_store *s = NULL;
    static const enum settings_store_mode modes[] = { SETTINGS_STORE_READ, SETTINGS_STORE_CREATE };

    for (size_t i = 0; i < PT_ARRAY_LEN(modes); i++) {
        assert_int_equal(settings_store_open(&s, folder, modes[i], &fault), want);
        assert_null(s);
        print_message("%s\n", fault.text);
        assert_non_null(strstr(fault.text, part));
        assert_non_null(strstr(fault.text, "settings.db"));
    }
    after = check_file_read(folder, "settings.db", &after_n);
    assert_int_equal(after_n, before_n);
    assert_memory_equal(after, before, before_n);
    free(before);
    free(after);
}

static void write_file(const void *octets, size_t n)
{
    FILE *f = fopen(path(), "wb");

    assert_non_null(f);
    assert_int_equal(fwrite(octets, 1, n, f), n);
    fclose(f);
}

static void a_damaged_file_is_left_alone(void **state)
{
    char noise[8192];

    (void)state;
    memset(noise, 'n', sizeof noise);
    write_file(noise, sizeof noise);
    refused(PT_ERR_CORRUPT, "move settings.db* away");
}

static void another_programs_file_is_left_alone(void **state)
{
    (void)state;
    sql("CREATE TABLE theirs (x)");
    refused(PT_ERR_CORRUPT, "another program");
}

static void a_newer_file_is_left_alone(void **state)
{
    (void)state;
    settings_store_close(opened(SETTINGS_STORE_CREATE));
    sql("PRAGMA user_version=99; PRAGMA wal_checkpoint(TRUNCATE); PRAGMA journal_mode=DELETE");
    refused(PT_ERR_CORRUPT, "newer version");
}

static void a_folder_that_is_not_there(void **state)
{
    struct settings_store *s = NULL;
    char missing[4096];

    (void)state;
    snprintf(missing, sizeof missing, "%s/missing", folder);
    assert_int_equal(settings_store_open(&s, missing, SETTINGS_STORE_CREATE, &fault),
                     PT_ERR_NOTFOUND);
    assert_non_null(strstr(fault.text, "missing/settings.db"));
}

static void an_empty_file_is_a_new_store(void **state)
{
    struct settings_store *s;

    (void)state;
    write_file("", 0);
    assert_int_equal(settings_store_open(&s, folder, SETTINGS_STORE_READ, &fault), PT_ERR_NOTFOUND);
    s = opened(SETTINGS_STORE_CREATE);
    assert_int_equal(committed(s, "{}", 0), 1);
    settings_store_close(s);
}

static void a_flipped_bit_is_noticed(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_revision r;

    (void)state;
    committed(s, "{\"good\":1}", 0);
    committed(s, "{\"evil\":1}", 1);
    sql("UPDATE documents SET body = replace(body, 'evil', 'evim')");
    assert_int_equal(settings_store_current(s, &r, &fault), PT_ERR_CORRUPT);
    assert_non_null(strstr(fault.text, "rollback"));
    assert_int_equal(settings_store_get(s, 1, &r, &fault), PT_ERR_OK);
    assert_string_equal(r.document, "{\"good\":1}");
    settings_revision_done(&r);
    settings_store_close(s);
}

static void a_locked_file_is_said_to_be_so(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_commit c = commit_of("{}", 0);
    struct settings_revision r;
    uint64_t revision;
    sqlite3 *other;

    (void)state;
    committed(s, "{}", 0);
    c.expected = 1;
    settings_store_set_patience(s, 0);
    assert_int_equal(sqlite3_open(path(), &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(settings_store_commit(s, &c, &revision, &fault), PT_ERR_BUSY);
    assert_non_null(strstr(fault.text, "locked by another process"));
    assert_int_equal(settings_store_current(s, &r, &fault), PT_ERR_OK); /* readers go on */
    settings_revision_done(&r);
    assert_int_equal(sqlite3_exec(other, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(settings_store_commit(s, &c, &revision, &fault), PT_ERR_OK);
    settings_store_close(s);
}

static void a_failed_commit_leaves_nothing(void **state)
{
    struct settings_store *s = opened(SETTINGS_STORE_CREATE);
    struct settings_commit c = commit_of("{\"x\":1}", 1);
    uint64_t revision = 0;

    (void)state;
    committed(s, "{}", 0);
    sql("CREATE TRIGGER no BEFORE INSERT ON revisions BEGIN SELECT raise(ABORT, 'no'); END");
    assert_int_equal(settings_store_commit(s, &c, &revision, &fault), PT_ERR_IO);
    sql("DROP TRIGGER no");
    assert_int_equal(settings_store_head(s, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 1);
    assert_int_equal(committed(s, "{\"y\":1}", 1), 2);
    settings_store_close(s);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(an_empty_store_has_nothing),
        TEST(a_commit_is_there_after_reopening),
        TEST(nobody_overwrites_what_they_have_not_seen),
        TEST(of_many_processes_one_wins),
        TEST(history_comes_in_pages),
        TEST(a_rollback_is_a_new_revision),
        TEST(texts_are_utf8_and_bounded),
        TEST(a_damaged_file_is_left_alone),
        TEST(another_programs_file_is_left_alone),
        TEST(a_newer_file_is_left_alone),
        TEST(a_folder_that_is_not_there),
        TEST(an_empty_file_is_a_new_store),
        TEST(a_flipped_bit_is_noticed),
        TEST(a_locked_file_is_said_to_be_so),
        TEST(a_failed_commit_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
