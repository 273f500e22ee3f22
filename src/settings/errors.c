#include "settings/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { TEXT_MAX = 1000 };

void settings_errors_init(struct settings_errors *e)
{
    *e = (struct settings_errors){ 0 };
}

static void free_all(struct settings_problem *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        free((char *)list[i].pointer); /* the detail lies behind it */
    free(list);
}

void settings_errors_done(struct settings_errors *e)
{
    free_all(e->errors, e->error_count);
    free_all(e->warnings, e->warning_count);
    settings_errors_init(e);
}

void settings_errors_clear(struct settings_errors *e)
{
    settings_errors_done(e);
}

/* Shortens to whole UTF-8 characters. */
static size_t cut(const char *text)
{
    size_t n = strnlen(text, TEXT_MAX);

    while (n == TEXT_MAX && n > 0 && ((unsigned char)text[n] & 0xC0) == 0x80)
        n--;
    return n;
}

static bool keep(struct settings_problem **list, uint32_t *count, const char *pointer,
                 const char *detail)
{
    size_t p = cut(pointer), d = cut(detail);
    struct settings_problem *longer;
    char *text;

    if (*count >= SETTINGS_PROBLEMS_MAX)
        return false;
    if ((*count & (*count - 1)) == 0) {
        size_t room = *count ? 2 * (size_t)*count : 1;

        longer = realloc(*list, room * sizeof *longer);
        if (!longer)
            return false;
        *list = longer;
    }
    text = malloc(p + d + 2);
    if (!text)
        return false;
    memcpy(text, pointer, p);
    text[p] = 0;
    memcpy(text + p + 1, detail, d);
    text[p + 1 + d] = 0;
    (*list)[(*count)++] = (struct settings_problem){ text, text + p + 1 };
    return true;
}

void settings_errors_add(struct settings_errors *e, enum settings_severity severity,
                         const char *pointer, const char *fmt, ...)
{
    char detail[TEXT_MAX + 8];
    va_list args;

    va_start(args, fmt);
    vsnprintf(detail, sizeof detail, fmt, args);
    va_end(args);
    if (severity == SETTINGS_ERROR) {
        if (!keep(&e->errors, &e->error_count, pointer, detail))
            e->more_errors++;
    } else if (!keep(&e->warnings, &e->warning_count, pointer, detail)) {
        e->more_warnings++;
    }
}

/* A pointer may hold octets of a stranger's key: control characters must not reach a terminal. */
static void write_pointer(struct buf *out, const char *pointer)
{
    for (const char *p = pointer; *p; p++)
        buf_add_char(out, (unsigned char)*p < 0x20 || *p == 0x7F ? '?' : *p);
}

static void write_list(struct buf *out, const struct settings_problem *list, uint32_t count,
                       uint32_t more, const char *before, const char *what)
{
    for (uint32_t i = 0; i < count; i++) {
        buf_add_str(out, str_of(before));
        write_pointer(out, list[i].pointer);
        if (list[i].pointer[0])
            BUF_LIT(out, ": ");
        buf_add_str(out, str_of(list[i].detail));
        BUF_LIT(out, "\n");
    }
    if (more)
        buf_addf(out, "%sand %u more %s\n", before, (unsigned)more, what);
}

void settings_errors_write(const struct settings_errors *e, struct buf *out)
{
    if (e->line)
        buf_addf(out, "line %u, column %u: ", (unsigned)e->line, (unsigned)e->column);
    write_list(out, e->errors, e->error_count, e->more_errors, "", "errors");
    write_list(out, e->warnings, e->warning_count, e->more_warnings, "warning: ", "warnings");
}

void settings_errors_refuse(struct settings_errors *e, const char *pointer, const char *detail)
{
    settings_errors_add(e, SETTINGS_ERROR, pointer, "%s", detail);
}
