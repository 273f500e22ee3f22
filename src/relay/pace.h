#pragma once
#include <stdint.h>

#include "base/defs.h"

/*
 * relay/pace: so many messages a minute, evenly.
 *
 * What may go gathers as time passes, up to one message and what a second brings; so after a pause
 * no more than that goes at once. Pure.
 */
struct relay_pace {
    uint32_t per_minute; /* 0: no limit */
    int64_t credit;      /* private: RELAY_PACE_MESSAGE is one message */
    int64_t at_us;       /* private: as of then */
};

#define RELAY_PACE_MESSAGE INT64_C(60000000)

/* Another limit from now on; one that there was none before begins with what may go at once. */
static inline void relay_pace_set(struct relay_pace *p, uint32_t per_minute)
{
    int64_t most = RELAY_PACE_MESSAGE + (int64_t)per_minute * 1000000;

    p->credit = p->per_minute ? PT_MIN(p->credit, most) : most;
    p->per_minute = per_minute;
}

/* Time has passed. */
static inline void relay_pace_gather(struct relay_pace *p, int64_t now_us)
{
    int64_t most = RELAY_PACE_MESSAGE + (int64_t)p->per_minute * 1000000;
    int64_t us = PT_MIN(now_us - p->at_us, INT64_C(120000000));

    if (us > 0)
        p->credit = PT_MIN(p->credit + us * p->per_minute, most);
    p->at_us = now_us;
}

/* Messages that may go. */
static inline uint32_t relay_pace_allows(const struct relay_pace *p)
{
    if (!p->per_minute)
        return UINT32_MAX;
    return p->credit < 0 ? 0 : (uint32_t)(p->credit / RELAY_PACE_MESSAGE);
}

static inline void relay_pace_took(struct relay_pace *p, int32_t messages)
{
    if (p->per_minute)
        p->credit -= messages * RELAY_PACE_MESSAGE;
}

/* When the next one may go, if none may now. */
static inline int64_t relay_pace_next(const struct relay_pace *p)
{
    int64_t missing = RELAY_PACE_MESSAGE - p->credit;

    return p->at_us + (missing + p->per_minute - 1) / p->per_minute;
}
