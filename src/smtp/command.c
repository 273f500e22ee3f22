#include "smtp/command.h"

static const struct {
    struct str word;
    unsigned flags;
} verbs[] = {
#define ROW(verb, flags) [SMTP_##verb] = { { #verb, sizeof #verb - 1 }, flags },
    SMTP_VERB_LIST(ROW)
#undef ROW
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

struct smtp_command smtp_command_parse(struct str line)
{
    struct smtp_command c = { .verb = SMTP_UNKNOWN };
    ptrdiff_t space;

    while (line.n && is_blank(line.p[line.n - 1]))
        line.n--;
    space = str_find(line, ' ', 0);
    c.word = space >= 0 ? str_head(line, (size_t)space) : line;
    c.args = space >= 0 ? str_from(line, (size_t)space + 1) : str_from(line, line.n);
    for (unsigned i = 0; i < PT_ARRAY_LEN(verbs); i++)
        if (str_eq_nocase(c.word, verbs[i].word)) {
            c.verb = (enum smtp_verb)i;
            c.flags = verbs[i].flags;
        }
    return c;
}

bool smtp_command_is_http(const struct smtp_command *c)
{
    static const struct str methods[] = {
        { "GET", 3 },   { "POST", 4 },    { "HEAD", 4 },    { "PUT", 3 },   { "DELETE", 6 },
        { "PATCH", 5 }, { "OPTIONS", 7 }, { "CONNECT", 7 }, { "TRACE", 5 }, { "PRI", 3 },
    };

    if (c->args.n == 0)
        return false;
    for (size_t i = 0; i < PT_ARRAY_LEN(methods); i++)
        if (str_eq(c->word, methods[i]))
            return true;
    return c->word.n > 1 && str_find(c->word, ':', 0) == (ptrdiff_t)c->word.n - 1;
}

bool smtp_name_parse(struct str args, struct str *out)
{
    if (args.n == 0 || args.n > 255)
        return false;
    for (size_t i = 0; i < args.n; i++)
        if (args.p[i] <= ' ' || args.p[i] > '~')
            return false;
    *out = args;
    return true;
}

bool smtp_bdat_parse(struct str args, uint64_t *out_size, bool *out_last)
{
    ptrdiff_t space = str_find(args, ' ', 0);
    struct str digits = space >= 0 ? str_head(args, (size_t)space) : args;

    if (space >= 0 && !str_eq_nocase(str_from(args, digits.n + 1), STR("LAST")))
        return false;
    /* 19 digits cannot overflow 64 bits. */
    if (digits.n > 19 || !str_to_u64(digits, out_size))
        return false;
    *out_last = space >= 0;
    return true;
}
