#include <stdlib.h>

#include "smtp/address.h"
#include "smtp/command.h"

#include "fuzz.h"

/*
 * An address, a path, a domain, and the arguments of commands, from any octets.
 *
 * Holds, or the process aborts: the parts of an address put together are its text; the canonical
 * form parses, is the same mailbox, and is its own canonical form; no control character passes, and
 * none above 127 that is not well-formed UTF-8; what MAIL and RCPT take is an address.
 */

static void demand(bool what)
{
    if (!what)
        abort();
}

static void demand_clean(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        demand((unsigned char)s.p[i] >= ' ' && s.p[i] != 127);
    demand(str_is_utf8(s));
}

static void check_parts(const struct smtp_address *a)
{
    struct str local, domain;

    demand_clean(a->text);
    demand(a->local.n <= SMTP_LOCAL_MAX && a->domain.n <= SMTP_DOMAIN_MAX);
    demand(a->text.n == a->local.n + (a->domain.n ? 1 + a->domain.n : 0));
    demand(str_eq(str_head(a->text, a->local.n), a->local));
    if (a->domain.n)
        demand(str_eq(str_from(a->text, a->local.n + 1), a->domain));
    smtp_address_split(a->text, &local, &domain);
    demand(str_eq(local, a->local) && str_eq(domain, a->domain));
}

static void check_canonical(const struct smtp_address *a)
{
    struct smtp_address again;
    struct buf first, second;

    buf_init(&first, 1024);
    buf_init(&second, 1024);
    smtp_address_format(a, &first);
    demand(!first.failed && smtp_address_parse(buf_str(&first), &again));
    demand(again.kind == a->kind && again.utf8 == a->utf8);
    demand(smtp_address_eq(a->text, buf_str(&first)));
    smtp_address_format(&again, &second);
    demand(str_eq(buf_str(&first), buf_str(&second)));
    buf_done(&first);
    buf_done(&second);
}

static void try_commands(struct str text)
{
    struct smtp_mail mail;
    struct smtp_rcpt rcpt;
    struct smtp_address a;
    uint64_t size;
    bool last;

    if (!smtp_mail_parse(text, true, 1000, &mail)) {
        demand(mail.reverse_path.n == 0 || smtp_address_parse(mail.reverse_path, &a));
        demand(mail.smtputf8 || !str_has_8bit(mail.reverse_path));
        demand(smtp_is_xtext(mail.envid) && mail.envid.n <= 100);
        demand(!mail.size_given || mail.size <= 1000);
    }
    if (!smtp_rcpt_parse(text, true, true, &rcpt)) {
        demand(str_eq_nocase(rcpt.address, STR("postmaster")) ||
               smtp_address_parse(rcpt.address, &a));
        demand_clean(rcpt.orcpt);
    }
    if (!smtp_rcpt_parse(text, true, false, &rcpt))
        demand(!str_has_8bit(rcpt.address) && !str_has_8bit(rcpt.orcpt));
    if (smtp_bdat_parse(text, &size, &last))
        demand(text.n <= 24 && size <= UINT64_C(9999999999999999999));
}

int LLVMFuzzerTestOneInput(const uint8_t *octets, size_t n)
{
    struct str text = { (const char *)octets, n };
    struct smtp_address a;
    size_t taken;

    if (smtp_address_parse(text, &a)) {
        demand(str_eq(a.text, text));
        check_parts(&a);
        check_canonical(&a);
    }
    a = (struct smtp_address){ 0 };
    taken = smtp_path_parse(text, SMTP_PATH_NULL | SMTP_PATH_POSTMASTER, &a);
    demand(taken <= n && taken <= SMTP_PATH_MAX);
    if (taken)
        demand_clean(str_head(text, taken));
    if (taken && a.text.n)
        check_parts(&a);
    if (smtp_domain_parse(text, &a))
        demand_clean(text);
    try_commands(text);
    return 0;
}
