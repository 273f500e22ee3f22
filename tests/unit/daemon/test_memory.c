#include "daemon/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

/* A tree of files that stands for /proc and /sys. */
struct tree {
    char root[64];
};

static int set_up(void **state)
{
    struct tree *t = calloc(1, sizeof *t);

    snprintf(t->root, sizeof t->root, "/tmp/postern-memory-XXXXXX");
    assert_non_null(mkdtemp(t->root));
    *state = t;
    return 0;
}

static int tear_down(void **state)
{
    struct tree *t = *state;
    char command[128];

    snprintf(command, sizeof command, "rm -rf %s", t->root);
    assert_int_equal(system(command), 0);
    free(t);
    return 0;
}

static void put(const struct tree *t, const char *path, const char *text)
{
    char name[512];
    FILE *f;

    snprintf(name, sizeof name, "%s%s", t->root, path);
    for (char *at = name + strlen(t->root) + 1; (at = strchr(at, '/')); *at++ = '/') {
        *at = 0;
        mkdir(name, 0755);
    }
    f = fopen(name, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct memory_plan plan(const struct tree *t)
{
    struct memory_plan p;

    memory_plan_make(&p, t->root, 2);
    return p;
}

static const char v2[] = "24 1 0:22 / /proc rw - proc proc rw\n"
                         "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";

static void without_groups_the_machine_is_the_limit(void **state)
{
    const struct tree *t = *state;
    struct memory_plan p = plan(t);

    assert_int_equal(p.source, MEMORY_MACHINE);
    assert_true(p.limit > 1 << 20);
    put(t, "/proc/self/mountinfo", v2);
    put(t, "/proc/self/cgroup", "0::/\n");
    assert_int_equal(plan(t).source, MEMORY_MACHINE);
}

static void the_lowest_group_on_the_way_up_counts(void **state)
{
    const struct tree *t = *state;

    put(t, "/proc/self/mountinfo", v2);
    put(t, "/proc/self/cgroup", "0::/system.slice/postern.service\n");
    put(t, "/sys/fs/cgroup/system.slice/postern.service/memory.max", "268435456\n");
    put(t, "/sys/fs/cgroup/system.slice/memory.max", "max\n");
    assert_int_equal(plan(t).limit, 268435456);
    assert_int_equal(plan(t).source, MEMORY_CGROUP);
    put(t, "/sys/fs/cgroup/system.slice/memory.max", "134217728\n");
    assert_int_equal(plan(t).limit, 134217728);
}

static void in_a_container_the_mount_is_the_group_itself(void **state)
{
    const struct tree *t = *state;

    put(t, "/proc/self/mountinfo", v2);
    put(t, "/proc/self/cgroup", "0::/\n");
    put(t, "/sys/fs/cgroup/memory.max", "100000000\n");
    assert_int_equal(plan(t).limit, 100000000);
    /* Version 1: the path is the host's, and its beginning is what is mounted. */
    put(t, "/proc/self/mountinfo",
        "40 39 0:36 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
    put(t, "/proc/self/cgroup", "5:devices:/docker/abc\n4:memory:/docker/abc\n0::/\n");
    put(t, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "90000000\n");
    assert_int_equal(plan(t).limit, 90000000);
}

static void version_1_without_a_limit_has_a_very_large_one(void **state)
{
    const struct tree *t = *state;

    put(t, "/proc/self/mountinfo",
        "40 39 0:36 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n");
    put(t, "/proc/self/cgroup", "4:memory:/a/b\n");
    put(t, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put(t, "/sys/fs/cgroup/memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(plan(t).source, MEMORY_MACHINE);
    put(t, "/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "80000000\n");
    assert_int_equal(plan(t).limit, 80000000);
}

static void what_makes_no_sense_limits_nothing(void **state)
{
    static const char *const mounts[] = { "",
                                          "\n",
                                          " - \n",
                                          "1 2 3 4 5 - cgroup2\n",
                                          "1 2 0:3 / /m rw - cgroup cgroup rw,memoryless\n",
                                          "1 2 0:3 / /m rw - cgroup2 c rw" };
    static const char *const groups[] = {
        "", "\n", "0\n", "0:\n", "0::\n", "0::relative\n", ":::::"
    };
    static const char *const values[] = { "", "\n", "-5\n", "12 monkeys\n", "max" };
    const struct tree *t = *state;

    for (size_t i = 0; i < PT_ARRAY_LEN(mounts); i++)
        for (size_t k = 0; k < PT_ARRAY_LEN(groups); k++)
            for (size_t n = 0; n < PT_ARRAY_LEN(values); n++) {
                put(t, "/proc/self/mountinfo", mounts[i]);
                put(t, "/proc/self/cgroup", groups[k]);
                put(t, "/m/memory.max", values[n]);
                assert_int_equal(plan(t).source, MEMORY_MACHINE);
            }
}

static void a_resource_limit_counts(void **state)
{
    const struct tree *t = *state;
    struct rlimit before, narrow;

    assert_int_equal(getrlimit(RLIMIT_DATA, &before), 0);
    narrow = before;
    narrow.rlim_cur = 200 << 20;
    assert_int_equal(setrlimit(RLIMIT_DATA, &narrow), 0);
    assert_int_equal(plan(t).limit, 200 << 20);
    assert_int_equal(plan(t).source, MEMORY_RLIMIT);
    assert_int_equal(setrlimit(RLIMIT_DATA, &before), 0);
}

static void the_shares_leave_half_free_and_have_ends(void **state)
{
    const struct tree *t = *state;
    struct memory_plan p;
    char text[32];

    put(t, "/proc/self/mountinfo", v2);
    put(t, "/proc/self/cgroup", "0::/\n");
    for (uint64_t mib = 32; mib <= 1 << 12; mib *= 2) {
        snprintf(text, sizeof text, "%llu\n", (unsigned long long)mib << 20);
        put(t, "/sys/fs/cgroup/memory.max", text);
        p = plan(t);
        assert_int_equal(p.limit, mib << 20);
        assert_true(p.receiving + p.cached + 2 * p.reading <= p.limit / 2);
        assert_true(p.alarm > p.limit / 2 && p.alarm < p.limit);
    }
    assert_int_equal(p.receiving, 256 << 20);
    assert_int_equal(p.cached, 64 << 20);
    assert_int_equal(p.reading, 16 << 20);
    put(t, "/sys/fs/cgroup/memory.max", "1\n");
    p = plan(t);
    assert_true(p.receiving >= 4 << 20 && p.cached && p.reading);
}

static void resident_memory_is_read(void **state)
{
    const struct tree *t = *state;

    assert_int_equal(memory_resident(t->root), 0);
    put(t, "/proc/self/statm", "1000 25 10 1 0 50 0\n");
    assert_int_equal(memory_resident(t->root), 25 * (uint64_t)sysconf(_SC_PAGESIZE));
    assert_true(memory_resident("") > 100000);
}

#define PROMISE(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PROMISE(without_groups_the_machine_is_the_limit),
        PROMISE(the_lowest_group_on_the_way_up_counts),
        PROMISE(in_a_container_the_mount_is_the_group_itself),
        PROMISE(version_1_without_a_limit_has_a_very_large_one),
        PROMISE(what_makes_no_sense_limits_nothing),
        PROMISE(a_resource_limit_counts),
        PROMISE(the_shares_leave_half_free_and_have_ends),
        PROMISE(resident_memory_is_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
