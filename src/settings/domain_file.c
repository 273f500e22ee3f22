#include "settings/domain_file.h"

#include <stdlib.h>

#include "base/arena.h"
#include "settings/domain.h"
#include "settings/settings.h"
#include "settings/table.h"

enum { TEXTS_MAX = 1 << 30, TEXTS_CHUNK = 1 << 16 };

struct settings_domain_line {
    uint32_t number;
    struct str text;
    const char *reason;
    const char *domain; /* in the list that was made, or in `texts`; NULL: none */
    bool duplicate, normalised, covered;
};

/* ---- reading ---- */

/* The next line without comment and space, behind which `file` begins. */
static struct str next_line(struct str *file)
{
    ptrdiff_t end = str_find(*file, '\n', 0);
    struct str line = end < 0 ? *file : str_head(*file, (size_t)end);
    ptrdiff_t comment = str_find(line, '#', 0);

    *file = str_from(*file, end < 0 ? file->n : (size_t)end + 1);
    return str_trim(comment < 0 ? line : str_head(line, (size_t)comment));
}

static struct str without_mark(struct str file)
{
    const struct str mark = STR("\xEF\xBB\xBF");

    return str_eq(str_head(file, mark.n), mark) ? str_from(file, mark.n) : file;
}

/* How many lines have something. */
static uint32_t count_lines(struct str file)
{
    uint32_t n = 0;

    while (file.n > 0)
        n += next_line(&file).n > 0;
    return n;
}

static const char *keep(struct arena *texts, char **chunk, size_t *left, const char *text)
{
    size_t n = strlen(text) + 1;
    char *at;

    if (n > *left) {
        *chunk = arena_alloc(texts, TEXTS_CHUNK);
        *left = *chunk ? TEXTS_CHUNK : 0;
        if (!*chunk)
            return NULL;
    }
    at = *chunk;
    memcpy(at, text, n);
    *chunk += n;
    *left -= n;
    return at;
}

/* False: memory is short. */
static bool read_lines(struct str file, struct settings_domain_import *import, struct arena *texts)
{
    char domain[SCHEMA_TEXT_SIZE], *chunk = NULL;
    uint32_t number = 0;
    size_t left = 0;

    while (file.n > 0) {
        struct str text = next_line(&file);
        struct settings_domain_line *line = &import->lines[import->line_count];
        const char *note = NULL;
        enum schema_verdict verdict;

        number++;
        if (text.n == 0)
            continue;
        *line = (struct settings_domain_line){ .number = number, .text = text };
        import->line_count++;
        verdict = schema_domain_pattern.check(text, domain, &note);
        if (verdict == SCHEMA_BAD) {
            line->reason = note ? note : "no domain, no \"*.\" and a domain, and no \"*\"";
            import->counts.errors++;
            continue;
        }
        if (verdict == SCHEMA_GOOD) {
            memcpy(domain, text.p, text.n);
            domain[text.n] = 0;
        }
        line->normalised = !str_eq_nocase(text, str_of(domain));
        line->domain = keep(texts, &chunk, &left, domain);
        if (!line->domain)
            return false;
    }
    return true;
}

/* ---- what the list becomes ---- */

/* Those of the list and then those of the file; *out_n: how many. NULL: memory is short. */
static const char **all_patterns(const struct settings_list *present,
                                 const struct settings_domain_import *import, uint32_t *out_n)
{
    uint32_t n = 0, before = present ? present->count : 0;
    const char **all = malloc(((size_t)before + import->line_count + 1) * sizeof *all);

    for (; all && n < before; n++)
        all[n] = settings_list_pattern(present, n);
    for (uint32_t i = 0; all && i < import->line_count; i++)
        if (import->lines[i].domain)
            all[n++] = import->lines[i].domain;
    *out_n = n;
    return all;
}

/* Does one that is wider hold all of it? No label is "!", so that only what begins with "*" fits
 * what stands beside the pattern. */
static bool is_covered(const struct settings_domains *d, const char *pattern)
{
    struct str name = str_of(pattern);
    char beside[SETTINGS_DOMAIN_SIZE + 2];
    ptrdiff_t dot;

    if (strcmp(pattern, "*") == 0)
        return false;
    if (pattern[0] == '*')
        name = str_from(name, 2);
    dot = str_find(name, '.', 0);
    name = dot < 0 ? STR_NULL : str_from(name, (size_t)dot);
    if (name.n >= sizeof beside - 1)
        return false;
    beside[0] = '!';
    if (name.n)
        memcpy(beside + 1, name.p, name.n);
    return settings_domains_find(d, (struct str){ beside, name.n + 1 }) != SETTINGS_DOMAIN_NONE;
}

