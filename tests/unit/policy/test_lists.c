#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "check.h"
#include "net/entry.h"
#include "policy/list_view.h"
#include "policy/policy.h"
#include "settings/schema.h"

static struct settings_list *list_of(const char *const *texts, size_t count)
{
    struct settings_list_builder b;
    struct net_entry e;
    const char *why;

    settings_list_begin(&b, 0);
    for (size_t i = 0; i < count; i++) {
        assert_true(net_entry_parse(str_of(texts[i]), &e, &why));
        settings_list_add(&b, &e.prefix, e.masked, STR_NULL, 0);
    }
    return settings_list_end(&b);
}

static struct policy_snapshot *snapshot_of(const struct policy_snapshot *before, const char *mode,
                                           const struct settings_list *deny,
                                           const struct settings_list *permit)
{
    struct settings_host host = { .hostname = "h.example",
                                  .confirmed = SETTINGS_CONFIRM_ALL,
                                  .lists = { deny, permit },
                                  .in_force = before ? policy_snapshot_settings(before) : NULL };
    struct settings_errors errors;
    struct policy_snapshot *snap;
    struct settings *s = NULL;
    char text[100];

    settings_errors_init(&errors);
    snprintf(text, sizeof text, "{\"connections\":{\"control\":{\"mode\":\"%s\"}}}", mode);
    assert_int_equal(settings_parse(text, strlen(text), &host, &s, &errors), PT_ERR_OK);
    settings_errors_done(&errors);
    snap = policy_snapshot_next(before, s, NULL, 0);
    assert_non_null(snap);
    settings_unref(s);
    return snap;
}

#define LIST(...)                                                                                  \
    list_of((const char *const[]){ __VA_ARGS__ },                                                  \
            sizeof((const char *const[]){ __VA_ARGS__ }) / sizeof(char *))

/* Deny: 10.0.0.0/8, 172.16.0.1, and 192.0.2.9 until 1000. Permit: 198.51.100.7. */
static struct policy_snapshot *example(void)
{
    struct settings_list *permit = LIST("198.51.100.7"), *plain = LIST("10.0.0.0/8", "172.16.0.1");
    struct settings_list *ends = LIST("192.0.2.9"), *deny;
    struct settings_list_builder b;
    struct policy_snapshot *snap;

    settings_list_begin(&b, 0);
    settings_list_add_from(&b, plain, 0);
    settings_list_add_from(&b, plain, 1);
    settings_list_add(&b, &ends->entries[0].prefix, false, STR("for a while"), 1000);
    deny = settings_list_end(&b);
    snap = snapshot_of(NULL, "accept_all_except", deny, permit);
    settings_list_unref(plain);
    settings_list_unref(ends);
    settings_list_unref(deny);
    settings_list_unref(permit);
    return snap;
}

/* The list as a file. */
static void check_list(const struct settings_list *list, const char *wanted)
{
    struct buf text;

    assert_non_null(list);
    buf_init(&text, 1 << 20);
    assert_int_equal(policy_list_write(list, 0, SIZE_MAX, &text), list->count);
    assert_string_equal(buf_cstr(&text), wanted);
    buf_done(&text);
}

/* ---- import ---- */

static struct policy_import imported(const struct policy_snapshot *snap, const char *file,
                                     bool replace, bool valid_only, int64_t now_us)
{
    struct policy_import import;

    assert_int_equal(
        policy_import(snap, POLICY_WHICH_DENY, str_of(file), replace, valid_only, now_us, &import),
        PT_ERR_OK);
    return import;
}

static void an_import_appends_and_counts(void **state)
{
    struct policy_snapshot *snap = example();
    struct policy_import i = imported(snap,
                                      "10.0.0.0:255.0.0.0\n10.9.9.9\n198.51.100.9/24 # spam\n"
                                      "2001:db8::1 # [expires 2030-01-31T18:00:00Z]\n"
                                      "192.0.2.9\n",
                                      false, false, 500);
    struct policy_remark r;
    uint32_t at = 0;

    (void)state;
    assert_int_equal(i.counts.added, 3);
    assert_int_equal(i.counts.duplicate, 2);
    assert_int_equal(i.counts.normalised, 1);
    assert_int_equal(i.counts.covered, 1);
    assert_int_equal(i.counts.contradicted, 1);
    check_list(i.list, "10.0.0.0/8\n172.16.0.1\n"
                       "192.0.2.9  # [expires 1970-01-01T00:00:00.001000Z] for a while\n"
                       "10.9.9.9\n198.51.100.0/24  # spam\n"
                       "2001:db8::1  # [expires 2030-01-31T18:00:00Z]\n");
    assert_true(policy_import_remark(&i, &at, &r));
    assert_int_equal(r.line, 2);
    assert_true(r.covered && !r.normalised && !r.contradicted);
    assert_true(policy_import_remark(&i, &at, &r));
    assert_int_equal(r.line, 3);
    assert_string_equal(r.entry, "198.51.100.0/24");
    assert_true(r.normalised && r.contradicted && !r.covered);
    assert_false(policy_import_remark(&i, &at, &r));
    policy_import_done(&i);
    policy_snapshot_unref(snap);
}

