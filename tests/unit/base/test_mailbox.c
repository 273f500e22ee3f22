#include "base/mailbox.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>

#include "check.h"

struct note {
    struct mail mail;
    unsigned sender, number;
};

enum { SENDERS = 4, EACH = 5000 };

static unsigned seen[SENDERS];
static unsigned total;
static bool out_of_order;

static void receive(struct mail *mail)
{
    struct note *n = PT_CONTAINER_OF(mail, struct note, mail);

    if (n->number != seen[n->sender])
        out_of_order = true;
    seen[n->sender]++;
    total++;
    free(n);
}

static bool readable(const struct mailbox *box)
{
    struct pollfd p = { .fd = mailbox_fd(box), .events = POLLIN };

    return poll(&p, 1, 0) == 1;
}

static void post(struct mailbox *box, unsigned sender, unsigned number)
{
    struct note *n = malloc(sizeof *n);

    assert_non_null(n);
    *n = (struct note){ .mail.run = receive, .sender = sender, .number = number };
    mailbox_post(box, &n->mail);
}

static void reset(void)
{
    memset(seen, 0, sizeof seen);
    total = 0;
    out_of_order = false;
}

static void mails_come_oldest_first_and_once(void **state)
{
    struct mailbox box;

    (void)state;
    reset();
    assert_true(mailbox_init(&box));
    assert_false(readable(&box));
    assert_int_equal(mailbox_drain(&box), 0);
    for (unsigned i = 0; i < 10; i++)
        post(&box, 0, i);
    assert_true(readable(&box));
    assert_int_equal(mailbox_drain(&box), 10);
    assert_int_equal(mailbox_drain(&box), 0);
    assert_false(readable(&box));
    assert_false(out_of_order);
    mailbox_done(&box);
    mailbox_done(&box);
}

/* ---- a mail that posts itself again from its own run() ---- */

static struct mailbox *again_box;
static unsigned again_runs;

static void post_again(struct mail *mail)
{
    if (++again_runs < 3)
        mailbox_post(again_box, mail);
}

static void a_mail_may_be_posted_from_its_own_run(void **state)
{
    struct mail mail = { .run = post_again };
    struct mailbox box;

    (void)state;
    assert_true(mailbox_init(&box));
    again_box = &box;
    again_runs = 0;
    mailbox_post(&box, &mail);
    /* Each drain runs what was posted before it, so that a loop gets to its other work. */
    for (unsigned i = 1; i <= 3; i++) {
        assert_true(readable(&box));
        assert_int_equal(mailbox_drain(&box), 1);
        assert_int_equal(again_runs, i);
    }
    assert_false(readable(&box));
    mailbox_done(&box);
}

static void waking_makes_it_readable_with_nothing_to_run(void **state)
{
    struct mailbox box;

    (void)state;
    assert_true(mailbox_init(&box));
    mailbox_wake(&box);
    mailbox_wake(&box);
    mailbox_wait(&box, -1); /* returns at once */
    assert_int_equal(mailbox_drain(&box), 0);
    assert_false(readable(&box));
    mailbox_wait(&box, 1); /* returns though nothing came */
    mailbox_done(&box);
}

/* ---- many threads ---- */

struct sender {
    struct mailbox *box;
    unsigned number;
};

static void *send_all(void *ctx)
{
    struct sender *s = ctx;

    for (unsigned i = 0; i < EACH; i++)
        post(s->box, s->number, i);
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    struct sender senders[SENDERS];
    pthread_t threads[SENDERS];
    struct mailbox box;

    (void)state;
    reset();
    assert_true(mailbox_init(&box));
    for (unsigned i = 0; i < SENDERS; i++) {
        senders[i] = (struct sender){ &box, i };
        assert_int_equal(pthread_create(&threads[i], NULL, send_all, &senders[i]), 0);
    }
    /* A lost wake-up would leave the receiver waiting here for ever. */
    while (total < SENDERS * EACH) {
        mailbox_wait(&box, -1);
        mailbox_drain(&box);
    }
    for (unsigned i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(total, SENDERS * EACH);
    assert_false(out_of_order);
    assert_int_equal(mailbox_drain(&box), 0);
    mailbox_done(&box);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mails_come_oldest_first_and_once),
        cmocka_unit_test(a_mail_may_be_posted_from_its_own_run),
        cmocka_unit_test(waking_makes_it_readable_with_nothing_to_run),
        cmocka_unit_test(nothing_is_lost_between_threads),
    };

    return cmocka_run_group_tests_name("base/mailbox", tests, NULL, NULL);
}
