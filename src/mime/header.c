#include "mime/header.h"

/*
 * The front of each line is gathered in `line`, so that a cut anywhere changes nothing; when the
 * line ends, or has shown enough of itself, it is classified once. The rest of the line is passed
 * over, or captured where its value is wanted.
 */

enum capture { CAPTURE_NONE, CAPTURE_MESSAGE_ID, CAPTURE_AUTO_SUBMITTED };

enum { LINE_MAX_SEEN = sizeof((struct mime_header *)0)->line };

_Static_assert(MIME_MESSAGE_ID_MAX < 256, "lengths are octets");

void mime_header_init(struct mime_header *h)
{
    memset(h, 0, sizeof *h);
    h->first_line = true;
}

/* ---- values ---- */

static void capture(struct mime_header *h, struct str octets)
{
    for (size_t i = 0; i < octets.n && h->value_n < sizeof h->value; i++) {
        char c = octets.p[i];

        /* Folding disappears (RFC 5322 2.2.3), and so does the space in front. */
        if (c == '\r' || c == '\n' || (h->value_n == 0 && (c == ' ' || c == '\t')))
            continue;
        h->value[h->value_n++] = c;
    }
}

/* The field whose value was captured is complete. */
static void finish_value(struct mime_header *h)
{
    struct str value = str_trim((struct str){ h->value, h->value_n });

    if (h->capture == CAPTURE_MESSAGE_ID && h->message_id_n == 0 && value.n) {
        memcpy(h->message_id, value.p, value.n);
        h->message_id_n = (uint8_t)value.n;
    } else if (h->capture == CAPTURE_AUTO_SUBMITTED && value.n) {
        size_t n = 0;

        while (n < value.n && value.p[n] != ' ' && value.p[n] != '\t' && value.p[n] != ';' &&
               value.p[n] != '(')
            n++;
        if (!str_eq_nocase(str_head(value, n), STR("no")))
            h->auto_submitted = true;
    }
    h->capture = CAPTURE_NONE;
    h->value_n = 0;
}

/* ---- lines ---- */

static void end_header(struct mime_header *h, uint64_t size)
{
    finish_value(h);
    h->size = size;
    h->done = true;
}

/* Octets of the field name in front of `line`; 0: this is no field. A name that fills all that we
 * look at counts as one. */
static size_t field_name(struct str line)
{
    size_t n = 0, colon;

    while (n < line.n && line.p[n] > 32 && line.p[n] < 127 && line.p[n] != ':')
        n++;
    colon = n;
    while (colon < line.n && (line.p[colon] == ' ' || line.p[colon] == '\t'))
        colon++;
    if (colon < line.n && line.p[colon] != ':')
        return 0;
    return colon < line.n || line.n == LINE_MAX_SEEN ? n : 0;
}

static void field(struct mime_header *h, struct str line, size_t name_n)
{
    struct str name = str_head(line, name_n);
    ptrdiff_t colon;

    if (str_eq_nocase(name, STR("Received")))
        h->received++;
    else if (str_eq_nocase(name, STR("Date")))
        h->has_date = true;
    else if (str_eq_nocase(name, STR("From")))
        h->has_from = true;
    else if (str_eq_nocase(name, STR("Message-ID")))
        h->capture = CAPTURE_MESSAGE_ID;
    else if (str_eq_nocase(name, STR("Auto-Submitted")))
        h->capture = CAPTURE_AUTO_SUBMITTED;
    if (h->capture == CAPTURE_NONE)
        return;
    colon = str_find(line, ':', 0);
    if (colon >= 0)
        capture(h, str_from(line, (size_t)colon + 1));
}

/* Decides what the line is whose front stands in h->line. */
static void classify(struct mime_header *h)
{
    struct str line = { h->line, h->line_n };
    bool first = h->first_line;
    size_t name;

    h->classified = true;
    h->first_line = false;
    if (line.n && (line.p[0] == ' ' || line.p[0] == '\t') && !first) {
        if (h->capture != CAPTURE_NONE)
            capture(h, line);
        return;
    }
    finish_value(h);
    name = field_name(line);
    if (name)
        field(h, line, name);
    else if (!first ||
             (!str_starts_nocase(line, STR("From ")) && !str_starts_nocase(line, STR(">From "))))
        end_header(h, h->line_start);
}

/* A blank line: CRLF, or LF alone. */
static bool is_blank(const struct mime_header *h)
{
    return h->line_n == 0 || (h->line_n == 1 && h->line[0] == '\r');
}

/* One line's octets, or a part of them, without the LF. */
static void line_part(struct mime_header *h, struct str part)
{
    size_t n = PT_MIN(part.n, (size_t)(LINE_MAX_SEEN - h->line_n));

    if (n) {
        memcpy(h->line + h->line_n, part.p, n);
        h->line_n = (uint8_t)(h->line_n + n);
        part = str_from(part, n);
    }
    if (!h->classified && h->line_n == LINE_MAX_SEEN)
        classify(h);
    if (h->classified && h->capture != CAPTURE_NONE)
        capture(h, part);
}

static void line_end(struct mime_header *h, uint64_t next_line)
{
    if (!h->classified) {
        if (is_blank(h)) {
            end_header(h, next_line);
            return;
        }
        /* The CR of the line's end is none of its octets. */
        if (h->line[h->line_n - 1] == '\r')
            h->line_n--;
        classify(h);
    }
    h->line_start = next_line;
    h->line_n = 0;
    h->classified = false;
}

static bool any_8bit(struct str s)
{
    uint64_t word, seen = 0;

    for (; s.n >= sizeof word; s = str_from(s, sizeof word)) {
        memcpy(&word, s.p, sizeof word);
        seen |= word;
    }
    for (; s.n; s = str_from(s, 1))
        seen |= (unsigned char)s.p[0];
    return seen & UINT64_C(0x8080808080808080);
}

void mime_header_feed(struct mime_header *h, struct str piece)
{
    while (piece.n && !h->done) {
        ptrdiff_t lf = str_find(piece, '\n', 0);
        struct str part = str_head(piece, lf < 0 ? piece.n : (size_t)lf);

        piece = str_from(piece, part.n + (lf >= 0));
        h->size += part.n + (lf >= 0);
        h->line_8bit = h->line_8bit || any_8bit(part);
        line_part(h, part);
        if (lf >= 0 && !h->done)
            line_end(h, h->size);
        /* A line counts once it is known to belong to the header. */
        if (!h->done && h->line_8bit && (h->classified || lf >= 0)) {
            h->has_8bit = true;
            h->line_8bit = false;
        }
    }
}

void mime_header_end(struct mime_header *h)
{
    if (h->done)
        return;
    if (h->line_n && !h->classified)
        line_end(h, h->size);
    if (h->done)
        return;
    h->has_8bit = h->has_8bit || h->line_8bit;
    end_header(h, h->size);
}
