#include "daemon/memory.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/defs.h"
#include "base/str.h"

/*
 * Half of the limit is given out: a quarter to what is being received, an eighth to the cache, a
 * sixteenth to reading back, and as much again lies free in pools. The rest is for what grows with
 * the queue (a record per message), sessions, and what the kernel counts for their sockets and
 * files. Each share ends where more would not make mail any faster.
 */

enum { PATH_SIZE = 4096, LINE_SIZE = 8192 };
static const uint64_t mib = 1 << 20;

struct path {
    char octets[PATH_SIZE];
};

static bool join(struct path *out, const char *a, const char *b, const char *c)
{
    int n = snprintf(out->octets, sizeof out->octets, "%s%s%s", a, b, c);

    return n >= 0 && (size_t)n < sizeof out->octets;
}

static bool copy(struct path *out, struct str s)
{
    if (s.n >= sizeof out->octets)
        return false;
    memcpy(out->octets, s.p, s.n);
    out->octets[s.n] = 0;
    return true;
}

/* The first line of a file; empty when there is none. */
static struct str first_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");

    line[0] = 0;
    if (f) {
        PT_IGNORE(!fgets(line, (int)size, f), "then it is empty");
        fclose(f);
    }
    return str_trim(str_of(line));
}

/* The next word of a line, taken off it; empty at the end. */
static struct str next_word(struct str *rest)
{
    ptrdiff_t end = str_find(*rest, ' ', 0);
    size_t n = end < 0 ? rest->n : (size_t)end;
    struct str word = str_head(*rest, n);

    *rest = str_from(*rest, n + (end >= 0));
    return word;
}

/* A number in a file of its own; UINT64_MAX: there is none ("max", or no such file). */
static uint64_t number_in(const char *path)
{
    uint64_t value = UINT64_MAX;
    char line[64];

    PT_IGNORE(!str_to_u64(first_line(path, line, sizeof line), &value), "no number, no limit");
    return value;
}

/* ---- control groups ---- */

/* A hierarchy of groups that may limit memory: where it is mounted, and what of it. */
struct hierarchy {
    bool v2, found;
    struct path root, mount;
};

static bool has_word(struct str list, struct str word)
{
    while (list.n) {
        ptrdiff_t comma = str_find(list, ',', 0);
        struct str first = str_head(list, comma < 0 ? list.n : (size_t)comma);

        if (str_eq(first, word))
            return true;
        list = str_from(list, first.n + (comma >= 0));
    }
    return false;
}

/* A line of /proc/self/mountinfo: ID PARENT DEVICE ROOT MOUNT OPTIONS … - TYPE SOURCE OPTIONS */
static void read_mount(const char *line, struct hierarchy *h)
{
    const char *dash = strstr(line, " - ");
    struct str tail = str_trim(str_of(dash ? dash + 3 : "")), head = str_of(line), root, type;

    for (int i = 0; i < 3; i++)
        next_word(&head);
    root = next_word(&head);
    type = next_word(&tail);
    next_word(&tail);
    if (h->found || !(h->v2 ? str_eq(type, STR("cgroup2"))
                            : str_eq(type, STR("cgroup")) && has_word(tail, STR("memory"))))
        return;
    h->found = copy(&h->root, root) && copy(&h->mount, next_word(&head));
}

/* A line of /proc/self/cgroup: NUMBER:CONTROLLERS:PATH; version 2 has 0 and no controllers. */
static char *group_path(char *line, bool v2)
{
    char *controllers = strchr(line, ':'),
         *path = controllers ? strchr(controllers + 1, ':') : NULL;

    if (!path)
        return NULL;
    *path++ = 0;
    path[strcspn(path, "\n")] = 0;
    controllers++;
    return (v2 ? *controllers == 0 : has_word(str_of(controllers), STR("memory"))) ? path : NULL;
}