static void what_has_expired_is_no_duplicate(void **state)
{
    struct policy_snapshot *snap = example();
    struct policy_import i = imported(snap, "192.0.2.9\n", false, false, 1000);

    (void)state;
    assert_int_equal(i.counts.added, 1);
    check_list(i.list, "10.0.0.0/8\n172.16.0.1\n192.0.2.9\n");
    policy_import_done(&i);
    policy_snapshot_unref(snap);
}

static void one_wrong_line_means_that_nothing_is_imported(void **state)
{
    static const char file[] = "192.168.1.1\nwrong\n192.168.001.1\n";
    struct policy_snapshot *snap = example();
    struct policy_import i = imported(snap, file, true, false, 0);
    struct policy_remark r;

    (void)state;
    assert_null(i.list);
    assert_int_equal(i.counts.errors, 2);
    assert_true(policy_import_error(&i, 1, &r));
    assert_int_equal(r.line, 3);
    check_lit(r.text, "192.168.001.1");
    assert_non_null(r.reason);
    assert_false(policy_import_error(&i, 2, &r));
    policy_import_done(&i);
    i = imported(snap, file, true, true, 0);
    check_list(i.list, "192.168.1.1\n");
    policy_import_done(&i);
    policy_snapshot_unref(snap);
}

/* ---- edit ---- */

static struct policy_edit *edited(const struct policy_snapshot *snap, struct settings_list *add,
                                  struct settings_list *remove, int64_t now_us)
{
    static struct policy_edit edit;

    edit = (struct policy_edit){ .add = add, .remove = remove, .now_us = now_us };
    assert_int_equal(policy_edit(snap, POLICY_WHICH_DENY, &edit), PT_ERR_OK);
    settings_list_unref(add);
    settings_list_unref(remove);
    return &edit;
}

static void entries_are_added_and_removed_one_by_one(void **state)
{
    struct policy_snapshot *snap = example();
    struct policy_edit *e =
        edited(snap, LIST("10.1.0.0/16", "198.51.100.0/24", "10.1.0.0/16", "172.16.0.1"),
               LIST("10.0.0.0/8"), 0);

    (void)state;
    assert_int_equal(e->added, 2);
    assert_int_equal(e->removed, 1);
    assert_int_equal(e->unchanged, 2);
    assert_int_equal(e->updated, 0);
    assert_int_equal(e->contradicted, 1);
    check_list(e->list, "172.16.0.1\n"
                        "192.0.2.9  # [expires 1970-01-01T00:00:00.001000Z] for a while\n"
                        "10.1.0.0/16\n198.51.100.0/24\n");
    settings_list_unref(e->list);
    e = edited(snap, LIST("10.0.0.0/8"), LIST("10.0.0.0/8"), 0); /* to the end */
    assert_int_equal(e->added + e->removed, 2);
    check_list(e->list, "172.16.0.1\n"
                        "192.0.2.9  # [expires 1970-01-01T00:00:00.001000Z] for a while\n"
                        "10.0.0.0/8\n");
    settings_list_unref(e->list);
    policy_snapshot_unref(snap);
}

static void a_missing_entry_ends_it(void **state)
{
    struct policy_snapshot *snap = example();
    struct policy_edit *e =
        edited(snap, NULL, LIST("172.16.0.1", "10.0.0.1", "10.0.0.0/9", "172.16.0.1"), 0);

    (void)state;
    assert_null(e->list);
    assert_int_equal(e->missing_count, 2);
    assert_int_equal(e->missing[0], 1);
    assert_int_equal(e->missing[1], 2);
    policy_snapshot_unref(snap);
}

