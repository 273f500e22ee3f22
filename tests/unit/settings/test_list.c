#include "settings/list.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/crc32c.h"
#include "check.h"
#include "net/entry.h"
#include "settings/schema.h"
#include "settings/store.h"

static struct settings_errors errors;
static struct pt_fault fault;
static char *folder;

static int make_folder(void **state)
{
    (void)state;
    folder = check_folder_new();
    settings_errors_init(&errors);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    settings_errors_done(&errors);
    check_folder_remove(folder);
    return 0;
}

/* ---- lists ---- */

static void add(struct settings_list_builder *b, const char *text, const char *comment,
                int64_t expires_us)
{
    struct net_entry e;
    const char *why;

    assert_true(net_entry_parse(str_of(text), &e, &why));
    settings_list_add(b, &e.prefix, e.masked, str_of(comment), expires_us);
}

/* `count` entries, with notes here and there; the one at `without` left out. */
static struct settings_list *made(uint32_t count, uint32_t without)
{
    struct settings_list_builder b;
    struct settings_list *list;
    char text[40];

    settings_list_begin(&b, 0);
    for (uint32_t i = 0; i < count; i++) {
        snprintf(text, sizeof text, "10.%u.%u.%u", i >> 16 & 255, i >> 8 & 255, i & 255);
        if (i != without)
            add(&b, text, i % 7 == 0 ? "caf\xC3\xA9 \"x\"" : NULL,
                i % 11 == 0 ? 1900000000000000 + i : 0);
    }
    list = settings_list_end(&b);
    assert_non_null(list);
    return list;
}

struct chunks {
    struct settings_list_builder builder;
    struct settings_hash hashes[1000];
    uint32_t count;
};

static bool keep_chunk(void *ctx, const struct settings_hash *h, struct str text)
{
    struct chunks *c = ctx;

    assert_true(c->count < PT_ARRAY_LEN(c->hashes));
    c->hashes[c->count++] = *h;
    assert_true(settings_list_add_chunk(&c->builder, text));
    return true;
}

static void chunks_give_the_list_again(void **state)
{
    static const uint32_t counts[] = { 0, 1, 64, 65, 50000 };
    static struct chunks c;

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(counts); i++) {
        struct settings_list *list = made(counts[i], UINT32_MAX), *again;

        c.count = 0;
        settings_list_begin(&c.builder, 0);
        assert_int_equal(settings_list_chunks(list, keep_chunk, &c), PT_ERR_OK);
        again = settings_list_end(&c.builder);
        assert_int_equal(again->count, list->count);
        assert_true(settings_hash_eq(&again->hash, &list->hash));
        for (uint32_t k = 0; k < list->count; k++) {
            assert_memory_equal(&again->entries[k].prefix, &list->entries[k].prefix,
                                sizeof list->entries[k].prefix);
            assert_true(settings_list_expires_us(again, k) == settings_list_expires_us(list, k));
            assert_true(str_eq(str_of(settings_list_comment(again, k)),
                               str_of(settings_list_comment(list, k))));
        }
        settings_list_unref(list);
        settings_list_unref(again);
    }
}

static void lists_that_differ_little_share_their_chunks(void **state)
{
    static struct chunks a, b;
    struct settings_list *list = made(100000, UINT32_MAX), *other = made(100000, 33333);
    uint32_t common = 0;

    (void)state;
    assert_false(settings_hash_eq(&list->hash, &other->hash));
    assert_int_equal(settings_list_chunks(list, keep_chunk, &a), PT_ERR_OK);
    assert_int_equal(settings_list_chunks(other, keep_chunk, &b), PT_ERR_OK);
    for (uint32_t i = 0; i < a.count; i++)
        for (uint32_t k = 0; k < b.count; k++)
            common += settings_hash_eq(&a.hashes[i], &b.hashes[k]);
    assert_true(a.count > 10);
    assert_int_equal(common, a.count - 1);
    settings_list_unref(settings_list_end(&a.builder));
    settings_list_unref(settings_list_end(&b.builder));
    settings_list_unref(list);
    settings_list_unref(other);
}

