#include "gateway/converse.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/msgid.h"
#include "gateway/asking.h"
#include "gateway/limits.h"
#include "gateway/loop.h"
#include "gateway/record.h"
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
        .tls_lacking = !s->loop->tls,
        .ref = s->loop->next_ref,
    };
}

static void drop_transaction(struct session *s)
{
    transaction_abandon(s->transaction);
    s->transaction = NULL;
}

/* What was refused. */
struct refused {
    const char *command, *what; /* of what `address` is, in the log */
    struct str address, sender, recipient;
    const struct policy_snapshot *snapshot; /* that decided */
    const struct policy_verdict *verdict;   /* NULL: policy had nothing against it … */
    const char *step;                       /* … but something was short */
};

static void log_rejected(const struct session *s, const struct refused *r,
                         const struct smtp_reply *reply)
{
    char client[NET_ENDPOINT_SIZE], ref[POLICY_REF_SIZE];
    struct log_line line;

    net_endpoint_format(&s->client, client);
    policy_ref_format(s->loop->next_ref, ref);
    log_begin(&line, LOG_INFO, "rejected");
    log_cstr(&line, "client", client);
    log_str(&line, "helo", smtp_server_helo(&s->smtp));
    log_str(&line, r->what, r->address);
    log_cstr(&line, "rule", r->verdict ? policy_rule_name(r->verdict->rule) : r->step);
    log_u64(&line, "code", reply->code);
    log_str(&line, "reply", reply->text);
    log_cstr(&line, "ref", ref);
    log_end(&line);
}

/* Logs and records it; the reference in `reply` is used up. */
static void note(struct session *s, const struct refused *r, const struct smtp_reply *reply)
{
    log_rejected(s, r, reply);
    record_refusal(s->loop, &(struct record_refusal){ .client = &s->client,
                                                      .session = s,
                                                      .snapshot = r->snapshot,
                                                      .verdict = r->verdict,
                                                      .step = r->step,
                                                      .reply = reply,
                                                      .command = r->command,
                                                      .sender = r->sender,
                                                      .recipient = r->recipient });
}

/* Answers with what policy says, or with a reply of our own. */
static void refuse(struct session *s, const struct refused *r, const struct smtp_reply *reply)
{
    struct record_words words;

    reply = r->verdict ? &r->verdict->reply : record_words(s->loop, reply, &words);
    note(s, r, reply);
    answer(s, reply);
}

/* A transaction that something of ours was too short for. */
static void refuse_message(struct session *s, const char *command, const char *step,
                           const struct smtp_reply *reply)
{
    struct str sender = s->transaction->message->reverse_path;

    refuse(s,
           &(struct refused){ .command = command,
                              .what = "reverse_path",
                              .address = sender,
                              .sender = sender,
                              .step = step },
           reply);
}

/* ---- the commands ---- */

/* Answers MAIL with the verdict of `snapshot`. */
static void answer_mail(struct session *s, const struct policy_snapshot *snapshot,
                        const struct policy_facts *facts, const struct policy_verdict *v)
{
    struct refused r = { .command = "MAIL", .what = "reverse_path", .step = "memory" };

    limits_note(s->loop, facts, v);
    r.address = r.sender = facts->sender;
    if (v->action != POLICY_ACCEPT) {
        r.verdict = v;
        r.snapshot = snapshot;
        refuse(s, &r, NULL);
        return;
    }
    /* A message under way elsewhere must be able to end: new ones wait first. */
    if (!atomic_load_explicit(&s->loop->gateway->memory_short, memory_order_relaxed))
        s->transaction = transaction_new(s, &s->smtp.asked.mail);
    if (s->transaction)
        answer(s, NULL);
    else
        refuse(s, &r, &reply_memory);
    if (!smtp_server_in_transaction(&s->smtp))
        drop_transaction(s); /* the machine does not begin one in clear where TLS is required */
}

