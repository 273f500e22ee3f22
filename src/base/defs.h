#pragma once
#include <stddef.h>

/*
 * base/defs: language tools that every room uses.
 */

#define PT_NODISCARD __attribute__((warn_unused_result))
#define PT_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define PT_NORETURN __attribute__((noreturn))
#define PT_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PT_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PT_MAX(a, b) ((a) > (b) ? (a) : (b))

/* Runs `fn(&variable)` when the variable leaves its scope. For cold code only. */
#define PT_CLEANUP(fn) __attribute__((cleanup(fn)))

/* The structure of which `ptr` points at `member`. */
#define PT_CONTAINER_OF(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))

/* Drops a result on purpose; `why` is for the reader. */
#define PT_IGNORE(expr, why)                                                                       \
    do {                                                                                           \
        if (expr) {                                                                                \
        }                                                                                          \
    } while (0)

/*
 * Checks something only a bug of ours can break, in every build. On failure the panic hook runs
 * (daemon sets one that prints what was going on) and the process aborts; the supervisor starts it
 * again and the spool is the truth. Never use it on anything a peer, a disk or a person can cause.
 */
#define pt_assert(cond)                                                                            \
    do {                                                                                           \
        if (__builtin_expect(!(cond), 0))                                                          \
            pt_panic(__FILE__, __LINE__, #cond);                                                   \
    } while (0)

PT_NORETURN void pt_panic(const char *file, int line, const char *what);

/* Called by pt_panic() before it aborts, with the text of the failed check. At most one hook;
 * set before threads start. */
void pt_panic_hook(void (*hook)(const char *text));
