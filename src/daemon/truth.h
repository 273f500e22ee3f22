#pragma once
#include <pthread.h>
#include <stdint.h>

#include "api/api.h"

/*
 * daemon/truth: what clients really get from our own listeners, beside what is configured.
 *
 * Something else may answer on our address: a proxy, a firewall's redirection, a gateway that was
 * not told. So we look as a client does: at the SMTP listener once for each kind of key that the
 * certificates in force have, and at the implicit_port. Waits for our own listener, some seconds at
 * most; on a job thread.
 */

struct process;

/* What the status says between two looks. */
struct truth {
    pthread_mutex_t lock;
    int64_t looked_ns; /* monotonic; 0: never */
    uint64_t revision; /* of the settings of then */
    char alarm[240];
};

/* Looks and shows each; the SMTP listener comes first. */
void truth_each(struct process *p, void (*show)(void *user, const struct api_served *served),
                void *user);

/* The first alarm, or "". Looks anew after a minute, or when the settings are others; not at all
 * where no TLS is offered. */
void truth_alarm(struct process *p, char out[240]);
