#include "settings/participant.h"

void settings_participants_add(struct settings_participants *p,
                               const struct settings_participant *one)
{
    pt_assert(p->count < SETTINGS_PARTICIPANTS_MAX);
    p->all[p->count++] = *one;
}

/* Those before `n`, the last one first. */
static void release_before(const struct settings_participants *p, unsigned n,
                           struct settings_prepared *prepared)
{
    while (n-- > 0) {
        p->all[n].release(p->all[n].ctx, prepared->of[n]);
        prepared->of[n] = NULL;
    }
}

enum pt_err settings_prepare(const struct settings_participants *p, const struct settings *s,
                             struct settings_prepared *out, struct settings_refusal *why)
{
    struct settings_prepared prepared = { { NULL } };

    for (unsigned i = 0; i < p->count; i++) {
        const struct settings_participant *one = &p->all[i];
        enum pt_err err = one->prepare(one->ctx, s, &prepared.of[i], why);

        if (err != PT_ERR_OK) {
            release_before(p, i, &prepared);
            return err;
        }
    }
    *out = prepared;
    return PT_ERR_OK;
}

void settings_publish(const struct settings_participants *p, const struct settings *s,
                      struct settings_prepared *prepared)
{
    for (unsigned i = 0; i < p->count; i++)
        p->all[i].publish(p->all[i].ctx, s, &prepared->of[i]);
}

void settings_release(const struct settings_participants *p, struct settings_prepared *prepared)
{
    release_before(p, p->count, prepared);
}
