#include "mime/dsn.h"

#include <stdio.h>

#include "mime/dsn_status.h"
#include "mime/dsn_text.h"
#include "mime/fold.h"
#include "mime/header.h"

/*
 * The notice is composed in a small buffer that is moved into the chain of blocks part by part:
 * after the head, each recipient, each part.
 */

enum {
    PIECE_MAX = 64 * 1024,
    QUOTED_HEADER_MAX = PIECE_MAX / 4, /* quoted-printable makes up to three octets of one */
    BOUNDARY_SIZE = 48,
    SUBJECT_ADDRESS_MAX = 320,
};

struct writer {
    const struct mime_dsn *d;
    struct block_chain *out;
    struct buf b;    /* message octets not yet in `out` */
    struct buf text; /* lines for the person, not yet encoded */
    bool ok;
    bool quoted;      /* the text goes as quoted-printable */
    bool utf8_status; /* addresses beyond ASCII: message/global-delivery-status */
    bool seven_bit;
    struct {
        uint64_t size; /* octets of the original that are returned; 0: none */
        bool whole;
        bool has_8bit;
        bool utf8;   /* message/global… */
        bool quoted; /* the header goes as quoted-printable */
        struct mime_header header;
    } original;
    char boundary[BOUNDARY_SIZE];
};

static void flush(struct writer *w)
{
    if (w->b.failed || w->text.failed || !block_chain_add(w->out, buf_str(&w->b)))
        w->ok = false;
    buf_clear(&w->b);
}

/* ---- what is returned ---- */

static enum mime_dsn_action worst_action(const struct mime_dsn *d)
{
    enum mime_dsn_action worst = MIME_DSN_RELAYED;

    for (uint32_t i = 0; i < d->rcpt_count; i++)
        worst = PT_MIN(worst, d->rcpts[i].action);
    return worst;
}

/* Whole only with a failure (RFC 3461 section 4.3), and if all of it is at hand. */
static bool return_whole(const struct mime_dsn *d)
{
    uint64_t max = d->ret == SMTP_RET_FULL ? MIME_DSN_FULL_MAX : MIME_DSN_DEFAULT_MAX;

    return d->ret != SMTP_RET_HDRS && worst_action(d) == MIME_DSN_FAILED &&
           d->original->size == d->original_size && d->original_size <= max;
}

/* Octets of the header to return: to a whole line where it is very long or not all at hand. */
static uint64_t header_size(const struct mime_dsn *d, const struct mime_header *h, uint64_t most)
{
    bool part = h->size == d->original->size && d->original->size < d->original_size;
    uint64_t at = 0, line_end = 0, max = PT_MIN(h->size, most);

    if (h->size <= most && !part)
        return h->size;
    for (const struct block *b = d->original->first; b && at < max; b = b->next)
        for (uint32_t i = 0; i < b->used && at < max; i++)
            if (++at, b->data[i] == '\n')
                line_end = at;
    return line_end;
}

/* True if there are octets above 127 in what is returned. */
static bool returned_8bit(const struct writer *w)
{
    uint64_t left = w->original.size;

    for (const struct block *b = w->d->original->first; b && left; b = b->next) {
        struct str piece = str_head((struct str){ b->data, b->used }, left);

        if (str_has_8bit(piece))
            return true;
        left -= piece.n;
    }
    return false;
}

static void look_at_original(struct writer *w)
{
    const struct mime_dsn *d = w->d;

    mime_header_init(&w->original.header);
    if (!d->original || d->original->size == 0)
        return;
    for (const struct block *b = d->original->first; b && !w->original.header.done; b = b->next)
        mime_header_feed(&w->original.header, (struct str){ b->data, b->used });
    mime_header_end(&w->original.header);
    w->original.whole = return_whole(d);
    w->original.size = w->original.whole ? d->original_size
                                         : header_size(d, &w->original.header, MIME_DSN_HEADER_MAX);
    w->original.has_8bit = returned_8bit(w);
    if (w->seven_bit && w->original.has_8bit) {
        w->original.whole = false;
        w->original.size = header_size(d, &w->original.header, QUOTED_HEADER_MAX);
        w->original.quoted = returned_8bit(w);
        w->original.has_8bit = false;
        return;
    }
    w->original.utf8 = d->smtputf8 && w->original.header.has_8bit;
}

/* ---- parts ---- */