/* The lowest limit from the group at `path` up to the mount's root. */
static uint64_t lowest(const char *root, const struct hierarchy *h, const char *path)
{
    const char *file = h->v2 ? "/memory.max" : "/memory.limit_in_bytes";
    size_t n = strlen(h->root.octets);
    struct path base, group, name;
    uint64_t limit = UINT64_MAX;

    /* Seen from within a container, the path may begin with what is mounted here as the root. */
    if (n > 1 && strncmp(path, h->root.octets, n) == 0 && (path[n] == '/' || path[n] == 0))
        path += n;
    if (!join(&base, root, h->mount.octets, "") ||
        !join(&group, path, "", strcmp(path, "/") == 0 ? "" : "/"))
        return UINT64_MAX;
    for (char *end; (end = strrchr(group.octets, '/'));) {
        *end = 0;
        if (join(&name, base.octets, group.octets, file))
            limit = PT_MIN(limit, number_in(name.octets));
    }
    return limit;
}

static uint64_t cgroup_limit(const char *root, bool v2)
{
    struct hierarchy h = { .v2 = v2 };
    uint64_t limit = UINT64_MAX;
    char line[LINE_SIZE];
    struct path name;
    FILE *f;

    if (!join(&name, root, "/proc/self/mountinfo", "") || !(f = fopen(name.octets, "re")))
        return UINT64_MAX;
    while (fgets(line, sizeof line, f))
        read_mount(line, &h);
    fclose(f);
    if (!h.found || !join(&name, root, "/proc/self/cgroup", "") || !(f = fopen(name.octets, "re")))
        return UINT64_MAX;
    while (fgets(line, sizeof line, f)) {
        char *path = group_path(line, v2);

        if (path)
            limit = PT_MIN(limit, lowest(root, &h, path));
    }
    fclose(f);
    return limit;
}

/* ---- the plan ---- */

static uint64_t machine_memory(void)
{
    long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

    return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : UINT64_C(1) << 30;
}

static uint64_t resource_limit(int resource)
{
    struct rlimit r;

    return getrlimit((__rlimit_resource_t)resource, &r) == 0 && r.rlim_cur != RLIM_INFINITY
               ? r.rlim_cur
               : UINT64_MAX;
}

static void lower(struct memory_plan *plan, uint64_t limit, enum memory_source source)
{
    if (limit >= plan->limit)
        return;
    plan->limit = limit;
    plan->source = source;
}

static uint64_t share(uint64_t whole, uint64_t part, uint64_t least, uint64_t most)
{
    return PT_MAX(least, PT_MIN(whole / part, most));
}

void memory_plan_make(struct memory_plan *out, const char *root, unsigned loops)
{
    *out = (struct memory_plan){ .limit = machine_memory(), .source = MEMORY_MACHINE };
    lower(out, cgroup_limit(root, true), MEMORY_CGROUP);
    lower(out, cgroup_limit(root, false), MEMORY_CGROUP);
    lower(out, resource_limit(RLIMIT_AS), MEMORY_RLIMIT);
    lower(out, resource_limit(RLIMIT_DATA), MEMORY_RLIMIT);
    out->receiving = share(out->limit, 4, 4 * mib, 256 * mib);
    out->cached = share(out->limit, 8, mib, 64 * mib);
    out->reading = share(out->limit, 16 * loops, mib, 16 * mib);
    out->alarm = out->limit / 8 * 7;
}

const char *memory_source_name(enum memory_source source)
{
    static const char *const names[] = { [MEMORY_MACHINE] = "machine",
                                         [MEMORY_CGROUP] = "control group",
                                         [MEMORY_RLIMIT] = "resource limit" };

    return names[source];
}

uint64_t memory_resident(const char *root)
{
    struct path name;
    char text[256];
    struct str line;
    uint64_t pages = 0;

    if (!join(&name, root, "/proc/self/statm", ""))
        return 0;
    line = first_line(name.octets, text, sizeof text);
    next_word(&line); /* the first is the address space */
    PT_IGNORE(!str_to_u64(next_word(&line), &pages), "not known");
    return pages * (uint64_t)sysconf(_SC_PAGESIZE);
}
