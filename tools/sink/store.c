#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static bool make_folder(const char *path)
{
    if (mkdir(path, 0750) == 0 || errno == EEXIST)
        return true;
    fprintf(stderr, "postern-sink: cannot make %s: %s\n", path, strerrordesc_np(errno));
    return false;
}

bool store_prepare(const char *folder)
{
    static const char parts[][4] = { "tmp", "new", "cur" };

    if (!make_folder(folder))
        return false;
    for (int i = 0; i < 3; i++) {
        char path[4096];

        snprintf(path, sizeof path, "%s/%s", folder, parts[i]);
        if (!make_folder(path))
            return false;
    }
    return true;
}

static void path_of(const struct store_file *file, const char *folder, const char *part,
                    char out[4096])
{
    snprintf(out, 4096, "%s/%s/%s", folder, part, file->name);
}

bool store_begin(struct store_file *file, const char *folder)
{
    static uint64_t number;
    char path[4096];

    snprintf(file->name, sizeof file->name, "%lld.P%ldQ%llu.sink", (long long)time(NULL),
             (long)getpid(), (unsigned long long)number++);
    path_of(file, folder, "tmp", path);
    file->f = fopen(path, "wbx");
    return file->f != NULL;
}

bool store_add(struct store_file *file, const char *octets, size_t n)
{
    return fwrite(octets, 1, n, file->f) == n;
}

bool store_end(struct store_file *file, const char *folder)
{
    char from[4096], to[4096];
    bool whole = fclose(file->f) == 0;

    file->f = NULL;
    path_of(file, folder, "tmp", from);
    path_of(file, folder, "new", to);
    return whole && rename(from, to) == 0;
}

void store_abandon(struct store_file *file, const char *folder)
{
    char path[4096];

    if (!file->f)
        return;
    fclose(file->f);
    file->f = NULL;
    path_of(file, folder, "tmp", path);
    unlink(path);
}
