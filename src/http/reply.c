#include "http/reply.h"

#include <string.h>

void http_reply_reader_init(struct http_reply_reader *r)
{
    memset(&r->head, 0, sizeof r->head);
    buf_init(&r->text, HTTP_REPLY_HEAD_MAX);
}

void http_reply_reader_done(struct http_reply_reader *r)
{
    buf_done(&r->text);
}

/* "HTTP/1.1 200 OK" */
static bool take_status(struct http_reply_head *h, struct str line)
{
    static const char version[] = "HTTP/1.1 ";
    uint64_t status;

    if (line.n < sizeof version + 2 || memcmp(line.p, version, sizeof version - 1) != 0 ||
        (line.n > sizeof version + 2 && line.p[sizeof version + 2] != ' ') ||
        !str_to_u64((struct str){ line.p + sizeof version - 1, 3 }, &status) || status < 200 ||
        status > 599)
        return false;
    h->status = (uint16_t)status;
    return true;
}

static void keep(char *out, size_t room, struct str value)
{
    if (value.n >= room)
        return;
    memcpy(out, value.p, value.n);
    out[value.n] = 0;
}

static bool take_field(struct http_reply_head *h, struct str name, struct str value)
{
    if (str_eq_nocase(name, STR("transfer-encoding")))
        return false;
    if (str_eq_nocase(name, STR("content-length"))) {
        if (h->has_length || !str_to_u64(value, &h->length))
            return false;
        h->has_length = true;
    } else if (str_eq_nocase(name, STR("content-type"))) {
        keep(h->type, sizeof h->type, value);
    } else if (str_eq_nocase(name, STR("etag"))) {
        keep(h->etag, sizeof h->etag, value);
    } else if (str_eq_nocase(name, STR("content-disposition"))) {
        keep(h->disposition, sizeof h->disposition, value);
    } else if (str_eq_nocase(name, STR("allow"))) {
        keep(h->allow, sizeof h->allow, value);
    } else if (str_eq_nocase(name, STR("retry-after"))) {
        keep(h->retry_after, sizeof h->retry_after, value);
    }
    return true;
}

static bool is_clean(struct str line)
{
    for (size_t i = 0; i < line.n; i++)
        if (((unsigned char)line.p[i] < 0x20 && line.p[i] != '\t') || line.p[i] == 0x7f)
            return false;
    return true;
}

static bool take_line(struct http_reply_head *h, struct str line)
{
    ptrdiff_t colon = str_find(line, ':', 0);

    if (!is_clean(line))
        return false;
    if (!h->status)
        return take_status(h, line);
    if (colon <= 0 || line.p[0] == ' ' || line.p[0] == '\t' || line.p[colon - 1] == ' ')
        return false;
    return take_field(h, str_head(line, (size_t)colon),
                      str_trim(str_from(line, (size_t)colon + 1)));
}

static enum http_reply_status understand(struct http_reply_reader *r)
{
    struct str text = buf_str(&r->text);

    /* The empty line stays out. */
    for (size_t at = 0; at + 2 < text.n;) {
        ptrdiff_t end = str_find(text, '\n', at);

        if (end <= (ptrdiff_t)at || text.p[end - 1] != '\r' ||
            !take_line(&r->head, (struct str){ text.p + at, (size_t)end - 1 - at }))
            return HTTP_REPLY_BROKEN;
        at = (size_t)end + 1;
    }
    return r->head.status ? HTTP_REPLY_DONE : HTTP_REPLY_BROKEN;
}

enum http_reply_status http_reply_reader_feed(struct http_reply_reader *r, struct str in,
                                              size_t *out_taken)
{
    size_t taken = 0;

    while (taken < in.n) {
        ptrdiff_t end = str_find(in, '\n', taken);
        size_t to = end < 0 ? in.n : (size_t)end + 1;

        buf_add(&r->text, in.p + taken, to - taken);
        taken = to;
        *out_taken = taken;
        if (r->text.failed)
            return HTTP_REPLY_BROKEN;
        if (r->text.n >= 2 && memcmp(r->text.p + r->text.n - 2, "\r\n", 2) == 0 &&
            (r->text.n == 2 || (r->text.n >= 4 && r->text.p[r->text.n - 3] == '\n')))
            return understand(r);
    }
    *out_taken = taken;
    return HTTP_REPLY_MORE;
}
