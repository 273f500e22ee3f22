#include "base/defs.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static void (*hook_fn)(const char *text);

void pt_panic_hook(void (*hook)(const char *text))
{
    hook_fn = hook;
}

void pt_panic(const char *file, int line, const char *what)
{
    char text[512];
    int n = snprintf(text, sizeof text, "postern: bug at %s:%d: %s\n", file, line, what);

    if (n > 0)
        PT_IGNORE(write(STDERR_FILENO, text, (size_t)PT_MIN(n, (int)sizeof text - 1)) < 0,
                  "about to abort");
    if (hook_fn)
        hook_fn(text);
    abort();
}
