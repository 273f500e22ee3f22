#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tracking/number.h"
#include "tracking/tracking.h"

/* The store, the thread and the feeds, in a folder of their own. */

static const int64_t now = 1800000000000000, day = INT64_C(86400000000);

static char folder[64];

static int set_up(void **state)
{
    snprintf(folder, sizeof folder, "/tmp/postern-tracking-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[128];

    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command);
}

static struct net_addr address(unsigned n)
{
    return (struct net_addr){ NET_IPV4, { 10, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };
}

/* ---- numbers ---- */

static void references_and_numbers_are_one_to_one(void **state)
{
    uint64_t number = 12345;

    for (int i = 0; i < 100000; i++) {
        uint64_t ref = tracking_number_to_ref(number);

        assert_true(ref <= TRACKING_NUMBER_MASK);
        assert_int_equal(tracking_number_of_ref(ref), number);
        number =
            (number * UINT64_C(6364136223846793005) + 1442695040888963407u) & TRACKING_NUMBER_MASK;
    }
}

/* A mistyped character leads far away: what is near in references is far apart in numbers. */
static void neighbours_are_far_apart(void **state)
{
    unsigned near = 0;

    for (uint64_t ref = 1000; ref < 2000; ref++) {
        uint64_t a = tracking_number_of_ref(ref), b = tracking_number_of_ref(ref + 1);

        near += (a > b ? a - b : b - a) < 1000;
    }
    assert_true(near < 5);
}

/* ---- the store ---- */

static struct tracking_store *open_store(uint64_t refusals_max, uint64_t clients_max,
                                         bool *out_damaged)
{
    struct tracking_store_config config = { .directory = folder,
                                            .mode = TRACKING_STORE_WRITE,
                                            .refusals_max = refusals_max,
                                            .clients_max = clients_max };
    struct tracking_store *s = NULL;
    struct pt_fault fault = { 0 };

    if (tracking_store_open(&s, &config, out_damaged, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return s;
}

static struct tracking_refusal a_refusal(uint64_t number, int64_t time_us)
{
    struct tracking_refusal r = { .ref = tracking_number_to_ref(number),
                                  .time_us = time_us,
                                  .client = { address((unsigned)number), 1025 },
                                  .revision = 7,
                                  .code = 554 };

    tracking_text(r.step, sizeof r.step, STR("connection control"));
    tracking_text(r.entry, sizeof r.entry, STR("10.0.0.0/8"));
    tracking_text(r.reply, sizeof r.reply, STR("no\xff\x01"));
    return r;
}

static void add(struct tracking_store *s, uint64_t number, int64_t time_us)
{
    struct tracking_refusal r = a_refusal(number, time_us);
    struct tracking_store_batch b = { .refusals = &r,
                                      .refusal_count = 1,
                                      .number = number,
                                      .given = 1,
                                      .from_us = time_us,
                                      .until_us = time_us };

    assert_int_equal(tracking_store_add(s, &b, NULL), PT_ERR_OK);
}

static enum pt_err find(struct tracking_store *s, uint64_t number, struct tracking_refusal *out)
{
    return tracking_store_refusal(s, tracking_number_to_ref(number), out, NULL);
}

static void what_is_stored_comes_back(void **state)
{
    struct tracking_store *s = open_store(0, 0, NULL);
    struct tracking_refusal want = a_refusal(5, now), got;

    add(s, 5, now);
    tracking_store_close(s);
    s = open_store(0, 0, NULL);
    assert_int_equal(find(s, 5, &got), PT_ERR_OK);
    assert_memory_equal(&got.client, &want.client, sizeof want.client);
    assert_int_equal(got.time_us, now);
    assert_int_equal(got.revision, 7);
    assert_int_equal(got.code, 554);
    assert_string_equal(got.step, want.step);
    assert_string_equal(got.entry, want.entry);
    assert_string_equal(got.reply, want.reply);
    assert_string_equal(got.helo, "");
    assert_int_equal(find(s, 6, &got), PT_ERR_NOTFOUND);
    tracking_store_close(s);
}

static void spans_grow_for_a_minute_and_date_what_was_not_kept(void **state)
{
    struct tracking_store *s = open_store(0, 0, NULL);
    struct tracking_span span;

    for (unsigned i = 0; i < 200; i++) {
        struct tracking_store_batch b = { .number = 100 + i * 10u,
                                          .given = 10,
                                          .lost = 3,
                                          .from_us = now + i * 1000000,
                                          .until_us = now + (i + 1) * 1000000 };

        assert_int_equal(tracking_store_add(s, &b, NULL), PT_ERR_OK);
    }
    assert_int_equal(tracking_store_span(s, 99, &span, NULL), PT_ERR_NOTFOUND);
    assert_int_equal(tracking_store_span(s, 2100, &span, NULL), PT_ERR_NOTFOUND);
    assert_int_equal(tracking_store_span(s, 100, &span, NULL), PT_ERR_OK);
    assert_int_equal(span.from_us, now);
    assert_in_range(span.until_us, now + 59000000, now + 61000000);
    assert_int_equal(span.lost * 10, span.given * 3);
    assert_int_equal(tracking_store_span(s, 2099, &span, NULL), PT_ERR_OK);
    assert_int_equal(span.until_us, now + 200 * 1000000);
    tracking_store_close(s);
}

static void what_is_older_than_a_month_goes(void **state)
{
    struct tracking_store *s = open_store(0, 0, NULL);
    struct tracking_refusal got;
    struct tracking_span span;

    add(s, 1, now - 31 * day);
    add(s, 2, now - 29 * day);
    assert_int_equal(tracking_store_clean(s, now, NULL), PT_ERR_OK);
    assert_int_equal(find(s, 1, &got), PT_ERR_NOTFOUND);
    assert_int_equal(tracking_store_span(s, 1, &span, NULL), PT_ERR_NOTFOUND);
    assert_int_equal(find(s, 2, &got), PT_ERR_OK);
    tracking_store_close(s);
}

static uint64_t size_of_file(const char *name)
{
    char path[128];
    struct stat st = { 0 };

    snprintf(path, sizeof path, "%s/%s", folder, name);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static void the_oldest_make_room(void **state)
{
    enum { MAX = 200000, ROWS = 6000 };
    struct tracking_store *s = open_store(MAX, 0, NULL);
    struct tracking_refusal got;

    for (unsigned i = 1; i <= ROWS; i++) {
        add(s, i, now + i);
        if (i % 100 == 0)
            assert_int_equal(tracking_store_clean(s, now, NULL), PT_ERR_OK);
    }
    assert_int_equal(find(s, 1, &got), PT_ERR_NOTFOUND);
    assert_int_equal(find(s, ROWS, &got), PT_ERR_OK);
    tracking_store_close(s);
    assert_in_range(size_of_file("refusals.db"), MAX / 2, MAX * 2);
}

/* ---- clients ---- */

struct clients {
    unsigned count;
    struct tracking_client last;
};

static bool count_client(void *user, const struct tracking_client *c)
{
    struct clients *seen = user;

    seen->count++;
    seen->last = *c;
    return true;
}

static struct clients all_clients(struct tracking_store *s)
{
    struct clients seen = { 0 };

    assert_int_equal(tracking_store_clients(s, count_client, &seen, NULL), PT_ERR_OK);
    return seen;
}

static void add_client(struct tracking_store *s, const struct tracking_client *c)
{
    struct tracking_store_batch b = { .clients = c, .client_count = 1 };

    assert_int_equal(tracking_store_add(s, &b, NULL), PT_ERR_OK);
}

static void what_is_new_of_a_client_is_added_to_what_is_known(void **state)
{
    struct tracking_store *s = open_store(0, 0, NULL);
    struct tracking_client c = { .address = address(1),
                                 .first_us = now,
                                 .last_us = now + 1,
                                 .connections = 2,
                                 .messages = 3,
                                 .refusals = 1,
                                 .mail = true,
                                 .tls = true,
                                 .messages_max = 3,
                                 .size_max = 5000,
                                 .code = 550 };
    struct clients seen;

    tracking_text(c.helo, sizeof c.helo, STR("mx.example"));
    tracking_add_name(c.recipients, &c.recipient_count, TRACKING_RECIPIENTS, STR("A.example"));
    tracking_add_name(c.senders, &c.sender_count, TRACKING_SENDERS, STR("s.example"));
    add_client(s, &c);
    c = (struct tracking_client){ .address = address(1),
                                  .first_us = now + 9,
                                  .last_us = now + 9,
                                  .connections = 1,
                                  .messages_max = 1,
                                  .recipients_max = 4 };
    tracking_add_name(c.recipients, &c.recipient_count, TRACKING_RECIPIENTS, STR("b.example"));
    add_client(s, &c);
    seen = all_clients(s);
    assert_int_equal(seen.count, 1);
    c = seen.last;
    assert_int_equal(c.first_us, now);
    assert_int_equal(c.last_us, now + 9);
    assert_int_equal(c.connections, 3);
    assert_int_equal(c.messages, 3);
    assert_int_equal(c.refusals, 1);
    assert_true(c.mail && c.tls);
    assert_int_equal(c.messages_max, 3);
    assert_int_equal(c.recipients_max, 4);
    assert_int_equal(c.size_max, 5000);
    assert_int_equal(c.code, 550);
    assert_string_equal(c.helo, "mx.example");
    assert_int_equal(c.sender_count, 1);
    assert_int_equal(c.recipient_count, 2);
    assert_string_equal(c.recipients[0], "b.example");
    assert_string_equal(c.recipients[1], "a.example");
    tracking_store_close(s);
}

static void domains_are_bounded_and_the_latest_stay(void **state)
{
    struct tracking_store *s = open_store(0, 0, NULL);
    struct clients seen;

    for (unsigned i = 0; i < 20; i++) {
        struct tracking_client c = { .address = address(1), .first_us = now, .last_us = now };
        char name[32];

        snprintf(name, sizeof name, "d%u.example", i);
        tracking_add_name(c.recipients, &c.recipient_count, TRACKING_RECIPIENTS, str_of(name));
        add_client(s, &c);
    }
    seen = all_clients(s);
    assert_int_equal(seen.last.recipient_count, TRACKING_RECIPIENTS);
    assert_string_equal(seen.last.recipients[0], "d19.example");
    assert_string_equal(seen.last.recipients[TRACKING_RECIPIENTS - 1], "d12.example");
    tracking_store_close(s);
}

static void too_many_clients_make_room_and_senders_stay(void **state)
{
    struct tracking_store *s = open_store(0, 100, NULL);
    unsigned senders = 0;
    struct clients seen;

    for (unsigned i = 0; i < 500; i++) {
        struct tracking_client c = { .address = address(i),
                                     .first_us = now + i,
                                     .last_us = now + i,
                                     .connections = 1,
                                     .messages = i < 20 };

        add_client(s, &c);
        if (i % 50 == 49)
            assert_int_equal(tracking_store_clean(s, now, NULL), PT_ERR_OK);
    }
    seen = all_clients(s);
    assert_in_range(seen.count, 50, 100);
    for (unsigned i = 0; i < 20; i++) {
        struct tracking_client again = { .address = address(i), .first_us = now, .last_us = now };

        add_client(s, &again); /* adds no row */
        senders++;
    }
    assert_int_equal(all_clients(s).count, seen.count);
    assert_int_equal(senders, 20);
    assert_int_equal(tracking_store_clean(s, now + 8 * day, NULL), PT_ERR_OK);
    assert_int_equal(all_clients(s).count, 0);
    tracking_store_close(s);
}

/* ---- names ---- */

static void names_move_to_the_front_and_long_ones_are_left_out(void **state)
{
    struct tracking_client c = { .address = address(1) };
    char longer[TRACKING_NAME_SIZE + 1];

    memset(longer, 'x', sizeof longer);
    for (unsigned i = 0; i < 10; i++) {
        char name[8] = { (char)('a' + i) };

        tracking_add_name(c.senders, &c.sender_count, TRACKING_SENDERS, str_of(name));
    }
    tracking_add_name(c.senders, &c.sender_count, TRACKING_SENDERS, STR("H"));
    tracking_add_name(c.senders, &c.sender_count, TRACKING_SENDERS,
                      (struct str){ longer, TRACKING_NAME_SIZE });
    tracking_add_name(c.senders, &c.sender_count, TRACKING_SENDERS, STR("with\nline"));
    tracking_add_name(c.senders, &c.sender_count, TRACKING_SENDERS, STR(""));
    assert_int_equal(c.sender_count, TRACKING_SENDERS);
    assert_string_equal(c.senders[0], "h");
    assert_string_equal(c.senders[1], "j");
    assert_string_equal(c.senders[2], "i");
    assert_string_equal(c.senders[3], "g");
}

static void a_text_is_cut_between_characters(void **state)
{
    char out[6];

    tracking_text(out, sizeof out, STR("abcd\xC3\xA9"));
    assert_string_equal(out, "abcd");
    tracking_text(out, sizeof out, STR("abc\xC3\xA9"));
    assert_string_equal(out, "abc\xC3\xA9");
    tracking_text(out, sizeof out, STR_NULL);
    assert_string_equal(out, "");
}

/* ---- damage ---- */

static void overwrite(const char *name, off_t from, size_t n)
{
    char path[128], octets[4096];
    int fd;

    memset(octets, 0xA5, sizeof octets);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, from, SEEK_SET), from);
    assert_int_equal(write(fd, octets, n), (ssize_t)n);
    close(fd);
}

static void damage_to_one_is_said_and_leaves_the_other(void **state)
{
    struct tracking_client c = { .address = address(1), .first_us = now, .last_us = now };
    struct tracking_store *s = open_store(0, 0, NULL);
    struct tracking_refusal got;
    bool damaged = false;

    add(s, 1, now);
    add_client(s, &c);
    tracking_store_close(s);
    overwrite("refusals.db", 0, 4096);
    s = open_store(0, 0, &damaged);
    assert_true(damaged);
    assert_int_equal(find(s, 1, &got), PT_ERR_NOTFOUND);
    assert_int_equal(all_clients(s).count, 1);
    add(s, 2, now);
    assert_int_equal(find(s, 2, &got), PT_ERR_OK);
    tracking_store_close(s);
    assert_true(size_of_file("refusals.db.damaged") > 0);
}

/* ---- the thread and its feeds ---- */

static uint64_t refuse(struct tracking *t, struct tracking_feed *f, unsigned client, int64_t at)
{
    struct net_addr a = address(client);
    struct tracking_refusal *r = tracking_feed_refusal(f, &a, at);
    uint64_t ref = tracking_next_ref(t);

    if (r) {
        r->ref = ref;
        r->time_us = at;
        r->client.addr = a;
        r->code = 554;
    }
    return ref;
}

static void what_a_feed_hands_over_is_found(void **state)
{
    struct tracking *t = tracking_new(folder);
    struct tracking_feed *f = tracking_feed_new(t);
    uint64_t ref = refuse(t, f, 1, now);
    struct tracking_refusal got;
    struct tracking_span span;
    struct tracking_stats stats;

    assert_true(tracking_feed_has(f));
    assert_true(tracking_feed_hand_over(f));
    assert_false(tracking_feed_has(f));
    assert_int_equal(tracking_find_refusal(t, ref, &got, &span, NULL), PT_ERR_OK);
    assert_int_equal(got.code, 554);
    assert_int_equal(
        tracking_find_refusal(t, tracking_number_to_ref(tracking_number_of_ref(ref) + 1000000),
                              &got, &span, NULL),
        PT_ERR_NOTFOUND);
    tracking_get_stats(t, &stats);
    assert_int_equal(stats.refusals, 1);
    assert_int_equal(stats.refusals_lost, 0);
    assert_int_equal(stats.fault.err, PT_ERR_OK);
    tracking_feed_free(f);
    tracking_free(t);
}

static void a_flood_of_one_client_leaves_room_for_others(void **state)
{
    struct tracking *t = tracking_new(folder);
    struct tracking_feed *f = tracking_feed_new(t);
    struct tracking_stats stats;
    uint64_t last = 0, other;
    struct tracking_refusal got;
    struct tracking_span span;

    for (int i = 0; i < 10000; i++)
        last = refuse(t, f, 1, now);
    other = refuse(t, f, 2, now);
    assert_true(tracking_feed_hand_over(f));
    assert_int_equal(tracking_find_refusal(t, other, &got, &span, NULL), PT_ERR_OK);
    assert_int_equal(tracking_find_refusal(t, last, &got, &span, NULL), PT_ERR_AGAIN);
    assert_true(span.lost == 10000 - TRACKING_PER_CLIENT && span.given >= 10001);
    tracking_get_stats(t, &stats);
    assert_int_equal(stats.refusals, TRACKING_PER_CLIENT + 1);
    assert_int_equal(stats.refusals_lost, 10000 - TRACKING_PER_CLIENT);
    tracking_feed_free(f);
    tracking_free(t);
}

static void a_second_has_room_for_a_hundred(void **state)
{
    struct tracking *t = tracking_new(folder);
    struct tracking_feed *f = tracking_feed_new(t);
    struct tracking_stats stats;

    for (unsigned i = 0; i < 1000; i++) {
        refuse(t, f, i, now);
        if (i % 50 == 49) {
            assert_true(tracking_feed_hand_over(f));
            tracking_flush(t);
        }
    }
    tracking_get_stats(t, &stats);
    assert_int_equal(stats.refusals, TRACKING_PER_SECOND);
    assert_int_equal(stats.refusals_lost, 1000 - TRACKING_PER_SECOND);
    refuse(t, f, 1, now + 1000000);
    tracking_feed_free(f);
    tracking_get_stats(t, &stats);
    assert_int_equal(stats.refusals, TRACKING_PER_SECOND + 1);
    tracking_free(t);
}

static void more_clients_than_a_batch_holds_are_counted(void **state)
{
    struct tracking *t = tracking_new(folder);
    struct tracking_feed *f = tracking_feed_new(t);
    struct clients seen = { 0 };
    struct tracking_stats stats;

    for (unsigned i = 0; i < 5000; i++) {
        struct net_addr a = address(i);
        struct tracking_client *c = tracking_feed_client(f, &a, now);

        if (c)
            c->connections++;
        if (c) /* it is found again */
            assert_ptr_equal(tracking_feed_client(f, &a, now), c);
    }
    tracking_feed_free(f);
    assert_int_equal(tracking_each_client(t, count_client, &seen, NULL), PT_ERR_OK);
    tracking_get_stats(t, &stats);
    assert_int_equal(seen.count, TRACKING_CLIENTS_AT_ONCE);
    assert_int_equal(stats.clients_lost, 5000 - TRACKING_CLIENTS_AT_ONCE);
    tracking_free(t);
}

static void a_restart_goes_on_with_other_references(void **state)
{
    uint64_t before[50], number = 0;

    for (int run = 0; run < 50; run++) {
        struct tracking *t = tracking_new(folder);

        before[run] = tracking_number_of_ref(tracking_next_ref(t));
        if (run)
            assert_true(((before[run] - number) & TRACKING_NUMBER_MASK) < 1000);
        number = before[run];
        tracking_free(t);
    }
}

/* A killed process leaves its reservation behind. */
static void after_a_kill_the_numbers_go_on_behind_the_reservation(void **state)
{
    struct tracking *t = tracking_new(folder);
    uint64_t first = tracking_number_of_ref(tracking_next_ref(t)), reserved = 0;
    struct tracking_store *s;

    s = open_store(0, 0, NULL); /* as the next process would, while this one is not over */
    assert_int_equal(tracking_store_reserved(s, &reserved, NULL), PT_ERR_OK);
    tracking_store_close(s);
    assert_true(((reserved - first) & TRACKING_NUMBER_MASK) > 100000);
    tracking_free(t);
}

static void without_a_folder_nothing_is_kept_until_there_is_one(void **state)
{
    char path[96];
    struct tracking *t;
    struct tracking_feed *f;
    struct tracking_stats stats;
    struct tracking_refusal got;
    struct tracking_span span;
    uint64_t ref;

    snprintf(path, sizeof path, "%s/none/deeper", folder);
    t = tracking_new(path);
    f = tracking_feed_new(t);
    assert_true(refuse(t, f, 1, now) != refuse(t, f, 1, now));
    assert_true(tracking_feed_hand_over(f));
    tracking_flush(t);
    tracking_get_stats(t, &stats);
    assert_int_not_equal(stats.fault.err, PT_ERR_OK);
    assert_int_equal(stats.refusals, 0);
    assert_int_equal(stats.refusals_lost, 2);
    *strrchr(path, '/') = 0;
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 600 && stats.fault.err != PT_ERR_OK; i++) {
        usleep(10000);
        tracking_get_stats(t, &stats);
    }
    assert_int_equal(stats.fault.err, PT_ERR_OK);
    ref = refuse(t, f, 1, now);
    assert_true(tracking_feed_hand_over(f));
    assert_int_equal(tracking_find_refusal(t, ref, &got, &span, NULL), PT_ERR_OK);
    tracking_feed_free(f);
    tracking_free(t);
}

static void nothing_at_all_is_accepted(void **state)
{
    struct net_addr a = address(1);

    assert_null(tracking_feed_new(NULL));
    assert_null(tracking_feed_refusal(NULL, &a, now));
    assert_null(tracking_feed_client(NULL, &a, now));
    assert_false(tracking_feed_has(NULL));
    assert_true(tracking_feed_hand_over(NULL));
    tracking_feed_free(NULL);
    tracking_free(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(references_and_numbers_are_one_to_one),
        TEST(neighbours_are_far_apart),
        TEST(what_is_stored_comes_back),
        TEST(spans_grow_for_a_minute_and_date_what_was_not_kept),
        TEST(what_is_older_than_a_month_goes),
        TEST(the_oldest_make_room),
        TEST(what_is_new_of_a_client_is_added_to_what_is_known),
        TEST(domains_are_bounded_and_the_latest_stay),
        TEST(too_many_clients_make_room_and_senders_stay),
        TEST(names_move_to_the_front_and_long_ones_are_left_out),
        TEST(a_text_is_cut_between_characters),
        TEST(damage_to_one_is_said_and_leaves_the_other),
        TEST(what_a_feed_hands_over_is_found),
        TEST(a_flood_of_one_client_leaves_room_for_others),
        TEST(a_second_has_room_for_a_hundred),
        TEST(more_clients_than_a_batch_holds_are_counted),
        TEST(a_restart_goes_on_with_other_references),
        TEST(after_a_kill_the_numbers_go_on_behind_the_reservation),
        TEST(without_a_folder_nothing_is_kept_until_there_is_one),
        TEST(nothing_at_all_is_accepted),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
