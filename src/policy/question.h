#pragma once
#include "policy/policy.h"
#include "policy/snapshot.h"

/*
 * policy/question: what the rules have in common. For this room only.
 *
 * A rule looks at facts, notes a step, and refuses or settles. A rule behind one that has decided
 * is asked only for an explanation, and changes the verdict no more.
 */

struct question {
    const struct policy_snapshot *snap;
    const struct policy_facts *facts;
    struct policy_verdict *v;
    uint8_t stage; /* enum policy_stage */
    bool settled;
    bool exempt; /* from limits */
};

static inline struct question question_begin(const struct policy_snapshot *snap,
                                             const struct policy_facts *facts,
                                             enum policy_stage stage, struct policy_verdict *v)
{
    v->action = POLICY_ACCEPT;
    v->rule = POLICY_RULE_CONNECTION_CONTROL;
    v->list = POLICY_LIST_NONE;
    v->entry = POLICY_NO_ENTRY;
    v->shadow = 0;
    v->asks = 0;
    v->reply = (struct smtp_reply){ 0 };
    return (struct question){ snap, facts, v, (uint8_t)stage, false, false };
}

/* Nothing has decided yet. */
static inline bool question_undecided(const struct question *q)
{
    return !q->settled && q->v->action == POLICY_ACCEPT;
}

/* True while the next rule is to be asked. */
static inline bool question_open(const struct question *q)
{
    return q->v->explain || question_undecided(q);
}

static inline void question_note(struct question *q, const struct policy_step *step)
{
    struct policy_verdict *v = q->v;

    if (!v->explain || v->step_count == POLICY_STEPS_MAX)
        return;
    v->steps[v->step_count] = *step;
    v->steps[v->step_count++].stage = q->stage;
}

static inline void question_name(struct policy_verdict *v, const struct policy_step *step)
{
    v->rule = step->rule;
    v->list = step->list;
    v->entry = step->entry;
}

static inline void question_pass(struct question *q, struct policy_step step)
{
    step.outcome = POLICY_PASS;
    if (step.entry != POLICY_NO_ENTRY && question_undecided(q))
        question_name(q->v, &step);
    question_note(q, &step);
}

static inline void question_settle(struct question *q, struct policy_step step)
{
    step.outcome = POLICY_SETTLED;
    step.decisive = question_undecided(q);
    if (step.decisive)
        question_name(q->v, &step);
    q->settled = true;
    question_note(q, &step);
}

/* Would refuse it, if it were on. */
static inline void question_shadow(struct question *q, struct policy_step step)
{
    step.outcome = POLICY_SHADOW;
    if (question_undecided(q))
        q->v->shadow |= 1u << step.rule;
    question_note(q, &step);
}

/* The reply gets the reference of the decision appended. (policy.c) */
void question_block(struct question *q, struct policy_step step, enum policy_action action,
                    const struct smtp_reply *reply);

/* A constant reply, as an initialiser of static storage. */
#define QUESTION_REFUSAL(code, a, b, c, text)                                                      \
    {                                                                                              \
        code, { a, b, c },                                                                         \
        {                                                                                          \
            text, sizeof(text) - 1                                                                 \
        }                                                                                          \
    }

/* ---- what a client says of itself and its sender (checks.c) ---- */

void question_checks(struct question *q);

/* What a step of theirs has found, in words. */
const char *question_finding_text(uint64_t finding);

/* ---- what the next hop says of a recipient (recipient.c) ---- */

/* Nothing, unless the domain is in a relay domain and something may still be refused. */
void question_recipient(struct question *q, struct str domain);

/* What a step of this rule has found, in words. */
const char *question_recipient_text(uint64_t said);

/* ---- what a client may do (limits.c) ---- */

/* Bans and limits at a stage; where there is nothing to look at they pass without a step. */
void question_limits_connect(struct question *q);
void question_limits_mail(struct question *q);
void question_limits_rcpt(struct question *q);

/* For an explanation, where the ban and the failures were asked at the connection. */
void question_limit(struct question *q, enum settings_limit_of of);
