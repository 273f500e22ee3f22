#include "smtp/client_command.h"

/* ---- what the peer offers ---- */

/* Cuts the first word off `s`. */
static struct str word(struct str *s)
{
    struct str w;
    size_t n = 0;

    *s = str_trim(*s);
    while (n < s->n && s->p[n] != ' ' && s->p[n] != '\t')
        n++;
    w = str_head(*s, n);
    *s = str_from(*s, n);
    return w;
}

/* LIMITS parameters (RFC 9422 section 4): "MAILMAX=5 RCPTMAX=100". */
static void limits(struct smtp_client_peer *peer, struct str line)
{
    struct str w;

    while ((w = word(&line)).n) {
        ptrdiff_t eq = str_find(w, '=', 0);
        uint64_t value;
        struct str name;

        if (eq < 0 || !str_to_u64(str_from(w, (size_t)eq + 1), &value) || value == 0)
            continue;
        name = str_head(w, (size_t)eq);
        value = PT_MIN(value, (uint64_t)UINT32_MAX);
        if (str_eq_nocase(name, STR("MAILMAX")))
            peer->mail_max = (uint32_t)value;
        else if (str_eq_nocase(name, STR("RCPTMAX")))
            peer->rcpt_max = (uint32_t)value;
        else if (str_eq_nocase(name, STR("RCPTDOMAINMAX")))
            peer->rcpt_domain_max = (uint32_t)value;
    }
}

static void mechanisms(struct smtp_client_peer *peer, struct str line)
{
    struct str w;

    while ((w = word(&line)).n) {
        peer->auth_plain |= str_eq_nocase(w, STR("PLAIN"));
        peer->auth_login |= str_eq_nocase(w, STR("LOGIN"));
    }
}

void client_peer_line(struct smtp_client_peer *peer, struct str line)
{
    struct str keyword = word(&line);
    const struct {
        struct str name;
        bool *offered;
    } keywords[] = {
        { STR("PIPELINING"), &peer->pipelining },
        { STR("8BITMIME"), &peer->eightbitmime },
        { STR("SMTPUTF8"), &peer->smtputf8 },
        { STR("CHUNKING"), &peer->chunking },
        { STR("DSN"), &peer->dsn },
        { STR("ENHANCEDSTATUSCODES"), &peer->enhancedstatuscodes },
        { STR("STARTTLS"), &peer->starttls },
        { STR("SIZE"), &peer->size },
    };

    for (size_t i = 0; i < PT_ARRAY_LEN(keywords); i++)
        if (str_eq_nocase(keyword, keywords[i].name))
            *keywords[i].offered = true;
    if (str_eq_nocase(keyword, STR("SIZE"))) {
        uint64_t value;

        if (str_to_u64(word(&line), &value))
            peer->size_max = value;
    } else if (str_eq_nocase(keyword, STR("AUTH"))) {
        mechanisms(peer, line);
    } else if (str_eq_nocase(keyword, STR("LIMITS"))) {
        limits(peer, line);
    }
}

/* ---- what can be told without asking ---- */

/* The longest path that any server of ours lets in is far shorter (RFC 5321 4.5.3.1.3). */
enum { PATH_MAX_OCTETS = 1024 };

/*
 * Between angle brackets these octets are one path and nothing else. The grammar was checked on the
 * way in; this is the output side's own look, so that no address can ever end a command or pose as
 * a parameter.
 */
static bool can_carry(struct str path)
{
    bool quoted = false;

    if (path.n > PATH_MAX_OCTETS)
        return false;
    for (size_t i = 0; i < path.n; i++) {
        unsigned char c = (unsigned char)path.p[i];

        if (c < 0x20 || c == 0x7F)
            return false;
        if (c == '"')
            quoted = !quoted;
        else if (quoted && c == '\\' && i + 1 < path.n && (unsigned char)path.p[i + 1] >= 0x20)
            i++;
        else if (!quoted && (c == ' ' || c == '<' || c == '>'))
            return false;
    }
    return !quoted;
}

/* A parameter's value: no space, no control character. */
static bool can_carry_value(struct str value, bool utf8)
{
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];

        if (c <= 0x20 || c == 0x7F || (c >= 0x80 && !utf8))
            return false;
    }
    return value.n != 0 && value.n <= PATH_MAX_OCTETS;
}

static struct smtp_client_result refusal(enum smtp_client_outcome outcome, uint8_t subject,
                                         uint8_t detail, struct str text)
{
    uint8_t class = outcome == SMTP_CLIENT_RETRY ? 4 : 5;

    return (struct smtp_client_result){ .outcome = (uint8_t)outcome,
                                        .status = { class, subject, detail },
                                        .text = text };
}

