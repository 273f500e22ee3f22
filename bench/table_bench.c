/*
 * table_bench FILE: what a decision costs in a table of many prefixes.
 *
 * Reads a list file, builds the list and its table, and looks up addresses of which half lie in
 * entries chosen uniformly; prints the median and the mean in nanoseconds of runs of 1,000 each,
 * how long building took, and the memory of list and table.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "access/list.h"
#include "access/table.h"
#include "base/clock.h"
#include "base/rng.h"
#include "settings/list.h"

enum { FILE_MAX = 256 << 20, PROBES = 1 << 20, RUN = 1000, RUNS = 4000 };

/* Of this thread: others on the machine do not count. */
static int64_t cpu_ns(void)
{
    struct timespec t;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static struct settings_list *read_list(const char *path, struct buf *file)
{
    struct settings_list_builder b;
    struct access_list items;
    FILE *in = fopen(path, "re");
    size_t n = 1;

    buf_init(file, FILE_MAX);
    while (in && n > 0 && buf_reserve(file, 1 << 20)) {
        n = fread(file->p + file->n, 1, 1 << 20, in);
        file->n += n;
    }
    if (!in || access_list_parse(buf_str(file), &items) != PT_ERR_OK)
        return NULL;
    fclose(in);
    settings_list_begin(&b, items.count);
    for (uint32_t i = 0; i < items.count; i++)
        settings_list_add(&b, &items.items[i].prefix, false, STR_NULL, 0);
    access_list_done(&items);
    return settings_list_end(&b);
}

static struct access_table *build(const struct settings_list *list)
{
    struct access_row *rows = calloc(list->count + (size_t)1, sizeof *rows);
    struct access_table *t = NULL;

    for (uint32_t i = 0; rows && i < list->count; i++)
        rows[i].prefix = list->entries[i].prefix;
    if (rows)
        t = access_table_new(rows, list->count);
    free(rows);
    return t;
}

/* Half within entries, half anywhere that no entry has. */
static struct net_addr *probes(const struct settings_list *list, const struct access_table *t)
{
    struct net_addr *a = calloc(PROBES, sizeof *a);
    struct rng r;

    rng_seed(&r, 1);
    for (uint32_t i = 0; a && i < PROBES; i++) {
        bool hit = i % 2 && list->count;

        if (hit)
            a[i] = list->entries[rng_below(&r, list->count)].prefix.addr;
        for (unsigned tries = 0;
             !hit &&
             (tries == 0 || (tries < 1000 && access_table_find(t, &a[i], 0) != ACCESS_NONE));
             tries++) {
            uint64_t bits = rng_below(&r, UINT64_C(1) << 32);

            a[i] = (struct net_addr){ NET_IPV4,
                                      { (uint8_t)(bits >> 24), (uint8_t)(bits >> 16),
                                        (uint8_t)(bits >> 8), (uint8_t)bits } };
        }
    }
    return a;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void measure(const struct access_table *t, const struct net_addr *a)
{
    static double ns[RUNS];
    uint32_t at = 0, hits = 0;
    double sum = 0;

    for (int warm = 0; warm < 2; warm++)
        for (unsigned run = 0; run < RUNS; run++) {
            int64_t start = clock_mono_ns();

            for (unsigned i = 0; i < RUN; i++) {
                hits += access_table_find(t, &a[at], 0) != ACCESS_NONE;
                at = (at + 1) % PROBES;
            }
            ns[run] = (double)(clock_mono_ns() - start) / RUN;
        }
    qsort(ns, RUNS, sizeof *ns, compare);
    for (unsigned run = 0; run < RUNS; run++)
        sum += ns[run];
    printf("decision_ns %.0f mean_ns %.0f hits %.0f%%\n", ns[RUNS / 2], sum / RUNS,
           100.0 * hits / (2.0 * RUNS * RUN));
}

int main(int argc, char **argv)
{
    struct settings_list *list;
    struct access_table *t;
    struct net_addr *a;
    struct buf file;
    int64_t start;

    list = argc > 1 ? read_list(argv[1], &file) : NULL;
    if (!list) {
        fprintf(stderr, "usage: table_bench FILE\n");
        return 2;
    }
    start = cpu_ns();
    t = build(list);
    if (!t)
        return 1;
    printf("entries %u build_ms %.0f\n", list->count, (double)(cpu_ns() - start) / 1e6);
    printf("list_mb %.1f table_mb %.1f\n", (double)settings_list_memory(list) / 1048576,
           (double)access_table_memory(t) / 1048576);
    a = probes(list, t);
    if (a)
        measure(t, a);
    free(a);
    access_table_free(t);
    settings_list_unref(list);
    buf_done(&file);
    return 0;
}