static void open_part(struct writer *w, struct str type, struct str description,
                      struct str encoding)
{
    buf_addf(&w->b, "\r\n--%s\r\n", w->boundary);
    dsn_field(&w->b, STR("Content-Type:"), type);
    dsn_field(&w->b, STR("Content-Description:"), description);
    if (encoding.n)
        dsn_field(&w->b, STR("Content-Transfer-Encoding:"), encoding);
    BUF_LIT(&w->b, "\r\n");
}

static uint32_t count_with(const struct mime_dsn *d, enum mime_dsn_action action)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < d->rcpt_count; i++)
        n += d->rcpts[i].action == action;
    return n;
}

/* "Undeliverable: your message to nobody@example.org" */
static void subject_field(struct writer *w)
{
    static const struct str words[] = {
        [MIME_DSN_FAILED] = STR("Undeliverable: your message"),
        [MIME_DSN_DELAYED] = STR("Delayed, still being tried: your message"),
        [MIME_DSN_DELIVERED] = STR("Delivered: your message"),
        [MIME_DSN_RELAYED] = STR("Passed on: your message"),
    };
    const struct mime_dsn *d = w->d;
    enum mime_dsn_action worst = worst_action(d);
    struct str to = d->rcpts[0].address;
    uint32_t concerned = count_with(d, worst);
    struct mime_fold f;

    for (uint32_t i = 0; i < d->rcpt_count; i++)
        if (d->rcpts[i].action == worst)
            to = d->rcpts[i].address;
    mime_fold_begin(&f, &w->b, STR("Subject:"));
    mime_fold_text(&f, words[worst]);
    if (concerned > 1) {
        mime_fold_word(&f, STR("to"));
        buf_add_u64(mime_fold_open(&f), concerned);
        mime_fold_close(&f);
        mime_fold_word(&f, STR("recipients"));
    } else if (!str_has_8bit(to) && to.n <= SUBJECT_ADDRESS_MAX) {
        mime_fold_word(&f, STR("to"));
        dsn_clean(mime_fold_open(&f), to, true);
        mime_fold_close(&f);
    }
    mime_fold_end(&f);
}

/* The original's Message-ID, so that mail readers show the notice beside it (RFC 3834 3.1). */
static void references_fields(struct writer *w)
{
    struct str id = mime_header_message_id(&w->original.header);

    if (id.n < 3 || id.p[0] != '<' || id.p[id.n - 1] != '>')
        return;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] >= 0x7F)
            return;
    dsn_field(&w->b, STR("In-Reply-To:"), id);
    dsn_field(&w->b, STR("References:"), id);
}