#define FAILED(subject, detail, text)                                                              \
    refusal(SMTP_CLIENT_FAILED, (subject), (detail), STR("5." #subject "." #detail " " text))

/* What keeps the whole message from this peer; outcome PENDING: nothing. */
static struct smtp_client_result message_refusal(const struct smtp_client_message *m,
                                                 const struct smtp_client_peer *peer)
{
    const struct smtp_mail *mail = &m->mail;

    if (!can_carry(mail->reverse_path))
        return FAILED(1, 7, "The sender's address cannot be used in a command");
    if (!peer->smtputf8 && (str_has_8bit(mail->reverse_path) || (mail->smtputf8 && m->header_8bit)))
        return FAILED(6, 7, "The message needs SMTPUTF8, which the next hop does not offer");
    if (m->has_8bit && !peer->eightbitmime)
        return FAILED(6, 3, "The message has 8-bit content and the next hop takes 7-bit only");
    if (peer->size_max && mail->size > peer->size_max)
        return FAILED(3, 4, "The message is larger than the next hop allows");
    return (struct smtp_client_result){ .outcome = SMTP_CLIENT_PENDING };
}

static struct smtp_client_result rcpt_refusal(const struct smtp_rcpt *rcpt,
                                              const struct smtp_client_peer *peer, uint32_t pending)
{
    struct smtp_client_result result = { .outcome = SMTP_CLIENT_PENDING };

    if (rcpt->address.n == 0 || !can_carry(rcpt->address))
        return FAILED(1, 3, "The address cannot be used in a command");
    if (!peer->smtputf8 && str_has_8bit(rcpt->address))
        return FAILED(6, 7, "The address needs SMTPUTF8, which the next hop does not offer");
    if (peer->rcpt_max && pending >= peer->rcpt_max) {
        result = refusal(SMTP_CLIENT_RETRY, 5, 3,
                         STR("4.5.3 The next hop takes fewer recipients at once"));
        result.untried = true;
    }
    return result;
}

uint32_t client_message_check(struct smtp_client_message *m, const struct smtp_client_peer *peer)
{
    struct smtp_client_result all = message_refusal(m, peer);
    uint32_t pending = 0;

    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct smtp_client_result *r = &m->rcpts[i].result;

        *r = all.outcome != SMTP_CLIENT_PENDING ? all
                                                : rcpt_refusal(&m->rcpts[i].rcpt, peer, pending);
        pending += r->outcome == SMTP_CLIENT_PENDING;
    }
    return pending;
}

/* ---- commands ---- */

static bool needs_utf8(const struct smtp_client_message *m)
{
    if (m->mail.smtputf8 || str_has_8bit(m->mail.reverse_path))
        return true;
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].result.outcome == SMTP_CLIENT_PENDING &&
            str_has_8bit(m->rcpts[i].rcpt.address))
            return true;
    return false;
}

void client_mail_write(struct buf *out, const struct smtp_client_message *m,
                       const struct smtp_client_peer *peer)
{
    const struct smtp_mail *mail = &m->mail;

    BUF_LIT(out, "MAIL FROM:<");
    buf_add_str(out, mail->reverse_path);
    buf_add_char(out, '>');
    if (peer->size && mail->size_given) {
        BUF_LIT(out, " SIZE=");
        buf_add_u64(out, mail->size);
    }
    if (peer->eightbitmime && (m->has_8bit || mail->body == SMTP_BODY_8BITMIME))
        BUF_LIT(out, " BODY=8BITMIME");
    if (peer->smtputf8 && needs_utf8(m))
        BUF_LIT(out, " SMTPUTF8");
    if (peer->dsn && mail->ret == SMTP_RET_FULL)
        BUF_LIT(out, " RET=FULL");
    if (peer->dsn && mail->ret == SMTP_RET_HDRS)
        BUF_LIT(out, " RET=HDRS");
    if (peer->dsn && can_carry_value(mail->envid, false)) {
        BUF_LIT(out, " ENVID=");
        buf_add_str(out, mail->envid);
    }
    BUF_LIT(out, "\r\n");
}

static void notify_write(struct buf *out, uint8_t notify)
{
    static const struct {
        uint8_t bit;
        struct str name;
    } names[] = {
        { SMTP_NOTIFY_SUCCESS, STR("SUCCESS") },
        { SMTP_NOTIFY_FAILURE, STR("FAILURE") },
        { SMTP_NOTIFY_DELAY, STR("DELAY") },
    };
    char before = '=';

    BUF_LIT(out, " NOTIFY");
    if (notify & SMTP_NOTIFY_NEVER) {
        BUF_LIT(out, "=NEVER");
        return;
    }
    for (size_t i = 0; i < PT_ARRAY_LEN(names); i++)
        if (notify & names[i].bit) {
            buf_add_char(out, before);
            buf_add_str(out, names[i].name);
            before = ',';
        }
}

/* As received. UTF-8 goes to a peer without SMTPUTF8 in the form that is ASCII (RFC 6533 3). None
 * is made up where none came (RFC 3461 5.2.1 has it as a MAY): addresses are never rewritten here,
 * so it would say what RCPT says. */
static void orcpt_write(struct buf *out, struct str orcpt, bool utf8)
{
    bool is_utf8 = str_is_utf8(orcpt);

    if (!utf8 && str_has_8bit(orcpt) && !is_utf8)
        return;
    BUF_LIT(out, " ORCPT=");
    if (utf8 || !str_has_8bit(orcpt)) {
        buf_add_str(out, orcpt);
        return;
    }
    while (orcpt.n) {
        unsigned point = str_take_code_point(&orcpt);

        if (point < 0x80)
            buf_add_char(out, (char)point);
        else
            buf_addf(out, "\\x{%X}", point);
    }
}

void client_rcpt_write(struct buf *out, const struct smtp_rcpt *rcpt,
                       const struct smtp_client_peer *peer)
{
    BUF_LIT(out, "RCPT TO:<");
    buf_add_str(out, rcpt->address);
    buf_add_char(out, '>');
    if (peer->dsn && (rcpt->notify & 15))
        notify_write(out, rcpt->notify);
    if (peer->dsn && can_carry_value(rcpt->orcpt, true))
        orcpt_write(out, rcpt->orcpt, peer->smtputf8);
    BUF_LIT(out, "\r\n");
}
