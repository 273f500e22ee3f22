#include "mime/trace.h"

#include "base/clock.h"
#include "mime/fold.h"

enum { COMMENT_MAX = 64, DOMAIN_MAX = 255, RCPT_MAX = 900 };

/* ---- what the client said in HELO ---- */

static bool is_letter_or_digit(char c)
{
    return (c >= '0' && c <= '9') || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

/* Letters, digits, hyphens, dots; underscores, which real hosts have; UTF-8 where the field may
 * have it. */
static bool is_domain(struct str s, bool utf8)
{
    if (s.n == 0 || s.n > DOMAIN_MAX || (utf8 && !str_is_utf8(s)))
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];

        if (!is_letter_or_digit(c) && c != '-' && c != '_' && c != '.' &&
            !(utf8 && (unsigned char)c >= 0x80))
            return false;
        if (c == '.' && (i == 0 || s.p[i - 1] == '.'))
            return false;
    }
    return true;
}

/* "[192.0.2.1]", "[IPv6:2001:db8::1]": nothing inside that a parser could stumble over. */
static bool is_literal(struct str s)
{
    if (s.n < 3 || s.n > DOMAIN_MAX || s.p[0] != '[' || s.p[s.n - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < s.n; i++)
        if (!is_letter_or_digit(s.p[i]) && s.p[i] != '.' && s.p[i] != ':' && s.p[i] != '-')
            return false;
    return true;
}

/* "(said _quit__hello_)": the replaced octets are neither space nor anything with a meaning. */
static void add_said(struct buf *b, struct str what, struct str said)
{
    buf_add_char(b, '(');
    buf_add_str(b, what);
    said = str_head(said, COMMENT_MAX);
    for (size_t i = 0; i < said.n; i++) {
        char c = said.p[i];
        bool plain = is_letter_or_digit(c) || (c && strchr(".-:@=,", c));

        buf_add_char(b, plain ? c : '_');
    }
    buf_add_char(b, ')');
}

static void add_address(struct buf *b, struct str client)
{
    buf_add_char(b, '[');
    if (str_find(client, ':', 0) >= 0)
        BUF_LIT(b, "IPv6:");
    buf_add_str(b, client);
    buf_add_char(b, ']');
}

/* ---- the field ---- */

struct str mime_trace_protocol(const struct mime_trace *t)
{
    static const struct str names[2][4] = {
        { STR("ESMTP"), STR("ESMTPS"), STR("ESMTPA"), STR("ESMTPSA") },
        { STR("UTF8SMTP"), STR("UTF8SMTPS"), STR("UTF8SMTPA"), STR("UTF8SMTPSA") },
    };

    /* After HELO there is no other name, encrypted or not. */
    if (!t->esmtp)
        return STR("SMTP");
    return names[t->smtputf8][t->encrypted + 2 * t->authenticated];
}

static void from_clause(struct mime_fold *f, const struct mime_trace *t)
{
    bool usable = is_domain(t->helo, t->smtputf8) || is_literal(t->helo);
    struct buf *b;

    mime_fold_word(f, STR("from"));
    if (usable)
        buf_add_str(mime_fold_open(f), t->helo);
    else
        add_address(mime_fold_open(f), t->client);
    mime_fold_close(f);
    b = mime_fold_open(f);
    buf_add_char(b, '(');
    add_address(b, t->client);
    buf_add_char(b, ')');
    mime_fold_close(f);
    if (!usable && t->helo.n) {
        add_said(mime_fold_open(f), STR("said "), t->helo);
        mime_fold_close(f);
    }
    if (t->tls.n) {
        b = mime_fold_open(f);
        BUF_LIT(b, "(using ");
        buf_add_str(b, t->tls);
        buf_add_char(b, ')');
        mime_fold_close(f);
    }
    if (t->tls_client.n) {
        add_said(mime_fold_open(f),
                 t->tls_client_verified ? STR("verified client ") : STR("unverified client "),
                 t->tls_client);
        mime_fold_close(f);
    }
}

static bool may_name(const struct mime_trace *t)
{
    if (t->rcpt.n == 0 || t->rcpt.n > RCPT_MAX || (!t->smtputf8 && str_has_8bit(t->rcpt)))
        return false;
    for (size_t i = 0; i < t->rcpt.n; i++)
        if ((unsigned char)t->rcpt.p[i] < 0x20 || t->rcpt.p[i] == 0x7F)
            return false;
    return true;
}

void mime_trace_write(struct buf *out, const struct mime_trace *t)
{
    char date[CLOCK_RFC5322_SIZE];
    struct mime_fold f;
    struct buf *b;

    clock_rfc5322(t->when_us, date);
    mime_fold_begin(&f, out, STR("Received:"));
    from_clause(&f, t);
    mime_fold_newline(&f);
    mime_fold_word(&f, STR("by"));
    mime_fold_word(&f, t->hostname);
    mime_fold_word(&f, STR("with"));
    mime_fold_word(&f, mime_trace_protocol(t));
    mime_fold_word(&f, STR("id"));
    b = mime_fold_open(&f);
    buf_add_str(b, t->id);
    if (may_name(t)) {
        mime_fold_close(&f);
        mime_fold_newline(&f);
        mime_fold_open(&f);
        BUF_LIT(b, "for <");
        buf_add_str(b, t->rcpt);
        buf_add_char(b, '>');
    }
    buf_add_char(b, ';');
    mime_fold_close(&f);
    mime_fold_word(&f, str_of(date));
    mime_fold_end(&f);
}