/* Where the verdict hangs on the DNS, which is asked, the answer comes later. */
static void on_mail(struct session *s)
{
    struct policy_facts facts = facts_of(s);
    struct limits_facts room;
    struct policy_verdict v;

    facts.messages = s->messages;
    facts.data = s->data;
    facts.size = s->smtp.asked.mail.size;
    facts.sender = s->smtp.asked.mail.reverse_path;
    facts.helo_dns = s->known ? POLICY_DNS_FOUND : POLICY_DNS_NOT_ASKED;
    record_mail(s, facts.sender);
    limits_count(s, ACCESS_MESSAGES, &facts, &room);
    policy_verdict_init(&v, false);
    policy_mail(s->loop->snapshot, &facts, &v);
    if (v.action == POLICY_ACCEPT && v.asks) {
        if (!asking_known(s, &facts, v.asks)) {
            if (asking_begin(s, &facts, v.asks)) {
                s->phase = SESSION_ASKING;
                return;
            }
            facts.helo_dns = s->known ? POLICY_DNS_FOUND : POLICY_DNS_UNTOLD;
            facts.sender_dns = POLICY_DNS_UNTOLD;
        }
        s->known = facts.helo_dns == POLICY_DNS_FOUND;
        policy_mail(s->loop->snapshot, &facts, &v);
    }
    answer_mail(s, s->loop->snapshot, &facts, &v);
}

/* Answers RCPT with a verdict. */
static void answer_rcpt(struct session *s, const struct policy_facts *facts,
                        const struct policy_verdict *v)
{
    struct transaction *t = s->transaction;
    struct refused r = { .command = "RCPT",
                         .what = "recipient",
                         .step = "memory",
                         .sender = facts->sender,
                         .address = facts->recipient,
                         .recipient = facts->recipient };

    limits_note(s->loop, facts, v);
    if (v->action != POLICY_ACCEPT) {
        r.verdict = v;
        r.snapshot = t->snapshot;
        refuse(s, &r, NULL);
        return;
    }
    if (!transaction_add_recipient(t, &s->smtp.asked.rcpt)) {
        refuse(s, &r, &reply_memory);
        return;
    }
    smtp_server_limit_size(&s->smtp, policy_route_size(t->snapshot, facts->recipient));
    answer(s, NULL);
}

/* Where the verdict hangs on the next hop, which is asked, the answer comes later. */
static void on_rcpt(struct session *s)
{
    struct policy_facts facts = facts_of(s);
    struct transaction *t = s->transaction;
    struct policy_recipient said = { .said = POLICY_RECIPIENT_UNTOLD };
    struct limits_facts room;
    struct policy_verdict v;

    facts.recipients = t->message->recipient_count;
    facts.size = t->announced;
    facts.sender = t->message->reverse_path;
    facts.recipient = s->smtp.asked.rcpt.address;
    record_rcpt(s, facts.recipient);
    limits_count(s, ACCESS_RECIPIENTS, &facts, &room);
    policy_verdict_init(&v, false);
    policy_rcpt(t->snapshot, &facts, &v);
    if (v.action == POLICY_ACCEPT && v.asks) {
        if (asking_recipient(s, t->snapshot, &facts, &said)) {
            s->phase = SESSION_ASKING;
            return;
        }
        facts.recipient = s->smtp.asked.rcpt.address; /* it may be held elsewhere now */
        policy_rcpt(t->snapshot, &facts, &v);
    }
    answer_rcpt(s, &facts, &v);
}

