#include <dirent.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "fuzz.h"

/*
 * Runs a fuzz target once over each file named: the corpus as an ordinary test, with any compiler
 * and any sanitizer. A folder stands for the files in it. What libFuzzer found (a crash-… file) is
 * reproduced the same way.
 */

enum { INPUT_MAX = 16 << 20 };

static unsigned replayed;

/* A copy of exactly the file's size on the heap, so that AddressSanitizer sees one octet beyond. */
static bool replay_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    uint8_t *octets = NULL;
    struct stat st;
    bool ok = false;
    size_t n;

    if (!f || fstat(fileno(f), &st) < 0 || st.st_size > INPUT_MAX)
        goto out;
    n = (size_t)st.st_size;
    octets = malloc(n ? n : 1);
    if (!octets || fread(octets, 1, n, f) != n)
        goto out;
    /* Said before the run, so that a crash names its input. */
    printf("%s\n", path);
    fflush(stdout);
    LLVMFuzzerTestOneInput(octets, n);
    replayed++;
    ok = true;
out:
    if (!ok)
        fprintf(stderr, "cannot read %s\n", path);
    free(octets);
    if (f)
        fclose(f);
    return ok;
}

static int not_hidden(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static bool replay_folder(const char *path)
{
    struct dirent **entries;
    int count = scandir(path, &entries, not_hidden, alphasort);
    bool ok = count >= 0;

    if (!ok)
        fprintf(stderr, "cannot read the folder %s\n", path);
    for (int i = 0; i < count; i++) {
        char file[4096];
        int n = snprintf(file, sizeof file, "%s/%s", path, entries[i]->d_name);

        ok = n > 0 && (size_t)n < sizeof file && replay_file(file) && ok;
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return ok;
}

int main(int argc, char **argv)
{
    bool ok = argc > 1;

    for (int i = 1; i < argc; i++) {
        struct stat st;

        if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
            ok = replay_folder(argv[i]) && ok;
        else
            ok = replay_file(argv[i]) && ok;
    }
    printf("%u inputs replayed\n", replayed);
    /* An empty corpus tests nothing: that is a failure, not a pass. */
    return ok && replayed ? 0 : 1;
}
