#include "smtp/client_reply.h"

#include "smtp/client.h"

_Static_assert(CLIENT_REPLY_TEXT_MAX == SMTP_CLIENT_TEXT_MAX, "one limit, two names");

void client_reply_init(struct client_reply *r)
{
    r->code = r->lines = r->held = r->text_n = 0;
    r->came = 0;
    r->complete = true;
}

bool client_reply_pending(const struct client_reply *r)
{
    return r->held || !r->complete;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- text ---- */

/* Octets of the well-formed character in front of `s` that may be shown; 0: none is there. */
static size_t character(struct str s)
{
    unsigned char c = (unsigned char)s.p[0];
    size_t n = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : 2;

    if (c < 0x80)
        return c >= 0x20 && c != 0x7F;
    if (n > s.n || !str_is_utf8(str_head(s, n)))
        return 0;
    /* U+0080 to U+009F are control characters too; terminals obey them. */
    if (c == 0xC2 && (unsigned char)s.p[1] < 0xA0)
        return 0;
    return n;
}

size_t client_text_clean(struct str in, char *out, size_t max)
{
    size_t given = 0;

    while (in.n && given < max) {
        size_t n = character(in);

        if (n == 0) {
            out[given++] = '?';
            n = 1;
        } else if (n <= max - given) {
            memcpy(out + given, in.p, n);
            given += n;
        } else {
            break;
        }
        in = str_from(in, n);
    }
    return given;
}

/* One to three digits in front of `s`, as a number; 0 octets: none. */
static size_t number(struct str s, unsigned *out)
{
    size_t n = 0;

    *out = 0;
    while (n < s.n && n < 3 && is_digit(s.p[n]))
        *out = *out * 10 + (unsigned)(s.p[n++] - '0');
    return n;
}

/* Octets of the enhanced status in front of `s` (RFC 2034 section 4), a space behind it included;
 * 0: there is none. Details above 255 exist nowhere and are taken for none. */
static size_t status_length(struct str s, uint8_t out[3])
{
    struct str rest = s;
    uint8_t status[3];

    for (int i = 0; i < 3; i++) {
        unsigned value;
        size_t n = number(rest, &value);

        if (n == 0 || value > 255 || (i == 0 && n != 1))
            return 0;
        status[i] = (uint8_t)value;
        rest = str_from(rest, n);
        if (i < 2) {
            if (rest.n == 0 || rest.p[0] != '.')
                return 0;
            rest = str_from(rest, 1);
        }
    }
    if (rest.n && rest.p[0] != ' ')
        return 0;
    memcpy(out, status, 3);
    return s.n - rest.n + (rest.n != 0);
}

bool smtp_client_status(uint16_t code, struct str text, uint8_t out_status[3])
{
    uint8_t status[3];
    uint8_t class = (uint8_t)(code / 100);

    /* Without a code the text is one of ours, and its status is right. */
    if (status_length(text, status) && (code == 0 || status[0] == class)) {
        memcpy(out_status, status, 3);
        return true;
    }
    out_status[0] = class;
    out_status[1] = out_status[2] = 0;
    return false;
}

/* Adds a line to the folded text; the enhanced status, said again on each line, stands once. */
static void fold(struct client_reply *r, struct str line)
{
    uint8_t first[3], again[3];

    line = str_trim(line);
    if (r->lines > 1) {
        size_t n = status_length(line, again);

        if (n && status_length(client_reply_text(r), first) && !memcmp(first, again, 3))
            line = str_from(line, n);
    }
    if (line.n == 0 || r->text_n + 1u >= CLIENT_REPLY_TEXT_MAX)
        return;
    if (r->text_n)
        r->text[r->text_n++] = ' ';
    r->text_n +=
        (uint16_t)client_text_clean(line, r->text + r->text_n, CLIENT_REPLY_TEXT_MAX - r->text_n);
}

/* ---- lines ---- */

static enum client_reply_status take_line(struct client_reply *r, struct str line, struct str *out)
{
    uint16_t code;
    bool last;

    if (line.n && line.p[line.n - 1] == '\r')
        line.n--;
    if (line.n < 3 || line.p[0] < '2' || line.p[0] > '5' || !is_digit(line.p[1]) ||
        !is_digit(line.p[2]))
        return CLIENT_REPLY_BROKEN;
    code = (uint16_t)((line.p[0] - '0') * 100 + (line.p[1] - '0') * 10 + (line.p[2] - '0'));
    if (line.n > 3 && line.p[3] != ' ' && line.p[3] != '-')
        return CLIENT_REPLY_BROKEN;
    last = line.n == 3 || line.p[3] == ' ';
    if (r->complete) {
        r->code = code;
        r->lines = r->text_n = 0;
    } else if (code != r->code) {
        return CLIENT_REPLY_BROKEN;
    }
    r->complete = last;
    if (++r->lines > CLIENT_REPLY_LINES_MAX)
        return CLIENT_REPLY_BROKEN;
    line = str_from(line, PT_MIN(line.n, (size_t)4));
    fold(r, line);
    *out = line;
    return last ? CLIENT_REPLY_END : CLIENT_REPLY_LINE;
}

/* The code decides and stands in front: what a line has beyond LINE_MAX is dropped, not held
 * against the message. A line that does not end is. */
enum client_reply_status client_reply_read(struct client_reply *r, struct str *in,
                                           struct str *out_line)
{
    ptrdiff_t end = str_find(*in, '\n', 0);
    size_t n = end < 0 ? in->n : (size_t)end;
    struct str line = { in->p, n };

    if (n > CLIENT_REPLY_LINE_GIVE_UP - (size_t)r->came)
        return CLIENT_REPLY_BROKEN;
    r->came += (uint32_t)n;
    if (r->held || end < 0) {
        size_t kept = PT_MIN(n, CLIENT_REPLY_LINE_MAX - (size_t)r->held);

        if (kept)
            memcpy(r->line + r->held, in->p, kept);
        r->held += (uint16_t)kept;
        line = (struct str){ r->line, r->held };
    }
    *in = str_from(*in, end < 0 ? n : n + 1);
    if (end < 0)
        return CLIENT_REPLY_MORE;
    r->held = 0;
    r->came = 0;
    return take_line(r, str_head(line, CLIENT_REPLY_LINE_MAX), out_line);
}
