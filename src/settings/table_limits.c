/* connections.limits: what one client may do, and what becomes of one that does too much. */
#include "settings/limits.h"

#include <stddef.h>

#define CHOICES(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define CHILDREN(...) ((const struct schema_node[]){ __VA_ARGS__, { .key = NULL } })

/* A limit on how much, for an address and for its network. */
#define MODE(text)                                                                                 \
    {                                                                                              \
        .key = "mode", .type = SCHEMA_STRING, .max = 100,                                          \
        .choices = CHOICES("off", "shadow", "on"), .fallback = "\"off\"", .summary = text          \
    }
#define MOST(name, value, text)                                                                    \
    {                                                                                              \
        .key = name, .type = SCHEMA_INTEGER, .flags = SCHEMA_NULLABLE, .min = 1,                   \
        .max = SETTINGS_LIMIT_MAX, .fallback = value, .summary = text                              \
    }
#define LIMIT(name, address, prefix, text)                                                         \
    {                                                                                              \
        .key = name, .type = SCHEMA_OBJECT, .summary = text,                                       \
        .children = CHILDREN(                                                                      \
            MODE("\"off\": nothing is looked at; \"shadow\": what it would refuse is counted and " \
                 "shown, and let through; \"on\": it is refused with 421 4.7.0."),                 \
            MOST("per_address", address, "From one address. null: no limit."),                     \
            MOST("per_prefix", prefix,                                                             \
                 "From one network: an IPv4 /24, an IPv6 /64. null: no limit."))                   \
    }

/* In the order of enum settings_limit_of. */
const struct schema_node schema_limits[] = {
    LIMIT("simultaneous_connections", "20", "100", "Sessions of one client at a time."),
    LIMIT("connections_per_minute", "60", "300",
          "Connections of one client in the last minute, those that were refused included."),
    LIMIT("messages_per_minute", "120", "600",
          "MAIL commands of one client in the last minute, in all its sessions."),
    LIMIT("recipients_per_minute", "600", "3000",
          "RCPT commands of one client in the last minute, in all its sessions."),
    LIMIT("failures_per_minute", "30", "150",
          "What went wrong by the client's doing in the last minute: commands answered 5yz, and "
          "TLS handshakes that failed. Beyond it neither connecting nor MAIL nor RCPT is taken."),
    {
        .key = "ban",
        .type = SCHEMA_OBJECT,
        .summary = "A client with too many failures is kept out for a while: an IPv4 address, or "
                   "the /64 of an IPv6 address.",
        .children = CHILDREN(
            MODE("\"off\": nobody is banned; \"shadow\": what bans would refuse is counted and "
                 "shown; \"on\": a banned client gets 421 4.7.0. Bans that an administrator set "
                 "count always."),
            {
                .key = "failures",
                .type = SCHEMA_INTEGER,
                .min = 1,
                .max = 10000,
                .fallback = "50",
                .summary = "So many failures bring the ban.",
            },
            {
                .key = "within_minutes",
                .type = SCHEMA_INTEGER,
                .min = 1,
                .max = 1440,
                .fallback = "10",
                .unit = "minutes",
                .summary = "Failures longer ago do not count.",
            },
            {
                .key = "duration_minutes",
                .type = SCHEMA_INTEGER,
                .min = 1,
                .max = 43200,
                .fallback = "60",
                .unit = "minutes",
                .summary = "How long it lasts.",
            }),
    },
    {
        .key = "exempt",
        .type = SCHEMA_LIST,
        .max = 10000,
        .fallback = "[]",
        .item =
            &(const struct schema_node){
                .key = "", .type = SCHEMA_STRING, .max = 100, .format = &schema_network },
        .summary = "Clients that these limits and bans are not for, as ADDRESS, ADDRESS/PREFIX or "
                   "ADDRESS:MASK. A ban that an administrator set is for them too.",
    },
    { .key = NULL },
};

const char *const settings_limit_keys[SETTINGS_LIMIT_COUNT] = {
    "simultaneous_connections", "connections_per_minute", "messages_per_minute",
    "recipients_per_minute",    "failures_per_minute",
};
