/*
 * What each command does. May it come now? is told by its flags (command.h), the same for all;
 * what is left of the question, and the doing, is one short function a command.
 */
#include "smtp/server_private.h"

static void say(struct turn *t, const struct smtp_reply *reply)
{
    smtp_reply_write(t->out, reply);
}

static void mistake(struct smtp_server *s, struct turn *t, const struct smtp_reply *reply)
{
    smtp_server_mistake(s, t->out, reply);
}

static void ask_hello(struct smtp_server *s, struct turn *t, struct str args, bool esmtp)
{
    struct str name;

    if (!smtp_name_parse(args, &name)) {
        mistake(s, t, &smtp_reply_bad_name);
        return;
    }
    s->asked.helo.name = name;
    s->asked.helo.esmtp = esmtp;
    smtp_server_enter(s, STATE_ASK_HELO);
}

static void run_EHLO(struct smtp_server *s, struct turn *t, struct str args)
{
    ask_hello(s, t, args, true);
}

static void run_HELO(struct smtp_server *s, struct turn *t, struct str args)
{
    ask_hello(s, t, args, false);
}

/* In clear where TLS is required: whatever MAIL may be, it is refused for that. The driver is asked
 * all the same, since what it decides before comes first. */
static void ask_mail_in_clear(struct smtp_server *s, struct turn *t, struct str args)
{
    if (smtp_mail_parse(args, s->esmtp, s->config->max_message_size, &s->asked.mail))
        mistake(s, t, smtp_server_tls_reply(s));
    else
        smtp_server_enter(s, STATE_ASK_MAIL);
}

static void run_MAIL(struct smtp_server *s, struct turn *t, struct str args)
{
    const struct smtp_server_config *config = s->config;
    const struct smtp_reply *wrong;

    if (smtp_server_needs_tls(s)) {
        ask_mail_in_clear(s, t, args);
        return;
    }
    if (s->transaction) {
        mistake(s, t, &smtp_reply_nested_mail);
        return;
    }
    if (config->max_messages && s->messages >= config->max_messages) {
        smtp_server_close(s, t->out, &smtp_reply_too_many_messages);
        return;
    }
    wrong = smtp_mail_parse(args, s->esmtp, config->max_message_size, &s->asked.mail);
    if (wrong)
        mistake(s, t, wrong);
    else
        smtp_server_enter(s, STATE_ASK_MAIL);
}

static void run_RCPT(struct smtp_server *s, struct turn *t, struct str args)
{
    const struct smtp_reply *wrong;

    if (s->chunked) {
        mistake(s, t, &smtp_reply_mixed_data);
        return;
    }
    s->rcpt_seen = true;
    wrong = smtp_rcpt_parse(args, s->esmtp, s->smtputf8, &s->asked.rcpt);
    if (wrong)
        mistake(s, t, wrong);
    else if (s->max_recipients && s->recipients >= s->max_recipients)
        /* No error: the rest goes in another message. */
        smtp_server_say(s, t->out, &smtp_reply_too_many_recipients);
    else
        smtp_server_enter(s, STATE_ASK_RCPT);
}

/* Why content may not begin now; NULL: it may. */
static const struct smtp_reply *no_content(const struct smtp_server *s)
{
    return !s->rcpt_seen        ? &smtp_reply_need_rcpt
           : s->recipients == 0 ? &smtp_reply_no_recipients
                                : NULL;
}

static void run_DATA(struct smtp_server *s, struct turn *t, struct str args)
{
    const struct smtp_reply *wrong = s->chunked ? &smtp_reply_mixed_data : no_content(s);

    if (wrong == &smtp_reply_no_recipients)
        say(t, wrong); /* no error of a client that pipelines */
    else if (wrong)
        mistake(s, t, wrong);
    else
        smtp_server_enter(s, STATE_ASK_DATA);
}

static void run_BDAT(struct smtp_server *s, struct turn *t, struct str args)
{
    const struct smtp_reply *wrong = no_content(s);
    uint64_t size;
    bool last;

    /* Checked before the command came here. */
    if (!smtp_bdat_parse(args, &size, &last))
        return;
    if (wrong)
        smtp_server_refuse_chunk(s, size, wrong);
    else
        smtp_server_begin_chunk(s, size, last);
}

static void run_RSET(struct smtp_server *s, struct turn *t, struct str args)
{
    smtp_server_drop_transaction(s);
    say(t, &smtp_reply_ok);
}

static void run_NOOP(struct smtp_server *s, struct turn *t, struct str args)
{
    say(t, &smtp_reply_ok);
}

static void run_QUIT(struct smtp_server *s, struct turn *t, struct str args)
{
    s->quit = true;
    smtp_server_close(s, t->out, &smtp_reply_bye);
}

/* RFC 5321 7.3: who does not tell answers 252, to EXPN too. */
static void run_VRFY(struct smtp_server *s, struct turn *t, struct str args)
{
    say(t, &smtp_reply_not_verified);
}

static void run_EXPN(struct smtp_server *s, struct turn *t, struct str args)
{
    say(t, &smtp_reply_not_verified);
}

static void run_HELP(struct smtp_server *s, struct turn *t, struct str args)
{
    say(t, &smtp_reply_help);
}

