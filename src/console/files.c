#include "console/files.h"

#include "http/request.h"

/* The weight of "gzip;q=0.5" in thousandths; 1000 where there is none. */
static unsigned weight(struct str parameters)
{
    struct str value = str_trim(parameters);
    unsigned out = 0, digit = 1000;

    if (!str_starts_nocase(value, STR("q=")))
        return 1000;
    for (size_t i = 2; i < value.n && digit > 0; i++) {
        if (value.p[i] == '.')
            continue;
        if (value.p[i] < '0' || value.p[i] > '9')
            return 0;
        out += digit * (unsigned)(value.p[i] - '0');
        digit /= 10;
    }
    return out;
}

bool console_takes_gzip(struct str accept)
{
    bool any = false;

    for (size_t at = 0; accept.p && at < accept.n;) {
        ptrdiff_t comma = str_find(accept, ',', at);
        size_t end = comma < 0 ? accept.n : (size_t)comma;
        struct str coding = { accept.p + at, end - at };
        ptrdiff_t semicolon = str_find(coding, ';', 0);
        unsigned q = semicolon < 0 ? 1000 : weight(str_from(coding, (size_t)semicolon + 1));

        coding = str_trim(semicolon < 0 ? coding : str_head(coding, (size_t)semicolon));
        if (str_eq_nocase(coding, STR("gzip")) || str_eq_nocase(coding, STR("x-gzip")))
            return q > 0;
        any |= q > 0 && str_eq(coding, STR("*"));
        at = end + 1;
    }
    return any;
}

static const struct console_file *find(struct str path)
{
    for (size_t i = 0; i < console_file_count; i++)
        if (str_eq(path, str_of(console_files[i].path)))
            return &console_files[i];
    return NULL;
}

/* If-None-Match (RFC 9110 section 13.1.2): compared weakly, so that what a proxy made of the tag
 * counts too. */
static bool is_known(struct str tags, const struct console_file *file)
{
    for (size_t at = 0; tags.p && at < tags.n;) {
        ptrdiff_t comma = str_find(tags, ',', at);
        size_t end = comma < 0 ? tags.n : (size_t)comma;
        struct str tag = str_trim((struct str){ tags.p + at, end - at });

        if (str_starts_nocase(tag, STR("W/")))
            tag = str_from(tag, 2);
        if (str_eq(tag, str_of(file->tag)) || str_eq(tag, STR("*")))
            return true;
        at = end + 1;
    }
    return false;
}

void console_file_get(struct http_exchange *x)
{
    const struct console_file *file = find(x->request->path);
    bool gzip;

    if (!file) {
        http_problem(x, 404, "There is nothing at this path.");
        http_exchange_finish(x);
        return;
    }
    http_header_add(x, "Cache-Control",
                    file->lasting ? "public, max-age=31536000, immutable" : "no-cache");
    gzip = console_takes_gzip(http_request_header(x->request, "accept-encoding"));
    if (is_known(http_request_header(x->request, "if-none-match"), file))
        http_answer_empty(x, 304);
    else if (gzip)
        http_answer_text(x, 200, file->type,
                         (struct str){ file->gzip, (size_t)(file->gzip_end - file->gzip) });
    else
        http_answer_text(x, 200, file->type,
                         (struct str){ file->octets, (size_t)(file->octets_end - file->octets) });
    if (gzip && x->response.status == 200)
        http_header_add(x, "Content-Encoding", "gzip");
    http_header_add(x, "Vary", "Accept-Encoding");
    http_header_add(x, "ETag", file->tag);
    http_exchange_finish(x);
}
