#pragma once
#include <stdbool.h>

#include "base/buf.h"
#include "smtp/client.h"

/*
 * smtp/client_command: what a next hop offers, and commands in its terms.
 *
 * Private to the client machine. Pure.
 */

/* Takes one line of the reply to EHLO, the greeting line left out. Unknown keywords are skipped. */
void client_peer_line(struct smtp_client_peer *peer, struct str line);

/*
 * Decides what can be told without asking: sets all results of the message to PENDING, and to their
 * result those of recipients that this peer cannot be given (see smtp_client_message).
 * Returns how many are left pending.
 */
uint32_t client_message_check(struct smtp_client_message *m, const struct smtp_client_peer *peer);

void client_mail_write(struct buf *out, const struct smtp_client_message *m,
                       const struct smtp_client_peer *peer);
void client_rcpt_write(struct buf *out, const struct smtp_rcpt *rcpt,
                       const struct smtp_client_peer *peer);
