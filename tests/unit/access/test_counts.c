#include "access/counts.h"

#include <pthread.h>

#include "access/bans.h"
#include "access/tally.h"
#include "check.h"

#define SECOND INT64_C(1000000)
#define SEED 0x1234567890ABCDEFull

static struct net_addr addr(const char *text)
{
    struct net_addr a;

    assert_true(net_addr_parse(str_of(text), &a));
    return a;
}

/* The n-th address of 16 million. */
static struct net_addr nth(uint32_t n)
{
    return (struct net_addr){ NET_IPV4,
                              { 100, (uint8_t)(n >> 16), (uint8_t)(n >> 8), (uint8_t)n } };
}

static struct access_now at(int64_t seconds)
{
    return (struct access_now){ seconds * SECOND, 10 };
}

static struct access_client read_at(struct access_counts *c, const char *client, int64_t seconds)
{
    struct net_addr a = addr(client);
    struct access_client out;

    access_counts_read(c, &a, at(seconds), &out);
    return out;
}

static struct access_client add(struct access_counts *c, const char *client,
                                enum access_counted what, uint32_t n, int64_t seconds)
{
    struct net_addr a = addr(client);
    struct access_client before;

    access_counts_add(c, &a, what, n, at(seconds), &before);
    return before;
}

/* ---- counting ---- */

static void what_was_before_is_told_by_address_and_by_network(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    struct access_client u;

    (void)state;
    u = add(c, "192.0.2.1", ACCESS_MESSAGES, 3, 100);
    assert_int_equal(u.address.in_minute[ACCESS_MESSAGES], 0);
    u = add(c, "192.0.2.9", ACCESS_MESSAGES, 2, 100);
    assert_int_equal(u.address.in_minute[ACCESS_MESSAGES], 0);
    assert_int_equal(u.prefix.in_minute[ACCESS_MESSAGES], 3);
    u = read_at(c, "192.0.2.9", 100);
    assert_int_equal(u.address.in_minute[ACCESS_MESSAGES], 2);
    assert_int_equal(u.prefix.in_minute[ACCESS_MESSAGES], 5);
    assert_int_equal(u.prefix.in_minute[ACCESS_RECIPIENTS], 0);
    u = read_at(c, "192.0.3.9", 100);
    assert_int_equal(u.prefix.in_minute[ACCESS_MESSAGES], 0);
    add(c, "2001:db8::1", ACCESS_RECIPIENTS, 1, 100);
    add(c, "2001:db8::2", ACCESS_RECIPIENTS, 1, 100);
    add(c, "2001:db8:0:1::1", ACCESS_RECIPIENTS, 1, 100);
    u = read_at(c, "2001:db8::1", 100);
    assert_int_equal(u.address.in_minute[ACCESS_RECIPIENTS], 1);
    assert_int_equal(u.prefix.in_minute[ACCESS_RECIPIENTS], 2);
    access_counts_free(c);
}

/* An IPv4 address and an IPv6 one with the same octets are two clients. */
static void families_are_apart(void **state)
{
    struct access_counts *c = access_counts_new(SEED);

    (void)state;
    add(c, "10.0.0.1", ACCESS_MESSAGES, 1, 1);
    assert_int_equal(read_at(c, "a00:1::", 1).address.in_minute[ACCESS_MESSAGES], 0);
    access_counts_free(c);
}

static void a_minute_is_forgotten_ten_seconds_at_a_time(void **state)
{
    struct access_counts *c = access_counts_new(SEED);

    (void)state;
    add(c, "192.0.2.1", ACCESS_CONNECTIONS, 1, 1000);
    add(c, "192.0.2.1", ACCESS_CONNECTIONS, 2, 1025);
    assert_int_equal(read_at(c, "192.0.2.1", 1059).address.in_minute[ACCESS_CONNECTIONS], 3);
    assert_int_equal(read_at(c, "192.0.2.1", 1060).address.in_minute[ACCESS_CONNECTIONS], 2);
    assert_int_equal(read_at(c, "192.0.2.1", 1079).address.in_minute[ACCESS_CONNECTIONS], 2);
    assert_int_equal(read_at(c, "192.0.2.1", 1080).address.in_minute[ACCESS_CONNECTIONS], 0);
    add(c, "192.0.2.1", ACCESS_CONNECTIONS, 4, 999999);
    assert_int_equal(read_at(c, "192.0.2.1", 999999).address.in_minute[ACCESS_CONNECTIONS], 4);
    access_counts_free(c);
}

