#include <stdio.h>

#include "base/clock.h"
#include "net/entry.h"
#include "settings/settings.h"
#include "settings/table.h"

/* Passes `out` on, unless it is what was given. */
static enum schema_verdict replaced(struct str in, const char *out)
{
    return str_eq(in, str_of(out)) ? SCHEMA_GOOD : SCHEMA_REPLACE;
}

static enum schema_verdict check_hostname(struct str in, char out[SCHEMA_TEXT_SIZE],
                                          const char **note)
{
    if (!settings_domain_normalise(in, out))
        return SCHEMA_BAD;
    if (strchr(out, '_')) {
        *note = "a host name has no underscores";
        return SCHEMA_BAD;
    }
    return replaced(in, out);
}

static enum schema_verdict check_domain_pattern(struct str in, char out[SCHEMA_TEXT_SIZE],
                                                const char **note)
{
    if (str_eq(in, STR("*")))
        return SCHEMA_GOOD;
    out[0] = '*';
    out[1] = '.';
    if (in.n > 2 && in.p[0] == '*' && in.p[1] == '.')
        return settings_domain_normalise(str_from(in, 2), out + 2) ? replaced(in, out) : SCHEMA_BAD;
    if (str_find(in, '@', 0) >= 0)
        *note = "it is a domain, without a local part and \"@\"";
    return settings_domain_normalise(in, out) ? replaced(in, out) : SCHEMA_BAD;
}

static enum schema_verdict check_network(struct str in, char out[SCHEMA_TEXT_SIZE],
                                         const char **note)
{
    struct net_entry entry;

    if (!net_entry_parse(in, &entry, note))
        return SCHEMA_BAD;
    if (!entry.normalised)
        return SCHEMA_GOOD;
    *note = "bits of the host part are set; they are cleared";
    net_prefix_format(&entry.prefix, out);
    return SCHEMA_REPLACE;
}

static enum schema_verdict check_time(struct str in, char out[SCHEMA_TEXT_SIZE], const char **note)
{
    int64_t time_us;

    (void)out;
    (void)note;
    return settings_time_parse(in, &time_us) ? SCHEMA_GOOD : SCHEMA_BAD;
}

static enum schema_verdict check_address(struct str in, char out[SCHEMA_TEXT_SIZE],
                                         const char **note)
{
    struct net_addr a;
    static const struct net_addr any4 = { .family = NET_IPV4 }, any6 = { .family = NET_IPV6 };

    if (!net_addr_parse(in, &a)) {
        if (str_find(in, '%', 0) >= 0)
            *note = "an address with a zone is not possible";
        return SCHEMA_BAD;
    }
    if (net_addr_eq(&a, &any4) || net_addr_eq(&a, &any6)) {
        *note = "it is no address of one host";
        return SCHEMA_BAD;
    }
    if (net_addr_is_multicast(&a)) {
        *note = "a multicast address is no address of one host";
        return SCHEMA_BAD;
    }
    if (net_addr_is_link_local(&a)) {
        *note = "a link-local address means nothing without its interface; take another one";
        return SCHEMA_BAD;
    }
    net_addr_format(&a, out);
    return replaced(in, out);
}

/* Brackets around an address are allowed, since many write it so. */
static enum schema_verdict check_host(struct str in, char out[SCHEMA_TEXT_SIZE], const char **note)
{
    struct str inner = in;
    struct net_addr a;

    (void)note;
    if (in.n > 2 && in.p[0] == '[' && in.p[in.n - 1] == ']')
        inner = (struct str){ in.p + 1, in.n - 2 };
    if (net_addr_parse(inner, &a)) {
        net_addr_format(&a, out);
        return replaced(in, out);
    }
    return settings_domain_normalise(in, out) ? replaced(in, out) : SCHEMA_BAD;
}

static enum schema_verdict check_server(struct str in, char out[SCHEMA_TEXT_SIZE],
                                        const char **note)
{
    ptrdiff_t at = str_find(in, '@', 0);
    struct str address = at < 0 ? in : str_head(in, (size_t)at);
    uint64_t port = 53;
    struct net_addr a;

    if (!net_addr_parse(address, &a))
        return SCHEMA_BAD;
    if (at >= 0) {
        struct str text = str_from(in, (size_t)at + 1);

        if (!str_to_u64(text, &port) || port < 1 || port > 65535 || text.p[0] == '0') {
            *note = "the port is a number from 1 to 65535";
            return SCHEMA_BAD;
        }
    }
    net_addr_format(&a, out);
    if (at >= 0)
        snprintf(out + strlen(out), 8, "@%u", (unsigned)port);
    return replaced(in, out);
}