static void an_entry_added_again_is_brought_up_to_date(void **state)
{
    struct policy_snapshot *snap = example();
    struct settings_list *bare = LIST("192.0.2.9");
    struct settings_list_builder b;
    struct policy_edit *e = edited(snap, settings_list_ref(bare), NULL, 999);

    (void)state;
    assert_int_equal(e->unchanged, 1); /* nothing was said about it */
    settings_list_unref(e->list);
    e = edited(snap, settings_list_ref(bare), NULL, 1000);
    assert_int_equal(e->updated, 1); /* it had expired */
    check_list(e->list, "10.0.0.0/8\n172.16.0.1\n192.0.2.9\n");
    settings_list_unref(e->list);
    settings_list_begin(&b, 0);
    settings_list_add(&b, &bare->entries[0].prefix, false, STR("longer"), 2000);
    e = edited(snap, settings_list_end(&b), NULL, 0);
    assert_int_equal(e->updated, 1);
    check_list(e->list, "10.0.0.0/8\n172.16.0.1\n"
                        "192.0.2.9  # [expires 1970-01-01T00:00:00.002000Z] longer\n");
    settings_list_unref(e->list);
    settings_list_unref(bare);
    policy_snapshot_unref(snap);
}

/* ---- search ---- */

static void a_search_finds_addresses_and_words(void **state)
{
    static const struct {
        const char *text;
        const char *found; /* indices */
    } cases[] = {
        { "", "012" },          { "10.200.1.1", "0" }, { "172.16.0.0/12", "1" },
        { "0.0.0.0/0", "012" }, { "WHILE", "2" },      { "172.1", "1" },
        { "nothing", "" },      { "2001:db8::1", "" }, { " 192.0.2.9 ", "2" },
    };
    struct policy_snapshot *snap = example();
    const struct settings_list *list = policy_which_list(snap, POLICY_WHICH_DENY);

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        struct policy_search search;
        char found[8] = "";
        size_t n = 0;

        policy_search_init(&search, str_of(cases[i].text));
        for (uint32_t k = policy_search_next(&search, list, 0); k < list->count;
             k = policy_search_next(&search, list, k + 1))
            found[n++] = (char)('0' + k);
        assert_string_equal(found, cases[i].found);
    }
    policy_snapshot_unref(snap);
}

/* ---- tables are shared ---- */

static void a_snapshot_that_follows_shares_the_tables(void **state)
{
    struct policy_snapshot *first = example(), *second, *third;
    const struct settings *s = policy_snapshot_settings(first);
    struct net_addr a = { NET_IPV4, { 10, 1, 1, 1 } };
    struct policy_verdict v;

    (void)state;
    /* The lists exchanged: found all the same, each by its own table. */
    second = snapshot_of(first, "deny_all_except", s->control.permit_list, s->control.deny_list);
    third = snapshot_of(second, "accept_all_except", s->control.permit_list, s->control.deny_list);
    assert_ptr_equal(policy_which_list(second, POLICY_WHICH_PERMIT), s->control.deny_list);
    policy_verdict_init(&v, false);
    policy_snapshot_unref(first);
    policy_test_address(second, &a, 0, &v);
    assert_int_equal(v.action, POLICY_ACCEPT);
    assert_int_equal(v.list, POLICY_LIST_PERMIT);
    policy_snapshot_unref(second);
    policy_test_address(third, &a, 0, &v);
    assert_int_equal(v.action, POLICY_ACCEPT);
    assert_int_equal(v.entry, POLICY_NO_ENTRY);
    policy_snapshot_unref(third);
}

/* ---- decisions against a matcher that cannot be wrong ---- */

struct plain_entry {
    struct net_prefix prefix;
    int64_t expires_us;
};

enum { ENTRIES = 300 };

/* Few different octets, so that prefixes nest and touch. */
static struct net_addr random_addr(struct rng *r)
{
    static const uint8_t ends[] = { 0, 1, 127, 128, 255 };
    struct net_addr a = { .family = rng_below(r, 2) ? NET_IPV4 : NET_IPV6 };

    for (unsigned i = 0; i < net_addr_bits(&a) / 8; i++)
        a.octets[i] = ends[rng_below(r, PT_ARRAY_LEN(ends))];
    return a;
}

static struct settings_list *random_list(struct rng *r, struct plain_entry *plain, uint32_t count)
{
    struct settings_list_builder b;

    settings_list_begin(&b, 0);
    for (uint32_t i = 0; i < count; i++) {
        struct net_prefix p = { .addr = random_addr(r) };

        p.length = (uint8_t)rng_below(r, net_addr_bits(&p.addr) + 1);
        PT_IGNORE(net_prefix_clear(&p), "most have host bits");
        plain[i] = (struct plain_entry){ p, rng_below(r, 2) ? (int64_t)rng_below(r, 5) : 0 };
        settings_list_add(&b, &p, false, STR_NULL, plain[i].expires_us);
    }
    return settings_list_end(&b);
}

