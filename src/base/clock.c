#include "base/clock.h"

#include <stdio.h>
#include <time.h>

int64_t clock_mono_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void split(int64_t wall_us, struct tm *out)
{
    time_t seconds = (time_t)(wall_us / 1000000);

    if (!gmtime_r(&seconds, out))
        *out = (struct tm){ .tm_mday = 1, .tm_year = 70 };
}

void clock_rfc3339(int64_t wall_us, char out[CLOCK_RFC3339_SIZE])
{
    struct tm t;

    split(wall_us, &t);
    snprintf(out, CLOCK_RFC3339_SIZE, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(t.tm_year + 1900), (unsigned)(t.tm_mon + 1), (unsigned)t.tm_mday,
             (unsigned)t.tm_hour, (unsigned)t.tm_min, (unsigned)t.tm_sec,
             (unsigned)(wall_us / 1000 % 1000));
}

void clock_rfc5322(int64_t wall_us, char out[CLOCK_RFC5322_SIZE])
{
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
    struct tm t;

    split(wall_us, &t);
    snprintf(out, CLOCK_RFC5322_SIZE, "%s, %02u %s %04u %02u:%02u:%02u +0000", days[t.tm_wday],
             (unsigned)t.tm_mday, months[t.tm_mon], (unsigned)(t.tm_year + 1900),
             (unsigned)t.tm_hour, (unsigned)t.tm_min, (unsigned)t.tm_sec);
}