static void a_clock_that_goes_back_loses_nothing(void **state)
{
    struct access_counts *c = access_counts_new(SEED);

    (void)state;
    add(c, "192.0.2.1", ACCESS_CONNECTIONS, 1, 1000);
    add(c, "192.0.2.1", ACCESS_CONNECTIONS, 1, 985);
    assert_int_equal(read_at(c, "192.0.2.1", 985).address.in_minute[ACCESS_CONNECTIONS], 2);
    assert_int_equal(read_at(c, "192.0.2.1", 1060).address.in_minute[ACCESS_CONNECTIONS], 0);
    access_counts_free(c);
}

static void failures_last_as_long_as_the_caller_says(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    struct net_addr a = addr("192.0.2.1");
    struct access_client u;

    (void)state;
    add(c, "192.0.2.1", ACCESS_FAILURES, 5, 6000);
    add(c, "192.0.2.1", ACCESS_FAILURES, 2, 6300);
    u = read_at(c, "192.0.2.1", 6599);
    assert_int_equal(u.address.in_minute[ACCESS_FAILURES], 0);
    assert_int_equal(u.address.failures, 7);
    assert_int_equal(u.prefix.failures, 7);
    assert_int_equal(read_at(c, "192.0.2.1", 6600).address.failures, 2);
    assert_int_equal(read_at(c, "192.0.2.1", 6900).address.failures, 0);
    add(c, "192.0.2.1", ACCESS_FAILURES, 1, 6900);
    access_counts_read(c, &a, (struct access_now){ 6900 * SECOND, 60 }, &u);
    assert_int_equal(u.address.failures, 0); /* another span begins anew */
    access_counts_free(c);
}

static void what_is_forgiven_is_forgotten(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    struct net_addr four = addr("192.0.2.1"), six = addr("2001:db8::1");

    (void)state;
    add(c, "192.0.2.1", ACCESS_FAILURES, 5, 1);
    add(c, "192.0.2.1", ACCESS_MESSAGES, 5, 1);
    add(c, "2001:db8::1", ACCESS_FAILURES, 5, 1);
    access_counts_forgive(c, &four);
    access_counts_forgive(c, &six);
    assert_int_equal(read_at(c, "192.0.2.1", 1).address.failures, 0);
    assert_int_equal(read_at(c, "192.0.2.1", 1).address.in_minute[ACCESS_FAILURES], 0);
    assert_int_equal(read_at(c, "192.0.2.1", 1).address.in_minute[ACCESS_MESSAGES], 5);
    assert_int_equal(read_at(c, "192.0.2.1", 1).prefix.failures, 5);
    assert_int_equal(read_at(c, "2001:db8::1", 1).address.failures, 0);
    assert_int_equal(read_at(c, "2001:db8::1", 1).prefix.failures, 0);
    access_counts_free(c);
}

static void counts_stop_at_what_they_can_hold(void **state)
{
    struct access_counts *c = access_counts_new(SEED);

    (void)state;
    add(c, "192.0.2.1", ACCESS_RECIPIENTS, 60000, 5);
    add(c, "192.0.2.1", ACCESS_RECIPIENTS, 60000, 5);
    assert_int_equal(read_at(c, "192.0.2.1", 5).address.in_minute[ACCESS_RECIPIENTS], 65535);
    access_counts_free(c);
}

