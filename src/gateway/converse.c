#include "gateway/converse.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/msgid.h"
#include "gateway/limits.h"
#include "gateway/loop.h"
#include "gateway/replies.h"
#include "gateway/secure.h"
#include "gateway/session.h"
#include "gateway/transaction.h"

/* RFC 5321 6.3 asks for a limit of at least 100 Received fields, and lower ones call honest
 * messages loops. */
enum { RECEIVED_MAX = 100, LOGGED_RECIPIENTS = 50 };

static void answer(struct session *s, const struct smtp_reply *reply)
{
    smtp_server_answer(&s->smtp, &s->loop->out, reply);
}

static struct policy_facts facts_of(const struct session *s)
{
    return (struct policy_facts){
        .client = s->client.addr,
        .now_us = clock_wall_us(),
        .helo = smtp_server_helo(&s->smtp),
        .tls = smtp_server_tls(&s->smtp),
        .ref = s->loop->next_ref,
    };
}

static void drop_transaction(struct session *s)
{
    transaction_abandon(s->transaction);
    s->transaction = NULL;
}

/* `ref`: the reply carries the reference of this decision. */
static void log_rejected(const struct session *s, const char *what, struct str address,
                         const struct smtp_reply *reply, const char *rule, bool ref)
{
    char client[NET_ENDPOINT_SIZE], ref_text[POLICY_REF_SIZE];
    struct log_line line;

    net_endpoint_format(&s->client, client);
    log_begin(&line, LOG_INFO, "rejected");
    log_cstr(&line, "client", client);
    log_str(&line, "helo", smtp_server_helo(&s->smtp));
    log_str(&line, what, address);
    log_cstr(&line, "rule", rule);
    log_u64(&line, "code", reply->code);
    log_str(&line, "reply", reply->text);
    if (ref) {
        policy_ref_format(s->loop->next_ref, ref_text);
        log_cstr(&line, "ref", ref_text);
        gateway_loop_ref_used(s->loop);
    }
    log_end(&line);
}

/* ---- the commands ---- */

static void on_mail(struct session *s)
{
    struct policy_facts facts = facts_of(s);
    struct limits_facts room;
    struct policy_verdict v;

    facts.messages = s->messages;
    facts.size = s->smtp.asked.mail.size;
    facts.sender = s->smtp.asked.mail.reverse_path;
    limits_count(s, ACCESS_MESSAGES, &facts, &room);
    policy_verdict_init(&v, false);
    policy_mail(s->loop->snapshot, &facts, &v);
    limits_note(s->loop, &facts, &v);
    if (v.action != POLICY_ACCEPT) {
        log_rejected(s, "reverse_path", facts.sender, &v.reply, policy_rule_name(v.rule), true);
        answer(s, &v.reply);
        return;
    }
    /* A message under way elsewhere must be able to end: new ones wait first. */
    if (!atomic_load_explicit(&s->loop->gateway->memory_short, memory_order_relaxed))
        s->transaction = transaction_new(s, &s->smtp.asked.mail);
    if (!s->transaction)
        log_rejected(s, "reverse_path", facts.sender, &reply_memory, "memory", false);
    answer(s, s->transaction ? NULL : &reply_memory);
}

static void on_rcpt(struct session *s)
{
    struct policy_facts facts = facts_of(s);
    struct transaction *t = s->transaction;
    struct limits_facts room;
    struct policy_verdict v;

    facts.recipients = t->message->recipient_count;
    facts.sender = t->message->reverse_path;
    facts.recipient = s->smtp.asked.rcpt.address;
    limits_count(s, ACCESS_RECIPIENTS, &facts, &room);
    policy_verdict_init(&v, false);
    policy_rcpt(t->snapshot, &facts, &v);
    limits_note(s->loop, &facts, &v);
    if (v.action != POLICY_ACCEPT) {
        log_rejected(s, "recipient", facts.recipient, &v.reply, policy_rule_name(v.rule), true);
        answer(s, &v.reply);
        return;
    }
    answer(s, transaction_add_recipient(t, &s->smtp.asked.rcpt) ? NULL : &reply_memory);
}

static const struct smtp_reply *reply_for(enum pt_err err)
{
    switch (err) {
    case PT_ERR_NOSPACE:
        return &reply_disk_full;
    case PT_ERR_NOMEM:
        return &reply_memory;
    default:
        return &reply_disk;
    }
}

static void on_content(struct session *s, struct str content)
{
    struct transaction *t = s->transaction;

    if (!t || transaction_add_content(t, content)) {
        if (t && transaction_is_behind(t))
            s->phase = SESSION_BEHIND;
        return;
    }
    smtp_server_fail_content(&s->smtp,
                             reply_for(t->file_error != PT_ERR_OK ? t->file_error : PT_ERR_NOMEM));
    drop_transaction(s);
}

static void on_complete(struct session *s)
{
    struct transaction *t = s->transaction;

    mime_header_end(&t->header);
    if (t->header.received >= RECEIVED_MAX) {
        log_rejected(s, "reverse_path", t->message->reverse_path, &reply_loop, "mail loop", false);
        GATEWAY_COUNT(s->loop->counters.rejected_messages, 1);
        answer(s, &reply_loop);
        drop_transaction(s);
        return;
    }
    if (smtp_server_eight_bit(&s->smtp))
        t->message->flags |= SPOOL_8BIT;
    if (transaction_commit(t)) {
        s->phase = SESSION_COMMITTING;
        return;
    }
    GATEWAY_COUNT(s->loop->counters.rejected_messages, 1);
    answer(s, &reply_memory);
    drop_transaction(s);
}