static void run_STARTTLS(struct smtp_server *s, struct turn *t, struct str args)
{
    if (s->tls || !s->config->offers_tls || !s->esmtp) {
        mistake(s, t,
                s->tls ? &smtp_reply_already_tls
                : !s->config->offers_tls
                    ? (s->config->requires_tls ? &smtp_reply_tls_lacking : &smtp_reply_no_starttls)
                    : &smtp_reply_need_hello);
        return;
    }
    /* Octets in clear behind it would be read as if they had come encrypted (CVE-2011-0411). */
    if (t->in.n) {
        smtp_server_close(s, t->out, &smtp_reply_behind_starttls);
        return;
    }
    smtp_server_drop_transaction(s);
    smtp_server_enter(s, STATE_TLS);
}

static void (*const actions[])(struct smtp_server *, struct turn *, struct str) = {
#define ROW(verb, flags) [SMTP_##verb] = run_##verb,
    SMTP_VERB_LIST(ROW)
#undef ROW
};

static bool needs_tls(const struct smtp_server *s, const struct smtp_command *c)
{
    return smtp_server_needs_tls(s) && !(c->flags & SMTP_BEFORE_TLS);
}

/* Why this command may not come now; NULL: it may. */
static const struct smtp_reply *not_now(const struct smtp_server *s, const struct smtp_command *c)
{
    bool asked = c->verb == SMTP_MAIL && s->greeted && !s->transaction;

    if (needs_tls(s, c) && !asked)
        return smtp_server_tls_reply(s);
    if ((c->flags & SMTP_NO_ARGUMENT) && c->args.n)
        return &smtp_reply_no_argument;
    if ((c->flags & SMTP_ARGUMENT) && !c->args.n)
        return &smtp_reply_no_user;
    if ((c->flags & SMTP_AFTER_HELLO) && !s->greeted)
        return &smtp_reply_need_hello;
    if ((c->flags & SMTP_AFTER_MAIL) && !s->transaction)
        return &smtp_reply_need_mail;
    return NULL;
}

/* Is the session over by somebody else's wish? */
static bool is_ended(const struct smtp_server *s)
{
    return s->end && (s->end_when == SMTP_WHEN_IDLE || !s->transaction);
}

void smtp_server_run(struct smtp_server *s, struct turn *t, struct str line)
{
    struct smtp_command c = smtp_command_parse(line);
    const struct smtp_reply *wrong;
    uint64_t size = 0;
    bool last;

    if (is_ended(s) && c.verb != SMTP_QUIT) {
        smtp_server_close(s, t->out, s->end);
        return;
    }
    if (c.verb == SMTP_UNKNOWN) {
        if (!s->greeted && smtp_command_is_http(&c))
            smtp_server_close(s, t->out, &smtp_reply_not_http);
        else
            mistake(s, t,
                    needs_tls(s, &c) ? smtp_server_tls_reply(s) : &smtp_reply_unknown_command);
        return;
    }
    /* Octets of unknown number follow: what is a command behind them cannot be told. */
    if (c.verb == SMTP_BDAT && !smtp_bdat_parse(c.args, &size, &last)) {
        smtp_server_close(s, t->out, &smtp_reply_bad_chunk_size);
        return;
    }
    wrong = not_now(s, &c);
    if (!wrong)
        actions[c.verb](s, t, c.args);
    else if (c.verb != SMTP_BDAT)
        mistake(s, t, wrong);
    else if (!smtp_server_count_error(s, t->out))
        smtp_server_refuse_chunk(s, size, wrong);
}

static void write_limits(const struct smtp_server_config *config, struct buf *out)
{
    /* The values have six digits at most (RFC 9422 4). */
    const uint32_t most = 999999;

    if (!config->max_recipients && !config->max_messages)
        return;
    BUF_LIT(out, "250-LIMITS");
    if (config->max_recipients) {
        BUF_LIT(out, " RCPTMAX=");
        buf_add_u64(out, PT_MIN(config->max_recipients, most));
    }
    if (config->max_messages) {
        BUF_LIT(out, " MAILMAX=");
        buf_add_u64(out, PT_MIN(config->max_messages, most));
    }
    BUF_LIT(out, "\r\n");
}

/* Replies to EHLO and HELO carry no enhanced status (RFC 2034 4). */
void smtp_server_write_hello(struct smtp_server *s, struct buf *out)
{
    const struct smtp_server_config *config = s->config;

    buf_add_str(out, s->esmtp ? STR("250-") : STR("250 "));
    buf_add_str(out, config->hostname);
    BUF_LIT(out, "\r\n");
    if (!s->esmtp)
        return;
    BUF_LIT(out, "250-PIPELINING\r\n250-SIZE ");
    buf_add_u64(out, config->max_message_size);
    BUF_LIT(out, "\r\n");
    if (config->offers_tls && !s->tls)
        BUF_LIT(out, "250-STARTTLS\r\n");
    write_limits(config, out);
    BUF_LIT(out, "250-8BITMIME\r\n250-SMTPUTF8\r\n250-DSN\r\n250-CHUNKING\r\n"
                 "250 ENHANCEDSTATUSCODES\r\n");
}
