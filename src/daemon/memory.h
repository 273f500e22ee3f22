#pragma once
#include <stdint.h>

/*
 * daemon/memory: how much memory the gateway may use, and who gets what of it.
 *
 * The limit is the lowest of: what the control group allows (version 2 or 1, all groups above it
 * too), the resource limits of the process, the memory of the machine. It is looked up at the start
 * and not watched.
 */

enum memory_source { MEMORY_MACHINE, MEMORY_CGROUP, MEMORY_RLIMIT };

struct memory_plan {
    uint64_t limit; /* octets */
    enum memory_source source;
    uint64_t receiving; /* what clients send until it is stored */
    uint64_t cached;    /* content of stored messages, kept for their delivery */
    uint64_t reading;   /* content read back, per loop */
    uint64_t alarm;     /* resident memory from which nothing new is accepted */
};

/* `root` stands before each path that is read; "" outside of tests. */
void memory_plan_make(struct memory_plan *out, const char *root, unsigned loops);

const char *memory_source_name(enum memory_source source);

/* Resident memory of this process in octets; 0: not known. */
uint64_t memory_resident(const char *root);
