#include "base/mailbox.h"

#include <poll.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool mailbox_init(struct mailbox *box)
{
    atomic_init(&box->head, NULL);
    box->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    return box->fd >= 0;
}

void mailbox_done(struct mailbox *box)
{
    if (box->fd >= 0)
        close(box->fd);
    box->fd = -1;
}

void mailbox_wake(struct mailbox *box)
{
    uint64_t one = 1;

    PT_IGNORE(write(box->fd, &one, sizeof one) < 0, "a full counter wakes as well");
}

void mailbox_post(struct mailbox *box, struct mail *mail)
{
    struct mail *head = atomic_load_explicit(&box->head, memory_order_relaxed);

    do {
        mail->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&box->head, &head, mail, memory_order_release,
                                                    memory_order_relaxed));
    if (!head)
        mailbox_wake(box);
}

unsigned mailbox_drain(struct mailbox *box)
{
    struct mail *mail, *oldest = NULL;
    uint64_t count;
    unsigned n = 0;

    PT_IGNORE(read(box->fd, &count, sizeof count) < 0, "nothing to read is fine");
    mail = atomic_exchange_explicit(&box->head, NULL, memory_order_acquire);
    while (mail) {
        struct mail *next = mail->next;

        mail->next = oldest;
        oldest = mail;
        mail = next;
    }
    while (oldest) {
        struct mail *next = oldest->next; /* run() may free or post the mail again */

        oldest->run(oldest);
        oldest = next;
        n++;
    }
    return n;
}

void mailbox_wait(struct mailbox *box, int timeout_ms)
{
    struct pollfd p = { .fd = box->fd, .events = POLLIN };

    if (atomic_load_explicit(&box->head, memory_order_relaxed))
        return;
    PT_IGNORE(poll(&p, 1, timeout_ms) < 0, "an interrupted wait is a short one");
}