static void mark_lines(struct settings_domain_import *import, const struct settings_domains *d,
                       uint32_t before)
{
    struct settings_domain_counts *c = &import->counts;
    uint32_t at = before;

    for (uint32_t i = 0; i < import->line_count; i++) {
        struct settings_domain_line *line = &import->lines[i];

        if (!line->domain)
            continue;
        line->duplicate = settings_domains_index(d, line->domain) != at++;
        if (line->duplicate) {
            c->duplicate++;
            continue;
        }
        line->covered = is_covered(d, line->domain);
        c->added++;
        c->normalised += line->normalised;
        c->covered += line->covered;
    }
}

static struct settings_list *build(const struct settings_list *present,
                                   struct settings_domain_import *import)
{
    struct settings_list_builder b;
    uint32_t at = present ? present->count : 0;
    struct settings_list *list;

    settings_list_begin(&b, at + import->counts.added);
    for (uint32_t i = 0; i < at; i++)
        settings_list_add_from(&b, present, i);
    for (uint32_t i = 0; i < import->line_count; i++)
        if (import->lines[i].domain && !import->lines[i].duplicate)
            settings_list_add_pattern(&b, str_of(import->lines[i].domain));
    list = settings_list_end(&b);
    /* Remarks are told from the list: the texts go with this call. */
    for (uint32_t i = 0; list && i < import->line_count; i++) {
        struct settings_domain_line *line = &import->lines[i];

        if (line->domain)
            line->domain = line->duplicate ? NULL : settings_list_pattern(list, at++);
    }
    return list;
}

static enum pt_err make_list(const struct settings_list *present, bool valid_only,
                             struct settings_domain_import *import)
{
    struct settings_domains *d;
    uint32_t n;
    const char **all;

    if (import->counts.errors > 0 && !valid_only)
        return PT_ERR_OK;
    all = all_patterns(present, import, &n);
    d = all ? settings_domains_new(all, n) : NULL;
    if (d) {
        mark_lines(import, d, present ? present->count : 0);
        import->list = build(present, import);
    }
    settings_domains_free(d);
    free(all);
    return import->list ? PT_ERR_OK : PT_ERR_NOMEM;
}

enum pt_err settings_domain_import(const struct settings_list *present, struct str file,
                                   bool replace, bool valid_only,
                                   struct settings_domain_import *out)
{
    struct settings_domain_import import = { .list = NULL };
    enum pt_err err = PT_ERR_NOMEM;
    struct arena texts;

    arena_init(&texts, TEXTS_MAX);
    file = without_mark(file);
    import.lines = calloc((size_t)count_lines(file) + 1, sizeof *import.lines);
    if (import.lines && read_lines(file, &import, &texts))
        err = make_list(replace ? NULL : present, valid_only, &import);
    arena_done(&texts);
    if (err == PT_ERR_OK)
        *out = import;
    else
        settings_domain_import_done(&import);
    return err;
}

void settings_domain_import_done(struct settings_domain_import *import)
{
    settings_list_unref(import->list);
    free(import->lines);
    *import = (struct settings_domain_import){ .list = NULL };
}

/* ---- remarks ---- */

static void tell(const struct settings_domain_line *line, struct settings_domain_remark *out)
{
    *out = (struct settings_domain_remark){ .line = line->number,
                                            .text = line->text,
                                            .reason = line->reason,
                                            .domain = line->domain,
                                            .normalised = line->normalised,
                                            .covered = line->covered };
}

bool settings_domain_import_error(const struct settings_domain_import *import, uint32_t *at,
                                  struct settings_domain_remark *out)
{
    while (*at < import->line_count) {
        const struct settings_domain_line *line = &import->lines[(*at)++];

        if (line->reason) {
            tell(line, out);
            return true;
        }
    }
    return false;
}

bool settings_domain_import_remark(const struct settings_domain_import *import, uint32_t *at,
                                   struct settings_domain_remark *out)
{
    while (import->list && *at < import->line_count) {
        const struct settings_domain_line *line = &import->lines[(*at)++];

        if (line->domain && (line->normalised || line->covered)) {
            tell(line, out);
            return true;
        }
    }
    return false;
}
