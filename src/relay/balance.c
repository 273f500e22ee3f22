#include "relay/balance.h"

#include "base/defs.h"

/*
 * The credit of a next hop is what its share of all messages so far comes to, less what it got, as
 * a multiple of the sum of the weights: with each message every one of the group gains its weight
 * and the one that took it pays the sum. So the credits of a group add up to what they began with.
 */

static bool is_down(const struct relay_share *s, int64_t now_us)
{
    return s->down_until_us > now_us;
}

/* Has it a share beside `hop`? That one counts in any case: it takes messages just now. */
static bool shares_with(const struct relay_share *shares, uint32_t i, uint32_t hop, int64_t now_us)
{
    return i == hop || (shares[i].order == shares[hop].order && !is_down(&shares[i], now_us));
}

static int64_t sum_of_weights(const struct relay_share *shares, uint32_t count, uint32_t hop,
                              int64_t now_us)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < count; i++)
        if (shares_with(shares, i, hop, now_us))
            sum += shares[i].weight;
    return sum;
}

void relay_balance_begin(struct relay_share *shares, uint32_t count, uint64_t random)
{
    for (uint32_t i = 0; i < count; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        shares[i].credit = (int64_t)((random >> 33) % shares[i].weight);
        random += i;
    }
}

static bool is_before(const struct relay_share *a, const struct relay_share *b, int64_t now_us)
{
    if (a->order != b->order)
        return a->order < b->order;
    if (is_down(a, now_us) != is_down(b, now_us))
        return is_down(b, now_us);
    return a->credit > b->credit;
}

void relay_balance_rank(const struct relay_share *shares, uint32_t count, int64_t now_us,
                        uint8_t out[RELAY_BALANCE_MAX])
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t at = i;

        for (; at > 0 && is_before(&shares[i], &shares[out[at - 1]], now_us); at--)
            out[at] = out[at - 1];
        out[at] = (uint8_t)i;
    }
}

/* Could it take what another leaves? One that has its part of the connections does what it can. */
static bool could_take(const struct relay_share *s, int64_t sum, uint32_t limit)
{
    int64_t part = (int64_t)limit * s->weight / sum;

    return s->credit > 0 && (int64_t)s->connections < PT_MAX(part, 1);
}

uint32_t relay_balance_room(const struct relay_share *shares, uint32_t count, uint32_t hop,
                            uint32_t limit, int64_t now_us)
{
    int64_t sum = sum_of_weights(shares, count, hop, now_us);
    int64_t room = RELAY_BALANCE_AHEAD + shares[hop].credit / sum;

    if (room > 0)
        return (uint32_t)PT_MIN(room, (int64_t)RELAY_BALANCE_AHEAD);
    for (uint32_t i = 0; i < count; i++)
        if (i != hop && shares_with(shares, i, hop, now_us) && could_take(&shares[i], sum, limit))
            return 0;
    return RELAY_BALANCE_AHEAD;
}

void relay_balance_took(struct relay_share *shares, uint32_t count, uint32_t hop, int32_t messages,
                        int64_t now_us)
{
    int64_t sum = sum_of_weights(shares, count, hop, now_us);
    int64_t most = 2 * RELAY_BALANCE_AHEAD * sum; /* what is behind further is not made up for */

    for (uint32_t i = 0; i < count; i++) {
        struct relay_share *s = &shares[i];

        if (!shares_with(shares, i, hop, now_us))
            continue;
        s->credit += (int64_t)messages * s->weight - (i == hop ? messages * sum : 0);
        s->credit = PT_MAX(-most, PT_MIN(s->credit, most));
    }
}
