#include "mime/dsn_text.h"

#include "base/clock.h"

enum { COLUMNS = 76, INDENT = 4 };

/* ---- octets made safe ---- */

/* Octets of a character that is not shown as itself: C1 controls, separators of lines (U+2028),
 * what turns the direction of the text that follows (U+200E, U+202A, U+2066, …). 0: none. */
static unsigned unprintable(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.p;

    if (s.n >= 2 && p[0] == 0xC2 && p[1] < 0xA0)
        return 2;
    if (s.n < 3 || p[0] != 0xE2)
        return 0;
    if (p[1] == 0x80 && (p[2] == 0x8E || p[2] == 0x8F || (p[2] >= 0xA8 && p[2] <= 0xAE)))
        return 3;
    return p[1] == 0x81 && p[2] >= 0xA6 && p[2] <= 0xA9 ? 3 : 0;
}

void dsn_clean(struct buf *out, struct str s, bool ascii)
{
    bool utf8 = !ascii && str_is_utf8(s);

    for (size_t i = 0; i < s.n; i++) {
        unsigned char c = (unsigned char)s.p[i];
        unsigned bad = utf8 ? unprintable(str_from(s, i)) : 0;

        if (c < 0x20 || c == 0x7F || (c >= 0x80 && !utf8) || bad) {
            buf_add_char(out, '?');
            i += bad ? bad - 1 : 0;
        } else {
            buf_add_char(out, (char)c);
        }
    }
}

static void add_hex(struct buf *out, unsigned char c)
{
    static const char digits[] = "0123456789ABCDEF";

    buf_add_char(out, '=');
    buf_add_char(out, digits[c >> 4]);
    buf_add_char(out, digits[c & 15]);
}

static void quoted_line(struct buf *out, struct str line)
{
    size_t column = 0;

    for (size_t i = 0; i < line.n; i++) {
        unsigned char c = (unsigned char)line.p[i];
        bool last = i + 1 == line.n;
        bool plain = (c > 32 && c < 127 && c != '=') || (c == ' ' && !last);
        size_t width = plain ? 1 : 3;

        if (column + width + !last > COLUMNS) {
            BUF_LIT(out, "=\r\n");
            column = 0;
        }
        if (plain)
            buf_add_char(out, (char)c);
        else
            add_hex(out, c);
        column += width;
    }
    BUF_LIT(out, "\r\n");
}

void dsn_quoted_printable(struct buf *out, struct str text)
{
    while (text.n) {
        ptrdiff_t end = str_find(text, '\n', 0);
        struct str line = end < 0 ? text : str_head(text, (size_t)end);

        text = str_from(text, line.n + (end >= 0));
        if (line.n && line.p[line.n - 1] == '\r')
            line.n--;
        quoted_line(out, line);
    }
}

/* ---- lines ---- */

/* Words of `s`, wrapped; each line begins with `indent` spaces. */
static void wrap(struct buf *text, struct str s, size_t indent)
{
    size_t column = 0;

    while (s.n) {
        ptrdiff_t space = str_find(s, ' ', 0);
        struct str word = str_head(s, space < 0 ? s.n : (size_t)space);

        s = str_from(s, word.n + (space >= 0));
        if (word.n == 0)
            continue;
        if (column && column + 1 + word.n > COLUMNS) {
            BUF_LIT(text, "\r\n");
            column = 0;
        }
        for (size_t n = column ? 1 : indent; n; n--, column++)
            buf_add_char(text, ' ');
        buf_add_str(text, word);
        column += word.n;
    }
    BUF_LIT(text, "\r\n");
}

static void paragraph(struct buf *text, struct str s)
{
    wrap(text, s, 0);
    BUF_LIT(text, "\r\n");
}

/* ---- what is said ---- */

void dsn_text_intro(struct buf *text, const struct mime_dsn *d)
{
    BUF_LIT(text, "This is the mail system at ");
    buf_add_str(text, d->hostname);
    BUF_LIT(text, ".\r\n\r\n");
}

void dsn_text_section(struct buf *text, enum mime_dsn_action action, bool several)
{
    switch (action) {
    case MIME_DSN_FAILED:
        paragraph(text, several ? STR("Your message could not be delivered to the recipients "
                                      "below, and it will not be tried again for them.")
                                : STR("Your message could not be delivered to the recipient below, "
                                      "and it will not be tried again."));
        return;
    case MIME_DSN_DELAYED:
        paragraph(text, several ? STR("Your message has not been delivered to the recipients below "
                                      "yet. It is still being tried: you need not send it again.")
                                : STR("Your message has not been delivered to the recipient below "
                                      "yet. It is still being tried: you need not send it again."));
        return;
    case MIME_DSN_DELIVERED:
        paragraph(text, STR("Your message has been delivered to:"));
        return;
    case MIME_DSN_RELAYED:
        paragraph(text, STR("Your message has been passed on for the following, to a mail system "
                            "that does not report what becomes of it. Unless it fails there, you "
                            "will hear no more."));
        return;
    }
}