static void sessions_count_until_they_end(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    struct net_addr a = addr("2001:db8::1");
    struct access_client u;
    uint8_t where[3];

    (void)state;
    for (uint32_t i = 0; i < 3; i++) {
        where[i] = access_counts_open(c, &a, at(1), &u);
        assert_int_equal(u.address.sessions, i);
        assert_int_equal(u.prefix.in_minute[ACCESS_CONNECTIONS], i);
    }
    access_counts_close(c, &a, where[0]);
    u = read_at(c, "2001:db8::1", 5000);
    assert_int_equal(u.address.sessions, 2);
    assert_int_equal(u.prefix.sessions, 2);
    access_counts_close(c, &a, where[1]);
    access_counts_close(c, &a, where[2]);
    access_counts_close(c, &a, 0); /* one that was not counted */
    assert_int_equal(read_at(c, "2001:db8::1", 5000).address.sessions, 0);
    access_counts_free(c);
}

/* ---- floods ---- */

static void a_flood_pushes_out_neither_the_active_nor_those_with_sessions(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    struct net_addr open = addr("203.0.113.77");
    struct access_client u;
    uint8_t where = access_counts_open(c, &open, at(1), &u);

    (void)state;
    assert_int_not_equal(where, 0);
    add(c, "192.0.2.1", ACCESS_FAILURES, 3, 1);
    for (uint32_t n = 0; n < 8 * ACCESS_COUNTS_MAX; n++) {
        struct net_addr a = nth(n);

        access_counts_add(c, &a, ACCESS_CONNECTIONS, 1, at(2), &u);
    }
    u = read_at(c, "192.0.2.1", 2);
    assert_int_equal(u.address.in_minute[ACCESS_FAILURES], 3);
    assert_int_equal(read_at(c, "203.0.113.77", 2).address.sessions, 1);
    access_counts_close(c, &open, where);
    assert_int_equal(read_at(c, "203.0.113.77", 2).address.sessions, 0);
    access_counts_free(c);
}

/* Whoever owns a /48 of IPv6 has 2^80 addresses and reaches eight places with them. */
static void the_owner_of_a_network_reaches_no_other_set(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    struct access_client u;
    uint32_t lost = 0;

    (void)state;
    for (uint32_t i = 0; i < 1000; i++) {
        struct net_addr a = nth(i * 7919);

        access_counts_add(c, &a, ACCESS_CONNECTIONS, 1, at(1), &u);
    }
    for (uint32_t n = 0; n < 400000; n++) {
        struct net_addr a = addr("2001:db8:7::");

        a.octets[6] = (uint8_t)n; /* other networks of the /48 … */
        a.octets[7] = (uint8_t)(n >> 8);
        a.octets[15] = 1;
        access_counts_add(c, &a, ACCESS_CONNECTIONS, 100, at(1), &u);
        a = addr("2001:db8:8::");
        a.octets[14] = (uint8_t)n; /* … and other addresses of a /64 */
        a.octets[13] = (uint8_t)(n >> 8);
        access_counts_add(c, &a, ACCESS_CONNECTIONS, 100, at(1), &u);
    }
    for (uint32_t i = 0; i < 1000; i++) {
        struct net_addr a = nth(i * 7919);

        access_counts_read(c, &a, at(1), &u);
        lost += u.address.in_minute[ACCESS_CONNECTIONS] == 0;
    }
    assert_true(lost <= 8);
    access_counts_free(c);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = 20000 };

static void *hammer(void *ctx)
{
    struct net_addr a = addr("192.0.2.1");
    struct access_client u;

    for (int i = 0; i < ROUNDS; i++) {
        uint8_t where = access_counts_open(ctx, &a, at(1), &u);

        access_counts_add(ctx, &a, ACCESS_FAILURES, i % 64 == 0, at(1), &u);
        access_counts_close(ctx, &a, where);
    }
    return NULL;
}

static void threads_lose_no_count(void **state)
{
    struct access_counts *c = access_counts_new(SEED);
    pthread_t threads[THREADS];
    struct access_client u;

    (void)state;
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hammer, c), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    u = read_at(c, "192.0.2.1", 1);
    assert_int_equal(u.address.sessions, 0);
    assert_int_equal(u.address.in_minute[ACCESS_FAILURES], THREADS * ((ROUNDS + 63) / 64));
    access_counts_free(c);
}

/* ---- bans ---- */

