#pragma once
#include <stdatomic.h>
#include <stdbool.h>

#include "base/defs.h"

/*
 * base/mailbox: hands work from many threads to one.
 *
 * An intrusive list: the sender embeds a `struct mail` and gives it up until the receiver takes it.
 * The receiver sleeps on an eventfd (mailbox_fd(), or mailbox_wait()); it is written only when the
 * box was empty, so a burst costs one wake-up. No order between senders; one sender's mails keep
 * their order.
 */
struct mail {
    struct mail *next;
    void (*run)(struct mail *mail); /* called by mailbox_drain() on the receiving thread */
};

struct mailbox {
    _Atomic(struct mail *) head;
    int fd;
};

/* False when the system has no descriptor left. */
PT_NODISCARD bool mailbox_init(struct mailbox *box);
void mailbox_done(struct mailbox *box);

/* Any thread. Takes the mail until its `run` is called. */
void mailbox_post(struct mailbox *box, struct mail *mail);

/* Any thread. Wakes the receiver with nothing to run. */
void mailbox_wake(struct mailbox *box);

/* The descriptor that is readable when there is something to drain. Receiver only. */
static inline int mailbox_fd(const struct mailbox *box)
{
    return box->fd;
}

/* Runs all mails posted so far, oldest first; returns how many. Receiver only. */
unsigned mailbox_drain(struct mailbox *box);

/* Waits up to `timeout_ms` (-1: for ever) for something to drain. Receiver only. */
void mailbox_wait(struct mailbox *box, int timeout_ms);
