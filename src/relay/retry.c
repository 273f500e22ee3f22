#include "relay/retry.h"

#include "base/defs.h"

static const int64_t second = 1000000;

const struct retry_policy retry_policy_default = {
    .first_us = 30 * second,
    .ceiling_us = 3600 * second,
    .life_us = 5 * 86400 * second,
    .delay_notice_us = 4 * 3600 * second,
    .in_doubt_us = 300 * second,
    .backoff_first_us = 15 * second,
    .backoff_ceiling_us = 600 * second,
};

struct retry_policy retry_policy_with(const struct retry_policy *base, const struct settings *s)
{
    struct retry_policy p = *base;

    if (s->retry.first_after_seconds)
        p.first_us = s->retry.first_after_seconds * second;
    if (s->retry.at_least_every_minutes)
        p.ceiling_us = s->retry.at_least_every_minutes * 60 * second;
    if (s->retry.delay_notice_after_minutes)
        p.delay_notice_us = s->retry.delay_notice_after_minutes * 60 * second;
    if (s->retry.no_delay_notices)
        p.delay_notice_us = 0;
    if (s->retry.give_up_after_hours)
        p.life_us = s->retry.give_up_after_hours * 3600 * second;
    return p;
}

/* `first` doubled `times` times, a fifth more or less, never above `ceiling`. */
static int64_t doubled(int64_t first, int64_t ceiling, uint32_t times, struct rng *rng)
{
    int64_t delay = first;
    int64_t jitter;

    while (times-- && delay < ceiling)
        delay *= 2;
    delay = PT_MIN(delay, ceiling);
    jitter = delay / 5;
    if (jitter > 0)
        delay += (int64_t)rng_below(rng, (uint64_t)(2 * jitter + 1)) - jitter;
    return PT_MIN(delay, ceiling);
}

int64_t retry_delay_us(const struct retry_policy *p, uint32_t attempts, struct rng *rng)
{
    return doubled(p->first_us, p->ceiling_us, attempts ? attempts - 1 : 0, rng);
}

int64_t retry_backoff_us(const struct retry_policy *p, uint32_t failures, struct rng *rng)
{
    return doubled(p->backoff_first_us, p->backoff_ceiling_us, failures ? failures - 1 : 0, rng);
}

int64_t retry_at_us(const struct retry_policy *p, int64_t received_us, int64_t now_us,
                    int64_t delay_us)
{
    int64_t at = now_us + delay_us;
    int64_t end = received_us + p->life_us;

    return end > now_us && at > end ? end : at;
}
