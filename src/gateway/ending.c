#include <stdlib.h>

#include "base/log.h"
#include "gateway/asking.h"
#include "gateway/converse.h"
#include "gateway/loop.h"
#include "gateway/replies.h"
#include "gateway/secure.h"
#include "gateway/session.h"
#include "gateway/transaction.h"

/*
 * Why a session ends that its client would go on with: rules, patience, an administrator, the end.
 *
 * What has to wait is put off by smtp_server_end(); the machine then says it in answer to a
 * command.
 */
enum { LAST_WORDS_S = 60 }; /* for reading our last reply */

/* ---- rules ---- */

static void log_not_permitted(const struct session *s, const struct policy_verdict *v)
{
    char client[NET_ENDPOINT_SIZE], ref[POLICY_REF_SIZE], entry[SETTINGS_ENTRY_SIZE];
    struct log_line line;

    net_endpoint_format(&s->client, client);
    policy_ref_format(s->loop->next_ref, ref);
    log_begin(&line, LOG_INFO, "refused");
    log_cstr(&line, "client", client);
    log_str(&line, "helo", smtp_server_helo(&s->smtp));
    log_cstr(&line, "rule", policy_rule_name(v->rule));
    log_cstr(&line, "entry", policy_entry_text(s->loop->snapshot, v->list, v->entry, entry));
    log_u64(&line, "code", v->reply.code);
    log_cstr(&line, "ref", ref);
    log_end(&line);
}

/* The words must last until the client's next command. */
static const struct smtp_reply *farewell(struct session *s, const struct policy_verdict *v)
{
    struct session_farewell *f = malloc(sizeof *f);

    if (!f)
        return &reply_not_permitted;
    memcpy(f->text, v->reply.text.p, v->reply.text.n);
    f->reply = v->reply;
    f->reply.text.p = f->text;
    s->farewell = f;
    return &f->reply;
}

static void no_longer_permitted(struct session *s, const struct policy_verdict *v)
{
    log_not_permitted(s, v);
    record_refusal(s->loop, &(struct record_refusal){ .client = &s->client,
                                                      .session = s,
                                                      .snapshot = s->loop->snapshot,
                                                      .verdict = v,
                                                      .reply = &v->reply });
    s->ending = SESSION_NOT_PERMITTED;
    s->how = "not permitted any more";
    if (smtp_server_end(&s->smtp, &s->loop->out, farewell(s, v), SMTP_WHEN_AFTER))
        session_say_and_close(s);
}

static void permitted_again(struct session *s)
{
    smtp_server_go_on(&s->smtp);
    s->ending = SESSION_GOES_ON;
    s->how = NULL;
    free(s->farewell);
    s->farewell = NULL;
}

void session_settings_changed(struct session *s)
{
    struct policy_verdict v;
    bool permitted;

    smtp_server_set_config(&s->smtp, &s->loop->config);
    if (s->phase == SESSION_CLOSING || s->ending > SESSION_NOT_PERMITTED)
        return;
    permitted = converse_still_permitted(s, &v);
    if (s->phase == SESSION_SECURING) {
        if (!permitted)
            secure_hurry(s);
        return;
    }
    if (permitted && s->ending == SESSION_NOT_PERMITTED)
        permitted_again(s);
    else if (!permitted && s->ending == SESSION_GOES_ON)
        no_longer_permitted(s, &v);
}

/* ---- patience ---- */

static void check_patience(struct session *s, int64_t now_ns)
{
    const struct settings *settings = policy_snapshot_settings(s->loop->snapshot);
    int64_t idle_ns = settings->interface.idle_timeout_minutes * INT64_C(60000000000);
    enum patience_verdict verdict;

    if (secure_under_way(s)) { /* which has a limit of its own */
        patience_pause(&s->patience, now_ns);
        return;
    }
    if (s->phase == SESSION_CLOSING)
        idle_ns = PT_MIN(idle_ns, LAST_WORDS_S * INT64_C(1000000000));
    verdict = patience_check(&s->patience, idle_ns, now_ns);
    if (verdict == PATIENCE_LEFT)
        return;
    if (s->phase != SESSION_CLOSING)
        s->how = verdict == PATIENCE_SILENT ? "silent for too long" : "too slow";
    if (s->phase == SESSION_CLOSING || s->unsent) {
        session_fail(s);
        return;
    }
    smtp_server_timeout(&s->smtp, &s->loop->out);
    session_say_and_close(s);
}

void session_sweep(struct session *s, int64_t now_ns)
{
    if (s->transaction && s->phase == SESSION_OPEN && gateway_memory_is_tight(s->loop->gateway))
        transaction_relieve(s->transaction);
    if (s->phase == SESSION_ASKING && asking_gives_up(s->asking, now_ns))
        session_asked(s);
    else
        check_patience(s, now_ns);
}

/* ---- an administrator, the end ---- */

/* Says it at once, or with the next command. True: the session is gone, or about to be. */
static bool end_with(struct session *s, const struct smtp_reply *reply)
{
    bool over = smtp_server_end(&s->smtp, &s->loop->out, reply, SMTP_WHEN_IDLE);

    if (over)
        session_say_and_close(s);
    return over;
}

bool session_disconnect(struct session *s, bool now)
{
    if (s->phase == SESSION_CLOSING) {
        if (now)
            session_close(s);
        return true;
    }
    s->ending = PT_MAX(s->ending, SESSION_DISCONNECTED);
    s->how = "disconnected by an administrator";
    if (now && secure_under_way(s)) {
        secure_hurry(s);
        return true;
    }
    if (now && s->unsent) { /* it does not read */
        session_fail(s);
        return true;
    }
    if (now && s->phase == SESSION_OPEN) {
        smtp_server_break_off(&s->smtp, &s->loop->out, &reply_disconnected);
        session_say_and_close(s);
        return true;
    }
    if (s->phase == SESSION_OPEN)
        return end_with(s, &reply_disconnected);
    PT_IGNORE(smtp_server_end(&s->smtp, &s->loop->out, &reply_disconnected, SMTP_WHEN_IDLE),
              "what is under way comes first");
    return false;
}

void session_shut_down(struct session *s, bool at_once)
{
    if (secure_under_way(s)) {
        if (at_once)
            secure_hurry(s);
        return;
    }
    if (at_once) {
        session_close(s);
        return;
    }
    if (s->phase == SESSION_CLOSING)
        return;
    s->ending = SESSION_SHUT_DOWN;
    if (s->phase == SESSION_OPEN)
        end_with(s, &reply_shutting_down);
    else
        PT_IGNORE(smtp_server_end(&s->smtp, &s->loop->out, &reply_shutting_down, SMTP_WHEN_IDLE),
                  "not idle: it ends with the next command");
}

/* ---- what it is doing ---- */

const char *session_doing(const struct session *s)
{
    switch ((enum session_phase)s->phase) {
    case SESSION_COMMITTING:
        return "waiting for the message to be stored";
    case SESSION_ASKING:
        return asking_is_about_recipient(s->asking) ? "waiting for the next hop"
                                                    : "waiting for the DNS";
    case SESSION_BEHIND:
        return "waiting for the disk";
    case SESSION_SECURING:
        return "starting TLS";
    case SESSION_CLOSING:
        return "closing";
    case SESSION_OPEN:
        break;
    }
    if (s->unsent)
        return "waiting for the client to read replies";
    if (s->transaction && !smtp_server_in_content(&s->smtp))
        return "waiting for a command of the transaction";
    return smtp_server_doing(&s->smtp);
}
