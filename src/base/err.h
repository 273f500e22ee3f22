#pragma once
#include "base/defs.h"

/*
 * base/err: what the world can do to us.
 *
 * Functions that the disk, the network, memory or a person can make fail return `enum pt_err`;
 * callers that need to tell somebody why pass a `struct pt_fault`. Library rooms return errors,
 * the edges (gateway, relay, api, daemon, cli) log or show them, once. A bug of ours is no error:
 * see pt_assert(). An answer to an SMTP peer is no error either: see smtp/reply.h.
 */

#define PT_ERR_LIST(X)                                                                             \
    X(OK, "done", 0)                                                                               \
    X(AGAIN, "try again later", 1)                                                                 \
    X(NOMEM, "out of memory", 1)                                                                   \
    X(NOSPACE, "no space left on the disk", 1)                                                     \
    X(IO, "input or output error", 1)                                                              \
    X(CORRUPT, "stored data is damaged", 0)                                                        \
    X(NOTFOUND, "not found", 0)                                                                    \
    X(EXISTS, "already there", 0)                                                                  \
    X(INVALID, "not valid", 0)                                                                     \
    X(TOOBIG, "too big", 0)                                                                        \
    X(CLOSED, "closed", 1)                                                                         \
    X(BUSY, "in use by another process", 1)                                                        \
    X(TIMEOUT, "timed out", 1)                                                                     \
    X(DENIED, "not allowed", 0)                                                                    \
    X(CONFLICT, "changed meanwhile", 0)

enum pt_err {
#define PT_ERR_ENUM(name, text, retry) PT_ERR_##name,
    PT_ERR_LIST(PT_ERR_ENUM)
#undef PT_ERR_ENUM
};

/* A short text, never NULL. */
const char *pt_err_text(enum pt_err err);

/* 1 when the same call may succeed later without anybody mending anything of ours. */
int pt_err_may_retry(enum pt_err err);

/* The error for a failed system call's errno. */
enum pt_err pt_err_from_errno(int sys_errno);

/* Says why something failed: what and where, in one line for a person. */
struct pt_fault {
    enum pt_err err;
    int sys_errno; /* 0 where no system call failed */
    char text[240];
};

/* Fills `fault` (which may be NULL) and returns `err`, so that "return pt_fault_set(...)" reads
 * well. The text is cut if too long. */
enum pt_err pt_fault_set(struct pt_fault *fault, enum pt_err err, const char *fmt, ...)
    PT_PRINTF(3, 4);

/* The same for a failed system call: the error comes from `sys_errno`, whose text is added. */
enum pt_err pt_fault_errno(struct pt_fault *fault, int sys_errno, const char *fmt, ...)
    PT_PRINTF(3, 4);
