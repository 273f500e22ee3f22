#pragma once
#include "relay/scheduler.h"

/*
 * relay/suspend: destinations that an administrator has suspended.
 *
 * Nothing is handed to one until it is resumed or its time is over; new mail for it is taken and
 * waits, and grows old like any other. A suspension names a destination: by its place alone
 * ("mx:example.com"), whatever a route demands of it today or tomorrow, or in full
 * ("mx:example.com/tls=verify"). One may be there before any mail is. Under the scheduler's lock.
 */

/* What a sender hears of it; the administrator's own reason is not for him. */
#define RELAY_SUSPENDED "4.3.2 delivery is suspended by the administrator of this mail system"

enum { RELAY_SUSPENSIONS_MAX = 1000, RELAY_SUSPENSION_REASON = 256, RELAY_SUSPENSION_NAME = 1024 };

struct relay_suspension {
    struct relay_suspension *next;
    const char *name;
    const char *reason; /* "": none was given */
    const char *by;
    int64_t since_us, until_us; /* until 0: until it is resumed */
    struct relay_dest *dests;   /* those that it keeps, by `suspension_next` */
};

/* Another suspension of the same name is replaced; texts are copied. NOSPACE: there are too many;
 * NOMEM. */
PT_NODISCARD enum pt_err relay_sched_suspend(struct relay_sched *s,
                                             const struct relay_suspension *like);

/* False: there is none of that name. What waited is ready as before. */
bool relay_sched_resume(struct relay_sched *s, struct str name);

const struct relay_suspension *relay_sched_suspension(const struct relay_sched *s, struct str name);

/* Resumes one whose time is over, copying its name; false: there is none. */
bool relay_sched_suspension_over(struct relay_sched *s, int64_t now_us,
                                 char out_name[RELAY_SUSPENSION_NAME]);