static const char *step_for(enum pt_err err)
{
    return err == PT_ERR_NOSPACE ? "disk space" : err == PT_ERR_NOMEM ? "memory" : "storage";
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

/* The client is told at the end of what it sends. */
static void fail_content(struct session *s, enum pt_err err)
{
    struct str sender = s->transaction->message->reverse_path;
    struct record_words words;
    const struct smtp_reply *reply = record_words(s->loop, reply_for(err), &words);

    smtp_server_fail_content(&s->smtp, reply);
    note(s,
         &(struct refused){ .command = "DATA",
                            .what = "reverse_path",
                            .address = sender,
                            .sender = sender,
                            .step = step_for(err) },
         reply);
}

static void on_content(struct session *s, struct str content)
{
    struct transaction *t = s->transaction;

    s->data += content.n;
    if (!t || transaction_add_content(t, content)) {
        if (t && transaction_is_behind(t))
            s->phase = SESSION_BEHIND;
        return;
    }
    fail_content(s, t->file_error != PT_ERR_OK ? t->file_error : PT_ERR_NOMEM);
    drop_transaction(s);
}

static void on_complete(struct session *s)
{
    struct transaction *t = s->transaction;

    mime_header_end(&t->header);
    if (t->header.received >= RECEIVED_MAX) {
        GATEWAY_COUNT(s->loop->counters.rejected_messages, 1);
        refuse_message(s, "DATA", "mail loop", &reply_loop);
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
    refuse_message(s, "DATA", "memory", &reply_memory);
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
        refuse_message(s, "DATA", step_for(result), reply_for(result));
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
    record_message(s, m->size, m->recipient_count);
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

/* The machine has refused by itself, with the loop's reference. */
static void note_own(struct session *s, const struct smtp_reply *said)
{
    static const struct {
        const struct smtp_reply *reply;
        const char *command;
        int rule; /* enum policy_rule; -1: `step` */
        const char *step;
    } rows[] = {
        { &smtp_reply_need_tls, NULL, POLICY_RULE_REQUIRED_TLS, NULL },
        { &smtp_reply_tls_lacking, NULL, POLICY_RULE_REQUIRED_TLS, NULL },
        { &smtp_reply_too_many_messages, "MAIL", POLICY_RULE_MAX_MESSAGES, NULL },
        { &smtp_reply_too_large, NULL, POLICY_RULE_MAX_MESSAGE_SIZE, NULL },
        { &smtp_reply_too_many_recipients, "RCPT", POLICY_RULE_MAX_RECIPIENTS, NULL },
        { &smtp_reply_too_many_errors, NULL, -1, "too many errors" },
        { &smtp_reply_too_many_refused, "RCPT", -1, "too many refused recipients" },
    };
    struct refused r = { .what = "command", .step = "limit of the session" };
    struct record_words words;

    for (size_t i = 0; i < PT_ARRAY_LEN(rows); i++)
        if (rows[i].reply == said) {
            r.command = rows[i].command;
            r.step =
                rows[i].rule < 0 ? rows[i].step : policy_rule_name((enum policy_rule)rows[i].rule);
        }
    r.address = str_of(r.command ? r.command : "");
    if (s->transaction)
        r.sender = s->transaction->message->reverse_path;
    note(s, &r, record_words(s->loop, said, &words));
}

/* Does what the machine wants; true as long as it can be fed again at once. */
static bool act(struct session *s, const struct smtp_server_step *step)
{
    if (step->refused)
        note_own(s, step->refused);
    if (step->reset)
        drop_transaction(s);
    switch (step->want) {
    case SMTP_WANT_HELO:
        s->known = false;
        answer(s, NULL);
        record_helo(s);
        return true;
    case SMTP_WANT_MAIL:
        on_mail(s);
        return s->phase == SESSION_OPEN;
    case SMTP_WANT_RCPT:
        on_rcpt(s);
        return s->phase == SESSION_OPEN;
    case SMTP_WANT_DATA:
        if (transaction_begin_content(s->transaction))
            answer(s, NULL);
        else
            refuse_message(s, "DATA", "memory", &reply_memory);
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
        refuse(s,
               &(struct refused){ .command = "STARTTLS",
                                  .what = "command",
                                  .address = STR("STARTTLS"),
                                  .step = "TLS handshakes" },
               &reply_tls_busy);
        return true;
    case SMTP_WANT_MORE:
        return step->refused != NULL;
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

void converse_asked(struct session *s)
{
    const struct asking_facts *known = asking_facts(s->asking);
    struct policy_facts facts = known->facts;
    uint32_t before = mistakes(s);
    struct policy_verdict v;

    facts.ref = s->loop->next_ref; /* others have been refused meanwhile */
    policy_verdict_init(&v, false);
    if (asking_is_about_recipient(s->asking)) {
        policy_rcpt(known->snapshot, &facts, &v);
        answer_rcpt(s, &facts, &v);
    } else {
        s->known = facts.helo_dns == POLICY_DNS_FOUND;
        policy_mail(known->snapshot, &facts, &v);
        answer_mail(s, known->snapshot, &facts, &v);
    }
    if (mistakes(s) > before)
        limits_failed(s, mistakes(s) - before);
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
