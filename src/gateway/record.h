#pragma once
#include "net/addr.h"
#include "policy/policy.h"
#include "smtp/reply.h"
#include "tracking/tracking.h"

/*
 * gateway/record: what a loop tells tracking of refusals and of clients, and the references that
 * lead there. Within the room only; the loop's thread.
 *
 * A reference belongs to one refusal: it is shown, logged, recorded, and then used up.
 */

struct gateway_loop;
struct session;

void record_init(struct gateway_loop *l); /* `l` has its gateway and its loop */
void record_done(struct gateway_loop *l);

/* A refusal, as the client gets it. */
struct record_refusal {
    const struct net_endpoint *client;
    const struct session *session;          /* NULL: the client has only connected */
    const struct policy_snapshot *snapshot; /* that decided */
    const struct policy_verdict *verdict;   /* NULL: it was not policy … */
    const char *step;                       /* … but this, in words */
    const struct smtp_reply *reply;         /* with the reference */
    const char *command;                    /* "MAIL"; NULL: none in particular */
    struct str sender, recipient;           /* .p NULL: not known */
};

/* Records it under the loop's reference, which is used up. */
void record_refusal(struct gateway_loop *l, const struct record_refusal *r);

/* A reply with the loop's reference at its end. */
struct record_words {
    struct smtp_reply reply;
    char text[POLICY_TEXT_MAX];
};
const struct smtp_reply *record_words(const struct gateway_loop *l, const struct smtp_reply *reply,
                                      struct record_words *room);

/* ---- what clients do ---- */

void record_connected(struct gateway_loop *l, const struct net_addr *client);
void record_helo(const struct session *s);
void record_mail(const struct session *s, struct str reverse_path);
void record_rcpt(const struct session *s, struct str address);
void record_message(const struct session *s, uint64_t size, uint32_t recipients);
