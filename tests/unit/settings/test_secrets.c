#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "settings/schema.h"
#include "settings/secrets.h"

/* Passwords of routes: in clear once, by a name from then on. */

static char folder[64];
static struct settings_errors errors;

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test-secrets-XXXXXX");
    settings_errors_init(&errors);
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state)
{
    char command[96];

    (void)state;
    settings_errors_done(&errors);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static enum pt_err parse(const char *password, const struct settings *in_force, bool may_be_gone,
                         struct settings **out)
{
    struct settings_host host = { .hostname = "gw",
                                  .in_force = in_force,
                                  .secret = settings_secret_read,
                                  .secret_ctx = folder,
                                  .secrets_may_be_gone = may_be_gone };
    char text[1024];

    snprintf(text, sizeof text,
             "{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"next_hops\":[{\"host\":\"h\"}],"
             "\"tls\":\"verify\",\"auth\":{\"user\":\"me\",\"password\":\"%s\"}}]}}",
             password);
    return settings_parse(text, strlen(text), &host, out, &errors);
}

static struct settings *good(const char *password, const struct settings *in_force)
{
    struct settings *s = NULL;

    assert_int_equal(parse(password, in_force, false, &s), PT_ERR_OK);
    return s;
}

static const struct settings_auth *auth_of(const struct settings *s)
{
    return s->routes[0].auth;
}

static void the_document_has_a_name_and_the_value_the_password(void **state)
{
    struct settings *s = good("open sesame", NULL);
    char *stored = settings_document_to_store(s);

    (void)state;
    assert_true(settings_secret_is_name(str_of(auth_of(s)->secret)));
    assert_string_equal(auth_of(s)->password, "open sesame");
    assert_true(auth_of(s)->fresh);
    assert_null(strstr(s->document, "sesame"));
    assert_null(strstr(stored, "sesame"));
    assert_non_null(strstr(stored, auth_of(s)->secret));
    free(stored);
    settings_unref(s);
}

static void a_name_means_what_is_kept(void **state)
{
    struct settings *s = good("open sesame", NULL), *again;
    struct pt_fault fault;

    (void)state;
    assert_int_equal(settings_secrets_keep(folder, s, &fault), PT_ERR_OK);
    again = good(auth_of(s)->secret, NULL);
    assert_string_equal(auth_of(again)->password, "open sesame");
    assert_false(auth_of(again)->fresh);
    assert_string_equal(again->document, s->document);
    settings_unref(again);
    settings_unref(s);
}

static void the_same_password_keeps_its_name_and_another_gets_one(void **state)
{
    struct settings *s = good("one", NULL), *same = good("one", s), *other = good("two", s);

    (void)state;
    assert_string_equal(same->document, s->document);
    assert_false(auth_of(same)->fresh);
    assert_string_not_equal(auth_of(other)->secret, auth_of(s)->secret);
    settings_unref(s);
    settings_unref(same);
    settings_unref(other);
}

static void a_name_of_nothing_is_refused_but_not_in_what_was_in_force(void **state)
{
    struct settings *s = NULL;

    (void)state;
    assert_int_equal(parse("secret:00112233445566aa", NULL, false, &s), PT_ERR_INVALID);
    assert_string_equal(errors.errors[0].pointer, "/delivery/routes/0/auth/password");
    assert_int_equal(parse("secret:00112233445566aa", NULL, true, &s), PT_ERR_OK);
    assert_null(auth_of(s)->password);
    settings_unref(s);
}

static void nearly_names_are_passwords(void **state)
{
    static const char *const texts[] = { "secret:",
                                         "secret:00112233445566AA",
                                         "secret:00112233445566a",
                                         "secret:00112233445566aa1",
                                         "Secret:00112233445566aa",
                                         "secret:../../../etc/pas" };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(texts); i++) {
        struct settings *s = good(texts[i], NULL);

        assert_string_equal(auth_of(s)->password, texts[i]);
        assert_string_not_equal(auth_of(s)->secret, texts[i]);
        settings_unref(s);
    }
}

static void files_are_the_gateways_alone(void **state)
{
    struct settings *s = good("open sesame", NULL);
    char path[128], room[SETTINGS_SECRET_MAX + 1];
    struct pt_fault fault;
    struct stat st;
    FILE *f;

    (void)state;
    assert_int_equal(settings_secrets_keep(folder, s, &fault), PT_ERR_OK);
    snprintf(path, sizeof path, "%s/secrets", folder);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    snprintf(path, sizeof path, "%s/secrets/%s", folder, auth_of(s)->secret + 7);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    /* A name is given once. */
    assert_int_not_equal(settings_secrets_keep(folder, s, &fault), PT_ERR_OK);
    /* What no one of ours wrote is none. */
    f = fopen(path, "w");
    for (int i = 0; i < 300; i++)
        fputc('x', f);
    fclose(f);
    assert_false(settings_secret_read(folder, auth_of(s)->secret, room));
    assert_int_equal(truncate(path, 0), 0);
    assert_false(settings_secret_read(folder, auth_of(s)->secret, room));
    settings_unref(s);
}

static void errors_do_not_repeat_it(void **state)
{
    static const char *const wrong[] = {
        "\"auth\":\"me:open sesame\"",
        "\"auth\":{\"user\":\"me\",\"password\":\"open sesame\\u0001\"}",
        "\"auth\":{\"user\":\"me\",\"password\":[\"open sesame\"]}",
        "\"tls\":\"none\",\"auth\":{\"user\":\"me\",\"password\":\"open sesame\"}",
    };
    struct settings_host host = { .hostname = "gw" };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(wrong); i++) {
        char text[512];
        struct settings *s = NULL;
        struct buf told;

        snprintf(text, sizeof text,
                 "{\"delivery\":{\"routes\":[{\"domain\":\"*\",\"next_hops\":[{\"host\":\"h\"}],"
                 "%s}]}}",
                 wrong[i]);
        assert_int_equal(settings_parse(text, strlen(text), &host, &s, &errors), PT_ERR_INVALID);
        buf_init(&told, 1 << 16);
        settings_errors_write(&errors, &told);
        assert_null(strstr(buf_cstr(&told), "sesame"));
        buf_done(&told);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_document_has_a_name_and_the_value_the_password,
                                        make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(a_name_means_what_is_kept, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(the_same_password_keeps_its_name_and_another_gets_one,
                                        make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(a_name_of_nothing_is_refused_but_not_in_what_was_in_force,
                                        make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(nearly_names_are_passwords, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(files_are_the_gateways_alone, make_folder, drop_folder),
        cmocka_unit_test_setup_teardown(errors_do_not_repeat_it, make_folder, drop_folder),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