static void what_is_no_chunk_is_refused(void **state)
{
    static const char *const texts[] = { "10.0.0.1", "10.0.0.1/8\n", "x\n", "10.0.0.1\tx\t\n",
                                         "10.0.0.1\n\n" };
    struct settings_list_builder b;

    (void)state;
    settings_list_begin(&b, 0);
    for (size_t i = 0; i < PT_ARRAY_LEN(texts); i++)
        assert_false(settings_list_add_chunk(&b, str_of(texts[i])));
    settings_list_unref(settings_list_end(&b));
}

static void an_entry_of_a_list_is_small(void **state)
{
    struct settings_list_builder b;
    struct settings_list *list;

    (void)state;
    assert_int_equal(sizeof(struct settings_entry), 24);
    settings_list_begin(&b, 0);
    for (uint32_t i = 0; i < 100000; i++)
        settings_list_add(&b, &(struct net_prefix){ { NET_IPV4, { 10 } }, 8 }, false, STR_NULL, 0);
    list = settings_list_end(&b);
    assert_true(settings_list_memory(list) < 100000 * 24 + 1000);
    settings_list_unref(list);
}

static void names_are_read_back(void **state)
{
    struct settings_list *list = made(3, UINT32_MAX);
    char name[SETTINGS_LIST_NAME_SIZE];
    struct settings_hash hash;

    (void)state;
    settings_list_name(&list->hash, name);
    assert_int_equal(strlen(name), SETTINGS_LIST_NAME_SIZE - 1);
    assert_true(settings_list_name_parse(str_of(name), &hash));
    assert_true(settings_hash_eq(&hash, &list->hash));
    assert_false(settings_list_name_parse(str_head(str_of(name), 70), &hash));
    name[20] = 'g';
    assert_false(settings_list_name_parse(str_of(name), &hash));
    name[0] = 'S';
    assert_false(settings_list_name_parse(str_of(name), &hash));
    settings_list_unref(list);
}

/* ---- documents ---- */

/* A document with so many entries in the deny list. */
static char *document_with(uint32_t count, const char *port)
{
    struct settings_list *list = made(count, UINT32_MAX);
    struct buf text;
    char *copy;

    buf_init(&text, 64 << 20);
    buf_addf(&text, "{\"connections\":{\"interface\":{\"port\":%s},\"control\":{\"deny_list\":[",
             port);
    settings_list_write_json(list, 0, list->count, &text);
    BUF_LIT(&text, "]}}}");
    copy = str_dup(buf_str(&text));
    assert_non_null(copy);
    buf_done(&text);
    settings_list_unref(list);
    return copy;
}

static struct settings *parsed(const struct settings_host *host, const char *text)
{
    struct settings *s = NULL;

    if (settings_parse(text, strlen(text), host, &s, &errors) != PT_ERR_OK)
        fail_msg("%s: %s", errors.errors[0].pointer, errors.errors[0].detail);
    return s;
}

static const struct settings_host plain = { .hostname = "h.example" };

static void a_long_list_stands_in_the_document_by_its_name(void **state)
{
    char *text = document_with(SETTINGS_LIST_INLINE_MAX + 1, "25");
    struct settings *s = parsed(&plain, text), *again;
    char name[SETTINGS_LIST_NAME_SIZE];
    struct buf full;

    (void)state;
    settings_list_name(&s->control.deny_list->hash, name);
    assert_non_null(strstr(s->document, name));
    buf_init(&full, 1 << 20);
    settings_document_full(s, &full);
    assert_null(strstr(buf_cstr(&full), name));
    again = parsed(&plain, buf_cstr(&full));
    assert_string_equal(again->document, s->document);
    buf_done(&full);
    settings_unref(again);
    settings_unref(s);
    free(text);
    text = document_with(SETTINGS_LIST_INLINE_MAX, "25");
    s = parsed(&plain, text);
    assert_null(strstr(s->document, "sha256:"));
    settings_unref(s);
    free(text);
}

