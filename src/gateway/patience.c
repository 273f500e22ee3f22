#include "gateway/patience.h"

static const int64_t second = 1000000000;

void patience_init(struct patience *p, int64_t now)
{
    *p = (struct patience){ .heard_ns = now, .begun_ns = now, .span_ns = now };
}

void patience_moved(struct patience *p, uint64_t octets, enum patience_of of, bool completed,
                    int64_t now)
{
    p->heard_ns = now;
    if (completed || of != p->of) {
        p->of = (uint8_t)of;
        p->begun_ns = p->span_ns = now;
        p->octets = p->span_octets = 0;
    }
    p->octets += octets;
    p->span_octets += octets;
}

void patience_pause(struct patience *p, int64_t now)
{
    if (!p->paused_ns)
        p->paused_ns = now;
}

void patience_resume(struct patience *p, int64_t now)
{
    int64_t waited = p->paused_ns ? now - p->paused_ns : 0;

    /* What came meanwhile is later than the beginning of the pause. */
    p->heard_ns = PT_MIN(p->heard_ns + waited, now);
    p->begun_ns = PT_MIN(p->begun_ns + waited, now);
    p->span_ns = PT_MIN(p->span_ns + waited, now);
    p->paused_ns = 0;
}

static bool bulk_trickles(struct patience *p, int64_t span_ns, int64_t now)
{
    int64_t whole = PATIENCE_WHOLE_S * second;

    if (now - p->span_ns >= span_ns) {
        if (p->span_octets < PATIENCE_LEAST)
            return true;
        p->span_ns = now;
        p->span_octets = 0;
    }
    whole = PT_MAX(whole, span_ns) + (int64_t)(p->octets / PATIENCE_RATE) * second;
    return now - p->begun_ns >= whole;
}

enum patience_verdict patience_check(struct patience *p, int64_t idle_ns, int64_t now)
{
    bool trickles = false;

    if (p->paused_ns)
        return PATIENCE_LEFT;
    if (now - p->heard_ns >= idle_ns)
        return PATIENCE_SILENT;
    if (p->of == PATIENCE_LINE)
        trickles = now - p->begun_ns >= 2 * idle_ns;
    else if (p->of == PATIENCE_BULK)
        trickles = bulk_trickles(p, 2 * idle_ns, now);
    return trickles ? PATIENCE_TRICKLE : PATIENCE_LEFT;
}
