#include "mime/fold.h"

enum { COLUMNS = 78, TAB_COLUMNS = 8, WORD_MAX_OCTETS = 900 };

void mime_fold_begin(struct mime_fold *f, struct buf *out, struct str name)
{
    *f = (struct mime_fold){ .out = out, .line = out->n, .fresh = true };
    buf_add_str(out, name);
}

void mime_fold_end(struct mime_fold *f)
{
    BUF_LIT(f->out, "\r\n");
}

void mime_fold_newline(struct mime_fold *f)
{
    BUF_LIT(f->out, "\r\n\t");
    f->line = f->out->n - (f->out->n > 0);
    f->extra = TAB_COLUMNS - 1;
    f->fresh = true;
}

struct buf *mime_fold_open(struct mime_fold *f)
{
    f->word = f->out->n;
    /* A new line has its tab already. */
    if (!f->fresh || f->extra == 0)
        buf_add_char(f->out, ' ');
    return f->out;
}

void mime_fold_close(struct mime_fold *f)
{
    struct buf *b = f->out;
    bool fits = b->n - f->line + f->extra <= COLUMNS;

    if (!fits && !f->fresh && buf_reserve(b, 2)) {
        /* The space before the word becomes a line end and a tab. */
        memmove(b->p + f->word + 3, b->p + f->word + 1, b->n - f->word - 1);
        memcpy(b->p + f->word, "\r\n\t", 3);
        b->n += 2;
        f->line = f->word + 2;
        f->extra = TAB_COLUMNS - 1;
    }
    f->fresh = false;
}

void mime_fold_word(struct mime_fold *f, struct str word)
{
    buf_add_str(mime_fold_open(f), word);
    mime_fold_close(f);
}

void mime_fold_text(struct mime_fold *f, struct str text)
{
    while (text.n) {
        ptrdiff_t space = str_find(text, ' ', 0);
        struct str word = str_head(text, space < 0 ? text.n : (size_t)space);

        word = str_head(word, WORD_MAX_OCTETS);
        text = str_from(text, word.n);
        if (text.n && text.p[0] == ' ')
            text = str_from(text, 1);
        if (word.n)
            mime_fold_word(f, word);
    }
}
