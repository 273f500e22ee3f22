#include <stddef.h>

#include "settings/auth.h"

/* Other octets of control characters than NUL, CR and LF have no place in a log or a name either.
 */
static enum schema_verdict check_words(struct str in, char out[SCHEMA_TEXT_SIZE], const char **note)
{
    if (in.n == 0)
        *note = "it is empty";
    for (size_t i = 0; i < in.n && !*note; i++)
        if ((unsigned char)in.p[i] < 0x20 || in.p[i] == 0x7F)
            *note = "it has a control character";
    return *note ? SCHEMA_BAD : SCHEMA_GOOD;
}

static const struct schema_format user = { "a name without control characters", NULL, check_words };
static const struct schema_format password = { "a password without control characters", "password",
                                               check_words };

const struct schema_node schema_auth[] = {
    {
        .key = "user",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_REQUIRED,
        .max = SETTINGS_SECRET_MAX,
        .format = &user,
        .summary = "The name to log in with.",
    },
    {
        .key = "password",
        .type = SCHEMA_STRING,
        .flags = SCHEMA_REQUIRED | SCHEMA_SECRET,
        .max = SETTINGS_SECRET_MAX,
        .format = &password,
        .summary = "Its password. It is kept apart, in STATE/secrets, and never shown again: "
                   "wherever the document is read \"secret:\" and 16 digits stand in its place, "
                   "and where they stand in a document that is applied here, the password that "
                   "is kept already is meant.",
    },
    { .key = NULL },
};
