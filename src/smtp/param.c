/*
 * MAIL and RCPT: the path and the parameters of the extensions.
 *
 * Each command has a table of the parameters it knows; a row takes the value into the envelope or
 * says what is wrong with it. That a parameter stands once is checked here for all of them.
 */
#include "smtp/address.h"
#include "smtp/command.h"

#define ENVID_MAX 100u /* RFC 3461 4.4 */
#define ORCPT_MAX 500u /* RFC 3461 4.2 */

struct context {
    uint64_t max_size;
    struct smtp_mail *mail;
    struct smtp_rcpt *rcpt;
};

/* `value.p` is NULL where there was no "=". */
struct param {
    struct str name;
    const struct smtp_reply *(*set)(const struct context *c, struct str value);
};

static int hex_value(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

bool smtp_is_xtext(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        int c = (unsigned char)s.p[i];

        if (c == '+') {
            if (s.n - i < 3 || hex_value(s.p[i + 1]) < 0 || hex_value(s.p[i + 2]) < 0)
                return false;
            c = hex_value(s.p[i + 1]) * 16 + hex_value(s.p[i + 2]);
            i += 2;
            if (c == ' ' || c == '+' || c == '=')
                continue;
        }
        if (c <= ' ' || c > '~' || c == '=')
            return false;
    }
    return true;
}

static const struct smtp_reply *set_size(const struct context *c, struct str value)
{
    uint64_t size = UINT64_MAX;

    if (value.n == 0 || value.n > 20)
        return &smtp_reply_bad_parameter;
    for (size_t i = 0; i < value.n; i++)
        if (value.p[i] < '0' || value.p[i] > '9')
            return &smtp_reply_bad_parameter;
    /* Digits that do not fit are a size as well, the largest. */
    if (!str_to_u64(value, &size))
        size = UINT64_MAX;
    if (c->max_size && size > c->max_size)
        return &smtp_reply_too_large;
    c->mail->size = size;
    c->mail->size_given = true;
    return NULL;
}

static const struct smtp_reply *set_body(const struct context *c, struct str value)
{
    if (str_eq_nocase(value, STR("7BIT")))
        c->mail->body = SMTP_BODY_7BIT;
    else if (str_eq_nocase(value, STR("8BITMIME")))
        c->mail->body = SMTP_BODY_8BITMIME;
    else
        return value.n ? &smtp_reply_unsupported_value : &smtp_reply_bad_parameter;
    return NULL;
}

static const struct smtp_reply *set_smtputf8(const struct context *c, struct str value)
{
    if (value.p)
        return &smtp_reply_bad_parameter;
    c->mail->smtputf8 = true;
    return NULL;
}

static const struct smtp_reply *set_ret(const struct context *c, struct str value)
{
    if (str_eq_nocase(value, STR("FULL")))
        c->mail->ret = SMTP_RET_FULL;
    else if (str_eq_nocase(value, STR("HDRS")))
        c->mail->ret = SMTP_RET_HDRS;
    else
        return &smtp_reply_bad_parameter;
    return NULL;
}

static const struct smtp_reply *set_envid(const struct context *c, struct str value)
{
    if (value.n == 0 || value.n > ENVID_MAX || !smtp_is_xtext(value))
        return &smtp_reply_bad_parameter;
    c->mail->envid = value;
    return NULL;
}

static uint8_t notify_word(struct str word)
{
    return str_eq_nocase(word, STR("SUCCESS"))   ? SMTP_NOTIFY_SUCCESS
           : str_eq_nocase(word, STR("FAILURE")) ? SMTP_NOTIFY_FAILURE
           : str_eq_nocase(word, STR("DELAY"))   ? SMTP_NOTIFY_DELAY
                                                 : 0;
}