static enum pt_err set_ban(struct access_bans *b, const char *client, enum access_ban_kind kind,
                           int64_t until)
{
    struct net_addr a = addr(client);
    const struct access_ban ban = {
        .client = access_client_of(&a), .kind = (uint8_t)kind, .since_us = 1, .until_us = until
    };

    return access_bans_set(b, &ban, 1);
}

static bool is_banned(struct access_bans *b, const char *client, int64_t now,
                      struct access_ban *out)
{
    struct net_addr a = addr(client);

    return access_bans_find(b, &a, now, out);
}

static void a_ban_ends_by_itself_or_is_lifted(void **state)
{
    struct access_bans *b = access_bans_new(SEED);
    struct net_addr a = addr("2001:db8::7");
    struct access_ban ban;

    (void)state;
    assert_false(is_banned(b, "192.0.2.1", 1, &ban));
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_AUTOMATIC, 100), PT_ERR_OK);
    assert_int_equal(set_ban(b, "2001:db8::1", ACCESS_BAN_SET, 200), PT_ERR_OK);
    assert_true(is_banned(b, "192.0.2.1", 99, &ban));
    assert_false(is_banned(b, "192.0.2.1", 100, &ban));
    assert_false(is_banned(b, "192.0.2.2", 1, &ban));
    assert_true(is_banned(b, "2001:db8::ffff", 150, &ban)); /* its /64 */
    assert_int_equal(ban.kind, ACCESS_BAN_SET);
    assert_true(access_bans_lift(b, &a, 150));
    assert_false(access_bans_lift(b, &a, 150));
    assert_false(is_banned(b, "2001:db8::1", 150, &ban));
    access_bans_free(b);
}

static void a_ban_gives_way_only_to_a_stronger_or_longer_one(void **state)
{
    struct access_bans *b = access_bans_new(SEED);
    struct access_ban ban;

    (void)state;
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_SHADOW, 100), PT_ERR_OK);
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_AUTOMATIC, 50), PT_ERR_OK);
    assert_true(is_banned(b, "192.0.2.1", 1, &ban));
    assert_int_equal(ban.until_us, 50);
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_AUTOMATIC, 40), PT_ERR_OK);
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_SHADOW, 400), PT_ERR_OK);
    assert_true(is_banned(b, "192.0.2.1", 1, &ban));
    assert_int_equal(ban.until_us, 50);
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_SET, 20), PT_ERR_OK);
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_AUTOMATIC, 400), PT_ERR_OK);
    assert_true(is_banned(b, "192.0.2.1", 1, &ban));
    assert_int_equal(ban.until_us, 20);
    assert_int_equal(set_ban(b, "192.0.2.1", ACCESS_BAN_SET, 10), PT_ERR_OK); /* shortened */
    assert_false(is_banned(b, "192.0.2.1", 11, &ban));
    access_bans_free(b);
}

static void many_bans_push_out_none_that_was_set(void **state)
{
    static struct access_ban list[ACCESS_BANS_MAX];
    struct access_bans *b = access_bans_new(SEED);
    struct access_ban ban;
    uint32_t n, set = 0;

    (void)state;
    assert_int_equal(set_ban(b, "203.0.113.1", ACCESS_BAN_SET, 5), PT_ERR_OK);
    for (uint32_t i = 0; i < 4 * ACCESS_BANS_MAX; i++) {
        struct net_addr a = nth(i);
        const struct access_ban more = { .client = access_client_of(&a),
                                         .kind = ACCESS_BAN_AUTOMATIC,
                                         .since_us = 1,
                                         .until_us = 1000 + i };

        assert_int_equal(access_bans_set(b, &more, 1), PT_ERR_OK);
    }
    assert_true(is_banned(b, "203.0.113.1", 1, &ban));
    n = access_bans_list(b, 1, list, ACCESS_BANS_MAX);
    assert_in_range(n, ACCESS_BANS_MAX / 2, ACCESS_BANS_MAX);
    for (uint32_t i = 0; i < n; i++)
        set += list[i].kind == ACCESS_BAN_SET;
    assert_int_equal(set, 1);
    access_bans_free(b);
}

