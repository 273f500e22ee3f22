#include "run.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/cli.h"

enum { WORDS_MAX = 32 };

char run_state[256];
static struct run result;

static int external(int argc, char **argv)
{
    printf("external %s with %d words\n", argv[1], argc);
    return 7;
}

/* Sends a stream to a new file; gives the old descriptor. */
static int redirect(FILE *stream, FILE *to)
{
    int old = dup(fileno(stream));

    fflush(stream);
    if (old < 0 || dup2(fileno(to), fileno(stream)) < 0)
        abort();
    return old;
}

static void restore(FILE *stream, int old, FILE *from, char text[RUN_TEXT_MAX])
{
    size_t n;

    fflush(stream);
    if (dup2(old, fileno(stream)) < 0)
        abort();
    close(old);
    rewind(from);
    n = fread(text, 1, RUN_TEXT_MAX - 1, from);
    text[n] = 0;
    fclose(from);
}

static const struct run *run(char **argv, int argc)
{
    static const struct cli_external externals[] = { { "run", external }, { NULL, NULL } };
    FILE *out = tmpfile(), *err = tmpfile();
    int old_out, old_err;

    if (!out || !err)
        abort();
    argv[argc] = NULL;
    old_out = redirect(stdout, out);
    old_err = redirect(stderr, err);
    result.status = cli_main(argc, argv, externals);
    restore(stdout, old_out, out, result.out);
    restore(stderr, old_err, err, result.err);
    return &result;
}

static int gather(char **argv, const char *first, va_list more)
{
    int argc = 0;

    argv[argc++] = (char *)"postern";
    for (const char *word = first; word && argc < WORDS_MAX; word = va_arg(more, const char *))
        argv[argc++] = (char *)word;
    return argc;
}

const struct run *run_plain(const char *first, ...)
{
    char *argv[WORDS_MAX + 1];
    va_list more;
    int argc;

    va_start(more, first);
    argc = gather(argv, first, more);
    va_end(more);
    return run(argv, argc);
}

const struct run *run_words(const char *first, ...)
{
    char *argv[WORDS_MAX + 3];
    va_list more;
    int argc;

    va_start(more, first);
    argc = gather(argv, first, more);
    va_end(more);
    argv[argc++] = (char *)"--state";
    argv[argc++] = run_state;
    return run(argv, argc);
}

void run_has(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("no \"%s\" in:\n%s", part, text);
}

void run_has_not(const char *text, const char *part)
{
    if (strstr(text, part))
        fail_msg("\"%s\" is in:\n%s", part, text);
}

void run_write(const char *name, const char *text)
{
    char path[400];
    char *slash;
    FILE *f;

    snprintf(path, sizeof path, "%s/%s", run_state, name);
    slash = strrchr(path, '/');
    *slash = 0;
    mkdir(path, 0700);
    *slash = '/';
    f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

int run_set_up(void **state)
{
    const char *tmp = getenv("TMPDIR");

    unsetenv("POSTERN_STATE");
    snprintf(run_state, sizeof run_state, "%s/postern-cli-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(run_state) ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    return remove(path);
}

int run_tear_down(void **state)
{
    return nftw(run_state, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}
