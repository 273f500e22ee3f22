#pragma once
#include "base/err.h"
#include "settings/settings.h"

/*
 * settings/participant: who must be able to take new settings before they are stored, and takes
 * them over afterwards.
 *
 * A change is: validate (schema.h), prepare, store (store.h), publish, release. A participant that
 * cannot prepare ends the change with nothing altered anywhere; once the revision is stored nothing
 * can fail any more. They are asked in the order of their registration, and publish in that order.
 *
 * Not thread-safe: whoever holds the changes together (daemon/control) calls it under one lock.
 */

/* Why a change cannot be had. */
struct settings_refusal {
    struct pt_fault fault;
    const char
        *pointer; /* constant text: the value to blame (RFC 6901); NULL: none in particular */
};

struct settings_participant {
    const char *name; /* one word, for the log */
    void *ctx;
    /* Makes what `s` needs, beside what is in force: nobody sees it. *out is the participant's own
     * and may stay NULL. On failure nothing is left behind. */
    enum pt_err (*prepare)(void *ctx, const struct settings *s, void **out,
                           struct settings_refusal *why);
    /* Puts it into force, and cannot fail. Leaves in *prepared what was in force until now. */
    void (*publish)(void *ctx, const struct settings *s, void **prepared);
    /* Frees `prepared` (may be NULL): what was replaced, or what came to nothing. */
    void (*release)(void *ctx, void *prepared);
};

enum { SETTINGS_PARTICIPANTS_MAX = 8 };

struct settings_participants {
    struct settings_participant all[SETTINGS_PARTICIPANTS_MAX];
    unsigned count;
};

/* What each of them has prepared. */
struct settings_prepared {
    void *of[SETTINGS_PARTICIPANTS_MAX];
};

void settings_participants_add(struct settings_participants *p,
                               const struct settings_participant *one);

/* All of them or none. OK: followed by settings_publish(), or by nothing, and then by
 * settings_release(). */
PT_NODISCARD enum pt_err settings_prepare(const struct settings_participants *p,
                                          const struct settings *s, struct settings_prepared *out,
                                          struct settings_refusal *why);
void settings_publish(const struct settings_participants *p, const struct settings *s,
                      struct settings_prepared *prepared);
void settings_release(const struct settings_participants *p, struct settings_prepared *prepared);