static struct settings_list *find_none(void *ctx, const struct settings_hash *hash)
{
    ++*(int *)ctx;
    return NULL;
}

static void settings_that_follow_share_the_list(void **state)
{
    char *text = document_with(1000, "25"), *other = document_with(1000, "26"), *patched;
    struct settings *s = parsed(&plain, text), *next;
    int asked = 0;
    struct settings_host host = plain;

    (void)state;
    host.in_force = s;
    next = parsed(&host, other); /* the whole list came again */
    assert_ptr_equal(next->control.deny_list, s->control.deny_list);
    settings_unref(next);
    host.find_list = find_none;
    host.find_ctx = &asked;
    assert_int_equal(settings_merge_patch(str_of(s->document),
                                          STR("{\"connections\":{\"interface\":{\"port\":27}}}"),
                                          &patched, &errors),
                     PT_ERR_OK);
    next = parsed(&host, patched);
    assert_int_equal(next->interface.port, 27);
    assert_ptr_equal(next->control.deny_list, s->control.deny_list);
    assert_int_equal(asked, 0);
    settings_unref(next);
    settings_unref(s);
    free(patched);
    free(text);
    free(other);
}

static void a_list_given_takes_the_place_of_the_documents(void **state)
{
    struct settings *s = parsed(&plain, "{}"), *next;
    struct settings_list *few = made(3, UINT32_MAX), *many = made(70, UINT32_MAX);
    struct settings_host host = plain;

    (void)state;
    host.lists[SETTINGS_LIST_DENY] = few;
    host.lists[SETTINGS_LIST_PERMIT] = many;
    next = parsed(&host, s->document);
    assert_ptr_equal(next->control.deny_list, few);
    assert_ptr_equal(next->control.permit_list, many);
    assert_non_null(strstr(next->document,
                           "\"deny_list\":[{\"network\":\"10.0.0.0\",\"comment\":\"caf\xC3\xA9 "
                           "\\\"x\\\"\",\"expires\":\"2030-03-17T17:46:40Z\"},\"10.0.0.1\","
                           "\"10.0.0.2\"],\"permit_list\":\"sha256:"));
    settings_list_unref(few);
    settings_list_unref(many);
    settings_unref(next);
    settings_unref(s);
}

/* The name of a list is for the store; nobody gets at a list by it from outside. */
static void a_name_from_outside_is_no_list(void **state)
{
    char *text = document_with(100, "25"), name[SETTINGS_LIST_NAME_SIZE], patch[300], *out = NULL;
    struct settings *s = parsed(&plain, text), *next = NULL;
    struct settings_host host = plain;

    (void)state;
    host.in_force = s;
    assert_int_equal(settings_parse(s->document, strlen(s->document), &host, &next, &errors),
                     PT_ERR_INVALID);
    assert_string_equal(errors.errors[0].pointer, "/connections/control/deny_list");
    settings_list_name(&s->control.deny_list->hash, name);
    snprintf(patch, sizeof patch, "{\"connections\":{\"control\":{\"permit_list\":\"%s\"}}}", name);
    assert_int_equal(settings_merge_patch(str_of(s->document), str_of(patch), &out, &errors),
                     PT_ERR_INVALID);
    assert_string_equal(errors.errors[0].pointer, "/connections/control/permit_list");
    assert_null(out);
    settings_unref(s);
    free(text);
}

static void an_empty_permit_list_is_found_out_in_every_form(void **state)
{
    struct settings_list *none = made(0, UINT32_MAX), *some = made(70, UINT32_MAX);
    static const char text[] = "{\"connections\":{\"control\":{\"mode\":\"deny_all_except\","
                               "\"permit_list\":[\"10.0.0.1\"]}}}";
    struct settings_host host = plain;
    struct settings *s = NULL;

    (void)state;
    host.lists[SETTINGS_LIST_PERMIT] = none;
    assert_int_equal(settings_parse(text, strlen(text), &host, &s, &errors), PT_ERR_INVALID);
    assert_int_equal(errors.unconfirmed, SETTINGS_CONFIRM_EMPTY_PERMIT_LIST);
    host.lists[SETTINGS_LIST_PERMIT] = some;
    settings_unref(parsed(&host, text));
    settings_list_unref(none);
    settings_list_unref(some);
}

