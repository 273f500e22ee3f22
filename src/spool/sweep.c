#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "spool/file.h"
#include "spool/internal.h"
#include "spool/replay.h"

/* Large files and messages, held against each other at start. */

struct wanted {
    uint64_t id;      /* of the file */
    uint64_t message; /* its place among the messages */
    bool found;
};

struct sweep {
    struct spool *spool;
    struct wanted *wanted; /* by ID */
    uint64_t count;
    int error; /* of the first removal that failed: the others are still tried */
};

static int by_id(const void *a, const void *b)
{
    const struct wanted *x = a, *y = b;

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

static int sweep_one(void *ctx, const char *name)
{
    struct sweep *w = ctx;
    struct spool *s = w->spool;
    struct wanted key = { 0 }, *found = NULL;
    int r;

    if (parse_name(name, &key.id))
        found = bsearch(&key, w->wanted, w->count, sizeof key, by_id);
    else if (!is_unfinished(name))
        return 0; /* not ours */
    if (found)
        found->found = true;
    if (found || s->config.read_only)
        return 0;
    r = s->disk->unlink(s->disk, s->large, name);
    if (r < 0 && r != -ENOENT && w->error == 0)
        w->error = r;
    return 0;
}

static void let_go_of_lost(struct sweep *w, struct spool_message **messages)
{
    for (uint64_t i = 0; i < w->count; i++) {
        struct spool_message **m = &messages[w->wanted[i].message];

        if (w->wanted[i].found)
            continue;
        replay_report(w->spool, (*m)->id, PT_ERR_CORRUPT, "large/%016llx.eml is gone",
                      (unsigned long long)w->wanted[i].id);
        spool_message_unref(*m);
        *m = NULL;
    }
}

static int sweep(struct sweep *w, struct spool_message **messages, uint64_t count)
{
    struct spool *s = w->spool;
    uint64_t large = 0;
    int r;

    for (uint64_t i = 0; i < count; i++)
        large += messages[i]->file != NULL;
    w->wanted = calloc(large + 1, sizeof *w->wanted);
    if (!w->wanted)
        return -ENOMEM;
    for (uint64_t i = 0; i < count; i++)
        if (messages[i]->file)
            w->wanted[w->count++] = (struct wanted){ messages[i]->file->id, i, false };
    qsort(w->wanted, w->count, sizeof *w->wanted, by_id);
    r = s->disk->list(s->disk, s->large, sweep_one, w);
    if (r == 0)
        let_go_of_lost(w, messages);
    return r ? r : w->error;
}

void sweep_large(struct spool *s, struct spool_message **messages, uint64_t count)
{
    struct sweep w = { .spool = s };
    int r = sweep(&w, messages, count);

    free(w.wanted);
    if (r)
        pt_fault_errno(&s->stats.fault, -r, "spool %s: removing what is left over in large/",
                       s->config.directory);
}
