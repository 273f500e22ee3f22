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

void clock_rfc3339_exact(int64_t wall_us, char out[CLOCK_RFC3339_SIZE])
{
    time_t seconds = (time_t)(wall_us / 1000000);
    unsigned us = (unsigned)(wall_us % 1000000);
    struct tm tm;
    size_t n;

    gmtime_r(&seconds, &tm);
    n = strftime(out, CLOCK_RFC3339_SIZE, "%Y-%m-%dT%H:%M:%S", &tm);
    if (us)
        snprintf(out + n, CLOCK_RFC3339_SIZE - n, ".%06uZ", us);
    else
        snprintf(out + n, CLOCK_RFC3339_SIZE - n, "Z");
}

/* ---- reading RFC 3339 ---- */

static bool digits(struct str *in, size_t n, int64_t min, int64_t max, int64_t *out)
{
    uint64_t value;

    if (in->n < n || !str_to_u64(str_head(*in, n), &value))
        return false;
    *in = str_from(*in, n);
    *out = (int64_t)value;
    return *out >= min && *out <= max;
}

static bool mark(struct str *in, char c)
{
    if (in->n == 0 || (ascii_lower(in->p[0]) != c && !(c == 't' && in->p[0] == ' ')))
        return false;
    *in = str_from(*in, 1);
    return true;
}

/* Days since 1970 of a date in the Gregorian calendar, counted from March on so that the leap day
 * is the last of a year. */
static int64_t days_from_civil(int64_t year, int64_t month, int64_t day)
{
    int64_t y = year - (month <= 2), era = y / 400, of_era = y - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;

    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static int64_t days_in_month(int64_t year, int64_t month)
{
    static const int8_t days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* ".123", cut to microseconds. */
static bool fraction(struct str *in, int64_t *out_us)
{
    int64_t scale = 100000;
    size_t n = 0;

    *out_us = 0;
    if (!mark(in, '.'))
        return true;
    for (; n < in->n && in->p[n] >= '0' && in->p[n] <= '9'; n++) {
        *out_us += (in->p[n] - '0') * scale;
        scale /= 10;
    }
    *in = str_from(*in, n);
    return n > 0;
}

static bool offset(struct str *in, int64_t *out_minutes)
{
    int64_t hours, minutes, sign = 1;

    *out_minutes = 0;
    if (mark(in, 'z'))
        return true;
    if (mark(in, '-'))
        sign = -1;
    else if (!mark(in, '+'))
        return false;
    if (!digits(in, 2, 0, 23, &hours) || !mark(in, ':') || !digits(in, 2, 0, 59, &minutes))
        return false;
    *out_minutes = sign * (hours * 60 + minutes);
    return true;
}

bool clock_rfc3339_parse(struct str text, int64_t *out_us)
{
    int64_t year, month, day, hour, minute, second, us, zone, result;

    /* 1970 and after, so that a time is never negative nor, by its offset, 0: "never". */
    if (!digits(&text, 4, 1971, 9999, &year) || !mark(&text, '-') ||
        !digits(&text, 2, 1, 12, &month) || !mark(&text, '-') ||
        !digits(&text, 2, 1, days_in_month(year, month), &day) || !mark(&text, 't') ||
        !digits(&text, 2, 0, 23, &hour) || !mark(&text, ':') || !digits(&text, 2, 0, 59, &minute) ||
        !mark(&text, ':') || !digits(&text, 2, 0, 60, &second) || !fraction(&text, &us) ||
        !offset(&text, &zone) || text.n != 0)
        return false;
    result =
        ((days_from_civil(year, month, day) * 1440 + hour * 60 + minute - zone) * 60 + second) *
            1000000 +
        us;
    if (result >= INT64_C(253402300800000000)) /* year 10000, by the offset */
        return false;
    *out_us = result;
    return true;
}