static void head(struct writer *w, const struct mime_dsn_needs *needs)
{
    const struct mime_dsn *d = w->d;

    BUF_LIT(&w->b, "From: Mail Delivery System <MAILER-DAEMON@");
    buf_add_str(&w->b, d->hostname);
    BUF_LIT(&w->b, ">\r\nTo: <");
    dsn_clean(&w->b, d->to, false);
    BUF_LIT(&w->b, ">\r\n");
    subject_field(w);
    dsn_date_field(&w->b, STR("Date:"), d->now_us);
    BUF_LIT(&w->b, "Message-ID: <");
    buf_add_str(&w->b, d->id);
    buf_add_char(&w->b, '@');
    buf_add_str(&w->b, d->hostname);
    BUF_LIT(&w->b, ">\r\n");
    references_fields(w);
    /* RFC 3834 section 5: nothing automatic may answer. */
    BUF_LIT(&w->b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
                   "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"");
    buf_add_str(&w->b, str_of(w->boundary));
    BUF_LIT(&w->b, "\"\r\n");
    if (needs->has_8bit)
        dsn_field(&w->b, STR("Content-Transfer-Encoding:"), STR("8bit"));
    BUF_LIT(&w->b, "\r\nThis is a report in MIME format.\r\n");
    flush(w);
}

/* Moves the text so far into the message. */
static void flush_text(struct writer *w)
{
    if (w->quoted)
        dsn_quoted_printable(&w->b, buf_str(&w->text));
    else
        buf_add_str(&w->b, buf_str(&w->text));
    flush(w);
    buf_clear(&w->text);
}

static void text_part(struct writer *w)
{
    const struct mime_dsn *d = w->d;

    w->quoted = dsn_text_is_8bit(d);
    open_part(w, w->quoted ? STR("text/plain; charset=utf-8") : STR("text/plain; charset=us-ascii"),
              STR("Notification"), w->quoted ? STR("quoted-printable") : STR(""));
    dsn_text_intro(&w->text, d);
    for (int action = MIME_DSN_FAILED; action <= MIME_DSN_RELAYED; action++) {
        uint32_t concerned = count_with(d, (enum mime_dsn_action)action), said = 0;

        for (uint32_t i = 0; i < d->rcpt_count && said < concerned; i++) {
            if (d->rcpts[i].action != (enum mime_dsn_action)action)
                continue;
            if (said++ == 0)
                dsn_text_section(&w->text, (enum mime_dsn_action)action, concerned > 1);
            dsn_text_rcpt(&w->text, &d->rcpts[i]);
            flush_text(w);
        }
    }
    dsn_text_closing(&w->text, d, w->original.whole, w->original.size != 0);
    flush_text(w);
}

static void status_part(struct writer *w)
{
    const struct mime_dsn *d = w->d;

    open_part(
        w, w->utf8_status ? STR("message/global-delivery-status") : STR("message/delivery-status"),
        STR("Delivery report"), w->utf8_status ? STR("8bit") : STR(""));
    dsn_status_message(&w->b, d);
    for (uint32_t i = 0; i < d->rcpt_count; i++) {
        dsn_status_rcpt(&w->b, &d->rcpts[i], w->utf8_status);
        flush(w);
    }
}

/* The header of a message with 8-bit octets in it, over a way that takes none. */
static void quoted_header(struct writer *w)
{
    uint64_t left = w->original.size;

    for (const struct block *b = w->d->original->first; b && left; b = b->next) {
        struct str piece = str_head((struct str){ b->data, b->used }, left);

        buf_add_str(&w->text, piece);
        left -= piece.n;
    }
    if (!str_ends_nocase(buf_str(&w->text), STR("\r\n")))
        BUF_LIT(&w->text, "\r\n");
    dsn_quoted_printable(&w->b, buf_str(&w->text));
    flush(w);
    buf_clear(&w->text);
}

static void original_part(struct writer *w)
{
    uint64_t left = w->original.size;
    bool whole = w->original.whole, utf8 = w->original.utf8;
    struct str type = whole ? (utf8 ? STR("message/global") : STR("message/rfc822"))
                            : (utf8 ? STR("message/global-headers") : STR("text/rfc822-headers"));

    if (left == 0)
        return;
    open_part(w, type, whole ? STR("Your message") : STR("Your message's header"),
              w->original.quoted     ? STR("quoted-printable")
              : w->original.has_8bit ? STR("8bit")
                                     : STR(""));
    flush(w);
    if (w->original.quoted) {
        quoted_header(w);
        return;
    }
    for (const struct block *b = w->d->original->first; b && left; b = b->next) {
        struct str piece = str_head((struct str){ b->data, b->used }, left);

        if (!block_chain_add(w->out, piece))
            w->ok = false;
        left -= piece.n;
    }
}

bool mime_dsn_write(struct block_chain *out, const struct mime_dsn *d,
                    struct mime_dsn_needs *out_needs)
{
    struct writer w = { .d = d, .out = out, .ok = true };
    struct mime_dsn_needs needs;

    pt_assert(d->to.n && d->rcpt_count);
    buf_init(&w.b, PIECE_MAX);
    buf_init(&w.text, PIECE_MAX);
    /* "=_" occurs in no quoted-printable text (RFC 2045 6.7); the rest is not to be guessed. */
    snprintf(w.boundary, sizeof w.boundary, "=_%016llx%016llx", (unsigned long long)d->random[0],
             (unsigned long long)d->random[1]);
    w.seven_bit = d->seven_bit && !str_has_8bit(d->to);
    for (uint32_t i = 0; i < d->rcpt_count && !w.seven_bit; i++)
        w.utf8_status =
            w.utf8_status || str_has_8bit(d->rcpts[i].address) || str_has_8bit(d->rcpts[i].orcpt);
    look_at_original(&w);
    needs.smtputf8 = str_has_8bit(d->to);
    needs.has_8bit = needs.smtputf8 || w.utf8_status || w.original.has_8bit;
    head(&w, &needs);
    text_part(&w);
    status_part(&w);
    original_part(&w);
    buf_addf(&w.b, "\r\n--%s--\r\n", w.boundary);
    flush(&w);
    buf_done(&w.b);
    buf_done(&w.text);
    if (w.ok)
        *out_needs = needs;
    return w.ok;
}
