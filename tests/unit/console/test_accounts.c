#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "console/accounts.h"

static char folder[256];
static const char file_name[] = "console/accounts.json";

static const char *path_of(const char *name)
{
    static char path[400];

    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    snprintf(folder, sizeof folder, "%s/postern-accounts-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(folder) ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = { "console/accounts.json", "console/accounts.json.new",
                                         "console/accounts.lock" };

    for (size_t i = 0; i < PT_ARRAY_LEN(names); i++)
        unlink(path_of(names[i]));
    rmdir(path_of("console"));
    return rmdir(folder);
}

static void add(const char *name, enum account_role role)
{
    struct accounts_edit e;

    assert_int_equal(accounts_edit_begin(&e, folder, NULL), PT_ERR_OK);
    assert_int_equal(accounts_add(&e.accounts, str_of(name), role, "$argon2id$x", 5, NULL),
                     PT_ERR_OK);
    assert_int_equal(accounts_edit_commit(&e, NULL), PT_ERR_OK);
}

static void a_second_factor_is_stored_and_ends_sessions(void **state)
{
    struct account_second second = { .on = true, .used = 12345, .spare_count = 3 };
    struct accounts_edit e;
    struct account *account;
    struct accounts a;
    uint64_t before;

    memset(second.key, 7, sizeof second.key);
    for (uint8_t i = 0; i < second.spare_count; i++)
        memset(second.spares[i], 100 + i, sizeof second.spares[i]);
    add("ann", ROLE_ADMINISTRATOR);
    assert_int_equal(accounts_edit_begin(&e, folder, NULL), PT_ERR_OK);
    account = accounts_find(&e.accounts, STR("ann"));
    assert_false(account->second.on);
    before = account->serial;
    accounts_set_second(&e.accounts, account, &second);
    assert_int_not_equal(account->serial, before);
    assert_int_equal(accounts_edit_commit(&e, NULL), PT_ERR_OK);
    assert_int_equal(accounts_load(&a, folder, NULL), PT_ERR_OK);
    assert_memory_equal(&accounts_find(&a, STR("ann"))->second, &second, sizeof second);
    accounts_done(&a);
}

