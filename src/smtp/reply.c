#include "smtp/reply.h"

#define X(name, code, a, b, c, text)                                                               \
    const struct smtp_reply smtp_reply_##name = { code, { a, b, c }, { text, sizeof(text) - 1 } };
#include "smtp/replies.tbl.h"
#undef X

/* "250-255.255.255 ": what the types can hold, though no class has three digits. */
enum { PREFIX_MAX = 16 };

static size_t put_number(char *p, unsigned value)
{
    size_t n = value >= 100 ? 3 : value >= 10 ? 2 : 1;

    for (size_t i = n; i-- > 0; value /= 10)
        p[i] = (char)('0' + value % 10);
    return n;
}

/* "250-2.1.0 " or "250 2.1.0 ". */
static void write_prefix(struct buf *out, const struct smtp_reply *reply, bool last)
{
    char prefix[PREFIX_MAX];
    size_t n = put_number(prefix, reply->code);

    prefix[n++] = last ? ' ' : '-';
    for (int i = 0; reply->status[0] && i < 3; i++) {
        n += put_number(prefix + n, reply->status[i]);
        prefix[n++] = i < 2 ? '.' : ' ';
    }
    buf_add(out, prefix, n);
}

/* Octets of the character at the front; 0: no character that may be sent. */
static size_t clean_character(struct str s)
{
    unsigned char lead = (unsigned char)s.p[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;

    if (lead < ' ' || lead == 127 || n > s.n || !str_is_utf8(str_head(s, n)))
        return 0;
    /* U+0080 to U+009F: terminals obey them */
    if (lead == 0xC2 && (unsigned char)s.p[1] < 0xA0)
        return 0;
    return n;
}

static bool is_plain(char c)
{
    return c >= ' ' && c <= '~';
}

/* Nearly all text is plain and goes out in one piece. */
static void write_text(struct buf *out, struct str text)
{
    while (text.n) {
        size_t n = 0;

        while (n < text.n && is_plain(text.p[n]))
            n++;
        if (n == 0)
            n = clean_character(text);
        if (n)
            buf_add(out, text.p, n);
        else
            buf_add_char(out, '?');
        text = str_from(text, n ? n : 1);
    }
}

/* How much of the text goes on this line: up to the LF, at most `room`, then rather to a space and
 * never into a UTF-8 sequence. *out_skip: octets of separator behind it. */
static size_t line_length(struct str text, size_t room, size_t *out_skip)
{
    ptrdiff_t lf = str_find(text, '\n', 0);
    size_t n = lf >= 0 ? (size_t)lf : text.n;
    size_t at = room;

    *out_skip = lf >= 0;
    if (n <= room)
        return n;
    *out_skip = 0;
    while (at > room / 2 && text.p[at] != ' ')
        at--;
    if (text.p[at] == ' ') {
        *out_skip = 1;
        return at;
    }
    for (at = room; at > room - 4 && ((unsigned char)text.p[at] & 0xC0) == 0x80; at--)
        ;
    return at;
}

void smtp_reply_write(struct buf *out, const struct smtp_reply *reply)
{
    struct str text = reply->text;
    size_t n, skip;

    do {
        n = line_length(text, SMTP_REPLY_LINE_MAX - 2 - PREFIX_MAX, &skip);
        write_prefix(out, reply, n + skip == text.n);
        write_text(out, str_head(text, n));
        BUF_LIT(out, "\r\n");
        text = str_from(text, n + skip);
    } while (text.n);
}