/* The next word of `in`, cut off from it. */
static struct str next_word(struct str *in)
{
    size_t n = 0;
    struct str word;

    *in = str_trim(*in);
    while (n < in->n && in->p[n] != ' ' && in->p[n] != '\t')
        n++;
    word = str_head(*in, n);
    *in = str_from(*in, n);
    return word;
}

static bool all_hex(struct str word)
{
    for (size_t i = 0; i < word.n; i++) {
        char c = ascii_lower(word.p[i]);

        if ((c < '0' || c > '9') && (c < 'a' || c > 'f'))
            return false;
    }
    return word.n > 0;
}

/* owner [ttl] [IN] DS key-tag algorithm digest-type digest (RFC 4034 5.3) */
static enum schema_verdict check_anchor(struct str in, char out[SCHEMA_TEXT_SIZE],
                                        const char **note)
{
    static const uint64_t most[3] = { 65535, 255, 255 };
    struct str word = next_word(&in);
    size_t digest = 0;
    uint64_t number;

    (void)out;
    if (word.n == 0)
        return SCHEMA_BAD;
    for (int i = 0; i < 3 && !str_eq_nocase(word, STR("DS")); i++)
        word = next_word(&in);
    if (!str_eq_nocase(word, STR("DS"))) {
        *note = "it has no \"DS\"";
        return SCHEMA_BAD;
    }
    for (int i = 0; i < 3; i++)
        if (!str_to_u64(next_word(&in), &number) || number > most[i])
            return SCHEMA_BAD;
    while ((word = next_word(&in)).n > 0) {
        if (!all_hex(word))
            return SCHEMA_BAD;
        digest += word.n;
    }
    return digest >= 40 && digest % 2 == 0 ? SCHEMA_GOOD : SCHEMA_BAD;
}

static enum schema_verdict check_id(struct str in, char out[SCHEMA_TEXT_SIZE], const char **note)
{
    (void)out;
    (void)note;
    for (size_t i = 0; i < in.n; i++) {
        char c = ascii_lower(in.p[i]);

        if ((c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != ':')
            return SCHEMA_BAD;
    }
    return in.n ? SCHEMA_GOOD : SCHEMA_BAD;
}

static enum schema_verdict check_line(struct str in, char out[SCHEMA_TEXT_SIZE], const char **note)
{
    (void)out;
    (void)note;
    for (size_t i = 0; i < in.n; i++)
        if (((unsigned char)in.p[i] < 0x20 && in.p[i] != '\t') || in.p[i] == 0x7F)
            return SCHEMA_BAD;
    return SCHEMA_GOOD;
}

static enum schema_verdict check_greeting(struct str in, char out[SCHEMA_TEXT_SIZE],
                                          const char **note)
{
    return str_has_8bit(in) || str_find(in, '\t', 0) >= 0 ? SCHEMA_BAD : check_line(in, out, note);
}

const struct schema_format schema_hostname = { "a host name", "idn-hostname", check_hostname };
const struct schema_format schema_domain_pattern = { "a domain, \"*.\" and a domain, or \"*\"",
                                                     NULL, check_domain_pattern };
const struct schema_format schema_network = { "ADDRESS, ADDRESS/PREFIX or ADDRESS:MASK", NULL,
                                              check_network };
const struct schema_format schema_time = { "a time such as 2030-01-31T18:00:00Z", "date-time",
                                           check_time };
const struct schema_format schema_address = { "one IPv4 or IPv6 address", NULL, check_address };
const struct schema_format schema_host = { "a host name or an address", NULL, check_host };
const struct schema_format schema_server = { "IP or IP@PORT", NULL, check_server };
const struct schema_format schema_anchor = { "a DS record", NULL, check_anchor };
const struct schema_format schema_id = { "an ID of letters, digits, \"-\", \"_\" and \":\"", NULL,
                                         check_id };
const struct schema_format schema_line = { "text without control characters", NULL, check_line };
const struct schema_format schema_greeting = { "printable ASCII text", NULL, check_greeting };

bool settings_time_parse(struct str text, int64_t *out_us)
{
    return clock_rfc3339_parse(text, out_us);
}