static void too_many_set_bans_are_refused(void **state)
{
    struct access_bans *b = access_bans_new(SEED);
    enum pt_err err = PT_ERR_OK;
    uint32_t i = 0;

    (void)state;
    for (; err == PT_ERR_OK && i <= ACCESS_BANS_MAX; i++) {
        struct net_addr a = nth(i);
        const struct access_ban ban = {
            .client = access_client_of(&a), .kind = ACCESS_BAN_SET, .since_us = 1, .until_us = 9
        };

        err = access_bans_set(b, &ban, 1);
    }
    assert_int_equal(err, PT_ERR_NOSPACE);
    assert_true(i > 1000);
    access_bans_free(b);
}

/* ---- tally ---- */

static void rows_are_kept_by_rule_and_client(void **state)
{
    static struct access_tally_row rows[ACCESS_TALLY_MAX];
    struct access_tally *t = access_tally_new(SEED);
    struct net_addr a = addr("2001:db8::1"), b = addr("2001:db8::2");

    (void)state;
    access_tally_add(t, 3, &a, 10);
    access_tally_add(t, 3, &b, 20); /* of the same /64 */
    access_tally_add(t, 4, &a, 30);
    assert_int_equal(access_tally_list(t, rows, ACCESS_TALLY_MAX), 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rows[i].count, rows[i].what == 3 ? 2 : 1);
        assert_int_equal(rows[i].first_us, rows[i].what == 3 ? 10 : 30);
        assert_int_equal(rows[i].last_us, rows[i].what == 3 ? 20 : 30);
        assert_int_equal(rows[i].client.length, 64);
    }
    assert_int_equal(access_tally_list(t, rows, 1), 1);
    access_tally_free(t);
}

static void the_tally_is_bounded_and_keeps_who_comes_often(void **state)
{
    static struct access_tally_row rows[ACCESS_TALLY_MAX];
    struct access_tally *t = access_tally_new(SEED);
    struct net_addr often = addr("192.0.2.1");
    uint64_t kept = 0;
    uint32_t n;

    (void)state;
    for (int i = 0; i < 5; i++)
        access_tally_add(t, 1, &often, 1);
    for (uint32_t i = 0; i < 8 * ACCESS_TALLY_MAX; i++) {
        struct net_addr a = nth(i);

        access_tally_add(t, 1, &a, 2 + i);
    }
    n = access_tally_list(t, rows, ACCESS_TALLY_MAX);
    assert_in_range(n, ACCESS_TALLY_MAX / 2, ACCESS_TALLY_MAX);
    for (uint32_t i = 0; i < n; i++)
        if (net_addr_eq(&rows[i].client.addr, &often))
            kept = rows[i].count;
    assert_int_equal(kept, 5);
    access_tally_free(t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_before_is_told_by_address_and_by_network),
        cmocka_unit_test(families_are_apart),
        cmocka_unit_test(a_minute_is_forgotten_ten_seconds_at_a_time),
        cmocka_unit_test(a_clock_that_goes_back_loses_nothing),
        cmocka_unit_test(failures_last_as_long_as_the_caller_says),
        cmocka_unit_test(what_is_forgiven_is_forgotten),
        cmocka_unit_test(counts_stop_at_what_they_can_hold),
        cmocka_unit_test(sessions_count_until_they_end),
        cmocka_unit_test(a_flood_pushes_out_neither_the_active_nor_those_with_sessions),
        cmocka_unit_test(the_owner_of_a_network_reaches_no_other_set),
        cmocka_unit_test(threads_lose_no_count),
        cmocka_unit_test(a_ban_ends_by_itself_or_is_lifted),
        cmocka_unit_test(a_ban_gives_way_only_to_a_stronger_or_longer_one),
        cmocka_unit_test(many_bans_push_out_none_that_was_set),
        cmocka_unit_test(too_many_set_bans_are_refused),
        cmocka_unit_test(rows_are_kept_by_rule_and_client),
        cmocka_unit_test(the_tally_is_bounded_and_keeps_who_comes_often),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