static void what_was_stored_is_read_back(void **state)
{
    const struct account_token *token;
    char secret[ACCOUNT_SECRET_SIZE];
    struct accounts_edit e;
    struct accounts a;
    struct stat st;

    assert_int_equal(accounts_load(&a, folder, NULL), PT_ERR_OK);
    assert_int_equal(a.count, 0);
    assert_true(accounts_are_current(&a, folder));
    add("ann", ROLE_ADMINISTRATOR);
    assert_false(accounts_are_current(&a, folder));
    add("bob@example.com", ROLE_VIEWER);
    assert_int_equal(accounts_edit_begin(&e, folder, NULL), PT_ERR_OK);
    assert_int_equal(accounts_token_add(&e.accounts, accounts_find(&e.accounts, STR("ann")),
                                        STR("back up"), ROLE_OPERATOR, 7, 9, secret, &token, NULL),
                     PT_ERR_OK);
    assert_int_equal(accounts_edit_commit(&e, NULL), PT_ERR_OK);
    accounts_done(&a);

    assert_int_equal(accounts_load(&a, folder, NULL), PT_ERR_OK);
    assert_true(accounts_are_current(&a, folder));
    assert_int_equal(a.count, 2);
    assert_int_equal(accounts_find(&a, STR("bob@example.com"))->role, ROLE_VIEWER);
    assert_null(accounts_find(&a, STR("Ann")));
    assert_int_equal(accounts_administrators(&a), 1);
    assert_int_equal(a.token_count, 1);
    assert_string_equal(a.tokens[0].name, "back up");
    assert_int_equal(a.tokens[0].expires_us, 9);
    assert_true(accounts_find(&a, STR("ann"))->serial !=
                accounts_find(&a, STR("bob@example.com"))->serial);
    accounts_done(&a);
    assert_int_equal(stat(path_of(file_name), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(stat(path_of("console"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
}

static void a_token_is_worth_no_more_than_its_owner(void **state)
{
    const struct account_token *token;
    char secret[ACCOUNT_SECRET_SIZE];
    struct accounts a = { .next = 1 };
    enum account_role role;

    assert_int_equal(accounts_add(&a, STR("ann"), ROLE_ADMINISTRATOR, "x", 0, NULL), PT_ERR_OK);
    assert_int_equal(
        accounts_token_add(&a, &a.list[0], STR("t"), ROLE_OPERATOR, 0, 100, secret, &token, NULL),
        PT_ERR_OK);
    assert_int_equal(strlen(secret), 43);
    assert_ptr_equal(accounts_token_check(&a, str_of(secret), 99, &role), token);
    assert_int_equal(role, ROLE_OPERATOR);
    assert_null(accounts_token_check(&a, str_of(secret), 100, &role));
    assert_null(accounts_token_check(&a, str_head(str_of(secret), 42), 0, &role));
    assert_null(accounts_token_check(&a, STR(""), 0, &role));
    accounts_set_role(&a, &a.list[0], ROLE_VIEWER);
    assert_non_null(accounts_token_check(&a, str_of(secret), 0, &role));
    assert_int_equal(role, ROLE_VIEWER);
    accounts_remove(&a, &a.list[0]);
    assert_int_equal(a.token_count, 0);
    assert_null(accounts_token_check(&a, str_of(secret), 0, &role));
    accounts_done(&a);
}

static void a_change_gives_another_serial(void **state)
{
    struct accounts a = { .next = 1 };
    uint64_t first, second;

    assert_int_equal(accounts_add(&a, STR("ann"), ROLE_VIEWER, "x", 0, NULL), PT_ERR_OK);
    assert_int_equal(accounts_add(&a, STR("ann"), ROLE_VIEWER, "x", 0, NULL), PT_ERR_EXISTS);
    first = a.list[0].serial;
    accounts_set_role(&a, &a.list[0], ROLE_VIEWER);
    assert_int_equal(a.list[0].serial, first);
    accounts_set_role(&a, &a.list[0], ROLE_OPERATOR);
    second = a.list[0].serial;
    assert_int_not_equal(second, first);
    accounts_remove(&a, &a.list[0]);
    assert_int_equal(accounts_add(&a, STR("ann"), ROLE_OPERATOR, "x", 0, NULL), PT_ERR_OK);
    assert_true(a.list[0].serial != first && a.list[0].serial != second);
    accounts_done(&a);
}

static void a_cancelled_edit_changes_nothing(void **state)
{
    struct accounts_edit e;
    struct accounts a;

    add("ann", ROLE_ADMINISTRATOR);
    assert_int_equal(accounts_edit_begin(&e, folder, NULL), PT_ERR_OK);
    accounts_remove(&e.accounts, &e.accounts.list[0]);
    accounts_edit_cancel(&e);
    assert_int_equal(accounts_load(&a, folder, NULL), PT_ERR_OK);
    assert_int_equal(a.count, 1);
    accounts_done(&a);
}

/* A file that cannot be understood must never look like the absence of accounts. */
static void damage_is_said_and_is_not_emptiness(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "{}",
        "{\"format\":2,\"next\":1,\"accounts\":[],\"tokens\":[]}",
        "{\"format\":1,\"next\":1,\"accounts\":[{}],\"tokens\":[]}",
        "{\"format\":1,\"next\":1,\"accounts\":[],\"tokens\":[{}]}",
        "{\"format\":1,\"next\":-1,\"accounts\":[],\"tokens\":[]}",
        "{\"format\":1,\"next\":2,\"accounts\":[{\"name\":\"a b\",\"role\":\"viewer\","
        "\"password\":\"x\",\"serial\":1,\"created\":1}],\"tokens\":[]}",
        "{\"format\":1,\"next\":2,\"accounts\":[{\"name\":\"a\",\"role\":\"root\","
        "\"password\":\"x\",\"serial\":1,\"created\":1}],\"tokens\":[]}",
    };

    add("ann", ROLE_ADMINISTRATOR);
    for (size_t i = 0; i < PT_ARRAY_LEN(texts); i++) {
        FILE *f = fopen(path_of(file_name), "we");
        struct pt_fault fault = { 0 };
        struct accounts_edit e;
        struct accounts a;

        assert_non_null(f);
        fputs(texts[i], f);
        fclose(f);
        assert_int_equal(accounts_load(&a, folder, &fault), PT_ERR_CORRUPT);
        assert_non_null(strstr(fault.text, "accounts.json is damaged"));
        assert_int_equal(accounts_edit_begin(&e, folder, NULL), PT_ERR_CORRUPT);
    }
}

static void only_the_right_password_matches(void **state)
{
    struct account a = { .name = "ann" };
    char long_one[ACCOUNT_PASSWORD_MAX + 2];

    assert_int_equal(accounts_password_hash(STR("correct horse"), a.hash, NULL), PT_ERR_OK);
    assert_non_null(strstr(a.hash, "$argon2id$v=19$m=19456,t=2,p=1$"));
    assert_true(accounts_password_matches(&a, STR("correct horse")));
    assert_false(accounts_password_matches(&a, STR("correct horsf")));
    assert_false(accounts_password_matches(&a, STR("correct horse\0x")));
    assert_false(accounts_password_matches(&a, STR_NULL));
    assert_false(accounts_password_matches(NULL, STR("correct horse")));
    memset(long_one, 'a', sizeof long_one);
    assert_false(accounts_password_matches(&a, (struct str){ long_one, sizeof long_one }));
}

static void names_and_passwords_have_rules(void **state)
{
    static const char *const good[] = { "a", "9", "Ann", "ann.b_c-d@e+f" };
    static const char *const bad[] = { "", "-x", ".x", "a b", "a/b", "a\n", "\xc3\xa4", "a\"" };
    char longest[ACCOUNT_NAME_MAX + 1];

    for (size_t i = 0; i < PT_ARRAY_LEN(good); i++)
        assert_int_equal(accounts_name_check(str_of(good[i]), NULL), PT_ERR_OK);
    for (size_t i = 0; i < PT_ARRAY_LEN(bad); i++)
        assert_int_equal(accounts_name_check(str_of(bad[i]), NULL), PT_ERR_INVALID);
    assert_int_equal(accounts_name_check(STR("a\0b"), NULL), PT_ERR_INVALID);
    memset(longest, 'a', sizeof longest);
    assert_int_equal(accounts_name_check((struct str){ longest, 64 }, NULL), PT_ERR_OK);
    assert_int_equal(accounts_name_check((struct str){ longest, 65 }, NULL), PT_ERR_INVALID);
    assert_int_equal(accounts_password_check(STR("ann"), STR("1234567"), NULL), PT_ERR_INVALID);
    assert_int_equal(accounts_password_check(STR("ann"), STR("12345678"), NULL), PT_ERR_OK);
    assert_int_equal(accounts_password_check(STR("annannann"), STR("AnnAnnAnn"), NULL),
                     PT_ERR_INVALID);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(a_second_factor_is_stored_and_ends_sessions),
        T(what_was_stored_is_read_back),
        T(a_token_is_worth_no_more_than_its_owner),
        T(a_change_gives_another_serial),
        T(a_cancelled_edit_changes_nothing),
        T(damage_is_said_and_is_not_emptiness),
        T(only_the_right_password_matches),
        T(names_and_passwords_have_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
