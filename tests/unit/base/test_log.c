#include "base/log.h"

#include <jansson.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

static int make_folder(void **state)
{
    *state = check_folder_new();
    return 0;
}

static int remove_folder(void **state)
{
    log_close();
    log_set_level(LOG_INFO);
    check_folder_remove(*state);
    return 0;
}

static void open_log(const char *folder)
{
    struct pt_fault fault;

    if (log_open(folder, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
}

/* The lines of a log file as JSON; each must be an object with time, level and event. */
static json_t *read_lines(const char *folder, const char *name)
{
    json_t *lines = json_array();
    size_t n;
    char *octets = check_file_read(folder, name, &n);

    for (char *p = octets; p < octets + n;) {
        char *end = memchr(p, '\n', (size_t)(octets + n - p));
        json_error_t error;
        json_t *line;

        assert_non_null(end);
        line = json_loadb(p, (size_t)(end - p), JSON_ALLOW_NUL, &error);
        if (!line)
            fail_msg("%s in %.*s", error.text, (int)(end - p), p);
        assert_true(json_is_string(json_object_get(line, "time")));
        assert_true(json_is_string(json_object_get(line, "level")));
        assert_true(json_is_string(json_object_get(line, "event")));
        json_array_append_new(lines, line);
        p = end + 1;
    }
    free(octets);
    return lines;
}

static const char *text_of(json_t *lines, size_t i, const char *key)
{
    return json_string_value(json_object_get(json_array_get(lines, i), key));
}

static void write_line(const char *event, struct str value)
{
    struct log_line l;

    log_begin(&l, LOG_INFO, event);
    log_str(&l, "value", value);
    log_end(&l);
}

static void what_a_peer_sent_cannot_forge_or_drive_anything(void **state)
{
    static const struct {
        struct str in, out;
    } cases[] = {
        { STR("plain"), STR("\"plain\"") },
        { STR(""), STR("\"\"") },
        { STR("a\"b\\c"), STR("\"a\\u0022b\\u005cc\"") },
        { STR("x\r\n{\"event\":1}"), STR("\"x\\u000d\\u000a{\\u0022event\\u0022:1}\"") },
        { STR("\x1b[31m"), STR("\"\\u001b[31m\"") },
        { STR("nul\0end\x7f"), STR("\"nul\\u0000end\\u007f\"") },
        { STR("gr\xC3\xBC"), STR("\"gr\xC3\xBC\"") },
        { STR("\xE2\x82\xAC\xF0\x9F\x98\x80"), STR("\"\xE2\x82\xAC\xF0\x9F\x98\x80\"") },
        { STR("\xC2\x9B[m"), STR("\"\\u00c2\\u009b[m\"") }, /* a terminal's CSI in one */
        { STR("\xC2\xA0"), STR("\"\xC2\xA0\"") },
        { STR("\xFF\xC3"), STR("\"\\u00ff\\u00c3\"") },
        { STR("\xED\xA0\x80"), STR("\"\\u00ed\\u00a0\\u0080\"") },
        { STR("\xF0\x9F\x98"), STR("\"\\u00f0\\u009f\\u0098\"") },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct buf b;

        buf_init(&b, 1000);
        log_json_string(&b, cases[i].in);
        check_str(buf_str(&b), cases[i].out);
        buf_done(&b);
    }
}

static void every_octet_gives_a_line_that_is_json(void **state)
{
    const char *folder = *state;
    char octets[256];
    json_t *lines;

    for (int i = 0; i < 256; i++)
        octets[i] = (char)i;
    open_log(folder);
    for (size_t n = 0; n <= 256; n++)
        write_line("octets", (struct str){ octets, n });
    log_close();
    lines = read_lines(folder, "postern.log");
    assert_int_equal(json_array_size(lines), 257);
    json_decref(lines);
}

static void a_line_has_what_it_was_given(void **state)
{
    const char *folder = *state;
    struct log_line l;
    json_t *lines, *line;

    open_log(folder);
    log_begin(&l, LOG_INFO, "delivered");
    log_id(&l, 33);
    log_cstr(&l, "next_hop", "mx.example.org");
    log_cstr(&l, "left_out", NULL);
    log_u64(&l, "octets", INT64_MAX);
    log_end(&l);
    log_text(LOG_INFO, "said", "%d %s", 7, "things");
    log_text(LOG_DEBUG, "unheard", "x");
    log_set_level(LOG_DEBUG);
    log_text(LOG_DEBUG, "heard", "x");
    log_flush();
    lines = read_lines(folder, "postern.log");
    assert_int_equal(json_array_size(lines), 3);
    line = json_array_get(lines, 0);
    assert_string_equal(text_of(lines, 0, "id"), "00000000011");
    assert_string_equal(text_of(lines, 0, "next_hop"), "mx.example.org");
    assert_null(json_object_get(line, "left_out"));
    assert_true(json_integer_value(json_object_get(line, "octets")) == INT64_MAX);
    assert_string_equal(text_of(lines, 0, "level"), "info");
    assert_string_equal(text_of(lines, 1, "text"), "7 things");
    assert_string_equal(text_of(lines, 2, "event"), "heard");
    json_decref(lines);
}

static void a_value_too_long_is_left_out_and_the_line_stays_whole(void **state)
{
    static char much[40000];
    const char *folder = *state;
    struct log_line l;
    json_t *lines;

    memset(much, 'a', sizeof much);
    open_log(folder);
    for (size_t n = 16000; n < 16500; n++) {
        log_begin(&l, LOG_INFO, "long");
        log_str(&l, "first", (struct str){ much, n });
        log_u64(&l, "number", n);
        log_str(&l, "second", (struct str){ much, sizeof much });
        log_u64(&l, "number_again", n);
        log_cstr(&l, "last", "x");
        log_end(&l);
    }
    log_close();
    lines = read_lines(folder, "postern.log");
    assert_int_equal(json_array_size(lines), 500);
    for (size_t i = 0; i < 500; i++)
        assert_null(json_object_get(json_array_get(lines, i), "second"));
    assert_non_null(json_object_get(json_array_get(lines, 0), "first"));
    assert_null(json_object_get(json_array_get(lines, 499), "first"));
    assert_string_equal(text_of(lines, 499, "last"), "x");
    json_decref(lines);
}

/* ---- the file ---- */

static void the_log_goes_on_where_it_ended(void **state)
{
    const char *folder = *state;
    json_t *lines;

    for (int i = 0; i < 3; i++) {
        open_log(folder);
        write_line("again", STR("x"));
        log_close();
    }
    lines = read_lines(folder, "postern.log");
    assert_int_equal(json_array_size(lines), 3);
    json_decref(lines);
}

/* Makes the file as long as it may get, without writing that much. */
static void make_full(const char *folder)
{
    char path[4200];

    snprintf(path, sizeof path, "%s/postern.log", folder);
    assert_int_equal(truncate(path, 64 << 20), 0);
}

static void a_full_file_is_put_aside_and_seven_are_kept(void **state)
{
    const char *folder = *state;
    struct stat st;

    for (int i = 0; i < 10; i++) {
        char path[4200];
        json_t *lines;

        open_log(folder);
        write_line("first of a file", STR("x"));
        log_close();
        make_full(folder);
        open_log(folder);
        write_line("over the edge", STR("x"));
        log_flush();
        write_line("in a new file", STR("x"));
        log_close();
        lines = read_lines(folder, "postern.log");
        assert_int_equal(json_array_size(lines), 1);
        assert_string_equal(text_of(lines, 0, "event"), "in a new file");
        json_decref(lines);
        for (int k = 1; k <= 8; k++) {
            snprintf(path, sizeof path, "%s/postern.log.%d", folder, k);
            assert_int_equal(stat(path, &st) == 0, k <= PT_MIN(i + 1, 7));
        }
    }
}

static void lines_that_cannot_be_written_are_counted(void **state)
{
    const char *folder = *state;
    char path[4200];
    uint64_t before = log_dropped();

    snprintf(path, sizeof path, "%s/postern.log", folder);
    assert_int_equal(symlink("/dev/full", path), 0);
    open_log(folder);
    for (int i = 0; i < 5; i++)
        write_line("lost", STR("x"));
    log_flush();
    /* The report of the loss is lost as well, and counted too. */
    assert_true(log_dropped() >= before + 5);
    log_close();
    assert_int_equal(unlink(path), 0);
}

static void a_log_that_lost_lines_says_so_when_it_can(void **state)
{
    const char *folder = *state;
    bool said = false;
    json_t *lines;

    assert_true(log_dropped() > 0); /* by the test before */
    open_log(folder);
    write_line("well again", STR("x"));
    log_flush();
    lines = read_lines(folder, "postern.log");
    for (size_t i = 0; i < json_array_size(lines); i++)
        said |= strcmp(text_of(lines, i, "event"), "log_lines_dropped") == 0;
    assert_true(said);
    json_decref(lines);
}

static void a_folder_that_cannot_be_made_is_an_error(void **state)
{
    const char *folder = *state;
    struct pt_fault fault;
    char path[4200];

    snprintf(path, sizeof path, "%s/no/such", folder);
    assert_int_equal(log_open(path, &fault), PT_ERR_NOTFOUND);
    assert_non_null(strstr(fault.text, path));
}

/* ---- threads ---- */

enum { WRITERS = 4, LINES = 2000 };

static void *write_many(void *ctx)
{
    for (uint64_t i = 0; i < LINES; i++) {
        struct log_line l;

        log_begin(&l, LOG_INFO, "one of many");
        log_u64(&l, "writer", *(unsigned *)ctx);
        log_u64(&l, "number", i);
        log_end(&l);
        if (i % 500 == 0)
            log_flush();
    }
    return NULL;
}

static void lines_of_many_threads_do_not_mix(void **state)
{
    const char *folder = *state;
    unsigned numbers[WRITERS];
    json_int_t next[WRITERS] = { 0 };
    pthread_t threads[WRITERS];
    json_t *lines;
    size_t count;

    open_log(folder);
    for (unsigned i = 0; i < WRITERS; i++) {
        numbers[i] = i;
        assert_int_equal(pthread_create(&threads[i], NULL, write_many, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    log_flush();
    lines = read_lines(folder, "postern.log");
    count = 0;
    for (size_t i = 0; i < json_array_size(lines); i++) {
        json_t *writer = json_object_get(json_array_get(lines, i), "writer");

        if (!writer)
            continue; /* a report of the tests before */
        /* A thread's own lines keep their order. */
        assert_int_equal(json_integer_value(json_object_get(json_array_get(lines, i), "number")),
                         next[json_integer_value(writer)]++);
        count++;
    }
    assert_int_equal(count, WRITERS * LINES);
    json_decref(lines);
}

#define LOG_TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LOG_TEST(what_a_peer_sent_cannot_forge_or_drive_anything),
        LOG_TEST(every_octet_gives_a_line_that_is_json),
        LOG_TEST(a_line_has_what_it_was_given),
        LOG_TEST(a_value_too_long_is_left_out_and_the_line_stays_whole),
        LOG_TEST(the_log_goes_on_where_it_ended),
        LOG_TEST(a_full_file_is_put_aside_and_seven_are_kept),
        LOG_TEST(lines_that_cannot_be_written_are_counted),
        LOG_TEST(a_log_that_lost_lines_says_so_when_it_can),
        LOG_TEST(a_folder_that_cannot_be_made_is_an_error),
        LOG_TEST(lines_of_many_threads_do_not_mix),
    };

    return cmocka_run_group_tests_name("base/log", tests, NULL, NULL);
}