/* ---- the store ---- */

static struct settings_store *opened(void)
{
    struct settings_store *s = NULL;

    if (settings_store_open(&s, folder, SETTINGS_STORE_CREATE, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return s;
}

static uint64_t committed(struct settings_store *store, const struct settings *s)
{
    struct settings_commit c = { .document = str_of(s->document),
                                 .lists = { s->control.deny_list, s->control.permit_list },
                                 .author = STR("alice"),
                                 .time_us = 1700000000000000,
                                 .expected = SETTINGS_REVISION_ANY };
    uint64_t revision = 0;

    if (settings_store_commit(store, &c, &revision, &fault) != PT_ERR_OK)
        fail_msg("%s", fault.text);
    return revision;
}

static int64_t sql(const char *statement)
{
    char path[4096];
    sqlite3 *db;
    sqlite3_stmt *st;
    int64_t value = 0;

    snprintf(path, sizeof path, "%s/settings.db", folder);
    assert_int_equal(sqlite3_open(path, &db), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(db, statement, -1, &st, NULL), SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW)
        value = sqlite3_column_int64(st, 0);
    sqlite3_finalize(st);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return value;
}

static struct settings *loaded(struct settings_store *store, uint64_t number)
{
    struct settings_host host = plain;
    struct settings_revision r;
    struct settings *s;

    host.find_list = settings_store_find_list;
    host.find_ctx = store;
    assert_int_equal(settings_store_get(store, number, &r, &fault), PT_ERR_OK);
    s = parsed(&host, r.document);
    settings_revision_done(&r);
    return s;
}

static void a_list_is_stored_once(void **state)
{
    char *texts[] = { document_with(20000, "25"), document_with(20000, "26"),
                      document_with(20001, "26") };
    struct settings_store *store = opened();
    int64_t chunks[3], lists[3];

    (void)state;
    for (int i = 0; i < 3; i++) {
        struct settings *s = parsed(&plain, texts[i]), *again;
        struct buf full, full_again;

        assert_int_equal(committed(store, s), i + 1);
        chunks[i] = sql("SELECT count(*) FROM list_chunks");
        lists[i] = sql("SELECT count(*) FROM lists");
        again = loaded(store, (uint64_t)i + 1);
        assert_true(settings_hash_eq(&again->control.deny_list->hash, &s->control.deny_list->hash));
        buf_init(&full, 64 << 20);
        buf_init(&full_again, 64 << 20);
        settings_document_full(s, &full);
        settings_document_full(again, &full_again);
        check_str(buf_str(&full_again), buf_str(&full));
        buf_done(&full);
        buf_done(&full_again);
        settings_unref(again);
        settings_unref(s);
        free(texts[i]);
    }
    assert_int_equal(lists[0], 1);
    assert_int_equal(lists[1], 1);
    assert_int_equal(lists[2], 2);
    assert_int_equal(chunks[1], chunks[0]);
    assert_int_equal(chunks[2], chunks[0] + 1);
    assert_true(sql("SELECT max(size) FROM documents") < 2000);
    settings_store_close(store);
}

static void a_revision_expands_to_what_was_saved(void **state)
{
    char *text = document_with(500, "25");
    struct settings *s = parsed(&plain, text);
    struct settings_store *store = opened();
    struct settings_revision r;
    struct settings_commit c = { .author = STR("bob"), .expected = SETTINGS_REVISION_ANY };
    uint64_t revision;
    struct buf full;

    (void)state;
    committed(store, s);
    assert_int_equal(settings_store_rollback(store, 1, &c, &revision, &fault), PT_ERR_OK);
    assert_int_equal(settings_store_get(store, revision, &r, &fault), PT_ERR_OK);
    assert_string_equal(r.document, s->document);
    assert_int_equal(settings_store_expand(store, &r, &fault), PT_ERR_OK);
    buf_init(&full, 1 << 20);
    settings_document_full(s, &full);
    assert_string_equal(r.document, buf_cstr(&full));
    buf_done(&full);
    settings_revision_done(&r);
    settings_store_close(store);
    settings_unref(s);
    free(text);
}

static void a_damaged_list_is_told(void **state)
{
    static const char *const damages[] = {
        "UPDATE list_chunks SET body = replace(body, '10.0.0.1', '10.0.0.7')",
        "DELETE FROM list_chunks",
        "UPDATE lists SET chunks = zeroblob(32)",
        "DELETE FROM lists",
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(damages); i++) {
        char *text = document_with(100 + (uint32_t)i, "25");
        struct settings *s = parsed(&plain, text), *again = NULL;
        struct settings_store *store = opened();
        struct settings_host host = plain;
        struct settings_revision r;
        uint64_t number = committed(store, s);

        sql(damages[i]);
        assert_int_equal(settings_store_get(store, number, &r, &fault), PT_ERR_OK);
        host.find_list = settings_store_find_list;
        host.find_ctx = store;
        assert_int_equal(settings_parse(r.document, strlen(r.document), &host, &again, &errors),
                         PT_ERR_INVALID);
        assert_string_equal(errors.errors[0].pointer, "/connections/control/deny_list");
        assert_int_equal(settings_store_expand(store, &r, &fault), PT_ERR_CORRUPT);
        assert_non_null(strstr(fault.text, "rollback"));
        settings_revision_done(&r);
        settings_store_close(store);
        settings_unref(s);
        free(text);
    }
}

/* What the first version wrote: documents hold their lists, and there is no table of lists. */
static void a_database_of_the_version_before_goes_on(void **state)
{
    char *text = document_with(100, "25"), *statement;
    struct settings_store *store = opened();
    struct settings *s, *next;

    (void)state;
    s = parsed(&plain, text);
    committed(store, s);
    settings_store_close(store);
    statement = sqlite3_mprintf("UPDATE documents SET size=%d, crc=%u, body=%Q", (int)strlen(text),
                                crc32c(0, text, strlen(text)), text);
    sql(statement);
    sqlite3_free(statement);
    sql("DROP TABLE lists");
    sql("DROP TABLE list_chunks");
    sql("DROP TABLE audit");
    sql("DROP TABLE reserve");
    sql("DROP TABLE pending");
    sql("PRAGMA user_version=1");

    store = opened();
    next = loaded(store, 1);
    assert_true(settings_hash_eq(&next->control.deny_list->hash, &s->control.deny_list->hash));
    assert_int_equal(committed(store, next), 2);
    assert_int_equal(sql("SELECT count(*) FROM lists"), 1);
    settings_unref(next);
    next = loaded(store, 2);
    assert_int_equal(next->control.deny_list->count, 100);
    settings_unref(next);
    settings_store_close(store);
    settings_unref(s);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(chunks_give_the_list_again),
        cmocka_unit_test(lists_that_differ_little_share_their_chunks),
        cmocka_unit_test(what_is_no_chunk_is_refused),
        cmocka_unit_test(an_entry_of_a_list_is_small),
        cmocka_unit_test(names_are_read_back),
        cmocka_unit_test_setup_teardown(a_long_list_stands_in_the_document_by_its_name, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(settings_that_follow_share_the_list, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_list_given_takes_the_place_of_the_documents, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_name_from_outside_is_no_list, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_empty_permit_list_is_found_out_in_every_form,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_list_is_stored_once, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_revision_expands_to_what_was_saved, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_damaged_list_is_told, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_database_of_the_version_before_goes_on, make_folder,
                                        remove_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