/* Bit by bit, over all entries. */
static bool falls_under(const struct net_prefix *p, const struct net_addr *a)
{
    if (p->addr.family != a->family)
        return false;
    for (unsigned bit = 0; bit < p->length; bit++)
        if ((p->addr.octets[bit / 8] ^ a->octets[bit / 8]) >> (7 - bit % 8) & 1)
            return false;
    return true;
}

/* The length of the longest prefix that lives, or -1. */
static int longest(const struct plain_entry *plain, uint32_t count, const struct net_addr *a,
                   int64_t now)
{
    int best = -1;

    for (uint32_t i = 0; i < count; i++)
        if (falls_under(&plain[i].prefix, a) &&
            (!plain[i].expires_us || now < plain[i].expires_us) && plain[i].prefix.length > best)
            best = plain[i].prefix.length;
    return best;
}

/* As a connecting client's address comes from the system: IPv4 also in its IPv6 form. */
static struct net_addr as_client(struct rng *r, struct net_addr a)
{
    struct sockaddr_in6 mapped = { .sin6_family = AF_INET6 };
    struct net_endpoint e;

    if (a.family == NET_IPV6 || rng_below(r, 2))
        return a;
    mapped.sin6_addr.s6_addr[10] = mapped.sin6_addr.s6_addr[11] = 0xFF;
    memcpy(mapped.sin6_addr.s6_addr + 12, a.octets, 4);
    assert_true(net_from_sockaddr((struct sockaddr *)&mapped, &e));
    return e.addr;
}

static void compare(const struct policy_snapshot *snap, bool deny_all,
                    const struct plain_entry *plain, uint32_t count, struct net_addr client,
                    int64_t now)
{
    struct policy_facts facts = { .client = client, .now_us = now };
    int best = longest(plain, count, &client, now);
    bool in = (best >= 0) == deny_all;
    const struct settings_list *list;
    struct policy_verdict v;

    policy_verdict_init(&v, false);
    policy_connect(snap, &facts, &v);
    assert_int_equal(v.action, in ? POLICY_ACCEPT : POLICY_DISCONNECT);
    list = policy_list(snap, deny_all ? POLICY_LIST_PERMIT : POLICY_LIST_DENY);
    if (best < 0) {
        assert_int_equal(v.entry, POLICY_NO_ENTRY);
    } else {
        assert_int_equal(v.list, deny_all ? POLICY_LIST_PERMIT : POLICY_LIST_DENY);
        assert_int_equal(list->entries[v.entry].prefix.length, best);
        assert_true(falls_under(&list->entries[v.entry].prefix, &client));
    }
    policy_client(snap, &facts, &v);
    assert_int_equal(v.action, in ? POLICY_ACCEPT : POLICY_DISCONNECT);
}

static void decisions_agree_with_the_naive_matcher(void **state)
{
    static struct plain_entry deny[ENTRIES], permit[ENTRIES];

    (void)state;
    for (uint64_t seed = 0; seed < 120; seed++) {
        uint32_t denied, permitted;
        struct settings_list *lists[2];
        struct rng r;

        rng_seed(&r, seed);
        denied = (uint32_t)rng_below(&r, seed % 4 ? 40 : ENTRIES);
        permitted = (uint32_t)rng_below(&r, seed % 3 ? 40 : ENTRIES);
        lists[0] = random_list(&r, deny, denied);
        lists[1] = random_list(&r, permit, permitted);
        struct policy_snapshot *except = snapshot_of(NULL, "accept_all_except", lists[0], lists[1]);
        struct policy_snapshot *only = snapshot_of(except, "deny_all_except", lists[0], lists[1]);

        for (int i = 0; i < 300; i++) {
            struct net_addr client = as_client(&r, random_addr(&r));
            int64_t now = (int64_t)rng_below(&r, 6);

            compare(except, false, deny, denied, client, now);
            compare(only, true, permit, permitted, client, now);
        }
        policy_snapshot_unref(except);
        policy_snapshot_unref(only);
        settings_list_unref(lists[0]);
        settings_list_unref(lists[1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_import_appends_and_counts),
        cmocka_unit_test(what_has_expired_is_no_duplicate),
        cmocka_unit_test(one_wrong_line_means_that_nothing_is_imported),
        cmocka_unit_test(entries_are_added_and_removed_one_by_one),
        cmocka_unit_test(a_missing_entry_ends_it),
        cmocka_unit_test(an_entry_added_again_is_brought_up_to_date),
        cmocka_unit_test(a_search_finds_addresses_and_words),
        cmocka_unit_test(a_snapshot_that_follows_shares_the_tables),
        cmocka_unit_test(decisions_agree_with_the_naive_matcher),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