/* What the commonest reasons mean, for those who do not read status codes (RFC 3463 section 3). */
static struct str explanation(const uint8_t status[3])
{
    unsigned what = status[1] * 1000u + status[2];

    switch (what) {
    case 1001:
    case 1003:
    case 1006:
        return STR("The address does not seem to exist. Please check its spelling.");
    case 1002:
        return STR("The part of the address behind the @ does not seem to exist. Please check its "
                   "spelling.");
    case 2002:
        return STR("The recipient's mailbox is full.");
    case 2003:
    case 3004:
        return STR("The message is too large for the recipient's mail system.");
    case 4007:
        return STR("The message has waited there for too long.");
    case 6003:
        return STR("The recipient's mail system cannot take messages with 8-bit content.");
    case 6007:
        return STR("The recipient's mail system cannot take addresses with letters beyond ASCII.");
    default:
        break;
    }
    if (status[1] == 4)
        return STR("The recipient's mail system could not be reached.");
    if (status[1] == 7)
        return STR("The recipient's mail system refused the message by its own rules.");
    return STR("");
}

/* Our own words without their status: a person has no use for the number. */
static struct str spoken(struct str words)
{
    ptrdiff_t space = str_find(words, ' ', 0);

    if (space >= 5 && words.p[0] >= '2' && words.p[0] <= '5' && words.p[1] == '.')
        words = str_from(words, (size_t)space + 1);
    return words;
}

static void our_words(struct buf *line, const struct mime_dsn_rcpt *r)
{
    if (r->reason.n) {
        dsn_clean(line, spoken(r->reason), false);
        if (line->n && line->p[0] >= 'a' && line->p[0] <= 'z')
            line->p[0] -= 'a' - 'A';
        if (!r->code && r->reply.n)
            BUF_LIT(line, ". The last reason: ");
    }
    if (!r->code)
        dsn_clean(line, spoken(r->reply), false);
}

static void words_of_remote(struct buf *line, const struct mime_dsn_rcpt *r)
{
    if (r->remote.n) {
        dsn_clean(line, r->remote, false);
        BUF_LIT(line, " said: ");
    } else {
        BUF_LIT(line, "The last answer was: ");
    }
    buf_add_u64(line, r->code);
    buf_add_char(line, ' ');
    dsn_clean(line, r->reply, false);
}

static void say(struct buf *text, const struct mime_dsn_rcpt *r,
                void (*what)(struct buf *line, const struct mime_dsn_rcpt *r))
{
    struct buf line;

    buf_init(&line, 8192);
    what(&line, r);
    if (line.n)
        wrap(text, buf_str(&line), INDENT);
    text->failed = text->failed || line.failed;
    buf_done(&line);
}

void dsn_text_rcpt(struct buf *text, const struct mime_dsn_rcpt *r)
{
    bool bad = r->action == MIME_DSN_FAILED || r->action == MIME_DSN_DELAYED;
    struct str meaning = bad && r->code && !r->reason.n ? explanation(r->status) : STR("");

    BUF_LIT(text, "<");
    dsn_clean(text, r->address, false);
    BUF_LIT(text, ">\r\n");
    if (meaning.n)
        wrap(text, meaning, INDENT);
    say(text, r, our_words);
    if (r->code)
        say(text, r, words_of_remote);
    if (r->action == MIME_DSN_DELAYED && r->will_retry_until_us) {
        char date[CLOCK_RFC5322_SIZE];

        clock_rfc5322(r->will_retry_until_us, date);
        buf_addf(text, "%*sIt will be tried until %s.\r\n", INDENT, "", date);
    }
    BUF_LIT(text, "\r\n");
}

void dsn_text_closing(struct buf *text, const struct mime_dsn *d, bool whole, bool header)
{
    char date[CLOCK_RFC5322_SIZE];

    clock_rfc5322(d->arrival_us, date);
    buf_addf(text, "Your message was received on %s\r\n", date);
    BUF_LIT(text, "and has the ID ");
    buf_add_str(text, d->original_id);
    BUF_LIT(text, " here.");
    if (whole)
        BUF_LIT(text, " It is attached.\r\n");
    else if (header)
        BUF_LIT(text, " Its header is attached.\r\n");
    else if (!d->original)
        BUF_LIT(text,
                " It cannot be\r\nread here any more, so that nothing of it is returned.\r\n");
    else
        BUF_LIT(text, "\r\n");
}

bool dsn_text_is_8bit(const struct mime_dsn *d)
{
    for (uint32_t i = 0; i < d->rcpt_count; i++)
        if (str_has_8bit(d->rcpts[i].address) || str_has_8bit(d->rcpts[i].reply) ||
            str_has_8bit(d->rcpts[i].remote) || str_has_8bit(d->rcpts[i].reason))
            return true;
    return false;
}
