/* What an address that was parsed means: its halves, its local part without quotes, its canonical
 * form. */
#include "smtp/address.h"

void smtp_address_split(struct str address, struct str *out_local, struct str *out_domain)
{
    size_t at = 0;

    /* An "@" may stand in a quoted local part and in a general literal: the one between the halves
     * is the first behind the local part. */
    if (address.n && address.p[0] == '"') {
        for (at = 1; at < address.n && address.p[at] != '"'; at++)
            if (address.p[at] == '\\')
                at++;
    }
    while (at < address.n && address.p[at] != '@')
        at++;
    if (at >= address.n) {
        *out_local = address;
        *out_domain = (struct str){ address.p + address.n, 0 };
        return;
    }
    *out_local = str_head(address, at);
    *out_domain = str_from(address, at + 1);
}

size_t smtp_address_local_value(struct str local, char out[SMTP_LOCAL_MAX])
{
    size_t n = 0;

    local = str_head(local, SMTP_LOCAL_MAX);
    if (local.n < 2 || local.p[0] != '"') {
        if (local.n)
            memcpy(out, local.p, local.n);
        return local.n;
    }
    for (size_t i = 1; i + 1 < local.n; i++) {
        if (local.p[i] == '\\' && i + 2 < local.n)
            i++;
        out[n++] = local.p[i];
    }
    return n;
}

bool smtp_address_eq(struct str a, struct str b)
{
    struct str local_a, local_b, domain_a, domain_b;
    char value_a[SMTP_LOCAL_MAX], value_b[SMTP_LOCAL_MAX];

    smtp_address_split(a, &local_a, &domain_a);
    smtp_address_split(b, &local_b, &domain_b);
    if (!str_eq_nocase(domain_a, domain_b))
        return false;
    /* "Postmaster" is one mailbox, however it is written (RFC 5321 4.5.1). */
    if (domain_a.n == 0)
        return str_eq_nocase(local_a, local_b);
    return str_eq((struct str){ value_a, smtp_address_local_value(local_a, value_a) },
                  (struct str){ value_b, smtp_address_local_value(local_b, value_b) });
}

/* Would the value be a dot-string as it stands? */
static bool needs_no_quotes(struct str value)
{
    struct smtp_address probe;
    char text[SMTP_LOCAL_MAX + 2];

    if (value.n == 0 || value.p[0] == '"')
        return false;
    memcpy(text, value.p, value.n);
    memcpy(text + value.n, "@a", 2);
    return smtp_address_parse((struct str){ text, value.n + 2 }, &probe) &&
           probe.local.n == value.n;
}

static void format_quoted(struct str value, struct buf *out)
{
    buf_add_char(out, '"');
    for (size_t i = 0; i < value.n; i++) {
        if (value.p[i] == '"' || value.p[i] == '\\')
            buf_add_char(out, '\\');
        buf_add_char(out, value.p[i]);
    }
    buf_add_char(out, '"');
}

void smtp_address_format(const struct smtp_address *a, struct buf *out)
{
    char value[SMTP_LOCAL_MAX];
    struct str v = { value, smtp_address_local_value(a->local, value) };

    if (needs_no_quotes(v))
        buf_add_str(out, v);
    else if (a->text.n)
        format_quoted(v, out);
    if (a->kind == SMTP_DOMAIN_NONE)
        return;
    buf_add_char(out, '@');
    for (size_t i = 0; i < a->domain.n; i++)
        buf_add_char(out, ascii_lower(a->domain.p[i]));
}
