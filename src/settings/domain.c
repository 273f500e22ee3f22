#include "settings/domain.h"

#include <idn2.h>
#include <stdlib.h>

#include "settings/settings.h"

/* ---- one name ---- */

static bool label_ok(const char *p, size_t n)
{
    if (n == 0 || n > 63 || p[0] == '-' || p[n - 1] == '-')
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = p[i];

        /* Underscores are no host names (RFC 952) but occur in names that the DNS serves. */
        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_')
            return false;
    }
    return true;
}

static bool all_digits(const char *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] < '0' || p[i] > '9')
            return false;
    return true;
}

static bool normalise_ascii(struct str in, char out[SETTINGS_DOMAIN_SIZE])
{
    size_t label = 0;

    if (in.n > 0 && in.p[in.n - 1] == '.')
        in.n--;
    if (in.n == 0 || in.n > 253)
        return false;
    for (size_t i = 0; i < in.n; i++) {
        out[i] = ascii_lower(in.p[i]);
        if (out[i] != '.')
            continue;
        if (!label_ok(out + label, i - label))
            return false;
        label = i + 1;
    }
    out[in.n] = 0;
    /* A last label of digits is part of an address, never a top-level domain (RFC 3696 2). */
    return label_ok(out + label, in.n - label) && !all_digits(out + label, in.n - label);
}

bool settings_domain_normalise(struct str domain, char out[SETTINGS_DOMAIN_SIZE])
{
    char name[1024];
    char *ascii = NULL;
    bool ok;

    if (!str_has_8bit(domain))
        return normalise_ascii(domain, out);
    if (domain.n >= sizeof name || memchr(domain.p, 0, domain.n))
        return false;
    memcpy(name, domain.p, domain.n);
    name[domain.n] = 0;
    ok = idn2_to_ascii_8z(name, &ascii, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) == IDN2_OK &&
         normalise_ascii(str_of(ascii), out);
    idn2_free(ascii);
    return ok;
}

/* ---- many patterns ---- */

struct settings_domains {
    const char *const *patterns;
    uint32_t *slots; /* index + 1; 0: free */
    uint32_t mask;
    uint32_t any; /* index of "*" */
};

static bool is_wild(const char *pattern)
{
    return pattern[0] == '*';
}

static uint32_t slot_of(const struct settings_domains *d, struct str name, bool wild)
{
    uint64_t hash = str_hash_nocase(name);

    return (uint32_t)(hash ^ hash >> 32 ^ (wild ? 0x9E3779B9u : 0)) & d->mask;
}

static uint32_t find_one(const struct settings_domains *d, struct str name, bool wild)
{
    for (uint32_t i = slot_of(d, name, wild); d->slots[i]; i = (i + 1) & d->mask) {
        const char *pattern = d->patterns[d->slots[i] - 1];

        if (is_wild(pattern) == wild && str_eq(str_of(pattern + (wild ? 2 : 0)), name))
            return d->slots[i] - 1;
    }
    return SETTINGS_DOMAIN_NONE;
}

static void add(struct settings_domains *d, uint32_t index)
{
    const char *pattern = d->patterns[index];
    bool wild = is_wild(pattern);
    struct str name = str_of(pattern + (wild ? 2 : 0));
    uint32_t i = slot_of(d, name, wild);

    if (find_one(d, name, wild) != SETTINGS_DOMAIN_NONE)
        return;
    while (d->slots[i])
        i = (i + 1) & d->mask;
    d->slots[i] = index + 1;
}

struct settings_domains *settings_domains_new(const char *const *patterns, uint32_t count)
{
    struct settings_domains *d = malloc(sizeof *d);
    uint32_t size = 8;

    while (size < (uint64_t)count * 2 && size < 1u << 30)
        size *= 2;
    if (!d)
        return NULL;
    *d = (struct settings_domains){ patterns, calloc(size, sizeof *d->slots), size - 1,
                                    SETTINGS_DOMAIN_NONE };
    if (!d->slots || count >= size) {
        settings_domains_free(d);
        return NULL;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(patterns[i], "*") != 0)
            add(d, i);
        else if (d->any == SETTINGS_DOMAIN_NONE)
            d->any = i;
    }
    return d;
}

void settings_domains_free(struct settings_domains *d)
{
    if (!d)
        return;
    free(d->slots);
    free(d);
}

uint32_t settings_domains_index(const struct settings_domains *d, const char *pattern)
{
    bool wild = is_wild(pattern);

    if (strcmp(pattern, "*") == 0)
        return d->any;
    return find_one(d, str_of(pattern + (wild ? 2 : 0)), wild);
}

uint32_t settings_domains_find(const struct settings_domains *d, struct str domain)
{
    uint32_t found = domain.n ? find_one(d, domain, false) : SETTINGS_DOMAIN_NONE;

    while (found == SETTINGS_DOMAIN_NONE) {
        ptrdiff_t dot = str_find(domain, '.', 0);

        if (dot < 0)
            return d->any;
        domain = str_from(domain, (size_t)dot + 1);
        found = find_one(d, domain, true);
    }
    return found;
}