/* NEVER alone, or a list of the others (RFC 3461 4.1). */
static const struct smtp_reply *set_notify(const struct context *c, struct str value)
{
    uint8_t notify = 0;

    if (str_eq_nocase(value, STR("NEVER"))) {
        c->rcpt->notify = SMTP_NOTIFY_NEVER;
        return NULL;
    }
    for (;;) {
        ptrdiff_t comma = str_find(value, ',', 0);
        uint8_t bit = notify_word(comma >= 0 ? str_head(value, (size_t)comma) : value);

        if (!bit)
            return &smtp_reply_bad_parameter;
        notify |= bit;
        if (comma < 0)
            break;
        value = str_from(value, (size_t)comma + 1);
    }
    c->rcpt->notify = notify;
    return NULL;
}

/* "\x{…}" at the front (RFC 6533 3): hexadecimal digits, two to six. Octets of it; 0: it is none.
 */
static size_t embedded_char(struct str s)
{
    size_t n = 3;

    if (s.n < 6 || s.p[1] != 'x' || s.p[2] != '{')
        return 0;
    while (n < s.n && n < 9 && hex_value(s.p[n]) >= 0)
        n++;
    return n >= 5 && n < s.n && s.p[n] == '}' ? n + 1 : 0;
}

/* A backslash stands for nothing else in an address of type utf-8. */
static bool embeds_well(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        size_t n = s.p[i] == '\\' ? embedded_char(str_from(s, i)) : 1;

        if (n == 0)
            return false;
        i += n - 1;
    }
    return true;
}

/* utf-8-addr-unitext (RFC 6533 3): UTF-8 as it is, without controls and what xtext would encode. */
static bool is_unitext(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];

        if (c <= ' ' || c == 127 || c == '+' || c == '=')
            return false;
        if (c == 0xC2 && i + 1 < s.n && (unsigned char)s.p[i + 1] < 0xA0)
            return false;
    }
    return str_is_utf8(s);
}

/* addr-type ";" xtext; with the type utf-8 the text may be UTF-8 as it is (RFC 6533 3). */
static const struct smtp_reply *set_orcpt(const struct context *c, struct str value)
{
    ptrdiff_t semicolon = str_find(value, ';', 0);
    struct str type, text;

    if (semicolon <= 0 || value.n > ORCPT_MAX)
        return &smtp_reply_bad_parameter;
    type = str_head(value, (size_t)semicolon);
    text = str_from(value, type.n + 1);
    for (size_t i = 0; i < type.n; i++)
        if (type.p[i] <= ' ' || type.p[i] > '~' || strchr("()<>@,;:\\\".[]", type.p[i]))
            return &smtp_reply_bad_parameter;
    if (text.n == 0)
        return &smtp_reply_bad_parameter;
    if (str_eq_nocase(type, STR("utf-8")) ? !embeds_well(text) : !smtp_is_xtext(text))
        return &smtp_reply_bad_parameter;
    if (!smtp_is_xtext(text) && !is_unitext(text))
        return &smtp_reply_bad_parameter;
    c->rcpt->orcpt = value;
    return NULL;
}

static const struct param mail_params[] = {
    { { "SIZE", 4 }, set_size },         { { "BODY", 4 }, set_body },   /* RFC 1870, RFC 6152 */
    { { "SMTPUTF8", 8 }, set_smtputf8 },                                /* RFC 6531 */
    { { "RET", 3 }, set_ret },           { { "ENVID", 5 }, set_envid }, /* RFC 3461 */
};

static const struct param rcpt_params[] = {
    { { "NOTIFY", 6 }, set_notify },
    { { "ORCPT", 5 }, set_orcpt },
};

