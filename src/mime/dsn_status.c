#include "mime/dsn_status.h"

#include "base/clock.h"
#include "mime/dsn_text.h"
#include "mime/fold.h"
#include "smtp/address.h"

enum { FIELD_VALUE_MAX = 900, DIAGNOSTIC_MAX = 16 * 1024 };

void dsn_field(struct buf *out, struct str name, struct str value)
{
    buf_add_str(out, name);
    buf_add_char(out, ' ');
    buf_add_str(out, value);
    BUF_LIT(out, "\r\n");
}

/* A field with a type and octets from outside: "Final-Recipient: rfc822; a@x". */
static void typed_field(struct buf *out, struct str name, struct str type, struct str value,
                        bool utf8)
{
    if (value.n > FIELD_VALUE_MAX)
        return;
    buf_add_str(out, name);
    buf_add_char(out, ' ');
    buf_add_str(out, type);
    BUF_LIT(out, "; ");
    dsn_clean(out, value, !utf8);
    BUF_LIT(out, "\r\n");
}

/* A UTF-8 address as utf-8-addr-xtext (RFC 6533 section 3), which is ASCII. */
static void utf8_address_field(struct buf *out, struct str name, struct str address)
{
    struct buf value;

    buf_init(&value, FIELD_VALUE_MAX);
    while (address.n) {
        unsigned c = str_take_code_point(&address);

        if (c > ' ' && c < 0x7F && c != '+' && c != '=' && c != '\\')
            buf_add_char(&value, (char)c);
        else
            buf_addf(&value, "\\x{%X}", c);
    }
    if (!value.failed)
        typed_field(out, name, STR("utf-8"), buf_str(&value), false);
    buf_done(&value);
}

void dsn_date_field(struct buf *out, struct str name, int64_t when_us)
{
    char date[CLOCK_RFC5322_SIZE];

    clock_rfc5322(when_us, date);
    dsn_field(out, name, str_of(date));
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

static void envelope_id_field(struct buf *out, struct str envid)
{
    struct buf value;

    buf_init(&value, FIELD_VALUE_MAX);
    if (envid.n && xtext_decode(envid, &value))
        dsn_field(out, STR("Original-Envelope-Id:"), buf_str(&value));
    buf_done(&value);
}

/* ORCPT: rfc822 is xtext; utf-8 has a form of its own that may stand here as it is (RFC 6533 3). */
static void original_recipient_field(struct buf *out, struct str orcpt, bool utf8)
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
        if (!utf8 && str_has_8bit(address))
            utf8_address_field(out, STR("Original-Recipient:"), address);
        else
            typed_field(out, STR("Original-Recipient:"), type, address, utf8);
        return;
    }
    buf_init(&value, FIELD_VALUE_MAX);
    if (address.n && xtext_decode(address, &value))
        typed_field(out, STR("Original-Recipient:"), type, buf_str(&value), false);
    buf_done(&value);
}

/* The next hop's words where there are any: its code is what marks them. */
static void diagnostic_field(struct buf *out, const struct mime_dsn_rcpt *r, bool utf8)
{
    struct str words = r->reply.n || r->code ? r->reply : r->reason;
    struct mime_fold f;
    struct buf clean;

    if (words.n == 0 && r->code == 0)
        return;
    buf_init(&clean, DIAGNOSTIC_MAX);
    dsn_clean(&clean, words, !utf8);
    mime_fold_begin(&f, out, STR("Diagnostic-Code:"));
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

/* An address as it stands in place of a host's name (RFC 5321 4.1.3). False: it is none. */
static bool add_literal(struct buf *out, struct str address)
{
    struct smtp_address parsed;
    struct buf literal;
    bool ok;

    buf_init(&literal, 128);
    buf_addf(&literal, "[%s", str_find(address, ':', 0) < 0 ? "" : "IPv6:");
    buf_add_str(&literal, address);
    buf_add_char(&literal, ']');
    ok = !literal.failed && smtp_domain_parse(buf_str(&literal), &parsed) &&
         (parsed.kind == SMTP_DOMAIN_IPV4 || parsed.kind == SMTP_DOMAIN_IPV6);
    if (ok)
        buf_add_str(out, buf_str(&literal));
    buf_done(&literal);
    return ok;
}

/* A host of type dns (RFC 3464 2.1.2). */
static void host_field(struct buf *out, struct str name, struct str host)
{
    struct buf value;

    buf_init(&value, FIELD_VALUE_MAX);
    if (!add_literal(&value, host))
        buf_add_str(&value, host);
    if (!value.failed)
        typed_field(out, name, STR("dns"), buf_str(&value), false);
    buf_done(&value);
}

/* The name it gave, if it is one, and where it is (RFC 3464 2.2.4). */
static void received_from_field(struct buf *out, const struct mime_dsn *d)
{
    struct smtp_address helo;
    struct buf value;
    bool named = smtp_domain_parse(d->helo, &helo) && !helo.utf8;

    if (!d->client.n)
        return;
    buf_init(&value, FIELD_VALUE_MAX);
    if (named) {
        buf_add_str(&value, d->helo);
        BUF_LIT(&value, " (");
    }
    if (add_literal(&value, d->client)) {
        if (named)
            buf_add_char(&value, ')');
        typed_field(out, STR("Received-From-MTA:"), STR("dns"), buf_str(&value), false);
    }
    buf_done(&value);
}

void dsn_status_message(struct buf *out, const struct mime_dsn *d)
{
    dsn_field(out, STR("Reporting-MTA: dns;"), d->hostname);
    envelope_id_field(out, d->envid);
    received_from_field(out, d);
    dsn_date_field(out, STR("Arrival-Date:"), d->arrival_us);
}

void dsn_status_rcpt(struct buf *out, const struct mime_dsn_rcpt *r, bool utf8)
{
    static const struct str actions[] = {
        [MIME_DSN_FAILED] = STR("failed"),
        [MIME_DSN_DELAYED] = STR("delayed"),
        [MIME_DSN_DELIVERED] = STR("delivered"),
        [MIME_DSN_RELAYED] = STR("relayed"),
    };

    BUF_LIT(out, "\r\n");
    if (r->orcpt.n)
        original_recipient_field(out, r->orcpt, utf8);
    if (!str_has_8bit(r->address))
        typed_field(out, STR("Final-Recipient:"), STR("rfc822"), r->address, utf8);
    else if (utf8)
        typed_field(out, STR("Final-Recipient:"), STR("utf-8"), r->address, true);
    else
        utf8_address_field(out, STR("Final-Recipient:"), r->address);
    dsn_field(out, STR("Action:"), actions[r->action]);
    buf_addf(out, "Status: %u.%u.%u\r\n", r->status[0], r->status[1], r->status[2]);
    if (r->remote.n)
        host_field(out, STR("Remote-MTA:"), r->remote);
    diagnostic_field(out, r, utf8);
    if (r->last_attempt_us)
        dsn_date_field(out, STR("Last-Attempt-Date:"), r->last_attempt_us);
    if (r->action == MIME_DSN_DELAYED && r->will_retry_until_us)
        dsn_date_field(out, STR("Will-Retry-Until:"), r->will_retry_until_us);
}
