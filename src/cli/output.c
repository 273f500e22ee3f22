#include "cli/output.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* The length of the UTF-8 sequence at the front (0: none) and the character it stands for. */
static size_t decode(struct str s, uint32_t *out)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c < 0x80 ? 1 : c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (n > s.n || !str_is_utf8(str_head(s, n)))
        return 0;
    *out = n == 1 ? c : c & (0xffu >> (n + 1));
    for (size_t i = 1; i < n; i++)
        *out = *out << 6 | ((unsigned char)s.p[i] & 0x3f);
    return n;
}

static bool harmless(uint32_t c)
{
    return c >= 0x20 && !(c >= 0x7f && c < 0xa0) && !(c >= 0x200b && c <= 0x200f) &&
           !(c >= 0x2028 && c <= 0x202e) && !(c >= 0x2060 && c <= 0x206f) && c != 0xfeff;
}

void out_safe_add(struct buf *out, struct str text)
{
    for (size_t at = 0; at < text.n;) {
        uint32_t c = 0;
        size_t n = decode(str_from(text, at), &c);

        if (n && harmless(c)) {
            buf_add(out, text.p + at, n);
        } else {
            n = n ? n : 1;
            for (size_t i = 0; i < n; i++)
                buf_addf(out, "\\x%02x", (unsigned)(unsigned char)text.p[at + i]);
        }
        at += n;
    }
}

void out_safe(FILE *out, struct str text)
{
    struct buf safe;

    buf_init(&safe, 4 * text.n + 64);
    out_safe_add(&safe, text);
    fwrite(safe.p ? safe.p : "", 1, safe.n, out);
    buf_done(&safe);
}

/* JSON escapes C0; for a terminal all else that is not ASCII too. */
static size_t json_flags(void)
{
    return JSON_ENCODE_ANY | (isatty(STDOUT_FILENO) ? JSON_ENSURE_ASCII : 0);
}

void out_json(const json_t *value, bool pretty)
{
    json_dumpf(value, stdout, json_flags() | (pretty ? JSON_INDENT(2) : JSON_COMPACT));
    putchar('\n');
}

void out_json_bare(const json_t *value)
{
    json_dumpf(value, stdout, json_flags() | JSON_COMPACT);
}

void out_size(uint64_t octets, char text[OUT_SIZE])
{
    static const char units[] = "KMGTPE";
    double value = (double)octets;
    int unit = -1;

    while (value >= 1000 && unit < 5) {
        value /= 1024;
        unit++;
    }
    if (unit < 0)
        snprintf(text, OUT_SIZE, "%u", (unsigned)octets);
    else
        snprintf(text, OUT_SIZE, value < 10 ? "%.1f%c" : "%.0f%c", value, units[unit]);
}

void out_age(int64_t seconds, char text[OUT_SIZE])
{
    if (seconds < 0)
        seconds = 0;
    if (seconds < 100)
        snprintf(text, OUT_SIZE, "%u s", (unsigned)seconds);
    else if (seconds < 100 * 60)
        snprintf(text, OUT_SIZE, "%u min", (unsigned)(seconds / 60));
    else if (seconds < 48 * 3600)
        snprintf(text, OUT_SIZE, "%u h", (unsigned)(seconds / 3600));
    else
        snprintf(text, OUT_SIZE, "%u d", (unsigned)(seconds / 86400 % 1000000));
}

bool out_parse_time(const char *text, int64_t *out_us)
{
    struct tm t = { 0 };
    const char *rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &t) : NULL;
    int64_t us = 0;

    if (!rest)
        return false;
    if (*rest == '.') {
        int64_t unit = 100000;

        for (rest++; *rest >= '0' && *rest <= '9'; rest++, unit /= 10)
            us += (*rest - '0') * unit;
    }
    if (strcmp(rest, "Z") != 0)
        return false;
    *out_us = (int64_t)timegm(&t) * 1000000 + us;
    return true;
}

void out_time(const char *rfc3339, char text[32])
{
    size_t n = rfc3339 ? strlen(rfc3339) : 0;

    if (n < 20) {
        snprintf(text, 32, "-");
        return;
    }
    snprintf(text, 32, "%.10s %.8sZ", rfc3339, rfc3339 + 11);
}

/* ---- tables ---- */

static unsigned width_of(const char *text)
{
    unsigned n = 0;

    for (; *text; text++)
        n += ((unsigned char)*text & 0xc0) != 0x80;
    return n;
}

void out_table_init(struct out_table *t, const char *const *titles, unsigned columns,
                    unsigned right)
{
    *t = (struct out_table){ .columns = columns, .right = right };
    buf_init(&t->cells, 1024u * 1024 * 1024);
    for (unsigned i = 0; i < columns; i++)
        out_table_add(t, str_of(titles[i]));
}

void out_table_add(struct out_table *t, struct str cell)
{
    size_t start = t->cells.n;
    unsigned column = (unsigned)(t->count % t->columns), width;

    out_safe_add(&t->cells, cell);
    buf_add_char(&t->cells, 0);
    if (t->cells.failed)
        return;
    width = width_of(t->cells.p + start);
    t->width[column] = PT_MAX(t->width[column], width);
    t->count++;
}

void out_table_addf(struct out_table *t, const char *fmt, ...)
{
    char text[512];
    va_list args;

    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    out_table_add(t, str_of(text));
}

bool out_table_print(struct out_table *t, FILE *out)
{
    bool good = !t->cells.failed;
    const char *cell = t->cells.p;

    for (size_t i = 0; good && i < t->count; i++) {
        unsigned column = (unsigned)(i % t->columns);
        unsigned gap = t->width[column] - width_of(cell);
        bool last = column + 1 == t->columns;

        if (t->right & 1u << column)
            fprintf(out, "%*s%s", (int)gap, "", cell);
        else
            fprintf(out, "%s%*s", cell, last ? 0 : (int)gap, "");
        fputs(last ? "\n" : "  ", out);
        cell += strlen(cell) + 1;
    }
    out_table_done(t);
    return good;
}

void out_table_done(struct out_table *t)
{
    buf_done(&t->cells);
}
