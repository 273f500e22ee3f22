#include "settings/audit.h"

#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "settings/changes.h"
#include "settings/participant.h"

static char *folder;
static struct pt_fault fault;
static struct settings_store *store;

static int open_store(void **state)
{
    folder = check_folder_new();
    return settings_store_open(&store, folder, SETTINGS_STORE_CREATE, &fault) == PT_ERR_OK ? 0 : -1;
}

static int close_store(void **state)
{
    settings_store_close(store);
    store = NULL;
    check_folder_remove(folder);
    return 0;
}

static const char *path(void)
{
    static char text[4096];

    snprintf(text, sizeof text, "%s/settings.db", folder);
    return text;
}

static struct settings_audit row_of(const char *actor, const char *action, int64_t time_us)
{
    return (struct settings_audit){ .time_us = time_us,
                                    .actor = str_of(actor),
                                    .uid = 1000,
                                    .origin = STR("a test"),
                                    .action = action };
}

static uint64_t added(const struct settings_audit *row)
{
    uint64_t id = 0;

    if (settings_audit_add(store, row, &id, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return id;
}

/* What a list shows, as "id actor action outcome detail changes revision;…". */
static char shown[65536];
static uint64_t total;
static bool more;

static void show(void *user, uint64_t id, const struct settings_audit *a)
{
    size_t used = strlen(shown);

    snprintf(shown + used, sizeof shown - used, "%llu %.*s %s %s %.*s %.*s %llu;",
             (unsigned long long)id, (int)a->actor.n, a->actor.p, a->action,
             settings_audit_outcome_name(a->outcome), (int)a->detail.n, a->detail.p,
             (int)a->changes.n, a->changes.p, (unsigned long long)a->revision);
}

static const char *listed(struct settings_audit_filter f)
{
    f.limit = f.limit ? f.limit : 100;
    shown[0] = 0;
    if (settings_audit_list(store, &f, show, NULL, &total, &more, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return shown;
}

/* ---- rows ---- */

static void a_deed_is_begun_and_ends(void **state)
{
    struct settings_audit row = row_of("ann", "queue.delete", 5);
    uint64_t id = added(&row);

    assert_string_equal(listed((struct settings_audit_filter){ 0 }),
                        "1 ann queue.delete begun   0;");
    assert_int_equal(settings_audit_end(store, id, SETTINGS_AUDIT_DONE, STR("3 messages"), &fault),
                     PT_ERR_OK);
    assert_string_equal(listed((struct settings_audit_filter){ 0 }),
                        "1 ann queue.delete done 3 messages  0;");
}

static void a_revision_and_its_row_are_one(void **state)
{
    struct settings_audit row = row_of("ann", "settings.change", 5);
    struct settings_commit c = {
        .document = STR("{}"), .author = STR("ann"), .time_us = 5, .expected = 0, .audit = &row
    };
    uint64_t revision;

    row.changes = STR("[1]");
    assert_int_equal(settings_store_commit(store, &c, &revision, &fault), PT_ERR_OK);
    assert_string_equal(listed((struct settings_audit_filter){ 0 }),
                        "1 ann settings.change done  [1] 1;");
    /* A conflict leaves neither. */
    assert_int_equal(settings_store_commit(store, &c, &revision, &fault), PT_ERR_CONFLICT);
    assert_int_equal(settings_store_head(store, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 1);
    listed((struct settings_audit_filter){ 0 });
    assert_int_equal(total, 1);
    c.expected = 1;
    row.action = "settings.restore";
    assert_int_equal(settings_store_rollback(store, 1, &c, &revision, &fault), PT_ERR_OK);
    assert_string_equal(listed((struct settings_audit_filter){ .limit = 1 }),
                        "2 ann settings.restore done  [1] 2;");
    assert_true(more);
}

static void rows_are_found_by_what_they_say(void **state)
{
    struct settings_audit a = row_of("ann", "queue.delete", 10),
                          b = row_of("bob", "queue.hold", 20),
                          c = row_of("ann", "settings.change", 30),
                          d = row_of("ann", "queuer.x", 40);

    added(&a);
    added(&b);
    added(&c);
    added(&d);
    listed((struct settings_audit_filter){ .actor = STR("ann") });
    assert_int_equal(total, 3);
    listed((struct settings_audit_filter){ .action = STR("queue") });
    assert_int_equal(total, 2);
    listed((struct settings_audit_filter){ .action = STR("queue.hold") });
    assert_int_equal(total, 1);
    listed((struct settings_audit_filter){ .action = STR("queu") });
    assert_int_equal(total, 0);
    listed((struct settings_audit_filter){ .since_us = 20, .until_us = 40 });
    assert_int_equal(total, 2);
    assert_string_equal(listed((struct settings_audit_filter){ .limit = 2 }),
                        "4 ann queuer.x begun   0;3 ann settings.change begun   0;");
    assert_true(more);
    assert_string_equal(listed((struct settings_audit_filter){ .limit = 2, .before = 3 }),
                        "2 bob queue.hold begun   0;1 ann queue.delete begun   0;");
    assert_false(more);
}

static void texts_are_bounded(void **state)
{
    static char text[70000];
    struct settings_audit row = row_of("ann", "x.y", 1);

    memset(text, 'x', sizeof text);
    row.detail = row.target = (struct str){ text, 20000 };
    row.changes = (struct str){ text, SETTINGS_AUDIT_CHANGES_MAX + 1 };
    added(&row);
    assert_true(strlen(listed((struct settings_audit_filter){ 0 })) < 1200);
    row.actor = STR("");
    assert_int_equal(settings_audit_add(store, &row, &total, &fault), PT_ERR_INVALID);
    row.actor = STR("\xff");
    assert_int_equal(settings_audit_add(store, &row, &total, &fault), PT_ERR_INVALID);
}

static void sql(const char *statement)
{
    sqlite3 *db;

    assert_int_equal(sqlite3_open(path(), &db), SQLITE_OK);
    assert_int_equal(sqlite3_exec(db, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void the_oldest_rows_go(void **state)
{
    struct settings_audit row = row_of("ann", "x.y", 1);

    sql("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<100000)"
        " INSERT INTO audit SELECT i,i,'old',0,'','x.y','',1,'','',0 FROM n");
    added(&row);
    listed((struct settings_audit_filter){ .limit = 1 });
    assert_int_equal(total, SETTINGS_AUDIT_ROWS_MAX);
    listed((struct settings_audit_filter){ .before = 2 });
    assert_string_equal(shown, "");
}

/* ---- trouble ---- */

/* Without room for its row, a revision is not made either. */
static void a_change_that_cannot_be_recorded_is_not_made(void **state)
{
    struct settings_audit row = row_of("ann", "settings.change", 5);
    struct settings_commit c = {
        .document = STR("{}"), .author = STR("ann"), .time_us = 5, .audit = &row
    };
    uint64_t revision = 9;

    sql("CREATE TRIGGER t BEFORE INSERT ON audit BEGIN SELECT RAISE(ABORT, 'no'); END");
    assert_int_equal(settings_store_commit(store, &c, &revision, &fault), PT_ERR_IO);
    assert_int_equal(settings_store_head(store, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 0);
}

static void a_database_moved_away_gets_no_more_rows(void **state)
{
    struct settings_audit row = row_of("ann", "x.y", 1);
    char moved[4200];

    added(&row);
    snprintf(moved, sizeof moved, "%s.old", path());
    assert_int_equal(rename(path(), moved), 0);
    row.actor = STR("bob");
    assert_int_equal(added(&row), 1); /* in a new one, from the beginning */
    assert_string_equal(listed((struct settings_audit_filter){ 0 }), "1 bob x.y begun   0;");
    /* A foreign file there is refused, and nothing is done to it; later all is well again. */
    assert_int_equal(unlink(path()), 0);
    sql("CREATE TABLE other (x)");
    assert_int_equal(settings_audit_add(store, &row, &total, &fault), PT_ERR_CORRUPT);
    assert_int_equal(settings_audit_add(store, &row, &total, &fault), PT_ERR_CORRUPT);
    assert_int_equal(settings_store_head(store, &total, &fault), PT_ERR_CORRUPT);
    assert_int_equal(unlink(path()), 0);
    assert_int_equal(added(&row), 1);
}

/* With the files held at their size, as a full disk holds them, small rows still find room. */
static void a_full_disk_leaves_room_for_rows(void **state)
{
    static char large[1 << 20];
    struct settings_audit row = row_of("ann", "queue.delete", 1);
    struct settings_commit c = { .author = STR("ann"), .expected = SETTINGS_REVISION_ANY };
    struct rlimit before, now;
    struct stat db, wal;
    char name[4200];
    uint64_t revision;
    enum pt_err err;

    assert_int_equal(settings_store_reserve(store, &fault), PT_ERR_OK);
    snprintf(name, sizeof name, "%s-wal", path());
    assert_int_equal(stat(name, &wal), 0);
    assert_int_equal(stat(path(), &db), 0);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_IGN);
    now = before;
    now.rlim_cur = (rlim_t)PT_MAX(db.st_size, wal.st_size);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    for (int i = 0; i < 60; i++)
        added(&row);
    memset(large, ' ', sizeof large);
    c.document = (struct str){ large, sizeof large };
    err = settings_store_commit(store, &c, &revision, &fault);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    assert_true(err == PT_ERR_NOSPACE || err == PT_ERR_IO);
    assert_int_equal(settings_store_head(store, &revision, &fault), PT_ERR_OK);
    assert_int_equal(revision, 0);
    assert_int_equal(settings_store_commit(store, &c, &revision, &fault), PT_ERR_OK);
    listed((struct settings_audit_filter){ 0 });
    assert_int_equal(total, 60);
}

/* ---- what changed ---- */

static void changes_are_told(void **state)
{
    static const struct {
        const char *before, *after, *changes;
    } cases[] = {
        { "{}", "{}", "[]" },
        { "{\"a\":1}", "{ \"a\": 1 }", "[]" },
        { "{\"a\":{\"b/~c\":1}}", "{\"a\":{\"b/~c\":null}}",
          "[{\"pointer\":\"/a/b~1~0c\",\"before\":1,\"after\":null}]" },
        { "{\"a\":1}", "{\"b\":\"x\"}",
          "[{\"pointer\":\"/a\",\"before\":1},{\"pointer\":\"/b\",\"after\":\"x\"}]" },
        { "{\"l\":[1,2,3,4]}", "{\"l\":[1,3,9,4]}",
          "[{\"pointer\":\"/l\",\"removed\":[2],\"added\":[9],\"before_count\":4,\"after_count\":4}"
          "]" },
        { "{\"l\":[1,2]}", "{\"l\":[2,1]}",
          "[{\"pointer\":\"/"
          "l\",\"removed\":[],\"added\":[],\"before_count\":2,\"after_count\":2}]" },
        { "{\"l\":[1,1]}", "{\"l\":[1]}",
          "[{\"pointer\":\"/"
          "l\",\"removed\":[1],\"added\":[],\"before_count\":2,\"after_count\":1}]" },
        { "nonsense", "{}", "" },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct buf out;

        buf_init(&out, 4096);
        settings_changes_write(str_of(cases[i].before), str_of(cases[i].after), 4096, &out);
        assert_string_equal(buf_cstr(&out), cases[i].changes);
        buf_done(&out);
    }
}

static void what_does_not_fit_is_counted(void **state)
{
    struct buf before, after, out;

    buf_init(&before, 1 << 20);
    buf_init(&after, 1 << 20);
    BUF_LIT(&before, "{");
    BUF_LIT(&after, "{");
    for (int i = 0; i < 1000; i++) {
        buf_addf(&before, "%s\"key%d\":1", i ? "," : "", i);
        buf_addf(&after, "%s\"key%d\":2", i ? "," : "", i);
    }
    BUF_LIT(&before, "}");
    BUF_LIT(&after, "}");
    for (size_t max = 256; max < 3000; max += 7) {
        buf_init(&out, max);
        settings_changes_write(buf_str(&before), buf_str(&after), max, &out);
        assert_false(out.failed);
        assert_true(out.n <= max);
        assert_non_null(strstr(buf_cstr(&out), "{\"pointer\":\"\",\"more\":9"));
        assert_int_equal(out.p[out.n - 1], ']');
        buf_done(&out);
    }
    buf_done(&before);
    buf_done(&after);
}

/* ---- participants ---- */

struct taker {
    char name;
    bool refuses;
};

static char told[100];

static void tell(char what, char who)
{
    size_t n = strlen(told);

    told[n] = what;
    told[n + 1] = who;
    told[n + 2] = 0;
}

static enum pt_err prepare(void *ctx, const struct settings *s, void **out,
                           struct settings_refusal *why)
{
    struct taker *t = ctx;

    tell('p', t->name);
    if (t->refuses)
        return pt_fault_set(&why->fault, PT_ERR_BUSY, "no");
    *out = t;
    return PT_ERR_OK;
}

static void publish(void *ctx, const struct settings *s, void **prepared)
{
    assert_ptr_equal(*prepared, ctx);
    tell('P', ((struct taker *)ctx)->name);
    *prepared = NULL; /* nothing was in force before */
}

static void release(void *ctx, void *prepared)
{
    tell(prepared ? 'r' : '-', ((struct taker *)ctx)->name);
}

static void all_take_part_or_none(void **state)
{
    struct taker a = { 'a', false }, b = { 'b', false }, c = { 'c', false };
    struct settings_participants all = { .count = 0 };
    struct settings_refusal why = { .pointer = NULL };
    struct settings_prepared prepared;

    settings_participants_add(&all,
                              &(struct settings_participant){ "a", &a, prepare, publish, release });
    settings_participants_add(&all,
                              &(struct settings_participant){ "b", &b, prepare, publish, release });
    settings_participants_add(&all,
                              &(struct settings_participant){ "c", &c, prepare, publish, release });
    told[0] = 0;
    assert_int_equal(settings_prepare(&all, NULL, &prepared, &why), PT_ERR_OK);
    settings_publish(&all, NULL, &prepared);
    settings_release(&all, &prepared);
    assert_string_equal(told, "papbpcPaPbPc-c-b-a");
    told[0] = 0;
    c.refuses = true;
    assert_int_equal(settings_prepare(&all, NULL, &prepared, &why), PT_ERR_BUSY);
    assert_string_equal(told, "papbpcrbra");
    assert_string_equal(why.fault.text, "no");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_store, close_store)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_deed_is_begun_and_ends),
        TEST(a_revision_and_its_row_are_one),
        TEST(rows_are_found_by_what_they_say),
        TEST(texts_are_bounded),
        TEST(the_oldest_rows_go),
        TEST(a_change_that_cannot_be_recorded_is_not_made),
        TEST(a_database_moved_away_gets_no_more_rows),
        TEST(a_full_disk_leaves_room_for_rows),
        cmocka_unit_test(changes_are_told),
        cmocka_unit_test(what_does_not_fit_is_counted),
        cmocka_unit_test(all_take_part_or_none),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
