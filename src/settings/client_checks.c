#include "settings/client_checks.h"

#include <stddef.h>

#include "settings/errors.h"
#include "settings/limits.h"

#define SWITCH(name, text)                                                                         \
    {                                                                                              \
        .key = name, .type = SCHEMA_STRING, .max = 100,                                            \
        .choices = (const char *const[]){ "off", "shadow", "on", NULL }, .fallback = "\"off\"",    \
        .summary = text " \"shadow\": what it would refuse is counted and shown, and let through." \
    }

const struct schema_node schema_helo_checks[] = {
    SWITCH("syntax", "\"on\": a name that is neither a fully qualified domain name nor an address "
                     "literal (\"[192.0.2.1]\") gets 504 5.5.2."),
    SWITCH("resolvable", "\"on\": a name that has no A, AAAA or MX record gets 550 5.7.1; while "
                         "the DNS cannot tell, 451 4.4.3. Address literals are not looked up."),
    SWITCH("own_name", "\"on\": a client that is not this host and calls itself "
                       "identity.hostname, \"localhost\" or an address of this host gets 550 "
                       "5.7.1."),
    { .key = NULL },
};

const struct schema_node schema_reverse_path_checks[] = {
    SWITCH("syntax", "\"on\": a domain that is not fully qualified, or a literal that is no "
                     "address, gets 553 5.1.7. Broken addresses get 501 whatever stands here."),
    SWITCH("resolvable", "\"on\": a domain that could not be answered, since it has no MX, A or "
                         "AAAA record, gets 553 5.1.8, one with a null MX (RFC 7505) 550 5.7.27; "
                         "while the DNS cannot tell, 450 4.1.8. Address literals are not looked "
                         "up."),
    SWITCH("own_domain", "\"on\": an address in one of relay_domains (\"*\" does not count) from a "
                         "client that may not relay gets 550 5.7.1. Forwarders and services that "
                         "send in your name from outside are refused too: look at \"shadow\" "
                         "first."),
    { .key = NULL },
};

void settings_check_client_checks(struct settings_check *c, const json_t *document)
{
    const json_t *rules = settings_json_at(document, "message_rules", NULL);
    const json_t *data = json_object_get(rules, "max_data_per_connection_mb");
    const json_t *size = json_object_get(rules, "max_message_size_mb");

    if (json_is_integer(data) && json_is_integer(size) &&
        json_integer_value(data) < json_integer_value(size))
        settings_errors_add(c->errors, SETTINGS_ERROR, "/message_rules/max_data_per_connection_mb",
                            "is less than max_message_size_mb (%lld): a message of that size "
                            "could never be sent",
                            (long long)json_integer_value(size));
}

/* ---- recipient_check ---- */

enum { TIMEOUT_SECONDS = 10, TAKEN_MINUTES = 1440, REFUSED_MINUTES = 15 };

static uint32_t number(const json_t *rules, const char *key, uint32_t otherwise)
{
    const json_t *value = json_object_get(rules, key);

    return json_is_integer(value) ? (uint32_t)json_integer_value(value) : otherwise;
}

void settings_check_recipient_check(struct settings_check *c, const json_t *document)
{
    const json_t *rules = settings_json_at(document, "message_rules", NULL);
    uint32_t taken = number(rules, "recipient_check_taken_minutes", TAKEN_MINUTES);

    if (c->errors->error_count == 0 &&
        number(rules, "recipient_check_refused_minutes", REFUSED_MINUTES) > taken)
        settings_errors_add(c->errors, SETTINGS_ERROR,
                            "/message_rules/recipient_check_refused_minutes",
                            "is more than recipient_check_taken_minutes (%u): a recipient comes to "
                            "be more often than it ceases to",
                            (unsigned)taken);
}

static void value_recipient_check(const json_t *rules, struct settings *s)
{
    s->message_rules.recipient_check =
        settings_value_mode(json_object_get(rules, "recipient_check"));
    s->message_rules.recipient_check_timeout_seconds =
        number(rules, "recipient_check_timeout_seconds", TIMEOUT_SECONDS);
    s->message_rules.recipient_check_taken_minutes =
        number(rules, "recipient_check_taken_minutes", TAKEN_MINUTES);
    s->message_rules.recipient_check_refused_minutes =
        number(rules, "recipient_check_refused_minutes", REFUSED_MINUTES);
}

void settings_value_client_checks(const json_t *message_rules, struct settings *s)
{
    static const struct {
        const char *object, *key;
    } keys[SETTINGS_CHECK_COUNT] = {
        [SETTINGS_CHECK_HELO_SYNTAX] = { "helo_checks", "syntax" },
        [SETTINGS_CHECK_HELO_RESOLVABLE] = { "helo_checks", "resolvable" },
        [SETTINGS_CHECK_HELO_OWN_NAME] = { "helo_checks", "own_name" },
        [SETTINGS_CHECK_REVERSE_PATH_SYNTAX] = { "reverse_path_checks", "syntax" },
        [SETTINGS_CHECK_REVERSE_PATH_RESOLVABLE] = { "reverse_path_checks", "resolvable" },
        [SETTINGS_CHECK_REVERSE_PATH_OWN_DOMAIN] = { "reverse_path_checks", "own_domain" },
    };

    for (int i = 0; i < SETTINGS_CHECK_COUNT; i++)
        s->message_rules.checks[i] = settings_value_mode(
            json_object_get(json_object_get(message_rules, keys[i].object), keys[i].key));
    value_recipient_check(message_rules, s);
    s->message_rules.max_data_per_connection =
        (uint64_t)json_integer_value(json_object_get(message_rules, "max_data_per_connection_mb")) *
        1048576;
}