/* esmtp-keyword ["=" esmtp-value] (RFC 5321 4.1.2; values in UTF-8: RFC 6531 3.3). */
static bool parse_param(struct str word, struct str *out_name, struct str *out_value)
{
    ptrdiff_t eq = str_find(word, '=', 0);

    *out_name = eq >= 0 ? str_head(word, (size_t)eq) : word;
    *out_value = eq >= 0 ? str_from(word, (size_t)eq + 1) : STR_NULL;
    if (out_name->n == 0 || out_name->p[0] == '-' || (eq >= 0 && out_value->n == 0))
        return false;
    for (size_t i = 0; i < out_name->n; i++) {
        char c = ascii_lower(out_name->p[i]);

        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    for (size_t i = 0; i < out_value->n; i++) {
        unsigned char c = (unsigned char)out_value->p[i];

        if (c <= ' ' || c == 127 || c == '=')
            return false;
    }
    return true;
}

static const struct smtp_reply *set_param(const struct context *c, const struct param *table,
                                          size_t count, struct str word, unsigned *seen)
{
    struct str name, value;

    if (!parse_param(word, &name, &value))
        return &smtp_reply_bad_parameter;
    for (size_t i = 0; i < count; i++) {
        if (!str_eq_nocase(name, table[i].name))
            continue;
        if (*seen & 1u << i)
            return &smtp_reply_parameter_twice;
        *seen |= 1u << i;
        return table[i].set(c, value);
    }
    return &smtp_reply_unknown_parameter;
}

/* *( SP parameter ), where a client may have put more spaces than one. A size over the limit is
 * told only when nothing else is wrong: the other faults are the client's to mend first. */
static const struct smtp_reply *read_params(const struct context *c, const struct param *table,
                                            size_t count, struct str text, bool esmtp)
{
    const struct smtp_reply *late = NULL;
    unsigned seen = 0;

    if (text.n && text.p[0] != ' ')
        return &smtp_reply_bad_parameter;
    while (text.n) {
        const struct smtp_reply *wrong;
        ptrdiff_t space;
        struct str word;

        if (text.p[0] == ' ') {
            text = str_from(text, 1);
            continue;
        }
        space = str_find(text, ' ', 0);
        word = space >= 0 ? str_head(text, (size_t)space) : text;
        wrong = esmtp ? set_param(c, table, count, word, &seen) : &smtp_reply_unknown_parameter;
        if (wrong == &smtp_reply_too_large)
            late = wrong;
        else if (wrong)
            return wrong;
        text = str_from(text, word.n);
    }
    return late;
}

/* Behind "FROM:" or "TO:", spaces are forgiven: widespread clients send one. */
static bool skip_keyword(struct str *args, struct str keyword)
{
    if (!str_starts_nocase(*args, keyword))
        return false;
    *args = str_from(*args, keyword.n);
    while (args->n && args->p[0] == ' ')
        *args = str_from(*args, 1);
    return true;
}

const struct smtp_reply *smtp_mail_parse(struct str args, bool esmtp, uint64_t max_size,
                                         struct smtp_mail *out)
{
    struct smtp_mail mail = { 0 };
    struct context c = { .max_size = max_size, .mail = &mail };
    const struct smtp_reply *wrong;
    struct smtp_address path;
    size_t n;

    if (!skip_keyword(&args, STR("FROM:")))
        return &smtp_reply_say_from;
    n = smtp_path_parse(args, SMTP_PATH_NULL, &path);
    if (n == 0)
        return &smtp_reply_bad_sender;
    wrong = read_params(&c, mail_params, PT_ARRAY_LEN(mail_params), str_from(args, n), esmtp);
    if (wrong)
        return wrong;
    if (path.utf8 && !mail.smtputf8)
        return &smtp_reply_needs_smtputf8;
    mail.reverse_path = path.text;
    *out = mail;
    return NULL;
}

const struct smtp_reply *smtp_rcpt_parse(struct str args, bool esmtp, bool smtputf8,
                                         struct smtp_rcpt *out)
{
    struct smtp_rcpt rcpt = { 0 };
    struct context c = { .rcpt = &rcpt };
    const struct smtp_reply *wrong;
    struct smtp_address path;
    size_t n;

    if (!skip_keyword(&args, STR("TO:")))
        return &smtp_reply_say_to;
    n = smtp_path_parse(args, SMTP_PATH_POSTMASTER, &path);
    if (n == 0)
        return &smtp_reply_bad_recipient;
    wrong = read_params(&c, rcpt_params, PT_ARRAY_LEN(rcpt_params), str_from(args, n), esmtp);
    if (wrong)
        return wrong;
    if ((path.utf8 || str_has_8bit(rcpt.orcpt)) && !smtputf8)
        return &smtp_reply_needs_smtputf8;
    rcpt.address = path.text;
    *out = rcpt;
    return NULL;
}
