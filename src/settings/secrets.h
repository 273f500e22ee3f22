#pragma once
#include <stdbool.h>

#include "base/defs.h"
#include "base/err.h"
#include "base/str.h"
#include "settings/settings.h"

/*
 * settings/secrets: what may be written into the settings and is never read out of them again.
 *
 * A document brings a secret in clear once. From then on its name, "secret:" and 16 digits that say
 * nothing about it, stands in its place: in the document that is stored, shown, exported and
 * compared. A document that comes with the name means the secret that is kept already, so what was
 * exported can be applied again, and going back to an old revision brings its secrets back.
 *
 * Each is a file of its own, STATE/secrets/ID, which only the gateway's user can read. None is ever
 * removed: an old revision may name it. In memory the text stands in the settings that name it and
 * with those who use it, and is wiped where it is let go of.
 */

/* Octets of a secret; it has no control characters. */
#define SETTINGS_SECRET_MAX 255u
#define SETTINGS_SECRET_NAME_SIZE 24 /* "secret:0123456789abcdef" */

bool settings_secret_is_name(struct str text);

/* For settings_host: `state_directory` is a string. False: it cannot be had. Waits for the disk. */
PT_NODISCARD bool settings_secret_read(void *state_directory, const char *name,
                                       char out[SETTINGS_SECRET_MAX + 1]);

/* Makes those that came with this value durable; before its document is. Waits for the disk. */
PT_NODISCARD enum pt_err settings_secrets_keep(const char *state_directory,
                                               const struct settings *s, struct pt_fault *fault);
