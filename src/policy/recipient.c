/*
 * message_rules.recipient_check: a recipient in a relay domain is asked about at its next hop. Its
 * answer is a fact; until it is there the verdict says that it is to be asked.
 *
 * Asked last, of whoever may send there, since who knows the recipients is the next hop alone. The
 * entry "*" does not count: those domains are nobody's own, and their hosts not ours to question.
 */
#include "policy/question.h"

enum { WORDS_MAX = 120 };

static const struct smtp_reply untold = QUESTION_REFUSAL(
    451, 4, 4, 1, "The recipient cannot be checked at its next hop now, try again later");

const char *question_recipient_text(uint64_t said)
{
    static const char *const texts[] = {
        [0] = "its next hop is asked",
        [POLICY_RECIPIENT_TAKEN] = "its next hop takes it",
        [POLICY_RECIPIENT_REFUSED] = "its next hop does not take it",
        [POLICY_RECIPIENT_UNTOLD] = "its next hop cannot tell now",
    };

    return said < PT_ARRAY_LEN(texts) ? texts[said] : "";
}

/* The next hop's words behind `text`: printable ASCII, no enhanced status of its own, and nothing
 * that could pass for our reference. */
static size_t add_words(char *text, size_t n, const char *words)
{
    size_t skip = strspn(words, "0123456789.");

    if (skip >= 5 && words[skip] == ' ')
        words += skip + 1;
    for (size_t i = 0; words[i] && i < WORDS_MAX; i++) {
        char c = words[i];

        text[n++] = c == '[' ? '(' : c == ']' ? ')' : c >= 0x20 && c < 0x7F ? c : '?';
    }
    return n;
}

static void refuse(struct question *q, struct policy_step step, const struct policy_recipient *a)
{
    static const char before[] = "The next hop does not take this recipient: ";
    char text[sizeof before + WORDS_MAX];
    struct smtp_reply reply = { 550, { 5, 1, 1 }, { text, 0 } };

    memcpy(text, before, sizeof before);
    reply.text.n = a->words[0] ? add_words(text, sizeof before - 1, a->words) : sizeof before - 3;
    question_block(q, step, POLICY_REFUSE, &reply);
}

/* Whoever may send there has been told so, up to now. */
static void reopen(struct question *q)
{
    struct policy_verdict *v = q->v;

    q->settled = false;
    for (uint32_t i = 0; i < v->step_count; i++)
        if (v->steps[i].outcome == POLICY_SETTLED && v->steps[i].decisive) {
            v->steps[i].outcome = POLICY_PASS;
            v->steps[i].decisive = false;
        }
}

void question_recipient(struct question *q, struct str domain)
{
    const struct settings *s = q->snap->settings;
    const struct policy_recipient *a = q->facts->answer;
    struct policy_step step = {
        .rule = POLICY_RULE_RECIPIENT_CHECK,
        .list = POLICY_LIST_RELAY_DOMAINS,
        .entry = domain.n ? settings_relay_domain(s, domain) : POLICY_NO_ENTRY,
        .value = a ? a->said : 0,
        .limit = s->message_rules.recipient_check,
    };

    if (q->v->action != POLICY_ACCEPT && !q->v->explain)
        return;
    if (step.entry == POLICY_NO_ENTRY ||
        strcmp(settings_list_pattern(s->message_rules.relay_domains, step.entry), "*") == 0)
        return;
    if (!a)
        q->v->asks |= POLICY_ASK_RECIPIENT;
    if (a && a->said != POLICY_RECIPIENT_TAKEN && step.limit == SETTINGS_LIMIT_SHADOW) {
        bool settled = q->settled;

        q->settled = false; /* it is the watched rule that counts here */
        question_shadow(q, step);
        q->settled = settled;
        return;
    }
    reopen(q);
    if (!a || a->said == POLICY_RECIPIENT_TAKEN)
        question_settle(q, step);
    else if (a->said == POLICY_RECIPIENT_REFUSED)
        refuse(q, step, a);
    else
        question_block(q, step, POLICY_REFUSE, &untold);
}
