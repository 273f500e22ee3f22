#include "spool/sweep.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spool/file.h"
#include "spool/internal.h"

static int by_id(const void *a, const void *b)
{
    const struct sweep_file *x = a, *y = b;

    return x->id < y->id ? -1 : x->id > y->id;
}

static bool parse_name(const char *name, uint64_t *id)
{
    char again[FILE_NAME_SIZE];

    *id = strtoull(name, NULL, 16);
    spool_file_name(*id, ".eml", again);
    return strcmp(name, again) == 0;
}

static bool is_unfinished(const char *name)
{
    size_t n = strlen(name);

    return n >= 4 && strcmp(name + n - 4, ".new") == 0;
}

static void remove_file(struct sweep *w, const char *name)
{
    struct spool *s = w->spool;
    int r = s->disk->unlink(s->disk, s->large, name);

    if (r < 0 && r != -ENOENT && w->error == 0)
        w->error = r;
}

static int list_one(void *ctx, const char *name)
{
    struct sweep *w = ctx;
    uint64_t id;

    if (!parse_name(name, &id)) {
        if (is_unfinished(name) && !w->spool->config.read_only)
            remove_file(w, name);
        return 0;
    }
    if (w->count == w->room) {
        uint64_t room = w->room ? 2 * w->room : 64;
        struct sweep_file *bigger = realloc(w->files, room * sizeof *bigger);

        if (!bigger)
            return -ENOMEM;
        w->files = bigger;
        w->room = room;
    }
    w->files[w->count++] = (struct sweep_file){ .id = id };
    return 0;
}

void sweep_begin(struct sweep *w, struct spool *s)
{
    int r;

    *w = (struct sweep){ .spool = s };
    r = s->disk->list(s->disk, s->large, list_one, w);
    w->listed = r == 0;
    if (r)
        w->error = r;
    if (w->count)
        qsort(w->files, w->count, sizeof *w->files, by_id);
}

bool sweep_claim(struct sweep *w, uint64_t id)
{
    struct sweep_file key = { .id = id }, *found = NULL;

    if (w->count)
        found = bsearch(&key, w->files, w->count, sizeof key, by_id);
    if (found)
        found->claimed = true;
    return found || !w->listed;
}

void sweep_end(struct sweep *w)
{
    char name[FILE_NAME_SIZE];

    if (!w->listed || w->keep || w->spool->config.read_only)
        return;
    for (uint64_t i = 0; i < w->count; i++) {
        if (w->files[i].claimed)
            continue;
        spool_file_name(w->files[i].id, ".eml", name);
        remove_file(w, name);
    }
}

void sweep_done(struct sweep *w)
{
    free(w->files);
    *w = (struct sweep){ .spool = NULL };
}
