#pragma once
#include <stdint.h>

#include "base/rng.h"
#include "settings/settings.h"

/*
 * relay/retry: when to try again, and when to give up.
 *
 * Pure. All times are in microseconds.
 */
struct retry_policy {
    int64_t first_us;         /* before the second attempt; jitter of a fifth either way */
    int64_t ceiling_us;       /* between two attempts, at most */
    int64_t life_us;          /* from receipt until the message is given up */
    int64_t delay_notice_us;  /* from receipt until the sender hears that it waits; 0: never */
    int64_t in_doubt_us;      /* after a loss behind the final dot, at least */
    int64_t backoff_first_us; /* a destination that cannot be reached */
    int64_t backoff_ceiling_us;
};

/* 30 s doubling to one hour, five days, a notice after four hours, five minutes; destinations 15 s
 * to ten minutes. */
extern const struct retry_policy retry_policy_default;

/* `base` with what the settings say otherwise. */
struct retry_policy retry_policy_with(const struct retry_policy *base, const struct settings *s);

/* The wait after `attempts` failed attempts (1 or more). */
int64_t retry_delay_us(const struct retry_policy *p, uint32_t attempts, struct rng *rng);

/* How long a destination rests after `failures` failed attempts (1 or more) to reach it. */
int64_t retry_backoff_us(const struct retry_policy *p, uint32_t failures, struct rng *rng);

/* The time of the next attempt: `delay` from now, but no later than the end of the message's life,
 * so that the last attempt comes right before it is given up. */
int64_t retry_at_us(const struct retry_policy *p, int64_t received_us, int64_t now_us,
                    int64_t delay_us);

/* Has it waited for so long that its sender is told? */
static inline bool retry_is_late(const struct retry_policy *p, int64_t received_us, int64_t now_us)
{
    return p->delay_notice_us && now_us - received_us >= p->delay_notice_us;
}

static inline int retry_expired(const struct retry_policy *p, int64_t received_us, int64_t now_us)
{
    return now_us - received_us >= p->life_us;
}
