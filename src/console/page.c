#include "console/page.h"

#include "http/request.h"

const char console_style[] =
    "\n:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }\n"
    "body { max-width: 40rem; margin: 3rem auto; padding: 0 1rem; }\n"
    "h1 { font-size: 1.6rem; margin-bottom: .5rem; }\n"
    "form { margin: 1.5rem 0; }\n"
    "label { display: block; margin-top: .8rem; }\n"
    "input { box-sizing: border-box; width: 100%; max-width: 22rem; padding: .45rem; font: "
    "inherit; "
    "border: 1px solid #767676; border-radius: .3rem; }\n"
    "button { margin-top: 1.2rem; padding: .5rem 1.4rem; font: inherit; color: #fff; "
    "background: #06c; border: 1px solid #06c; border-radius: .3rem; cursor: pointer; }\n"
    "button:focus-visible, input:focus-visible, a:focus-visible { outline: 3px solid #4d9de0; "
    "outline-offset: 1px; }\n"
    "table { border-collapse: collapse; margin: 1rem 0; }\n"
    "th { text-align: left; padding: .2rem 1.5rem .2rem 0; font-weight: 600; }\n"
    "td { padding: .2rem 0; }\n"
    "code { font: .95em/1.6 ui-monospace, monospace; }\n"
    ".wrong { border-left: .3rem solid #c9190b; padding: .3rem .8rem; }\n";

void page_begin(struct buf *out, const char *title)
{
    BUF_LIT(out, "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n"
                 "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
                 "<title>");
    page_text(out, str_of(title));
    BUF_LIT(out, " - Postern</title>\n<style>");
    buf_add_str(out, str_of(console_style));
    BUF_LIT(out, "</style>\n<main>\n<h1>");
    page_text(out, str_of(title));
    BUF_LIT(out, "</h1>\n");
}

void page_end(struct buf *out)
{
    BUF_LIT(out, "</main>\n</html>\n");
}

void page_text(struct buf *out, struct str text)
{
    for (size_t i = 0; i < text.n; i++) {
        switch (text.p[i]) {
        case '&':
            BUF_LIT(out, "&amp;");
            break;
        case '<':
            BUF_LIT(out, "&lt;");
            break;
        case '>':
            BUF_LIT(out, "&gt;");
            break;
        case '"':
            BUF_LIT(out, "&quot;");
            break;
        case '\'':
            BUF_LIT(out, "&#39;");
            break;
        default:
            buf_add_char(out, text.p[i]);
        }
    }
}

bool page_field(struct str body, const char *name, char *room, size_t size, struct str *out)
{
    bool found = false;

    for (size_t at = 0; at < body.n;) {
        ptrdiff_t amp = str_find(body, '&', at);
        size_t end = amp < 0 ? body.n : (size_t)amp;
        struct str pair = { body.p + at, end - at };
        ptrdiff_t eq = str_find(pair, '=', 0);
        struct str value = eq < 0 ? STR_NULL : str_from(pair, (size_t)eq + 1);

        at = end + 1;
        if (eq < 0 || !str_eq(str_head(pair, (size_t)eq), str_of(name)))
            continue;
        if (found || value.n > size || !http_percent_decode(value, true, room, &out->n))
            return false;
        out->p = room;
        found = true;
    }
    return found;
}