/* ---- the end of a message ---- */

static void log_received(const struct session *s, const struct transaction *t)
{
    const struct spool_message *m = t->message;
    struct buf *list = &s->loop->scratch;
    char client[NET_ENDPOINT_SIZE];
    struct log_line line;

    buf_clear(list);
    for (uint32_t i = 0; i < m->recipient_count && i < LOGGED_RECIPIENTS; i++) {
        if (i)
            BUF_LIT(list, ", ");
        buf_add_str(list, m->recipients[i].address);
    }
    net_endpoint_format(&s->client, client);
    log_begin(&line, LOG_INFO, "received");
    log_id(&line, m->id);
    log_cstr(&line, "client", client);
    log_str(&line, "helo", m->helo);
    log_str(&line, "reverse_path", m->reverse_path);
    log_str(&line, "recipients", buf_str(list));
    log_u64(&line, "recipient_count", m->recipient_count);
    log_u64(&line, "size", m->size);
    session_log_tls(s, &line);
    if (t->header.message_id_n)
        log_str(&line, "message_id", mime_header_message_id(&t->header));
    log_end(&line);
}

void converse_committed(struct session *s, enum pt_err result)
{
    struct transaction *t = s->transaction;
    const struct spool_message *m = t->message;
    char text[32] = "stored as ", id[MSGID_SIZE];
    struct smtp_reply ok = { 250, { 2, 0, 0 }, { text, 0 } };

    if (result != PT_ERR_OK) {
        GATEWAY_COUNT(s->loop->counters.rejected_messages, 1);
        log_rejected(s, "reverse_path", m->reverse_path, reply_for(result), "storage", false);
        answer(s, reply_for(result));
        drop_transaction(s);
        return;
    }
    msgid_format(m->id, id);
    memcpy(text + sizeof "stored as " - 1, id, sizeof id);
    ok.text.n = sizeof "stored as " - 1 + sizeof id - 1;
    s->messages++;
    GATEWAY_COUNT(s->loop->counters.messages, 1);
    if (smtp_server_tls(&s->smtp))
        GATEWAY_COUNT(s->loop->counters.messages_tls, 1);
    GATEWAY_COUNT(s->loop->counters.octets, m->size);
    log_received(s, t);
    answer(s, &ok);
    drop_transaction(s);
}

bool converse_still_permitted(const struct session *s, struct policy_verdict *out)
{
    struct policy_facts facts = facts_of(s);

    policy_verdict_init(out, false);
    policy_client(s->loop->snapshot, &facts, out);
    return out->action == POLICY_ACCEPT;
}

/* ---- the conversation ---- */

/* Does what the machine wants; true as long as it can be fed again at once. */
static bool act(struct session *s, const struct smtp_server_step *step)
{
    if (step->reset)
        drop_transaction(s);
    switch (step->want) {
    case SMTP_WANT_HELO:
        answer(s, NULL);
        return true;
    case SMTP_WANT_MAIL:
        on_mail(s);
        return true;
    case SMTP_WANT_RCPT:
        on_rcpt(s);
        return true;
    case SMTP_WANT_DATA:
        answer(s, transaction_begin_content(s->transaction) ? NULL : &reply_memory);
        return true;
    case SMTP_WANT_CONTENT:
        on_content(s, step->content);
        return s->phase == SESSION_OPEN;
    case SMTP_WANT_COMMIT:
        on_complete(s);
        return s->phase == SESSION_OPEN;
    case SMTP_WANT_TLS:
        if (secure_prepare(s)) {
            s->phase = SESSION_SECURING;
            answer(s, NULL);
            return false;
        }
        log_rejected(s, "command", STR("STARTTLS"), &reply_tls_busy, "TLS handshakes", false);
        answer(s, &reply_tls_busy);
        return true;
    case SMTP_WANT_MORE:
    case SMTP_WANT_CLOSE:
        break;
    }
    return false;
}

/* Errors and refused recipients; an accepted message sets them back. */
static uint32_t mistakes(const struct session *s)
{
    return s->smtp.errors + s->smtp.refused;
}

struct converse_result converse(struct session *s, struct str in)
{
    struct smtp_server_step step;
    uint32_t before;
    bool more;

    if (s->phase != SESSION_OPEN)
        return (struct converse_result){ .rest = in };
    do {
        before = mistakes(s);
        step = smtp_server_feed(&s->smtp, in, &s->loop->out);
        in = str_from(in, step.taken);
        more = act(s, &step);
        if (mistakes(s) > before)
            limits_failed(s, mistakes(s) - before);
    } while (more);
    return (struct converse_result){
        .closing = step.want == SMTP_WANT_CLOSE,
        .quit = step.want == SMTP_WANT_CLOSE && smtp_server_quit(&s->smtp) && in.n == 0 && !s->kept,
        .securing = s->phase == SESSION_SECURING,
        .rest = in,
    };
}
