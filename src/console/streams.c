/*
 * console/streams: streams of events end with the session or token that asked for them.
 *
 * As long as there are any, a worker looks at the accounts once a second; then the loop hangs up
 * those of whom nobody would be let in any more with what they came with, or with another role.
 */
#include <string.h>

#include "base/log.h"
#include "console/passing.h"

enum { STREAMS_MAX = 64, STREAMS_OF_ONE_MAX = 12, LOOK_EVERY_MS = 1000 };

static void look_job(struct http_task *t)
{
    struct streams *s = PT_CONTAINER_OF(t, struct streams, task);
    struct console *c = PT_CONTAINER_OF(s, struct console, streams);

    PT_IGNORE(console_refresh(c), "logged; what was known of them still holds");
    net_loop_post(c->loop, &s->mail);
}

static void on_looked(struct mail *mail)
{
    struct streams *s = PT_CONTAINER_OF(mail, struct streams, mail);
    struct passing *next;

    s->looking = false;
    for (struct passing *p = s->first; p; p = next) {
        next = p->next;
        if (!who_is_still(p->x, &p->who))
            http_exchange_hang_up(p->x);
    }
    if (s->first)
        net_timer_start(&s->timer, LOOK_EVERY_MS * 1000000LL);
}

static void on_timer(struct net_timer *t)
{
    struct streams *s = PT_CONTAINER_OF(t, struct streams, timer);
    struct console *c = PT_CONTAINER_OF(s, struct console, streams);

    s->task.run = look_job;
    s->looking = http_work_add(c->work, &s->task);
    if (!s->looking)
        net_timer_start(t, LOOK_EVERY_MS * 1000000LL);
}

void streams_init(struct console *c)
{
    c->streams.mail.run = on_looked;
    net_timer_init(&c->streams.timer, c->loop, on_timer);
}

void streams_stop(struct console *c)
{
    while (c->streams.first)
        http_exchange_hang_up(c->streams.first->x);
    if (c->streams.timer.loop)
        net_timer_stop(&c->streams.timer);
}

bool streams_add(struct passing *p)
{
    struct streams *s = &console_of(p->x)->streams;
    unsigned own = 0;

    for (struct passing *q = s->first; q; q = q->next)
        own += strcmp(q->who.name, p->who.name) == 0;
    if (s->count == STREAMS_MAX || own == STREAMS_OF_ONE_MAX) {
        http_header_add(p->x, "Retry-After", "30");
        http_problem(p->x, 503, "Too many streams of events are open.");
        return false;
    }
    p->streaming = true;
    p->prev = NULL;
    p->next = s->first;
    if (p->next)
        p->next->prev = p;
    s->first = p;
    s->count++;
    if (s->count == 1 && !s->looking)
        net_timer_start(&s->timer, LOOK_EVERY_MS * 1000000LL);
    return true;
}

void streams_remove(struct passing *p)
{
    struct streams *s;

    if (!p->streaming)
        return;
    s = &console_of(p->x)->streams;
    *(p->prev ? &p->prev->next : &s->first) = p->next;
    if (p->next)
        p->next->prev = p->prev;
    s->count--;
    p->streaming = false;
}
