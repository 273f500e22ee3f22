#include "settings/domain.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/rng.h"
#include "check.h"
#include "settings/settings.h"

static void names_have_one_form(void **state)
{
    static const struct {
        struct str in;
        const char *out; /* NULL: no domain */
    } cases[] = {
        { STR("example.com"), "example.com" },
        { STR("EXAMPLE.Com."), "example.com" },
        { STR("localhost"), "localhost" },
        { STR("_dmarc.example.com"), "_dmarc.example.com" },
        { STR("b\xC3\xBC"
              "cher.de"),
          "xn--bcher-kva.de" },
        { STR("B\xC3\x9C"
              "CHER.DE"),
          "xn--bcher-kva.de" },
        { STR("bu\xCC\x88"
              "cher.de"),
          "xn--bcher-kva.de" }, /* composed first */
        { STR("stra\xC3\x9F"
              "e.de"),
          "xn--strae-oqa.de" },                           /* nontransitional */
        { STR("\xEF\xBD\x85xample.com"), "example.com" }, /* full width */
        { STR("example\xE3\x80\x82"
              "com"),
          "example.com" }, /* ideographic full stop */
        { STR("XN--BCHER-KVA.de"), "xn--bcher-kva.de" },
        { STR("a.1b"), "a.1b" },
        { STR(""), NULL },
        { STR("."), NULL },
        { STR("a.."), NULL },
        { STR(".a"), NULL },
        { STR("a..b"), NULL },
        { STR("a-.b"), NULL },
        { STR("-a.b"), NULL },
        { STR("a b.c"), NULL },
        { STR("a@b"), NULL },
        { STR("10.0.0.1"), NULL },
        { STR("example.123"), NULL },
        { STR("[10.0.0.1]"), NULL },
        { STR("a\0.b"), NULL },
        { STR("\xFF.com"), NULL },
        { STR("\xC3\xBC\0.com"), NULL },
        { STR("*.a"), NULL },
    };

    (void)state;
    for (size_t i = 0; i < PT_ARRAY_LEN(cases); i++) {
        char out[SETTINGS_DOMAIN_SIZE];
        bool ok = settings_domain_normalise(cases[i].in, out);

        print_message("%.*s\n", STR_FMT(cases[i].in));
        assert_int_equal(ok, cases[i].out != NULL);
        if (ok)
            assert_string_equal(out, cases[i].out);
    }
}

static void names_have_a_longest(void **state)
{
    char name[300], out[SETTINGS_DOMAIN_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof name; i++)
        name[i] = i % 60 == 59 ? '.' : 'a';
    assert_true(settings_domain_normalise((struct str){ name, 253 }, out));
    assert_int_equal(strlen(out), 253);
    assert_false(settings_domain_normalise((struct str){ name, 254 }, out));
    memset(name, 'a', sizeof name);
    assert_true(settings_domain_normalise((struct str){ name, 63 }, out));
    assert_false(settings_domain_normalise((struct str){ name, 64 }, out));
    memset(name, '\xC3', sizeof name);
    assert_false(settings_domain_normalise((struct str){ name, sizeof name }, out));
}

/* ---- against trying every pattern ---- */

static size_t fit(const char *pattern, const char *domain)
{
    size_t p = strlen(pattern), d = strlen(domain);

    if (strcmp(pattern, "*") == 0)
        return 1;
    if (pattern[0] != '*')
        return strcmp(pattern, domain) == 0 ? 1000 : 0;
    return d >= p && strcmp(domain + d - (p - 1), pattern + 1) == 0 ? p : 0;
}

static uint32_t find_slowly(const char *const *patterns, uint32_t count, const char *domain)
{
    uint32_t best = SETTINGS_DOMAIN_NONE;
    size_t most = 0;

    for (uint32_t i = 0; i < count; i++)
        if (fit(patterns[i], domain) > most) {
            most = fit(patterns[i], domain);
            best = i;
        }
    return best;
}

static void random_name(struct rng *r, bool pattern, char out[40])
{
    size_t n = 0, labels = 1 + rng_below(r, 4);

    if (pattern && rng_below(r, 20) == 0) {
        snprintf(out, 40, "*");
        return;
    }
    if (pattern && rng_below(r, 2))
        n += (size_t)snprintf(out, 40, "*.");
    for (size_t i = 0; i < labels; i++)
        n += (size_t)snprintf(out + n, 40 - n, "%s%c", i ? "." : "", 'a' + (int)rng_below(r, 3));
}

static void the_best_pattern_is_found(void **state)
{
    enum { MOST = 60 };
    char texts[MOST][40], domain[40];
    const char *patterns[MOST];

    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        struct settings_domains *d;
        uint32_t count;
        struct rng r;

        rng_seed(&r, seed);
        count = (uint32_t)rng_below(&r, MOST);
        for (uint32_t i = 0; i < count; i++) {
            random_name(&r, true, texts[i]);
            patterns[i] = texts[i];
        }
        d = settings_domains_new(patterns, count);
        assert_non_null(d);
        for (int i = 0; i < 100; i++) {
            random_name(&r, false, domain);
            assert_int_equal(settings_domains_find(d, str_of(domain)),
                             find_slowly(patterns, count, domain));
        }
        settings_domains_free(d);
    }
    settings_domains_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_have_one_form),
        cmocka_unit_test(names_have_a_longest),
        cmocka_unit_test(the_best_pattern_is_found),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
