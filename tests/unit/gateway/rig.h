#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gateway/gateway.h"
#include "spool/disk.h"

/*
 * A whole gateway room on one loop, turned by the test: real sockets on loopback, a real spool in a
 * folder of its own, and a disk that can be told to fail.
 */

struct failing_disk {
    struct disk disk;
    _Atomic int fail_writes; /* errno for every write of the log; 0: none */
    _Atomic bool wait;       /* before every write */
};

struct rig {
    char directory[64];
    struct net_loop *loop;
    struct gateway *gateway;
    struct gateway_loop *gateway_loop;
    struct gateway_listener *listener;
    struct spool *spool;
    struct failing_disk disk;
    struct spool_message *committed; /* the last one */
    _Atomic unsigned committed_count;
};

/* Settings from a document, with the rig's listener, and a turn. */
void rig_publish(struct rig *r, const char *document);
void rig_publish_on(struct rig *r, const char *document, struct gateway_listener *listener);

/* For cmocka: with plenty of memory, enough for one transaction, enough while it is tight. */
int rig_set_up(void **state);
int rig_set_up_narrow(void **state);
int rig_set_up_tight(void **state);
int rig_tear_down(void **state);

#define PROMISE(fn) cmocka_unit_test_setup_teardown(fn, rig_set_up, rig_tear_down)

/* ---- a client ---- */

int rig_dial(struct rig *r);
int rig_greeted(struct rig *r); /* … and has said EHLO */
int rig_at_data(struct rig *r); /* … and was answered 354 */

void rig_say(struct rig *r, int fd, const char *octets, size_t n);

/* Turns the loop until a whole reply is there or the gateway has closed: "". Valid until the next.
 */
const char *rig_hear(struct rig *r, int fd);
void rig_expect(struct rig *r, int fd, const char *start);
void rig_ask(struct rig *r, int fd, const char *line, const char *start);

uint64_t rig_sessions(struct rig *r);
