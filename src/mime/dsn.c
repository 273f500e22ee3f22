#include "mime/dsn.h"

#include <stdio.h>

#include "base/clock.h"
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
    FIELD_VALUE_MAX = 900,
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

static bool any_failed(const struct mime_dsn *d)
{
    for (uint32_t i = 0; i < d->rcpt_count; i++)
        if (d->rcpts[i].action == MIME_DSN_FAILED)
            return true;
    return false;
}

/* Whole only with a failure (RFC 3461 section 4.3), and if all of it is at hand. */
static bool return_whole(const struct mime_dsn *d)
{
    uint64_t max = d->ret == SMTP_RET_FULL ? MIME_DSN_FULL_MAX : MIME_DSN_DEFAULT_MAX;

    return d->ret != SMTP_RET_HDRS && any_failed(d) && d->original->size == d->original_size &&
           d->original_size <= max;
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

/* ---- fields ---- */

static void field(struct writer *w, struct str name, struct str value)
{
    buf_add_str(&w->b, name);
    buf_add_char(&w->b, ' ');
    buf_add_str(&w->b, value);
    BUF_LIT(&w->b, "\r\n");
}

/* A field with a type and octets from outside: "Final-Recipient: rfc822; a@x". */
static void typed_field(struct writer *w, struct str name, struct str type, struct str value)
{
    if (value.n > FIELD_VALUE_MAX)
        return;
    buf_add_str(&w->b, name);
    buf_add_char(&w->b, ' ');
    buf_add_str(&w->b, type);
    BUF_LIT(&w->b, "; ");
    dsn_clean(&w->b, value, !w->utf8_status);
    BUF_LIT(&w->b, "\r\n");
}

/* The code point at the front of well-formed UTF-8; takes it. */
static unsigned take_code_point(struct str *s)
{
    unsigned char lead = (unsigned char)s->p[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    unsigned point = n == 1 ? lead : lead & (0x7Fu >> n);

    n = PT_MIN(n, s->n);
    for (size_t i = 1; i < n; i++)
        point = point << 6 | ((unsigned char)s->p[i] & 0x3F);
    *s = str_from(*s, n);
    return point;
}

/* A UTF-8 address as utf-8-addr-xtext (RFC 6533 section 3), which is ASCII. */
static void utf8_address_field(struct writer *w, struct str name, struct str address)
{
    struct buf value;

    buf_init(&value, FIELD_VALUE_MAX);
    while (address.n) {
        unsigned c = take_code_point(&address);

        if (c > ' ' && c < 0x7F && c != '+' && c != '=' && c != '\\')
            buf_add_char(&value, (char)c);
        else
            buf_addf(&value, "\\x{%X}", c);
    }
    if (!value.failed)
        typed_field(w, name, STR("utf-8"), buf_str(&value));
    buf_done(&value);
}

static void date_field(struct writer *w, struct str name, int64_t when_us)
{
    char date[CLOCK_RFC5322_SIZE];

    clock_rfc5322(when_us, date);
    field(w, name, str_of(date));
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* xtext (RFC 3461 section 4) decoded into `out`; false: not xtext, or it hides what is not
 * printable. */
static bool xtext_decode(struct str in, struct buf *out)
{
    for (size_t i = 0; i < in.n; i++) {
        int c = (unsigned char)in.p[i];

        if (c == '+') {
            int high = i + 2 < in.n ? hex_digit(in.p[i + 1]) : -1;
            int low = i + 2 < in.n ? hex_digit(in.p[i + 2]) : -1;

            if (high < 0 || low < 0)
                return false;
            c = high * 16 + low;
            i += 2;
        }
        if (c < 0x20 || c > 0x7E)
            return false;
        buf_add_char(out, (char)c);
    }
    return !out->failed;
}

static void envelope_id_field(struct writer *w)
{
    struct buf value;

    buf_init(&value, FIELD_VALUE_MAX);
    if (w->d->envid.n && xtext_decode(w->d->envid, &value))
        field(w, STR("Original-Envelope-Id:"), buf_str(&value));
    buf_done(&value);
}

/* ORCPT: rfc822 is xtext; utf-8 has a form of its own that may stand here as it is (RFC 6533 3). */
static void original_recipient_field(struct writer *w, struct str orcpt)
{
    ptrdiff_t semicolon = str_find(orcpt, ';', 0);
    struct str type, address;
    struct buf value;

    if (semicolon <= 0)
        return;
    type = str_head(orcpt, (size_t)semicolon);
    address = str_from(orcpt, (size_t)semicolon + 1);
    for (size_t i = 0; i < type.n; i++)
        if (type.p[i] <= ' ' || type.p[i] >= 0x7F)
            return;
    if (str_eq_nocase(type, STR("utf-8"))) {
        if (!w->utf8_status && str_has_8bit(address))
            utf8_address_field(w, STR("Original-Recipient:"), address);
        else
            typed_field(w, STR("Original-Recipient:"), type, address);
        return;
    }
    buf_init(&value, FIELD_VALUE_MAX);
    if (address.n && xtext_decode(address, &value))
        typed_field(w, STR("Original-Recipient:"), type, buf_str(&value));
    buf_done(&value);
}

static void diagnostic_field(struct writer *w, const struct mime_dsn_rcpt *r)
{
    struct mime_fold f;
    struct buf clean;

    if (r->reply.n == 0 && r->code == 0)
        return;
    buf_init(&clean, PIECE_MAX);
    dsn_clean(&clean, r->reply, !w->utf8_status);
    mime_fold_begin(&f, &w->b, STR("Diagnostic-Code:"));
    if (r->code) {
        mime_fold_word(&f, STR("smtp;"));
        buf_add_u64(mime_fold_open(&f), r->code);
        mime_fold_close(&f);
    } else {
        mime_fold_word(&f, STR("X-Postern;"));
    }
    mime_fold_text(&f, buf_str(&clean));
    mime_fold_end(&f);
    buf_done(&clean);
}

/* ---- parts ---- */

static void open_part(struct writer *w, struct str type, struct str description,
                      struct str encoding)
{
    buf_addf(&w->b, "\r\n--%s\r\n", w->boundary);
    field(w, STR("Content-Type:"), type);
    field(w, STR("Content-Description:"), description);
    if (encoding.n)
        field(w, STR("Content-Transfer-Encoding:"), encoding);
    BUF_LIT(&w->b, "\r\n");
}

static struct str subject(const struct mime_dsn *d)
{
    enum mime_dsn_action first = d->rcpts[0].action;

    if (any_failed(d))
        return STR("Undeliverable mail");
    return first == MIME_DSN_DELAYED ? STR("Delayed mail (still being tried)")
                                     : STR("Delivery report");
}

/* The original's Message-ID, so that mail readers show the notice beside it. */
static void references_field(struct writer *w)
{
    struct str id = mime_header_message_id(&w->original.header);

    if (id.n < 3 || id.p[0] != '<' || id.p[id.n - 1] != '>')
        return;
    for (size_t i = 0; i < id.n; i++)
        if (id.p[i] <= ' ' || id.p[i] >= 0x7F)
            return;
    field(w, STR("References:"), id);
}

static void head(struct writer *w, const struct mime_dsn_needs *needs)
{
    const struct mime_dsn *d = w->d;

    BUF_LIT(&w->b, "From: Mail Delivery System <MAILER-DAEMON@");
    buf_add_str(&w->b, d->hostname);
    BUF_LIT(&w->b, ">\r\nTo: <");
    dsn_clean(&w->b, d->to, false);
    BUF_LIT(&w->b, ">\r\n");
    field(w, STR("Subject:"), subject(d));
    date_field(w, STR("Date:"), d->now_us);
    BUF_LIT(&w->b, "Message-ID: <");
    buf_add_str(&w->b, d->id);
    buf_add_char(&w->b, '@');
    buf_add_str(&w->b, d->hostname);
    BUF_LIT(&w->b, ">\r\n");
    references_field(w);
    /* RFC 3834 section 5: nothing automatic may answer. */
    BUF_LIT(&w->b, "Auto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n"
                   "Content-Type: multipart/report; report-type=delivery-status;\r\n\tboundary=\"");
    buf_add_str(&w->b, str_of(w->boundary));
    BUF_LIT(&w->b, "\"\r\n");
    if (needs->has_8bit)
        field(w, STR("Content-Transfer-Encoding:"), STR("8bit"));
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
        bool said = false;

        for (uint32_t i = 0; i < d->rcpt_count; i++) {
            if (d->rcpts[i].action != (enum mime_dsn_action)action)
                continue;
            if (!said)
                dsn_text_section(&w->text, (enum mime_dsn_action)action);
            said = true;
            dsn_text_rcpt(&w->text, &d->rcpts[i]);
            flush_text(w);
        }
    }
    dsn_text_closing(&w->text, d, w->original.whole, w->original.size != 0);
    flush_text(w);
}

static void rcpt_fields(struct writer *w, const struct mime_dsn_rcpt *r)
{
    static const struct str actions[] = {
        [MIME_DSN_FAILED] = STR("failed"),
        [MIME_DSN_DELAYED] = STR("delayed"),
        [MIME_DSN_DELIVERED] = STR("delivered"),
        [MIME_DSN_RELAYED] = STR("relayed"),
    };

    BUF_LIT(&w->b, "\r\n");
    if (r->orcpt.n)
        original_recipient_field(w, r->orcpt);
    if (!str_has_8bit(r->address))
        typed_field(w, STR("Final-Recipient:"), STR("rfc822"), r->address);
    else if (w->utf8_status)
        typed_field(w, STR("Final-Recipient:"), STR("utf-8"), r->address);
    else
        utf8_address_field(w, STR("Final-Recipient:"), r->address);
    field(w, STR("Action:"), actions[r->action]);
    buf_addf(&w->b, "Status: %u.%u.%u\r\n", r->status[0], r->status[1], r->status[2]);
    if (r->remote.n)
        typed_field(w, STR("Remote-MTA:"), STR("dns"), r->remote);
    diagnostic_field(w, r);
    if (r->last_attempt_us)
        date_field(w, STR("Last-Attempt-Date:"), r->last_attempt_us);
    if (r->action == MIME_DSN_DELAYED && r->will_retry_until_us)
        date_field(w, STR("Will-Retry-Until:"), r->will_retry_until_us);
    flush(w);
}

static void status_part(struct writer *w)
{
    const struct mime_dsn *d = w->d;

    open_part(
        w, w->utf8_status ? STR("message/global-delivery-status") : STR("message/delivery-status"),
        STR("Delivery report"), w->utf8_status ? STR("8bit") : STR(""));
    field(w, STR("Reporting-MTA: dns;"), d->hostname);
    envelope_id_field(w);
    date_field(w, STR("Arrival-Date:"), d->arrival_us);
    for (uint32_t i = 0; i < d->rcpt_count; i++)
        rcpt_fields(w, &d->rcpts[i]);
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
